"""Argument checks of the public entry points: `<name> must be <rule>, got <value>`."""

import re
from collections.abc import Collection

import numpy as np


class NonFiniteError(ValueError):
    """A finite array holds a NaN or an infinity; the message names the first index."""


_SHOWN_BITS = 256  # of a whole number in a message; Python prints none of many thousand digits


def _whole(name: str, value: object) -> int:
    """`value` as an int; TypeError for a bool and for what is no whole number."""
    try:
        if not isinstance(value, bool) and hasattr(value, "__index__"):
            return int(value.__index__())
    except TypeError:  # an array of several elements, or not of whole numbers
        pass
    raise TypeError(f"{name} must be an integer, got {value!r}")


def _shown(number: int) -> str:
    bits = number.bit_length()
    return str(number) if bits <= _SHOWN_BITS else f"a number of {bits} bits"


def require_int(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is an integer in [low, high], else raise TypeError or ValueError."""
    number = _whole(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be in {low}..{high}, got {_shown(number)}")
    return number


def settle_int(owner: object, name: str, low: int, high: int) -> int:
    """Set a field of a frozen value to the int it was given as, which may be of numpy's kinds.

    Arithmetic on a numpy integer stays in its few bits. Raises what `require_int` does.
    """
    number = require_int(name, getattr(owner, name), low, high)
    object.__setattr__(owner, name, number)
    return number


def require_power_of_two(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is a power of two in [low, high], else raise TypeError or ValueError."""
    number = _whole(name, value)
    if number < 1 or number & (number - 1):
        raise ValueError(f"{name} must be a power of two, got {_shown(number)}")
    return require_int(name, number, low, high)


def settle_power_of_two(owner: object, name: str, low: int, high: int) -> None:
    """`settle_int` of a power of two; raises what `require_power_of_two` does."""
    object.__setattr__(owner, name, require_power_of_two(name, getattr(owner, name), low, high))


def plain_number(text: str) -> int | None:
    """Return the whole number of a name such as "table:64"; None unless it is its one spelling.

    ASCII digits without leading zeros, at most nine.
    """
    return int(text) if re.fullmatch("0|[1-9][0-9]{0,8}", text) else None


def as_array(name: str, value: object) -> np.ndarray:
    """Return `value` as a numpy array; TypeError for what is none, such as rows of two lengths."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array, got {type(value).__name__}: {error}") from error


def require_kind(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless `value` is of a class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")


def require_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`, else raise ValueError listing them."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(sorted(choices))}, got {value!r}")
    return value


def require_bool(name: str, value: object) -> bool:
    """Return `value` if it is a bool, else raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value
