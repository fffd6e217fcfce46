"""Hypothesis profiles by HYPOTHESIS_PROFILE: dev, ci (default), thorough; the judges' folder."""

import os
import sys
from pathlib import Path

from hypothesis import settings
from lnsim.lns.testing import register_profiles

register_profiles()
settings.load_profile(f"lnsim-{os.environ.get('HYPOTHESIS_PROFILE', 'ci')}")

# second implementations that tests of any package compare with: `from systolic_walk import ...`
sys.path.insert(0, str(Path(__file__).parent / "judges"))
