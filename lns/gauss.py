"""Gaussian logarithms in whole steps: what adding or subtracting does to the larger exponent.

S(d) = RN(G * log2(1 + 2^(-d/G))) and D(d) = RN(-G * log2(1 - 2^(-d/G))), d >= 1 the distance of
two exponents. A value of k - 1/2 steps is never met (2^((2k-1)/2G) has degree 2G over the rational
numbers, 1 +- 2^(-d/G) at most G), so each entry counts the half-steps below it. The comparisons are
between integer floors of the two sides, at enough bits that no two of them meet.
Source: Kingsbury and Rayner, "Digital filtering using logarithmic arithmetic", 1971.

Hardware holds less than one entry per distance. The variants, z the smallest distance from which
the function is 0, w = ceil(z / n):

    "exact"     S and D correctly rounded
    "table:n"   entry i is RN of the function at d = i w + (w - 1) / 2, for i w <= d < (i + 1) w
    "interp:n"  knots at d = 0, w, 2 w, ... (D: 1, 1 + w, ...) to 8 more bits, a straight line
                between them, rounded half up
    "mitchell"  2^-x ~ 1 - x/2 and log2(1 + x) ~ x on their unit intervals (Mitchell 1962), the
                result rounded half up; no table

d = 0 with opposite signs is zero in every one of them.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .checks import plain_number, require_int, require_power_of_two
from .thresholds import pow2_fixed

VARIANTS = ("exact", "table:n", "interp:n", "mitchell")
MAX_ENTRIES = 1 << 15
KNOT_BITS = 8  # more bits of a knot of "interp:n" than of the result
MAX_DISTANCE = (1 << 15) - 1  # of two exponents of the widest format
_BITS = 128  # first try; an undecided comparison doubles it


@lru_cache(maxsize=32)
def _halves(gamma: int, sign: int, count: int, bits: int) -> list[int]:
    """floor(2^(sign * (2k-1)/2G) * 2^bits) for k = 1..count."""
    return [pow2_fixed(sign * (2 * k - 1), 2 * gamma, bits) for k in range(1, count + 1)]


def _sums(gamma: int, powers: list[int], bits: int) -> list[int] | None:
    """S for each 2^(-d/G), d >= 0, given as its floor; None if `bits` cannot decide."""
    one = 1 << bits
    halves = _halves(gamma, 1, gamma, bits)  # ascending, up to S(0) = G
    # 1 + 2^(-d/G) lies in [one + p, one + p + 1) and the half-step in (h, h + 1): equal floors tie.
    counts = [bisect_left(halves, one + p) for p in powers]
    if any(n < gamma and halves[n] == one + p for n, p in zip(counts, powers, strict=True)):
        return None
    return counts


def _differences(gamma: int, powers: list[int], bits: int) -> list[int] | None:
    """D for each 2^(-d/G), d >= 1/2, given as its floor; None if `bits` cannot decide."""
    one = 1 << bits
    # -log2(1 - 2^(-1/2G)) <= 2 + log2(G): 1 - 2^(-1/2G) >= 1/(4G) for every G >= 1.
    count = gamma * (gamma.bit_length() + 2)
    halves = _halves(gamma, -1, count, bits)[::-1]  # ascending
    # 1 - 2^(-d/G) lies in (one - p - 1, one - p] and the half-step in (h, h + 1).
    lows = [one - p - 1 for p in powers]
    places = [bisect_left(halves, low) for low in lows]
    if any(n < count and halves[n] == low for n, low in zip(places, lows, strict=True)):
        return None
    return [count - n for n in places]


@lru_cache(maxsize=64)
def _exact_table(gamma: int, opposite: bool) -> npt.NDArray[np.int32]:
    steps = _steps(gamma, range(int(opposite), MAX_DISTANCE + 1), gamma, opposite)
    return np.array([0, *steps] if opposite else steps, np.int32)


def _steps(gamma: int, numerators: Iterable[int], denominator: int, opposite: bool) -> list[int]:
    """`_rounded` of many arguments at once, each of at least half a distance for differences."""
    bits, steps = _BITS, None
    while steps is None:
        powers = [pow2_fixed(-n, denominator, bits) for n in numerators]
        steps = (_differences if opposite else _sums)(gamma, powers, bits)
        bits *= 2
    return steps


def split_variant(variant: object) -> tuple[str, int]:
    """Return (kind, n) of a variant's name, n = 0 where it has none.

    Raises ValueError for another name and for n outside 1..32768; n has no leading zeros.
    """
    kind, colon, number = variant.partition(":") if isinstance(variant, str) else ("", "", "")
    if kind in ("exact", "mitchell") and not colon:
        return kind, 0
    entries = plain_number(number)
    if kind in ("table", "interp") and entries is not None:
        return kind, require_int(f"n of variant {variant}", entries, 1, MAX_ENTRIES)
    raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")


def gauss_table(gamma: int, opposite: bool, variant: str = "exact") -> npt.NDArray[np.int32]:
    """Return int32 steps for d = 0..32767: S(d), or with `opposite` D(d); read-only.

    Entry 0 of D is 0 and not to be used: equal magnitudes of opposite signs cancel. variant: a
    name of VARIANTS with its n, such as "table:64".
    """
    steps = require_power_of_two("gamma", gamma, 1, 4096)
    return _table(steps, opposite, *split_variant(variant))


@lru_cache(maxsize=64)
def _table(gamma: int, opposite: bool, kind: str, entries: int) -> npt.NDArray[np.int32]:
    if kind == "exact":
        table = _exact_table(gamma, opposite)
    elif kind == "mitchell":
        table = _mitchell(gamma, opposite)
    else:
        width = -(-zero_from(gamma, opposite) // entries)
        make = _blocks if kind == "table" else _lines
        table = make(gamma, opposite, entries, width)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=64)
def zero_from(gamma: int, opposite: bool) -> int:
    """Return the smallest d from which S, or with `opposite` D, is 0: steps, by exact bisection.

    At gamma 4096 it lies beyond MAX_DISTANCE. From gamma (log2(gamma) + 2) on both are below half
    a step: there 2^(-d/gamma) <= 1 / (4 gamma).
    """
    steps = require_power_of_two("gamma", gamma, 1, 4096)
    distances = range(steps * (steps.bit_length() + 1))
    below = int(opposite)  # D(0) has no value
    return bisect_left(
        distances, True, below, key=lambda d: not _passes(steps, 1, d, steps, opposite)
    )


def max_error(gamma: int, variant: str, distances: int = MAX_DISTANCE) -> tuple[int, int]:
    """Return the largest |variant - exact| of S over d = 0..distances and of D over d = 1..: steps.

    distances: 2^E - 1 of a format with E exponent bits, at most 32767.
    """
    distances = require_int("distances", distances, 1, MAX_DISTANCE)
    worst = []
    for opposite in (False, True):
        part = slice(int(opposite), distances + 1)
        gap = gauss_table(gamma, opposite, variant)[part] - gauss_table(gamma, opposite)[part]
        worst.append(int(np.abs(gap).max()))
    return worst[0], worst[1]


def _fitted(values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """A table of every distance: cut, or continued by zeros, as the function is."""
    given = np.asarray(values, np.int64)[: MAX_DISTANCE + 1]
    table = np.zeros(MAX_DISTANCE + 1, np.int32)
    table[: len(given)] = given
    return table


def _blocks(gamma: int, opposite: bool, entries: int, width: int) -> npt.NDArray[np.int32]:
    """Constant over `width` distances; the middle of a block may lie between two of them."""
    used = min(entries, MAX_DISTANCE // width + 1)
    middles = [2 * i * width + width - 1 for i in range(used)]  # in halves of a distance
    if opposite:
        middles[0] = max(1, middles[0])  # of width 1: the entry of d = 0, which is not used
    table = _fitted(np.repeat(_steps(gamma, middles, 2 * gamma, opposite), width))
    if opposite:
        table[0] = 0
    return table


def _lines(gamma: int, opposite: bool, entries: int, width: int) -> npt.NDArray[np.int32]:
    """Straight lines between knots that hold KNOT_BITS more bits."""
    first, entries = int(opposite), min(entries, MAX_DISTANCE // width + 1)
    fine = gamma << KNOT_BITS
    knots = [_rounded(fine, first + i * width, gamma, opposite) for i in range(entries + 1)]
    left, right = (np.repeat(knots[i : i + entries], width).astype(object) for i in (0, 1))
    along = np.tile(np.arange(width), entries).astype(object)
    scaled = left * (width - along) + right * along  # times width * 2^KNOT_BITS
    unit = width << KNOT_BITS
    values = [(2 * int(value) + unit) // (2 * unit) for value in scaled]
    return _fitted([0] * first + values)


def _rounded(gamma: int, numerator: int, denominator: int, opposite: bool) -> int:
    """RN(gamma log2(1 + 2^(-numerator/denominator))), with `opposite` RN(-gamma log2(1 - ...)).

    The number of half-steps below the function's argument, by bisection; each comparison is of two
    integer floors at enough bits. A half-step is never met, as in the module's text: over the
    rational numbers the powers of one root of 2 are independent.
    """
    low, high = 0, gamma * (2 * denominator).bit_length()
    while low < high:  # the answer is the number of k >= 1 whose half-step is passed
        k = (low + high) // 2 + 1
        if _passes(gamma, 2 * k - 1, numerator, denominator, opposite):
            low = k
        else:
            high = k - 1
    return low


def _passes(gamma: int, odd: int, numerator: int, denominator: int, opposite: bool) -> bool:
    """Is 1 + 2^(-n/d) > 2^(odd/2 gamma), with `opposite` 1 - 2^(-n/d) < 2^(-odd/2 gamma)?"""
    bits = _BITS
    while True:
        power = pow2_fixed(-numerator, denominator, bits)
        half = pow2_fixed(-odd if opposite else odd, 2 * gamma, bits)
        one = 1 << bits
        # power and half are floors: the true values lie less than one above them
        if opposite:
            if one - power < half:
                return True
            if one - power - 1 > half:
                return False
        else:
            if one + power > half:
                return True
            if one + power + 1 < half:
                return False
        bits *= 2


def _mitchell(gamma: int, opposite: bool) -> npt.NDArray[np.int32]:
    """Both functions by Mitchell's lines; y = 2^(-d/G) ~ 2^-q (1 - r / 2G), d = q G + r."""
    values = [0] if opposite else []
    for d in range(int(opposite), MAX_DISTANCE + 1):
        q, r = divmod(d, gamma)
        if q > 64:  # far below half a step for every gamma
            break
        numerator, denominator = 2 * gamma - r, gamma << (q + 1)  # y
        if not opposite:
            values.append((2 * gamma * numerator + denominator) // (2 * denominator))
            continue
        rest = denominator - numerator  # 1 - y = rest / denominator, in (0, 1)
        octaves = 0
        while rest << octaves < denominator:
            octaves += 1
        # -log2(1 - y) ~ octaves - f, 1 + f = rest 2^octaves / denominator
        exact = gamma * (octaves * denominator - ((rest << octaves) - denominator))
        values.append((2 * exact + denominator) // (2 * denominator))
    return _fitted(values)
