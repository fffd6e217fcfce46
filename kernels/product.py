"""One integer product by the fast kernel: slabs of rows, columns and k, packed, run, finished."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from ..lns.datapath import Accumulator
from .bounds import PACKED, ROWS
from .fast import run_tasks
from .finish import count_left, finish
from .gather import piece_of
from .operands import Codes
from .packing import cut, largest_codes, pack_right, place_words
from .terms import TermTable

MAX_TASK_ROWS = 1024  # a task's accumulators: 1024 * BLOCK_BYTES = 256 KiB, second-level cache
# A slab: 2048 rows, 2048 columns (1024 in float64) and 4096 products take 2 * 16 MiB of packed
# codes and 20 MiB of accumulators, whatever the whole product's size.
SLAB_ROWS, SLAB_BLOCKS, SLAB_PRODUCTS = 2048, 32, 4096

replayed_rows = 0  #: rows of chunks replayed so far in this process, for tests and `bench`


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where the result goes: output (i, j) to memory[row_at[i] + column_at[j]]."""

    memory: npt.NDArray[Any]  #: 1-D C-contiguous, int64, or float32 with a scale
    row_at: npt.NDArray[np.int64]
    column_at: npt.NDArray[np.int64]
    unit: bool  #: columns are neighbours in memory
    scale: float | None = None  #: what an accumulator's unit is worth; None keeps integers

    def part(self, rows: slice, columns: slice) -> "Target":
        """The same memory for some rows and columns."""
        row_at, column_at = self.row_at[rows], self.column_at[columns]
        return Target(self.memory, row_at, column_at, self.unit, self.scale)

    def turned(self) -> "Target":
        """The same memory for the transposed product."""
        unit = self.row_at.size == 1 or bool((np.diff(self.row_at) == 1).all())
        return Target(self.memory, self.column_at, self.row_at, unit, self.scale)


def _line_zeros(size: int, item: Any) -> npt.NDArray[Any]:
    """Zeros that start on a 64-byte line: a vector that lies across two costs twice."""
    room = np.zeros(size + 16, item)
    start = -room.__array_interface__["data"][0] % 64 // room.itemsize
    return room[start : start + size]


def _task_rows(rows: int, blocks: int) -> int:
    """Rows per task: large, so that a panel serves many, but enough tasks for every thread."""
    wanted = -(-2 * numba.get_num_threads() // blocks)
    even = -(-rows // (wanted * PACKED)) * PACKED
    return min(MAX_TASK_ROWS, even)


def gemm_terms(
    a: Codes, b: Codes, terms: TermTable, accumulator: Accumulator, target: Target
) -> int:
    """Write the product of a (M, K) and b (N, K) into `target`; return how many outputs left
    the W-bit range at least once."""
    step = SLAB_BLOCKS * terms.width // terms.bins or 1
    overflowed = 0
    for j in range(0, b.row_at.size, step):
        columns = b.rows(slice(j, j + step))
        for i in range(0, a.row_at.size, SLAB_ROWS):
            rows = a.rows(slice(i, i + SLAB_ROWS))
            part = target.part(slice(i, i + SLAB_ROWS), slice(j, j + step))
            overflowed += _slab(rows, columns, terms, accumulator, part)
    return overflowed


def _slab(a: Codes, b: Codes, terms: TermTable, accumulator: Accumulator, target: Target) -> int:
    """`gemm_terms` for some rows and columns: every k, then the result."""
    global replayed_rows
    item, width = terms.limits.dtype, terms.width
    rows, products = a.row_at.size, a.k_at.size
    if not rows or not b.row_at.size:
        return 0
    blocks = -(-b.row_at.size * terms.bins // width)
    acc = _line_zeros(blocks * rows * width, item).reshape(blocks, rows, width)
    left_range = np.zeros(acc.shape, np.uint8)
    bound = np.zeros(blocks * -(-rows // ROWS), np.int64)
    table = terms.table.reshape(-1)
    zeroward = accumulator.rounding == "toward_zero"
    padding = np.uint16(terms.padding)
    most = SLAB_PRODUCTS - SLAB_PRODUCTS % accumulator.lanes
    piece = piece_of(b.row_at, b.steps[0]) if terms.bins == 1 else 1
    masks = a.memory.dtype.type(terms.masks[0]), np.uint16(terms.masks[1])
    replayed = 0
    for k in range(0, products, most):
        here = slice(k, min(products, k + most))
        b_k = b.k_at[here]
        chunks = cut(b_k.size, accumulator.lanes, terms.rows)
        words = place_words(a, here)
        left = np.empty((-(-rows // PACKED), b_k.size), a.memory.dtype)
        largest_codes(words.memory, words.step, rows, masks[0], left)
        index = np.empty((blocks, b_k.size * width), np.uint16)
        right = np.empty((blocks, b_k.size), np.float32)
        pack_right(
            b.memory,
            b.row_at,
            b_k,
            terms.bins,
            padding,
            masks[1],
            terms.ceilings[1],
            piece,
            width,
            index,
            right,
        )
        counts = run_tasks(
            words.memory,
            words.step,
            rows,
            _task_rows(rows, blocks),
            index,
            left,
            terms.ceilings[0],
            right,
            table,
            terms.rows,
            terms.factor,
            terms.row,
            chunks.start,
            chunks.fold,
            chunks.group,
            zeroward,
            terms.chain,
            terms.limits,
            acc.reshape(-1),
            left_range.reshape(-1),
            bound,
        )
        replayed += int(counts.sum())
    replayed_rows += replayed
    scale = 0.0 if target.scale is None else target.scale
    where = target.unit, target.row_at, target.column_at
    finish(acc, terms.constants, *where, scale, target.memory)
    if not replayed:
        return 0
    return int(count_left(left_range, rows, b.row_at.size, terms.bins))
