"""The integer GEMM at the speed of a float GEMM: one load and one fused multiply-add per product.

A task is a block of rows times a block of columns. For each chunk of products it expands the rows
of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through its
rows; `vector.py` says how the floating-point unit does the flooring. A bound on |accumulator| rides
along with 16 rows; while bound + (the largest sum the chunk can add) stays inside W bits nothing
can saturate or wrap, whatever the order, so the plain adds are exact. Where the bound fails, it is
measured afresh and the chunk's growth taken from the row's own factors; where that fails too, the
chunk is replayed group by group with the exact clamp or wrap.
"""

import numpy as np
from numba import njit, prange

from .bounds import ROWS, growth_of, mark_rows, peaks_of, run_of
from .emit import BLOCK_BYTES
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
def _replay(  # type: ignore[no-untyped-def]
    acc, left_range, careful, panel, stride, words, factor, row, chunk, run, rule, zeroward
):
    """One chunk of the marked rows, group by group, with the exact saturation or wrap."""
    _, count, at, step = chunk
    limits, group = rule
    if group == 1:
        if zeroward:
            step_terms_toward_zero(
                acc, left_range, careful, panel, stride, words, at, step, factor, row, count, limits
            )
        else:
            step_terms_floor(
                acc, left_range, careful, panel, stride, words, at, step, factor, row, count, limits
            )
        return
    block = BLOCK_BYTES // acc.itemsize
    terms, one = aligned(block, acc), np.zeros(1, np.uint8)
    for i in range(careful.size):
        for first in range(0, count if careful[i] else 0, group):
            terms[:] = 0
            last = min(count, first + group)
            for u in range(first, last, run):
                here, source = min(run, last - u), u * stride
                word = at + i + u * step
                if zeroward:
                    add_terms_toward_zero(
                        terms, one, panel, source, stride, words, word, step, factor, row, here
                    )
                else:
                    add_terms_floor(
                        terms, one, panel, source, stride, words, word, step, factor, row, here
                    )
            fold_terms(acc, i * block, terms, left_range, limits)


@njit(cache=True, nogil=True)
def _fold_long(acc, left_range, bound, top, limits):  # type: ignore[no-untyped-def]
    """The end of a group longer than a chunk: saturate or wrap what left the range."""
    block = BLOCK_BYTES // acc.itemsize
    nothing = aligned(block, acc)
    folded = 0
    rows = acc.size // block
    for g in range(bound.size):
        first, last = g * ROWS, min(rows, (g + 1) * ROWS)
        if bound[g] > top:
            bound[g] = np.int64(peak(acc, first * block, last - first)) + 1
            if bound[g] > top:
                for i in range(first, last):
                    fold_terms(acc, i * block, nothing, left_range, limits)
                bound[g] = top
                folded += last - first
    return folded


@njit(cache=True, nogil=True)
def _tile(  # type: ignore[no-untyped-def]
    words, step, rows, index, peaks, right, tables, cuts, rule, zeroward, acc, left_range, bound
):
    """One task: rows = (first, last) of one column block; returns how many rows were replayed."""
    keep_apart()  # from `set_rounding`: see vector.py
    table, width, factor, row = tables
    start, fold = cuts
    limits, group, chain = rule
    top = np.int64(limits[1])
    first, last = rows
    block = BLOCK_BYTES // acc.itemsize
    stride = width * block
    longest = 0
    for c in range(fold.size):
        longest = max(longest, start[c + 1] - start[c])
    panel = aligned(longest * stride, table)
    careful = np.zeros(last - first, np.uint8)
    replayed = 0
    for c in range(fold.size):
        k0, count = start[c], start[c + 1] - start[c]
        at = first + k0 * step
        fill_panel(table, width, index, k0 * block, count, block, panel)
        growth = np.int64(growth_of(peaks, k0, k0 + count))
        run = run_of(peaks, k0, k0 + count, chain)
        marked = 0
        if group:
            chunk = k0, count, at, step
            marked = mark_rows(acc, block, bound, careful, growth, top, chunk, words, right, factor)
        else:
            bound += growth
        for u in range(0, count, run):
            here, source, word = min(run, count - u), u * stride, at + u * step
            if zeroward:
                add_terms_toward_zero(
                    acc,
                    careful,
                    panel,
                    source,
                    stride,
                    words,
                    word,
                    step,
                    factor,
                    row,
                    here,
                )
            else:
                add_terms_floor(
                    acc,
                    careful,
                    panel,
                    source,
                    stride,
                    words,
                    word,
                    step,
                    factor,
                    row,
                    here,
                )
        if marked:
            chunk = k0, count, at, step
            way = limits, group
            replayed += marked
            _replay(
                acc,
                left_range,
                careful,
                panel,
                stride,
                words,
                factor,
                row,
                chunk,
                run,
                way,
                zeroward,
            )
        if fold[c]:
            replayed += _fold_long(acc, left_range, bound, top, limits)
    return replayed


@njit(cache=True, nogil=True)
def _run_task(  # type: ignore[no-untyped-def]
    task,
    words,
    step,
    rows,
    task_rows,
    index,
    left,
    left_ceiling,
    right,
    table,
    table_rows,
    factor,
    row,
    start,
    fold,
    group,
    zeroward,
    chain,
    limits,
    acc,
    left_range,
    bound,
):
    """Task number `task` of `run_tasks`, apart from its loop: that one's lines compile twice."""
    keep_apart()
    blocks, width, groups = index.shape[0], BLOCK_BYTES // acc.itemsize, -(-rows // ROWS)
    block, first = task % blocks, task // blocks * task_rows
    last = min(rows, first + task_rows)
    peaks = peaks_of(left, first, last, left_ceiling, right[block])
    begin, end = (block * rows + first) * width, (block * rows + last) * width
    set_rounding(DOWN)
    replayed = _tile(
        words,
        step,
        (first, last),
        index[block],
        peaks,
        right[block],
        (table, table_rows, factor, row),
        (start, fold),
        ((limits[0], limits[1], limits[2], limits[3]), group, chain),
        zeroward,
        acc[begin:end],
        left_range[begin:end],
        bound[block * groups + first // ROWS : block * groups - (-last // ROWS)],
    )
    set_rounding(NEAREST)
    return replayed


@njit(cache=True, nogil=True, parallel=True)
def run_tasks(  # type: ignore[no-untyped-def]
    words,
    step,
    rows,
    task_rows,
    index,
    left,
    left_ceiling,
    right,
    table,
    table_rows,
    factor,
    row,
    start,
    fold,
    group,
    zeroward,
    chain,
    limits,
    acc,
    left_range,
    bound,
):
    """Run every task of a slab. Returns the rows replayed per task.

    index: (blocks, products * block). left: (ceil(rows / PACKED), products) largest magnitude code
    of a, left_ceiling: the factor it bounds; right: (blocks, products) largest entry. The state is
    flat: acc and left_range (blocks, rows, block), bound (blocks, ceil(rows / ROWS)).
    """
    tasks = -(-rows // task_rows) * index.shape[0]
    counts = np.zeros(tasks, np.int64)
    for task in prange(tasks):
        counts[task] = _run_task(
            task,
            words,
            step,
            rows,
            task_rows,
            index,
            left,
            left_ceiling,
            right,
            table,
            table_rows,
            factor,
            row,
            start,
            fold,
            group,
            zeroward,
            chain,
            limits,
            acc,
            left_range,
            bound,
        )
    return counts


@njit(cache=True, nogil=True)
def _half(acc, panel, words, factor, row):  # type: ignore[no-untyped-def]
    """Add -0.5, floored, to a block of zeros."""
    keep_apart()
    add_terms_floor(acc, np.zeros(1, np.uint8), panel, 0, 0, words, 0, 0, factor, row, 1)


@njit(cache=True, nogil=True)
def floors_downward(acc, panel, words, factor, row):  # type: ignore[no-untyped-def]
    """Does this machine's rounding mode floor as the kernel needs it? acc: one block of zeros,
    panel: one of ones; words: one code 0 with factor -0.5 and row 0."""
    set_rounding(DOWN)
    _half(acc, panel, words, factor, row)
    set_rounding(NEAREST)
    return (acc == -1).all()
