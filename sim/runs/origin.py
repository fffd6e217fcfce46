"""Where a run's numbers come from: versions, commit and the machine that ran it."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from .record import Host

ROOT = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Return the versions the numbers depend on."""
    names = ("numpy", "numba", "torch", "lnsim")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the checkout's commit, `+changes` where files differ; None outside a checkout."""
    if not (ROOT / "pyproject.toml").is_file():
        return None
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}+changes" if _git("status", "--porcelain") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


@lru_cache(maxsize=1)
def host() -> Host:
    """Return what runs this: system, processor and number of cores."""
    return Host(platform.platform(), _processor(), os.cpu_count())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
