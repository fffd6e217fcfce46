"""From accumulators to results: integers, or float32 values, wherever the caller wants them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..ir.moves import TILE
from ..ir.results import put_column, put_row, put_tile
from ..ir.tasks import for_each
from ..runtime.inner import inner

_ROWS = 16  # of a tile that is turned while it is in the first-level cache
_PART = 64  # rows of a task


class Target(NamedTuple):
    """Where the result goes: output (i, j) to memory[row_at[i] + column_at[j]]."""

    memory: npt.NDArray[Any]  #: 1-D C-contiguous, int64, or float32 with a scale
    row_at: npt.NDArray[np.int64]
    column_at: npt.NDArray[np.int64]
    unit: bool  #: columns are neighbours in memory
    scale: float = 0.0  #: what an accumulator's unit is worth in float32; integers have none

    def part(self, rows: slice, columns: slice) -> "Target":
        """The same memory for some rows and columns."""
        return self._replace(row_at=self.row_at[rows], column_at=self.column_at[columns])

    def turned(self) -> "Target":
        """The same memory for the transposed product."""
        at = self.row_at
        unit = at.size <= 1 or bool(at[1] - at[0] == 1 and (np.diff(at) == 1).all())
        return Target(self.memory, self.column_at, at, unit, self.scale)


@njit(cache=True, nogil=True, parallel=True)
def count_left(left_range, rows, columns, bins):  # type: ignore[no-untyped-def]
    """Outputs that left the range in any bin. left_range: (blocks, rows or more, width),
    0 or 1."""
    width = left_range.shape[2]
    total = np.int64(0)
    for i in prange(rows):
        here = np.int64(0)
        if bins == 1:
            for block in range(left_range.shape[0]):
                for lane in range(width):
                    here += left_range[block, i, lane]
        else:
            for j in range(columns):
                left = np.int64(0)
                for column in range(j * bins, (j + 1) * bins):
                    left |= left_range[column // width, i, column % width]
                here += left
        total += here
    return total


@inner
def _finish_bins(acc, constants, target, first, last):  # type: ignore[no-untyped-def]
    """`finish` of some rows where several accumulators make an output."""
    out, row_at, column_at, _, scale = target
    width, bins = acc.shape[2], constants.size
    total, one = np.empty(1, np.int64), np.empty(1, out.dtype)
    for i in range(first, last):
        for j in range(column_at.size):
            total[0] = 0
            for m in range(bins):
                column = j * bins + m
                total[0] += constants[m] * acc[column // width, i, column % width]
            put_row(total, 0, 1, one, 0, 1, scale)
            out[row_at[i] + column_at[j]] = one[0]


@inner
def _finish_rows(acc, target, first, last):  # type: ignore[no-untyped-def]
    """`finish` of at most _ROWS rows where an accumulator is an output."""
    out, row_at, column_at, unit_columns, scale = target
    width, columns, flat = acc.shape[2], column_at.size, acc.ravel()
    even = row_at[last - 1] - row_at[first] == last - 1 - first  # rows are neighbours
    one = np.empty(_ROWS, out.dtype)
    for block in range(acc.shape[0]):
        start, base = block * width, block * acc.shape[1] * width
        here = min(width, columns - start)
        if unit_columns:
            for i in range(first, last):
                at = row_at[i] + column_at[start]
                put_row(flat, base + i * width, 1, out, at, here, scale)
            continue
        for j in range(here):
            at = base + first * width + j
            if even:
                into = row_at[first] + column_at[start + j]
                put_column(flat, at, width, out, into, last - first, scale)
            else:
                put_column(flat, at, width, one, 0, last - first, scale)
                for i in range(first, last):
                    out[row_at[i] + column_at[start + j]] = one[i - first]


@inner
def _finish_tiles(acc, target, first, last):  # type: ignore[no-untyped-def]
    """`finish` of whole tiles of float32 results whose rows are neighbours in memory."""
    out, row_at, column_at, _, scale = target
    scale = np.float32(scale)
    width, flat = acc.shape[2], acc.ravel()
    for block in range(acc.shape[0]):
        start, base = block * width, block * acc.shape[1] * width
        here = min(width, column_at.size - start)
        for j in range(0, here, TILE):
            for i in range(first, last, TILE):
                at = base + i * width + j
                put_tile(flat, at, width, out, column_at, start + j, row_at[i], scale)


@inner
def _finish_part(task, acc, constants, target):  # type: ignore[no-untyped-def]
    """`finish` of _PART rows."""
    row_at, columns = target.row_at, target.column_at.size
    first = task * _PART
    last = min(row_at.size, first + _PART)
    if constants.size > 1 or constants[0] != 1:
        _finish_bins(acc, constants, target, first, last)
        return
    done, narrow = first, acc.itemsize == 4 and target.memory.itemsize == 4
    if not target.unit and columns % TILE == 0 and narrow:
        whole = last - (last - first) % TILE
        if whole > first and row_at[whole - 1] - row_at[first] == whole - 1 - first:
            _finish_tiles(acc, target, first, whole)
            done = whole
    for i in range(done, last, _ROWS):
        _finish_rows(acc, target, i, min(last, i + _ROWS))


@njit(cache=True, nogil=True)
def finish(acc, constants, target, alone):  # type: ignore[no-untyped-def]
    """Write accumulator j of row i to output (i, j) of `target`; several bins: their sum.

    acc: (blocks, rows or more, width), virtual column j * bins + bin, zeros beyond the columns; a
    bin is multiplied by its constant. target: what `Target` has, as a tuple (see `slab.py`);
    float32 takes the value times `scale`, rounded once; int64 the value itself. alone: on one
    thread.
    """
    target = Target(*target)
    arguments = acc, constants, target
    for_each(_finish_part, -(-target.row_at.size // _PART), arguments, alone)
