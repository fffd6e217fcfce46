"""Checks of a mapped layer: what it is built from, and its input."""

from typing import Any

import torch
from torch import Tensor, nn

from ...lns.checks import require_bool, require_kind
from ..recipes.recipe import Recipe


def build(
    layer: nn.Module,
    kind: Any,
    sizes: tuple[Any, ...],
    bias: object,
    device: object,
    dtype: object,
    recipe: object,
) -> None:
    """Build torch's own layer `kind` of `sizes` in `layer`, after checks of the rest."""
    require_kind("recipe", recipe, Recipe)
    require_bool("bias", bias)
    place = device.type if isinstance(device, torch.device) else device
    if place is not None and not (isinstance(place, str) and place == "cpu"):
        raise ValueError(f"device must be the CPU, got {device!r}")
    if dtype is not None and dtype is not torch.float32:
        raise TypeError(f"dtype must be torch.float32, got {dtype!r}")
    try:
        kind.__init__(layer, *sizes, bias=bias, device=device, dtype=dtype)
    except RuntimeError as error:  # torch's allocator
        raise ValueError(f"weight must fit in memory, got sizes {sizes}") from error


def require_float32(layer: str, x: Tensor) -> None:
    """Raise TypeError unless `x` is a dense float32 tensor on the CPU."""
    if not isinstance(x, Tensor):
        raise TypeError(f"input of {layer} must be a tensor, got {type(x).__name__}")
    if x.dtype != torch.float32 or x.device.type != "cpu":
        raise TypeError(f"input of {layer} must be float32 on the CPU, got {x.dtype} {x.device}")
    if x.layout != torch.strided:
        raise TypeError(f"input of {layer} must be dense, got {x.layout}")
