"""One integer product by the fast kernel: slabs of rows, columns and k, packed, run, finished."""

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

from ....lns.datapath import Accumulator
from ...operands import Codes
from ..ir.emit import SUMS, VECTOR_BYTES, VECTORS
from ..ir.moves import TILE
from ..runtime.scratch import scratch
from .bounds import PACKED
from .finish import Target, count_left, finish
from .packing import chunk_size, cut
from .slab import run_slab
from .tables import TermTable
from .tile import Rule

MAX_TASK_ROWS = 1024  # a task's accumulators: at most 256 KiB, second-level cache
# Cost per k, in the time of one product: one entry of an expanded row. Measured on one core of an
# AVX-512 server and one with AVX2.
EXPAND_COST = 4
PART_PRODUCTS = 256  # of a part of k, on the average of a slab, at least
PARTS_BYTES = 20 << 20  # of the state of all parts, at most: as much as the least slab may have
PART_COST = 1.25  # what parts of k must win to be worth that they may be done twice
# What a slab should hold, in bytes: accumulators with their flags, words of a, packed b. They are
# written and read again soon: while they are still in a cache, if that is as little. The least
# slab, 2048 rows by 32 blocks of 4 vectors by 2048 products, holds up to 20, 16 and 8 MiB, which
# a large product makes good, since it reads the words of a row for many columns.
STATE_BYTES, WORDS_BYTES, INDEX_BYTES = 1 << 22, 1 << 22, 1 << 21
LEAST_ROWS, LEAST_BLOCKS, LEAST_PRODUCTS = 2048, 32, 2048
_STATE_PER_VECTOR = VECTOR_BYTES + VECTOR_BYTES // 4  # of a row
_WORD_BYTES = 4

replayed_rows = 0  #: rows of chunks replayed so far in this process, for tests and `bench`
repeated_parts = 0  #: parts of k done again so far, likewise


def expansion_of(terms: TermTable) -> int:
    """Return how many rows of products take as long as the panel they share, per column and k."""
    return EXPAND_COST * max(terms.rows, TILE)


@lru_cache(maxsize=4096)
def cut_tasks(
    rows: int, blocks: int, products: int, threads: int, expansion: int
) -> tuple[int, int]:
    """Return (rows of a task, parts of k), for the least time until the last thread is done.

    expansion: `expansion_of` the table. Parts of k only where they win clearly: they may have to be
    done again (see `tile.run_task`).
    """
    tiles, least = -(-rows // PACKED), -(-rows // MAX_TASK_ROWS)
    best = PACKED, 1
    cost = float("inf")
    for down in range(least, min(tiles, max(least, 4 * threads // blocks + 1)) + 1):
        task_rows = -(-tiles // down) * PACKED
        tasks = -(-rows // task_rows) * blocks
        for parts in range(1, max(1, min(threads, products // PART_PRODUCTS)) + 1):
            rounds = -(-tasks * parts // threads) / parts
            here = rounds * (min(rows, task_rows) + expansion) * (PART_COST if parts > 1 else 1)
            if here < cost:
                best, cost = (task_rows, parts), here
    return best


def gemm_terms(
    a: Codes, b: Codes, terms: TermTable, accumulator: Accumulator, target: Target, alone: bool
) -> int:
    """Write the product of a (M, K) and b (N, K) into `target`; return how many outputs left
    the W-bit range at least once. alone: on one thread."""
    rows, columns = a.row_at.size, b.row_at.size
    if not rows or not columns:
        return 0
    vectors = block_vectors(columns, terms)
    width = vectors * terms.lanes
    wanted = -(-columns * terms.bins // width) * vectors  # of vectors
    least = LEAST_BLOCKS * VECTORS[0]
    if rows <= LEAST_ROWS and wanted <= least and a.k_at.size <= LEAST_PRODUCTS:
        return _slab(a, b, terms, accumulator, target, vectors, LEAST_PRODUCTS, alone)
    products = min(a.k_at.size, _slab_products(rows, wanted))
    most = _slab_vectors(rows, products) // vectors * vectors
    across = max(1, most * terms.lanes // terms.bins)
    down = _slab_rows(min(most, wanted), products)
    overflowed = 0
    for j in range(0, columns, across):
        right = b.rows(slice(j, j + across))
        for i in range(0, rows, down):
            part = target.part(slice(i, i + down), slice(j, j + across))
            left = a.rows(slice(i, i + down))
            longest = max(products, 1024)
            overflowed += _slab(left, right, terms, accumulator, part, vectors, longest, alone)
    return overflowed


@lru_cache(maxsize=4096)
def block_vectors(columns: int, terms: TermTable) -> int:
    """Return the vectors of a block, one of VECTORS, for which the product should cost least."""

    def cost(vectors: int) -> float:
        return padded(columns, terms, vectors) * _cost(_chunk(terms, vectors), vectors)

    return min(VECTORS, key=cost)


def padded(columns: int, terms: TermTable, vectors: int) -> int:
    """Return the virtual columns that whole blocks of so many vectors make of `columns`."""
    width = vectors * terms.lanes
    return -(-columns * terms.bins // width) * width


def _chunk(terms: TermTable, vectors: int) -> int:
    """Products of a chunk: what a panel holds, and what the offset in a word can say."""
    return min(
        chunk_size(terms.rows, vectors), (int(terms.low) + 1) // int(terms.read[vectors].stride)
    )


def _cost(chunk: int, vectors: int) -> float:
    """Loads per vector of terms: itself, a share of a word and its offsets, of the accumulators
    (which come from the second-level cache)."""
    return 1 + 0.375 / vectors + 2 / chunk


def _slab_products(rows: int, vectors: int) -> int:
    """Products of a slab: more than the least where rows and columns are few."""
    words = WORDS_BYTES // (_WORD_BYTES * max(1, min(rows, LEAST_ROWS)))
    index = INDEX_BYTES // (VECTOR_BYTES // 2 * min(vectors, LEAST_BLOCKS * VECTORS[0]))
    return max(LEAST_PRODUCTS, min(words, index))


def _slab_vectors(rows: int, products: int) -> int:
    """Vectors of columns of a slab: more than the least where there are few rows and products."""
    state = STATE_BYTES // (_STATE_PER_VECTOR * min(rows, LEAST_ROWS))
    index = INDEX_BYTES // (VECTOR_BYTES // 2 * max(1, products))
    return max(LEAST_BLOCKS * VECTORS[0], min(state, index))


def _slab_rows(vectors: int, products: int) -> int:
    """Rows of a slab, a multiple of PACKED: more than the least where it is narrow or short."""
    state = STATE_BYTES // (_STATE_PER_VECTOR * vectors)
    most = min(state, WORDS_BYTES // (_WORD_BYTES * max(1, products)))
    return max(LEAST_ROWS, most // PACKED * PACKED)


def _slab(
    a: Codes,
    b: Codes,
    terms: TermTable,
    accumulator: Accumulator,
    target: Target,
    vectors: int,
    slab_products: int,
    alone: bool,
) -> int:
    """`gemm_terms` for some rows and columns: `slab_products` of k at a time, then the result."""
    global replayed_rows, repeated_parts
    rows, columns, products = a.row_at.size, b.row_at.size, a.k_at.size
    zeroward = accumulator.rounding == "toward_zero"
    plan = _plan(
        terms, rows, columns, products, accumulator.lanes, zeroward, vectors, slab_products
    )
    shape, (size, words_size, entries_size) = plan.shape, plan.room
    threads = 1 if alone else numba.get_num_threads()
    task_rows, parts = cut_tasks(rows, shape[0], plan.longest, threads, plan.expansion)
    if parts > 1:
        parts = max(1, min(parts, PARTS_BYTES // (size * (plan.item.itemsize + 1))))
    acc, flags = scratch("sums", parts * size, plan.item), scratch("flags", parts * size, np.uint8)
    words = scratch("words", words_size, np.uint32)
    entries = scratch("entries", entries_size, np.uint16)
    sizes, room = (plan.most, task_rows, parts, shape[2]), (acc, flags, words, entries)
    replayed, again = run_slab(*(tuple(a), tuple(b), *plan.given, sizes, room, alone))
    finish(acc[:size].reshape(shape), terms.constants, tuple(target), alone)
    repeated_parts += again
    if not replayed:
        return 0
    replayed_rows += replayed
    return int(count_left(flags[:size].reshape(shape), rows, columns, terms.bins))


class _Plan(NamedTuple):
    """What a slab's shape and tables decide."""

    shape: tuple[int, int, int]  #: of the sums: blocks, rows up to a multiple of SUMS, width
    room: tuple[int, int, int]  #: sums, words of a, entries of b
    most: int  #: products at a time
    longest: int  #: the most there are at a time
    expansion: int  #: `expansion_of` the tables
    item: np.dtype[Any]  #: of a sum
    given: tuple[Any, ...]  #: arguments of `run_slab`: tables, cuts, rule


@lru_cache(maxsize=1024)
def _plan(
    terms: TermTable,
    rows: int,
    columns: int,
    products: int,
    lanes: int,
    zeroward: bool,
    vectors: int,
    slab_products: int,
) -> _Plan:
    most = slab_products - slab_products % lanes
    chunk = _chunk(terms, vectors)
    full = cut(min(products, most), lanes, chunk)
    rest = products % most or most
    last = cut(rest, lanes, chunk) if products > most else full
    width = vectors * terms.lanes
    blocks, height = -(-columns * terms.bins // width), -(-rows // SUMS) * SUMS
    longest = min(products, most)
    return _Plan(
        (blocks, height, width),
        (blocks * height * width, height * longest, blocks * width * longest),
        most,
        longest,
        expansion_of(terms),
        terms.limits.dtype,
        (
            tuple(terms.read[vectors]),
            (tuple(full), tuple(last)),
            tuple(Rule(zeroward or None, terms.chain, terms.limits)),
        ),
    )
