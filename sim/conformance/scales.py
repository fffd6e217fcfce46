"""Questions about scales per row and per column: an array of offsets beside the codes."""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import numpy as np

from ...lns.accumulator import least_log_bits
from ...lns.array import LNSArray
from .ask_gemms import drawn_datapath, drawn_formats, drawn_matrices, gemm
from .batch import VARIANTS, Batch, Level, codes, every_code

SECTION = "scales"
CODES, SOME_CODES = "every code, drawn scales", "drawn codes and scales"
SUMS = "drawn sums, a scale per row and column"
_LAYOUTS = ("one", "rows", "columns")  # of an array with two axes
_SMALL = 6  # bits of the formats that are asked in every pair


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
    formats = [fmt for fmt in level.pairs if fmt.bits <= _SMALL] + list(level.boundaries[-1:])
    for fmt, target in product(dict.fromkeys(formats), repeat=2):
        a = _as_rows(every_code(fmt))
        same = target.max_exponent // 2 - fmt.max_exponent * target.gamma // (2 * fmt.gamma)
        yield from _requantised(rng, a, target, (0, -same), CODES)
    for fmt, target in product(level.wide, repeat=2):
        drawn = [rng.getrandbits(fmt.bits) for _ in range(level.drawn // 4 * 2)]
        a = _as_rows(codes(fmt, drawn))
        for around in ((0, 0), (1 << 30, 1 << 30)):
            yield from _requantised(rng, a, target, around, SOME_CODES)
    for fmt, layout in product(formats, _LAYOUTS[1:]):
        a = _as_rows(every_code(fmt))
        for middle in (0, -1074 * fmt.gamma - fmt.max_exponent // 2):
            scaled = LNSArray(a.code, _scales(rng, layout, a.shape, middle), fmt)
            yield Batch(SECTION, "decode", CODES, {"a": scaled}, {}, False)
    yield from _sums(level, rng)


def _requantised(
    rng: Random, a: LNSArray, target: Any, around: tuple[int, int], what: str
) -> Iterator[Batch]:
    """Every layout of the old and the new scales but one number for both."""
    for old, new in product(_LAYOUTS, repeat=2):
        if (old, new) != ("one", "one"):
            scaled = LNSArray(a.code, _scales(rng, old, a.shape, around[0]), a.fmt)
            settings = {"fmt": target, "offset": _scales(rng, new, a.shape, around[1])}
            yield Batch(SECTION, "requantise", what, {"a": scaled}, settings, False)


def _sums(level: Level, rng: Random) -> Iterator[Batch]:
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
            yield gemm(SECTION, SUMS, a, b, datapath)
            continue
        bits, lanes = least_log_bits(fmt_a, fmt_b), rng.choice((1, 2, 5))
        settings = {"accumulator_bits": bits, "lanes": lanes, "variant": rng.choice(VARIANTS)}
        yield Batch(SECTION, "matmul_log", SUMS, {"a": a, "b": b}, settings, False)
