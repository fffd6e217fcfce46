"""The integer GEMM on 64-bit lanes: any accumulator up to 62 bits, any gamma, both styles.

Straightforward and complete; `tile.py` takes over where its tables fit. Operands arrive taken
apart: a logarithmic one as int32 words `e << 1 | sign` (-1 for zero), the others as a signed
significand and an exponent.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.datapath import Accumulator, LNSMac
from ..ir.emit import BLOCK
from ..runtime.inner import inner


class Rule(NamedTuple):
    """What an accumulator does, as the kernels here take it."""

    bits: int
    wrap: bool  #: else it saturates
    toward_zero: bool  #: terms are rounded so; else floored
    lanes: int  #: products of a group

    @classmethod
    def of(cls, accumulator: Accumulator) -> "Rule":
        """The rule of an accumulator."""
        wrap, zeroward = accumulator.overflow == "wrap", accumulator.rounding == "toward_zero"
        return cls(accumulator.bits, wrap, zeroward, accumulator.lanes)


@njit(cache=True, nogil=True, inline="always")
def aligned(magnitude, places, negative, toward_zero):  # type: ignore[no-untyped-def]
    """int64 +-magnitude * 2^places, rounded by floor or toward zero; magnitude 0 gives 0."""
    left = min(max(places, 0), 62)
    right = min(max(-places, 0), 63)
    if toward_zero:
        shifted = (magnitude << left) >> right
        return -shifted if negative else shifted
    return ((-magnitude if negative else magnitude) << left) >> right


@njit(cache=True, nogil=True, inline="always")
def folded(total, bits, wrap):  # type: ignore[no-untyped-def]
    """int64 `total` brought into `bits`-bit two's complement by wrapping or saturating."""
    half = np.int64(1) << (bits - 1)
    if wrap:
        return ((total + half) & (2 * half - 1)) - half
    return min(max(total, -half), half - 1)


@inner
def fold_block(acc, group, left_range, bits, wrap):  # type: ignore[no-untyped-def]
    """acc <- saturate or wrap(acc + group) over a block; mark columns that left the range.

    acc: int32 or int64, group: int64, left_range: uint8, all (BLOCK,).
    """
    for j in range(BLOCK):
        total = np.int64(acc[j]) + group[j]
        kept = folded(total, bits, wrap)
        left_range[j] |= np.uint8(total != kept)
        acc[j] = kept


@inner
def _add_log_terms(group, word, words, mantissa, octave_bits, shift, toward_zero):  # type: ignore[no-untyped-def]
    """group[j] += the term of `word` times words[j]."""
    mask = (1 << octave_bits) - 1
    exponent, sign = np.int64(word >> 1), word & 1
    for j in range(words.size):
        other = words[j]
        p = exponent + np.int64(other >> 1)
        term = aligned(
            mantissa[p & mask], (p >> octave_bits) - shift, (other & 1) != sign, toward_zero
        )
        group[j] += term if other >= 0 else np.int64(0)


@inner
def _bins_of_output(a, b, mantissa, octave_bits, run_bits, shift, rule, bins, group):  # type: ignore[no-untyped-def]
    """One output of style "bins"; a, b: (K,) words. Fills bins (L,); True if one left its range.

    A group is walked twice: its terms are summed by bin, then each bin it touched is folded once
    (a second visit finds an empty sum, which changes nothing).
    """
    bits, wrap, toward_zero, lanes = rule
    mask = (1 << octave_bits) - 1
    bins[:] = 0
    left_range = False
    for first in range(0, a.size, lanes):
        last = min(a.size, first + lanes)
        for k in range(first, last):
            if a[k] >= 0 and b[k] >= 0:
                p = np.int64(a[k] >> 1) + np.int64(b[k] >> 1)
                rest, places = p & mask, (p >> octave_bits) - shift
                negative = (a[k] ^ b[k]) & 1 != 0
                group[rest >> run_bits] += aligned(mantissa[rest], places, negative, toward_zero)
        for k in range(first, last):
            if a[k] >= 0 and b[k] >= 0:
                p = np.int64(a[k] >> 1) + np.int64(b[k] >> 1)
                m = (p & mask) >> run_bits
                total = bins[m] + group[m]
                bins[m] = folded(total, bits, wrap)
                left_range |= total != bins[m]
                group[m] = 0
    return left_range


@njit(cache=True, nogil=True, parallel=True)
def _log_bins(a, b_columns, mantissa, constants, octave_bits, run_bits, shift, rule, out):  # type: ignore[no-untyped-def]
    """Style "bins": a (M, K), b_columns (N, K) int32 words; returns each row's overflow count."""
    counts = np.zeros(a.shape[0], np.int64)
    for i in prange(a.shape[0]):
        bins, group = np.zeros(constants.size, np.int64), np.zeros(constants.size, np.int64)
        for j in range(b_columns.shape[0]):
            counts[i] += _bins_of_output(
                a[i], b_columns[j], mantissa, octave_bits, run_bits, shift, rule, bins, group
            )
            out[i, j] = (bins * constants).sum()
    return counts


@inner
def _add_fixed_terms(group, factor, factor_places, columns, places, toward_zero):  # type: ignore[no-untyped-def]
    """group[j] += factor * columns[j] * 2^(factor_places + places[j]), aligned."""
    for j in range(columns.size):
        product = factor * np.int64(columns[j])
        group[j] += aligned(
            abs(product), factor_places + np.int64(places[j]), product < 0, toward_zero
        )


@njit(cache=True, nogil=True, parallel=True)
def _direct(a, a_places, b, b_places, mantissa, octave_bits, shift, rule, out):  # type: ignore[no-untyped-def]
    """One accumulator an output; returns each task's overflow count.

    a (M, K), b (K, N): int32 words, and no places; or signed significands (int32) times 2^places
    (int32), whose exact products are aligned and summed; then the mantissa is not read.
    """
    bits, wrap, toward_zero, lanes = rule
    rows, products = a.shape
    blocks = -(-b.shape[1] // BLOCK)
    counts = np.zeros(rows * blocks, np.int64)
    for task in prange(rows * blocks):
        i, start = task // blocks, task % blocks * BLOCK
        width = min(BLOCK, b.shape[1] - start)
        columns = slice(start, start + width)
        acc, group = np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.int64)
        left_range = np.zeros(BLOCK, np.uint8)
        for first in range(0, products, lanes):
            group[:] = 0
            for k in range(first, min(products, first + lanes)):
                if a_places is None:  # then the other branch is not compiled
                    if a[i, k] >= 0:
                        _add_log_terms(
                            group, a[i, k], b[k, columns], mantissa, octave_bits, shift, toward_zero
                        )
                else:
                    factor, places = np.int64(a[i, k]), np.int64(a_places[i, k]) - shift
                    _add_fixed_terms(
                        group, factor, places, b[k, columns], b_places[k, columns], toward_zero
                    )
            fold_block(acc, group, left_range, bits, wrap)
        out[i, start : start + width] = acc[:width]
        counts[task] = left_range.sum()
    return counts


def gemm_log(
    a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], mac: LNSMac, accumulator: Accumulator
) -> tuple[npt.NDArray[np.int64], int]:
    """Return (int64 (M, N), overflow count) of words a (M, K) and b (K, N); see the module."""
    out = np.zeros((a.shape[0], b.shape[1]), np.int64)
    mantissa = np.array(mac.mantissa, np.int64)
    octave_bits = mac.gamma.bit_length() - 1
    rule = Rule.of(accumulator)
    if accumulator.style == "direct":
        counts = _direct(a, None, b, None, mantissa, octave_bits, mac.shift, rule, out)
        return out, int(counts.sum())
    columns = np.ascontiguousarray(b.T)
    constants = np.array(mac.constants, np.int64)
    run_bits = octave_bits - (mac.entries.bit_length() - 1)
    counts = _log_bins(a, columns, mantissa, constants, octave_bits, run_bits, mac.shift, rule, out)
    return out, int(counts.sum())


def gemm_fixed(
    a: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    b: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    shift: int,
    accumulator: Accumulator,
) -> tuple[npt.NDArray[np.int64], int]:
    """Return (int64 (M, N), overflow count) of (significand, exponent) operands."""
    out = np.zeros((a[0].shape[0], b[0].shape[1]), np.int64)
    counts = _direct(*a, *b, np.zeros(1, np.int64), 0, shift, Rule.of(accumulator), out)
    return out, int(counts.sum())
