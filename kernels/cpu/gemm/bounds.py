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

from typing import Any, NamedTuple

import numpy as np

from ..ir.add_terms import factor_size, keep_apart, move, peak
from ..ir.emit import START_BITS
from ..runtime.inner import inner

PACKED = 64  # rows that lie together and share their bounds; a task has a multiple of them
UNSET = np.int64(-1)  # in place of a bound of far: nothing was carried to it yet
_SLACK = 1.0 + 2.0**-10  # over sums of growth, which are rounded (downwards)
_START, _WIDE_START = START_BITS[4], START_BITS[8]

Int = int | np.int64


class Sums(NamedTuple):
    """The sums of a task, (rows, width), flat, and a bound for PACKED rows each; see the module."""

    near: Any  #: int32 or int64: the bits of floats
    far: Any  #: of the same type: integers
    near_bound: Any  #: int64: no |near| is larger
    bound: Any  #: int64: no |far| is larger, or UNSET
    careful: Any  #: uint8 (rows,): 1 for those that could leave W bits in the chunk at hand
    width: int


class Room(NamedTuple):
    """What sums may reach."""

    top: Int  #: far and near together
    chain: Int  #: near


class Chunk(NamedTuple):
    """Some products of a task, and what they can do to its sums."""

    k0: Int  #: the first product
    products: Int
    at: Int  #: where the words of the first row begin
    entry: float  #: the largest entry
    growth: Int  #: more than all of them add to any sum
    first: Int  #: more than those of them do that are added first


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
def _forget(sums, g):  # type: ignore[no-untyped-def]
    """Drop what near has of bound g's careful rows, where it means nothing; are there any?"""
    near, careful, width = sums.near, sums.careful, sums.width
    found = False
    for i in range(g * PACKED, min(careful.size, (g + 1) * PACKED)):
        if careful[i]:
            fill(near, i * width, (i + 1) * width, start_of(near))
            found = True
    return found


@inner
def carry(sums, g):  # type: ignore[no-untyped-def]
    """Move the near sums of bound g to far, but for those of careful rows."""
    keep_apart()
    near, far, near_bound, bound, _, width = sums
    start, size = place_of(g, far, width)
    _forget(sums, g)
    move(near, far, start, size, start_of(far), bound[g] == UNSET)
    bound[g] = max(bound[g], 0) + near_bound[g]
    near_bound[g] = 0


@inner
def room_in(sums, room):  # type: ignore[no-untyped-def]
    """What may be added to any sum before one has to be looked at."""
    keep_apart()
    near_bound, bound = sums.near_bound, sums.bound
    top, chain = room
    left = top
    for g in range(bound.size):
        left = min(left, chain - near_bound[g], top - near_bound[g] - max(bound[g], 0))
    return left


@inner
def make_room(sums, owed, chunk, limits, reaches, words, entries):  # type: ignore[no-untyped-def]
    """Carry and measure what a chunk has too little room for; return how many rows are careful.

    owed: what was added to near since its bounds were written. limits: a `Room`; reaches: of the
    rows of each bound in this chunk; entries: the largest one of every product. The careful rows,
    none before, have their sums all in far then.

    A bound serves PACKED rows; where it fails even when measured, they are looked at one by one,
    with the growth that their own factors allow.
    """
    keep_apart()
    near, far, near_bound, bound, careful, width = sums
    top, chain = limits
    k0, count, at, entry, growth, first = chunk
    marked, zero = 0, start_of(far)
    for g in range(bound.size):
        start, size = place_of(g, far, width)
        own = min(growth, reach_growth(reaches[g], entry, count))
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
                    carry(sums, g)
                bound[g] = peak(far, start, size, 0, bound[g])
            if bound[g] + own > top:
                here, rows = 0, size // width
                for i in range(g * PACKED, g * PACKED + rows):
                    grown = _row_growth(entries, k0, words, at + i * count, count, far)
                    grown += peak(far, i * width, width, 0, bound[g])
                    careful[i] = grown > top
                    here += careful[i]
                marked += here
                if here == rows:  # near stays as it is, all zeros
                    continue
        near_bound[g] += nearer
    return marked


@inner
def make_more_room(sums, growth, chain):  # type: ignore[no-untyped-def]
    """`make_room` for further products of a chunk where near has no room for all."""
    keep_apart()
    near_bound = sums.near_bound
    for g in range(near_bound.size):
        if near_bound[g] + growth > chain:
            carry(sums, g)
        near_bound[g] += growth


@inner
def settle(sums, top):  # type: ignore[no-untyped-def]
    """After their exact replay: forget what near has of careful rows, which are so no more."""
    keep_apart()
    bound, careful = sums.bound, sums.careful
    for g in range(bound.size):
        if _forget(sums, g):
            bound[g] = max(bound[g], top)
    fill(careful, 0, careful.size, 0)


@inner
def peaks_of(packed, tables, block, first, last, begin, end):  # type: ignore[no-untyped-def]
    """The largest term of every k: |factor| of rows first..last-1 times the block's entries.

    packed: see `packing.Packed`. Of all products, of which begin..end - 1 are set.
    """
    ceiling, right = tables.ceilings[0], packed.entries[block]
    most = packed.largest[first // PACKED, begin:end].copy()
    for tile in range(first // PACKED + 1, -(-last // PACKED)):
        line = packed.largest[tile, begin:end]
        for k in range(most.size):
            most[k] = max(most[k], line[k])
    peaks = np.empty(right.size, np.float32)
    part, entries = peaks[begin:end], right[begin:end]
    for k in range(most.size):
        part[k] = ceiling[most[k]] * entries[k]
    return peaks
