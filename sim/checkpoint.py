"""Save and restore a run in the middle: tensors and primitives only, written atomically."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .run_config import RunConfig, canonical_json
from .tally import Tally

VERSION = 1  #: of the file's layout


@dataclass(slots=True)
class Progress:
    """Where a run stands. The batch order is a function of seed and epoch, so this is all of it."""

    step: int = 0  #: updates done
    begun: int = 0  #: steps begun; more than `step` only where one diverged
    epoch: int = 0  #: epoch in progress, or the number of epochs done
    loss_sum: float = 0.0  #: of the epoch in progress, over its batches so far
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  #: spent by earlier processes


def save_checkpoint(
    path: Path,
    config: RunConfig,
    model: torch.nn.Module,
    optimiser: Any,
    tally: Tally,
    progress: Progress,
) -> None:
    """Write everything a resumed run needs to `path`; a crash leaves the old file or the new one.

    Holds the model's and optimiser's state, the counts, the position, torch's random state and
    the configuration.
    """
    content = {
        "version": VERSION,
        "config": canonical_json(config),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "tally": json.dumps(tally.as_dict()),
        "history": json.dumps(progress.history),
        "step": progress.step,
        "epoch": progress.epoch,
        "loss_sum": progress.loss_sum,
        "seconds": progress.seconds,
        "random": torch.get_rng_state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(
    path: Path, config: RunConfig, model: torch.nn.Module, optimiser: Any, tally: Tally
) -> Progress:
    """Restore a run from `path` in place and return its position.

    Raises ValueError where the file is no checkpoint of this version, or is of another
    configuration (the message names the fields that differ).
    """
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"checkpoint must be a file lnsim wrote, got {path}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"checkpoint must have version {VERSION}, got {found} in {path}")
    _check_config(content["config"], config, path)
    model.load_state_dict(content["model"])
    optimiser.load_state_dict(content["optimiser"])
    tally.load_dict(json.loads(content["tally"]))
    torch.set_rng_state(content["random"])
    return Progress(
        step=content["step"],
        begun=content["step"],
        epoch=content["epoch"],
        loss_sum=content["loss_sum"],
        history=json.loads(content["history"]),
        seconds=content["seconds"],
    )


def _check_config(text: str, config: RunConfig, path: Path) -> None:
    saved, wanted = json.loads(text), config.as_dict()
    names = [name for name in sorted({*saved, *wanted}) if saved.get(name) != wanted.get(name)]
    if names:
        changes = ", ".join(f"{n} {saved.get(n)!r} instead of {wanted.get(n)!r}" for n in names)
        raise ValueError(f"checkpoint must be of the same configuration, got {changes} in {path}")
