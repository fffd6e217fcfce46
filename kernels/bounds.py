"""How much a chunk of products can add to an accumulator, and which rows that puts at risk.

Everything here is an upper bound. It runs where floats are rounded down, so sums carry a slack.
"""

import numpy as np
from numba import njit

from .which import factor_size, peak

BOUND_BYTES = 4096  # of accumulators that share a bound: 16 to 64 rows of a block
PACKED = 64  # rows of left codes that lie together; a task has a multiple of them
_SLACK = 1.0 + 2.0**-10  # over sums of growth, which are rounded (downwards)


@njit(cache=True, nogil=True)
def bound_rows(block_bytes):  # type: ignore[no-untyped-def]
    """Rows that share a bound, where one takes so many bytes of accumulators: a power of two."""
    return BOUND_BYTES // block_bytes


@njit(cache=True, nogil=True)
def growth_of(peaks, first, last):  # type: ignore[no-untyped-def]
    """More than products first..last-1 can add to any |accumulator| of the block."""
    total = 0.0
    for k in range(first, last):
        total += peaks[k]
    return total * _SLACK + (last - first) + 1.0


@njit(cache=True, nogil=True)
def run_of(peaks, first, last, limit):  # type: ignore[no-untyped-def]
    """Products per floating-point sum: nearly the most for which no sum leaves its octave."""
    run = last - first
    while run > 1:
        most = 0.0
        for k in range(first, last, run):
            most = max(most, growth_of(peaks, k, min(last, k + run)))
        if most <= limit:
            break
        run = max(1, min(run - 1, np.int64(run * limit / most)))
    return run


@njit(cache=True, nogil=True)
def _row_growth(right, first, words, at, count, acc):  # type: ignore[no-untyped-def]
    """`growth_of` for one row, from its own factors; right: the block's largest entries."""
    total = 0.0
    for u in range(count):
        total += factor_size(words, at + u, acc) * right[first + u]
    return np.int64(total * _SLACK) + count + 1


@njit(cache=True, nogil=True)
def mark_rows(acc, width, bound, careful, growth, top, chunk, words, right):  # type: ignore[no-untyped-def]
    """Mark the rows that could leave the range in this chunk; return how many. careful: zeros.

    A bound serves some rows; where it fails even when measured, they are looked at one by one, with
    the growth that their own factors allow.
    """
    k0, count, at = chunk
    marked = 0
    rows = bound_rows(width * acc.itemsize)
    for g in range(bound.size):
        first, last = g * rows, min(careful.size, (g + 1) * rows)
        if bound[g] + growth > top:
            bound[g] = peak(acc, first * width, (last - first) * width, top)
        if bound[g] + growth <= top:
            bound[g] += growth
            continue
        most = np.int64(0)
        for i in range(first, last):
            grown = _row_growth(right, k0, words, at + i * count, count, acc)
            grown += peak(acc, i * width, width, top)
            careful[i] = grown > top
            marked += careful[i]
            most = max(most, min(grown, top))
        bound[g] = most
    return marked


@njit(cache=True, nogil=True)
def peaks_of(left, first, last, ceiling, right):  # type: ignore[no-untyped-def]
    """The largest term of every k: |factor| of rows first..last-1 times the block's entries."""
    most = left[first // PACKED].copy()
    for tile in range(first // PACKED + 1, -(-last // PACKED)):
        line = left[tile]
        for k in range(right.size):
            most[k] = max(most[k], line[k])
    peaks = np.empty(right.size, np.float32)
    for k in range(right.size):
        peaks[k] = ceiling[most[k]] * right[k]
    return peaks
