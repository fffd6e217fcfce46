"""Encoders: float32 or float64 to codes by integers alone, in parallel over elements.

All three read the float64 bits of an element (float32 widens exactly), so no logarithm and no
float rounding is involved. x is 1-D; an offset array (int64) holds one element or one per element
of x. The encoders fill `out` and return per task: saturated, underflowed, non-finite elements.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.thresholds import thresholds
from ..runtime.inner import inner

CHUNK = 1 << 12  # elements per task
_MANTISSA = 52  # stored significand bits of a float64
_INFINITE = 2047  # its exponent field for infinities and NaNs
_SMALLEST_NORMAL = 2.0**-1022
_LIFT_BITS = 54
_LIFT = 2.0**_LIFT_BITS  # takes every subnormal into the normal range, exactly


@njit(cache=True, nogil=True, inline="always")
def _fields(value):  # type: ignore[no-untyped-def]
    """(negative, significand, exponent): |value| = significand * 2^(exponent - 52).

    significand: 2^52..2^53-1, or 0 for zero; exponent 1024 for infinities and NaNs. Without a
    branch, so that loops over it vectorise: a subnormal is first scaled into the normal range.
    """
    wide = np.float64(value)
    subnormal = abs(wide) < _SMALLEST_NORMAL
    bits = np.float64(wide * _LIFT if subnormal else wide).view(np.int64)
    field = (bits >> _MANTISSA) & _INFINITE
    hidden = np.int64(field != 0) << _MANTISSA
    significand = bits & ((np.int64(1) << _MANTISSA) - 1) | hidden
    return bits < 0, significand, field - 1023 - (_LIFT_BITS if subnormal else 0)


@njit(cache=True, nogil=True, inline="always")
def _rounded(significand, drop):  # type: ignore[no-untyped-def]
    """int64 RN_even(significand / 2^drop) of a significand below 2^53; drop < 0 multiplies."""
    up, down = min(max(-drop, 0), 9), min(max(drop, 0), _MANTISSA + 3)
    kept = significand >> down
    rest = significand - (kept << down)
    half = (np.int64(1) << down) >> 1
    above = np.int64(rest > half) | (np.int64(rest == half) & kept & np.int64(down > 0))
    return (kept + above) << up


@dataclass(frozen=True, slots=True, eq=False)
class StepTable:
    """Thresholds of a logarithm with a bucket index on the top bits of the significand."""

    thresholds: npt.NDArray[np.int64]  #: ascending, padded by one that no significand passes
    first: npt.NDArray[np.int64]  #: thresholds below a bucket; a bucket holds at most one more
    bucket_shift: int  #: a significand's bucket is (its fraction) >> bucket_shift


@lru_cache(maxsize=64)
def step_table(gamma: int, rounding: str) -> StepTable:
    """Thresholds of `lns.thresholds` for float64 significands, ready for the kernel."""
    entries = thresholds(gamma, rounding, _MANTISSA).astype(np.int64)
    bits = gamma.bit_length()  # buckets are half a step wide, thresholds 0.69 steps apart at least
    shift = _MANTISSA - bits
    lower = (np.arange((1 << bits) + 1, dtype=np.int64) << shift) + (1 << _MANTISSA)
    first = np.searchsorted(entries, lower, side="left")
    assert int(np.diff(first).max(initial=0)) <= 1
    padded = np.append(entries, np.iinfo(np.int64).max)
    return StepTable(padded, first[:-1].astype(np.int64), shift)


@inner
def _split_chunk(x, gamma, significand, steps):  # type: ignore[no-untyped-def]
    """significand[i], and gamma * floor(log2|x[i]|) into steps[i]."""
    for i in range(x.size):
        _, significand[i], exponent = _fields(x[i])
        steps[i] = exponent * gamma


@inner
def _look_up_chunk(significand, table, first, bucket_shift, steps):  # type: ignore[no-untyped-def]
    """steps[i] += the number of thresholds below significand[i]."""
    for i in range(steps.size):
        fraction = significand[i] & ((np.int64(1) << _MANTISSA) - 1)
        step = first[fraction >> bucket_shift]
        steps[i] += step + np.int64(significand[i] > table[step])


@inner
def _store_log_chunk(x, steps, offset, top, low, sign_bit, out):  # type: ignore[no-untyped-def]
    saturated, underflowed, finite = np.int64(0), np.int64(0), np.int64(0)
    for i in range(x.size):
        value = x[i]
        e = np.int64(steps[i]) - offset[i if offset.size > 1 else 0]
        nonzero = np.int64(value != 0)
        kept = np.int64(nonzero != 0 and (e >= low or low == 0))
        sign = np.int64(value < 0) * sign_bit
        out[i] = kept * (min(max(e, 0), top) | sign)
        saturated += nonzero & np.int64(e > top)
        underflowed += nonzero & np.int64(e < low)
        finite += np.int64(value - value == 0)
    return saturated, underflowed, x.size - finite


@njit(cache=True, nogil=True, parallel=True)
def encode_log(x, given, tables, offset, rule, out):  # type: ignore[no-untyped-def]
    """LNS codes. given: int32 rounded steps of gamma * log2|x| for every element, or none at all,
    and they are read off tables: (StepTable's fields, gamma, "ties go to the even stored e").
    rule: (top e, lowest magnitude e, sign bit).
    """
    table, first, bucket_shift, gamma, even_ties = tables
    top, low, sign_bit = rule
    counts = np.zeros((-(-x.size // CHUNK), 3), np.int64)
    for task in prange(counts.shape[0]):
        part = slice(task * CHUNK, min(x.size, (task + 1) * CHUNK))
        scale = offset[part] if offset.size > 1 else offset
        if given.size:
            steps = given[part]
        else:
            steps = np.empty(part.stop - part.start, np.int32)
            significand = np.empty(steps.size, np.int64)
            _split_chunk(x[part], gamma, significand, steps)
            _look_up_chunk(significand, table, first, bucket_shift, steps)
            if even_ties:  # a tie was counted as the lower step
                for i in range(steps.size):
                    odd = (steps[i] - scale[i if scale.size > 1 else 0]) & 1
                    steps[i] += odd if significand[i] == table[0] else 0
        counts[task] = _store_log_chunk(x[part], steps, scale, top, low, sign_bit, out[part])
    return counts


@inner
def _encode_float_chunk(x, offset, mantissa_bits, min_scale, codes, out):  # type: ignore[no-untyped-def]
    max_code, beyond, nan_code, sign_bit = codes
    saturated, underflowed = np.int64(0), np.int64(0)
    for i in range(x.size):
        negative, significand, exponent = _fields(x[i])
        finite = exponent != 1024
        scaled = exponent - offset[i if offset.size > 1 else 0]
        scale = max(scaled - mantissa_bits, min_scale)
        nonzero = np.int64(significand != 0)
        code = _rounded(significand, scale - scaled + _MANTISSA)
        code += nonzero * ((scale - min_scale) << mantissa_bits)
        saturated += np.int64(finite) & np.int64(code > max_code)
        underflowed += np.int64(finite) & nonzero & np.int64(code == 0)
        number = code if code <= max_code and finite else beyond
        nan = exponent == 1024 and significand != np.int64(1) << _MANTISSA
        out[i] = (nan_code if nan else number) | (sign_bit if negative else 0)
    return saturated, underflowed, 0


@njit(cache=True, nogil=True, parallel=True)
def encode_float(x, offset, mantissa_bits, min_scale, codes, out):  # type: ignore[no-untyped-def]
    """Float codes. min_scale: exponent of the smallest subnormal; codes: (largest finite, beyond
    it, NaN, sign bit)."""
    counts = np.zeros((-(-x.size // CHUNK), 3), np.int64)
    for task in prange(counts.shape[0]):
        part = slice(task * CHUNK, min(x.size, (task + 1) * CHUNK))
        scale = offset[part] if offset.size > 1 else offset
        counts[task] = _encode_float_chunk(
            x[part], scale, mantissa_bits, min_scale, codes, out[part]
        )
    return counts


@inner
def _encode_int_chunk(x, offset, low, top, out):  # type: ignore[no-untyped-def]
    saturated, underflowed, finite = np.int64(0), np.int64(0), np.int64(0)
    for i in range(x.size):
        negative, significand, exponent = _fields(x[i])
        scaled = exponent - offset[i if offset.size > 1 else 0]
        magnitude = _rounded(significand, _MANTISSA - scaled)
        value = -magnitude if negative else magnitude
        saturated += np.int64(value < low) | np.int64(value > top)
        underflowed += np.int64(value == 0) & np.int64(significand != 0)
        finite += np.int64(exponent != 1024)
        out[i] = min(max(value, low), top)
    return saturated, underflowed, x.size - finite


@njit(cache=True, nogil=True, parallel=True)
def encode_int(x, offset, low, top, out):  # type: ignore[no-untyped-def]
    """Two's complement codes low..top, round to nearest even, saturating."""
    counts = np.zeros((-(-x.size // CHUNK), 3), np.int64)
    for task in prange(counts.shape[0]):
        part = slice(task * CHUNK, min(x.size, (task + 1) * CHUNK))
        scale = offset[part] if offset.size > 1 else offset
        counts[task] = _encode_int_chunk(x[part], scale, low, top, out[part])
    return counts


@inner
def _largest_magnitude_chunk(x):  # type: ignore[no-untyped-def]
    most = np.int64(0)
    for i in range(x.size):
        most = max(most, np.float64(abs(x[i])).view(np.int64))
    return most


@njit(cache=True, nogil=True, parallel=True)
def largest_magnitude(x):  # type: ignore[no-untyped-def]
    """Per task: float64 bits of the largest |x| (an infinity or NaN is larger than any number)."""
    most = np.zeros(-(-x.size // CHUNK), np.int64)
    for task in prange(most.size):
        most[task] = _largest_magnitude_chunk(x[task * CHUNK : min(x.size, (task + 1) * CHUNK)])
    return most
