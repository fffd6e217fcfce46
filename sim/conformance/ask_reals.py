"""Questions with real numbers: encoding and decoding of every kind of format.

Encoding is a staircase. It is asked on both sides of every step: at each code's value and at each
midpoint of two neighbours, in the logarithm and in value, the nearest number of the dtype and the
numbers next to it, of both signs; and beyond both ends, at zeros of both signs, the smallest and
the largest numbers there are.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from math import inf, isinf, nan
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from ...lns.array import FloatArray, IntArray
from ...lns.format import FloatFormat, LNSFormat
from ...lns.oracle_ops import float_value, nearest_power
from .batch import Batch, codes, every_code
from .levels import ROUNDINGS, Level

Real = npt.NDArray[Any]
DTYPES = (np.float32, np.float64)
BOUNDARIES = "both sides of every boundary"
SOME_BOUNDARIES = "both sides of drawn boundaries"
CODES, SOME_CODES = "every code", "drawn codes"
_BEYOND = 2  # steps beyond both ends that are asked too


def power(n: int, root: int) -> float:
    """2^(n/root) as the nearest float64; infinite or zero where it has none."""
    octave = n // root
    if octave > 1023:
        return inf
    if octave < -1075:
        return 0.0
    places = min(52 - octave, 1074)
    return float(nearest_power(n, root, places) * Fraction(2) ** -places)


def around(values: Iterable[float], dtype: type[np.floating[Any]]) -> Real:
    """Return each finite value and the numbers of `dtype` next to it, of both signs."""
    finite = np.finfo(dtype)
    middle = [v for v in values if 0 < v <= float(finite.max)]
    at = np.array([*middle, float(finite.smallest_subnormal), float(finite.max)]).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        below, above = np.nextafter(at, dtype(-inf)), np.nextafter(at, dtype(inf))
    points = np.unique(np.concatenate([below, at, above]))
    points = points[np.isfinite(points) & (points > 0)]
    return np.concatenate([points, -points, np.array([0.0, -0.0], dtype)])


def _steps(e: int, offset: int, gamma: int) -> list[float]:
    """A step's value and the two midpoints above it."""
    low, high = power(e + offset, gamma), power(e + 1 + offset, gamma)
    middle = low + (high - low) / 2 if not isinf(high) else inf
    return [low, power(2 * (e + offset) + 1, 2 * gamma), middle]


def _offsets(fmt: LNSFormat) -> list[int]:
    """No scale, an odd one, and the ends of float32 and float64 within the format's range."""
    middle, gamma = fmt.max_exponent // 2, fmt.gamma
    ends = [octave * gamma - middle for octave in (-149, 128, -1074, 1024)]
    return [0, -middle - 1, *ends] if fmt.bits <= 6 else [-middle - 1, ends[0], ends[3]]


def _reachable(fmt: LNSFormat, offset: int) -> range:
    """Stored exponents, and some beyond both ends, whose values float32 holds as normal numbers."""
    low, high = (octave * fmt.gamma - offset for octave in (-125, 126))
    return range(max(low, -3 * _BEYOND), min(high, fmt.max_exponent + 3 * _BEYOND))


def encode_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """LNS encoding: every rounding, both dtypes, several scales."""
    for fmt in level.boundaries:
        steps = range(fmt.min_exponent - _BEYOND, fmt.max_exponent + _BEYOND + 1)
        for offset in _offsets(fmt):
            values = [v for e in steps for v in _steps(e, offset, fmt.gamma)]
            yield from _encodings(values, fmt, offset, BOUNDARIES, True)
    for fmt in level.wide:
        for offset in (-(fmt.max_exponent // 2), 5):
            steps = _reachable(fmt, offset)
            drawn = [rng.choice(steps) for _ in range(level.drawn // 40)]
            values = [v for e in drawn for v in _steps(e, offset, fmt.gamma)]
            yield from _encodings(values, fmt, offset, SOME_BOUNDARIES, False)


def _encodings(
    values: list[float], fmt: LNSFormat, offset: int, what: str, exhaustive: bool
) -> Iterator[Batch]:
    for dtype in DTYPES:
        x = around(values, dtype)
        for rounding in ROUNDINGS:
            yield Batch.call(
                "encode", "encode", what, x, fmt, offset, rounding, exhaustive=exhaustive
            )


def stochastic_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Every draw of few bits on both sides of every fraction; draws of 8 and 16 bits."""
    for fmt in level.boundaries:
        if fmt.bits > 5:
            continue
        offset = -(fmt.max_exponent // 2)
        for bits in (1, 2, 3):
            ends = [e + offset << bits for e in (fmt.min_exponent - 2, fmt.max_exponent + 2)]
            x = around([power(n, fmt.gamma << bits) for n in range(*ends)], np.float64)
            all_x, draws = np.repeat(x, 1 << bits), np.tile(np.arange(1 << bits), len(x))
            yield _stochastic(all_x, draws, fmt, offset, bits, "every boundary, every draw")
    for fmt in (*level.boundaries[-1:], *level.wide):
        offset = -(fmt.max_exponent // 2)
        for dtype, bits in ((np.float32, 8), (np.float64, 16)):
            steps = _reachable(fmt, offset)
            drawn = [rng.choice(steps) for _ in range(level.drawn // 10)]
            x = np.array([power(e + offset, fmt.gamma) * (1 + rng.random()) for e in drawn], dtype)
            x[::3] *= -1
            draws = np.array([rng.getrandbits(bits) for _ in drawn])
            draws[:4] = [0, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1]
            yield _stochastic(x, draws, fmt, offset, bits, "drawn numbers and draws")


def _stochastic(x: Real, draws: Real, fmt: LNSFormat, offset: int, bits: int, what: str) -> Batch:
    arguments = x, draws.astype(np.int64), fmt, offset, bits
    exhaustive = what.startswith("every")
    return Batch.call("encode", "encode_stochastic", what, *arguments, exhaustive=exhaustive)


def default_offset_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """The scale that encoding chooses: largest numbers on both sides of every boundary."""
    ask = partial(Batch.call, exhaustive=True)
    for fmt in level.boundaries:
        if fmt.bits > 6:
            continue
        octave = rng.choice((-3, 0, 5)) * fmt.gamma
        for value in (v for e in range(fmt.gamma) for v in _steps(e + octave, 0, fmt.gamma)):
            for point in (np.nextafter(value, 0), value, np.nextafter(value, inf)):
                x = np.array([point / 5, -point, 0.0])
                for rounding in ROUNDINGS:
                    what = "largest number at every boundary"
                    yield ask("encode", "default_offset", what, x, fmt, rounding)
    zeros = np.zeros(3, np.float32)
    yield ask("encode", "default_offset", "zeros", zeros, level.boundaries[0], "nearest")


def decode_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Every code at scales from the smallest subnormal to just below overflow."""
    for fmt in dict.fromkeys((*level.pairs, *level.boundaries)):
        top = 1024 * fmt.gamma - fmt.max_exponent - 1
        low = -1074 * fmt.gamma - fmt.max_exponent // 2
        for offset in (0, 3, low, top):
            a = every_code(fmt, offset)
            yield Batch.call("decode", "decode", CODES, a, exhaustive=True)
    for fmt in level.wide:
        offset = -(fmt.max_exponent // 2)
        top = min(fmt.max_exponent, 1023 * fmt.gamma - offset)  # below overflow
        signs = (rng.getrandbits(1) << fmt.exponent_bits for _ in range(level.drawn // 4))
        a = codes(fmt, [sign | rng.randrange(top + 1) for sign in signs], offset)
        yield Batch.call("decode", "decode", SOME_CODES, a)


def _float_values(fmt: FloatFormat, magnitudes: Iterable[int]) -> list[float]:
    """The magnitudes' values, the midpoints above them and the threshold beyond the largest."""
    found = []
    for code in magnitudes:
        low = float_value(code, fmt)[1]
        high = float_value(code + 1, fmt)[1] if code < fmt.max_code else None
        if not isinstance(high, Fraction):  # half the last step beyond the largest number
            high = 2 * Fraction(low) - Fraction(float_value(fmt.max_code - 1, fmt)[1])
        found += [float(low), float((Fraction(low) + high) / 2), float(high)]
    return found


def float_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Float formats: every code and midpoint, infinities and NaNs of both signs, two scales."""
    for fmt in (*level.floats, *level.wide_floats):
        all_codes = fmt in level.floats
        ask = partial(Batch.call, "float", exhaustive=all_codes)
        top = fmt.max_code + 1
        magnitudes: Iterable[int] = range(top)
        if not all_codes:
            drawn = [rng.randrange(top) for _ in range(level.drawn // 4)]
            corner = 1 << fmt.mantissa_bits
            magnitudes = [0, 1, 2, corner - 1, corner, top - 2, top - 1, *drawn]
        values = _float_values(fmt, magnitudes)
        values.append(2 * float(fmt.max_value))
        for dtype in DTYPES:
            for offset in (0, -3):
                scaled = [float(np.ldexp(v, offset)) for v in values]
                x = around(scaled, dtype)
                special = [inf, -inf] + ([] if fmt.encoding == "finite" else [nan, -nan])
                x = np.concatenate([x, np.array(special, dtype)])
                what = BOUNDARIES if all_codes else SOME_BOUNDARIES
                yield ask("encode_float", what, x, fmt, offset)
        every = [rng.getrandbits(fmt.bits) for _ in range(level.drawn)]
        stored = np.array(range(1 << fmt.bits) if all_codes else every).astype(fmt.code_dtype)
        for offset in (0, 7):
            what = CODES if all_codes else SOME_CODES
            yield ask("decode_float", what, FloatArray(stored, offset, fmt))


def int_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Integer formats: every code and midpoint, and beyond both ends."""
    for fmt in level.ints:
        values = range(fmt.max_value + 3)
        small = fmt.bits <= 8
        whole = values if small else [rng.randrange(fmt.max_value + 3) for _ in range(level.drawn)]
        for dtype in DTYPES:
            for offset in (0, -5):
                scale = 2.0**offset
                x = around([v * scale for e in whole for v in (e, e + 0.5)], dtype)
                what = BOUNDARIES if small else SOME_BOUNDARIES
                yield Batch.call("integer", "encode_int", what, x, fmt, offset, exhaustive=small)
        stored = np.arange(fmt.min_value, fmt.max_value + 1).astype(fmt.code_dtype)
        for offset in (0, -9):
            a = IntArray(stored, offset, fmt)
            yield Batch.call("integer", "decode_int", CODES, a, exhaustive=True)
