"""From accumulators to results: integers, or float32 values, wherever the caller wants them."""

import numpy as np
from numba import njit, prange

from ..ir.moves import TILE
from ..runtime.inner import inner
from ..runtime.which import for_each, put_column, put_row, put_tile

_ROWS = 16  # of a tile that is turned while it is in the first-level cache
_PART = 64  # rows of a task


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
def _finish_bins(acc, constants, row_at, column_at, scale, out, first, last):  # type: ignore[no-untyped-def]
    """`finish` of some rows where several accumulators make an output."""
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
def _finish_rows(acc, unit_columns, row_at, column_at, scale, out, first, last):  # type: ignore[no-untyped-def]
    """`finish` of at most _ROWS rows where an accumulator is an output."""
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
                target = row_at[first] + column_at[start + j]
                put_column(flat, at, width, out, target, last - first, scale)
            else:
                put_column(flat, at, width, one, 0, last - first, scale)
                for i in range(first, last):
                    out[row_at[i] + column_at[start + j]] = one[i - first]


@inner
def _finish_tiles(acc, row_at, column_at, scale, out, first, last):  # type: ignore[no-untyped-def]
    """`finish` of whole tiles of float32 results whose rows are neighbours in memory."""
    width, flat = acc.shape[2], acc.ravel()
    for block in range(acc.shape[0]):
        start, base = block * width, block * acc.shape[1] * width
        here = min(width, column_at.size - start)
        for j in range(0, here, TILE):
            for i in range(first, last, TILE):
                at = base + i * width + j
                put_tile(flat, at, width, out, column_at, start + j, row_at[i], scale)


@inner
def _finish_part(task, acc, constants, unit_columns, row_at, column_at, scale, out):  # type: ignore[no-untyped-def]
    """`finish` of _PART rows."""
    first = task * _PART
    last = min(row_at.size, first + _PART)
    if constants.size > 1 or constants[0] != 1:
        _finish_bins(acc, constants, row_at, column_at, scale, out, first, last)
        return
    done = first
    if not unit_columns and column_at.size % TILE == 0 and acc.itemsize == 4 and out.itemsize == 4:
        whole = last - (last - first) % TILE
        if whole > first and row_at[whole - 1] - row_at[first] == whole - 1 - first:
            _finish_tiles(acc, row_at, column_at, np.float32(scale), out, first, whole)
            done = whole
    for i in range(done, last, _ROWS):
        end = min(last, i + _ROWS)
        _finish_rows(acc, unit_columns, row_at, column_at, scale, out, i, end)


@njit(cache=True, nogil=True)
def finish(acc, constants, unit_columns, row_at, column_at, scale, out, alone):  # type: ignore[no-untyped-def]
    """out[row_at[i] + column_at[j]] = accumulator j of row i; several bins: of their sum.

    acc: (blocks, rows or more, width), virtual column j * bins + bin, zeros beyond the columns; a
    bin is multiplied by its constant. out: 1-D; float32 for the value times `scale`, rounded once;
    int64 takes the value itself and a scale of 0. unit_columns: column_at is 0, 1, 2, ... from its
    first.
    """
    arguments = acc, constants, unit_columns, row_at, column_at, scale, out
    for_each(_finish_part, -(-row_at.size // _PART), arguments, alone)
