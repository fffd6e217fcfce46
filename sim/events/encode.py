"""What the conversion unit does: numbers into codes, and codes into other codes."""

from ...lns.checks import require_int
from ...lns.format import FP32, Format, IntFormat, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from .event import Event, Events


def encode_events(fmt: AnyFormat, elements: int, source: Format = FP32) -> Events:
    """Return the events of converting `elements` numbers of `source` into codes of `fmt`.

    encode (from fp32): detail `gamma=8`, `float` or `int`, of MX the element's; none for fp32
    itself, which is the vector unit's format. requantise (LNS code to LNS code): an exponent
    addition with rounding.
    """
    require_int("elements", elements, 0, 1 << 50)
    events: Events = {}
    fmt = fmt.element if isinstance(fmt, MXFormat) else fmt
    if isinstance(source, LNSFormat) and isinstance(fmt, LNSFormat):
        wide = max(source.exponent_bits, fmt.exponent_bits) + 1
        events[Event("requantise", wide)] = elements
    elif isinstance(fmt, LNSFormat):
        events[Event("encode", fmt.bits, f"gamma={fmt.gamma}")] = elements
    elif isinstance(fmt, IntFormat):
        events[Event("encode", fmt.bits, "int")] = elements
    elif fmt.bits < FP32.bits:
        events[Event("encode", fmt.bits, "float")] = elements
    return {event: count for event, count in events.items() if count}
