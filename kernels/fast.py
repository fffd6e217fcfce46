"""The integer GEMM at the speed of a float GEMM: one load and one fused multiply-add per product.

A task is a block of rows times a block of columns. For each chunk of products it expands the rows
of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through its
rows; `vector.py` says how the floating-point unit does the flooring, `bounds.py` how the sums are
held. A bound on |sum| rides along with PACKED rows; while bound + (the largest sum the chunk can
add) stays inside W bits nothing can saturate or wrap, whatever the order, so the plain adds are
exact. Where the bound fails, it is measured afresh and the chunk's growth taken from the row's own
factors; where that fails too, the chunk is replayed group by group with the exact clamp or wrap.
"""

import numpy as np
from numba import njit

from .bounds import (
    PACKED,
    carry,
    fill,
    growth_of,
    largest_of,
    make_more_room,
    make_room,
    peaks_of,
    place_of,
    reach_growth,
    room_in,
    run_of,
    settle,
    start_of,
)
from .inner import inner
from .panels import aligned, fill_panel
from .vector import DOWN, NEAREST
from .which import (
    add_terms_floor,
    add_terms_toward_zero,
    fold_terms,
    keep_apart,
    peak,
    set_rounding,
    step_terms_floor,
    step_terms_toward_zero,
)

_NO_LIMIT = np.int64(1 << 62)  # of a sum, while a group is not over


@inner
def _fold_long(sums, careful, left_range, width, owed, top, limits):  # type: ignore[no-untyped-def]
    """The end of a group longer than a chunk: saturate or wrap what left the range.

    owed: see `make_room`.
    """
    keep_apart()
    _, far, near_bound, bound = sums
    folded = 0
    for g in range(bound.size):
        near_bound[g] += owed
        if max(bound[g], 0) + near_bound[g] > top:
            carry(sums, careful, width, g)
            start, size = place_of(g, far, width)
            bound[g] = peak(far, start, size, 0, bound[g])
            if bound[g] > top:
                fold_terms(far, start, size, left_range, limits)
                bound[g] = top
                folded += size // width
    return folded


@inner
def _tile(  # type: ignore[no-untyped-def]
    words, height, first, width, index, reaches, peaks, right, tables, cuts, rule, zeroward, sums,
    left_range,
):  # fmt: skip
    """One task, the rows from `first` on of a column block; returns how many rows were replayed."""
    keep_apart()  # from `set_rounding`: see vector.py
    table, table_rows, low = tables
    start, fold = cuts
    limits, group, chain = rule
    near, far, near_bound, bound = sums
    top, tile = np.int64(limits[1]), first // PACKED
    allowed = top if group else _NO_LIMIT, chain
    longest = 0
    for c in range(fold.size):
        longest = max(longest, start[c + 1] - start[c])
    panel = aligned(longest * table_rows * width, table)
    careful = np.zeros(far.size // width, np.uint8)
    replayed = 0
    room, owed = room_in(sums, allowed), np.int64(0)
    for c in range(fold.size):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        entry = largest_of(right, k0, k0 + count)
        furthest = largest_of(reaches[c], tile, tile + bound.size)
        growth = np.int64(growth_of(peaks, k0, k0 + count))
        growth = min(growth, reach_growth(furthest, entry, count))
        run, marked, enough = count, 0, owed + growth <= room
        if enough:
            owed += growth
        else:
            if growth > chain:
                run = run_of(peaks, k0, k0 + count, chain)
            here = growth if run == count else np.int64(growth_of(peaks, k0, k0 + run))
            chunk = k0, count, at, entry
            marked = make_room(
                sums, careful, width, owed, growth, here, allowed, reaches[c], tile, chunk, words,
                right,
            )  # fmt: skip
            owed = np.int64(0)
        # last, since to measure sums pushes a panel out of the first-level cache
        fill_panel(table, table_rows, index, k0 * width, count, width, panel)
        for u in range(0, count, run):
            here = min(run, count - u)
            if u:
                more = np.int64(growth_of(peaks, k0 + u, k0 + u + here))
                make_more_room(sums, careful, width, more, chain)
            if zeroward is None:  # a branch that its type decides is not compiled
                add_terms_floor(near, width, panel, words, at + u, count, low, here)
            else:
                add_terms_toward_zero(near, width, panel, words, at + u, count, low, here)
        if marked:
            replayed += marked
            if zeroward is None:
                step_terms_floor(
                    far, left_range, careful, width, panel, words, at, count, low, count, group,
                    limits,
                )  # fmt: skip
            else:
                step_terms_toward_zero(
                    far, left_range, careful, width, panel, words, at, count, low, count, group,
                    limits,
                )  # fmt: skip
            settle(sums, careful, width, top)
        if fold[c]:
            replayed += _fold_long(sums, careful, left_range, width, owed, top, limits)
            owed = np.int64(0)
        if not enough or fold[c]:
            room = room_in(sums, allowed)
    for g in range(bound.size):
        near_bound[g] += owed
        carry(sums, careful, width, g)
    return replayed


@inner
def run_task(  # type: ignore[no-untyped-def]
    task, words, height, task_rows, width, index, left, left_ceiling, reaches, right, tables,
    cuts, rule, fresh, acc, left_range, bound, counts,
):  # fmt: skip
    """Task number `task` of a slab.

    words: as `packing.pack_left` has them; height: rows, up to a multiple of SUMS. index: (blocks,
    products * width). left: (ceil(rows / PACKED), products) largest magnitude code of a,
    left_ceiling: the factor it bounds; reaches: (chunks, ceil(rows / PACKED)), see there too;
    right: (blocks, products) largest entry. tables: (table, its rows, bits of a word that are an
    offset). cuts: (start, fold), see `packing.Chunks`. rule: (products of a group or 0, toward
    zero: True or None, what a floating-point sum may reach, limits); fresh: the sums start here.
    The state is flat: acc, the far sums, and left_range (blocks, height, width), bound (blocks,
    ceil(rows / PACKED)), UNSET before the first task. counts[task]: the rows replayed.
    """
    keep_apart()
    blocks, groups = index.shape[0], -(-height // PACKED)
    block, first = task % blocks, task // blocks * task_rows
    last = min(height, first + task_rows)
    peaks = peaks_of(left, first, last, left_ceiling, right[block])
    begin, end = (block * height + first) * width, (block * height + last) * width
    group, zeroward, chain, limits = rule
    if fresh:  # here, where they are needed next, and not before: they fill a cache
        left_range[begin:end] = 0
    near = aligned(end - begin, acc)
    fill(near, 0, near.size, start_of(acc))
    bound = bound[block * groups + first // PACKED : block * groups - (-last // PACKED)]
    sums = near, acc[begin:end], np.zeros(bound.size, np.int64), bound
    set_rounding(DOWN)
    counts[task] = _tile(
        words,
        height,
        first,
        width,
        index[block],
        reaches,
        peaks,
        right[block],
        tables,
        cuts,
        ((limits[0], limits[1], limits[2], limits[3]), group, np.int64(chain)),
        zeroward,
        sums,
        left_range[begin:end],
    )
    set_rounding(NEAREST)


@inner
def _half(acc, panel, words):  # type: ignore[no-untyped-def]
    """Add the words' factor times the panel, floored, to a block of sums."""
    keep_apart()
    add_terms_floor(acc, acc.size, panel, words, 0, 1, np.uint32(0), 1)


@njit(cache=True, nogil=True)
def floors_downward(acc, panel, words):  # type: ignore[no-untyped-def]
    """Does this machine's rounding mode floor as the kernel needs it?

    acc: int32, panel: ones, both a block of 4 vectors; words: the bits of -0.5.
    """
    zero = start_of(acc)
    acc[:] = zero
    set_rounding(DOWN)
    _half(acc, panel, words)
    set_rounding(NEAREST)
    return (acc == zero - 1).all()
