"""Scalar and short-vector steps that the integer kernels share."""

import numpy as np
from numba import njit

from ..runtime.inner import inner

BLOCK = 64  # columns of a task of the kernels that work without tables


@njit(cache=True, nogil=True, inline="always")
def aligned(magnitude, places, negative, toward_zero):  # type: ignore[no-untyped-def]
    """int64 +-magnitude * 2^places, rounded by floor or toward zero; magnitude 0 gives 0."""
    left = min(max(places, 0), 62)
    right = min(max(-places, 0), 63)
    if toward_zero:
        shifted = (magnitude << left) >> right
        return -shifted if negative else shifted
    return ((-magnitude if negative else magnitude) << left) >> right


@njit(cache=True, nogil=True, inline="always")
def folded(total, bits, wrap):  # type: ignore[no-untyped-def]
    """int64 `total` brought into `bits`-bit two's complement by wrapping or saturating."""
    half = np.int64(1) << (bits - 1)
    if wrap:
        return ((total + half) & (2 * half - 1)) - half
    return min(max(total, -half), half - 1)


@inner
def fold_block(acc, group, left_range, bits, wrap):  # type: ignore[no-untyped-def]
    """acc <- saturate or wrap(acc + group) over a block; mark columns that left the range.

    acc: int32 or int64, group: int64, left_range: uint8, all (BLOCK,).
    """
    for j in range(BLOCK):
        total = np.int64(acc[j]) + group[j]
        kept = folded(total, bits, wrap)
        left_range[j] |= np.uint8(total != kept)
        acc[j] = kept
