"""float32 to logarithmic codes in 32-bit integers: the common case, an element a lane.

The thresholds are those of `encoders.py`, cut to float32's 23 fraction bits: a float32 passes a
threshold exactly when it passes the threshold cut. They are compared one after the other, which for
the few of a small gamma is faster than any table on vectors. Subnormals, and the one rounding with
ties, are left to `encoders.py`; so are offsets per element and gammas above MAX_GAMMA.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from ..ir.elementwise import ENCODED, FRACTION, PAIR, encode_strips
from ..ir.emit import LANES, SIZE
from ..ir.tasks import for_each
from ..runtime.inner import inner
from .encoders import CHUNK, step_table

MAX_OFFSET = 1 << 24  # of offset + 127 gamma: far from int32's limits
MAX_GAMMA = 32  # 32 comparisons an element still beat the table
INFINITE = 0x7F800000


@lru_cache(maxsize=32)
def fractions(gamma: int, rounding: str) -> npt.NDArray[np.int32]:
    """Return the fraction bits above which a float32 has one, two, ... steps of its octave."""
    table = step_table(gamma, rounding).thresholds[:-1]
    return ((table >> (52 - FRACTION)) - (1 << FRACTION)).astype(np.int32)


@inner
def _encode_task(task, bits, fraction, rule, out, found):  # type: ignore[no-untyped-def]
    """The elements of one task; found[task]: saturated, underflowed, largest |x|, smallest - 1."""
    first = task * CHUNK
    last = min(bits.size, first + CHUNK)
    counts = np.zeros(ENCODED * LANES, np.int32)
    counts[3 * LANES :] = -1
    whole = (last - first) // PAIR * PAIR
    if whole:
        encode_strips(bits, first, fraction, rule, out, whole, counts)
    if first + whole < last:
        rest, codes = np.zeros(PAIR, np.int32), np.empty(PAIR, out.dtype)
        rest[: last - first - whole] = bits[first + whole : last]
        encode_strips(rest, 0, fraction, rule, codes, PAIR, counts)
        out[first + whole : last] = codes[: last - first - whole]
    smallest = np.uint32(0xFFFFFFFF)
    for j in range(LANES):
        found[task, 0] += counts[j]
        found[task, 1] += counts[LANES + j]
        found[task, 2] = max(found[task, 2], counts[2 * LANES + j])
        smallest = min(smallest, np.uint32(counts[3 * LANES + j]))
    found[task, 3] = smallest


@njit(cache=True, nogil=True)
def encode_log32(bits, fraction, rule, out, alone):  # type: ignore[no-untyped-def]
    """Codes of the float32 whose bits (int32) are given; out: uint8 or uint16.

    rule: as `encode_strips` has it. Returns how many saturated and underflowed, whether something
    is not finite, whether something is subnormal (then the codes are not valid).
    """
    found = np.zeros((max(1, -(-bits.size // CHUNK)), 4), np.int64)
    for_each(_encode_task, found.shape[0], (bits, fraction, rule, out, found), alone)
    subnormal = found[:, 3].min() < (1 << FRACTION) - 1
    return found[:, 0].sum(), found[:, 1].sum(), found[:, 2].max() >= INFINITE, subnormal


@inner
def _largest_task(task, bits, most):  # type: ignore[no-untyped-def]
    here, part = np.int32(0), bits[task * CHUNK : (task + 1) * CHUNK]
    for i in range(part.size):  # a place that is known not to be negative: several at once
        here = max(here, part[i] & np.int32(SIZE))
    most[task] = here


@njit(cache=True, nogil=True)
def largest32(bits, alone):  # type: ignore[no-untyped-def]
    """Bits of the largest |x| (an infinity or NaN is larger than any number)."""
    most = np.zeros(max(1, -(-bits.size // CHUNK)), np.int32)
    for_each(_largest_task, most.size, (bits, most), alone)
    return most.max()
