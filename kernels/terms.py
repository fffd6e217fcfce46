"""Tables of the fast kernel: each product as one table row shifted right.

For a fixed left operand code a = (remainder, quotient) a product of the datapath is
floor(+-M * 2^(q_a + q_b - D)). Floors of shifts compose (as does truncation of magnitudes), so with
top the largest quotient that goes with a's remainder,

    term = row[code b] >> (top - q_a),    row[code b] = floor(+-M * 2^(top + q_b - D)).

The rows depend on a's remainder and sign alone: 2 * gamma of them for a logarithmic operand,
2 * 2^mantissa_bits for a float whose exact products are summed in fixed point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..lns.datapath import Accumulator, Datapath, FloatDatapath, LNSMac
from ..lns.format import FloatFormat, LNSFormat
from .vector import LANES, SHIFT_BITS

MAX_ACCUMULATOR_BITS = 32  # terms and sums are int32
MAX_ROWS = 64  # a panel of more rows costs more than it saves
MAX_TABLE_CODE_BITS = 12  # the table has one row of int32 per code of b

Int64 = npt.NDArray[np.int64]
Product = Callable[[int], tuple[Int64, Int64]]  #: a's remainder -> magnitude, quotient per b code


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """Every code of a format taken apart: value ~ sign * significand[remainder] * 2^quotient."""

    negative: npt.NDArray[np.bool_]  #: (codes,)
    zero: npt.NDArray[np.bool_]  #: (codes,), the other fields of a zero are 0
    remainder: Int64  #: (codes,), 0..remainders-1
    quotient: Int64  #: (codes,)
    remainders: int


@dataclass(frozen=True, slots=True, eq=False)
class TermTable:
    """What the fast kernel reads for one datapath and pair of formats."""

    words: npt.NDArray[np.uint16]  #: (codes of a,) packed row and shift; zero codes: the zero row
    table: npt.NDArray[np.int32]  #: (codes of b + 1, rows); the last code is the padding, all 0
    peak: Int64  #: (codes of b + 1,) largest magnitude in that code's row

    @property
    def rows(self) -> int:
        """Rows of the panel before the zero row, a multiple of LANES."""
        return self.table.shape[1]


def align(
    magnitude: Int64, places: Int64, negative: npt.NDArray[np.bool_], toward_zero: bool
) -> Int64:
    """Return +-magnitude * 2^places rounded by floor, or toward zero; int64, elementwise."""
    left, right = np.clip(places, 0, 62), np.clip(-places, 0, 63)
    if toward_zero:
        shifted = (magnitude << left) >> right
        return np.where(negative, -shifted, shifted)
    return (np.where(negative, -magnitude, magnitude) << left) >> right


def lns_operand(fmt: LNSFormat, ratio: int, gamma: int) -> Operand:
    """Take the codes of `fmt` apart for a datapath of `gamma` = fmt.gamma * ratio."""
    code = np.arange(1 << fmt.bits)
    stored = code & fmt.max_exponent
    quotient, remainder = np.divmod(stored * ratio, gamma)
    zero = (stored == 0) & fmt.zero
    return Operand(code > fmt.max_exponent, zero, remainder, quotient, gamma)


def float_operand(fmt: FloatFormat) -> Operand:
    """Take the codes of `fmt` apart; subnormals are normalised, non-finite codes count as zero.

    |value| = (2^m + remainder) * 2^quotient smallest subnormals, m = mantissa_bits.
    """
    code = np.arange(1 << fmt.bits)
    magnitude = code & ((1 << (fmt.bits - 1)) - 1)
    exponent, mantissa = np.divmod(magnitude, 1 << fmt.mantissa_bits)
    significand = mantissa + np.where(exponent > 0, 1 << fmt.mantissa_bits, 0)
    zero = (magnitude == 0) | (magnitude > fmt.max_code)
    width = np.frexp(np.where(zero, 1, significand).astype(np.float64))[1]
    lift = np.where(zero, 0, fmt.mantissa_bits + 1 - width)
    remainder = np.where(zero, 0, (significand << lift) - (1 << fmt.mantissa_bits))
    quotient = np.where(zero, 0, np.maximum(exponent, 1) - 1 - lift)
    return Operand(code >> (fmt.bits - 1) > 0, zero, remainder, quotient, 1 << fmt.mantissa_bits)


def _tops(operand: Operand) -> Int64:
    """Largest quotient that occurs with each remainder (0 where none does)."""
    used = ~operand.zero
    tops = np.full(operand.remainders, np.iinfo(np.int64).min)
    np.maximum.at(tops, operand.remainder[used], operand.quotient[used])
    return np.where(tops == np.iinfo(np.int64).min, 0, tops)


def _pack(a: Operand, tops: Int64, zero_row: int) -> npt.NDArray[np.uint16]:
    row = 2 * a.remainder + a.negative
    shift = np.minimum(tops[a.remainder] - a.quotient, (1 << SHIFT_BITS) - 1)
    row, shift = np.where(a.zero, zero_row, row), np.where(a.zero, (1 << SHIFT_BITS) - 1, shift)
    return (row << SHIFT_BITS | shift).astype(np.uint16)


def _lns_product(mac: LNSMac, b: Operand) -> Product:
    mantissa = np.array(mac.mantissa, dtype=np.int64)

    def product(remainder: int) -> tuple[Int64, Int64]:
        carry, rest = np.divmod(remainder + b.remainder, mac.gamma)
        return mantissa[rest], b.quotient + carry

    return product


def _float_product(a: Operand, b: Operand) -> Product:
    def product(remainder: int) -> tuple[Int64, Int64]:
        return (a.remainders + remainder) * (b.remainders + b.remainder), b.quotient

    return product


def _build(a: Operand, b: Operand, product: Product, shift: int, toward_zero: bool) -> TermTable:
    rows = -(-2 * a.remainders // LANES) * LANES
    tops = _tops(a)
    table = np.zeros((b.zero.size + 1, rows), np.int64)
    for remainder in np.unique(a.remainder[~a.zero]).tolist():
        magnitude, quotient = product(remainder)
        places = tops[remainder] + quotient - shift
        for sign in (False, True):
            term = align(magnitude, places, b.negative ^ sign, toward_zero)
            table[:-1, 2 * remainder + sign] = np.where(b.zero, 0, term)
    return TermTable(_pack(a, tops, rows), table.astype(np.int32), np.abs(table).max(axis=1))


def _has_table(rule: Accumulator, rows: int, code_bits: int) -> bool:
    return (
        rule.style == "direct"
        and rule.bits <= MAX_ACCUMULATOR_BITS
        and rows <= MAX_ROWS
        and code_bits <= MAX_TABLE_CODE_BITS
    )


@lru_cache(maxsize=64)
def term_table(
    datapath: Datapath | FloatDatapath, a: LNSFormat | FloatFormat, b: LNSFormat | FloatFormat
) -> TermTable | None:
    """Return the tables of the fast kernel, or None where the pair is too wide for it."""
    rule = datapath.accumulator
    if isinstance(rule, FloatFormat):
        return None
    toward_zero = rule.rounding == "toward_zero"
    if isinstance(datapath, Datapath) and isinstance(a, LNSFormat) and isinstance(b, LNSFormat):
        mac = datapath.resolve(a, b)
        if not _has_table(rule, 2 * mac.gamma, b.bits):
            return None
        left = lns_operand(a, mac.ratio_a, mac.gamma)
        right = lns_operand(b, mac.ratio_b, mac.gamma)
        return _build(left, right, _lns_product(mac, right), mac.shift, toward_zero)
    if isinstance(datapath, FloatDatapath) and isinstance(a, FloatFormat):
        if not isinstance(b, FloatFormat) or not _has_table(rule, 2 << a.mantissa_bits, b.bits):
            return None
        if a.bits > 16:
            return None
        left, right = float_operand(a), float_operand(b)
        shift = datapath.shift(a, b)
        return _build(left, right, _float_product(left, right), shift, toward_zero)
    return None
