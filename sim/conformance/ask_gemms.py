"""Questions about logarithmic GEMMs: every pair of codes as a product, directed and drawn sums.

A product with K = 1 of all codes by all codes asks every aligned term there is. Sums are asked with
matrices that are drawn, from several kinds of codes, so that accumulators saturate and wrap on the
way and come back, small terms are floored, zeros of both signs keep their place in a group, and
sizes are ragged, 0 and 1 among them. Every gamma there is has sums of its own, of operands that
share it and of operands that do not.
"""

from collections.abc import Iterator
from itertools import product
from random import Random

import numpy as np

from ...lns.accumulator import least_log_bits
from ...lns.array import LNSArray
from ...lns.datapath import Accumulator, Antilog, AnyDatapath, Datapath
from ...lns.format import LNSFormat
from .batch import GAMMAS, VARIANTS, Batch, Level, Operand

TERMS, DIRECTED, DRAWN = "every pair of codes, K = 1", "directed sums", "drawn sums"
ALIKE, MIXED = "drawn sums of every gamma", "drawn sums of two gammas"
KINDS = ("any", "large", "runs", "zeros", "small")  # of the codes of a drawn matrix
SUMS = (0, 1, 2, 3, 5, 8, 13, 17, 33, 64)  # K
_SMALL_TABLE, _ITS_BITS = 128, 5  # beyond so many constants T is fixed: the oracle takes 1 ms each
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
    return rng.choice((1, 2, 3, 4, 7)), rng.choice(SUMS), rng.choice((1, 2, 3, 5, 9))


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
    return Batch(section, operation, what, {"a": a, "b": b}, {"datapath": datapath}, what == TERMS)


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
    settings = {"accumulator_bits": bits, "lanes": lanes, "variant": variant}
    return Batch("log", "matmul_log", what, {"a": a, "b": b}, settings, what == TERMS)
