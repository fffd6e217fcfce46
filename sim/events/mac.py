"""What a step does, as counted events: the interface between training and its cost.

An `Event` names one kind of work, its width and a detail; a mapping Event -> count is all that
energy.py (and a machine model) needs to know. The hardware counted is one two-stage
multiply-accumulate unit per lane, a conversion unit, an on-chip buffer, a DRAM and an fp32 vector
unit for the update. Every count is of what ran, products by zero included.

Words that move are no matter of this file: step_cost.py counts them, from a machine's memories.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from ...lns.checks import require_choice, require_int
from ...lns.datapath import Accumulator, AnyDatapath, Datapath, FloatDatapath
from ...lns.format import FP32, FloatFormat, Format, IntFormat, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from .event import Event, Events, add_events, float_multiply
from .log_mac import log_events
from .mx_mac import mx_events

RULES = ("sgd", "adamw", "madam", "integer-madam", "lns-madam")

NOT_COUNTED = (
    "Not counted: evaluation, random numbers (dropout), control, clock tree, leakage and idle "
    "time, the network between processing elements. Words handed from one operation of the vector "
    "unit to the next cost nothing."
)


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
    if isinstance(datapath, Datapath) and isinstance(a, LNSFormat) and isinstance(b, LNSFormat):
        log = datapath.accumulator.style == "log"
        events = (log_events if log else _lns_events)(datapath, a, b, outputs, k)
    elif (
        isinstance(datapath, FloatDatapath)
        and isinstance(a, FloatFormat)
        and isinstance(b, FloatFormat)
    ):
        events = _float_events(datapath.accumulator, a, b, outputs, k)
    elif (
        isinstance(datapath, FloatDatapath)
        and isinstance(datapath.accumulator, FloatFormat)
        and isinstance(a, MXFormat)
        and isinstance(b, MXFormat)
    ):
        events = mx_events(datapath.accumulator, a, b, outputs, k)
    elif (
        not isinstance(datapath, Datapath | FloatDatapath)
        and isinstance(a, IntFormat)
        and isinstance(b, IntFormat)
    ):
        multiply = Event("int_multiply", max(a.bits, b.bits), _by(a.bits, b.bits))
        events = {multiply: outputs * k}
        add_events(events, _sum_events(datapath.accumulator, outputs, k))
        add_events(events, _register_events(a, b, a.bits + b.bits, datapath.accumulator, events))
    else:
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


# Arithmetic per element, in the vector unit's format; formulas in update_events.
_UPDATE: dict[str, dict[str, int]] = {
    "sgd": {"multiply": 2, "add": 2},
    "adamw": {"multiply": 9, "add": 4, "divide": 1, "sqrt": 1},
    "madam": {"multiply": 6, "add": 1, "divide": 1, "sqrt": 1, "exp": 1, "compare": 3},
    "lns-madam": {
        "multiply": 6, "add": 1, "divide": 1, "sqrt": 1, "exp": 1, "compare": 3, "round": 1,
    },
    "integer-madam": {"multiply": 5, "add": 1, "divide": 1, "sqrt": 1, "compare": 2, "round": 1},
}  # fmt: skip
STATE_WORDS = {"sgd": 1, "adamw": 2, "madam": 1, "lns-madam": 1, "integer-madam": 1}


def vector_events(arithmetic: Mapping[str, int], fmt: FloatFormat) -> Events:
    """Return the events of counted arithmetic on a unit of format `fmt`.

    Kinds: multiply, add, compare, divide, sqrt, exp, log, round (to an integer). A logarithm is
    priced as an exponential: both are a table and a short polynomial.
    """
    kinds = {
        "multiply": float_multiply(fmt, fmt),
        "add": Event("float_add", fmt.bits, fmt.name),
        "compare": Event("compare", fmt.bits),
        "divide": Event("float_div_sqrt", fmt.bits, "divide"),
        "sqrt": Event("float_div_sqrt", fmt.bits, "sqrt"),
        "exp": Event("float_exp", fmt.bits),
        "log": Event("float_exp", fmt.bits),
        "round": Event("float_to_int", fmt.bits),
    }
    events: Events = {}
    for kind, count in arithmetic.items():
        if count:
            events[kinds[kind]] = events.get(kinds[kind], 0) + count
    return events


def update_events(
    rule: str, elements: int, update_fmt: Format | None, unit: FloatFormat = FP32
) -> Events:
    """Return the events of one optimiser step over `elements` weights, on a vector unit of `unit`.

    update_fmt: format the weight is stored in between steps; None: a master copy in the
    unit's format. Per
    element, with b1, b2, lr and the bias corrections as scalars:
    sgd: m = mu m + g; w -= lr m (2 multiplies, 2 adds; state m).
    adamw: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w = (1 - lr wd) w - lr (c1 m) /
    (sqrt(c2 v) + eps) (2 + 3 + 4 multiplies, 4 adds, divide, sqrt; state m and v).
    madam: v as above; u = clamp(g / sqrt(c2 v)); w *= exp(-lr u sign w); clamp |w| (3 + 1 + 1 + 1
    multiplies, 1 add, divide, sqrt, exp, 3 compares; state v).
    lns-madam: the same with u rounded to an integer.
    integer-madam: v and u as above; e -= round(lr_factor u) sign w, clamped: 5 multiplies, 1 add,
    divide, sqrt, 2 compares, a rounding; then an addition and two compares on the exponent's
    width. The format must be an LNSFormat. State v. STATE_WORDS: words of state per element.
    """
    require_choice("rule", rule, RULES)
    require_int("elements", elements, 0, 1 << 50)
    per_element = vector_events(_UPDATE[rule], unit)
    if rule == "integer-madam":
        if not isinstance(update_fmt, LNSFormat):
            raise ValueError(f"update_fmt must be an LNSFormat for {rule}, got {update_fmt!r}")
        width = update_fmt.exponent_bits + 1
        per_element |= {Event("exponent_add", width): 1, Event("compare", width): 2}
    return {event: count * elements for event, count in per_element.items() if elements}
