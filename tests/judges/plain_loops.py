"""What each intrinsic of kernels/cpu/ir does, in plain Python: its judge, see test_ir.py.

Same arguments, same results, one element after the other. Terms are exact fractions, rounded by
themselves, so nothing depends on a rounding mode.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from lnsim.kernels.cpu.ir.elementwise import FRACTION
from lnsim.kernels.cpu.ir.emit import BLOCK, LANES, SIZE, UNITS
from lnsim.kernels.cpu.ir.fma import FMA_STEPS
from lnsim.kernels.cpu.ir.moves import TILE

Array = npt.NDArray[Any]


def for_each(function: Callable[..., None], tasks: int, arguments: Any, _alone: bool) -> None:
    """As `tasks.for_each`, one after the other."""
    for task in range(tasks):
        function(task, *arguments)


def _folded(total: int, rule: Any) -> int:
    """`total` saturated or wrapped."""
    low, high, _, wrap = map(int, rule)
    return (total - low) % (high - low + 1) + low if wrap else min(max(total, low), high)


def fold_terms(acc: Array, acc_at: int, count: int, left_range: Array, rule: Any) -> None:
    """As `step_terms.fold_terms`."""
    for j in range(acc_at, acc_at + count):
        kept = _folded(int(acc[j]), rule)
        left_range[j] |= kept != acc[j]
        acc[j] = kept


def _taken_apart(word: Any, low: Any, item_bytes: int) -> tuple[Fraction, int]:
    """(factor, elements before its row in a panel of such items) of a word."""
    bits, start = int(word) & ~int(low), (int(word) & int(low)) * UNITS[item_bytes] // item_bytes
    if item_bytes == 4:
        return Fraction(np.array(bits, np.uint32).view(np.float32).item()), start
    return Fraction(np.array(bits << 32, np.uint64).view(np.float64).item()), start


def factor_size(words: Array, at: int, acc: Array) -> float:
    """As `add_terms.factor_size`."""
    return abs(float(_taken_apart(words[at], 0, acc.itemsize)[0]))


def _term(factor: Fraction, entry: Any, truncate: bool) -> int:
    """factor * entry as an integer."""
    exact = factor * Fraction(float(entry))
    return math.trunc(exact) if truncate else math.floor(exact)


def _add_terms(
    truncate: bool, sums: Array, width: int, panel: Array, words: Array, words_at: int, step: int,
    low: Any, count: int,
) -> None:  # fmt: skip
    for i in range(sums.size // width):
        for u in range(count):
            word = words[words_at + i * step + u]
            factor, start = _taken_apart(word, low, panel.itemsize)
            for j in range(width):
                sums[i * width + j] += _term(factor, panel[start + j], truncate)


def add_terms_floor(*arguments: Any) -> None:
    """As `add_terms.add_terms_floor`."""
    _add_terms(False, *arguments)


def add_terms_toward_zero(*arguments: Any) -> None:
    """As `add_terms.add_terms_toward_zero`."""
    _add_terms(True, *arguments)


def _step_terms(
    truncate: bool, acc: Array, left_range: Array, chosen: Array, width: int, panel: Array,
    words: Array, words_at: int, step: int, low: Any, count: int, group: int, rule: Any,
) -> None:  # fmt: skip
    for i in np.flatnonzero(chosen):
        block, flags = (x[i * width : (i + 1) * width] for x in (acc, left_range))
        for u in range(0, count, group):
            at, here = words_at + i * step + u, min(group, count - u)
            _add_terms(truncate, block, width, panel, words, at, step, low, here)
            fold_terms(block, 0, width, flags, rule)


def step_terms_floor(*arguments: Any) -> None:
    """As `step_terms.step_terms_floor`."""
    _step_terms(False, *arguments)


def step_terms_toward_zero(*arguments: Any) -> None:
    """As `step_terms.step_terms_toward_zero`."""
    _step_terms(True, *arguments)


def _add_weighted(
    truncate: bool, acc: Array, size: Array, rows: int, panel: Array, weights: Array, words: Array,
    words_at: int, step: int, low: Any, count: int,
) -> None:  # fmt: skip
    width, weight = acc.size // rows, weights.view(np.int32)
    for i in range(rows):
        for u in range(count):
            word = words[words_at + i * step + u]
            factor, start = _taken_apart(word, low, panel.itemsize)
            for j in range(width):
                whole = _term(factor, panel[start + j], truncate) * int(weight[start + j])
                acc[i * width + j] += whole
                size[i * width + j] += abs(whole)


def add_weighted_floor(*arguments: Any) -> None:
    """As `add_weighted.add_weighted_floor`."""
    _add_weighted(False, *arguments)


def add_weighted_toward_zero(*arguments: Any) -> None:
    """As `add_weighted.add_weighted_toward_zero`."""
    _add_weighted(True, *arguments)


def peak(acc: Array, acc_at: int, count: int, zero: int, most: int) -> int:
    """As `add_terms.peak`: max |x| or x's complement, plus 1; of 64 bits from the upper halves."""
    spare = 63 - int(most).bit_length() if acc.itemsize == 8 else 32
    largest = 0
    for value in acc[acc_at : acc_at + count].tolist():
        upper = (value - zero << spare) >> 32
        largest = max(largest, upper, ~upper)
    return (largest + 1 << 32) >> spare


def move(near: Array, far: Array, at: int, count: int, zero: int, fresh: bool) -> None:
    """As `add_terms.move`."""
    for j in range(at, at + count):
        far[j] = int(near[j]) - zero + (0 if fresh else int(far[j]))
        near[j] = zero


def _expand(
    rows: int, table: Array, table_at: int, table_stride: int, index: Array, index_at: int,
    panel: Array, panel_at: int, width: int,
) -> None:  # fmt: skip
    for j in range(TILE):
        start = table_at + int(index[index_at + j]) * table_stride
        for r in range(rows):
            panel[panel_at + r * width + j] = table[start + r]


#: As those of `moves`.
expand_1, expand_2, expand_4, expand_8 = (partial(_expand, rows) for rows in (1, 2, 4, 8))


def read_spans(
    memory: Array, base: int, at: Array, _runs: Array, first: int, out: Array, out_at: int,
    count: int,
) -> None:  # fmt: skip
    """As `moves.read_spans`, which may write beyond what it is asked for."""
    for i in range(count):
        out[out_at + i] = memory[base + at[first + i]]


def largest_code(memory: Array, at: int, mask: Any, count: int) -> int:
    """As `moves.largest_code`."""
    return max(int(code & mask) for code in memory[at : at + count])


def look_up(table: Array, codes: Array, at: int, out: Array, count: int) -> None:
    """As `moves.look_up`."""
    for i in range(at, at + count):
        out[i] = table[codes[i]]


def turn_8(memory: Array, at: int, step: int, out: Array, out_at: int, out_step: int) -> None:
    """As `moves.turn_8`."""
    for i in range(8):
        for u in range(8):
            out[out_at + u * out_step + i] = memory[at + i * step + u]


def spread(
    table: Array, codes: Array, at: int, row_step: int, step: int, out: Array, out_at: int,
    rows: int, count: int, stride: Any,
) -> None:  # fmt: skip
    """As `pack_words.spread`."""
    for i in range(rows):
        for u in range(count):
            word = int(table[codes[at + i * row_step + u * step]]) + u * int(stride)
            out[out_at + i * count + u] = word


def reach(words: Array, at: int, rows: int, count: int, low: Any, table: Array) -> np.float32:
    """As `pack_words.reach`, where the sums are exact."""
    sums = [
        sum(abs(_taken_apart(word, low, table.itemsize)[0]) for word in row)
        for row in words[at : at + rows * count].reshape(rows, count)
    ]
    return np.float32(float(max(sums)))


def put_column(
    acc: Array, at: int, acc_step: int, out: Array, out_at: int, count: int, scale: float
) -> None:
    """As `results.put_column`."""
    for i in range(count):
        value = acc[at + i * acc_step]
        out[out_at + i] = value if out.dtype == np.int64 else np.float64(value) * scale


def put_row(
    acc: Array, at: int, _step: int, out: Array, out_at: int, count: int, scale: float
) -> None:
    """As `results.put_row`."""
    put_column(acc, at, 1, out, out_at, count, scale)


def put_tile(
    acc: Array, at: int, acc_step: int, out: Array, column_at: Array, column: int, row_at: int,
    scale: Any,
) -> None:  # fmt: skip
    """As `results.put_tile`."""
    for i in range(TILE):
        for j in range(TILE):
            value = np.float32(acc[at + i * acc_step + j]) * scale
            out[row_at + column_at[column + j] + i] = value


def _fma_row(
    steps: int, acc: Array, acc_at: int, left: Array, left_at: int, right: Array, right_at: int
) -> None:
    for k in range(steps):
        for j in range(BLOCK):
            factor, other = left[left_at + k], right[right_at + k * BLOCK + j]
            exact = Fraction(float(factor)) * Fraction(float(other))
            total = exact + Fraction(float(acc[acc_at + j]))
            assert Fraction(float(total)) == total, "a test's sum must fit float64"
            acc[acc_at + j] = np.float32(float(total))


def fma_row_many(*arguments: Any) -> None:
    """As `fma.fma_row_many`."""
    _fma_row(FMA_STEPS, *arguments)


def fma_row_one(*arguments: Any) -> None:
    """As `fma.fma_row_one`."""
    _fma_row(1, *arguments)


def encode_strips(
    bits: Array, at: int, fraction: Array, rule: Any, out: Array, count: int, counts: Array
) -> None:
    """As `elementwise.encode_strips`; the counts of all lanes in the first one's."""
    octave_bits, offset, top, low, sign_bit = map(int, rule)
    smallest = counts.view(np.uint32)[3 * LANES :]
    for i in range(at, at + count):
        size = int(bits[i]) & SIZE
        e = ((size >> FRACTION) << octave_bits) - offset
        e += int(np.count_nonzero(fraction < (size & (1 << FRACTION) - 1)))
        kept = size != 0 and (e >= low or low == 0)
        out[i] = (min(max(e, 0), top) | (sign_bit if bits[i] < 0 else 0)) if kept else 0
        counts[0] += size != 0 and e > top
        counts[LANES] += size != 0 and e < low
        counts[2 * LANES] = max(int(counts[2 * LANES]), size)
        smallest[0] = min(int(smallest[0]), (size - 1) & 0xFFFFFFFF)


def shift_one(
    code: Array, at: int, start: Array, rule: Any, out: Array, count: int, counts: Array
) -> None:
    """As `elementwise.shift_one`, or with several starts; counts as in `encode_strips`.

    Rounded to even: Python's round of an exact quotient.
    """
    up, down, source_top, sign_shift, top, low, zero, place = map(int, rule)
    for i in range(at, at + count):
        word = int(code[i])
        stored = word & source_top
        exact = (stored << up) + int(start[i if start.size > 1 else 0])
        kept = round(Fraction(exact, 1 << down))
        gone = stored == 0 and zero != 0
        value = min(max(kept, 0), top) | word >> sign_shift << place
        out[i] = 0 if gone or (kept < low and low != 0) else value
        counts[0] += not gone and kept > top
        counts[LANES] += not gone and kept < low


shift_several = shift_one


def move_strips(
    code: Array, gradient: Array, v: Array, at: int, scalars: Any, exponent_bits: int, count: int,
    counts: Array,
) -> None:  # fmt: skip
    """As `elementwise.move_strips`, in float32; counts as in `encode_strips`."""
    beta2, rest, correction, bound, factor = scalars
    top, span = (1 << exponent_bits) - 1, np.float32(1 << exponent_bits)
    for i in range(at, at + count):
        g = gradient[i]
        moment = beta2 * v[i] + rest * g * g
        v[i] = moment
        root = np.sqrt(moment / correction)
        with np.errstate(divide="ignore"):  # infinity is clamped
            u = np.float32(0) if root == 0 and g == 0 else g / root
        u = min(max(u, -bound), bound)
        steps = int(min(max(np.rint(factor * u), -span), span))
        sign = int(code[i]) >> exponent_bits
        e = (int(code[i]) & top) + (steps if sign else -steps)
        code[i] = min(max(e, 0), top) | sign << exponent_bits
        counts[0] += moment == 0 and g == 0
        counts[LANES] += e > top
        counts[2 * LANES] += e < 0
