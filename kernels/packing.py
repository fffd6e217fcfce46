"""Operands laid out for the fast kernel: chunks of products, words of a, blocks of b.

k is cut into chunks that a panel holds. Where a group of `lanes` products fits in a chunk, a chunk
holds whole groups; else a group is several chunks long and is folded into the accumulator after the
last of them.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .bounds import PACKED
from .emit import VECTOR_BYTES
from .gather import piece_of, read_runs
from .operands import Codes
from .which import largest_code, read_1, spread, turn_8, turn_16

Int64 = npt.NDArray[np.int64]

PANEL_BYTES = 3 << 13  # measured best beside a first-level cache of 32 KiB: 12 products at gamma 8
MAX_CHUNK = 24


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """How k is cut: chunk c is start[c]..start[c + 1]-1."""

    start: Int64  #: (chunks + 1,)
    group: int  #: products per fold within a chunk; 0 where a group is longer than a chunk
    fold: npt.NDArray[np.uint8]  #: (chunks,) a long group ends with this chunk


def chunk_size(rows: int, vectors: int) -> int:
    """Products of a chunk: what a panel of `rows` rows of `vectors` vectors holds."""
    return min(MAX_CHUNK, max(1, PANEL_BYTES // (rows * vectors * VECTOR_BYTES)))


@lru_cache(maxsize=256)
def cut(products: int, lanes: int, most: int) -> Chunks:
    """Cut `products` consecutive k into chunks of about `most` products.

    `products` must start at a group's first product.
    """
    if lanes <= most:
        start = np.arange(0, products, most - most % lanes)
        group, fold = lanes, np.zeros(start.size, np.uint8)
    else:
        even = -(-lanes // -(-lanes // most))
        inner = np.arange(0, lanes, even)
        start = (np.arange(0, products, lanes)[:, None] + inner).reshape(-1)
        start = start[start < products]
        following = np.append(start[1:], products)
        group, fold = 0, ((following % lanes == 0) | (following == products)).astype(np.uint8)
    return Chunks(np.append(start, products), group, fold)


IN_PLACE, ALONG_K, ALONG_ROWS = 0, 1, 2


class Layout(NamedTuple):
    """How codes of a are read."""

    way: int  #: IN_PLACE; copied in runs of `piece`: ALONG_K or ALONG_ROWS
    piece: int
    step: int  #: IN_PLACE: from one product's codes to the next


def place_words(a: Codes, most: int) -> Layout:
    """Say how a's codes are to be read: in place where rows are neighbours, else copied.

    most: products of a slab; runs along k must not be cut by its end.
    """
    row_step, k_step = a.steps
    if row_step == 1 and k_step is not None:
        return Layout(IN_PLACE, 1, k_step)
    along_rows = piece_of(a.row_at, row_step)
    along_k = 16 if k_step == 1 else piece_of(a.k_at, k_step) if along_rows < 8 else 1
    if k_step != 1 and a.k_at.size > most and most % along_k:
        along_k = 1
    if along_k >= 8:
        return Layout(ALONG_K, min(along_k, 16), 0)
    return Layout(ALONG_ROWS, along_rows, 0)


@njit(cache=True, nogil=True)
def _copy_along_k(memory, row_at, k_at, first, rows, size, out):  # type: ignore[no-untyped-def]
    """out[k * PACKED + i] = memory[row_at[first + i] + k_at[k]]; k_at: runs of `size`, 8 or 16."""
    products = k_at.size
    for k in range(0, products, size):
        whole = rows - rows % size if products - k >= size else 0
        for i in range(0, whole, size):
            if size == 8:
                turn_8(memory, k_at[k], row_at, first + i, out, k * PACKED + i, PACKED)
            else:
                turn_16(memory, k_at[k], row_at, first + i, out, k * PACKED + i, PACKED)
        for u in range(k, min(products, k + size) if whole < rows else k):
            read_1(memory, k_at[u], row_at, first + whole, out, u * PACKED + whole, rows - whole)


@njit(cache=True, nogil=True)
def _pack_rows(  # type: ignore[no-untyped-def]
    memory, row_at, k_at, layout, mask, start, word_of, stride, height, first, words, largest
):
    """`pack_left` for PACKED rows from `first` on; largest: their line of it."""
    way, piece, step = layout
    rows = min(PACKED, row_at.size - first)
    if way == IN_PLACE:
        codes, base = memory, row_at[first] + k_at[0]
    else:
        codes, base, step = np.empty(k_at.size * PACKED, memory.dtype), np.int64(0), PACKED
        if way == ALONG_K:
            _copy_along_k(memory, row_at, k_at, first, rows, piece, codes)
        else:
            for k in range(k_at.size):
                read_runs(memory, k_at[k], row_at, first, codes, k * PACKED, rows, piece)
    for k in range(k_at.size):
        largest[k] = largest_code(codes, base + k * step, mask, rows)
    for c in range(start.size - 1):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        spread(word_of, codes, base + k0 * step, step, words, at, rows, count, stride)
        if first + rows == row_at.size:
            words[at + rows * count : at + (height - first) * count] = 0


@njit(cache=True, nogil=True, parallel=True)
def pack_left(  # type: ignore[no-untyped-def]
    memory, row_at, k_at, layout, mask, start, word_of, stride, height, words, largest
):
    """Words of a in the order they are read: chunk by chunk, and within a chunk row by row.

    Chunk c, products start[c]..start[c + 1]-1, takes words[start[c] * height:]; the word of its
    product u in row i is at i * count + u: word_of[code] + u * stride. Rows up to `height` are
    zeros. largest[i // PACKED, k]: the largest code & mask of those rows.
    """
    if largest.shape[0] == 1:
        _pack_rows(
            memory, row_at, k_at, layout, mask, start, word_of, stride, height, np.int64(0),
            words, largest[0],
        )  # fmt: skip
        return
    for task in prange(largest.shape[0]):
        _pack_rows(
            memory, row_at, k_at, layout, mask, start, word_of, stride, height,
            np.int64(task) * PACKED, words, largest[task],
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _pack_block(  # type: ignore[no-untyped-def]
    memory, column_at, k_at, bins, padding, mask, ceiling, piece, width, block, out, peaks
):
    """`pack_right` for one block; out, peaks: its line of index and peaks."""
    first = block * width // bins
    columns = min(column_at.size, (block * width + width - 1) // bins + 1) - first
    real = min(width, column_at.size * bins - block * width)
    codes = np.empty(columns, np.uint16)
    for k in range(peaks.size):
        at = k * width
        target, here = (out, at) if bins == 1 else (codes, 0)
        read_runs(memory, k_at[k], column_at, first, target, here, columns, piece)
        peaks[k] = ceiling[largest_code(target, here, mask, columns)]
        if bins > 1:
            column, own = 0, block * width % bins
            for j in range(real):
                out[at + j] = codes[column] * bins + own
                own += 1
                if own == bins:
                    column, own = column + 1, 0
        for j in range(real, width):
            out[at + j] = padding


@njit(cache=True, nogil=True, parallel=True)
def pack_right(  # type: ignore[no-untyped-def]
    memory, column_at, k_at, bins, padding, mask, ceiling, piece, width, index, peaks
):
    """index[block, k * width + j] = table entry of virtual column block * width + j.

    A virtual column is one bin of a column. piece: column_at comes in runs of so many neighbours;
    it divides a block, and is 1 where there are bins. peaks[block, k]: the largest entry that the
    block's codes can have.
    """
    if index.shape[0] == 1:
        _pack_block(
            memory, column_at, k_at, bins, padding, mask, ceiling, piece, width, np.int64(0),
            index[0], peaks[0],
        )  # fmt: skip
        return
    for block in prange(index.shape[0]):
        _pack_block(
            memory, column_at, k_at, bins, padding, mask, ceiling, piece, width, np.int64(block),
            index[block], peaks[block],
        )  # fmt: skip
