"""Small floats and integers: codes by integer arithmetic on the bits of a float64, one rounding.

A NaN becomes the quiet one of its sign: exponent all ones and only the top mantissa bit set ("fn":
all ones below the sign). Signed zeros are kept, but in "fnuz", whose minus zero is its NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import NonFiniteError, as_array
from .code_array import FloatArray, IntArray, Offset
from .format import FloatFormat, IntFormat

_MANTISSA = 52  # fraction bits of a float64, IEEE 754


def nan_code(fmt: FloatFormat) -> int:
    """Code of the quiet NaN, without sign; "fnuz": the code of minus zero, which is its only one.

    ValueError for "finite", which has none.
    """
    if fmt.encoding == "finite":
        raise ValueError(f"fmt must be a format with a NaN, got {fmt.name}")
    top = (1 << (fmt.bits - 1)) - 1
    if fmt.encoding == "fnuz":
        return top + 1
    return top if fmt.encoding == "fn" else top ^ ((1 << (fmt.mantissa_bits - 1)) - 1)


def overflow_code(fmt: FloatFormat) -> int:
    """Code, without sign, of what a magnitude beyond the largest number becomes."""
    if fmt.overflow == "saturate":
        return fmt.max_code
    return fmt.max_code + 1 if fmt.encoding == "ieee" else nan_code(fmt)


def _rounded(real: npt.NDArray[Any], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return RN_even(|real| / 2^places); 0 for a non-finite element.

    Where that is above 2^53 it is some number of at least 2^52: beyond every format either way.
    """
    fraction, exponent = np.frexp(np.abs(np.where(np.isfinite(real), real, 0.0)))
    significand = np.ldexp(fraction, _MANTISSA + 1).astype(np.int64)
    drop = np.clip(places - (exponent.astype(np.int64) - _MANTISSA - 1), 0, 62)
    kept = significand >> drop
    rest = significand - (kept << drop)
    half = (np.int64(1) << drop) >> 1
    up = (drop > 0) & ((rest > half) | ((rest == half) & (kept & 1 == 1)))
    return kept + up


def _exponents(real: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """floor(log2|x|) of finite nonzero elements; -1 elsewhere."""
    return np.frexp(np.where(np.isfinite(real), real, 0.0))[1].astype(np.int64) - 1


def encode_float(real: npt.NDArray[Any], fmt: FloatFormat, offset: Offset) -> FloatArray:
    """Return the codes of real * 2^-offset in `fmt`: one rounding to nearest even.

    real: float32 or float64, NaN and infinity allowed (NaN gives the quiet NaN of its sign); a NaN
    in the encoding "finite" raises NonFiniteError naming its index.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN may be given; it becomes a quiet one
        real = real.astype(np.float64)
    missing = np.isnan(real)
    if fmt.encoding == "finite" and missing.any():
        index = tuple(int(i) for i in np.argwhere(missing)[0])
        raise NonFiniteError(f"x must not be NaN for {fmt.name}, got NaN at index {index}")
    code, beyond = magnitude_codes(real, fmt, offset)
    code = np.where(beyond, overflow_code(fmt), code)
    negative = np.signbit(real).astype(np.int64) << (fmt.bits - 1)
    if fmt.encoding == "fnuz":  # a zero has no sign, and neither has the NaN
        code = np.where((code == 0) | (code > fmt.max_code), code, code | negative)
        code = np.where(missing, nan_code(fmt), code)
    elif fmt.encoding == "finite":
        code = code | negative
    else:
        code = np.where(missing, nan_code(fmt), code) | negative
    return FloatArray(np.asarray(code, fmt.code_dtype), offset, fmt)


def magnitude_codes(
    real: npt.NDArray[np.float64], fmt: FloatFormat, offset: Offset
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return (code without sign, is it beyond the largest number) of real * 2^-offset, rounded.

    The code of an element beyond is not one of the format; a NaN's is 0.
    """
    scale = np.asarray(offset, np.int64)
    exponent = np.maximum(_exponents(real) - scale, fmt.min_scale + fmt.mantissa_bits)
    kept = _rounded(real, exponent - fmt.mantissa_bits + scale)
    code = kept + ((exponent - fmt.mantissa_bits - fmt.min_scale) << fmt.mantissa_bits)
    code = np.where((real == 0) | np.isnan(real), 0, code)
    return code, np.asarray((code > fmt.max_code) | np.isinf(real))


def decode_float(array: FloatArray) -> npt.NDArray[np.float64]:
    """Return float64 values; exact unless code * 2^offset is subnormal or beyond float64."""
    fmt = array.fmt
    magnitude = (array.code & ((1 << (fmt.bits - 1)) - 1)).astype(np.int64)
    exponent, mantissa = np.divmod(magnitude, 1 << fmt.mantissa_bits)
    significand = mantissa + np.where(exponent > 0, 1 << fmt.mantissa_bits, 0)
    places = np.maximum(exponent, 1) - 1 + fmt.min_scale + np.asarray(array.offset, np.int64)
    value = _scaled(significand.astype(np.float64), places, magnitude <= fmt.max_code)
    infinite = (magnitude == fmt.max_code + 1) & (fmt.encoding == "ieee")
    value = np.where(magnitude > fmt.max_code, np.where(infinite, np.inf, np.nan), value)
    if fmt.encoding == "fnuz":
        return np.where(
            array.code == nan_code(fmt), np.nan, np.where(array.code > magnitude, -value, value)
        )
    return np.where(array.code >> (fmt.bits - 1) > 0, -value, value)


def encode_int(real: npt.NDArray[Any], fmt: IntFormat, offset: Offset | None) -> IntArray:
    """Return RN_even(real * 2^-offset), saturated; offset None: `amax_offset`. real: finite."""
    settled = amax_offset(real, fmt) if offset is None else offset
    real = real.astype(np.float64)
    scale = np.broadcast_to(np.asarray(settled, np.int64), real.shape)
    kept = _rounded(real, scale)
    code = np.clip(np.where(np.signbit(real), -kept, kept), fmt.min_value, fmt.max_value)
    return IntArray(np.asarray(code, fmt.code_dtype), settled, fmt)


def decode_int(array: IntArray) -> npt.NDArray[np.float64]:
    """Return float64 values code * 2^offset, exact while they are normal."""
    places = np.asarray(array.offset, np.int64)
    return _scaled(array.code.astype(np.float64), places, np.True_)


def _scaled(value: npt.NDArray[np.float64], places: Any, number: Any) -> npt.NDArray[np.float64]:
    """value * 2^places, rounded once; OverflowError where a `number` leaves float64's range."""
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.asarray(np.ldexp(value, np.clip(places, -2200, 2200).astype(np.int32)))
    beyond = np.isinf(scaled) & number
    if beyond.any():
        index = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise OverflowError(f"array must be below 2^1024 to be decoded, got more at index {index}")
    return scaled


def amax_offset(x: npt.ArrayLike, fmt: FloatFormat | IntFormat) -> int:
    """Return the smallest o for which max|x| * 2^-o, rounded to `fmt`, is at most fmt.max_value.

    x: float32 or float64, finite (else NonFiniteError); 0 for an all-zero or empty x. A float's
    o may be negative: the largest magnitude then lies in the format's top octave.
    """
    real = as_array("x", x)
    if real.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {real.dtype}")
    if not isinstance(fmt, FloatFormat | IntFormat):
        raise TypeError(f"fmt must be a FloatFormat or an IntFormat, got {fmt!r}")
    largest = np.abs(real).max(initial=0.0)
    if not np.isfinite(largest):
        raise NonFiniteError(f"x must be finite for a scale of {fmt.name}, got {largest}")
    if largest == 0:
        return 0
    peak = np.array([largest], np.float64)
    guess = int(_exponents(peak)[0]) - int(_exponents(np.array([float(fmt.max_value)]))[0])
    for candidate in (guess, guess + 1):
        if _fits(peak, fmt, candidate):
            return candidate
    raise AssertionError("an octave above the largest magnitude always fits")


def _fits(peak: npt.NDArray[np.float64], fmt: FloatFormat | IntFormat, offset: int) -> bool:
    """Does the rounded peak * 2^-offset stay at or below the largest number?"""
    if isinstance(fmt, IntFormat):
        return int(_rounded(peak, np.array([offset]))[0]) <= fmt.max_value
    exponent = _exponents(peak) - offset
    kept = _rounded(peak, exponent - fmt.mantissa_bits + offset)
    code = kept + ((exponent - fmt.mantissa_bits - fmt.min_scale) << fmt.mantissa_bits)
    return bool(code[0] <= fmt.max_code)
