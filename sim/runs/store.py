"""A sweep's folder: one JSON file per finished run, written whole or not at all.

<folder>/sweep.yaml          the sweep, to be run again with `lnsim sweep --config`
<folder>/runs/<id>.json      the record of a finished run
<folder>/checkpoints/<id>.pt of a run in progress; gone when it is finished
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.paths import inside, require_folder, write_atomic
from .record_form import is_record
from .run_config import RunConfig

Record = dict[str, Any]
FINISHED = ("ok", "diverged")  # a run that failed is tried again when the sweep is resumed


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
    """The files of one sweep. Raises ValueError where `root` is a file.

    A path that a link takes out of `root` raises ValueError too.
    """

    root: Path

    def __post_init__(self) -> None:
        require_folder("out", self.root)

    def record_path(self, config: RunConfig) -> Path:
        """Where a run's record is or will be."""
        return inside(self.root, "runs", f"{config.run_id}.json")

    def checkpoint_path(self, config: RunConfig) -> Path:
        """Where a run in progress keeps its state."""
        return inside(self.root, "checkpoints", f"{config.run_id}.pt")

    def finished(self, config: RunConfig) -> Record | None:
        """Return the record of a finished run of exactly this configuration, else None.

        A file that is damaged, of another configuration or machine, or of a run that failed does
        not count.
        """
        path = self.record_path(config)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not is_record(record) or record["config"] != config.as_dict():
            return None
        if (record["id"], record["label"]) != (config.run_id, config.label):
            return None
        if record.get("accelerator") != config.accelerator().as_dict():  # its file has changed
            return None
        if config.prices is not None and record.get("prices") != config.price_table().digest:
            return None
        finished: Record | None = record if record["status"] in FINISHED else None
        return finished

    def others(self, runs: list[RunConfig]) -> int:
        """Return how many run files there are of configurations that are not among `runs`."""
        known = {run.run_id for run in runs}
        return sum(path.stem not in known for path in (self.root / "runs").glob("*.json"))

    def tidy(self) -> None:
        """Remove what a killed worker left half-written, and the folder of checkpoints if empty."""
        checkpoints = inside(self.root, "checkpoints", "any").parent
        inside(self.root, "runs", "any")
        for left in [*checkpoints.glob("*.partial"), *(self.root / "runs").glob(".*.partial")]:
            left.unlink(missing_ok=True)
        if checkpoints.is_dir() and not any(checkpoints.iterdir()):
            checkpoints.rmdir()
