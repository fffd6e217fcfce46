"""The record of a run: everything needed to read its numbers and to repeat them, as JSON values."""

import os
import platform
import subprocess
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba

from ..prices.table import PriceTable
from ..training.tally import Tally
from ..workload.workload import Workload
from .checkpoint import Progress
from .run_config import RunConfig
from .run_cost import run_cost, run_energy, run_time

ROOT = Path(__file__).resolve().parents[2]


def make_record(
    config: RunConfig,
    workload: Workload,
    tally: Tally,
    progress: Progress,
    steps_per_epoch: int,
    table: PriceTable,
    reason: str | None,
    seconds: float,
) -> dict[str, Any]:
    """Return the record; a `reason` makes its status "diverged".

    The same configuration gives the same values on the same versions, but for "seconds",
    "machine" and "time". "lr" is the rate the schedule scales; train adds
    "undefined_directions", Madam's 0/0. Counts and events are totals over the training steps;
    "events" are those of run_cost.run_cost, "counted_events" the part that was counted while the
    run ran. "energy" is that of run_cost.run_energy, "step" that of run_cost.run_time, both None
    where no step was begun. "accelerator" is the machine simulated, "machine" the one that ran it.
    """
    history = progress.history
    counts = tally.as_dict()
    cost = run_cost(config, workload, tally, progress.begun)
    steps = progress.begun
    return {
        "id": config.run_id,
        "label": config.label,
        "config": config.as_dict(),
        "lr": config.lr,
        "status": "ok" if reason is None else "diverged",
        "reason": reason,
        "test_accuracy": history[-1]["test_accuracy"] if history and reason is None else None,
        "history": history,
        "steps": progress.step,
        "steps_per_epoch": steps_per_epoch,
        "counts": counts["encodes"],
        "accumulators": counts["accumulators"],
        "counted_events": counts["events"],
        "events": {
            phase: [[e.kind, e.bits, e.detail, n] for e, n in sorted(events.items())]
            for phase, events in cost.events().items()
        },
        "energy": run_energy(cost, steps, steps_per_epoch, table) if steps else None,
        "step": run_time(cost) if steps else None,
        "accelerator": cost.step.machine.as_dict(),
        "overflow_rule": config.recipe().overflow_rule,
        "node": table.node,
        "price_sources": table.sources,
        "prices": table.digest,
        "versions": versions(),
        "commit": commit(),
        "threads": {"torch": config.threads, "numba": numba_threads(config)},
        "machine": machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 3),
    }


def numba_threads(config: RunConfig) -> int:
    """Return the threads Numba runs with: those asked for, at most those it was started with."""
    return min(config.threads, int(numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


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
def machine() -> dict[str, Any]:
    """Return what ran this: system, processor and number of cores."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
