"""Questions about the GEMMs of the baselines: float and integer formats."""

from collections.abc import Iterator
from itertools import product
from random import Random

import numpy as np

from ...lns.array import FloatArray, IntArray
from ...lns.datapath import Accumulator, FloatDatapath, IntDatapath
from ...lns.format import FP32, FloatFormat, IntFormat
from .ask_gemms import (
    DIRECTED,
    DRAWN,
    SUMS,
    TERMS,
    drawn_datapath,
    drawn_shape,
    gemm,
)
from .batch import Batch, Level

_RUN, _K = 3, 19  # signs change every _RUN products of a directed sum of _K


def _rules() -> Iterator[Accumulator]:
    """Narrow accumulators in every rounding, overflow and number of lanes."""
    combinations = product(("floor", "toward_zero"), ("saturate", "wrap"), (1, 2, 5), (0, 1))
    for rounding, overflow, lanes, guard in combinations:
        yield Accumulator(8, guard, overflow, lanes, rounding)


def _float_matrix(
    rng: Random, fmt: FloatFormat, shape: tuple[int, int], finite: bool
) -> FloatArray:
    """Drawn codes; `finite`: no infinity and no NaN."""
    sign = 1 << (fmt.bits - 1)
    stored = np.zeros(shape, fmt.code_dtype)
    for index in np.ndindex(*shape):
        code = rng.randrange(fmt.max_code + 1)
        code |= sign if rng.getrandbits(1) and (code or fmt.encoding != "fnuz") else 0
        stored[index] = rng.getrandbits(fmt.bits) if not finite else code
    return FloatArray(stored, 0, fmt)


def float_gemm_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Float formats with float accumulators, one rounding a step, and with fixed-point ones."""
    small = [fmt for fmt in level.floats if fmt.bits <= 6]
    for fmt in small:
        every = np.arange(1 << fmt.bits).astype(fmt.code_dtype)
        a = FloatArray(every.reshape(-1, 1), 0, fmt)
        b = FloatArray(every.reshape(1, -1), 0, fmt)
        fixed = (Accumulator(8, 1),) if fmt.encoding == "finite" else ()
        for accumulator in (FP32, FloatFormat(4, 3, "fn"), *fixed):
            yield gemm("float-gemm", TERMS, a, b, FloatDatapath(accumulator))
    for i, rule in enumerate(_rules()):  # large magnitudes, the sign of a product is a's alone
        fmt = level.floats[i % len(level.floats)]
        a, b = (_float_matrix(rng, fmt, shape, True) for shape in ((2, _K), (_K, 3)))
        large = fmt.code_dtype.type(fmt.max_code - 2)
        sign = (np.arange(_K) // _RUN % 2 << (fmt.bits - 1)).astype(fmt.code_dtype)
        a = FloatArray((a.code & 1) + large | sign, 0, fmt)
        b = FloatArray((b.code & 1) + large, 0, fmt)
        yield gemm("float-gemm", DIRECTED, a, b, FloatDatapath(rule))
    operands = (*level.floats, *level.wide_floats)
    narrow = (FP32, FP32, FloatFormat(5, 10), FloatFormat(8, 7), FloatFormat(6, 9, "fn"))
    for i in range(level.gemms // 2):
        fmt_a, fmt_b = rng.choice(operands), rng.choice(operands)
        rows, terms, columns = rng.choice((1, 2, 3)), rng.choice(SUMS[:8]), rng.choice((1, 2, 5))
        is_fixed = i % 3 == 2 and fmt_a.exponent_bits + fmt_b.exponent_bits <= 10
        finite = is_fixed or i % 3 == 1
        a = _float_matrix(rng, fmt_a, (rows, terms), finite)
        b = _float_matrix(rng, fmt_b, (terms, columns), finite)
        datapath = FloatDatapath(
            drawn_datapath(rng, 1, "direct").accumulator if is_fixed else rng.choice(narrow)
        )
        yield gemm("float-gemm", DRAWN, a, b, datapath)


def int_gemm_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Integer formats: every product of small ones, drawn sums."""
    for fmt in level.ints:
        if fmt.bits <= 8:
            every = np.arange(fmt.min_value, fmt.max_value + 1).astype(fmt.code_dtype)
            a, b = IntArray(every.reshape(-1, 1), 0, fmt), IntArray(every.reshape(1, -1), 0, fmt)
            for rounding in ("floor", "toward_zero"):
                datapath = IntDatapath(Accumulator(10, 1, rounding=rounding))
                yield gemm("integer-gemm", TERMS, a, b, datapath)
    for i, rule in enumerate(_rules()):
        fmt = level.ints[i % len(level.ints)]
        large = rng.randrange(fmt.max_value - 1, fmt.max_value + 1)
        sign = np.where(np.arange(_K) // _RUN % 2, -1, 1)
        a = IntArray((np.array([[large], [fmt.max_value]]) * sign).astype(fmt.code_dtype), 0, fmt)
        b = _int_matrix(rng, fmt, (_K, 3))
        b = IntArray(np.abs(b.code // 2) + fmt.code_dtype.type(fmt.max_value // 2), 0, fmt)
        yield gemm("integer-gemm", DIRECTED, a, b, IntDatapath(rule))
    for _ in range(level.gemms):
        rows, terms, columns = drawn_shape(rng)
        a, b = (
            _int_matrix(rng, rng.choice(level.ints), s) for s in ((rows, terms), (terms, columns))
        )
        datapath = IntDatapath(drawn_datapath(rng, 1, "direct").accumulator)
        yield gemm("integer-gemm", DRAWN, a, b, datapath)


def _int_matrix(rng: Random, fmt: IntFormat, shape: tuple[int, int]) -> IntArray:
    span = fmt.max_value - fmt.min_value + 1
    drawn = [rng.randrange(span) + fmt.min_value for _ in range(shape[0] * shape[1])]
    return IntArray(np.array(drawn, fmt.code_dtype).reshape(shape), 0, fmt)
