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

from .checkpoint import Progress
from .energy import ZERO, EnergyReport, Interval, PriceTable, price
from .events import Events, add_events
from .run_config import RunConfig
from .tally import Tally

ROOT = Path(__file__).resolve().parent.parent


def make_record(
    config: RunConfig,
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
    "undefined_directions", Madam's 0/0. Counts and events are totals over the training steps.
    Energies are pJ: "per_step_pj" is the total over the steps begun, "on_chip_per_step_pj" leaves
    DRAM out, the parts ("by_phase", "by_kind", "by_group") are per step too, "per_epoch_pj" is
    per_step_pj times steps_per_epoch.
    """
    history = progress.history
    counts = tally.as_dict()
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
        "events": counts["events"],
        "energy": _energy(tally, progress.begun, steps_per_epoch, table),
        "overflow_rule": config.recipe().overflow_rule,
        "node": table.node,
        "price_sources": table.sources,
        "versions": versions(),
        "commit": commit(),
        "threads": {"torch": config.threads, "numba": numba_threads(config)},
        "machine": machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 3),
    }


def _energy(
    tally: Tally, steps: int, steps_per_epoch: int, table: PriceTable
) -> dict[str, Any] | None:
    """Energy of an average step; None where no step was begun."""
    if not steps:
        return None
    every: Events = {}
    by_phase = {}
    for phase, events in tally.events.items():
        by_phase[phase] = _part(price(events, table).total, steps)
        add_events(every, events)
    report: EnergyReport = price(every, table)
    per_step = report.total.scaled(1 / steps)
    on_chip = sum((part for group, part in report.by_group.items() if group != "dram"), ZERO)
    return {
        "per_step_pj": per_step.as_dict(),
        "on_chip_per_step_pj": _part(on_chip, steps),
        "per_epoch_pj": per_step.scaled(steps_per_epoch).as_dict(),
        "by_phase": by_phase,
        "by_kind": {kind: _part(part, steps) for kind, part in sorted(report.by_kind.items())},
        "by_group": {group: _part(part, steps) for group, part in report.by_group.items()},
    }


def _part(part: Interval, steps: int) -> dict[str, float]:
    return part.scaled(1 / steps).as_dict()


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
