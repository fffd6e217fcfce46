"""The "cpu" backend: picks the kernel for a datapath and prepares its operands."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray
from ..lns.datapath import Accumulator, AnyDatapath, Datapath, FloatDatapath, IntDatapath
from ..lns.format import FP32, FloatFormat, IntFormat, LNSFormat
from .fast import gemm_int32
from .float_gemm import gemm_float
from .lookup import float32_of, float_parts, take
from .terms import TermTable, term_table
from .threads import parallel
from .vector import BLOCK
from .wide import gemm_fixed, gemm_log

Counted = tuple[npt.NDArray[Any], int]

# Cost per k, in the time of one product: one entry of an expanded row. Measured on one core of an
# AVX-512 server (bench/gemm.py times the whole).
_EXPAND_COST = 4

# Products that make a thread worth waking: some 100 microseconds on one core.
_FAST_GRAIN = 1 << 21
_SLOW_GRAIN = 1 << 16


def matmul_counted(a: CodeArray, b: CodeArray, datapath: AnyDatapath) -> Counted:
    """`matmul.matmul_counted` on arguments that are already checked."""
    if isinstance(datapath, FloatDatapath) and isinstance(datapath.accumulator, FloatFormat):
        left, right = float32_of(a.code, _float(a)), float32_of(b.code, _float(b))
        grain = _FAST_GRAIN if datapath.accumulator == FP32 else _SLOW_GRAIN
        with parallel(_products(a, b), grain):
            return gemm_float(left, right, datapath.accumulator)
    if not isinstance(datapath, IntDatapath):
        direct = _table_product(a, b, datapath)
        if direct is not None:
            return direct
    return wide_product(a, b, datapath)


def _products(a: CodeArray, b: CodeArray) -> int:
    """Multiply-accumulates of a product."""
    return a.size * b.shape[1]


def _float(array: CodeArray) -> FloatFormat:
    assert isinstance(array.fmt, FloatFormat)
    return array.fmt


def _cost(rows: int, columns: int, terms: TermTable | None) -> float:
    """Rough cost of the fast kernel that expands the right operand; infinite without tables."""
    if terms is None:
        return float("inf")
    return -(-columns // BLOCK) * BLOCK * (rows + _EXPAND_COST * terms.rows)


def _table_product(a: Any, b: Any, datapath: Datapath | FloatDatapath) -> Counted | None:
    """The fast kernel where its tables fit; it expands whichever operand costs less."""
    rows, columns = a.shape[0], b.shape[1]
    straight, turned = term_table(datapath, a.fmt, b.fmt), term_table(datapath, b.fmt, a.fmt)
    rule = datapath.accumulator
    assert isinstance(rule, Accumulator)
    if _cost(columns, rows, turned) < _cost(rows, columns, straight):
        assert turned is not None
        left, right = np.ascontiguousarray(b.code.T), np.ascontiguousarray(a.code.T)
        with parallel(_products(a, b), _FAST_GRAIN):
            acc, overflowed = gemm_int32(left, right, turned, rule)
        return np.ascontiguousarray(acc.T), overflowed
    if straight is None:
        return None
    left, right = np.ascontiguousarray(a.code), np.ascontiguousarray(b.code)
    with parallel(_products(a, b), _FAST_GRAIN):
        return gemm_int32(left, right, straight, rule)


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
