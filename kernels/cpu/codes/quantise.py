"""`quantise`: numbers to codes on every thread, counting what is lost; bit for bit `lns.encode`."""

import math
from bisect import bisect_left, bisect_right
from functools import lru_cache
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lns.array import FloatArray, IntArray, LNSArray, Offset
from ....lns.checks import NonFiniteError, as_array, require_choice, require_int
from ....lns.codec import ROUNDINGS, require_unused
from ....lns.float_codec import amax_offset, magnitude_codes, nan_code, overflow_code
from ....lns.float_codec import encode_float as lns_encode_float
from ....lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ....lns.log_codec import default_offset, floor_steps, split_float
from ....lns.thresholds import thresholds
from ...backends import EncodeCounts
from ..runtime.threads import parallel, tasks
from . import encode32
from .encoders import CHUNK, encode_float, encode_int, encode_log, largest_magnitude, step_table

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_FORMATS = LNSFormat, FloatFormat, IntFormat
_GRAIN = 16 * CHUNK  # elements that make a thread worth waking
_FLOAT, _INT = Struct("f"), Struct("i")  # of one size: a float32 from its bits


def quantise(
    x: npt.ArrayLike,
    fmt: Format,
    offset: Offset | None = None,
    rounding: str = "nearest",
    generator: np.random.Generator | None = None,
    scaling: str = "none",
    random_bits: int = 8,
) -> tuple[Any, EncodeCounts]:
    """`kernels.codes.quantise`."""
    x = as_array("x", x)
    _check_arguments(x, fmt, offset, scaling)
    if rounding != "stochastic":
        require_unused(rounding, generator, random_bits)
    if not (x.flags.writeable and x.flags.aligned):  # Numba compiles anew for other memory
        x = x.copy()
    if isinstance(fmt, LNSFormat):
        require_choice("rounding", rounding, ROUNDINGS)
        if rounding == "stochastic":
            return _quantise_stochastic(x, fmt, offset, generator, random_bits)
        return _quantise_log(x, fmt, offset, rounding)
    require_choice("rounding", rounding, ("nearest",))
    with parallel(x.size, _GRAIN):
        if offset is None and (scaling == "amax" or isinstance(fmt, IntFormat)):
            offset = amax_offset(np.array([_largest(x, fmt)]), fmt)
        if isinstance(fmt, FloatFormat):
            return _quantise_float(x, fmt, 0 if offset is None else offset)
        return _quantise_int(x, fmt, 0 if offset is None else offset)


def _check_arguments(x: npt.NDArray[Any], fmt: Any, offset: Offset | None, scaling: str) -> None:
    if x.dtype not in (_SINGLE, _DOUBLE):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    if not isinstance(fmt, _FORMATS):
        raise TypeError(f"fmt must be a format, got {fmt!r}")
    require_choice("scaling", scaling, ("none", "amax"))
    if scaling == "amax" and isinstance(fmt, LNSFormat):
        raise ValueError(f"scaling must be 'none' for {fmt.name}, got 'amax'")
    if scaling == "amax" and offset is not None:
        raise ValueError(f"offset must be left out with scaling 'amax', got {offset!r}")


def _flat(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return (x if x.flags.c_contiguous else np.ascontiguousarray(x)).reshape(-1)


def _stored(code: npt.NDArray[Any], x: npt.NDArray[Any], fmt: Format) -> npt.NDArray[Any]:
    """Codes in x's shape and the format's dtype; the kernels have one output dtype each."""
    return code.astype(fmt.code_dtype, copy=False).reshape(x.shape)


def _offsets(offset: Offset, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The offset as one element, or one per element in C order."""
    if np.ndim(offset) == 0:
        return np.array([offset], np.int64)
    return np.ascontiguousarray(np.broadcast_to(offset, shape), np.int64).reshape(-1)


def _counts(found: npt.NDArray[np.int64], x: npt.NDArray[Any], fmt: Format) -> EncodeCounts:
    """Add up the tasks' counts; refuse non-finite elements."""
    saturated, underflowed, non_finite = (int(count) for count in found.sum(axis=0))
    if non_finite:
        raise _non_finite(x, fmt)
    return EncodeCounts(x.size, saturated, underflowed)


def _non_finite(x: npt.NDArray[Any], fmt: Format) -> NonFiniteError:
    """The error for the first NaN or infinity in C order."""
    position = int((~np.isfinite(x)).argmax())
    index = tuple(int(i) for i in np.unravel_index(position, x.shape))
    return NonFiniteError(f"x must be finite for {fmt.name}, got {x[index]} at index {index}")


def _largest(x: npt.NDArray[Any], fmt: Format) -> float:
    """max |x|; refuses a NaN or infinity."""
    if x.dtype == _SINGLE:
        with tasks(x.size, _GRAIN) as alone:
            bits = encode32.largest32(_flat(x).view(np.int32), alone)
        most: float = _FLOAT.unpack(_INT.pack(bits))[0]
    else:
        with parallel(x.size, _GRAIN):
            largest = largest_magnitude(_flat(x))
        most = largest.max(initial=0).reshape(1).view(np.float64).item()
    if not math.isfinite(most):
        raise _non_finite(x, fmt)
    return most


def _default_log_offset(x: npt.NDArray[Any], fmt: LNSFormat, rounding: str) -> int:
    """`lns.encode`'s default offset for a rounding that is monotone: the largest |x| decides."""
    largest = _largest(x, fmt)
    if largest == 0:
        return 0
    fraction, octave = math.frexp(largest)
    significand = int(math.ldexp(fraction, 53))
    steps = _steps(fmt.gamma, rounding)
    # The top exponent is odd, so gamma = 1's tie at the largest magnitude needs room to round up.
    find = bisect_right if _even_ties(fmt, rounding) else bisect_left
    return default_offset((octave - 1) * fmt.gamma + find(steps, significand), fmt)


@lru_cache(maxsize=64)
def _steps(gamma: int, rounding: str) -> list[int]:
    """Thresholds of a logarithm's steps for float64 significands, ascending."""
    return [int(limit) for limit in thresholds(gamma, rounding, 52)]


def _even_ties(fmt: LNSFormat, rounding: str) -> bool:
    return rounding == "nearest_value" and fmt.gamma == 1


def _quantise_log(
    x: npt.NDArray[Any], fmt: LNSFormat, offset: Offset | None, rounding: str
) -> tuple[LNSArray, EncodeCounts]:
    if offset is None:
        offset = _default_log_offset(x, fmt, rounding)
    if (
        x.dtype == _SINGLE
        and (isinstance(offset, int) or np.ndim(offset) == 0)
        and fmt.gamma <= encode32.MAX_GAMMA
        and not _even_ties(fmt, rounding)
    ):
        quick = _quantise_log32(x, fmt, int(offset), rounding)
        if quick is not None:
            return quick
    table = step_table(fmt.gamma, rounding)
    tables = (table.thresholds, table.first, table.bucket_shift, fmt.gamma)
    given = np.empty(0, np.int32)
    return _store_log(x, given, (*tables, _even_ties(fmt, rounding)), fmt, offset)


def _quantise_log32(
    x: npt.NDArray[np.float32], fmt: LNSFormat, offset: int, rounding: str
) -> tuple[LNSArray, EncodeCounts] | None:
    """The 32-bit kernel; None where it does not serve: subnormals, offsets near its limits."""
    whole = offset + 127 * fmt.gamma
    if abs(whole) > encode32.MAX_OFFSET:
        return None
    code = np.empty(x.size, fmt.code_dtype)
    octave_bits, sign = fmt.gamma.bit_length() - 1, 1 << fmt.exponent_bits
    rule = octave_bits, whole, fmt.max_exponent, fmt.min_exponent, sign
    fractions = encode32.fractions(fmt.gamma, rounding)
    arguments = _flat(x).view(np.int32), fractions, tuple(map(np.int32, rule)), code
    with tasks(x.size, _GRAIN) as alone:
        saturated, underflowed, infinite, subnormal = encode32.encode_log32(*arguments, alone)
    if infinite:
        raise _non_finite(x, fmt)
    if subnormal:
        return None
    counts = EncodeCounts(x.size, saturated, underflowed)
    return LNSArray(code.reshape(x.shape), offset, fmt), counts


def _quantise_stochastic(
    x: npt.NDArray[Any],
    fmt: LNSFormat,
    offset: Offset | None,
    generator: np.random.Generator | None,
    random_bits: int,
) -> tuple[LNSArray, EncodeCounts]:
    require_int("random_bits", random_bits, 1, 16)
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a numpy Generator, got {generator!r}")
    _largest(x, fmt)  # refuses NaN and infinity
    draws = generator.integers(0, 1 << random_bits, size=x.shape)
    steps = (floor_steps(*split_float(x), fmt.gamma << random_bits) + draws) >> random_bits
    if offset is None:
        offset = default_offset(int(steps[x != 0].max()), fmt) if x.any() else 0
    table = step_table(fmt.gamma, "floor")  # not read: the steps are given
    tables = (table.thresholds, table.first, table.bucket_shift, fmt.gamma, False)
    return _store_log(x, steps.astype(np.int32).reshape(-1), tables, fmt, offset)


def _store_log(
    x: npt.NDArray[Any],
    given: npt.NDArray[np.int32],
    tables: tuple[Any, ...],
    fmt: LNSFormat,
    offset: Offset,
) -> tuple[LNSArray, EncodeCounts]:
    code = np.empty(x.size, np.uint16)
    rule = (fmt.max_exponent, fmt.min_exponent, 1 << fmt.exponent_bits)
    with parallel(x.size, _GRAIN):
        found = encode_log(_flat(x), given, tables, _offsets(offset, x.shape), rule, code)
    counts = _counts(found, x, fmt)
    return LNSArray(_stored(code, x, fmt), offset, fmt), counts


def _quantise_float(
    x: npt.NDArray[Any], fmt: FloatFormat, offset: Offset
) -> tuple[FloatArray, EncodeCounts]:
    if fmt.encoding in ("fnuz", "finite"):
        return _quantise_plain(x, fmt, offset)
    code = np.empty(x.size, np.uint32)
    codes = (fmt.max_code, overflow_code(fmt), nan_code(fmt), 1 << (fmt.bits - 1))
    grid = fmt.mantissa_bits, fmt.min_scale
    offsets = _offsets(offset, x.shape)
    counts = _counts(encode_float(_flat(x), offsets, *grid, codes, code), x, fmt)
    return FloatArray(_stored(code, x, fmt), offset, fmt), counts


def _quantise_plain(
    x: npt.NDArray[Any], fmt: FloatFormat, offset: Offset
) -> tuple[FloatArray, EncodeCounts]:
    """The encodings the compiled loop does not know, by lns.float_codec."""
    array = lns_encode_float(x, fmt, offset)
    real = x.astype(np.float64)
    code, beyond = magnitude_codes(real, fmt, offset)
    saturated = int(np.count_nonzero(beyond & np.isfinite(real)))
    underflowed = int(np.count_nonzero((code == 0) & (real != 0) & ~np.isnan(real)))
    return array, EncodeCounts(x.size, saturated, underflowed)


def _quantise_int(
    x: npt.NDArray[Any], fmt: IntFormat, offset: Offset
) -> tuple[IntArray, EncodeCounts]:
    code = np.empty(x.size, np.int16)
    limits = fmt.min_value, fmt.max_value
    counts = _counts(encode_int(_flat(x), _offsets(offset, x.shape), *limits, code), x, fmt)
    return IntArray(_stored(code, x, fmt), offset, fmt), counts
