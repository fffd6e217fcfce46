"""What the multiply-accumulates of a GEMM do: one two-stage unit per lane.

Every count is of what ran, products by zero included.
"""

from collections.abc import Iterable
from functools import lru_cache

from ...lns.checks import require_int
from ...lns.datapath import Accumulator, AnyDatapath, Datapath, FloatDatapath, IntDatapath
from ...lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from .event import Event, Events, add_events, float_multiply
from .log_mac import log_events
from .mx_mac import mx_events


def gemm_events(
    datapath: AnyDatapath, a_fmt: AnyFormat, b_fmt: AnyFormat, m: int, n: int, k: int
) -> Events:
    """Return the events of one GEMM (m, k) x (k, n).

    Per product, LNS style "direct": exponent_add (width of the largest sum), antilog_lookup
    (detail entries x word bits; none for Mitchell's rule or gamma = 1, where the mantissa is
    wires), shift (wider of mantissa and W), accumulate (W).
    "bins": no look-up; bin_select (one of L accumulators of W bits), and per output L
    constant_multiply and L - 1 result_add. "log": see log_events.
    Float with a float accumulator: float_multiply (detail significands and exponent width) and
    float_add (accumulator's format). Float with a fixed accumulator: significand_multiply,
    exponent_add, shift, accumulate. Integer: int_multiply, accumulate (its alignment is wires).
    MX: see mx_events.
    lanes V > 1: v products of a group make v - 1 tree_add of growing width and one accumulate, so
    that adds and products stay equal in number ("bins": an accumulate per product).
    Per output: convert, W bits to fp32 (a float accumulator needs none). register_bits: operand,
    product and accumulator flip-flops clocked. Raises TypeError where formats and datapath are of
    different families.
    """
    for name, size in (("m", m), ("n", n), ("k", k)):
        require_int(name, size, 0, 1 << 40)
    events = _compute_events(datapath, a_fmt, b_fmt, m * n, k)
    return {event: count for event, count in events if count}


@lru_cache(maxsize=4096)
def _compute_events(
    datapath: AnyDatapath, a: AnyFormat, b: AnyFormat, outputs: int, k: int
) -> tuple[tuple[Event, int], ...]:
    match datapath, a, b:
        case Datapath(), LNSFormat(), LNSFormat():
            log = datapath.accumulator.style == "log"
            events = (log_events if log else _lns_events)(datapath, a, b, outputs, k)
        case FloatDatapath(), FloatFormat(), FloatFormat():
            events = _float_events(datapath.accumulator, a, b, outputs, k)
        case FloatDatapath(accumulator=FloatFormat() as sums), MXFormat(), MXFormat():
            events = mx_events(sums, a, b, outputs, k)
        case IntDatapath(accumulator=total), IntFormat(), IntFormat():
            multiply = Event("int_multiply", max(a.bits, b.bits), _by(a.bits, b.bits))
            events = {multiply: outputs * k}
            add_events(events, _sum_events(total, outputs, k))
            add_events(events, _register_events(a, b, a.bits + b.bits, total, events))
        case _:
            raise TypeError(
                f"formats must be of the datapath's family, got {a.name} and {b.name} "
                f"for {type(datapath).__name__}"
            )
    return tuple(events.items())


def _lns_events(datapath: Datapath, a: LNSFormat, b: LNSFormat, outputs: int, k: int) -> Events:
    mac, accumulator = datapath.resolve(a, b), datapath.accumulator
    mantissa_bits = max(mac.mantissa).bit_length()
    products = outputs * k
    events = {
        Event("exponent_add", mac.max_sum.bit_length()): products,
        Event("shift", max(mantissa_bits, accumulator.bits)): products,
    }
    if accumulator.style == "bins":
        events[Event("accumulate", accumulator.bits)] = products
        if mac.entries > 1:
            select = Event("bin_select", accumulator.bits, _by(mac.entries, accumulator.bits))
            events[select] = products
        constant_bits = max(mac.constants).bit_length()
        multiply = Event(
            "constant_multiply", accumulator.bits, _by(accumulator.bits, constant_bits)
        )
        wide = accumulator.bits + constant_bits + mac.entries.bit_length() - 1
        events |= {
            multiply: outputs * mac.entries,
            Event("result_add", wide): outputs * (mac.entries - 1),
            Event("convert", wide): outputs,
        }
    else:
        if mac.entries > 1:
            # Any table of more than one entry is a table of gamma values in style "direct".
            word = Event("antilog_lookup", mantissa_bits, _by(mac.gamma, mantissa_bits))
            events[word] = products
        add_events(events, _sum_events(accumulator, outputs, k))
    # The register between the stages holds the aligned term and its sign.
    add_events(events, _register_events(a, b, accumulator.term_bits + 1, accumulator, events))
    return events


def _float_events(
    accumulator: FloatFormat | Accumulator, a: FloatFormat, b: FloatFormat, outputs: int, k: int
) -> Events:
    products = outputs * k
    significands = (a.mantissa_bits + 1, b.mantissa_bits + 1)
    exponent = max(a.exponent_bits, b.exponent_bits)
    if isinstance(accumulator, FloatFormat):
        product_bits = sum(significands) + exponent + 2  # sign and one more exponent bit
        clocked = a.bits + b.bits + product_bits + accumulator.bits
        return {
            float_multiply(a, b): products,
            Event("float_add", accumulator.bits, accumulator.name): products,
            Event("register_bits"): products * clocked,
        }
    events = {
        Event("significand_multiply", max(significands), _by(*significands)): products,
        Event("exponent_add", exponent + 1): products,
        Event("shift", max(sum(significands), accumulator.bits)): products,
    }
    add_events(events, _sum_events(accumulator, outputs, k))
    add_events(events, _register_events(a, b, accumulator.term_bits + 1, accumulator, events))
    return events


def _sum_events(accumulator: Accumulator, outputs: int, k: int) -> Events:
    """Adder tree, accumulator and conversion of `outputs` sums of k terms."""
    lanes = accumulator.lanes
    full, rest = divmod(k, lanes)
    events: Events = {}
    for group, count in ((lanes, full * outputs), (rest, outputs if rest else 0)):
        left, width = group, accumulator.term_bits + 1
        while left > 1 and count:
            width += 1
            add_events(events, {Event("tree_add", width): left // 2 * count})
            left -= left // 2
    tree_bits = accumulator.term_bits + 1 + (lanes - 1).bit_length()
    add = Event("accumulate", max(accumulator.bits, tree_bits))
    add_events(events, {add: outputs * (full + (rest > 0))})
    events[Event("convert", accumulator.bits)] = outputs
    return events


def _register_events(
    a: Format, b: Format, product_bits: int, accumulator: Accumulator, events: Events
) -> Events:
    """Flip-flop bits clocked: two operands and a product per product, W bits per accumulation."""
    adds = _count(events, ("accumulate",))
    products = adds + _count(events, ("tree_add",))
    clocked = products * (a.bits + b.bits + product_bits) + adds * accumulator.bits
    return {Event("register_bits"): clocked}


def _count(events: Events, kinds: Iterable[str]) -> int:
    return sum(count for event, count in events.items() if event.kind in kinds)


def _by(first: int, second: int) -> str:
    return f"{first}x{second}"
