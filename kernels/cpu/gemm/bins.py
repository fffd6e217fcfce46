"""Style "bins" as one weighted sum an output, where no bin can have left its range.

The result of the style is the sum over bins of constant * bin. If no bin overflowed, ever, that is
the sum over products of constant * term: one accumulator instead of L. Whether none did is known
afterwards: with S the sum of |constant * term| of an output and R its result, the positive parts
of all its terms make (S + R) / 2, the negative ones (S - R) / 2, and what a bin held at any time
is at most the larger of the two divided by the bin's constant, thus by the smallest. Where that is
within W bits for every output of a part the results stand; else the part is computed again with a
column a bin, by `product.gemm_terms`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.datapath import Accumulator, Datapath
from ....lns.format import LNSFormat
from ...operands import Codes
from ..ir.add_terms import DOWN, NEAREST, keep_apart, set_rounding
from ..ir.add_weighted import (
    WEIGHTED_VECTORS,
    add_weighted_floor,
    add_weighted_toward_zero,
)
from ..ir.emit import SUMS, VECTOR_BYTES
from ..ir.tasks import for_each
from ..runtime.inner import inner
from ..runtime.scratch import aligned, scratch
from .bounds import peaks_of, run_of
from .finish import Target, finish
from .packing import chunk_size, cut, fill_panel, pack, part_of
from .product import gemm_terms
from .tables import (
    MAX_ENTRIES,
    MAX_ROWS,
    Tables,
    TermTable,
    assembled,
    lane_type,
    lns_operand,
    lns_terms,
)

# A part's sums take 16 MiB, its words and entries 10; a task's sums stay in second-level cache.
PART_ROWS, PART_COLUMNS, PART_PRODUCTS = 2048, 512, 1024
_TASK_ROWS = 512
_SAMPLE = 32  # rows and columns whose sums are guessed before a product is tried
_SAMPLED_PRODUCTS = 2048
_MARGIN = 1.2  # of the largest output over the sample's mean


@dataclass(frozen=True, slots=True, eq=False)
class WeightedTable:
    """What this kernel reads for one datapath and pair of formats."""

    terms: TermTable  #: of the terms themselves, whatever their bin
    weights: npt.NDArray[np.float32]  #: 1-D, int32 constant of every entry's bin, by its bits
    least: int  #: smallest constant
    most: int  #: largest constant


@lru_cache(maxsize=64)
def weighted_table(datapath: Datapath, a: LNSFormat, b: LNSFormat) -> WeightedTable | None:
    """Return the tables for style "bins"; None where a weighted term does not fit 32 bits."""
    mac, rows = datapath.resolve(a, b), min(a.gamma, 1 << a.exponent_bits)
    if max(a.bits, b.bits) > 16 or rows > MAX_ROWS or rows << b.bits > MAX_ENTRIES:
        return None
    term_bits, most = mac.product_bits - mac.shift, max(mac.constants)
    if lane_type(datapath.accumulator, term_bits, 0, False) is not np.float32:
        return None
    if term_bits + most.bit_length() > 30:
        return None
    terms = lns_terms(mac, a, b, False)
    made = assembled(datapath, (a, b), terms, (1,), np.float32)
    if made is None:
        return None
    left, right = (
        np.unique(lns_operand(fmt, ratio, mac.gamma).remainder, return_inverse=True)
        for fmt, ratio in ((a, mac.ratio_a), (b, mac.ratio_b))
    )
    rest = (left[0] + right[0][right[1]][:, None]) % mac.gamma
    weights = np.zeros(made.table.shape, np.int32)
    own = np.array(mac.constants)[rest // (mac.gamma // mac.entries)]
    weights[: own.shape[0], : own.shape[1]] = own
    flat = weights.reshape(-1).view(np.float32)
    return WeightedTable(made, flat, min(mac.constants), most)


class _Weighing(NamedTuple):
    """How terms are rounded and weighted."""

    weights: Any  #: see `WeightedTable`
    limit: float  #: what the sums of a call may reach
    zeroward: bool | None  #: see `tile.Rule`


class _Sums(NamedTuple):
    """int64 (blocks, height, width), flat, or of one task."""

    acc: Any  #: weight * term
    size: Any  #: its magnitudes


@inner
def _tile(first, rows, packed, index, peaks, tables, start, weighing, zeroward, sums):  # type: ignore[no-untyped-def]
    """One task: the products of a slab for `rows` rows of a block, whose entries `index` has."""
    keep_apart()  # from `set_rounding`: see add_terms.py
    table, table_rows, low, weights = tables.table, tables.rows, tables.low, weighing.weights
    words, (acc, size) = packed.words, sums
    height, width = words.size // start[-1], acc.size // rows
    longest = 0
    for c in range(start.size - 1):
        longest = max(longest, start[c + 1] - start[c])
    panel = aligned(longest * table_rows * width, table)
    shade = aligned(longest * table_rows * width, weights)
    for c in range(start.size - 1):
        k0, count = start[c], start[c + 1] - start[c]
        at = k0 * height + first * count
        fill_panel(table, table_rows, index, k0 * width, count, width, panel)
        fill_panel(weights, table_rows, index, k0 * width, count, width, shade)
        run = run_of(peaks, k0, k0 + count, weighing.limit)
        for u in range(0, count, run):
            here = min(run, count - u)
            if zeroward is None:  # see tile.py
                add_weighted_floor(acc, size, rows, panel, shade, words, at + u, count, low, here)
            else:
                add_weighted_toward_zero(
                    acc, size, rows, panel, shade, words, at + u, count, low, here
                )


@inner
def _run_task(task, fresh, packed, tables, start, weighing, sums):  # type: ignore[no-untyped-def]
    """Task number `task` of a slab. packed, tables, weighing, sums: a `Packed`, `Tables`,
    `_Weighing` and `_Sums`; fresh: the sums start here."""
    keep_apart()
    acc, size = sums
    blocks, products = packed.entries.shape
    width, height = packed.index.shape[1] // products, packed.words.size // products
    block, first = task % blocks, task // blocks * _TASK_ROWS
    last = min(height, first + _TASK_ROWS)
    peaks = peaks_of(packed, tables, block, first, last, 0, products)
    begin, end = (block * height + first) * width, (block * height + last) * width
    if fresh:
        acc[begin:end] = 0
        size[begin:end] = 0
    set_rounding(DOWN)
    _tile(
        first, last - first, packed, packed.index[block], peaks, tables, start, weighing,
        weighing.zeroward, _Sums(acc[begin:end], size[begin:end]),
    )  # fmt: skip
    set_rounding(NEAREST)


@njit(cache=True, nogil=True)
def _run_part(a, b, tables, start, weighing, sums, room, first):  # type: ignore[no-untyped-def]
    """Products first.. of both operands, as many as `start` cuts: pack them, run every task.

    Tuples without names, as in `slab.run_slab`, where room is (words of a, entries of b).
    """
    a, b, tables = Codes(*a), Codes(*b), Tables(*tables)
    weighing, sums = _Weighing(*weighing), _Sums(*sums)
    last, width = first + start[-1], WEIGHTED_VECTORS * (VECTOR_BYTES // tables.table.itemsize)
    height, blocks = -(-a.row_at.size // SUMS) * SUMS, -(-b.row_at.size // width)
    a, b = part_of(a, first, last), part_of(b, first, last)
    packed = pack(a, b, tables, start, 0, height, width, room, False)
    arguments = first == 0, packed, tables, start, weighing, sums
    for_each(_run_task, -(-height // _TASK_ROWS) * blocks, arguments, False)


@njit(cache=True, nogil=True, parallel=True)
def _largest_part(acc, size):  # type: ignore[no-untyped-def]
    """The largest (size + |acc|) / 2: the positive or the negative part of an output."""
    tasks = -(-acc.size // 4096)
    most = np.zeros(tasks, np.int64)
    for task in prange(tasks):
        here = np.int64(0)
        for i in range(task * 4096, min(acc.size, (task + 1) * 4096)):
            here = max(here, size[i] + abs(acc[i]))
        most[task] = here
    return most.max() // 2


def gemm_bins(
    a: Codes,
    b: Codes,
    table: WeightedTable,
    bins: TermTable,
    accumulator: Accumulator,
    target: Target,
) -> int:
    """`product.gemm_terms` of style "bins"; bins: the table with a column a bin."""
    rows, columns = a.row_at.size, b.row_at.size
    if not rows or not columns:
        return 0
    top = int(table.terms.limits[1]) * table.least
    if _guess(a, b, table) > top:
        return gemm_terms(a, b, bins, accumulator, target, False)
    overflowed = 0
    for j in range(0, columns, PART_COLUMNS):
        right = b.rows(slice(j, j + PART_COLUMNS))
        for i in range(0, rows, PART_ROWS):
            left = a.rows(slice(i, i + PART_ROWS))
            part = target.part(slice(i, i + PART_ROWS), slice(j, j + PART_COLUMNS))
            if not _part(left, right, table, accumulator.rounding == "toward_zero", top, part):
                overflowed += gemm_terms(left, right, bins, accumulator, part, False)
    return overflowed


def _guess(a: Codes, b: Codes, table: WeightedTable) -> float:
    """What the largest output's positive part should be, from a sample of rows and columns."""
    terms = table.terms
    factors = np.abs((terms.words[1] & ~terms.low).view(np.float32))
    entries = np.abs(terms.table[:, 0])
    skip, means = max(1, a.k_at.size // _SAMPLED_PRODUCTS), []
    for codes, size in ((a, factors), (b, entries)):
        chosen = codes.row_at[:: -(-codes.row_at.size // _SAMPLE)]
        means.append(size[codes.memory[chosen[:, None] + codes.k_at[::skip]]].mean(axis=0))
    terms_sum = float(means[0] @ means[1]) * skip + 0.5 * a.k_at.size
    return _MARGIN * terms_sum / 2 * (table.least + table.most) / 2


def _part(
    a: Codes, b: Codes, table: WeightedTable, zeroward: bool, top: int, target: Target
) -> bool:
    """Write the product of some rows and columns, unless a bin may have left its range."""
    terms = table.terms
    rows, columns, products = a.row_at.size, b.row_at.size, a.k_at.size
    width = WEIGHTED_VECTORS * terms.lanes
    height, blocks = -(-rows // SUMS) * SUMS, -(-columns // width)
    acc, size = (scratch(name, blocks * height * width, np.int64) for name in ("sums", "sizes"))
    if not products:
        acc[:], size[:] = 0, 0
    longest = min(products, PART_PRODUCTS)
    words = scratch("words", height * longest, np.uint32)
    entries = scratch("entries", blocks * width * longest, np.uint16)
    weighing = table.weights, (2**31 - 1) / table.most, zeroward or None
    given = tuple(a), tuple(b), tuple(terms.read[WEIGHTED_VECTORS])
    for k in range(0, products, PART_PRODUCTS):
        count = min(PART_PRODUCTS, products - k)
        start = cut(count, 1, chunk_size(2 * terms.rows, WEIGHTED_VECTORS)).start
        _run_part(*(*given, start, weighing, (acc, size), (words, entries), k))
    if _largest_part(acc, size) > top:
        return False
    finish(acc.reshape(blocks, height, width), terms.constants, tuple(target), False)
    return True
