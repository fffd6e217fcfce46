"""What Madam's optimisers are given, checked: tensors or groups of them, and their options."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..checks import require_number, require_positive


def checked_options(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the options among lr, p_scale, g_bound and beta2 as floats.

    Raises TypeError for what is no number, ValueError out of range: positive, beta2 in [0, 1).
    """
    found = {
        name: require_positive(name, options[name])
        for name in ("lr", "p_scale", "g_bound")
        if name in options
    }
    if "beta2" in options:
        found["beta2"] = require_number("beta2", options["beta2"])
        if not 0 <= found["beta2"] < 1:
            raise ValueError(f"beta2 must be in [0, 1), got {options['beta2']}")
    return found


def checked_params(params: Any) -> list[Any]:
    """Return what torch's Optimizer takes as a list: tensors, (name, tensor) pairs or groups.

    Raises TypeError for what is no tensor of floats, ValueError for none at all, one that is given
    twice and one that was computed from others.
    """
    if isinstance(params, Tensor):
        raise TypeError("params must be tensors or groups of them, got one tensor")
    listed = _listed(params)
    if not listed:
        raise ValueError("params must not be empty, got none")
    if all(isinstance(each, dict) for each in listed):
        groups = [dict(group) for group in listed]
        for group in groups:
            if "params" not in group:
                raise ValueError("params must be given in each group, got none")
            own = group["params"]
            group["params"] = [own] if isinstance(own, Tensor) else _listed(own)
        flat = [each for group in groups for each in group["params"]]
        listed = groups
    else:
        flat = listed
    tensors = [_tensor(each) for each in flat]
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        raise ValueError("params must name each tensor once, got one again")
    return listed


def _listed(params: Any) -> list[Any]:
    try:
        return list(params)
    except TypeError as error:  # an array of no axes has an __iter__ too
        kind = type(params).__name__
        raise TypeError(f"params must be tensors or groups of them, got {kind}") from error


def _tensor(value: Any) -> Tensor:
    """The tensor of one parameter, which may come with its name."""
    named = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    tensor = value[1] if named else value
    if not isinstance(tensor, Tensor):
        raise TypeError(f"params must be tensors or groups of them, got {type(tensor).__name__}")
    if not tensor.dtype.is_floating_point:
        raise TypeError(f"params must be of a float dtype, got {tensor.dtype}")
    if not tensor.is_leaf:
        raise ValueError("params must be leaf tensors, got the result of an operation")
    return tensor
