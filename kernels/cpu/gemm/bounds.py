"""How much a chunk of products can add to a sum, and which rows that puts at risk.

A task holds a sum in two parts, far + near. near is what the inner loop adds to, a float in an
octave where steps are 1 (as an integer, its bits: START_BITS + sum), with room for `chain` either
way. Before a chunk that may need more room, near is carried to far, an integer. W bits are the
range of both together.

What a chunk adds has two bounds, of which the smaller counts: the sum of every product's largest
term (see `growth_of`), and the largest sum of |factors| of a row, its reach, times the largest
entry. All of it runs where floats are rounded down, so sums carry a slack.

What runs once for a chunk is kept apart, so that it is compiled once and not at every call.
"""

import numpy as np

from ..ir.emit import START_BITS
from ..runtime.inner import inner
from ..runtime.which import factor_size, keep_apart, move, peak

PACKED = 64  # rows that lie together and share their bounds; a task has a multiple of them
UNSET = np.int64(-1)  # in place of a bound of far: nothing was carried to it yet
_SLACK = 1.0 + 2.0**-10  # over sums of growth, which are rounded (downwards)
_START, _WIDE_START = START_BITS[4], START_BITS[8]


@inner
def start_of(acc):  # type: ignore[no-untyped-def]
    """The bits of a near sum of 0, for integers of acc's size."""
    return np.int64(_START if acc.itemsize == 4 else _WIDE_START)


@inner
def fill(items, first, last, value):  # type: ignore[no-untyped-def]
    """items[first:last] = value, which takes longer to compile."""
    part = items[first:last]  # whose indices are known not to be negative
    for i in range(part.size):
        part[i] = value


@inner
def largest_of(items, first, last):  # type: ignore[no-untyped-def]
    """items[first:last].max(), which takes longer to compile."""
    keep_apart()
    most = items[first]
    for i in range(first + 1, last):
        most = max(most, items[i])
    return most


@inner
def growth_of(peaks, first, last):  # type: ignore[no-untyped-def]
    """More than products first..last-1 can add to any |accumulator| of the block."""
    keep_apart()
    total = 0.0
    for k in range(first, last):
        total += peaks[k]
    return total * _SLACK + (last - first) + 1.0


@inner
def run_of(peaks, first, last, limit):  # type: ignore[no-untyped-def]
    """Products per floating-point sum: nearly the most for which no sum leaves its octave."""
    keep_apart()
    run = last - first
    while run > 1:
        most = 0.0
        for k in range(first, last, run):
            most = max(most, growth_of(peaks, k, min(last, k + run)))
        if most <= limit:
            break
        run = max(1, min(run - 1, np.int64(run * limit / most)))
    return run


@inner
def _row_growth(right, first, words, at, count, acc):  # type: ignore[no-untyped-def]
    """`growth_of` for one row, from its own factors; right: the block's largest entries."""
    total = 0.0
    for u in range(count):
        total += factor_size(words, at + u, acc) * right[first + u]
    return np.int64(total * _SLACK) + count + 1


@inner
def reach_growth(reach, entry, count):  # type: ignore[no-untyped-def]
    """More than `count` products add to a sum of rows of that reach, with entries up to `entry`."""
    return np.int64(np.float64(reach) * entry * _SLACK) + count + 1


@inner
def place_of(g, far, width):  # type: ignore[no-untyped-def]
    """(where the sums of bound g start, how many they are)."""
    start = g * PACKED * width
    return start, min(far.size - start, PACKED * width)


@inner
def _forget(near, careful, width, g):  # type: ignore[no-untyped-def]
    """Drop what near has of bound g's careful rows, where it means nothing; are there any?"""
    found = False
    for i in range(g * PACKED, min(careful.size, (g + 1) * PACKED)):
        if careful[i]:
            fill(near, i * width, (i + 1) * width, start_of(near))
            found = True
    return found


@inner
def carry(sums, careful, width, g):  # type: ignore[no-untyped-def]
    """Move the near sums of bound g to far, but for those of careful rows."""
    keep_apart()
    near, far, near_bound, bound = sums
    start, size = place_of(g, far, width)
    _forget(near, careful, width, g)
    move(near, far, start, size, start_of(far), bound[g] == UNSET)
    bound[g] = max(bound[g], 0) + near_bound[g]
    near_bound[g] = 0


@inner
def room_in(sums, limits):  # type: ignore[no-untyped-def]
    """What may be added to any sum before one has to be looked at. limits: see `make_room`."""
    keep_apart()
    _, _, near_bound, bound = sums
    top, chain = limits
    room = top
    for g in range(bound.size):
        room = min(room, chain - near_bound[g], top - near_bound[g] - max(bound[g], 0))
    return room


@inner
def make_room(  # type: ignore[no-untyped-def]
    sums, careful, width, owed, growth, first, limits, reaches, tile, chunk, words, right
):
    """Carry and measure what this chunk has too little room for; return how many rows are careful.

    owed: what was added to near since its bounds were written. growth: what the chunk adds to any
    sum, first: what those of its products do that are added first. limits: (the largest sum, what
    near has room for). reaches: from `tile` on, of the rows of each bound. careful: zeros; 1 for
    the rows that could leave W bits in this chunk, whose sums are all in far then.

    A bound serves PACKED rows; where it fails even when measured, they are looked at one by one,
    with the growth that their own factors allow.
    """
    keep_apart()
    near, far, near_bound, bound = sums
    top, chain = limits
    k0, count, at, entry = chunk
    marked, zero = 0, start_of(far)
    for g in range(bound.size):
        start, size = place_of(g, far, width)
        own = min(growth, reach_growth(reaches[tile + g], entry, count))
        nearer = min(own, first)
        near_bound[g] += owed
        # what near may hold before the chunk
        room = min(chain - nearer, top - own - max(bound[g], 0))
        if near_bound[g] > room:
            if room >= 0:
                near_bound[g] = peak(near, start, size, zero, near_bound[g])
            # half full is as good as full: it would be measured again too soon
            if near_bound[g] > min(room, chain // 2):
                if near_bound[g] > 0 or bound[g] == UNSET:
                    carry(sums, careful, width, g)
                bound[g] = peak(far, start, size, 0, bound[g])
            if bound[g] + own > top:
                here, rows = 0, size // width
                for i in range(g * PACKED, g * PACKED + rows):
                    grown = _row_growth(right, k0, words, at + i * count, count, far)
                    grown += peak(far, i * width, width, 0, bound[g])
                    careful[i] = grown > top
                    here += careful[i]
                marked += here
                if here == rows:  # near stays as it is, all zeros
                    continue
        near_bound[g] += nearer
    return marked


@inner
def make_more_room(sums, careful, width, growth, chain):  # type: ignore[no-untyped-def]
    """`make_room` for further products of a chunk where near has no room for all."""
    keep_apart()
    near_bound = sums[2]
    for g in range(near_bound.size):
        if near_bound[g] + growth > chain:
            carry(sums, careful, width, g)
        near_bound[g] += growth


@inner
def settle(sums, careful, width, top):  # type: ignore[no-untyped-def]
    """After their exact replay: forget what near has of careful rows, which are so no more."""
    keep_apart()
    near, _, _, bound = sums
    for g in range(bound.size):
        if _forget(near, careful, width, g):
            bound[g] = max(bound[g], top)
    fill(careful, 0, careful.size, 0)


@inner
def peaks_of(left, first, last, ceiling, right, begin, end):  # type: ignore[no-untyped-def]
    """The largest term of every k: |factor| of rows first..last-1 times the block's entries.

    Of all products, of which begin..end - 1 are set.
    """
    most = left[first // PACKED, begin:end].copy()
    for tile in range(first // PACKED + 1, -(-last // PACKED)):
        line = left[tile, begin:end]
        for k in range(most.size):
            most[k] = max(most[k], line[k])
    peaks = np.empty(right.size, np.float32)
    part, entries = peaks[begin:end], right[begin:end]
    for k in range(most.size):
        part[k] = ceiling[most[k]] * entries[k]
    return peaks
