"""What a learning rule's step does on the vector unit."""

from ...lns.checks import require_int
from ...lns.format import FP32, Format, LNSFormat
from ..rules.rule import get_rule
from .event import Event, Events, add_events
from .vector import vector_events


def update_events(
    rule: str, elements: int, update_fmt: Format | None, unit: Format = FP32, tensors: int = 0
) -> Events:
    """Return the events of one step of `rule` over `elements` weights, on a vector unit of `unit`.

    update_fmt: format the weight is stored in between steps; None: a master copy in the unit's
    format. tensors: in so many tensors, for what the rule does once in each. A rule that stores
    codes moves their exponents besides: `Rule.per_code` on exponents and a sign, which takes an
    LNSFormat. Raises ValueError for an unknown rule and for codes of another format.
    """
    known = get_rule(rule)
    require_int("elements", elements, 0, 1 << 50)
    require_int("tensors", tensors, 0, 1 << 50)
    arithmetic = {kind: count * elements for kind, count in known.per_element.items()}
    for kind, count in known.per_tensor.items():
        arithmetic[kind] = arithmetic.get(kind, 0) + count * tensors
    events = vector_events(arithmetic, unit)
    if known.stores == "code":
        if not isinstance(update_fmt, LNSFormat):
            raise ValueError(f"update_fmt must be an LNSFormat for {rule}, got {update_fmt!r}")
        width = update_fmt.exponent_bits + 1
        kinds = {"add": "exponent_add", "compare": "compare"}
        for kind, count in known.per_code.items():
            if elements:
                add_events(events, {Event(kinds[kind], width): count * elements})
    return events
