"""The integer GEMM at the speed of a float GEMM: one load and one fused multiply-add per product.

A task is a block of rows times a block of columns. For each chunk of products it expands the rows
of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through its
rows; `add_terms.py` says how the floating-point unit does the flooring, `bounds.py` how the sums
are held. A bound on |sum| rides along with PACKED rows; while bound + (the largest sum the chunk
can add) stays inside W bits nothing can saturate or wrap, whatever the order, so the plain adds are
exact. Where the bound fails, it is measured afresh and the chunk's growth taken from the row's own
factors; where that fails too, the chunk is replayed group by group with the exact clamp or wrap.

Where rows are few and k is long, a task is also a part of k: see `run_task`.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..ir.add_terms import (
    DOWN,
    NEAREST,
    add_terms_floor,
    add_terms_toward_zero,
    keep_apart,
    peak,
    set_rounding,
)
from ..ir.emit import LANES, START_BITS, VECTORS
from ..ir.step_terms import fold_terms, step_terms_floor, step_terms_toward_zero
from ..runtime.inner import inner
from ..runtime.scratch import aligned
from .bounds import (
    PACKED,
    UNSET,
    Chunk,
    Int,
    Room,
    Sums,
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
from .packing import Chunks, fill_panel

_NO_LIMIT = np.int64(1 << 62)  # of a sum, while a group is not over


class Rule(NamedTuple):
    """How an accumulator rounds and what it holds."""

    zeroward: bool | None  #: terms are rounded toward zero; None: floored
    chain: float  #: what a floating-point sum may reach
    limits: Any  #: see `TermTable`


class Shape(NamedTuple):
    """How a slab is cut into tasks."""

    height: int  #: rows, up to a multiple of SUMS
    width: int  #: columns of a block
    task_rows: int
    parts: int  #: of k


class State(NamedTuple):
    """What is known of a slab's outputs, (parts, blocks, ...), flat; or of one task's of a part."""

    far: Any  #: (..., height, width), the far sums
    left_range: Any  #: uint8, likewise: 1 where a sum left its range
    bound: Any  #: int64 (..., ceil(rows / PACKED)), of the far sums: UNSET at first


class _Block(NamedTuple):
    """What a tile reads of a slab's packed operands: see `packing.Packed`."""

    words: Any
    height: int
    index: Any  #: (products * width,)
    reaches: Any  #: (chunks, ...)
    peaks: Any  #: (products,), see `bounds.peaks_of`
    entries: Any  #: (products,)


class _Range(NamedTuple):
    """What a tile's sums may reach."""

    limits: tuple[Any, ...]  #: the rule's, one by one
    top: Int  #: the largest sum, less in a trial
    chain: Int


@inner
def _fold_long(sums, left_range, owed, reach):  # type: ignore[no-untyped-def]
    """The end of a group longer than a chunk: saturate or wrap what left the range.

    owed: see `make_room`. reach: a `_Range`.
    """
    keep_apart()
    far, near_bound, bound, top = sums.far, sums.near_bound, sums.bound, reach.top
    folded = 0
    for g in range(bound.size):
        near_bound[g] += owed
        if max(bound[g], 0) + near_bound[g] > top:
            carry(sums, g)
            start, size = place_of(g, far, sums.width)
            bound[g] = peak(far, start, size, 0, bound[g])
            if bound[g] > top:
                fold_terms(far, start, size, left_range, reach.limits)
                bound[g] = top
                folded += size // sums.width
    return folded


@inner
def _tile(first, block, tables, chunks, reach, zeroward, sums, left_range, trial):  # type: ignore[no-untyped-def]
    """Some chunks of the rows from `first` on of a column block; how many rows were replayed.

    block: a `_Block`; reach: a `_Range`; zeroward: see `Rule`, apart, so that its type decides.
    trial: stop where a row would have to be replayed.
    """
    keep_apart()  # from `set_rounding`: see add_terms.py
    table, table_rows, low = tables.table, tables.rows, tables.low
    start, fold, group = chunks
    words, height, index, reaches, peaks, entries = block
    limits, top, chain = reach
    near, far, near_bound, bound, careful, width = sums
    tile = first // PACKED
    allowed = Room(top if group else _NO_LIMIT, chain)
    longest = 0
    for c in range(fold.size):
        longest = max(longest, start[c + 1] - start[c])
    panel = aligned(longest * table_rows * width, table)
    replayed = 0
    room, owed = room_in(sums, allowed), np.int64(0)
    for c in range(fold.size):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        entry = largest_of(entries, k0, k0 + count)
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
            chunk = Chunk(k0, count, at, entry, growth, here)
            marked = make_room(sums, owed, chunk, allowed, reaches[c, tile:], words, entries)
            owed = np.int64(0)
        if trial and marked:
            return marked
        # last, since to measure sums pushes a panel out of the first-level cache
        fill_panel(table, table_rows, index, k0 * width, count, width, panel)
        for u in range(0, count, run):
            here = min(run, count - u)
            if u:
                more = np.int64(growth_of(peaks, k0 + u, k0 + u + here))
                make_more_room(sums, more, chain)
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
            settle(sums, top)
        if fold[c]:
            replayed += _fold_long(sums, left_range, owed, reach)
            owed = np.int64(0)
            if trial and replayed:
                return replayed
        if not enough or fold[c]:
            room = room_in(sums, allowed)
    for g in range(bound.size):
        near_bound[g] += owed
        carry(sums, g)
    return replayed


@inner
def _first_chunk(chunks, part, parts):  # type: ignore[no-untyped-def]
    """The first chunk of part `part` of `parts`; a long group is in one part."""
    fold = chunks.fold
    c = fold.size * part // parts
    while not chunks.group and 0 < c < fold.size and not fold[c - 1]:
        c += 1
    return c


@inner
def _follow(whole, part, width, top):  # type: ignore[no-untyped-def]
    """Add the sums of a trial to those before it, unless one may have left its range on the way.

    Whether they were added. Every sum of a trial was at most top // 2 wherever the datapath would
    have looked at it: after each group of products.
    """
    keep_apart()
    far, bound = whole.far, whole.bound
    for g in range(bound.size):
        start, size = place_of(g, far, width)
        bound[g] = peak(far, start, size, 0, bound[g])
        if bound[g] + top // 2 > top:
            return False
    more = part.far
    for i in range(far.size):
        far[i] += more[i]
    bound += top // 2
    return True


@inner
def _state_of(state, parts, part, sums, bounds):  # type: ignore[no-untyped-def]
    """The state of one task and one part of k; sums, bounds: (first, last + 1) of a part's."""
    far, left_range, bound = state
    at, low = far.size // parts * part, bound.size // parts * part
    begin, end = at + sums[0], at + sums[1]
    return State(far[begin:end], left_range[begin:end], bound[low + bounds[0] : low + bounds[1]])


@inner
def run_task(task, joins, fresh, shape, packed, tables, chunks, rule, state, counts):  # type: ignore[no-untyped-def]
    """Task number `task` of a slab: some rows of a block of columns, and a part of k.

    shape, packed, tables, chunks, rule, state: a `Shape`, `Packed`, `Tables`, `Chunks`, `Rule` and
    `State`. fresh: the sums start here. counts[0, task]: the rows replayed; counts[1, task]: 1
    where a part of k was done again.

    The first part of k goes on from the sums there are. The others are trials, which start from 0;
    once all are done, `joins`, a task for all parts of some rows adds them up, and does again, one
    product after the other, what it cannot prove to be the same.
    """
    keep_apart()
    height, width, task_rows, parts = shape
    blocks, groups, tasks = packed.index.shape[0], -(-height // PACKED), counts.shape[1] // parts
    own = task % tasks
    block, first = own % blocks, own // blocks * task_rows
    last = min(height, first + task_rows)
    row, bound = block * height, block * groups
    sums = (row + first) * width, (row + last) * width
    bounds = bound + first // PACKED, bound - (-last // PACKED)
    start, limits, top = chunks.start, rule.limits, np.int64(rule.limits[1])
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
            fill(here.bound, 0, here.bound.size, UNSET)
        if trial or (fresh and not joins):
            # here, where they are needed next, and not before: they fill a cache
            here.left_range[:] = 0
        c0, c1 = _first_chunk(chunks, part, parts), _first_chunk(chunks, part + 1, parts)
        far, near = here.far, aligned(here.far.size, here.far)
        fill(near, 0, near.size, start_of(near))
        near_bound = np.zeros(here.bound.size, np.int64)
        careful = np.zeros(far.size // width, np.uint8)
        peaks = peaks_of(packed, tables, block, first, last, start[c0], start[c1])
        reach = _Range(
            (limits[0], limits[1], limits[2], limits[3]),
            top // 2 if trial else top,
            np.int64(rule.chain),
        )
        set_rounding(DOWN)
        counts[0, number] = _tile(
            first,
            _Block(
                packed.words,
                height,
                packed.index[block],
                packed.reaches[c0:],
                peaks,
                packed.entries[block],
            ),
            tables,
            Chunks(start[c0 : c1 + 1], chunks.fold[c0:c1], chunks.group),
            reach,
            rule.zeroward,
            Sums(near, far, near_bound, here.bound, careful, width),
            here.left_range,
            trial,
        )
        set_rounding(NEAREST)


@inner
def _add_one(sums, panel, words):  # type: ignore[no-untyped-def]
    """Add the word's factor times the panel, floored, to a block of sums."""
    keep_apart()
    add_terms_floor(sums, sums.size, panel, words, 0, 1, np.uint32(0), 1)


@njit(cache=True, nogil=True)
def _add_rounded(sums, panel, words):  # type: ignore[no-untyped-def]
    """`_add_one` in the rounding mode of a tile."""
    set_rounding(DOWN)
    _add_one(sums, panel, words)
    set_rounding(NEAREST)


@cache
def trusted() -> bool:
    """Does the fast kernel's flooring hold on this machine? Tried once; else the general kernel."""
    sums = np.full(VECTORS[0] * LANES, START_BITS[4], np.int32)
    _add_rounded(sums, np.ones(sums.size, np.float32), np.array([-0.5], np.float32).view(np.uint32))
    return bool((sums == START_BITS[4] - 1).all())
