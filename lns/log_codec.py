"""Logarithmic codes of real numbers and back, exactly.

A finite number is split into an integer significand and a power of two; which code it rounds to is
decided by integer comparisons against proven thresholds, never by a computed logarithm.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import require_int
from .code_array import LogCodes, Offset, require_offset
from .format import LNSFormat
from .thresholds import MAX_STEPS, pow2_fixed, thresholds

_MANTISSA = 52  # fraction bits of a float64, IEEE 754


def encode_log(
    real: npt.NDArray[Any],
    fmt: LNSFormat,
    offset: Offset | None,
    rounding: str,
    generator: np.random.Generator | None,
    random_bits: int,
) -> tuple[npt.NDArray[Any], Offset]:
    """Return (codes of `real`, their offset): `codec.encode` on finite float32 or float64."""
    if rounding == "stochastic":
        steps = _stochastic_steps(real, fmt, generator, random_bits)
    else:
        steps, offset = _table_steps(real, fmt, offset, rounding)
    return stored_codes(steps, np.signbit(real), real == 0, fmt, offset)


def split_float(real: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return (m, k) with |x| = m * 2^(k - 52), 2^52 <= m < 2^53; m = 0 for zero."""
    fraction, exponent = np.frexp(np.abs(real.astype(np.float64)))
    significand = np.ldexp(fraction, _MANTISSA + 1).astype(np.uint64)
    return significand, exponent.astype(np.int64) - 1


def _stochastic_steps(
    real: npt.NDArray[Any], fmt: LNSFormat, generator: np.random.Generator | None, random_bits: int
) -> npt.NDArray[np.int64]:
    """G * log2|x| rounded at random to whole steps, before the offset; arbitrary where x is 0."""
    require_int("random_bits", random_bits, 1, 16)
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a numpy Generator, got {generator!r}")
    draws = generator.integers(0, 1 << random_bits, size=real.shape)
    fine = floor_steps(*split_float(real), fmt.gamma << random_bits)
    return (fine + draws) >> random_bits


def _table_steps(
    real: npt.NDArray[Any], fmt: LNSFormat, offset: Offset | None, rounding: str
) -> tuple[npt.NDArray[np.int64], Offset | None]:
    """(G * log2|x| in whole steps before the offset, the offset where a tie settled it)."""
    significand, octave = split_float(real)
    table = thresholds(fmt.gamma, rounding, _MANTISSA)
    steps = octave * fmt.gamma + np.searchsorted(table, significand, side="left")
    if rounding != "nearest_value" or fmt.gamma > 1:
        return steps, offset
    tie = significand == table[0]  # counted as the lower step; goes to the even stored exponent
    if offset is None:
        # The top exponent is odd: a tie at the largest magnitude must have room to round up.
        offset = _settled_offset(steps + tie, real != 0, fmt, None)
    odd = (steps - np.asarray(offset, np.int64)) & 1
    return steps + (tie & (odd == 1)), offset


def floor_steps(
    significand: npt.NDArray[np.uint64], octave: npt.NDArray[np.int64], gamma: int
) -> npt.NDArray[np.int64]:
    """floor(gamma * log2(m * 2^(k-52))), exact for any power of two `gamma` up to 2^28.

    Long tables are not built: a float64 logarithm is believed only where it is further from an
    integer than its error can reach (gamma * 2^-48, against libm's few units of 2^-53), and the
    rest is compared with exact integers.
    """
    if gamma <= MAX_STEPS:
        table = thresholds(gamma, "floor", _MANTISSA)
        return octave * gamma + np.searchsorted(table, significand, side="left")
    estimate = np.log2(np.maximum(significand, 1).astype(np.float64) / 2.0**_MANTISSA) * gamma
    steps = np.asarray(np.floor(estimate), np.int64)
    margin = gamma * 2.0**-48
    doubtful = np.abs(estimate - np.rint(estimate)) <= margin
    for index in np.argwhere(doubtful):
        place = tuple(index)
        whole, candidate = int(significand[place]), int(np.rint(estimate[place]))
        if whole:
            below = whole < pow2_fixed(candidate, gamma, _MANTISSA) + (candidate % gamma != 0)
            steps[place] = candidate - 1 if below else candidate
    return octave * gamma + steps


def _settled_offset(
    steps: npt.NDArray[np.int64], used: npt.NDArray[Any], fmt: LNSFormat, offset: Offset | None
) -> Offset:
    """The given offset, or the default one for these rounded steps."""
    if offset is not None:
        return offset
    return default_offset(int(steps[used].max()), fmt) if used.any() else 0


def default_offset(largest_step: int, fmt: LNSFormat) -> int:
    """Smallest multiple of gamma for which `largest_step` is stored without saturating."""
    return -((fmt.max_exponent - largest_step) // fmt.gamma) * fmt.gamma


def stored_codes(
    steps: npt.NDArray[np.int64],
    negative: npt.NDArray[Any],
    zero: npt.NDArray[Any],
    fmt: LNSFormat,
    offset: Offset | None,
) -> tuple[npt.NDArray[Any], Offset]:
    """Return (codes of magnitudes 2^(steps / gamma), their offset), saturated or flushed.

    steps: int64, whole, before the offset; ignored where `zero`. The three arrays broadcast.
    offset None: `default_offset` of the largest, 0 if all is zero.
    """
    steps, negative, zero = np.broadcast_arrays(steps, negative, zero)
    settled = _settled_offset(steps, ~zero, fmt, offset)
    settled = require_offset(settled, steps.shape)
    e = steps - np.asarray(settled, np.int64)
    code = np.clip(e, 0, fmt.max_exponent) | (negative.astype(np.int64) << fmt.exponent_bits)
    gone = zero | (e < fmt.min_exponent) if fmt.zero else zero
    return np.where(gone, 0, code).astype(fmt.code_dtype), settled


@lru_cache(maxsize=64)
def _powers(gamma: int) -> npt.NDArray[np.float64]:
    """2^(r/gamma) for r = 0..gamma-1, each the nearest float64 (never a tie: irrational or 1)."""
    doubled = [pow2_fixed(r, gamma, _MANTISSA + 1) for r in range(gamma)]
    powers = np.array([float((n + 1) >> 1) for n in doubled]) * 2.0**-_MANTISSA
    powers.setflags(write=False)
    return powers


def decode_log(array: LogCodes) -> npt.NDArray[np.float64]:
    """Return the values as float64: `codec.decode`."""
    fmt = array.fmt
    e = np.asarray(array.code & fmt.max_exponent, np.int64)
    octave, remainder = np.divmod(e + np.asarray(array.offset, np.int64), fmt.gamma)
    zero = (e == 0) & fmt.zero
    beyond = ~zero & (octave > 1023)
    if beyond.any():
        index = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise OverflowError(
            f"array must be below 2^1024 to be decoded, got 2^{octave[index]} at index {index}"
        )
    places = np.clip(octave, -1100, 1023).astype(np.int32)
    magnitude = np.ldexp(_powers(fmt.gamma)[remainder], places)
    magnitude = np.where(zero, 0.0, magnitude)
    # A subnormal result would be rounded twice: take its last bits from exact integers instead.
    for place in np.argwhere(~zero & (octave < -1022) & (octave >= -1075)):
        index = tuple(place)
        n = int(octave[index]) * fmt.gamma + int(remainder[index])
        doubled = pow2_fixed(n, fmt.gamma, 1075)  # floor(2 * value), in units of 2^-1074
        tie_down = doubled == 1 and int(remainder[index]) == 0  # exactly half a unit: to even
        magnitude[index] = 0.0 if tie_down else float((doubled + 1) >> 1) * 2.0**-1074
    negative = (array.code >> fmt.exponent_bits).astype(bool) & (magnitude != 0)
    return np.where(negative, -magnitude, magnitude)
