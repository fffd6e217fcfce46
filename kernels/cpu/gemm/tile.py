"""The integer GEMM at the speed of a float GEMM: one load and one fused multiply-add per product.

A task is a block of rows times a block of columns. For each chunk of products it expands the rows
of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through its
rows; `vector.py` says how the floating-point unit does the flooring, `bounds.py` how the sums are
held. A bound on |sum| rides along with PACKED rows; while bound + (the largest sum the chunk can
add) stays inside W bits nothing can saturate or wrap, whatever the order, so the plain adds are
exact. Where the bound fails, it is measured afresh and the chunk's growth taken from the row's own
factors; where that fails too, the chunk is replayed group by group with the exact clamp or wrap.

Where rows are few and k is long, a task is also a part of k: see `run_task`.
"""

import numpy as np

from ..ir.add_terms import DOWN, NEAREST
from ..runtime.inner import inner
from ..runtime.which import (
    add_terms_floor,
    add_terms_toward_zero,
    fold_terms,
    keep_apart,
    peak,
    set_rounding,
    step_terms_floor,
    step_terms_toward_zero,
)
from .bounds import (
    PACKED,
    UNSET,
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
from .panels import aligned, fill_panel

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
    left_range, trial,
):  # fmt: skip
    """Some chunks of the rows from `first` on of a column block; how many rows were replayed.

    trial: stop where one would have to be.
    """
    keep_apart()  # from `set_rounding`: see vector.py
    table, table_rows, low = tables
    start, fold = cuts
    limits, top, group, chain = rule
    near, far, near_bound, bound = sums
    tile = first // PACKED
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
        if trial and marked:
            return marked
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
            if trial and replayed:
                return replayed
        if not enough or fold[c]:
            room = room_in(sums, allowed)
    for g in range(bound.size):
        near_bound[g] += owed
        carry(sums, careful, width, g)
    return replayed


@inner
def _first_chunk(fold, group, part, parts):  # type: ignore[no-untyped-def]
    """The first chunk of part `part` of `parts`; a long group is in one part."""
    c = fold.size * part // parts
    while not group and 0 < c < fold.size and not fold[c - 1]:
        c += 1
    return c


@inner
def _follow(whole, part, width, top):  # type: ignore[no-untyped-def]
    """Add the sums of a trial to those before it, unless one may have left its range on the way.

    Whether they were added. Every sum of a trial was at most top // 2 wherever the datapath would
    have looked at it: after each group of products.
    """
    keep_apart()
    far, _, bound = whole
    for g in range(bound.size):
        start, size = place_of(g, far, width)
        bound[g] = peak(far, start, size, 0, bound[g])
        if bound[g] + top // 2 > top:
            return False
    more = part[0]
    for i in range(far.size):
        far[i] += more[i]
    bound += top // 2
    return True


@inner
def _state_of(state, parts, part, sums, bounds):  # type: ignore[no-untyped-def]
    """The state of one task and one part of k; sums, bounds: (first, last + 1) of a part's."""
    acc, left_range, bound = state
    at, low = acc.size // parts * part, bound.size // parts * part
    begin, end = at + sums[0], at + sums[1]
    return acc[begin:end], left_range[begin:end], bound[low + bounds[0] : low + bounds[1]]


@inner
def run_task(  # type: ignore[no-untyped-def]
    task, joins, parts, words, height, task_rows, width, index, left, left_ceiling, reaches, right,
    tables, cuts, rule, fresh, state, counts,
):  # fmt: skip
    """Task number `task` of a slab: some rows of a block of columns, and a part of k.

    words: as `packing.pack_left` has them; height: rows, up to a multiple of SUMS. index: (blocks,
    products * width). left: (ceil(rows / PACKED), products) largest magnitude code of a,
    left_ceiling: the factor it bounds; reaches: (chunks, ceil(rows / PACKED)), see there too;
    right: (blocks, products) largest entry. tables: (table, its rows, bits of a word that are an
    offset). cuts: (start, fold), see `packing.Chunks`. rule: (products of a group or 0, toward
    zero: True or None, what a floating-point sum may reach, limits); fresh: the sums start here.
    state, flat: the far sums and which left their range (parts, blocks, height, width), the bounds
    (parts, blocks, ceil(rows / PACKED)), UNSET before the first task. counts[0, task]: the rows
    replayed; counts[1, task]: 1 where a part of k was done again.

    The first part of k goes on from the sums there are. The others are trials, which start from 0;
    once all are done, `joins`, a task for all parts of some rows adds them up, and does again, one
    product after the other, what it cannot prove to be the same.
    """
    keep_apart()
    blocks, groups, tasks = index.shape[0], -(-height // PACKED), counts.shape[1] // parts
    own = task % tasks
    block, first = own % blocks, own // blocks * task_rows
    last = min(height, first + task_rows)
    row, bound = block * height, block * groups
    sums = (row + first) * width, (row + last) * width
    bounds = bound + first // PACKED, bound - (-last // PACKED)
    group, zeroward, chain, limits = rule
    (start, fold), top = cuts, np.int64(limits[1])
    begin, end = (1, parts) if joins else (task // tasks, task // tasks + 1)
    for part in range(begin, end):
        number, trial = part * tasks + own, part > 0 and not joins
        here = _state_of(state, parts, part, sums, bounds)
        if joins:
            whole = _state_of(state, parts, 0, sums, bounds)
            if not counts[0, number] and _follow(whole, here, width, top):
                continue
            here = whole
            counts[1, number] = 1
        elif trial:
            fill(here[2], 0, here[2].size, UNSET)
        if trial or (fresh and not joins):
            # here, where they are needed next, and not before: they fill a cache
            here[1][:] = 0
        c0, c1 = _first_chunk(fold, group, part, parts), _first_chunk(fold, group, part + 1, parts)
        near = aligned(here[0].size, here[0])
        fill(near, 0, near.size, start_of(near))
        near_bound = np.zeros(here[2].size, np.int64)
        peaks = peaks_of(left, first, last, left_ceiling, right[block], start[c0], start[c1])
        set_rounding(DOWN)
        counts[0, number] = _tile(
            words,
            height,
            first,
            width,
            index[block],
            reaches[c0:],
            peaks,
            right[block],
            tables,
            (start[c0 : c1 + 1], fold[c0:c1]),
            (
                (limits[0], limits[1], limits[2], limits[3]),
                top // 2 if trial else top,
                group,
                np.int64(chain),
            ),
            zeroward,
            (near, here[0], near_bound, here[2]),
            here[1],
            trial,
        )
        set_rounding(NEAREST)
