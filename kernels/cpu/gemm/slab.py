"""A slab of a product in one compiled call: pack both operands, run the tasks, all products of k.

One call, because the five functions below take longer to be called from Python than a small product
takes to compute; of plain tuples, since one with names takes longer to be taken apart there.
"""

import numpy as np
from numba import njit

from ...operands import Codes
from ..ir.emit import SUMS
from ..ir.tasks import for_each
from .bounds import PACKED, UNSET, fill
from .packing import Chunks, pack, part_of
from .tables import Tables
from .tile import Rule, Shape, State, run_task


@njit(cache=True, nogil=True)
def run_slab(a, b, tables, cuts, rule, sizes, room, alone):  # type: ignore[no-untyped-def]
    """Return how many rows were replayed, and how many parts of k were done again.

    a, b, tables, rule: what `Codes`, `Tables` and `Rule` have, as tuples. cuts: likewise the
    `Chunks` of a full slab and of the last one. sizes: (products of a slab, rows of a task, parts
    of k, width of a block). room: (sums, flags, words of a, entries of b), 1-D: sums and flags as
    `State` has them, of which the first part takes the result, and a 1 where a sum left its range
    (flags are written only where there are products); the rest for as many products as there are
    at once. alone: on one thread.
    """
    a, b, tables, rule = Codes(*a), Codes(*b), Tables(*tables), Rule(*rule)
    most, task_rows, parts, width = sizes
    rows, products = a.row_at.size, a.k_at.size
    height = -(-rows // SUMS) * SUMS
    blocks = -(-b.row_at.size * tables.bins // width)
    shape = Shape(height, width, task_rows, parts)
    bound = np.empty(parts * blocks * -(-height // PACKED), np.int64)
    fill(bound, 0, bound.size, UNSET)
    state = State(room[0], room[1], bound)
    replayed = again = np.int64(0)
    if products == 0:
        room[0][:] = 0
    for first in range(0, products, most):
        last = min(products, first + most)
        chunks = Chunks(*(cuts[0] if last - first == most else cuts[1]))
        packed = pack(
            part_of(a, first, last), part_of(b, first, last), tables, chunks.start,
            chunks.fold.size, height, width, room[2:], alone,
        )  # fmt: skip
        counts = np.zeros((2, -(-height // task_rows) * blocks * parts), np.int64)
        tasks = counts.shape[1]
        for joins in range(min(parts, 2)):
            arguments = (
                joins > 0, first == 0, shape, packed, tables, chunks, rule, state, counts
            )  # fmt: skip
            for_each(run_task, tasks // parts if joins else tasks, arguments, alone)
        replayed += counts[0].sum()
        again += counts[1].sum()
    return replayed, again
