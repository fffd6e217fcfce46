"""The intrinsics in plain Numba: for a machine where the intrinsics do not serve.

Same arguments, same results. Nothing depends on the rounding mode: a term is computed in float64,
where factor * row is exact, and rounded by itself.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from .emit import UNITS
from .moves import TILE

_UNIT, _WIDE_UNIT = UNITS[4], UNITS[8]


@njit(cache=True, nogil=True)
def set_rounding(mode):  # type: ignore[no-untyped-def]
    """Do nothing: no operation here depends on the mode."""


@njit(cache=True, nogil=True)
def keep_apart():  # type: ignore[no-untyped-def]
    """Do nothing: see `set_rounding`."""


@njit(inline="always")
def for_each(function, tasks, arguments, _alone):  # type: ignore[no-untyped-def]
    """As `tasks.for_each`, one after the other."""
    for task in range(tasks):
        function(np.int64(task), *arguments)


@njit(cache=True, nogil=True)
def fold_terms(acc, acc_at, count, left_range, rule):  # type: ignore[no-untyped-def]
    """As `folding.fold_terms`."""
    low, high, _, wrap = rule
    span = np.int64(high) - np.int64(low) + 1
    for j in range(acc_at, acc_at + count):
        total = np.int64(acc[j])
        kept = ((total - low) & (span - 1)) + low if wrap else min(max(total, low), high)
        left_range[j] |= np.uint8(kept != total)
        acc[j] = kept


@njit(cache=True, nogil=True)
def _taken_apart(word, low, bits, itemsize):  # type: ignore[no-untyped-def]
    """(factor, where its row starts in a panel of `itemsize`) of a word; bits: a uint64 of room."""
    bits[0] = np.uint64(word & ~low)
    if itemsize == 4:
        return np.float64(bits.view(np.float32)[0]), np.int64(word & low) * _UNIT // 4
    bits[0] <<= np.uint64(32)
    return bits.view(np.float64)[0], np.int64(word & low) * _WIDE_UNIT // 8


@njit(cache=True, nogil=True)
def factor_size(words, at, acc):  # type: ignore[no-untyped-def]
    """As `vector.factor_size`."""
    value, _ = _taken_apart(words[at], np.uint32(0), np.empty(1, np.uint64), acc.itemsize)
    return abs(value)


@njit(cache=True, nogil=True)
def _rounded(term, truncate):  # type: ignore[no-untyped-def]
    """A term as an integer."""
    return np.int64(term if truncate else math.floor(term))


def _make_terms(truncate: bool) -> Any:
    @njit(cache=True, nogil=True)
    def add_terms(  # type: ignore[no-untyped-def]
        sums, width, panel, words, words_at, step, low, count
    ):
        """As `vector.add_terms_floor` or `add_terms_toward_zero`."""
        bits = np.empty(1, np.uint64)
        for i in range(sums.size // width):
            for u in range(count):
                word = words[words_at + i * step + u]
                value, start = _taken_apart(word, low, bits, panel.itemsize)
                for j in range(width):
                    term = value * np.float64(panel[start + j])
                    sums[i * width + j] += _rounded(term, truncate)

    @njit(cache=True, nogil=True)
    def step_terms(  # type: ignore[no-untyped-def]
        acc, left_range, chosen, width, panel, words, words_at, step, low, count, group, rule,
    ):  # fmt: skip
        """As `folding.step_terms_floor` or `step_terms_toward_zero`."""
        for i in range(chosen.size):
            block = acc[i * width : (i + 1) * width]
            flags = left_range[i * width : (i + 1) * width]
            for u in range(0, count if chosen[i] else 0, group):
                here, at = min(group, count - u), words_at + i * step + u
                add_terms(block, width, panel, words, at, step, low, here)
                fold_terms(block, 0, width, flags, rule)

    return add_terms, step_terms


add_terms_floor, step_terms_floor = _make_terms(truncate=False)
add_terms_toward_zero, step_terms_toward_zero = _make_terms(truncate=True)


def _make_weighted(truncate: bool) -> Any:
    @njit(cache=True, nogil=True)
    def add_weighted(  # type: ignore[no-untyped-def]
        acc, size, rows, panel, weights, words, words_at, step, low, count
    ):
        """As `weighted.add_weighted_floor` or `add_weighted_toward_zero`."""
        width = acc.size // rows
        bits, weight = np.empty(1, np.uint64), weights.view(np.int32)
        for i in range(rows):
            for u in range(count):
                word = words[words_at + i * step + u]
                value, start = _taken_apart(word, low, bits, panel.itemsize)
                for j in range(width):
                    term = value * np.float64(panel[start + j])
                    whole = _rounded(term, truncate) * weight[start + j]
                    acc[i * width + j] += whole
                    size[i * width + j] += abs(whole)

    return add_weighted


add_weighted_floor, add_weighted_toward_zero = _make_weighted(False), _make_weighted(True)


@njit(cache=True, nogil=True)
def peak(acc, acc_at, count, zero, _most):  # type: ignore[no-untyped-def]
    """As `vector.peak`."""
    most = np.int64(0)
    for j in range(acc_at, acc_at + count):
        value = np.int64(acc[j]) - zero
        most = max(most, value ^ (value >> 63))
    return most + 1


@njit(cache=True, nogil=True)
def move(near, far, at, count, zero, fresh):  # type: ignore[no-untyped-def]
    """As `vector.move`."""
    for j in range(at, at + count):
        far[j] = near[j] - zero if fresh else far[j] + near[j] - zero
        near[j] = zero


def _make_expand(rows: int) -> Any:
    @njit(cache=True, nogil=True)
    def expand(table, table_at, table_stride, index, index_at, panel, panel_at, width):  # type: ignore[no-untyped-def]
        """As `moves.expand_R`."""
        for j in range(TILE):
            start = table_at + np.int64(index[index_at + j]) * table_stride
            for r in range(rows):
                panel[panel_at + r * width + j] = table[start + r]

    return expand


expand_1, expand_2, expand_4, expand_8 = (_make_expand(rows) for rows in (1, 2, 4, 8))


@njit(cache=True, nogil=True)
def read_spans(memory, base, at, _runs, first, out, out_at, count):  # type: ignore[no-untyped-def]
    """As `moves.read_spans`, one by one."""
    for i in range(count):
        out[out_at + i] = memory[base + at[first + i]]


@njit(cache=True, nogil=True)
def largest_code(memory, at, mask, count):  # type: ignore[no-untyped-def]
    """As `moves.largest_code`."""
    most = memory[at] & mask
    for i in range(1, count):
        most = max(most, memory[at + i] & mask)
    return most


@njit(cache=True, nogil=True)
def look_up(table, codes, at, out, count):  # type: ignore[no-untyped-def]
    """As `moves.look_up`."""
    for i in range(at, at + count):
        out[i] = table[codes[i]]


@njit(cache=True, nogil=True)
def spread(table, codes, at, row_step, step, out, out_at, rows, count, stride):  # type: ignore[no-untyped-def]
    """As `moves.spread`."""
    for i in range(rows):
        for u in range(count):
            out[out_at + i * count + u] = (
                table[codes[at + i * row_step + u * step]] + np.uint32(u) * stride
            )


@njit(cache=True, nogil=True)
def reach(words, at, rows, count, low, table):  # type: ignore[no-untyped-def]
    """As `spread.reach`."""
    bits, most = np.empty(1, np.uint64), 0.0
    for i in range(rows):
        total = 0.0
        for u in range(at + i * count, at + (i + 1) * count):
            total += abs(_taken_apart(words[u], low, bits, table.itemsize)[0])
        most = max(most, total)
    return np.float32(most)


@njit(cache=True, nogil=True)
def turn_8(memory, at, step, out, out_at, out_step):  # type: ignore[no-untyped-def]
    """As `moves.turn_8`."""
    for i in range(8):
        for u in range(8):
            out[out_at + u * out_step + i] = memory[at + i * step + u]


@njit(cache=True, nogil=True)
def put_column(acc, at, acc_step, out, out_at, count, scale):  # type: ignore[no-untyped-def]
    """As `results.put_column`."""
    for i in range(count):
        value = acc[at + i * acc_step]
        out[out_at + i] = value if scale == 0 else np.float64(value) * scale


@njit(cache=True, nogil=True)
def put_row(acc, at, _acc_step, out, out_at, count, scale):  # type: ignore[no-untyped-def]
    """As `results.put_row`."""
    put_column(acc, at, 1, out, out_at, count, scale)


@njit(cache=True, nogil=True)
def put_tile(acc, at, acc_step, out, column_at, column, row_at, scale):  # type: ignore[no-untyped-def]
    """As `results.put_tile`."""
    for i in range(TILE):
        for j in range(TILE):
            value = np.float32(acc[at + i * acc_step + j]) * scale
            out[row_at + column_at[column + j] + i] = value
