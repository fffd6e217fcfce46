"""Argument checks of the public entry points: `<name> must be <rule>, got <value>`."""

from collections.abc import Iterable


class NonFiniteError(ValueError):
    """A finite array holds a NaN or an infinity; the message names the first index."""


def require_int(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is an integer in [low, high], else raise TypeError or ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value.__index__())
    if not low <= number <= high:
        raise ValueError(f"{name} must be in {low}..{high}, got {number}")
    return number


def require_power_of_two(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is a power of two in [low, high], else raise TypeError or ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value.__index__())
    if number < 1 or number & (number - 1):
        raise ValueError(f"{name} must be a power of two, got {number}")
    return require_int(name, number, low, high)


def require_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, else raise ValueError listing them."""
    known = sorted(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def require_bool(name: str, value: object) -> bool:
    """Return `value` if it is a bool, else raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value
