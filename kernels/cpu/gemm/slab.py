"""A slab of a product in one compiled call: pack both operands, run the tasks, all products of k.

One call, because the five functions below take longer to be called from Python than a small product
takes to compute.
"""

import numpy as np
from numba import njit

from ..ir.emit import SUMS
from ..runtime.which import for_each
from .bounds import PACKED, UNSET, fill
from .packing import pack_left, pack_right
from .spans import runs_of_part
from .tile import run_task


@njit(cache=True, nogil=True)
def run_slab(  # type: ignore[no-untyped-def]
    left, right, sizes, tables, bins, masks, ceilings, cuts, rule, limits, acc, flags, room
):
    """Return how many rows were replayed, and how many parts of k were done again.

    height: rows, up to a multiple of SUMS. acc, flags: (parts, blocks, height, width), flat; the
    first part takes the sums, and a 1 where one left its range (flags are written only where there
    are products); the others are room.
    room: (words of a, entries of b), 1-D, for a slab of as many products as there are.
    left: (memory, row_at, k_at, *`Codes.reading`); right: (memory, column_at, k_at, ...)
    likewise. sizes: (products of a slab, rows of a task, parts of k, width of a block, on one
    thread).
    tables: (word_of and stride of `pack_left`, table, table_rows, low, padding). ceilings: of the
    codes of a, b. cuts: (start, fold) of a full slab, of the last one, products of a group or 0.
    rule: (toward zero: True or None, what a floating-point sum may reach).
    """
    a_memory, row_at, a_k_at, a_reading, a_runs = left
    b_memory, column_at, b_k_at, b_reading, b_runs = right
    most, task_rows, parts, width, alone = sizes
    word_of, stride, table, table_rows, low, padding = tables
    full_start, full_fold, last_start, last_fold, group = cuts
    zeroward, chain = rule
    rows, products = row_at.size, a_k_at.size
    height = -(-rows // SUMS) * SUMS
    blocks = -(-column_at.size * bins // width)
    bound = np.empty(parts * blocks * -(-height // PACKED), np.int64)
    fill(bound, 0, bound.size, UNSET)
    replayed = again = np.int64(0)
    if products == 0:
        acc[:] = 0
    for first in range(0, products, most):
        last = min(products, first + most)
        count = last - first
        whole = count == most
        start, fold = (full_start, full_fold) if whole else (last_start, last_fold)
        words = room[0][: height * count]
        largest = np.empty((-(-rows // PACKED), count), a_memory.dtype)
        reaches = np.empty((fold.size, largest.shape[0]), np.float32)
        pack_left(
            a_memory, row_at, a_k_at[first:last], a_reading,
            runs_of_part(a_reading, a_runs, first, last), masks[0], start, (word_of, stride, low),
            height, words, largest, reaches, table, alone,
        )  # fmt: skip
        index = room[1][: blocks * count * width].reshape(blocks, count * width)
        peaks = np.empty((blocks, count), np.float32)
        pack_right(
            b_memory, column_at, b_k_at[first:last], bins, padding, masks[1], ceilings[1],
            b_reading, runs_of_part(b_reading, b_runs, first, last), width, index, peaks, alone,
        )  # fmt: skip
        counts = np.zeros((2, -(-height // task_rows) * blocks * parts), np.int64)
        tasks = counts.shape[1]
        for joins in range(min(parts, 2)):
            arguments = (
                joins > 0, parts, words, height, task_rows, width, index, largest, ceilings[0],
                reaches, peaks, (table, table_rows, low), (start, fold),
                (group, zeroward, chain, limits), first == 0, (acc, flags, bound), counts,
            )  # fmt: skip
            for_each(run_task, tasks // parts if joins else tasks, arguments, alone)
        replayed += counts[0].sum()
        again += counts[1].sum()
    return replayed, again
