"""Operands laid out for the fast kernel: chunks of products, words of a, blocks of b, panels.

k is cut into chunks that a panel holds. Where a group of `lanes` products fits in a chunk, a chunk
holds whole groups; else a group is several chunks long and is folded into the accumulator after the
last of them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from ...operands import ALONG_K, IN_PLACE, Codes
from ..ir.emit import VECTOR_BYTES
from ..ir.moves import (
    SPAN,
    TILE,
    expand_1,
    expand_2,
    expand_4,
    expand_8,
    largest_code,
    read_spans,
    turn_8,
)
from ..ir.pack_words import reach, spread
from ..ir.tasks import for_each
from ..runtime.inner import inner
from .bounds import PACKED, Int

Int64 = npt.NDArray[np.int64]

PANEL_BYTES = 3 << 13  # measured best beside a first-level cache of 32 KiB: 12 products at gamma 8
MAX_CHUNK = 24
PIECE = 1024  # products of a packing task, about: codes and words of PACKED rows fit a cache


class Chunks(NamedTuple):
    """How k is cut: chunk c is start[c]..start[c + 1]-1."""

    start: Int64  #: (chunks + 1,)
    fold: npt.NDArray[np.uint8]  #: (chunks,) a long group ends with this chunk
    group: int  #: products per fold within a chunk; 0 where a group is longer than a chunk


class Packed(NamedTuple):
    """Both operands of a slab, packed."""

    words: Any  #: uint32, of a: chunk by chunk, and within a chunk row by row
    largest: Any  #: (ceil(rows / PACKED), products) the largest magnitude code of a
    reaches: Any  #: float32 (chunks, ceil(rows / PACKED)): the largest sum of a row's |factors|
    index: Any  #: uint16 (blocks, products * width), of b: the table's entries
    entries: Any  #: float32 (blocks, products) the largest entry


class _Lines(NamedTuple):
    """Where the codes of some rows are: row i, product k at base + i * row_step + k * k_step."""

    codes: Any
    base: Int
    row_step: Int
    k_step: Int


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
    return Chunks(np.append(start, products), fold, group)


@register_jitable
def part_of(codes, first, last):  # type: ignore[no-untyped-def]
    """The operand of products first..last - 1 alone; its runs are of those that all have."""
    reading, runs = codes.reading
    runs = runs[first:last] if reading[0] == ALONG_K else runs
    return Codes(codes.memory, codes.row_at, codes.k_at[first:last], (reading, runs))


@inner
def _line_up(operand, first, rows):  # type: ignore[no-untyped-def]
    """The lines of rows first..first + rows - 1, at most PACKED: in place, or copied in runs."""
    memory, row_at, k_at, ((way, row_step, k_step), runs) = operand
    if way == IN_PLACE:
        return _Lines(memory, row_at[first] + k_at[0], row_step, k_step)
    base = np.int64(0)
    if way == ALONG_K:
        line = k_at.size + SPAN
        codes = np.empty(rows * line, memory.dtype)
        for i in range(rows):
            read_spans(memory, row_at[first + i], k_at, runs, 0, codes, i * line, k_at.size)
        return _Lines(codes, base, line, np.int64(1))
    codes = np.empty(k_at.size * PACKED + SPAN, memory.dtype)
    for k in range(k_at.size):
        read_spans(memory, k_at[k], row_at, runs, first, codes, k * PACKED, rows)
    return _Lines(codes, base, np.int64(1), np.int64(PACKED))


@inner
def _largest_of(lines, rows, mask, largest):  # type: ignore[no-untyped-def]
    """largest[k]: the largest code & mask of product k."""
    codes, base, row_step, k_step = lines
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
def _pack_rows(task, operand, start, chunks, tables, height, packed):  # type: ignore[no-untyped-def]
    """The words of PACKED rows of a in `chunks` chunks, the largest code of each product, reaches.

    Chunk c takes words[start[c] * height:]; the word of its product u in row i is at i * count + u:
    tables.words[code] + u * tables.stride. Rows up to `height` are zeros.
    """
    words, largest, reaches, _, _ = packed
    tiles = largest.shape[0]
    tile, c0 = task % tiles, task // tiles * chunks
    c1 = min(start.size - 1, c0 + chunks)
    begin, end, first = start[c0], start[c1], tile * PACKED
    rows = min(PACKED, operand.row_at.size - first)
    lines = _line_up(part_of(operand, begin, end), first, rows)
    _largest_of(lines, rows, tables.masks[0], largest[tile, begin:end])
    codes, base, row_step, k_step = lines
    word_of, stride = tables.words, tables.stride
    for c in range(c0, c1):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        place = base + (k0 - begin) * k_step
        spread(word_of, codes, place, row_step, k_step, words, at, rows, count, stride)
        if first + rows == operand.row_at.size:
            words[at + rows * count : at + (height - first) * count] = 0
        if reaches.size:
            padded = min(PACKED, height - first)
            reaches[c, tile] = reach(words, at, padded, count, tables.low, tables.table)


@inner
def _copy_block(lines, columns, width, products, out):  # type: ignore[no-untyped-def]
    """out[k * width + j] = code of product k in column j."""
    codes, base, column_step, k_step = lines
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
def _pack_block(task, operand, tables, width, packed):  # type: ignore[no-untyped-def]
    """The table entries of one block of b and up to PIECE products, and the largest of each.

    A block has virtual columns: one is one bin of a column.
    """
    index, all_entries, column_at = packed.index, packed.entries, operand.row_at
    bins, mask, ceiling = tables.bins, tables.masks[1], tables.ceilings[1]
    padding = tables.padding
    blocks = index.shape[0]
    block, begin = task % blocks, task // blocks * PIECE
    end = min(operand.k_at.size, begin + PIECE)
    out, entries = index[block, begin * width : end * width], all_entries[block, begin:end]
    first, products = block * width // bins, end - begin
    columns = min(column_at.size, (block * width + width - 1) // bins + 1) - first
    real = min(width, column_at.size * bins - block * width)
    lines = _line_up(part_of(operand, begin, end), first, columns)
    if bins == 1:
        _copy_block(lines, columns, width, products, out)
        for k in range(products):
            entries[k] = ceiling[largest_code(out, k * width, mask, columns)]
            out[k * width + real : (k + 1) * width] = padding
        return
    codes, base, column_step, k_step = lines
    for k in range(products):
        at, column, own = k * width, np.int64(0), block * width % bins
        most = mask ^ mask
        for j in range(columns):
            most = max(most, np.uint16(codes[base + j * column_step + k * k_step]) & mask)
        entries[k] = ceiling[most]
        for j in range(real):
            out[at + j] = codes[base + column * column_step + k * k_step] * bins + own
            own += 1
            if own == bins:
                column, own = column + 1, 0
        out[at + real : at + width] = padding


@inner
def pack(a, b, tables, start, wanted, height, width, room, alone):  # type: ignore[no-untyped-def]
    """Return both operands, `Codes` of the same products, `Packed`.

    start: of the chunks; of `wanted` of them the reaches, all or none. room: (words, entries), 1-D,
    of which the first part is taken. alone: on one thread.
    """
    products, tiles = a.k_at.size, -(-a.row_at.size // PACKED)
    blocks = -(-b.row_at.size * tables.bins // width)
    packed = Packed(
        room[0][: height * products],
        np.empty((tiles, products), a.memory.dtype),
        np.empty((wanted, tiles), np.float32),
        room[1][: blocks * products * width].reshape(blocks, products * width),
        np.empty((blocks, products), np.float32),
    )
    chunks = max(1, PIECE // max(1, start[1]))  # the first chunk is as long as any
    pieces = -(-(start.size - 1) // chunks)
    for_each(_pack_rows, tiles * pieces, (a, start, chunks, tables, height, packed), alone)
    for_each(_pack_block, blocks * -(-products // PIECE), (b, tables, width, packed), alone)
    return packed


@inner
def fill_panel(table, rows, index, index_at, slots, block, panel):  # type: ignore[no-untyped-def]
    """Expand table rows into panel (slots, rows, block), for the entries index[index_at:].

    rows: of the table, 1, 2, 4 or 8 n.
    """
    for slot in range(slots):
        here, target = index_at + slot * block, slot * rows * block
        for at in range(0, block, TILE):
            # a stride that the compiler knows is a shift
            if rows == 8:
                expand_8(table, 0, 8, index, here + at, panel, target + at, block)
            elif rows == 1:
                expand_1(table, 0, 1, index, here + at, panel, target + at, block)
            elif rows == 2:
                expand_2(table, 0, 2, index, here + at, panel, target + at, block)
            elif rows == 4:
                expand_4(table, 0, 4, index, here + at, panel, target + at, block)
            else:
                for row in range(0, rows, TILE):
                    place = target + row * block + at
                    expand_8(table, row, rows, index, here + at, panel, place, block)
