"""Small things a trace needs: models and inputs without values, and what a tensor weighs."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import require_text


def cross_entropy(output: Tensor) -> Tensor:
    """Return the cross-entropy of (..., classes) against class indices."""
    scores = output.reshape(-1, output.shape[-1])
    targets = torch.zeros(scores.shape[0], dtype=torch.long, device=output.device)
    return nn.functional.cross_entropy(scores, targets)


def on_meta(model: nn.Module) -> nn.Module:
    """A copy on the meta device; tied tensors stay tied, which `Module.to` would undo."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(shadow(parameter), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = shadow(buffer)
    return copy.deepcopy(model, memo)


def batch_of(inputs: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
    """A model's inputs by place and by name; TypeError for what is no batch of tensors."""
    if isinstance(inputs, Tensor):
        return [inputs], {}
    named = dict(inputs) if isinstance(inputs, Mapping) else {}
    if not isinstance(inputs, Sequence | Mapping) or isinstance(inputs, str | bytes | bytearray):
        raise TypeError(
            "inputs must be a tensor, a sequence of tensors or tensors by name, got "
            f"{type(inputs).__name__}"
        )
    placed = [] if isinstance(inputs, Mapping) else list(inputs)
    for value in (*placed, *named.values()):
        if not isinstance(value, Tensor):
            raise TypeError(f"inputs must hold tensors, got {type(value).__name__}")
    for key in named:
        require_text("name of an input", key)
    return placed, named


def shadow(value: Any) -> Tensor:
    """A meta tensor like an input."""
    return torch.empty_like(torch.as_tensor(value), device="meta")


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or ["no message"])[0]


MAKES = frozenset(
    f"{prefix}{name}"
    for name in ("empty", "zeros", "ones", "full")
    for prefix in ("", "new_")
) | {f"{name}_like" for name in ("empty", "zeros", "ones", "full")} | {
    "arange", "eye", "scalar_tensor", "empty_strided", "new_empty_strided",
}  # fmt: skip


def flat(values: Any) -> list[Any]:
    """Arguments, those in lists and tuples included."""
    found: list[Any] = []
    for value in values:
        found += flat(value) if isinstance(value, list | tuple) else [value]
    return found


def words_each(words: int, size: int, count: int) -> int:
    """Words of an operand of one product of `count`: all where every product has the same."""
    return words // count if words >= size * count else min(words, size)


def stored_elements(tensor: Tensor) -> int:
    """Elements its storage holds: fewer than numel() where it is expanded."""
    return int(tensor.untyped_storage().nbytes() // tensor.element_size())


def words_of(tensor: Tensor) -> int:
    """Words of the vector unit it takes: 32 bools fit in one."""
    count = min(tensor.numel(), stored_elements(tensor))
    return -(-count // 32) if tensor.dtype == torch.bool else count
