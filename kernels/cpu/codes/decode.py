"""Codes to numbers by table, on every thread; `decode`: the nearest float32 of every code."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ....lns.array import CodeArray, FloatArray, IntArray
from ....lns.format import FloatFormat, IntFormat, LNSFormat
from ....lns.thresholds import pow2_fixed
from ..ir.moves import look_up
from ..ir.tasks import for_each
from ..runtime.inner import inner
from ..runtime.threads import tasks

MAX_TABLE_BITS = 16  # of a code that a table is made for
_FIXED_BITS = 40  # fraction bits of a significand before it is rounded to float32's 23
_MIN_QUANTUM = -149  # exponent of float32's smallest subnormal
_MAX_EXPONENT = 127  # of the largest float32
_CHUNK = 1 << 14  # elements per task


@inner
def _take_task(task, table, code, out):  # type: ignore[no-untyped-def]
    first = task * _CHUNK
    look_up(table, code, first, out, min(_CHUNK, code.size - first))


@njit(cache=True, nogil=True)
def _take(table, code, out, alone):  # type: ignore[no-untyped-def]
    for_each(_take_task, -(-code.size // _CHUNK), (table, code, out), alone)


def take(table: npt.NDArray[Any], code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return table[code] in code's shape, C-contiguous.

    table: float32 or int32, 1-D; its bits are copied. code: uint8 or uint16.
    """
    flat = np.ascontiguousarray(code).reshape(-1)
    bits = table.view(np.int32)
    bits.setflags(write=False)  # one compiled version serves writable and read-only tables
    out = np.empty(flat.size, np.int32)
    with tasks(flat.size, 16 * _CHUNK) as alone:
        _take(bits, flat, out, alone)
    return out.view(table.dtype).reshape(code.shape)


def float_parts(
    code: npt.NDArray[Any], fmt: FloatFormat
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return int32 (signed significand, exponent): value = significand * 2^exponent subnormals.

    Both are meaningless for codes that are not finite.
    """
    whole = np.asarray(code, np.int64)
    exponent, mantissa = np.divmod(whole & ((1 << (fmt.bits - 1)) - 1), 1 << fmt.mantissa_bits)
    significand = np.where(exponent > 0, mantissa + (1 << fmt.mantissa_bits), mantissa)
    signed = np.where(whole >> (fmt.bits - 1) > 0, -significand, significand)
    return signed.astype(np.int32), np.maximum(exponent - 1, 0).astype(np.int32)


def _float32_values(code: npt.NDArray[Any], fmt: FloatFormat) -> npt.NDArray[np.float32]:
    magnitude = np.asarray(code, np.int64) & ((1 << (fmt.bits - 1)) - 1)
    significand, exponent = float_parts(magnitude, fmt)
    value = np.ldexp(significand.astype(np.float64), exponent + fmt.min_scale)
    top = magnitude > fmt.max_code
    infinite = (magnitude == fmt.max_code + 1) & (fmt.encoding == "ieee")
    value[top] = np.nan
    value[infinite] = np.inf
    negative = np.asarray(code, np.int64) >> (fmt.bits - 1) > 0
    if fmt.encoding == "fnuz":
        value[negative & (magnitude == 0)] = np.nan
    return np.where(negative, -value, value).astype(np.float32)


@lru_cache(maxsize=16)
def float32_table(fmt: FloatFormat) -> npt.NDArray[np.float32]:
    """float32 value of every code of a format of at most MAX_TABLE_BITS bits; read-only."""
    table = _float32_values(np.arange(1 << fmt.bits), fmt)
    table.setflags(write=False)
    return table


def float32_of(code: npt.NDArray[Any], fmt: FloatFormat) -> npt.NDArray[np.float32]:
    """Return the exact float32 values of float codes (offset 0), C-contiguous, in code's shape."""
    if fmt.bits == 32:
        return np.ascontiguousarray(code).view(np.float32)
    if fmt.bits <= MAX_TABLE_BITS:
        return take(float32_table(fmt), code)
    return _float32_values(np.ascontiguousarray(code), fmt)


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
