"""Gaussian logarithms in whole steps: what adding or subtracting does to the larger exponent.

S(d) = RN(G * log2(1 + 2^(-d/G))) and D(d) = RN(-G * log2(1 - 2^(-d/G))), d >= 1 the distance of
two exponents. A value of k - 1/2 steps is never met (2^((2k-1)/2G) has degree 2G over the rational
numbers, 1 +- 2^(-d/G) at most G), so each entry counts the half-steps below it. The comparisons are
between integer floors of the two sides, at enough bits that no two of them meet.
Source: Kingsbury and Rayner, "Digital filtering using logarithmic arithmetic", 1971.
"""

from bisect import bisect_left
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .checks import require_choice, require_power_of_two
from .thresholds import pow2_fixed

VARIANTS = ("exact",)
MAX_DISTANCE = (1 << 15) - 1  # of two exponents of the widest format
_BITS = 128  # first try; an undecided comparison doubles it


def _halves(gamma: int, sign: int, count: int, bits: int) -> list[int]:
    """floor(2^(sign * (2k-1)/2G) * 2^bits) for k = 1..count."""
    return [pow2_fixed(sign * (2 * k - 1), 2 * gamma, bits) for k in range(1, count + 1)]


def _sums(gamma: int, powers: list[int], bits: int) -> list[int] | None:
    """S for each 2^(-d/G), given as its floor; None if `bits` cannot decide."""
    one = 1 << bits
    halves = _halves(gamma, 1, gamma, bits)  # ascending, up to S(0) = G
    # 1 + 2^(-d/G) lies in [one + p, one + p + 1) and the half-step in (h, h + 1): equal floors tie.
    counts = [bisect_left(halves, one + p) for p in powers]
    if any(n < gamma and halves[n] == one + p for n, p in zip(counts, powers, strict=True)):
        return None
    return counts


def _differences(gamma: int, powers: list[int], bits: int) -> list[int] | None:
    """D for each 2^(-d/G), d >= 1, given as its floor; None if `bits` cannot decide."""
    one = 1 << bits
    # -log2(1 - 2^(-1/G)) < 1 + log2(G): 1 - 2^(-1/G) >= 1/(2G) for every G >= 1.
    count = gamma * (gamma.bit_length() + 1)
    halves = _halves(gamma, -1, count, bits)[::-1]  # ascending
    # 1 - 2^(-d/G) lies in (one - p - 1, one - p] and the half-step in (h, h + 1).
    lows = [one - p - 1 for p in powers]
    places = [bisect_left(halves, low) for low in lows]
    if any(n < count and halves[n] == low for n, low in zip(places, lows, strict=True)):
        return None
    return [count - n for n in places]


@lru_cache(maxsize=64)
def gauss_table(gamma: int, opposite: bool, variant: str = "exact") -> npt.NDArray[np.int32]:
    """Return int32 steps for d = 0..32767: S(d), or with `opposite` D(d); read-only.

    Entry 0 of D is 0 and not to be used: equal magnitudes of opposite signs cancel. variant:
    "exact", correctly rounded.
    """
    require_power_of_two("gamma", gamma, 1, 4096)
    require_choice("variant", variant, VARIANTS)
    bits, steps = _BITS, None
    while steps is None:
        powers = [pow2_fixed(-d, gamma, bits) for d in range(int(opposite), MAX_DISTANCE + 1)]
        steps = (_differences if opposite else _sums)(gamma, powers, bits)
        bits *= 2
    table = np.array([0, *steps] if opposite else steps, np.int32)
    table.setflags(write=False)
    return table
