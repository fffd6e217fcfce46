"""One kind of work with its width and detail, and counts of it: what prices are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...lns.format import FloatFormat


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


def float_multiply(a: FloatFormat, b: FloatFormat) -> Event:
    """Return the event of one float product; detail e.g. `11x11e5`: significands, exponent."""
    detail = f"{a.mantissa_bits + 1}x{b.mantissa_bits + 1}"
    return Event(
        "float_multiply",
        max(a.bits, b.bits),
        f"{detail}e{max(a.exponent_bits, b.exponent_bits)}",
    )
