"""Questions about arithmetic on logarithmic codes: every pair of codes of small formats."""

from collections.abc import Iterator
from itertools import product
from random import Random

import numpy as np

from ...lns.array import LNSArray
from ...lns.format import LNSFormat
from .batch import Batch, codes, every_code, every_pair
from .levels import GAMMAS, VARIANTS, Level

PAIRS, CODES = "every pair of codes", "every code"
DRAWN_PAIRS, DRAWN_ROWS = "drawn pairs of codes", "drawn rows"
ORDERS = ("sequential", "tree", "lanes:2", "lanes:3", "lanes:16")
_SMALL = 6  # bits up to which every pair is asked in many settings


def drawn_pair(
    rng: Random, a: LNSFormat, b: LNSFormat, count: int, offsets: tuple[int, int] = (0, 0)
) -> tuple[LNSArray, LNSArray]:
    """Return random codes of two formats, a zero of either sign among them."""
    left, right = ([rng.getrandbits(f.bits) for _ in range(count)] for f in (a, b))
    left[:2] = [0, 1 << a.exponent_bits]
    return codes(a, left, offsets[0]), codes(b, right, offsets[1])


def _targets(fmt: LNSFormat, quotient: bool) -> list[tuple[LNSFormat, int]]:
    """Targets that hold the middle, flush the small and saturate the large results."""
    middle = 0 if quotient else fmt.max_exponent
    wide = LNSFormat(min(fmt.exponent_bits + 2, 15), fmt.gamma, not fmt.zero)
    narrow = LNSFormat(max(fmt.exponent_bits - 1, 2), fmt.gamma, not fmt.zero)
    half = fmt.max_exponent // 2
    return [(fmt, middle - half), (fmt, middle), (wide, middle - 2 * half), (narrow, middle - 1)]


def multiply_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """mul and div: every pair, targets of other widths and scales; drawn pairs of wide formats."""
    for fmt, (name, quotient) in product(level.pairs, (("mul", False), ("div", True))):
        a, b = every_pair(fmt, fmt, 2, -5)
        if quotient and fmt.zero:  # division by zero is asked among the refusals
            a, b = _without_zero(a, b)
        for target, offset in _targets(fmt, quotient)[: 4 if fmt.bits <= _SMALL else 2]:
            shift = offset - 3 if not quotient else offset + 7
            yield Batch.call("multiply", name, PAIRS, a, b, target, shift, exhaustive=True)
    for fmt in level.wide:
        narrow = LNSFormat(fmt.exponent_bits - 3, fmt.gamma, zero=False)  # has no zero
        a, b = drawn_pair(rng, fmt, narrow, level.drawn, (7, -(1 << 20)))
        for name, offset in (("mul", -(1 << 20) + 11), ("div", 1 << 20)):
            yield Batch.call("multiply", name, DRAWN_PAIRS, a, b, fmt, offset)


def _without_zero(a: LNSArray, b: LNSArray) -> tuple[LNSArray, LNSArray]:
    kept = (b.code & b.fmt.code_dtype.type(b.fmt.max_exponent)) > 0
    return a[kept], b[kept]


def root_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """square, sqrt, neg and absolute of every code; sqrt of those that are not negative."""
    for fmt in dict.fromkeys((*level.pairs, *level.boundaries, *level.wide)):
        whole = fmt.bits <= 12
        what = CODES if whole else "drawn codes"
        drawn = range(1 << fmt.bits) if whole else [
            rng.getrandbits(fmt.bits) for _ in range(level.drawn)
        ]  # fmt: skip
        positive = [code for code in drawn if code <= fmt.max_exponent + fmt.zero]
        for offset, (target, its) in product((0, -3), _targets(fmt, quotient=False)):
            a, root = codes(fmt, drawn, offset), codes(fmt, positive, offset)
            half = offset // 2 + its // 4
            yield Batch.call("multiply", "square", what, a, target, its, exhaustive=whole)
            yield Batch.call("multiply", "sqrt", what, root, target, half, exhaustive=whole)
        for name in ("neg", "absolute"):
            yield Batch.call("order", name, what, codes(fmt, drawn, 4), exhaustive=whole)


def compare_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Every pair: within a format, at other scales, and across formats and gammas."""
    small = [fmt for fmt in level.pairs if fmt.bits <= _SMALL]
    for fmt in level.pairs:
        a, b = every_pair(fmt, fmt, 0, 0 if fmt.bits > _SMALL else 1)
        yield Batch.call("order", "compare", PAIRS, a, b, exhaustive=True)
    for fmt, other in product(small, repeat=2):
        a, b = every_pair(fmt, other, -fmt.gamma, 1 - other.gamma)
        yield Batch.call("order", "compare", PAIRS, a, b, exhaustive=True)
    for fmt, other in product(level.wide, repeat=2):
        a, b = drawn_pair(rng, fmt, other, level.drawn, (-(1 << 30), -(1 << 30)))
        yield Batch.call("order", "compare", DRAWN_PAIRS, a, b)


def requantise_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Every code of every format to every other, at scales that tie, flush and saturate."""
    formats = [fmt for fmt in level.pairs if fmt.bits <= _SMALL] + list(level.boundaries[-1:])
    for fmt, target in product(dict.fromkeys(formats), repeat=2):
        same = target.max_exponent // 2 - fmt.max_exponent * target.gamma // (2 * fmt.gamma)
        for old, new in ((0, 0), (1, 0), (-3, 1 - same), (0, -same), (7, -5)):
            a = every_code(fmt, old)
            yield Batch.call("requantise", "requantise", CODES, a, target, new, exhaustive=True)
    for fmt, target in product(level.wide, (*level.wide, *level.boundaries[-1:])):
        drawn = [rng.getrandbits(fmt.bits) for _ in range(level.drawn)]
        for old, new in ((0, 0), (-2049, -target.gamma), ((1 << 30) + 1, 1 << 30)):
            a = codes(fmt, drawn, old)
            yield Batch.call("requantise", "requantise", "drawn codes", a, target, new)


def add_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """add and sub in every variant: every pair, every distance of wide formats, drawn pairs of wide
    formats, and drawn distances up to where both functions are 0 of every gamma."""
    for fmt in level.pairs:
        for variant, name in product(VARIANTS, ("add", "sub")):
            if name == "sub" and fmt.bits > _SMALL and variant != "exact":
                continue
            a, b = every_pair(fmt, fmt, -2, -2)
            yield Batch.call("add", name, PAIRS, a, b, variant, exhaustive=True)
    for fmt in level.distances:
        top = fmt.max_exponent
        distances = np.arange(top + 1 - fmt.min_exponent)
        large = np.concatenate([np.full(len(distances), top // 2 + 1), distances * 0 + top])
        near = np.concatenate([np.maximum(top // 2 + 1 - distances, 0), top - distances])
        for variant, sign in product(VARIANTS, (0, 1)):
            signed = near | sign << fmt.exponent_bits
            a, b = codes(fmt, large.tolist()), codes(fmt, signed.tolist())
            yield Batch.call("add", "add", "every distance", a, b, variant, exhaustive=True)
    for fmt in level.wide:
        drawn = min(level.drawn, 400)
        for variant in VARIANTS:
            a, b = drawn_pair(rng, fmt, fmt, drawn)
            for name in ("add", "sub"):
                yield Batch.call("add", name, DRAWN_PAIRS, a, b, variant)
    for gamma, variant, name in product(GAMMAS, VARIANTS, ("add", "sub")):
        a, b = _at_distances(rng, gamma, level.drawn // 10)
        yield Batch.call("add", name, "drawn distances", a, b, variant)


def _at_distances(rng: Random, gamma: int, count: int) -> tuple[LNSArray, LNSArray]:
    """Pairs of both signs at the distances 0, 1, 2, a last one and `count` drawn.

    S and D are 0 from some log2(gamma) + 1.5 octaves; at gamma 4096 that is beyond every format.
    """
    fmt = LNSFormat(15, gamma, bool(rng.getrandbits(1)))
    most = min(fmt.max_exponent - 1, (gamma.bit_length() + 2) * gamma)
    left, right = [], []
    for d in (0, 1, 2, most, *(rng.randrange(most + 1) for _ in range(count))):
        e = fmt.max_exponent - rng.randrange(fmt.max_exponent - d)
        left.append(e | rng.getrandbits(1) << fmt.exponent_bits)
        right.append(e - d | rng.getrandbits(1) << fmt.exponent_bits)
    return codes(fmt, left), codes(fmt, right)


def sum_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """total and dot: every triple of the smallest format, drawn rows of others, every order."""
    for fmt in [fmt for fmt in level.pairs if fmt.bits <= 3]:
        triples = np.array(list(product(range(1 << fmt.bits), repeat=3)), fmt.code_dtype)
        for order in ("sequential", "tree", "lanes:2"):
            a = LNSArray(triples, 0, fmt)
            what = "every triple of codes"
            yield Batch.call("sums", "total", what, a, order, "exact", exhaustive=True)
    formats = [fmt for fmt in level.pairs if fmt.bits > 3]
    rows = max(2, level.drawn // 40)
    for fmt, order, variant in product(formats, ORDERS, ("exact", "table:16", "mitchell")):
        terms = rng.choice((0, 1, 5, 16, 23))
        a, b = (_rows(rng, fmt, rows, terms, offset) for offset in (3, -4))
        yield Batch.call("sums", "total", DRAWN_ROWS, a, order, variant)
        bits = min(15, fmt.exponent_bits + rng.choice((2, 3, 5)))
        yield Batch.call("sums", "dot", DRAWN_ROWS, a, b, bits, order, variant)


def _rows(rng: Random, fmt: LNSFormat, rows: int, terms: int, offset: int) -> LNSArray:
    drawn = [[rng.getrandbits(fmt.bits) for _ in range(terms)] for _ in range(rows)]
    return LNSArray(np.array(drawn, fmt.code_dtype).reshape(rows, terms), offset, fmt)
