"""Where rounding changes its mind: integer thresholds on a significand, proven by integers alone.

A finite number is m * 2^k with 2^b <= m < 2^(b+1), so gamma * log2 of it is a whole number plus
gamma * log2(m / 2^b). The tables here say, for each rounding, from which m the rounded step grows
by one. They are floors of irrational numbers; each is taken from an interval whose two ends have
the same floor, and the interval is narrowed until they do.
"""

from functools import lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from .checks import require_choice, require_int, require_power_of_two

_GUARD_BITS = 64  # first try; an undecided floor doubles it
MAX_STEPS = 1 << 16  #: largest `gamma` of a table: 65536 entries
TABLE_ROUNDINGS = ("nearest", "nearest_value", "floor")


@lru_cache(maxsize=64)
def _roots(depth: int, precision: int) -> tuple[tuple[int, int], ...]:
    """Integer bounds (low, high) of 2^(1/2^j) * 2^precision for j = 1..depth."""
    low = high = 2 << precision
    bounds = []
    for _ in range(depth):
        low = isqrt(low << precision)
        high = isqrt(high << precision) + 1
        bounds.append((low, high))
    return tuple(bounds)


def _pow2_bounds(numerator: int, depth: int, precision: int) -> tuple[int, int]:
    """Integers with low <= 2^(numerator / 2^depth) * 2^precision <= high; numerator < 2^depth."""
    low = high = 1 << precision
    for j, (root_low, root_high) in enumerate(_roots(depth, precision), start=1):
        if numerator >> (depth - j) & 1:
            low = low * root_low >> precision
            high = (high * root_high >> precision) + 1
    return low, high


def pow2_fixed(n: int, d: int, bits: int) -> int:
    """Return floor(2^(n/d) * 2^bits), exactly; d a power of two, n and bits any integers."""
    octaves, numerator = divmod(n, d)
    places = bits + octaves
    if numerator == 0 or places < 0:
        return 1 << places if places >= 0 else 0
    depth = d.bit_length() - 1
    guard = _GUARD_BITS
    while True:
        low, high = _pow2_bounds(numerator, depth, places + guard)
        if low >> guard == high >> guard:
            return low >> guard
        guard *= 2


def _midpoint(k: int, gamma: int, bits: int) -> int:
    """floor of the mean of 2^((k-1)/gamma) and 2^(k/gamma), times 2^bits; exact."""
    guard = _GUARD_BITS
    while True:
        low = pow2_fixed(k - 1, gamma, bits + guard) + pow2_fixed(k, gamma, bits + guard)
        # Each floor is less than one short, so the sum's own floor is low or low + 1.
        if gamma == 1 or low >> (guard + 1) == (low + 1) >> (guard + 1):
            return low >> (guard + 1)
        guard *= 2


@lru_cache(maxsize=256)
def thresholds(gamma: int, rounding: str, mantissa_bits: int) -> npt.NDArray[np.uint64]:
    """Return ascending uint64 thresholds T of a significand m, 2^mantissa_bits <= m.

    The rounded value of gamma * log2(m / 2^mantissa_bits) is the number of T below m, which is
    `np.searchsorted(T, m, side="left")`. The array is read-only.

    gamma: a power of two, 1..65536. mantissa_bits: 1..62 (float32 has 23, float64 has 52).
    "nearest" (in the logarithm): gamma entries, floor(2^((2k-1)/(2 gamma)) * 2^mantissa_bits) for
    k = 1..gamma; never a tie, these numbers are irrational.
    "floor": gamma - 1 entries, floor(2^(k/gamma) * 2^mantissa_bits) for k = 1..gamma-1.
    "nearest_value": gamma entries, the midpoint of the neighbours k - 1 and k. Only gamma = 1 has a
    tie, m == T[0] (the value 1.5); it counts as step 0 here, and the caller sends it to the even
    stored exponent.
    """
    require_power_of_two("gamma", gamma, 1, MAX_STEPS)
    require_choice("rounding", rounding, TABLE_ROUNDINGS)
    require_int("mantissa_bits", mantissa_bits, 1, 62)
    if rounding == "nearest":
        entries = [pow2_fixed(2 * k - 1, 2 * gamma, mantissa_bits) for k in range(1, gamma + 1)]
    elif rounding == "floor":
        entries = [pow2_fixed(k, gamma, mantissa_bits) for k in range(1, gamma)]
    else:
        entries = [_midpoint(k, gamma, mantissa_bits) for k in range(1, gamma + 1)]
    table = np.array(entries, dtype=np.uint64)
    table.setflags(write=False)
    return table
