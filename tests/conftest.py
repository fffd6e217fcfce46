"""Hypothesis profiles by HYPOTHESIS_PROFILE: dev, ci (default), thorough; judges; what is slow."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from lnsim.lns.testing import register_profiles

register_profiles()
settings.load_profile(f"lnsim-{os.environ.get('HYPOTHESIS_PROFILE', 'ci')}")

# second implementations that tests of any package compare with: `from systolic_walk import ...`
sys.path.insert(0, str(Path(__file__).parent / "judges"))

FOLDER = Path(__file__).parent
# Files, and tests of files, that `make quick` leaves out: processes are started, whole networks
# trained, everything tried, or code compiled that no cache holds.
SLOW = (
    "fuzz/",
    "kernels/test_backends.py",
    "kernels/test_exhaustive_gemm.py",
    "kernels/test_gemm.py::test_equals_the_oracle_for_every_parameter",
    "kernels/test_ir.py",
    "kernels/test_quantise.py::test_lns_codes_equal_encode_at_every_threshold",
    "kernels/test_threads.py",
    "kernels/test_tile.py",
    "lns/test_exhaustive.py",
    "lns/test_sums.py",
    "lns/test_testing.py",
    "lns/test_xlns.py",
    "repository/test_docs.py",
    "repository/test_packaging.py",
    "repository/test_readme.py",
    "sim/cli/test_energy.py",
    "sim/conformance/",
    "sim/cost/",
    "sim/report/",
    "sim/rules/",
    "sim/runs/test_sweep.py",
    "sim/runs/test_train.py",
    "sim/training/test_mx.py",
    "sim/training/test_resnet.py",
    "sim/training/test_seams.py",
    "sim/workload/test_trace.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in SLOW."""
    for item in items:
        name = f"{item.path.relative_to(FOLDER).as_posix()}::{item.name}"
        if name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
