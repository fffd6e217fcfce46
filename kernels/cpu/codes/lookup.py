"""Codes to numbers by table, on every thread."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ....lns.format import FloatFormat
from ..runtime.inner import inner
from ..runtime.threads import tasks
from ..runtime.which import for_each, look_up

MAX_TABLE_BITS = 16
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
