"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: dev (fast), ci (default) or thorough."""

import os

from hypothesis import settings
from lnsim.lns.testing import register_profiles

register_profiles()
settings.load_profile(f"lnsim-{os.environ.get('HYPOTHESIS_PROFILE', 'ci')}")
