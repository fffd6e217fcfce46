"""What a sweep's worker process does: one run at a time, its record written before it answers."""

import os
import signal
import threading
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from .record import Record
from .run_config import RunConfig
from .store import write_record

CHECKPOINT_SECONDS = 20.0  #: work an interruption may cost at most
_cells: Any = None  # shared with the parent: the fraction of the current run that is done
_cell = 0


def start(cells: Any, cell: int) -> None:
    """Set up a worker: it leaves Ctrl-C to the parent and ends when the parent is gone."""
    global _cells, _cell
    _cells, _cell = cells, cell
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_step(done: int, total: int) -> None:
    if _cells is not None:
        _cells[_cell] = done / total


def run_one(values: dict[str, Any], record_path: Path, checkpoint: Path) -> Record:
    """Train one configuration, go on from its checkpoint if there is one, write its record."""
    config = RunConfig.from_dict(values)
    record = _train(config, checkpoint)
    write_record(record_path, record)
    checkpoint.unlink(missing_ok=True)
    return record


def _train(config: RunConfig, checkpoint: Path) -> Record:
    from .train import train

    every = CHECKPOINT_SECONDS
    try:
        return train(config, _on_step, checkpoint, resume=True, checkpoint_seconds=every)
    except ValueError:
        if not checkpoint.exists():
            raise
        checkpoint.unlink()  # damaged or of another version: from the start
        return train(config, _on_step, checkpoint, checkpoint_seconds=every)


def warm_up(configs: list[dict[str, Any]]) -> list[str | None]:
    """Compile what these configurations need, into Numba's cache on disk: one tiny step each.

    Returns for each the ValueError or TypeError it met, None where it met none. Anything else is
    left for the configuration's own run, which reports it.
    """
    from .train import train

    tiny = {"batch": 2, "limit_train": 2, "limit_test": 2, "epochs": 1, "max_steps": 1}
    met: list[str | None] = []
    for values in configs:
        met.append(None)
        try:
            train(RunConfig.from_dict(values | tiny))
        except (ValueError, TypeError) as error:
            met[-1] = str(error)
        except Exception:  # reported by the run itself, with its name
            continue
    return met
