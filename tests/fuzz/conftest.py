"""Makes fuzzing.py and wild.py importable, bounds memory, prints the counts of a long run."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing

ROOM_BYTES = 6 << 30  # more than any refused or answered input may take


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """An input that asks for the whole machine's memory fails, here and not on the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many inputs were tried, per target and in all."""
    if fuzzing.EXAMPLES and fuzzing.COUNTS:
        terminalreporter.section("inputs tried")
        for line in fuzzing.report():
            terminalreporter.write_line(line)
