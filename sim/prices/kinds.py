"""How an event without a row of its own is priced: a weighted sum of rows, one rule per kind.

Every rule is linear in the table's rows, so an energy is a weighted sum of rows too, and a row
shared by two configurations stays shared when they are compared (energy.difference).
"""

from collections.abc import Callable, Mapping, Sequence

from ..events.event import Event

Key = tuple[str, int, str]  # kind, bits, detail of a row
Weights = dict[Key, float]
Rows = Mapping[str, Sequence[tuple[float, Key]]]  # kind -> (width, key), ascending

_FP32_SIGNIFICAND = 24  # bits, IEEE 754


def add_weights(total: Weights, weights: Mapping[Key, float], times: float = 1.0) -> None:
    """Add `times` * `weights` into `total`."""
    for key, weight in weights.items():
        total[key] = total.get(key, 0.0) + times * weight


def interpolate(points: Sequence[tuple[float, Key]], width: float) -> Weights:
    """Return the weights at `width` on a line through neighbouring rows.

    Below the first and above the last row the price is proportional to the width.
    """
    below = [point for point in points if point[0] <= width]
    above = [point for point in points if point[0] > width]
    if not below or not above:
        edge, key = points[0] if not below else points[-1]
        return {key: width / edge}
    (left, left_key), (right, right_key) = below[-1], above[0]
    share = (width - left) / (right - left)
    weights = {left_key: 1.0 - share, right_key: share}
    return {key: weight for key, weight in weights.items() if weight}


def _adder(rows: Rows, bits: float) -> Weights:
    return interpolate(rows["int_add"], bits)


def _multiplier(rows: Rows, first: int, second: int) -> Weights:
    return interpolate(rows["int_multiply"], first * second)


def _muxes(rows: Rows, count: float) -> Weights:
    return {rows["mux_bits"][0][1]: count}


def _shifter(rows: Rows, bits: int) -> Weights:
    """A barrel shifter: ceil(log2(bits)) stages of `bits` 2:1 multiplexers."""
    return _muxes(rows, bits * (bits - 1).bit_length())


def _sum(*parts: Mapping[Key, float]) -> Weights:
    total: Weights = {}
    for part in parts:
        add_weights(total, part)
    return total


def _pair(event: Event) -> tuple[int, int]:
    """Read a detail `AxB`."""
    first, _, second = event.detail.partition("x")
    return int(first), int(second)


def _add(event: Event, rows: Rows) -> Weights:
    return _adder(rows, event.bits)


def _multiply(event: Event, rows: Rows) -> Weights:
    return _multiplier(rows, *_pair(event))


def _shift(event: Event, rows: Rows) -> Weights:
    return _shifter(rows, event.bits)


def _bin_select(event: Event, rows: Rows) -> Weights:
    entries, bits = _pair(event)
    return _muxes(rows, (entries - 1) * bits)


def _antilog(event: Event, rows: Rows) -> Weights:
    """Word bits times the root of the entries, as Horowitz's SRAM grows, from the base row."""
    entries, bits = _pair(event)
    (_, key), *_ = rows["antilog_lookup"]
    base_entries, base_bits = _pair(Event(*key))
    return {key: bits / base_bits * (entries / base_entries) ** 0.5}


def _gauss(event: Event, rows: Rows) -> Weights:
    """The tables of S and D are read-only words, as the antilog's are."""
    return _antilog(Event("antilog_lookup", event.bits, event.detail), rows)


def _float_multiply(event: Event, rows: Rows) -> Weights:
    significands, _, exponent = event.detail.partition("e")
    first, _, second = significands.partition("x")
    overhead = {rows["float_overhead"][0][1]: float(event.bits)}
    return _sum(_multiplier(rows, int(first), int(second)), _adder(rows, int(exponent)), overhead)


def _float_add(event: Event, rows: Rows) -> Weights:
    return interpolate(rows["float_add"], event.bits)


def _convert(event: Event, rows: Rows) -> Weights:
    """Accumulator to fp32: leading-one search (as an add), shift, rounding add."""
    adds = _sum(_adder(rows, event.bits), _adder(rows, _FP32_SIGNIFICAND))
    return _sum(adds, _shifter(rows, event.bits))


def _encode(event: Event, rows: Rows) -> Weights:
    """fp32 to a code. LNS: log2(gamma) comparisons of significands, then the exponent's add."""
    last = _adder(rows, event.bits)
    kind, _, gamma = event.detail.partition("=")
    if kind == "gamma":
        steps = int(gamma).bit_length() - 1
        compares = {key: weight * steps for key, weight in _adder(rows, _FP32_SIGNIFICAND).items()}
        return _sum(last, compares)
    return _sum(last, _shifter(rows, _FP32_SIGNIFICAND))


def _scaled_fp32(event: Event, rows: Rows) -> Weights:
    """A division, root or exponential: its fp32 row, by the square of the significand's bits."""
    fp32 = [key for _, key in rows.get(event.kind, ()) if key[1] == 32 and key[2] == event.detail]
    if not fp32:
        raise ValueError(f"prices must have a 32-bit row for {event}, got none")
    return {fp32[0]: (_significand(event.bits) / _FP32_SIGNIFICAND) ** 2}


def _significand(bits: int) -> int:
    """Significand bits of the vector unit's formats: fp16 has 11, bf16 is charged as fp16."""
    return _FP32_SIGNIFICAND if bits >= 32 else 11 if bits >= 16 else 4


def _wire(event: Event, rows: Rows) -> Weights:
    """Bits times the way: detail `1.5mm`."""
    return {rows["wire_bits"][0][1]: float(event.detail.removesuffix("mm"))}


def _sram(event: Event, rows: Rows) -> Weights:
    """A bit of a word of `bits`, from a bank of `detail` bytes (`65536B`).

    Between measured banks linear in the root of the capacity, as CACTI's own curve nearly is,
    beyond them proportional to it; between measured word widths linear, beyond them the nearest.
    """
    grid: dict[int, list[tuple[float, Key]]] = {}
    for _, key in rows[event.kind]:
        grid.setdefault(key[1], []).append((_bank_bytes(key[2]) ** 0.5, key))
    widths, root = sorted(grid), _bank_bytes(event.detail) ** 0.5
    width = min(max(event.bits, widths[0]), widths[-1])
    low = max(w for w in widths if w <= width)
    high = min(w for w in widths if w >= width)
    share = (width - low) / (high - low) if high > low else 0.0
    total: Weights = {}
    for at, part in ((low, 1.0 - share), (high, share)):
        if part:
            add_weights(total, interpolate(sorted(grid[at]), root), part)
    return total


def _bank_bytes(detail: str) -> int:
    return int(detail.removesuffix("B"))


def _float_to_int(event: Event, rows: Rows) -> Weights:
    return _sum(_shifter(rows, _FP32_SIGNIFICAND), _adder(rows, _FP32_SIGNIFICAND))


Rule = Callable[[Event, Rows], Weights]

RULES: dict[str, Rule] = {
    "exponent_add": _add,
    "accumulate": _add,
    "tree_add": _add,
    "result_add": _add,
    "distance": _add,
    "log_add": _add,
    "requantise": _add,
    "compare": _add,
    "int_multiply": _multiply,
    "significand_multiply": _multiply,
    "constant_multiply": _multiply,
    "shift": _shift,
    "bin_select": _bin_select,
    "register_select": _bin_select,
    "larger_select": _bin_select,
    "antilog_lookup": _antilog,
    "gauss_lookup": _gauss,
    "float_multiply": _float_multiply,
    "float_add": _float_add,
    "convert": _convert,
    "encode": _encode,
    "float_to_int": _float_to_int,
    "float_div_sqrt": _scaled_fp32,
    "float_exp": _scaled_fp32,
    "sram_read_bits": _sram,
    "sram_write_bits": _sram,
    "wire_bits": _wire,
}

# What the report prints: how each kind is priced where the table has no row of its own.
RULE_TEXT: dict[str, str] = {
    "exponent_add, accumulate, tree_add, result_add, requantise, compare, distance, log_add": (
        "an integer adder of the same width: linear in bits between the int_add rows, "
        "proportional to the width outside them"
    ),
    "int_multiply, significand_multiply, constant_multiply": (
        "linear in the product of the two widths between the int_multiply rows, proportional "
        "outside them"
    ),
    "shift": "bits * ceil(log2 bits) mux_bits (a barrel shifter)",
    "bin_select, register_select, larger_select": "(L - 1) * W mux_bits: one of L words of W bits",
    "antilog_lookup, gauss_lookup": "word bits * sqrt(entries), from the antilog's 8x9 row",
    "float_multiply": (
        "int_multiply of the significands + int_add of the exponents + float_overhead per bit"
    ),
    "float_add": "linear in bits between the fp16 and fp32 rows, proportional below",
    "convert": "int_add (W) + shift (W) + int_add (24)",
    "encode": (
        "LNS: log2(gamma) * int_add (24) + int_add (code bits); else shift (24) + int_add "
        "(code bits)"
    ),
    "float_to_int": "shift (24) + int_add (24)",
    "float_div_sqrt, float_exp": (
        "the fp32 row times the square of the significand's share of 24 bits"
    ),
    "sram_read_bits, sram_write_bits": (
        "a bank by its bytes: linear in the root of the capacity between CACTI's, proportional to "
        "it outside; linear in the word's width"
    ),
    "wire_bits": "per mm",
}
