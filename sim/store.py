"""A sweep's folder: one JSON file per finished run, written whole or not at all.

<folder>/sweep.yaml          the sweep, to be run again with `lnsim sweep --config`
<folder>/runs/<id>.json      the record of a finished run
<folder>/checkpoints/<id>.pt of a run in progress; gone when it is finished
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .run_config import RunConfig

Record = dict[str, Any]
FINISHED = ("ok", "diverged")  # a run that failed is tried again when the sweep is resumed


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: beside its place, then renamed into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_record(path: Path, record: Record) -> None:
    """Write a run's record as JSON; a NaN in it is an error, JSON has none."""
    write_atomic(path, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def failed_record(config: RunConfig, reason: str) -> Record:
    """Return the record of a run that could not be finished."""
    return {
        "id": config.run_id,
        "label": config.label,
        "config": config.as_dict(),
        "status": "failed",
        "reason": reason,
        "test_accuracy": None,
    }


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one sweep. Raises ValueError where `root` is a file."""

    root: Path

    def __post_init__(self) -> None:
        for path in (self.root, *self.root.parents):
            if path.exists() and not path.is_dir():
                raise ValueError(f"out must be a folder, got the file {path}")

    def record_path(self, config: RunConfig) -> Path:
        """Where a run's record is or will be."""
        return self.root / "runs" / f"{config.run_id}.json"

    def checkpoint_path(self, config: RunConfig) -> Path:
        """Where a run in progress keeps its state."""
        return self.root / "checkpoints" / f"{config.run_id}.pt"

    def finished(self, config: RunConfig) -> Record | None:
        """Return the record of a finished run of exactly this configuration, else None.

        A file that is damaged, of another configuration or machine, or of a run that failed does
        not count.
        """
        try:
            record = json.loads(self.record_path(config).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict) or record.get("config") != config.as_dict():
            return None
        if record.get("accelerator") != config.accelerator().as_dict():  # its file has changed
            return None
        if config.prices is not None and record.get("prices") != config.price_table().digest:
            return None
        return record if record.get("status") in FINISHED else None

    def others(self, runs: list[RunConfig]) -> int:
        """Return how many run files there are of configurations that are not among `runs`."""
        known = {run.run_id for run in runs}
        return sum(path.stem not in known for path in (self.root / "runs").glob("*.json"))

    def tidy(self) -> None:
        """Remove what a killed worker left half-written, and the folder of checkpoints if empty."""
        checkpoints = self.root / "checkpoints"
        for left in [*checkpoints.glob("*.partial"), *(self.root / "runs").glob(".*.partial")]:
            left.unlink(missing_ok=True)
        if checkpoints.is_dir() and not any(checkpoints.iterdir()):
            checkpoints.rmdir()
