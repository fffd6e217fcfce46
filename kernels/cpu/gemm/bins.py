"""Style "bins" as one weighted sum an output, where no bin can have left its range.

The result of the style is the sum over bins of constant * bin. If no bin overflowed, ever, that is
the sum over products of constant * term: one accumulator instead of L. Whether none did is known
afterwards: with S the sum of |constant * term| of an output and R its result, the positive parts
of all its terms make (S + R) / 2, the negative ones (S - R) / 2, and what a bin held at any time
is at most the larger of the two divided by the bin's constant, thus by the smallest. Where that is
within W bits for every output of a part the results stand; else the part is computed again with a
column a bin, by `product.gemm_terms`.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.datapath import Accumulator
from ...operands import Codes
from ..ir.add_terms import DOWN, NEAREST
from ..ir.add_weighted import WEIGHTED_VECTORS
from ..ir.emit import SUMS
from ..runtime.inner import inner
from ..runtime.scratch import scratch
from ..runtime.which import (
    add_weighted_floor,
    add_weighted_toward_zero,
    for_each,
    keep_apart,
    set_rounding,
)
from .bounds import PACKED, peaks_of, run_of
from .finish import finish
from .packing import chunk_size, cut, pack_left, pack_right
from .panels import aligned, fill_panel
from .product import Target, gemm_terms
from .spans import runs_of_part
from .tables import TermTable, stride
from .weights import WeightedTable

# A part's sums take 16 MiB, its words and entries 10; a task's sums stay in second-level cache.
PART_ROWS, PART_COLUMNS, PART_PRODUCTS = 2048, 512, 1024
_TASK_ROWS = 512
_SAMPLE = 32  # rows and columns whose sums are guessed before a product is tried
_SAMPLED_PRODUCTS = 2048
_MARGIN = 1.2  # of the largest output over the sample's mean

Int64 = npt.NDArray[np.int64]


@inner
def _tile(words, height, first, rows, index, peaks, tables, start, limit, zeroward, acc, size):  # type: ignore[no-untyped-def]
    """One task: the products of a slab for some rows of a block."""
    keep_apart()  # from `set_rounding`: see vector.py
    table, weights, table_rows, low = tables
    width = acc.size // rows
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
        run = run_of(peaks, k0, k0 + count, limit)
        for u in range(0, count, run):
            here = min(run, count - u)
            if zeroward is None:  # see fast.py
                add_weighted_floor(acc, size, rows, panel, shade, words, at + u, count, low, here)
            else:
                add_weighted_toward_zero(
                    acc, size, rows, panel, shade, words, at + u, count, low, here
                )


@inner
def _run_task(  # type: ignore[no-untyped-def]
    task, words, height, index, left, ceiling, right, tables, start, limit, zeroward, fresh, acc,
    size,
):  # fmt: skip
    """Task number `task` of a slab; acc, size: (blocks, height, width), flat."""
    keep_apart()
    blocks = index.shape[0]
    width = acc.size // (blocks * height)
    block, first = task % blocks, task // blocks * _TASK_ROWS
    last = min(height, first + _TASK_ROWS)
    peaks = peaks_of(left, first, last, ceiling, right[block], 0, right.shape[1])
    begin, end = (block * height + first) * width, (block * height + last) * width
    if fresh:
        acc[begin:end] = 0
        size[begin:end] = 0
    set_rounding(DOWN)
    _tile(
        words, height, first, last - first, index[block], peaks, tables, start, limit, zeroward,
        acc[begin:end], size[begin:end],
    )  # fmt: skip
    set_rounding(NEAREST)


@njit(cache=True, nogil=True)
def _run_tasks(tasks, arguments):  # type: ignore[no-untyped-def]
    """Every task of a slab."""
    for_each(_run_task, tasks, arguments, False)


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
    all_words = scratch("words", height * longest, np.uint32)
    entries = scratch("entries", blocks * width * longest, np.uint16)
    (a_reading, a_runs), (b_reading, b_runs) = a.reading, b.reading
    flat, _, low, padding = terms.read
    coding = terms.words[WEIGHTED_VECTORS], np.uint32(stride(terms, WEIGHTED_VECTORS)), low
    no_reaches = np.empty((0, 0), np.float32)
    tables = flat, table.weights, terms.rows, low
    limit = (2**31 - 1) / table.most
    for k in range(0, products, PART_PRODUCTS):
        here = slice(k, k + PART_PRODUCTS)
        a_at, b_at = a.k_at[here], b.k_at[here]
        a_part = runs_of_part(a_reading, a_runs, k, k + PART_PRODUCTS)
        b_part = runs_of_part(b_reading, b_runs, k, k + PART_PRODUCTS)
        start = cut(a_at.size, 1, chunk_size(2 * terms.rows, WEIGHTED_VECTORS)).start
        words = all_words[: height * a_at.size]
        largest = np.empty((-(-rows // PACKED), a_at.size), a.memory.dtype)
        pack_left(
            a.memory, a.row_at, a_at, a_reading, a_part, terms.masks[0], start, coding, height,
            words, largest, no_reaches, flat, False,
        )  # fmt: skip
        index = entries[: blocks * a_at.size * width].reshape(blocks, a_at.size * width)
        peaks = np.empty((blocks, a_at.size), np.float32)
        pack_right(
            b.memory, b.row_at, b_at, 1, padding, terms.masks[1], terms.ceilings[1], b_reading,
            b_part, width, index, peaks, False,
        )  # fmt: skip
        arguments = (
            words, height, index, largest, terms.ceilings[0], peaks, tables, start, limit,
            zeroward or None, k == 0, acc, size,
        )  # fmt: skip
        _run_tasks(-(-height // _TASK_ROWS) * blocks, arguments)
    if _largest_part(acc, size) > top:
        return False
    scale = 0.0 if target.scale is None else target.scale
    where = target.unit, target.row_at, target.column_at
    result = *where, scale, target.memory
    finish(acc.reshape(blocks, height, width), terms.constants, *result, False)
    return True
