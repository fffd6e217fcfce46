"""What the vector unit does, by the family of its format: arithmetic by kind, as events."""

from collections.abc import Callable, Mapping
from typing import Any

from ...lns.format import FloatFormat, Format
from .event import Event, Events, float_multiply


def vector_events(arithmetic: Mapping[str, int], fmt: Format) -> Events:
    """Return the events of counted arithmetic on a unit of format `fmt`.

    Kinds: multiply, add, compare, divide, sqrt, exp, log, round (to an integer); what each takes,
    the family of `fmt` says (UNITS). Raises TypeError for a family that has no unit.
    """
    if type(fmt) not in UNITS:
        known = ", ".join(family.__name__ for family in UNITS)
        raise TypeError(f"unit must be of a format of {known}, got {fmt!r}")
    unit = UNITS[type(fmt)](fmt)
    events: Events = {}
    for kind, count in arithmetic.items():
        if count:
            for event, times in unit[kind].items():
                events[event] = events.get(event, 0) + times * count
    return events


def float_unit(fmt: FloatFormat) -> Mapping[str, Events]:
    """Return the events of one operation of each kind in floating point.

    A logarithm is priced as an exponential: both are a table and a short polynomial.
    """
    return {
        "multiply": {float_multiply(fmt, fmt): 1},
        "add": {Event("float_add", fmt.bits, fmt.name): 1},
        "compare": {Event("compare", fmt.bits): 1},
        "divide": {Event("float_div_sqrt", fmt.bits, "divide"): 1},
        "sqrt": {Event("float_div_sqrt", fmt.bits, "sqrt"): 1},
        "exp": {Event("float_exp", fmt.bits): 1},
        "log": {Event("float_exp", fmt.bits): 1},
        "round": {Event("float_to_int", fmt.bits): 1},
    }


# family of formats -> the events of one operation of each kind
UNITS: dict[type, Callable[[Any], Mapping[str, Events]]] = {FloatFormat: float_unit}
