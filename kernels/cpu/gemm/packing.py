"""Operands laid out for the fast kernel: chunks of products, words of a, blocks of b.

k is cut into chunks that a panel holds. Where a group of `lanes` products fits in a chunk, a chunk
holds whole groups; else a group is several chunks long and is folded into the accumulator after the
last of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from ..ir.emit import VECTOR_BYTES
from ..ir.moves import TILE
from ..runtime.inner import inner
from ..runtime.which import for_each, largest_code, reach, spread, turn_8
from .bounds import PACKED
from .spans import line_up, runs_of_part

Int64 = npt.NDArray[np.int64]

PANEL_BYTES = 3 << 13  # measured best beside a first-level cache of 32 KiB: 12 products at gamma 8
MAX_CHUNK = 24
PIECE = 1024  # products of a packing task, about: codes and words of PACKED rows fit a cache


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


@inner
def _largest_of(codes, base, row_step, k_step, rows, mask, largest):  # type: ignore[no-untyped-def]
    """largest[k]: the largest code & mask of product k."""
    if row_step == 1:
        for k in range(largest.size):
            largest[k] = largest_code(codes, base + k * k_step, mask, rows)
        return
    largest[:] = 0
    for i in range(rows):
        if k_step == 1:
            line = codes[base + i * row_step :]
            for k in range(largest.size):
                largest[k] = max(largest[k], line[k] & mask)
        else:
            for k in range(largest.size):
                largest[k] = max(largest[k], codes[base + i * row_step + k * k_step] & mask)


@inner
def _pack_rows(  # type: ignore[no-untyped-def]
    task, memory, row_at, k_at, reading, runs, mask, start, chunks, coding, height, words, largest,
    reaches, table,
):  # fmt: skip
    """`pack_left` for PACKED rows and `chunks` chunks."""
    word_of, stride, low = coding
    tiles = largest.shape[0]
    tile, c0 = task % tiles, task // tiles * chunks
    c1 = min(start.size - 1, c0 + chunks)
    begin, end, first = start[c0], start[c1], tile * PACKED
    rows = min(PACKED, row_at.size - first)
    codes, base, row_step, k_step = line_up(
        memory, row_at, k_at[begin:end], reading, runs_of_part(reading, runs, begin, end), first,
        rows,
    )  # fmt: skip
    _largest_of(codes, base, row_step, k_step, rows, mask, largest[tile, begin:end])
    for c in range(c0, c1):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        place = base + (k0 - begin) * k_step
        spread(word_of, codes, place, row_step, k_step, words, at, rows, count, stride)
        if first + rows == row_at.size:
            words[at + rows * count : at + (height - first) * count] = 0
        if reaches.size:
            padded = min(PACKED, height - first)
            reaches[c, tile] = reach(words, at, padded, count, low, table)


@njit(cache=True, nogil=True)
def pack_left(  # type: ignore[no-untyped-def]
    memory, row_at, k_at, reading, runs, mask, start, coding, height, words, largest, reaches,
    table, alone,
):  # fmt: skip
    """Words of a in the order they are read: chunk by chunk, and within a chunk row by row.

    Chunk c, products start[c]..start[c + 1]-1, takes words[start[c] * height:]; the word of its
    product u in row i is at i * count + u: word_of[code] + u * stride. Rows up to `height` are
    zeros. coding: (word_of, stride, bits of a word that are an offset). largest[i // PACKED, k]:
    the largest code & mask of those rows. reaches[c, i // PACKED]: of those rows the largest sum
    of |factors| in chunk c; empty: not wanted. table: of the panel's type.
    """
    chunks = max(1, PIECE // max(1, start[1]))  # the first chunk is as long as any
    arguments = (
        memory, row_at, k_at, reading, runs, mask, start, chunks, coding, height, words, largest,
        reaches, table,
    )  # fmt: skip
    pieces = -(-(start.size - 1) // chunks)
    for_each(_pack_rows, largest.shape[0] * pieces, arguments, alone)


@inner
def _copy_block(codes, base, column_step, k_step, columns, width, products, out):  # type: ignore[no-untyped-def]
    """out[k * width + j] = code of product k in column j."""
    whole_columns, whole = columns - columns % TILE, products - products % TILE
    if k_step == 1:
        for k in range(0, whole, TILE):
            for j in range(0, whole_columns, TILE):
                turn_8(codes, base + j * column_step + k, column_step, out, k * width + j, width)
    elif column_step == 1:
        for k in range(products):
            line, at = codes[base + k * k_step :], out[k * width :]
            for j in range(columns):
                at[j] = line[j]
        return
    else:
        whole_columns = 0
    for k in range(products):
        for j in range(whole_columns if k < whole else 0, columns):
            out[k * width + j] = codes[base + j * column_step + k * k_step]


@inner
def _pack_block(  # type: ignore[no-untyped-def]
    task, memory, column_at, k_at, bins, padding, mask, ceiling, reading, runs, width, index,
    all_peaks,
):  # fmt: skip
    """`pack_right` for one block and up to PIECE products."""
    blocks = index.shape[0]
    block, begin = task % blocks, task // blocks * PIECE
    end = min(k_at.size, begin + PIECE)
    out, peaks = index[block, begin * width : end * width], all_peaks[block, begin:end]
    first, products = block * width // bins, end - begin
    columns = min(column_at.size, (block * width + width - 1) // bins + 1) - first
    real = min(width, column_at.size * bins - block * width)
    codes, base, column_step, k_step = line_up(
        memory, column_at, k_at[begin:end], reading, runs_of_part(reading, runs, begin, end), first,
        columns,
    )  # fmt: skip
    if bins == 1:
        _copy_block(codes, base, column_step, k_step, columns, width, products, out)
        for k in range(products):
            peaks[k] = ceiling[largest_code(out, k * width, mask, columns)]
            out[k * width + real : (k + 1) * width] = padding
        return
    for k in range(products):
        at, column, own = k * width, np.int64(0), block * width % bins
        most = mask ^ mask
        for j in range(columns):
            most = max(most, np.uint16(codes[base + j * column_step + k * k_step]) & mask)
        peaks[k] = ceiling[most]
        for j in range(real):
            out[at + j] = codes[base + column * column_step + k * k_step] * bins + own
            own += 1
            if own == bins:
                column, own = column + 1, 0
        out[at + real : at + width] = padding


@njit(cache=True, nogil=True)
def pack_right(  # type: ignore[no-untyped-def]
    memory, column_at, k_at, bins, padding, mask, ceiling, reading, runs, width, index, peaks,
    alone,
):  # fmt: skip
    """index[block, k * width + j] = table entry of virtual column block * width + j.

    A virtual column is one bin of a column. peaks[block, k]: the largest entry that the block's
    codes can have.
    """
    arguments = (
        memory, column_at, k_at, bins, padding, mask, ceiling, reading, runs, width, index, peaks
    )  # fmt: skip
    for_each(_pack_block, index.shape[0] * -(-k_at.size // PIECE), arguments, alone)
