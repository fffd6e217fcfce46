"""Save and restore a run in the middle: tensors and primitives only, written atomically."""

import json
import math
import os
import warnings
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ...lns.checks import require_int
from ..training.tally import Tally
from .record import Epoch
from .run_config import RunConfig, canonical_json

VERSION = 1  #: of the file's layout
HISTORY = tuple(each.name for each in fields(Epoch))


@dataclass(slots=True)
class Progress:
    """Where a run stands. The batch order is a function of seed and epoch, so this is all of it."""

    step: int = 0  #: updates done
    begun: int = 0  #: steps begun; more than `step` only where one diverged
    epoch: int = 0  #: epoch in progress, or the number of epochs done
    loss_sum: float = 0.0  #: of the epoch in progress, over its batches so far
    history: list[Epoch] = field(default_factory=list)
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
        "history": json.dumps([asdict(epoch) for epoch in progress.history]),
        "step": progress.step,
        "epoch": progress.epoch,
        "loss_sum": progress.loss_sum,
        "seconds": progress.seconds,
        "random": torch.get_rng_state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # a link that waits there is not followed
            torch.save(content, file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(
    path: Path, config: RunConfig, model: torch.nn.Module, optimiser: Any, tally: Tally
) -> Progress:
    """Restore a run from `path` in place and return its position.

    Tensors and numbers alone are read: torch's restricted unpickler runs nothing that a file names.
    Raises ValueError where the file is no whole checkpoint of this version, or is of another
    configuration (the message names the fields that differ).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of a file of its older forms
            content = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"checkpoint must be a file lnsim wrote, got {path}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"checkpoint must have version {VERSION}, got {found!r} in {path}")
    try:
        _check_config(content["config"], config, path)
        progress = _progress(content)
        _require_like("model", content["model"], model.state_dict())
        _require_like("optimiser", content["optimiser"], optimiser.state_dict())
        _check_state(content["optimiser"]["state"], optimiser)
        counts = Tally()
        counts.load_dict(json.loads(content["tally"]))
        counts.as_dict()
        torch.Generator().set_state(content["random"])
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        if " must " in str(error) and isinstance(error, ValueError):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise ValueError(f"checkpoint must be whole, got {what} in {path}") from error
    tally.load_dict(counts.as_dict())
    torch.set_rng_state(content["random"])
    return progress


def _progress(content: dict[str, Any]) -> Progress:
    """The position, each number checked."""
    for name in ("step", "epoch"):
        require_int(name, content[name], 0, 10**15)
    for name in ("loss_sum", "seconds"):
        value = content[name]
        if not isinstance(value, float) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
    history = json.loads(content["history"])
    if not isinstance(history, list) or len(history) != content["epoch"]:
        raise ValueError(f"history must have an entry an epoch, got {history!r}"[:200])
    for entry in history:
        if not isinstance(entry, dict) or set(entry) != set(HISTORY):
            raise ValueError(f"history must hold {', '.join(HISTORY)}, got {entry!r}"[:200])
        for name in HISTORY:
            value = entry[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
    return Progress(
        step=content["step"],
        begun=content["step"],
        epoch=content["epoch"],
        loss_sum=content["loss_sum"],
        history=[Epoch(**entry) for entry in history],
        seconds=content["seconds"],
    )


def _check_state(states: Any, optimiser: Any) -> None:
    """Refuse state of tensors that are not there, or of another shape than theirs.

    The tensors of a group have state of one kind; codes and floats, which have groups of their own,
    need not.
    """
    own = [tensor for group in optimiser.param_groups for tensor in group["params"]]
    if not isinstance(states, dict) or not set(states) <= set(range(len(own))):
        raise ValueError(f"optimiser must hold the state of {len(own)} tensors, got another")
    first = 0
    for group in optimiser.param_groups:
        places = range(first, first := first + len(group["params"]))
        names = {tuple(sorted(map(str, states[i]))) for i in places if i in states}
        if len(names) > 1:
            raise ValueError(f"optimiser must hold one kind of state a group, got {names}"[:200])
    for index, state in states.items():
        for name, value in state.items():
            whole = isinstance(value, torch.Tensor) and value.shape in (own[index].shape, ())
            if not whole and not isinstance(value, int | float | None):
                raise ValueError(f"{name} of tensor {index} must fit it, got another value")


def _require_like(name: str, saved: Any, own: Any) -> None:
    """Refuse a state of other keys, or tensors of other shapes and dtypes, than this run's.

    An optimiser that has not stepped has no state of its tensors yet; theirs are taken as saved.
    """
    if isinstance(own, torch.Tensor):
        if not isinstance(saved, torch.Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(saved).__name__}")
        if (saved.shape, saved.dtype) != (own.shape, own.dtype):
            got = f"{saved.dtype} {tuple(saved.shape)}"
            raise ValueError(f"{name} must be {own.dtype} {tuple(own.shape)}, got {got}")
    elif isinstance(own, dict):
        if not isinstance(saved, dict) or (own and set(saved) != set(own)):
            raise ValueError(f"{name} must hold {', '.join(map(str, own))}, got another state")
        for key, value in own.items():
            _require_like(f"{name}.{key}", saved[key], value)
    elif isinstance(own, list | tuple):
        if type(saved) is not type(own) or len(saved) != len(own):
            raise ValueError(f"{name} must hold {len(own)} values, got {saved!r}"[:200])
        for index, value in enumerate(own):
            _require_like(f"{name}.{index}", saved[index], value)
    elif isinstance(own, bool | int | float) and not isinstance(saved, bool | int | float):
        raise ValueError(f"{name} must be a number, got {type(saved).__name__}")


def _check_config(text: str, config: RunConfig, path: Path) -> None:
    saved, wanted = json.loads(text), config.as_dict()
    if not isinstance(saved, dict):
        raise ValueError(f"config must hold keys and values, got {saved!r} in {path}"[:200])
    names = [name for name in sorted({*saved, *wanted}) if saved.get(name) != wanted.get(name)]
    if names:
        changes = ", ".join(f"{n} {saved.get(n)!r} instead of {wanted.get(n)!r}" for n in names)
        raise ValueError(f"checkpoint must be of the same configuration, got {changes} in {path}")
