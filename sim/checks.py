"""Argument checks of the simulator: `<name> must be <rule>, got <value>`, as in lns.checks."""

import math
from collections.abc import Collection
from difflib import get_close_matches
from numbers import Real

from ..lns.checks import require_choice, require_int
from ..lns.format import FloatFormat, IntFormat, LNSFormat
from ..lns.mx_format import MXFormat

MOST = (1 << 31) - 1  #: of a layer's sizes
MAX_LOG_BITS = 15  #: of a sum in style "log", which is an LNSFormat: see Accumulator


def log_bits(exponent_bits: int) -> int:
    """Return E + 2, the least bits of style "log" over E; ValueError where no sum is so wide."""
    if exponent_bits > MAX_LOG_BITS - 2:
        raise ValueError(
            f"exponent_bits must be at most {MAX_LOG_BITS - 2} in style log, whose sums have two "
            f"bits more, got {exponent_bits}"
        )
    return exponent_bits + 2


def require_name(name: str, value: object, choices: Collection[str]) -> str:
    """`require_choice` of names that people type: an unknown one says the nearest known one."""
    try:
        return require_choice(name, value, choices)
    except ValueError as error:
        near = get_close_matches(value.lower(), choices, 1) if isinstance(value, str) else ()
        raise ValueError(f"{error}; did you mean {near[0]}?" if near else str(error)) from None


def require_text(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r}")


def require_format(name: str, value: object, optional: bool = False) -> None:
    """Raise TypeError unless `value` is a number format, or None where that is allowed."""
    if not isinstance(value, LNSFormat | FloatFormat | IntFormat | MXFormat) and not (
        optional and value is None
    ):
        rule = "a number format or None" if optional else "a number format"
        raise TypeError(f"{name} must be {rule}, got {value!r}")


def require_number(name: str, value: object) -> float:
    """Return a real number as a float, infinite where it is too large; else raise TypeError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def require_positive(name: str, value: object) -> float:
    """Return a positive, finite number as a float, else raise TypeError or ValueError."""
    number = require_number(name, value)
    if not (number > 0 and math.isfinite(number)):
        shown = value
        if isinstance(value, int) and math.isinf(number):
            shown = f"a number of {value.bit_length()} bits"
        raise ValueError(f"{name} must be positive and finite, got {shown}")
    return number


def require_pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Return (vertical, horizontal) of one integer or a tuple or list of two, from `low` on."""
    if hasattr(value, "__index__"):
        value = (value, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be an integer or a pair of them, got {value!r}")
    first, second = (require_int(name, each, low, MOST) for each in value)
    return first, second


def conv_sizes(
    in_channels: object,
    out_channels: object,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
) -> tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int] | str, tuple[int, int], int]:
    """Return the sizes of a convolution as integers and pairs; TypeError, ValueError if wrong."""
    split = require_int("groups", groups, 1, MOST)
    channels = []
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        channels.append(require_int(name, value, 1, MOST))
        if channels[-1] % split:
            raise ValueError(f"{name} must be a multiple of groups = {split}, got {channels[-1]}")
    kernel = require_pair("kernel_size", kernel_size, 1)
    steps, spread = require_pair("stride", stride, 1), require_pair("dilation", dilation, 1)
    pads: tuple[int, int] | str
    if isinstance(padding, str):
        pads = require_choice("padding", padding, ("same", "valid"))
        if pads == "same" and steps != (1, 1):
            raise ValueError(f"stride must be 1 with padding 'same', got {steps}")
    else:
        pads = require_pair("padding", padding, 0)
    return channels[0], channels[1], kernel, steps, pads, spread, split
