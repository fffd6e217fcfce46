"""The integer GEMM on 32-bit lanes: one vector load, one shift and one add per product.

A task is a block of rows times a block of BLOCK columns. For each chunk of products it expands the
rows of `TermTable` for its columns once (a panel that fits the first-level cache) and runs through
its rows. A bound on |accumulator| rides along with every row; while bound + (the largest sum the
chunk can add) stays inside W bits nothing can saturate or wrap, whatever the order, so the plain
adds are exact. Where the bound fails, it is measured afresh; where that fails too, the chunk is
replayed group by group with the exact clamp or wrap.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..lns.datapath import Accumulator
from .folds import aligned_zeros, fold_block
from .slots import Slots, pack_left, pack_right, place_products
from .terms import TermTable
from .vector import (
    BLOCK,
    LANES,
    SHIFT_BITS,
    SLOTS,
    add_terms_exactly,
    add_terms_floor,
    add_terms_toward_zero,
    expand_columns,
    row_peak,
)

MAX_TASK_ROWS = 1024  # a task's accumulators: 1024 * BLOCK * 4 bytes = 256 KiB, second-level cache
MIN_TASK_ROWS = 64
MAX_WORDS = 1 << 26  # packed operand words held at a time: 128 MiB


@njit(cache=True, nogil=True)
def _expand(table, rows, index, index_at, slots, panel):  # type: ignore[no-untyped-def]
    """Fill panel (slots, rows + 1, BLOCK) for the codes index[index_at:]; the last row stays 0."""
    for slot in range(slots):
        for column in range(0, BLOCK, LANES):
            for row in range(0, rows, LANES):
                expand_columns(
                    table,
                    row,
                    rows,
                    index,
                    index_at + slot * BLOCK + column,
                    panel,
                    (slot * (rows + 1) + row) * BLOCK + column,
                )


@njit(cache=True, nogil=True)
def _growth(peaks, shifts):  # type: ignore[no-untyped-def]
    """The most that a chunk can add to any |accumulator| of the task."""
    most = np.int64(0)
    for slot in range(peaks.size):
        most += (peaks[slot] >> shifts[slot]) + np.int64(peaks[slot] > 0)
    return most


@njit(cache=True, nogil=True)
def _decide(acc, bound, careful, growth, top):  # type: ignore[no-untyped-def]
    """Mark the rows that could leave the range in this chunk; return how many."""
    marked = 0
    for i in range(bound.size):
        if bound[i] + growth > top:
            bound[i] = np.int64(row_peak(acc, i * BLOCK)) + 1
        careful[i] = bound[i] + growth > top
        bound[i] = top if careful[i] else bound[i] + growth
        marked += careful[i]
    return marked


@njit(cache=True, nogil=True)
def _add_pass(acc, careful, panel, panel_at, stride, words, at, toward_zero):  # type: ignore[no-untyped-def]
    """One pass of plain adds for the rows that are not marked."""
    for i in range(careful.size):
        if careful[i]:
            continue
        if toward_zero:
            add_terms_toward_zero(acc, i * BLOCK, panel, panel_at, stride, words, at + i * SLOTS)
        else:
            add_terms_floor(acc, i * BLOCK, panel, panel_at, stride, words, at + i * SLOTS)


@njit(cache=True, nogil=True)
def _replay_group(group, panel, stride, words, at, pass_words, first, last, toward_zero):  # type: ignore[no-untyped-def]
    """The exact int64 sum of slots first..last-1 of one row, for every column."""
    group[:] = 0
    for slot in range(first, last):
        word = np.int64(words[at + slot // SLOTS * pass_words + slot % SLOTS])
        start = slot * stride + (word >> SHIFT_BITS) * BLOCK
        shift = np.int32(word & ((1 << SHIFT_BITS) - 1))
        ones = np.int32((1 << shift) - 1) if toward_zero else np.int32(0)
        for j in range(BLOCK):
            term = panel[start + j]
            group[j] += (term + (ones & (term >> np.int32(31)))) >> shift


@njit(cache=True, nogil=True)
def _replay(acc, left_range, careful, panel, stride, words, at, pass_words, layout, rule):  # type: ignore[no-untyped-def]
    """One chunk of the marked rows, group by group, with the exact saturation or wrap."""
    _, _, groups, group_slots = layout
    bits, wrap, toward_zero = rule
    half = np.int64(1) << (bits - 1)
    limits = (
        np.int32(-half),
        np.int32(half - 1),
        np.int32(32 - bits),
        np.int32(-1 if wrap else 0),
        np.int32(-1 if toward_zero else 0),
    )
    group = np.zeros(BLOCK, np.int64)
    for i in range(careful.size):
        row, word = slice(i * BLOCK, (i + 1) * BLOCK), at + i * SLOTS
        if careful[i] and group_slots == 1 and bits < 32:  # int32 holds accumulator + product
            add_terms_exactly(acc, left_range, i * BLOCK, panel, stride, words, word, limits)
        elif careful[i]:
            for g in range(groups):
                first, last = g * group_slots, (g + 1) * group_slots
                _replay_group(
                    group, panel, stride, words, word, pass_words, first, last, toward_zero
                )
                fold_block(acc[row], group, left_range[row], bits, wrap)


@njit(cache=True, nogil=True)
def _tile(words, rows, shifts, table, table_rows, index, peaks, layout, rule, out):  # type: ignore[no-untyped-def]
    """One task: rows = (first, last, all) of one column block; returns the overflow count."""
    chunks, passes, _, _ = layout
    bits, _, toward_zero = rule
    first, last, total = rows
    slots, stride, pass_words = passes * SLOTS, (table_rows + 1) * BLOCK, total * SLOTS
    acc = aligned_zeros((last - first) * BLOCK)
    left_range = np.zeros(acc.size, np.uint8)
    bound, careful = np.zeros(last - first, np.int64), np.zeros(last - first, np.uint8)
    panel = aligned_zeros(slots * stride)
    for chunk in range(chunks):
        here = slice(chunk * slots, (chunk + 1) * slots)
        _expand(table, table_rows, index, here.start * BLOCK, slots, panel)
        growth = _growth(peaks[here], shifts[here])
        marked = _decide(acc, bound, careful, growth, (np.int64(1) << (bits - 1)) - 1)
        at = chunk * passes * pass_words + first * SLOTS
        for p in range(passes):
            panel_at = p * SLOTS * stride
            word = at + p * pass_words
            _add_pass(acc, careful, panel, panel_at, stride, words, word, toward_zero)
        if marked:
            _replay(acc, left_range, careful, panel, stride, words, at, pass_words, layout, rule)
    for i in range(last - first):
        for j in range(out.shape[1]):
            out[first + i, j] = acc[i * BLOCK + j]
    return np.int64(left_range.sum())


@njit(cache=True, nogil=True, parallel=True)
def _tasks(words, task_rows, shifts, table, table_rows, index, peaks, layout, rule, out):  # type: ignore[no-untyped-def]
    """Run every task of a product; out: int64 (M, N); returns the overflow count per task."""
    row_tasks, blocks, total = shifts.shape[0], peaks.shape[0], out.shape[0]
    counts = np.zeros(row_tasks * blocks, np.int64)
    for task in prange(row_tasks * blocks):
        block, row_task = task % blocks, task // blocks
        first = row_task * task_rows
        counts[task] = _tile(
            words,
            (first, min(first + task_rows, total), total),
            shifts[row_task],
            table,
            table_rows,
            index[block],
            peaks[block],
            layout,
            rule,
            out[:, block * BLOCK : (block + 1) * BLOCK],
        )
    return counts


def _task_rows(rows: int, blocks: int) -> int:
    """Rows per task: large, so that a panel serves many, but enough tasks for every thread."""
    wanted = -(-2 * numba.get_num_threads() // blocks)
    even = -(-rows // wanted)
    return min(MAX_TASK_ROWS, max(MIN_TASK_ROWS, even))


def gemm_int32(
    a_code: npt.NDArray[Any],
    b_code: npt.NDArray[Any],
    terms: TermTable,
    accumulator: Accumulator,
) -> tuple[npt.NDArray[np.int64], int]:
    """Return (int64 (M, N) accumulators, number of outputs that left the W-bit range).

    a_code: (M, K), b_code: (K, N), unsigned C-contiguous codes of the formats `terms` was made for.
    """
    rows, columns = a_code.shape[0], b_code.shape[1]
    out = np.zeros((rows, columns), np.int64)
    slots = place_products(a_code.shape[1], accumulator.lanes)
    if not rows or not columns or not slots.chunks:
        return out, 0
    blocks = -(-columns // BLOCK)
    index = np.empty((blocks, slots.product.size, BLOCK), np.uint16)
    peaks = np.empty(index.shape[:2], np.int64)
    pack_right(b_code, terms.peak, slots.product, index, peaks)
    right = (terms.table.ravel(), terms.rows, index.reshape(blocks, -1), peaks)
    overflowed, step = 0, max(MIN_TASK_ROWS, MAX_WORDS // slots.product.size)
    for first in range(0, rows, step):
        part = slice(first, first + step)
        overflowed += _gemm_rows(a_code[part], terms, right, slots, accumulator, out[part])
    return out, overflowed


def _gemm_rows(
    a_code: npt.NDArray[Any],
    terms: TermTable,
    right: tuple[Any, ...],
    slots: Slots,
    accumulator: Accumulator,
    out: npt.NDArray[np.int64],
) -> int:
    """Pack some rows of a, run their tasks, return their overflow count."""
    rows, passes = a_code.shape[0], slots.product.size // SLOTS
    task_rows = _task_rows(rows, right[-1].shape[0])
    words = np.empty((passes, rows, SLOTS), np.uint16)
    shifts = np.empty((-(-rows // task_rows), passes * SLOTS), np.int64)
    empty = np.uint16(terms.rows << SHIFT_BITS | ((1 << SHIFT_BITS) - 1))
    pack_left(a_code, terms.words, empty, slots.product, task_rows, words, shifts)
    layout = (slots.chunks, slots.passes, slots.groups, slots.group_slots)
    rule = (
        accumulator.bits,
        accumulator.overflow == "wrap",
        accumulator.rounding == "toward_zero",
    )
    arguments: tuple[Any, ...] = (words.ravel(), task_rows, shifts, *right, layout, rule, out)
    return int(_tasks(*arguments).sum())
