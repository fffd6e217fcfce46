"""Tables of the fast kernel: every product of a datapath as factor times table entry.

For operand codes a and b a product is +-M * 2^(q_a + q_b - D) before it is rounded. The kernel
reads it as

    factor[a] * table[b, row[a]],

both floating point and exact: factor[a] = +-2^(q_a - top) and a table row for every remainder of a
where the operands are logarithmic (M depends on both remainders), factor[a] = the value itself and
a single row where they are floats or integers. |factor| is at most 1. A zero code has factor 0,
or a row of zeros.

A factor or entry below 2^-CLAMP in magnitude is replaced by +-2^-CLAMP: what it multiplies is less
than 2^CLAMP in magnitude, so the product stays within (-1, 1) with the sign it had, and rounds to
the same integer.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ....lns.datapath import Accumulator, AnyDatapath, Datapath, IntDatapath, LNSMac
from ....lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ..codes.decode import float_parts
from ..ir.emit import UNITS, VECTOR_BYTES, VECTORS
from ..ir.moves import TILE

CLAMP = 60
MAX_ROWS = 256  # of a panel; a finer gamma takes the general kernel (bench: g256 against g512)
MAX_ENTRIES = 1 << 22  # of the table: 16 MiB in float32
MAX_CODES = 1 << 16  # table rows that a uint16 can name
_FEW = 0xFFFF  # offsets in a word take no more bits than these
# Sums of rounded terms that a float32 (float64) holds with steps of 1, in bits: see `add_terms.py`.
SINGLE_BITS, DOUBLE_BITS = 22, 51
MAX_SINGLE_ACCUMULATOR = 31  # one spare bit in int32
MAX_DOUBLE_ACCUMULATOR = 62

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """Every code of a format taken apart: +-significand[remainder] * 2^quotient."""

    negative: npt.NDArray[np.bool_]  #: (codes,)
    zero: npt.NDArray[np.bool_]  #: (codes,), the other fields of a zero are 0
    remainder: Int64  #: (codes,)
    quotient: Int64  #: (codes,)


class Tables(NamedTuple):
    """A `TermTable` as the kernels take it, for one width of a block."""

    table: npt.NDArray[np.floating]  #: 1-D
    rows: int  #: of a panel
    low: np.uint32  #: the bits of a word that are an offset
    words: npt.NDArray[np.uint32]  #: (codes of a,)
    stride: np.uint32  #: what the offset in a word grows by from a product to the next
    padding: np.uint16  #: an entry of zeros
    bins: int  #: accumulators of an output
    masks: tuple[Any, Any]  #: see `TermTable`
    ceilings: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  #: likewise


@dataclass(frozen=True, slots=True, eq=False)
class TermTable:
    """What the fast kernel reads for one datapath and pair of formats; see the module."""

    words: dict[int, npt.NDArray[np.uint32]]  #: (codes of a,) by a block's vectors: the factor's
    #: bits (of a float64 the upper half) and below them the row's offset, see `_words_of`
    low: np.uint32  #: the bits of a word that are an offset
    table: npt.NDArray[np.floating]  #: (entries, rows); style "bins": entry = code of b * L + bin
    ceilings: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  #: largest |factor|, |table|
    #: of the codes of a, b up to a magnitude
    masks: tuple[Any, Any]  #: magnitude of a code of a, b; 0 where its bits do not say its order;
    #: of a in its codes' unsigned type, of b uint16
    padding: np.uint16  #: an entry of zeros
    constants: Int64  #: (L,) what a bin is multiplied by; [1] for style "direct"
    limits: npt.NDArray[Any]  #: (lowest, highest accumulator, item bits - W, -1 to wrap or 0)

    lanes: int = field(init=False)  #: of a vector
    rows: int = field(init=False)  #: of a panel
    bins: int = field(init=False)  #: accumulators of an output
    chain: float = field(init=False)  #: what a floating-point sum of terms must stay within
    read: dict[int, Tables] = field(init=False)  #: what kernels take, by a block's vectors

    def __post_init__(self) -> None:
        single = self.table.itemsize == 4
        flat, rows, bins = self.table.reshape(-1), self.table.shape[1], self.constants.size
        step = rows * VECTOR_BYTES // UNITS[self.table.itemsize]
        given = self.padding, bins, self.masks, self.ceilings
        read = {
            vectors: Tables(flat, rows, self.low, words, np.uint32(vectors * step), *given)
            for vectors, words in self.words.items()
        }
        for name, value in (
            ("lanes", VECTOR_BYTES // self.table.itemsize),
            ("rows", rows),
            ("bins", bins),
            ("chain", float(1 << (SINGLE_BITS if single else DOUBLE_BITS))),
            ("read", read),
        ):
            object.__setattr__(self, name, value)


def lns_operand(fmt: LNSFormat, ratio: int, gamma: int) -> Operand:
    """Take the codes of `fmt` apart for a datapath of `gamma` = fmt.gamma * ratio."""
    code = np.arange(1 << fmt.bits)
    stored = code & fmt.max_exponent
    quotient, remainder = np.divmod(stored * ratio, gamma)
    return Operand(code > fmt.max_exponent, (stored == 0) & fmt.zero, remainder, quotient)


def _signed(magnitude: Float64, operand: Operand) -> Float64:
    """Give values the operand's signs; zero codes become 0."""
    held = np.maximum(magnitude, 2.0**-CLAMP)
    return np.where(operand.zero, 0.0, np.where(operand.negative, -held, held))


def lns_terms(
    mac: LNSMac, left: LNSFormat, right: LNSFormat, bins: bool
) -> tuple[Float64, Int64, Float64]:
    """(factor, row, table) of two logarithmic formats; the table is (codes of b, rows, bins)."""
    a = lns_operand(left, mac.gamma // left.gamma, mac.gamma)
    b = lns_operand(right, mac.gamma // right.gamma, mac.gamma)
    remainders, row = np.unique(a.remainder, return_inverse=True)
    top = int(a.quotient.max())
    factor = _signed(_power(a.quotient - top), a)
    mantissa = np.array(mac.mantissa, np.float64)
    carry, rest = np.divmod(remainders + b.remainder[:, None], mac.gamma)
    size = mantissa[rest] * _power(b.quotient[:, None] + carry + (top - mac.shift))
    value = np.stack([_signed(size[:, r], b) for r in range(remainders.size)], axis=1)
    if not bins:
        return factor, row, value[:, :, None]
    own = rest // (mac.gamma // mac.entries)
    return factor, row, np.where(own[:, :, None] == np.arange(mac.entries), value[:, :, None], 0.0)


def _power(places: Int64) -> Float64:
    """2^places, no smaller than 2^-2 CLAMP."""
    return np.ldexp(1.0, np.maximum(places, -2 * CLAMP).astype(np.int32))


def _float_values(fmt: FloatFormat) -> tuple[Int64, Int64]:
    """(signed significand, exponent) of every code; non-finite codes count as zero."""
    code = np.arange(1 << fmt.bits)
    significand, exponent = float_parts(code, fmt)
    magnitude = code & ((1 << (fmt.bits - 1)) - 1)
    return np.where(magnitude > fmt.max_code, 0, significand).astype(np.int64), exponent.astype(
        np.int64
    )


def _int_values(fmt: IntFormat) -> tuple[Int64, Int64]:
    """(value, 0) of every code, indexed by its unsigned bits."""
    size = fmt.code_dtype.itemsize * 8
    value = np.arange(1 << size).astype(f"u{fmt.code_dtype.itemsize}").view(fmt.code_dtype)
    return value.astype(np.int64), np.zeros(value.size, np.int64)


def _linear_terms(
    a: tuple[Int64, Int64], b: tuple[Int64, Int64], shift: int
) -> tuple[Float64, Int64, Float64]:
    """(factor, row, table) of two formats whose codes have a value of their own."""
    scale = int((np.frexp(np.abs(a[0]).astype(np.float64))[1] + a[1]).max())
    factor = _clamped(a[0], a[1] - scale)
    table = _clamped(b[0], b[1] + (scale - shift))
    return factor, np.zeros(a[0].size, np.int64), table[:, None, None]


def _clamped(significand: Int64, places: Int64) -> Float64:
    """significand * 2^places, away from zero by at least 2^-CLAMP unless it is 0."""
    size = np.abs(significand).astype(np.float64) * _power(np.asarray(places))
    held = np.maximum(size, 2.0**-CLAMP)
    return np.where(significand == 0, 0.0, np.copysign(held, significand))


def _terms(
    datapath: AnyDatapath, a: Format, b: Format
) -> tuple[tuple[Float64, Int64, Float64], int, int, tuple[int, ...]] | None:
    """((factor, row, table), largest term's bits before D, D, constants), None without tables."""
    if max(a.bits, b.bits) > 16:
        return None
    if isinstance(datapath, Datapath):
        assert isinstance(a, LNSFormat)
        assert isinstance(b, LNSFormat)
        mac, bins = datapath.resolve(a, b), datapath.accumulator.style == "bins"
        constants = mac.constants if bins else (1,)
        rows = min(a.gamma, 1 << a.exponent_bits)
        if rows > MAX_ROWS or (rows * len(constants)) << b.bits > MAX_ENTRIES:
            return None
        return lns_terms(mac, a, b, bins), mac.product_bits, mac.shift, constants
    if isinstance(datapath, IntDatapath):
        assert isinstance(a, IntFormat)
        assert isinstance(b, IntFormat)
        values = _int_values(a), _int_values(b)
        bits, shift = datapath.product_bits(a, b), datapath.shift(a, b)
    else:
        assert isinstance(a, FloatFormat)
        assert isinstance(b, FloatFormat)
        values = _float_values(a), _float_values(b)
        bits, shift = datapath.product_bits(a, b), datapath.shift(a, b)
    return _linear_terms(*values, shift), bits, shift, (1,)


def _significand_bits(fmt: Format) -> int:
    if isinstance(fmt, FloatFormat):
        return fmt.mantissa_bits + 1
    return fmt.bits if isinstance(fmt, IntFormat) else 0


def lane_type(rule: Accumulator, term_bits: int, significand_bits: int, short: bool) -> type | None:
    """float32 or float64 lanes, whichever holds terms, products and sums; None: neither does.

    Toward zero multiplies before it rounds, so the product itself must be exact.
    """
    group = (rule.lanes << term_bits) + (1 << (rule.bits - 1))
    single = short or (rule.bits <= MAX_SINGLE_ACCUMULATOR and group < 1 << 31)
    if single and term_bits < SINGLE_BITS and significand_bits <= 24:
        return np.float32
    if rule.bits <= MAX_DOUBLE_ACCUMULATOR and term_bits < DOUBLE_BITS and significand_bits <= 53:
        return np.float64
    return None


def _limits(rule: Accumulator, item: type) -> npt.NDArray[Any]:
    """The limits of an accumulator in its own integer type; see TermTable."""
    half, wrap = 1 << (rule.bits - 1), -1 if rule.overflow == "wrap" else 0
    return np.array([-half, half - 1, np.iinfo(item).bits - rule.bits, wrap], item)


def _ceiling(fmt: Format, size: Float64) -> tuple[int, npt.NDArray[np.float32]]:
    """(mask of a code's magnitude, the largest size of the codes up to each magnitude)."""
    mask = 0 if isinstance(fmt, IntFormat) else (1 << (fmt.bits - 1)) - 1
    most = size.max().reshape(1)
    if mask:
        most = np.maximum.accumulate(np.maximum(size[: mask + 1], size[mask + 1 :]))
    return mask, np.nextafter(most.astype(np.float32), np.float32(np.inf))


@lru_cache(maxsize=64)
def term_tables(
    datapath: AnyDatapath, a: Format, b: Format, products_bits: int = 63
) -> tuple[TermTable | None, TermTable | None]:
    """Return (`term_table`, the one for b times a)."""
    return term_table(datapath, a, b, products_bits), term_table(datapath, b, a, products_bits)


def term_table(
    datapath: AnyDatapath, a: Format, b: Format, products_bits: int = 63
) -> TermTable | None:
    """Return the tables of the fast kernel, or None where the pair is too wide for it.

    products_bits: there are fewer than 2^products_bits products; where so few cannot leave a 32-bit
    accumulator, 32-bit lanes hold it.
    """
    rule = datapath.accumulator
    if isinstance(rule, FloatFormat):
        return None
    terms = _terms(datapath, a, b)
    if terms is None:
        return None
    (factor, row, table), product_bits, shift, constants = terms
    term_bits = product_bits - shift
    short = rule.bits == 32 and term_bits + products_bits < 32
    lane = lane_type(rule, term_bits, _significand_bits(a) + _significand_bits(b), short)
    if lane is None:
        return None
    return assembled(datapath, (a, b), (factor, row, table), constants, lane)


def assembled(
    datapath: AnyDatapath,
    formats: tuple[Format, Format],
    terms: tuple[Float64, Int64, Float64],
    constants: tuple[int, ...],
    lane: type,
) -> TermTable | None:
    """The table of `terms` for the kernel; None with more entries than a uint16 can name."""
    (a, b), (factor, row, table) = formats, terms
    codes, rows, bins = table.shape
    entries = np.zeros((codes * bins, _padded_rows(rows)), lane)
    entries[:, :rows] = table.transpose(0, 2, 1).reshape(codes * bins, rows)
    empty = np.flatnonzero(~entries.any(axis=1))
    if not empty.size:  # a format without zero: a row of its own
        entries = np.vstack([entries, np.zeros((1, entries.shape[1]), lane)])
        empty = np.array([codes * bins])
    if entries.shape[0] > MAX_CODES:
        return None
    peak = np.abs(table).max(axis=(1, 2))
    left, right = _ceiling(a, np.abs(factor)), _ceiling(b, peak)
    rule = datapath.accumulator
    assert isinstance(rule, Accumulator)
    return TermTable(
        _words_of(factor, row, np.dtype(lane).itemsize),
        _low_bits(factor, np.dtype(lane).itemsize),
        np.ascontiguousarray(entries),
        (left[1], right[1]),
        (np.dtype(f"u{a.code_dtype.itemsize}").type(left[0]), np.uint16(right[0])),
        np.uint16(empty[0]),
        np.array(constants, np.int64),
        _limits(rule, np.int32 if lane is np.float32 else np.int64),
    )


def _padded_rows(rows: int) -> int:
    """Rows of a table as `expand_R` takes them."""
    return rows if rows in (1, 2, 4) else -(-rows // TILE) * TILE


def _words_of(factor: Float64, row: Int64, item_bytes: int) -> dict[int, npt.NDArray[np.uint32]]:
    """The words of a's codes, for every width of a block: factor, and where the panel's row begins.

    The factor is a float32 or the upper half of a float64, whichever the panel holds, so that it
    takes no conversion; its low bits, zeros in every factor of a format, hold the offset.
    """
    offset = row * (VECTOR_BYTES // UNITS[item_bytes])
    bits = _bits(factor, item_bytes)
    return {vectors: (bits | offset * vectors).astype(np.uint32) for vectors in VECTORS}


def _low_bits(factor: Float64, item_bytes: int) -> np.uint32:
    """The low bits that no factor has: its significand takes 16 bits of 24 or 21 at most."""
    bits = int(np.bitwise_or.reduce(_bits(factor, item_bytes)))
    return np.uint32(min((bits & -bits) - 1, _FEW) if bits else _FEW)


def _bits(factor: Float64, item_bytes: int) -> npt.NDArray[np.uint32]:
    """The bits of a word that are the factor's."""
    if item_bytes == 4:
        return factor.astype(np.float32).view(np.uint32)
    return (factor.view(np.uint64) >> np.uint64(32)).astype(np.uint32)
