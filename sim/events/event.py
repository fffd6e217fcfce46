"""What a step does, as counted events: the interface between training and its cost.

An `Event` names one kind of work, its width and a detail; a mapping Event -> count is all that
prices (and a machine model) need to know. The hardware counted: multiply-accumulates (mac.py), a
conversion unit (encode.py), a vector unit (vector.py), which does the update (update.py). Words
that move are counted by cost/step.py, from a machine's memories.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...lns.format import FloatFormat

NOT_COUNTED = (
    "Not counted: evaluation, random numbers (dropout), control, clock tree, leakage and idle "
    "time, the network between processing elements. Words handed from one operation of the vector "
    "unit to the next cost nothing."
)


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One kind of work. bits: width (0 where the count itself is in bits). detail: e.g. `8x9`."""

    kind: str
    bits: int = 0
    detail: str = ""


Events = dict[Event, int]


def add_events(total: Events, events: Mapping[Event, int]) -> None:
    """Add the counts of `events` into `total`."""
    for event, count in events.items():
        total[event] = total.get(event, 0) + count


def event_rows(events: Mapping[Event, int]) -> list[list[str | int]]:
    """Return the events as JSON values, rows [kind, bits, detail, count], sorted."""
    return [[e.kind, e.bits, e.detail, n] for e, n in sorted(events.items())]


def float_multiply(a: FloatFormat, b: FloatFormat) -> Event:
    """Return the event of one float product; detail e.g. `11x11e5`: significands, exponent."""
    detail = f"{a.mantissa_bits + 1}x{b.mantissa_bits + 1}"
    return Event(
        "float_multiply",
        max(a.bits, b.bits),
        f"{detail}e{max(a.exponent_bits, b.exponent_bits)}",
    )
