"""Questions about GEMMs: every pair of codes as a product, directed and drawn sums.

A product with K = 1 of all codes by all codes asks every aligned term there is. Sums are asked with
matrices that are drawn, from several kinds of codes, so that accumulators saturate and wrap on the
way and come back, small terms are floored, zeros of both signs keep their place in a group, and
sizes are ragged, 0 and 1 among them. Every gamma there is has sums of its own, of operands that
share it and of operands that do not. The GEMMs of float and integer formats follow, and the scales
per row and per column that GEMMs bring with them: an array of offsets beside the codes, in decoding
and requantisation too.
"""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import numpy as np

from ...lns.accumulator import least_log_bits
from ...lns.array import FloatArray, IntArray, LNSArray
from ...lns.datapath import (
    Accumulator,
    Antilog,
    AnyDatapath,
    Datapath,
    FloatDatapath,
    IntDatapath,
)
from ...lns.format import FP32, FloatFormat, IntFormat, LNSFormat
from .batch import Batch, codes, every_code
from .levels import GAMMAS, VARIANTS, Level
from .operations import Operand

TERMS, DIRECTED, DRAWN = "every pair of codes, K = 1", "directed sums", "drawn sums"
ALIKE, MIXED = "drawn sums of every gamma", "drawn sums of two gammas"
CODES, SOME_CODES = "every code, drawn scales", "drawn codes and scales"
SCALED = "drawn sums, a scale per row and column"
KINDS = ("any", "large", "runs", "zeros", "small")  # of the codes of a drawn matrix
TERM_COUNTS = (0, 1, 2, 3, 5, 8, 13, 17, 33, 64)  # K
_SMALL_TABLE, _ITS_BITS = 128, 5  # beyond so many constants T is fixed: the oracle takes 1 ms each
_RUN, _K = 3, 19  # signs change every _RUN products of a directed sum of _K
_WIDTHS = (4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 30, 31, 32, 33, 40, 48, 53, 54, 62)  # W


def matrix(rng: Random, fmt: LNSFormat, shape: tuple[int, int], kind: str, axis: int) -> LNSArray:
    """Return drawn codes; `axis` is k's.

    "large": of the top octave. "runs": as large, the sign changing every few k for all rows, so
    that a running sum leaves its range and comes back. "zeros": half of them zero, of both signs.
    "small": of the lowest exponents, whose terms are floored to 0 or -1.
    """
    sign, top = 1 << fmt.exponent_bits, fmt.max_exponent
    octave = min(fmt.gamma, top // 2)
    period = rng.choice((1, 2, 3, 7))
    stored = np.zeros(shape, fmt.code_dtype)
    for index in np.ndindex(*shape):
        code = rng.getrandbits(fmt.bits)
        if kind in ("large", "runs"):
            code = (code & sign) | rng.randrange(top - octave, top + 1)
        if kind == "runs":
            code = (code & top) | (sign if index[axis] // period % 2 else 0)
        if kind == "small":
            code = (code & sign) | rng.randrange(min(3, top) + 1)
        if kind == "zeros" and rng.getrandbits(1):
            code &= sign
        stored[index] = code
    return LNSArray(stored, 0, fmt)


def drawn_shape(rng: Random) -> tuple[int, int, int]:
    """Return a ragged (M, K, N)."""
    return rng.choice((1, 2, 3, 4, 7)), rng.choice(TERM_COUNTS), rng.choice((1, 2, 3, 5, 9))


def drawn_datapath(rng: Random, gamma: int, style: str, whole: bool = False) -> Datapath:
    """Return any datapath for operands whose finer gamma is `gamma`; `whole`: L = gamma."""
    while True:
        bits = rng.choice(_WIDTHS)
        entries = gamma if whole else 1 << rng.randrange(gamma.bit_length())
        table = rng.randrange(1, 17) if entries <= _SMALL_TABLE else _ITS_BITS
        guard = rng.choice((0, 0, 1, 2, 4, bits - 2))
        try:
            accumulator = Accumulator(
                bits=bits,
                guard=min(guard, bits - 2),
                overflow=rng.choice(("saturate", "wrap")),
                lanes=rng.choice((1, 1, 2, 3, 4, 8, 16, 40, 1024)),
                rounding=rng.choice(("floor", "toward_zero")),
                style=style,
            )
            return Datapath(Antilog(entries, table), accumulator)
        except ValueError:  # could leave 64 bits
            continue


def gemm(section: str, what: str, a: Operand, b: Operand, datapath: AnyDatapath) -> Batch:
    """One GEMM of a section; its operation is the section's."""
    operations = {"float-gemm": "matmul_float", "integer-gemm": "matmul_int"}
    operation = operations.get(section, "matmul")
    return Batch.call(section, operation, what, a, b, datapath, exhaustive=what == TERMS)


def _line(fmt: LNSFormat, shape: tuple[int, int]) -> LNSArray:
    """Every code, as a column or a row."""
    return LNSArray(np.arange(1 << fmt.bits).astype(fmt.code_dtype).reshape(shape), 0, fmt)


def linear_batches(level: Level, rng: Random, style: str) -> Iterator[Batch]:
    """Styles "direct" and "bins"."""
    for fmt_a, fmt_b in level.terms:
        a, b = _line(fmt_a, (-1, 1)), _line(fmt_b, (1, -1))
        gamma = max(fmt_a.gamma, fmt_b.gamma)
        entries = sorted({1, min(2, gamma), gamma})
        for rounding, overflow, guard in product(
            ("floor", "toward_zero"), ("saturate", "wrap"), (0, 2)
        ):
            large = fmt_a.bits + fmt_b.bits > 12
            for count in entries[-1:] if large else entries:
                bits, table = rng.choice((6, 12, 20, 24, 32)), rng.choice((1, 5, 8, 13))
                accumulator = Accumulator(bits, guard, overflow, 1, rounding, style)
                datapath = Datapath(Antilog(count, table), accumulator)
                yield gemm(style, TERMS, a, b, datapath)
    yield from _directed(rng, style)
    for what, gamma, whole in product((ALIKE, MIXED), GAMMAS, (True, False)):
        if what == ALIKE or gamma > 1:
            datapath = drawn_datapath(rng, gamma, style, whole)
            yield gemm(style, what, *_of_gamma(rng, gamma, what), datapath)
    for _ in range(level.gemms):
        fmt_a, fmt_b = drawn_formats(rng)
        datapath = drawn_datapath(rng, max(fmt_a.gamma, fmt_b.gamma), style)
        yield gemm(style, DRAWN, *drawn_matrices(rng, fmt_a, fmt_b), datapath)
    for rows, terms, columns in level.large:
        fmt = LNSFormat(7, 8)
        a = matrix(rng, fmt, (rows, terms), "large", 1)
        b = matrix(rng, fmt, (terms, columns), "any", 0)
        for guard in (0, 4):
            accumulator = Accumulator(rng.choice((16, 24, 32)), guard, style=style)
            yield gemm(style, DRAWN, a, b, Datapath(Antilog(8, 8), accumulator))


def _drawn_format(rng: Random, gamma: int) -> LNSFormat:
    """A format of up to eight bits, or of up to some octaves where its steps are finer."""
    widest = max(8, min(gamma.bit_length() + 1, 13))
    return LNSFormat(rng.randrange(2, widest + 1), gamma, bool(rng.getrandbits(1)))


def drawn_formats(rng: Random) -> tuple[LNSFormat, LNSFormat]:
    """Two formats, half the time of one gamma and width."""
    first, second = (_drawn_format(rng, rng.choice(GAMMAS)) for _ in range(2))
    if rng.getrandbits(1):
        return first, second
    return first, LNSFormat(first.exponent_bits, first.gamma, second.zero)


def drawn_matrices(rng: Random, fmt_a: LNSFormat, fmt_b: LNSFormat) -> tuple[LNSArray, LNSArray]:
    """Two matrices of a ragged shape."""
    rows, terms, columns = drawn_shape(rng)
    a = matrix(rng, fmt_a, (rows, terms), rng.choice(KINDS), 1)
    return a, matrix(rng, fmt_b, (terms, columns), rng.choice(KINDS), 0)


def _of_gamma(rng: Random, gamma: int, what: str) -> tuple[LNSArray, LNSArray]:
    """(3, 7) and (7, 5) of a gamma; `what` MIXED: the first or the second of a coarser one.

    The range is an octave or more, so that any remainder may be met, and narrow enough for an
    accumulator of style "log".
    """
    width = min(max(3, gamma.bit_length()), 13)
    fine = LNSFormat(rng.randrange(width, min(width + 2, 13) + 1), gamma, bool(rng.getrandbits(1)))
    other = fine
    if what == MIXED:
        ratio = rng.randrange(1, min(gamma.bit_length(), 8))  # log2
        bits = rng.randrange(2, max(2, min(8, fine.exponent_bits - ratio)) + 1)
        other = LNSFormat(bits, gamma >> ratio, bool(rng.getrandbits(1)))
    fmt_a, fmt_b = rng.sample((fine, other), 2)
    a = matrix(rng, fmt_a, (3, 7), rng.choice(("any", "any", "zeros")), 1)
    return a, matrix(rng, fmt_b, (7, 5), "any", 0)


def _directed(rng: Random, style: str) -> Iterator[Batch]:
    """Every combination of rounding, overflow, lanes, zero and kind, at widths with no headroom."""
    combinations = product(
        ("floor", "toward_zero"), ("saturate", "wrap"), (1, 2, 3, 8), (True, False), KINDS
    )
    for rounding, overflow, lanes, zero, kind in combinations:
        fmt_a, fmt_b = LNSFormat(5, 4, zero), LNSFormat(4, 2, zero)
        accumulator = Accumulator(10, rng.choice((0, 1)), overflow, lanes, rounding, style)
        a = matrix(rng, fmt_a, (2, 19), kind, 1)
        b = matrix(rng, fmt_b, (19, 3), "large" if kind == "runs" else kind, 0)
        if kind == "runs":  # the sign of a product is a's alone
            b = LNSArray(b.code & fmt_b.code_dtype.type(fmt_b.max_exponent), 0, fmt_b)
        datapath = Datapath(Antilog(rng.choice((1, 2, 4)), 6), accumulator)
        yield gemm(style, DIRECTED, a, b, datapath)


def log_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Style "log": terms, then sums in every number of lanes and variant."""
    alike = dict.fromkeys((fmt, fmt) for pair in level.terms for fmt in pair)
    for fmt_a, fmt_b in dict.fromkeys((*alike, *level.terms)):
        a, b = _line(fmt_a, (-1, 1)), _line(fmt_b, (1, -1))
        yield _log(a, b, 0, 1, "exact", TERMS)
    alone = product((1, 2, 3, 16), ("exact",), KINDS, (True, False))
    for lanes, variant, kind, zero in (
        *alone, *product((1, 2, 16), VARIANTS[1:], ("any", "runs"), (True,))
    ):  # fmt: skip
        fmt = LNSFormat(rng.choice((3, 4, 7)), rng.choice((1, 2, 8)), zero)
        a, b = (matrix(rng, fmt, shape, kind, k) for shape, k in (((2, 17), 1), ((17, 2), 0)))
        yield _log(a, b, 0, lanes, variant, DIRECTED)
    for what, gamma, variant in product((ALIKE, MIXED), GAMMAS, VARIANTS):
        if what == ALIKE or gamma > 1:
            a, b = _of_gamma(rng, gamma, what)
            yield _log(a, b, rng.randrange(3), rng.choice((1, 1, 2, 3)), variant, what)
    for _ in range(level.gemms):
        fmt_a, fmt_b = drawn_formats(rng)
        if least_log_bits(fmt_a, fmt_b) > 15:  # no accumulator holds their products
            fmt_b = fmt_a
        a, b = drawn_matrices(rng, fmt_a, fmt_b)
        lanes, variant = rng.choice((1, 2, 5, 8, 64)), rng.choice(VARIANTS)
        yield _log(a, b, rng.randrange(3), lanes, variant, DRAWN)


def _log(a: LNSArray, b: LNSArray, more: int, lanes: int, variant: str, what: str) -> Batch:
    """more: bits of the accumulator beyond the fewest that hold a product and its double."""
    bits = min(15, least_log_bits(a.fmt, b.fmt) + more)
    arguments = a, b, bits, lanes, variant
    return Batch.call("log", "matmul_log", what, *arguments, exhaustive=what == TERMS)


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
        rows, terms, columns = (
            rng.choice((1, 2, 3)),
            rng.choice(TERM_COUNTS[:8]),
            rng.choice((1, 2, 5)),
        )
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


def _scales(rng: Random, layout: str, shape: tuple[int, ...], around: int) -> Any:
    """An offset, or one per row or column, up to nine apart."""
    if layout == "one":
        return around + rng.randrange(-4, 5)
    size = (shape[0], 1) if layout == "rows" else (1, shape[1])
    drawn = [around + rng.randrange(-4, 5) for _ in range(max(size) if min(size) else 0)]
    return np.array(drawn, np.int32).reshape(size)


def _as_rows(a: LNSArray) -> LNSArray:
    """Two rows: the codes of one sign each, where they are all there are."""
    return a.reshape(2, -1)


def scale_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """requantise and decode with scales of rows and columns on either side, and GEMMs with them."""
    formats = [fmt for fmt in level.pairs if fmt.bits <= 6] + list(level.boundaries[-1:])
    for fmt, target in product(dict.fromkeys(formats), repeat=2):
        a = _as_rows(every_code(fmt))
        same = target.max_exponent // 2 - fmt.max_exponent * target.gamma // (2 * fmt.gamma)
        yield from _requantised(rng, a, target, (0, -same), CODES)
    for fmt, target in product(level.wide, repeat=2):
        drawn = [rng.getrandbits(fmt.bits) for _ in range(level.drawn // 4 * 2)]
        a = _as_rows(codes(fmt, drawn))
        for around in ((0, 0), (1 << 30, 1 << 30)):
            yield from _requantised(rng, a, target, around, SOME_CODES)
    for fmt, layout in product(formats, ("rows", "columns")):
        a = _as_rows(every_code(fmt))
        for middle in (0, -1074 * fmt.gamma - fmt.max_exponent // 2):
            scaled = LNSArray(a.code, _scales(rng, layout, a.shape, middle), fmt)
            yield Batch.call("scales", "decode", CODES, scaled)
    yield from _scaled_sums(level, rng)


def _requantised(
    rng: Random, a: LNSArray, target: Any, around: tuple[int, int], what: str
) -> Iterator[Batch]:
    """Every layout of the old and the new scales but one number for both."""
    for old, new in product(("one", "rows", "columns"), repeat=2):
        if (old, new) != ("one", "one"):
            scaled = LNSArray(a.code, _scales(rng, old, a.shape, around[0]), a.fmt)
            offset = _scales(rng, new, a.shape, around[1])
            yield Batch.call("scales", "requantise", what, scaled, target, offset)


def _scaled_sums(level: Level, rng: Random) -> Iterator[Batch]:
    """GEMMs in each style: a scale per row of a, per column of b, or one of them alone."""
    for i in range(3 * max(4, level.gemms // 15)):
        fmt_a, fmt_b = drawn_formats(rng)
        style = ("direct", "bins", "log")[i % 3]
        if style == "log" and least_log_bits(fmt_a, fmt_b) > 15:  # no accumulator holds them
            fmt_b = fmt_a
        a, b = drawn_matrices(rng, fmt_a, fmt_b)
        rows, columns = rng.choice((("rows", "columns"), ("rows", "one"), ("one", "columns")))
        a = LNSArray(a.code, _scales(rng, rows, a.shape, -7), fmt_a)
        b = LNSArray(b.code, _scales(rng, columns, b.shape, 5), fmt_b)
        if style == "log" and not a.shape[1]:
            continue  # which scale stands beside a sum of no products is not specified
        if style != "log":
            datapath = drawn_datapath(rng, max(fmt_a.gamma, fmt_b.gamma), style)
            yield gemm("scales", SCALED, a, b, datapath)
            continue
        bits, lanes = least_log_bits(fmt_a, fmt_b), rng.choice((1, 2, 5))
        yield Batch.call("scales", "matmul_log", SCALED, a, b, bits, lanes, rng.choice(VARIANTS))
