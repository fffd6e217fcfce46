"""The functions of `vector.py` in plain Numba: for a machine where the intrinsics do not serve.

Same arguments, same results. Nothing depends on the rounding mode: a term is computed in float64,
where factor * row is exact, and rounded by itself.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from .emit import BLOCK_BYTES
from .moves import TILE


@njit(cache=True, nogil=True)
def set_rounding(mode):  # type: ignore[no-untyped-def]
    """Do nothing: no operation here depends on the mode."""


@njit(cache=True, nogil=True)
def keep_apart():  # type: ignore[no-untyped-def]
    """Do nothing: see `set_rounding`."""


@njit(cache=True, nogil=True)
def add_terms_floor(  # type: ignore[no-untyped-def]
    acc, skip, panel, panel_at, stride, words, words_at, step, factor, row, count
):
    """As `vector.add_terms_floor`."""
    block = BLOCK_BYTES // panel.itemsize
    for i in range(skip.size):
        for u in range(0 if skip[i] else count):
            code = words[words_at + i + u * step]
            value, start = np.float64(factor[code]), panel_at + u * stride + np.int64(row[code])
            for j in range(block):
                term = value * np.float64(panel[start + j])
                acc[i * block + j] += np.int64(math.floor(term))


@njit(cache=True, nogil=True)
def add_terms_toward_zero(  # type: ignore[no-untyped-def]
    acc, skip, panel, panel_at, stride, words, words_at, step, factor, row, count
):
    """As `vector.add_terms_toward_zero`."""
    block = BLOCK_BYTES // panel.itemsize
    for i in range(skip.size):
        for u in range(0 if skip[i] else count):
            code = words[words_at + i + u * step]
            value, start = np.float64(factor[code]), panel_at + u * stride + np.int64(row[code])
            for j in range(block):
                term = value * np.float64(panel[start + j])
                acc[i * block + j] += np.int64(term)


@njit(cache=True, nogil=True)
def fold_terms(acc, acc_at, group, left_range, rule):  # type: ignore[no-untyped-def]
    """As `vector.fold_terms`."""
    low, high, _, wrap = rule
    span = np.int64(high) - np.int64(low) + 1
    for j in range(BLOCK_BYTES // acc.itemsize):
        total = np.int64(acc[acc_at + j]) + np.int64(group[j])
        kept = ((total - low) & (span - 1)) + low if wrap else min(max(total, low), high)
        left_range[acc_at + j] |= np.uint8(kept != total)
        acc[acc_at + j] = kept


@njit(cache=True, nogil=True)
def step_terms_floor(  # type: ignore[no-untyped-def]
    acc, left_range, chosen, panel, stride, words, words_at, step, factor, row, count, rule
):
    """As `vector.step_terms_floor`."""
    block = BLOCK_BYTES // acc.itemsize
    only, term = np.zeros(1, np.uint8), np.empty(block, acc.dtype)
    for i in range(chosen.size):
        for u in range(count if chosen[i] else 0):
            term[:] = 0
            add_terms_floor(
                term,
                only,
                panel,
                u * stride,
                stride,
                words,
                words_at + i + u * step,
                step,
                factor,
                row,
                1,
            )
            fold_terms(acc, i * block, term, left_range, rule)


@njit(cache=True, nogil=True)
def step_terms_toward_zero(  # type: ignore[no-untyped-def]
    acc, left_range, chosen, panel, stride, words, words_at, step, factor, row, count, rule
):
    """As `vector.step_terms_toward_zero`."""
    block = BLOCK_BYTES // acc.itemsize
    only, term = np.zeros(1, np.uint8), np.empty(block, acc.dtype)
    for i in range(chosen.size):
        for u in range(count if chosen[i] else 0):
            term[:] = 0
            add_terms_toward_zero(
                term,
                only,
                panel,
                u * stride,
                stride,
                words,
                words_at + i + u * step,
                step,
                factor,
                row,
                1,
            )
            fold_terms(acc, i * block, term, left_range, rule)


@njit(cache=True, nogil=True)
def peak(acc, acc_at, rows):  # type: ignore[no-untyped-def]
    """As `vector.peak`."""
    most = np.int64(0)
    for j in range(acc_at, acc_at + rows * (BLOCK_BYTES // acc.itemsize)):
        value = np.int64(acc[j])
        most = max(most, value ^ (value >> 63))
    return most


def _make_expand(rows: int) -> Any:
    @njit(cache=True, nogil=True)
    def expand(table, table_at, table_stride, index, index_at, panel, panel_at):  # type: ignore[no-untyped-def]
        """As `vector.expand_R`."""
        for j in range(TILE):
            start = table_at + np.int64(index[index_at + j]) * table_stride
            for r in range(rows):
                panel[panel_at + r * (BLOCK_BYTES // panel.itemsize) + j] = table[start + r]

    return expand


expand_1, expand_2, expand_4, expand_8 = (_make_expand(rows) for rows in (1, 2, 4, 8))


@njit(cache=True, nogil=True)
def read_1(memory, base, offsets, offsets_at, out, out_at, count):  # type: ignore[no-untyped-def]
    """As `vector.read_P`, for any P."""
    for i in range(count):
        out[out_at + i] = memory[base + offsets[offsets_at + i]]


read_4 = read_8 = read_16 = read_32 = read_1


@njit(cache=True, nogil=True)
def largest_code(memory, at, mask, count):  # type: ignore[no-untyped-def]
    """As `vector.largest_code`."""
    most = memory[at] & mask
    for i in range(1, count):
        most = max(most, memory[at + i] & mask)
    return most


@njit(cache=True, nogil=True)
def look_up(table, codes, at, out, count):  # type: ignore[no-untyped-def]
    """As `moves.look_up`."""
    for i in range(at, at + count):
        out[i] = table[codes[i]]


def _make_turn(size: int) -> Any:
    @njit(cache=True, nogil=True)
    def turn(memory, base, offsets, offsets_at, out, out_at, out_step):  # type: ignore[no-untyped-def]
        """As `vector.turn_T`."""
        for i in range(size):
            for u in range(size):
                out[out_at + u * out_step + i] = memory[base + offsets[offsets_at + i] + u]

    return turn


turn_8, turn_16 = _make_turn(8), _make_turn(16)


@njit(cache=True, nogil=True)
def put_column(acc, at, acc_step, out, out_at, count, scale):  # type: ignore[no-untyped-def]
    """As `moves.put_column`."""
    for i in range(count):
        value = acc[at + i * acc_step]
        out[out_at + i] = value if scale == 0 else np.float64(value) * scale


@njit(cache=True, nogil=True)
def put_row(acc, at, _acc_step, out, out_at, count, scale):  # type: ignore[no-untyped-def]
    """As `moves.put_row`."""
    put_column(acc, at, 1, out, out_at, count, scale)
