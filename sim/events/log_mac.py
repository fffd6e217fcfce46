"""What a multiply-accumulate of style "log" does: an exponent's addition and a logarithmic sum.

The sum unit: both differences of the two exponents at once (the carry picks the larger), S or D of
the distance by the datapath's variant, and one addition to the larger exponent. No unit of this
kind was synthesised for the price table: its parts are priced as those of the linear datapath.
"""

from functools import lru_cache

from ...lns.datapath import Datapath
from ...lns.format import LNSFormat
from ...lns.gauss import KNOT_BITS, gauss_table, split_variant, zero_from
from .event import Event, Events

_FP32_SIGNIFICAND = 24  # bits, IEEE 754


def log_events(datapath: Datapath, a: LNSFormat, b: LNSFormat, outputs: int, k: int) -> Events:
    """Return the events of `outputs` sums of k products in style "log".

    Per product: exponent_add (width of the largest exponent + 1). Per sum (k of them an output,
    and one less than the lanes in use to join these): distance (W) twice, what finds S or D,
    larger_select (one of two numbers of W + 1 bits), accumulate (W). S and D: "exact", "table:n"
    gauss_lookup (detail words x bits, both tables); "interp:n" two look-ups of knots, int_multiply
    by the place between them and log_add (a division by w is taken as wires); "mitchell" two shifts
    and two log_add (1 - y and the leading one). Per output: exponent_add and antilog_lookup of G
    words of fp32's significand, the conversion. register_bits: both operands, product and sum.
    """
    width, mac = datapath.accumulator.bits, datapath.resolve(a, b)
    products = outputs * k
    sums = products + outputs * (min(datapath.accumulator.lanes, max(k, 1)) - 1)
    events: Events = {
        Event("exponent_add", (mac.max_sum + 1).bit_length()): products,
        Event("distance", width): 2 * sums,
        Event("larger_select", width + 1, f"2x{width + 1}"): sums,
        Event("accumulate", width): sums,
        Event("register_bits"): products * (a.bits + b.bits + width + 1) + sums * (width + 1),
    }
    for event, times in change_events(mac.gamma, width, datapath.variant).items():
        events[event] = events.get(event, 0) + times * sums
    last = Event("exponent_add", width)
    events[last] = events.get(last, 0) + outputs
    if mac.gamma > 1:
        word = f"{mac.gamma}x{_FP32_SIGNIFICAND}"
        events[Event("antilog_lookup", _FP32_SIGNIFICAND, word)] = outputs
    return events


@lru_cache(maxsize=64)
def change_events(gamma: int, width: int, variant: str) -> Events:
    """Return the events of finding S or D of a distance of two exponents of `width` bits.

    No table holds words for distances that those exponents do not reach, 2^width and above.
    """
    kind, entries = split_variant(variant)
    reach = 1 << width
    zeros = [zero_from(gamma, opposite) for opposite in (False, True)]
    lengths = [min(zero, reach) for zero in zeros]
    bits = int(max(gauss_table(gamma, opposite).max() for opposite in (False, True))).bit_length()
    if kind == "exact":
        return {_lookup(sum(lengths), bits): 1}
    if kind == "mitchell":  # a fraction of log2(2 gamma) bits, as far down as it still counts
        fraction = gamma.bit_length() + max(lengths) // gamma
        return {Event("shift", fraction): 2, Event("log_add", fraction): 2}
    steps = [-(-zero // entries) for zero in zeros]
    parts = [min(entries, n, -(-reach // step)) for n, step in zip(lengths, steps, strict=True)]
    if kind == "table" or max(steps) == 1:
        return {_lookup(sum(parts), bits): 1}
    knot = bits + KNOT_BITS
    place = (max(steps) - 1).bit_length()
    return {
        _lookup(sum(parts) + len(parts), knot): 2,
        Event("int_multiply", max(knot, place), f"{knot}x{place}"): 1,
        Event("log_add", knot): 2,
    }


def _lookup(words: int, bits: int) -> Event:
    return Event("gauss_lookup", bits, f"{words}x{bits}")
