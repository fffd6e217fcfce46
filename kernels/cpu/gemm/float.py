"""Float GEMM: exact product, then one rounding per step into the accumulator's format.

An fp32 accumulator is a chain of fused multiply-adds. A narrower one takes the exact product (48
bits at most, exact in float64), adds it in float64 with the sum rounded to odd (the error term of a
two-sum says whether bits were lost), and rounds that once more to the target: rounding to odd
with two spare bits makes the second rounding the only one that counts (Boldo and Melquiond,
"Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57(4), 2008).
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.format import FP32, FloatFormat
from ..ir.emit import BLOCK
from ..ir.fma import FMA_STEPS, fma_row_many, fma_row_one
from ..runtime.inner import inner
from ..runtime.scratch import aligned

ROW_BLOCK = 256  # rows that share a block of columns: 256 * BLOCK * 4 bytes = 64 KiB

Float32 = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, parallel=True)
def _gemm_fma(a, b, out):  # type: ignore[no-untyped-def]
    """out (M, N) float32 of a (M, K), b (K, N) float32, C-contiguous."""
    rows, products = a.shape
    columns = b.shape[1]
    row_blocks, blocks = -(-rows // ROW_BLOCK), -(-columns // BLOCK)
    flat = a.ravel()
    for task in prange(row_blocks * blocks):
        first, start = task // blocks * ROW_BLOCK, task % blocks * BLOCK
        height, width = min(ROW_BLOCK, rows - first), min(BLOCK, columns - start)
        acc = aligned(height * BLOCK, out)
        panel = aligned(FMA_STEPS * BLOCK, out)
        acc[:], panel[:] = 0, 0
        for k0 in range(0, products, FMA_STEPS):
            steps = min(FMA_STEPS, products - k0)
            for k in range(steps):
                panel[k * BLOCK : k * BLOCK + width] = b[k0 + k, start : start + width]
            for i in range(height):
                left = (first + i) * products + k0
                if steps == FMA_STEPS:
                    fma_row_many(acc, i * BLOCK, flat, left, panel, 0)
                else:
                    for k in range(steps):
                        fma_row_one(acc, i * BLOCK, flat, left + k, panel, k * BLOCK)
        for i in range(height):
            for j in range(width):
                out[first + i, start + j] = acc[i * BLOCK + j]


@njit(cache=True, nogil=True, inline="always")
def _add_to_odd(x, y):  # type: ignore[no-untyped-def]
    """float64 x + y rounded to odd; non-finite sums as IEEE gives them."""
    total = x + y
    back = total - x
    error = (x - (total - back)) + (y - back)
    bits = np.float64(total).view(np.int64)
    away = np.int64(1) if (error > 0) == (total > 0) else np.int64(-1)
    inexact = (error > 0) | (error < 0)  # false for the NaN that an infinite sum leaves
    return np.int64(bits + (away if inexact and bits & 1 == 0 else 0)).view(np.float64)


@njit(cache=True, nogil=True, inline="always")
def _round_to(value, mantissa_bits, min_scale, max_value, beyond):  # type: ignore[no-untyped-def]
    """float64 `value` rounded to nearest even on a float grid; beyond its top: +-beyond.

    Adding and taking away 1.5 * 2^(52 + s) leaves a multiple of 2^s, rounded once.
    """
    bits = np.float64(value).view(np.int64)
    exponent = ((bits >> 52) & 2047) - 1023
    scale = max(exponent - mantissa_bits, min_scale)
    magic_bits = ((min(scale, 800) + 52 + 1023) << 52) | (np.int64(1) << 51)
    magic = np.int64(magic_bits).view(np.float64)
    rounded = abs((value + magic) - magic)
    kept = rounded if rounded <= max_value else beyond
    kept = kept if value == value else value
    signed = (np.float64(kept).view(np.int64) & ((np.int64(1) << 63) - 1)) | (
        bits & np.int64(-(1 << 63))
    )
    return np.int64(signed).view(np.float64)


@inner
def _narrow_step(acc, factor, columns, mantissa_bits, min_scale, max_value, beyond):  # type: ignore[no-untyped-def]
    """acc[j] <- round(factor * columns[j] + acc[j]); on its own so that it vectorises."""
    for j in range(columns.size):
        total = _add_to_odd(factor * np.float64(columns[j]), acc[j])
        acc[j] = _round_to(total, mantissa_bits, min_scale, max_value, beyond)


@njit(cache=True, nogil=True, parallel=True)
def _gemm_narrow(a, b, mantissa_bits, min_scale, max_value, beyond, out):  # type: ignore[no-untyped-def]
    """As `_gemm_fma` with the accumulator rounded to a narrower float format at each step."""
    rows, products = a.shape
    blocks = -(-b.shape[1] // BLOCK)
    for task in prange(rows * blocks):
        i, start = task // blocks, task % blocks * BLOCK
        width = min(BLOCK, b.shape[1] - start)
        acc = np.zeros(BLOCK, np.float64)
        for k in range(products):
            columns = b[k, start : start + width]
            factor = np.float64(a[i, k])
            _narrow_step(acc, factor, columns, mantissa_bits, min_scale, max_value, beyond)
        for j in range(width):
            out[i, start + j] = acc[j]


def gemm_float(a: Float32, b: Float32, accumulator: FloatFormat) -> tuple[Float32, int]:
    """Return (float32 (M, N), number of non-finite outputs) of a (M, K) times b (K, N).

    a, b: C-contiguous float32. Ascending k, one rounding to `accumulator` per step, from +0.
    """
    out = np.zeros((a.shape[0], b.shape[1]), np.float32)
    if accumulator == FP32:
        _gemm_fma(a, b, out)
    else:
        beyond = accumulator.max_value
        if accumulator.overflow == "infinity":
            beyond = np.nan if accumulator.encoding == "fn" else np.inf
        _gemm_narrow(
            a,
            b,
            accumulator.mantissa_bits,
            accumulator.min_scale,
            accumulator.max_value,
            beyond,
            out,
        )
    return out, int(np.count_nonzero(~np.isfinite(out)))
