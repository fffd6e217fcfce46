"""The "cpu" backend: picks the kernel for a datapath and prepares its operands."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ...lns.array import CodeArray, FloatArray, IntArray, LNSArray
from ...lns.datapath import Accumulator, AnyDatapath, Datapath
from ...lns.format import FP32, FloatFormat, Format, IntFormat, LNSFormat
from ...lns.mx import round_mx
from ...lns.mx_format import MXFormat
from ..backends import EncodeCounts
from ..host import (
    asarray,
    codes,
    grouped,
    integers,
    matrix,
    pad,
    patches,
    require_finite,
    spread,
    turned_kernel,
)
from ..operands import Matrix, Place, even_steps, left_codes, right_codes
from .codes.decode import decode, float32_of, float_parts, nearest_float32, take
from .codes.madam import move_codes as move
from .codes.quantise import quantise
from .codes.requantise import requantise
from .gemm.bins import WeightedTable, gemm_bins, weighted_table
from .gemm.finish import Target
from .gemm.float import gemm_float
from .gemm.gather import whole
from .gemm.log import log_product
from .gemm.product import block_vectors, expansion_of, gemm_terms, padded
from .gemm.tables import TermTable, term_tables
from .gemm.tile import trusted
from .gemm.wide import gemm_fixed, gemm_log
from .runtime.threads import parallel, tasks

Counted = tuple[Any, int]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Products that make a thread worth waking: some 75 microseconds on one core.
_FAST_GRAIN = 1 << 21
_SLOW_GRAIN = 1 << 16


def by_identity(frozen: int, most: int = 1024) -> Callable[[_Function], _Function]:
    """Decorate a function whose first `frozen` arguments are immutable and the rest are numbers.

    Results are kept by the identity of those: quicker than to hash a datapath of many fields, and a
    training step asks for the same few tables thousands of times, always with the same objects.
    At most `most` results are kept, then all are forgotten. Equal objects that are not the same one
    are asked for anew.
    """

    def decorate(function: _Function) -> _Function:
        kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}

        @wraps(function)
        def remembered(*arguments: Any) -> Any:
            key = (*map(id, arguments[:frozen]), *arguments[frozen:])
            found = kept.get(key)
            if found is None:
                result = function(*arguments)
                if len(kept) >= most:
                    kept.clear()
                # The arguments are held, so that no other object gets their identity.
                found = kept[key] = result, arguments
            return found[0]

        return cast(_Function, remembered)

    return decorate


def product(a: Matrix, b: Matrix, datapath: AnyDatapath) -> Counted:
    """`matmul.matmul_counted` on arguments that are already checked."""
    require_finite(a, b, datapath)
    return _product(a, b, datapath)


def _product(a: Matrix, b: Matrix, datapath: AnyDatapath) -> Counted:
    if isinstance(datapath.accumulator, FloatFormat):
        return _float_product(whole(a), whole(b), datapath.accumulator)
    if datapath.accumulator.style == "log":
        left, right = whole(a), whole(b)
        return log_product(left, right, datapath)  # type: ignore[arg-type]
    rows, columns = a.shape[0], b.shape[1]
    out = np.empty((rows, columns), np.int64)
    at = even_steps(rows, columns), even_steps(columns, 1)
    overflowed = _table_product(a, b, datapath, Target(out.reshape(-1), *at, unit=True))
    if overflowed is not None:
        return out, overflowed
    return wide_product(whole(a), whole(b), datapath)


def product_real(
    a: Matrix, b: Matrix, datapath: AnyDatapath, place: Place | None = None
) -> tuple[npt.NDArray[np.float32], int]:
    """`matmul.matmul_real` on arguments that are already checked."""
    require_finite(a, b, datapath)
    if place is not None:
        return place.memory, _write_real(a, b, datapath, place)
    rows, columns = a.shape[0], b.shape[1]
    out = np.empty((rows, columns), np.float32)
    row_at, column_at = even_steps(rows, columns), even_steps(columns, 1)
    return out, _write_real(a, b, datapath, Place(out.reshape(-1), row_at, column_at, True))


def _write_real(a: Matrix, b: Matrix, datapath: AnyDatapath, place: Place) -> int:
    """Write the values of a product; return how many of its sums overflowed."""
    worth = _unit(a, b, datapath)
    if worth is not None:
        target = Target(place.memory, place.row_at, place.column_at, place.unit, worth)
        overflowed = _table_product(a, b, datapath, target)
        if overflowed is not None:
            return overflowed
    acc, overflowed = _product(a, b, datapath)
    if isinstance(acc, LNSArray):
        real = nearest_float32(acc)
    else:
        with np.errstate(over="ignore"):  # beyond float32's range the conversion gives infinity
            real = datapath.to_real(acc, a, b).astype(np.float32)  # type: ignore[arg-type]
    if not np.isfinite(real).all():  # float accumulators count their own
        overflowed = max(overflowed, int(np.count_nonzero(~np.isfinite(real))))
    place.memory[place.row_at[:, None] + place.column_at] = real
    return overflowed


def _unit(a: Matrix, b: Matrix, datapath: AnyDatapath) -> float | None:
    """What an accumulator's unit is worth, if that is one power of two far from float32's limits.

    Then float32(float64(accumulator) * unit) is what `to_real`, rounded, gives.
    """
    if isinstance(datapath.accumulator, FloatFormat) or datapath.accumulator.style == "log":
        return None
    if not isinstance(a.offset, int) or not isinstance(b.offset, int):
        return None
    return _unit_of(datapath, a.fmt, b.fmt, a.offset, b.offset)


@by_identity(3)
def _unit_of(
    datapath: AnyDatapath, a: Format, b: Format, a_offset: int, b_offset: int
) -> float | None:
    kinds: dict[type, Any] = {LNSFormat: LNSArray, FloatFormat: FloatArray, IntFormat: IntArray}
    arrays = [
        kinds[type(fmt)](np.zeros((1, 1), fmt.code_dtype), offset, fmt)
        for fmt, offset in ((a, a_offset), (b, b_offset))
    ]
    with np.errstate(over="ignore", under="ignore"):
        value = datapath.to_real(np.ones((1, 1), np.int64), *arrays).item()
    significand, exponent = math.frexp(value)
    return value if significand == 0.5 and abs(exponent) < 60 else None


def _float_product(a: CodeArray, b: CodeArray, accumulator: FloatFormat) -> Counted:
    left, right = float32_of(a.code, _float(a)), float32_of(b.code, _float(b))
    with parallel(_products(a, b), _FAST_GRAIN if accumulator == FP32 else _SLOW_GRAIN):
        return gemm_float(left, right, accumulator)


def _products(a: Matrix, b: Matrix) -> int:
    """Multiply-accumulates of a product."""
    return a.size * b.shape[1]


def _float(array: CodeArray) -> FloatFormat:
    assert isinstance(array.fmt, FloatFormat)
    return array.fmt


def _cost(rows: int, columns: int, terms: TermTable | None) -> float:
    """Rough cost of the fast kernel that expands the right operand; infinite without tables."""
    if terms is None:
        return float("inf")
    across = padded(columns, terms, block_vectors(columns, terms))
    return across * terms.table.itemsize * (rows + expansion_of(terms))


def _table_product(a: Matrix, b: Matrix, datapath: AnyDatapath, target: Target) -> int | None:
    """The fast kernel where its tables fit; it expands whichever operand costs less."""
    (rows, products), columns = a.shape, b.shape[1]
    rule = datapath.accumulator
    assert isinstance(rule, Accumulator)
    terms, turn, weighted = _tables(datapath, a.fmt, b.fmt, rows, columns, products)
    if terms is None or not trusted():
        return None
    left, right = left_codes(a), right_codes(b)
    if weighted is not None:
        with parallel(rows * columns * products, _FAST_GRAIN):
            return gemm_bins(left, right, weighted, terms, rule, target)
    with tasks(rows * columns * products, _FAST_GRAIN) as alone:
        if turn:
            return gemm_terms(right, left, terms, rule, target.turned(), alone)
        return gemm_terms(left, right, terms, rule, target, alone)


@by_identity(3)
def _tables(
    datapath: AnyDatapath, a: Format, b: Format, rows: int, columns: int, products: int
) -> tuple[TermTable | None, bool, WeightedTable | None]:
    """(the tables of the fast kernel or None, are they for b times a, those of `bins.py`)."""
    rule = datapath.accumulator
    few = products.bit_length() if isinstance(rule, Accumulator) and rule.bits == 32 else 63
    straight, turned = term_tables(datapath, a, b, few)
    if straight is None and turned is None:
        return None, False, None
    weighted = _weighted(a, b, datapath) if straight is not None else None
    if weighted is not None:
        return straight, False, weighted
    turn = straight is None or _cost(columns, rows, turned) < _cost(rows, columns, straight)
    return (turned if turn else straight), turn, None


def _weighted(a: Format, b: Format, datapath: AnyDatapath) -> WeightedTable | None:
    """The tables of `bins.py`, for style "bins" with more than one."""
    if not isinstance(datapath, Datapath) or datapath.accumulator.style != "bins":
        return None
    assert isinstance(a, LNSFormat)
    assert isinstance(b, LNSFormat)
    if len(datapath.resolve(a, b).constants) == 1:
        return None
    return weighted_table(datapath, a, b)


def log_words(fmt: LNSFormat, ratio: int) -> npt.NDArray[np.int32]:
    """int32 word of every code: `e * ratio << 1 | sign`, -1 for zero."""
    code = np.arange(1 << fmt.bits)
    stored = code & fmt.max_exponent
    words = stored * ratio << 1 | code >> fmt.exponent_bits
    return np.where((stored == 0) & fmt.zero, -1, words).astype(np.int32)


def wide_product(a: Any, b: Any, datapath: AnyDatapath) -> Counted:
    """Any integer accumulation on 64-bit lanes."""
    rule = datapath.accumulator
    assert isinstance(rule, Accumulator)
    if isinstance(datapath, Datapath):
        mac = datapath.resolve(a.fmt, b.fmt)
        left = take(log_words(a.fmt, mac.ratio_a), a.code)
        right = take(log_words(b.fmt, mac.ratio_b), b.code)
        with parallel(_products(a, b), _SLOW_GRAIN):
            return gemm_log(left, right, mac, rule)
    with parallel(_products(a, b), _SLOW_GRAIN):
        return gemm_fixed(_parts(a), _parts(b), datapath.shift(a.fmt, b.fmt), rule)


def _parts(array: CodeArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """C-contiguous (signed significand, exponent) of a float or integer array."""
    code = np.ascontiguousarray(array.code)
    if isinstance(array.fmt, IntFormat):
        return code.astype(np.int32), np.zeros(code.shape, np.int32)
    return float_parts(code, _float(array))


def quantise_blocks(
    x: npt.NDArray[np.float32], fmt: MXFormat, axis: int, groups: int = 1
) -> tuple[FloatArray, EncodeCounts]:
    """The values of MX blocks as FP32 codes, which hold them exactly."""
    value, saturated, underflowed = round_mx(grouped(x, axis, groups), fmt, axis + 1)
    code = np.ascontiguousarray(value).reshape(x.shape).view(np.uint32)
    return FloatArray(code, 0, FP32), EncodeCounts(value.size, saturated, underflowed)
