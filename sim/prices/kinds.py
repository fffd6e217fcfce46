"""Kinds of events, one record each: group, unit, what its rows look like, the rule of its price.

A rule says what an event without a row of its own costs: a weighted sum of rows. Being linear in
the table's rows, an energy is a weighted sum of rows too, and a row shared by two configurations
stays shared when they are compared (`table.difference`). A new kind is one more record in KINDS.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..events.event import Event
from ..machine.machine import DRAM_KINDS

Key = tuple[str, int, str]  # kind, bits, detail of a row
Weights = dict[Key, float]
Rows = Mapping[str, Sequence[tuple[float, Key]]]  # kind -> (its `position`, key), ascending
#: what energies are summed by; the vector unit's events are told by their place, not their kind
GROUPS = ("arithmetic", "registers", "conversion", "vector", "buffer", "wires", "dram")

_FP32_SIGNIFICAND = 24  # bits, IEEE 754


@dataclass(frozen=True, slots=True)
class PriceRule:
    """How an event without a row of its own is priced from rows of its and other kinds."""

    text: str  #: for people
    weights: Callable[[Event, Rows], Weights]  #: KeyError names a kind that has no row


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: what a row of it must hold and how it is priced without one."""

    name: str
    rule: PriceRule | None = None  #: None: every event needs a row of its own
    group: str = "arithmetic"  #: one of GROUPS
    per_bit: bool = False  #: pJ of a bit, else of an operation
    node: bool = True  #: its rows are of the table's node; else they say where they are from
    bits: str = "a width above 0"  #: what a row's bits must be; "": there are none
    detail: str = ""  #: regular expression of a row's detail; "": there is none
    #: what a row's bits follow from, as no rule looks for the row by anything else
    bits_of: Callable[[str], str] | None = None

    @property
    def unit(self) -> str:
        """What a row's unit must be."""
        return "pJ/bit" if self.per_bit else "pJ/operation"


def _rule(text: str) -> Callable[[Callable[[Event, Rows], Weights]], PriceRule]:
    """Make the rule of a function of an event and the table's rows."""
    return lambda weights: PriceRule(text, weights)


def kind_of(name: str) -> Kind:
    """Return the record of a kind; one that is not known here needs rows of its own."""
    return KINDS.get(name) or Kind(name)


def group_of(name: str) -> str:
    """Return which of GROUPS a kind belongs to."""
    return kind_of(name).group


def position(key: Key) -> float:
    """Where a row stands on its kind's line: bits, or the product of the widths of a multiplier."""
    kind, bits, detail = key
    if kind == "int_multiply":
        first, second = _pair(detail)
        return first * second
    return bits


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


def _pair(detail: str) -> tuple[int, int]:
    """Read a detail `AxB`."""
    first, _, second = detail.partition("x")
    return int(first), int(second)


@_rule(
    "an integer adder of the same width: linear in bits between the int_add rows, "
    "proportional to the width outside them"
)
def _add(event: Event, rows: Rows) -> Weights:
    return _adder(rows, event.bits)


@_rule(
    "linear in the product of the two widths between the int_multiply rows, proportional "
    "outside them"
)
def _multiply(event: Event, rows: Rows) -> Weights:
    first, second = _pair(event.detail)
    return interpolate(rows["int_multiply"], first * second)


@_rule("bits * ceil(log2 bits) mux_bits (a barrel shifter)")
def _shift(event: Event, rows: Rows) -> Weights:
    return _shifter(rows, event.bits)


@_rule("(L - 1) * W mux_bits: one of L words of W bits")
def _bin_select(event: Event, rows: Rows) -> Weights:
    entries, bits = _pair(event.detail)
    return _muxes(rows, (entries - 1) * bits)


@_rule("word bits * sqrt(entries), from the antilog's 8x9 row")
def _antilog(event: Event, rows: Rows) -> Weights:
    # as Horowitz's SRAM grows; the tables of S and D are read-only words too
    entries, bits = _pair(event.detail)
    (_, key), *_ = rows["antilog_lookup"]
    base_entries, base_bits = _pair(key[2])
    return {key: bits / base_bits * (entries / base_entries) ** 0.5}


@_rule("int_multiply of the significands + int_add of the exponents + float_overhead per bit")
def _float_multiply(event: Event, rows: Rows) -> Weights:
    significands, _, exponent = event.detail.partition("e")
    first, second = _pair(significands)
    product = interpolate(rows["int_multiply"], first * second)
    overhead = {rows["float_overhead"][0][1]: float(event.bits)}
    return _sum(product, _adder(rows, int(exponent)), overhead)


@_rule("linear in bits between the fp16 and fp32 rows, proportional below")
def _float_add(event: Event, rows: Rows) -> Weights:
    return interpolate(rows["float_add"], event.bits)


@_rule("int_add (W) + shift (W) + int_add (24)")
def _convert(event: Event, rows: Rows) -> Weights:
    """Accumulator to fp32: leading-one search (as an add), shift, rounding add."""
    adds = _sum(_adder(rows, event.bits), _adder(rows, _FP32_SIGNIFICAND))
    return _sum(adds, _shifter(rows, event.bits))


@_rule(
    "LNS: log2(gamma) * int_add (24) + int_add (code bits); else shift (24) + int_add (code bits)"
)
def _encode(event: Event, rows: Rows) -> Weights:
    """fp32 to a code. LNS: log2(gamma) comparisons of significands, then the exponent's add."""
    last = _adder(rows, event.bits)
    kind, _, gamma = event.detail.partition("=")
    if kind == "gamma":
        steps = int(gamma).bit_length() - 1
        compares = {key: weight * steps for key, weight in _adder(rows, _FP32_SIGNIFICAND).items()}
        return _sum(last, compares)
    return _sum(last, _shifter(rows, _FP32_SIGNIFICAND))


@_rule("the fp32 row times the square of the significand's share of 24 bits")
def _scaled_fp32(event: Event, rows: Rows) -> Weights:
    fp32 = [key for _, key in rows.get(event.kind, ()) if key[1] == 32 and key[2] == event.detail]
    if not fp32:
        raise ValueError(f"prices must have a 32-bit row for {event}, got none")
    return {fp32[0]: (_significand(event.bits) / _FP32_SIGNIFICAND) ** 2}


def _significand(bits: int) -> int:
    """Significand bits of the vector unit's formats: fp16 has 11, bf16 is charged as fp16."""
    return _FP32_SIGNIFICAND if bits >= 32 else 11 if bits >= 16 else 4


@_rule("per mm")
def _wire(event: Event, rows: Rows) -> Weights:
    """Bits times the way: detail `1.5mm`."""
    return {rows["wire_bits"][0][1]: float(event.detail.removesuffix("mm"))}


@_rule(
    "a bank by its bytes: linear in the root of the capacity between CACTI's, proportional to "
    "it outside; linear in the word's width"
)
def _sram(event: Event, rows: Rows) -> Weights:
    # as CACTI's own curve nearly is; beyond the measured word widths, the nearest
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


@_rule("shift (24) + int_add (24)")
def _float_to_int(event: Event, rows: Rows) -> Weights:
    return _sum(_shifter(rows, _FP32_SIGNIFICAND), _adder(rows, _FP32_SIGNIFICAND))


_N = "[1-9][0-9]{0,5}"
_PAIR = f"{_N}x{_N}"
_BYTES, _WORD = "[1-9][0-9]{0,14}B", "the width of a word"
_DRAM = f"({'|'.join(DRAM_KINDS)})( [0-9.e+-]+)?"  # with a machine's own price behind it
_PAPER = {"lns8": "8", "fp8": "8", "fp16": "16", "fp32": "32"}  # LNS-Madam's: cost/mac_source.py


def _first(detail: str) -> str:
    return detail.partition("x")[0]


def _second(detail: str) -> str:
    return detail.partition("x")[2]


def _wider(detail: str) -> str:
    return max(detail.split("x"), key=int)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("int_add"),
        Kind("mux_bits", per_bit=True, bits=""),
        Kind("register_bits", group="registers", per_bit=True, bits=""),
        Kind("float_overhead", per_bit=True, bits=""),
        Kind("mac", node=False, detail="|".join(_PAPER), bits_of=_PAPER.__getitem__),
        *(Kind(name, _add) for name in ("exponent_add", "accumulate", "tree_add", "result_add")),
        Kind("requantise", _add, "conversion"),
        *(Kind(name, _add) for name in ("compare", "distance", "log_add")),
        Kind("int_multiply", _multiply, detail=_PAIR),
        Kind("significand_multiply", _multiply, detail=_PAIR, bits_of=_wider),
        Kind("constant_multiply", _multiply, detail=_PAIR, bits_of=_first),
        Kind("shift", _shift),
        *(
            Kind(f"{what}_select", _bin_select, detail=_PAIR, bits_of=_second)
            for what in ("bin", "register", "larger")
        ),
        Kind("antilog_lookup", _antilog, detail=_PAIR),
        Kind("gauss_lookup", _antilog, detail=_PAIR, bits_of=_second),
        Kind("float_multiply", _float_multiply, detail=f"{_PAIR}e{_N}"),
        Kind("float_add", _float_add, detail=".*"),  # the format's name; the rule asks for bits
        Kind("convert", _convert, "conversion"),
        Kind("encode", _encode, "conversion", detail=f"gamma={_N}|float|int"),
        Kind("float_to_int", _float_to_int, "conversion"),
        Kind("float_div_sqrt", _scaled_fp32, detail="divide|sqrt"),
        Kind("float_exp", _scaled_fp32),
        Kind("sram_read_bits", _sram, "buffer", True, detail=_BYTES, bits=_WORD),
        Kind("sram_write_bits", _sram, "buffer", True, detail=_BYTES, bits=_WORD),
        Kind("dram_read_bits", None, "dram", True, node=False, detail=_DRAM, bits=""),
        Kind("dram_write_bits", None, "dram", True, node=False, detail=_DRAM, bits=""),
        Kind("wire_bits", _wire, "wires", True, detail="1mm", bits=""),
    )
}


def rule_texts() -> dict[str, str]:
    """Return kinds of one rule, separated by commas -> its text, in the order of KINDS."""
    names: dict[PriceRule, list[str]] = {}
    for kind in KINDS.values():
        if kind.rule is not None:
            names.setdefault(kind.rule, []).append(kind.name)
    return {", ".join(kinds): rule.text for rule, kinds in names.items()}
