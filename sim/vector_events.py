"""Events of the vector unit's arithmetic in its own format."""

from collections.abc import Iterable

from ..lns.format import FloatFormat
from .events import Event, Events, float_multiply


def vector_events(arithmetic: Iterable[tuple[str, int]], fmt: FloatFormat) -> Events:
    """Return the events of counted arithmetic (workload.ARITHMETIC) in format `fmt`.

    A logarithm is priced as an exponential: both are a table and a short polynomial.
    """
    kinds = {
        "multiply": float_multiply(fmt, fmt),
        "add": Event("float_add", fmt.bits, fmt.name),
        "compare": Event("compare", fmt.bits),
        "divide": Event("float_div_sqrt", fmt.bits, "divide"),
        "sqrt": Event("float_div_sqrt", fmt.bits, "sqrt"),
        "exp": Event("float_exp", fmt.bits),
        "log": Event("float_exp", fmt.bits),
    }
    events: Events = {}
    for kind, count in arithmetic:
        if count:
            events[kinds[kind]] = events.get(kinds[kind], 0) + count
    return events
