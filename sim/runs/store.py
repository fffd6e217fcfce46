"""A sweep's folder: one JSON file per finished run, written whole or not at all.

<folder>/sweep.yaml          the sweep, to be run again with `lnsim sweep --config`
<folder>/runs/<id>.json      the record of a finished run
<folder>/checkpoints/<id>.pt of a run in progress; gone when it is finished
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ..files.paths import inside, require_folder, write_atomic
from .plan import Plan
from .record import FINISHED, Record
from .run_config import RunConfig


def write_record(path: Path, record: Record) -> None:
    """Write a run's record as JSON; a NaN in it is an error, JSON has none."""
    text = json.dumps(record.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomic(path, text + "\n")


def read_record(path: Path) -> Record:
    """Return the record in a file; raises OSError, or ValueError where it is damaged."""
    try:
        return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise ValueError(f"record must be shallow, got a deep one in {path}") from error


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

    def finished(self, config: RunConfig, plan: Plan) -> Record | None:
        """Return the record of a finished run of exactly this configuration, else None.

        plan: `config.resolve()`. A file that is damaged, of another configuration or machine, or of
        a run that failed does not count.
        """
        try:
            record = read_record(self.record_path(config))
        except (OSError, ValueError):
            return None
        own = config.run_id, config.label, config.as_dict(), plan.machine.as_dict()
        if (record.id, record.label, record.config, record.accelerator) != own:
            return None  # of a machine: its file has changed
        if config.prices is not None and record.prices != plan.prices.digest:
            return None
        return record if record.status in FINISHED else None

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
