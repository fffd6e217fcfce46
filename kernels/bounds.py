"""How much a chunk of products can add to an accumulator, and which rows that puts at risk.

Everything here is an upper bound. It runs where floats are rounded down, so sums carry a slack.
"""

import numpy as np
from numba import njit

from .which import peak

ROWS = 16  # of a task that share a bound
PACKED = 64  # rows of left codes that lie together; a task has a multiple of them
_SLACK = 1.0 + 2.0**-10  # over sums of growth, which are rounded (downwards)


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
def _row_growth(right, first, words, at, step, factor, count):  # type: ignore[no-untyped-def]
    """`growth_of` for one row, from its own factors; right: the block's largest entries."""
    total = 0.0
    for u in range(count):
        total += abs(factor[words[at + u * step]]) * right[first + u]
    return np.int64(total * _SLACK) + count + 1


@njit(cache=True, nogil=True)
def mark_rows(acc, block, bound, careful, growth, top, chunk, words, right, factor):  # type: ignore[no-untyped-def]
    """Mark the rows that could leave the range in this chunk; return how many.

    A bound serves ROWS rows; where it fails even when measured, their rows are looked at one by
    one, with the growth that their own factors allow.
    """
    k0, count, at, step = chunk
    marked = 0
    for g in range(bound.size):
        first, last = g * ROWS, min(careful.size, (g + 1) * ROWS)
        careful[first:last] = 0
        if bound[g] + growth > top:
            bound[g] = np.int64(peak(acc, first * block, last - first)) + 1
        if bound[g] + growth <= top:
            bound[g] += growth
            continue
        most = np.int64(0)
        for i in range(first, last):
            grown = _row_growth(right, k0, words, at + i, step, factor, count)
            grown += np.int64(peak(acc, i * block, 1)) + 1
            careful[i] = grown > top
            marked += careful[i]
            most = max(most, min(grown, top))
        bound[g] = most
    return marked


@njit(cache=True, nogil=True)
def peaks_of(left, first, last, ceiling, right):  # type: ignore[no-untyped-def]
    """The largest term of every k: |factor| of rows first..last-1 times the block's entries."""
    peaks = np.empty(right.size, np.float32)
    for k in range(right.size):
        most = np.uint16(0)
        for tile in range(first // PACKED, -(-last // PACKED)):
            most = max(most, left[tile, k])
        peaks[k] = ceiling[most] * right[k]
    return peaks
