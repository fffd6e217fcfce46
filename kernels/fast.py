"""The integer GEMM at the speed of a float GEMM: one load and one fused multiply-add per product.

A task is a block of rows times a block of columns. For each chunk of products it expands the rows
of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through its
rows; `vector.py` says how the floating-point unit does the flooring. A bound on |accumulator| rides
along with 16 to 64 rows; while bound + (the largest sum the chunk can add) stays inside W bits
nothing can saturate or wrap, whatever the order, so the plain adds are exact. Where the bound
fails, it is measured afresh and the chunk's growth taken from the row's own factors; where that
fails too, the chunk is replayed group by group with the exact clamp or wrap.
"""

import numpy as np
from numba import njit

from .bounds import bound_rows, growth_of, mark_rows, peaks_of, run_of
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


@njit(cache=True, nogil=True)
def _fold_long(acc, left_range, width, bound, top, limits):  # type: ignore[no-untyped-def]
    """The end of a group longer than a chunk: saturate or wrap what left the range."""
    folded = 0
    rows, together = acc.size // width, bound_rows(width * acc.itemsize)
    for g in range(bound.size):
        first, last = g * together, min(rows, (g + 1) * together)
        if bound[g] > top:
            at, count = first * width, (last - first) * width
            bound[g] = peak(acc, at, count, bound[g])
            if bound[g] > top:
                fold_terms(acc, at, count, left_range, limits)
                bound[g] = top
                folded += last - first
    return folded


@njit(cache=True, nogil=True)
def _tile(  # type: ignore[no-untyped-def]
    words, height, first, width, index, peaks, right, tables, cuts, rule, zeroward, acc,
    left_range, bound,
):  # fmt: skip
    """One task, the rows from `first` on of a column block; returns how many rows were replayed."""
    keep_apart()  # from `set_rounding`: see vector.py
    table, table_rows, low = tables
    start, fold = cuts
    limits, group, chain = rule
    top = np.int64(limits[1])
    longest = 0
    for c in range(fold.size):
        longest = max(longest, start[c + 1] - start[c])
    panel = aligned(longest * table_rows * width, table)
    careful = np.zeros(acc.size // width, np.uint8)
    replayed = 0
    for c in range(fold.size):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        growth = np.int64(growth_of(peaks, k0, k0 + count))
        run = run_of(peaks, k0, k0 + count, chain)
        marked = 0
        if group:
            chunk = k0, count, at
            marked = mark_rows(acc, width, bound, careful, growth, top, chunk, words, right)
        else:
            bound += growth
        # last, since to measure sums pushes a panel out of the first-level cache
        fill_panel(table, table_rows, index, k0 * width, count, width, panel)
        for u in range(0, count, run):
            here = min(run, count - u)
            if zeroward is None:  # a branch that its type decides is not compiled
                add_terms_floor(acc, careful, width, panel, words, at + u, count, low, here)
            else:
                add_terms_toward_zero(acc, careful, width, panel, words, at + u, count, low, here)
        if marked:
            replayed += marked
            if zeroward is None:
                step_terms_floor(
                    acc, left_range, careful, width, panel, words, at, count, low, count, group,
                    limits,
                )  # fmt: skip
            else:
                step_terms_toward_zero(
                    acc, left_range, careful, width, panel, words, at, count, low, count, group,
                    limits,
                )  # fmt: skip
            careful[:] = 0
        if fold[c]:
            replayed += _fold_long(acc, left_range, width, bound, top, limits)
    return replayed


@njit(cache=True, nogil=True)
def run_task(  # type: ignore[no-untyped-def]
    task, words, height, task_rows, width, index, left, left_ceiling, right, tables, cuts,
    rule, fresh, acc, left_range, bound, counts,
):  # fmt: skip
    """Task number `task` of a slab.

    words: as `packing.pack_left` has them; height: rows, up to a multiple of SUMS. index: (blocks,
    products * width). left: (ceil(rows / PACKED), products) largest magnitude code of a,
    left_ceiling: the factor it bounds; right: (blocks, products) largest entry. tables: (table, its
    rows, bits of a word that are an offset). cuts: (start, fold), see `packing.Chunks`. rule:
    (products of a group or 0, toward zero: True or None, what a floating-point sum may reach,
    limits); fresh: the sums start here. The state is flat: acc and left_range (blocks, height,
    width), bound (blocks, ceil(height / bound_rows)). counts[task]: the rows replayed.
    """
    keep_apart()
    blocks, together = index.shape[0], bound_rows(width * acc.itemsize)
    groups = -(-height // together)
    block, first = task % blocks, task // blocks * task_rows
    last = min(height, first + task_rows)
    peaks = peaks_of(left, first, last, left_ceiling, right[block])
    begin, end = (block * height + first) * width, (block * height + last) * width
    group, zeroward, chain, limits = rule
    if fresh:  # here, where they are needed next, and not before: they fill a cache
        acc[begin:end] = 0
        left_range[begin:end] = 0
    set_rounding(DOWN)
    counts[task] = _tile(
        words,
        height,
        first,
        width,
        index[block],
        peaks,
        right[block],
        tables,
        cuts,
        ((limits[0], limits[1], limits[2], limits[3]), group, chain),
        zeroward,
        acc[begin:end],
        left_range[begin:end],
        bound[block * groups + first // together : block * groups - (-last // together)],
    )
    set_rounding(NEAREST)


@njit(cache=True, nogil=True)
def _half(acc, panel, words):  # type: ignore[no-untyped-def]
    """Add the words' factor times the panel, floored, to a block of zeros."""
    keep_apart()
    none = np.uint32(0)
    add_terms_floor(acc, np.zeros(1, np.uint8), acc.size, panel, words, 0, 1, none, 1)


@njit(cache=True, nogil=True)
def floors_downward(acc, panel, words):  # type: ignore[no-untyped-def]
    """Does this machine's rounding mode floor as the kernel needs it?

    acc: zeros, panel: ones, both a block of 4 vectors; words: the bits of -0.5.
    """
    set_rounding(DOWN)
    _half(acc, panel, words)
    set_rounding(NEAREST)
    return (acc == -1).all()
