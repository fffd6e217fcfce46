"""`decode`: the nearest float32 of every code, by table."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lns.array import CodeArray, FloatArray, IntArray
from ....lns.format import FloatFormat, IntFormat, LNSFormat
from ....lns.thresholds import pow2_fixed
from .lookup import MAX_TABLE_BITS, float32_of, take

_FIXED_BITS = 40  # fraction bits of a significand before it is rounded to float32's 23
_MIN_QUANTUM = -149  # exponent of float32's smallest subnormal
_MAX_EXPONENT = 127  # of the largest float32


@lru_cache(maxsize=16)
def _significands(gamma: int) -> npt.NDArray[np.int64]:
    """floor(2^(r/gamma) * 2^_FIXED_BITS) for r = 0..gamma-1; exact for r = 0 alone."""
    return np.array([pow2_fixed(r, gamma, _FIXED_BITS) for r in range(gamma)], np.int64)


def nearest_powers(steps: npt.NDArray[np.int64], gamma: int) -> npt.NDArray[np.float32]:
    """Return the float32 nearest to 2^(steps/gamma), infinite beyond float32's range.

    Exact: a power that is not whole is irrational, so it is no tie and its floor decides; a whole
    power has the one tie 2^-150, which goes to the even 0.
    """
    octaves, remainder = np.divmod(steps, gamma)
    octaves = np.clip(octaves, 2 * _MIN_QUANTUM, 2 * _MAX_EXPONENT)
    quantum = np.maximum(octaves - 23, _MIN_QUANTUM)
    drop = np.minimum(quantum - octaves + _FIXED_BITS, 62)
    fixed = _significands(gamma)[remainder]
    kept, half = fixed >> drop, (fixed >> (drop - 1)) & 1
    inexact = (remainder != 0) | (fixed & ((np.int64(1) << (drop - 1)) - 1) != 0)
    kept = kept + (half & (inexact | (kept & 1)))
    with np.errstate(over="ignore"):
        return np.ldexp(kept.astype(np.float64), quantum.astype(np.int32)).astype(np.float32)


@lru_cache(maxsize=256)
def _log_table(fmt: LNSFormat, offset: int) -> npt.NDArray[np.float32]:
    code = np.arange(1 << fmt.bits)
    stored = code & fmt.max_exponent
    value = nearest_powers(stored.astype(np.int64) + offset, fmt.gamma)
    value = np.where((stored == 0) & fmt.zero, np.float32(0), value)
    signed = np.where((code > fmt.max_exponent) & (value != 0), -value, value)
    return signed.astype(np.float32)


def _scaled(value: npt.NDArray[np.float32], offset: int) -> npt.NDArray[np.float32]:
    """value * 2^offset rounded once to float32; a finite value beyond its range: infinity."""
    if offset == 0:
        return value
    with np.errstate(over="ignore", under="ignore"):
        wide = np.ldexp(value.astype(np.float64), max(-2000, min(2000, offset)))
        return wide.astype(np.float32)


@lru_cache(maxsize=256)
def _table(fmt: LNSFormat | FloatFormat | IntFormat, offset: int) -> npt.NDArray[np.float32]:
    """float32 of every code of at most MAX_TABLE_BITS bits, indexed by `_index`."""
    if isinstance(fmt, LNSFormat):
        return _log_table(fmt, offset)
    if isinstance(fmt, FloatFormat):
        codes = np.arange(1 << fmt.bits).astype(fmt.code_dtype)
        return _scaled(float32_of(codes, fmt), offset)
    unsigned = np.arange(1 << (fmt.code_dtype.itemsize * 8)).astype(_unsigned(fmt))
    return _scaled(unsigned.view(fmt.code_dtype).astype(np.float32), offset)


@lru_cache(maxsize=256)
def _beyond(fmt: LNSFormat | FloatFormat | IntFormat, offset: int) -> bool:
    """Has the table a value that float32 cannot hold, or an infinity of the format's own?"""
    return bool(np.isinf(_table(fmt, offset)).any())


def _unsigned(fmt: IntFormat) -> np.dtype[Any]:
    """The unsigned dtype of an integer code's width."""
    return np.dtype(f"u{fmt.code_dtype.itemsize}")


def _index(array: CodeArray) -> npt.NDArray[Any]:
    """The array's codes as unsigned table indices."""
    if isinstance(array, IntArray):
        return np.ascontiguousarray(array.code).view(_unsigned(array.fmt))
    return array.code


def _one_offset(array: CodeArray, offset: int) -> npt.NDArray[np.float32]:
    if array.fmt.bits <= MAX_TABLE_BITS:
        return take(_table(array.fmt, offset), _index(array))
    assert isinstance(array, FloatArray)
    return _scaled(float32_of(array.code, array.fmt), offset)


def decode(array: CodeArray) -> npt.NDArray[np.float32]:
    """`kernels.codes.decode`."""
    if not isinstance(array, CodeArray):
        raise TypeError(
            f"array must be an LNSArray, FloatArray or IntArray, got {type(array).__name__}"
        )
    value = nearest_float32(array)
    one = isinstance(array.offset, int) and array.fmt.bits <= MAX_TABLE_BITS
    if not one or _beyond(array.fmt, array.offset):  # type: ignore[arg-type]
        _check_range(value, array)
    return value


def nearest_float32(array: CodeArray) -> npt.NDArray[np.float32]:
    """`decode` where a value beyond float32's range is an infinity."""
    if isinstance(array.offset, int):
        return _one_offset(array, array.offset).reshape(array.shape)
    value = np.empty(array.shape, np.float32)
    offsets = np.broadcast_to(array.offset, array.shape)
    for offset in np.unique(array.offset).tolist():
        where = offsets == offset
        part = type(array)(array.code[where], 0, array.fmt)  # type: ignore[arg-type]
        value[where] = _one_offset(part, offset)
    return value


def _check_range(value: npt.NDArray[np.float32], array: CodeArray) -> None:
    beyond = np.isinf(value)
    if beyond.any() and isinstance(array, FloatArray):
        magnitude = array.code & ((1 << (array.fmt.bits - 1)) - 1)
        beyond &= magnitude <= array.fmt.max_code
    if beyond.any():
        index = tuple(int(i) for i in np.unravel_index(int(beyond.argmax()), value.shape))
        raise OverflowError(f"value must be within float32's range, got more at index {index}")
