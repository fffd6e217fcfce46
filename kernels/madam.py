"""Integer Madam's step in one pass: second moment, direction, move, clamp.

The operations and their order are those of `sim.madam` in float32, so the bits are the same.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .threads import parallel

_CHUNK = 1 << 12  # elements per task


@njit(cache=True, nogil=True)
def _finite_chunk(gradient):  # type: ignore[no-untyped-def]
    finite = 0
    for i in range(gradient.size):
        finite += gradient[i] - gradient[i] == 0
    return finite


@njit(cache=True, nogil=True, error_model="numpy")
def _move_chunk(code, gradient, v, beta2, rest, correction, bound, factor, exponent_bits):  # type: ignore[no-untyped-def]
    top, span = np.int32((1 << exponent_bits) - 1), np.float32(1 << exponent_bits)
    undefined, above, below = np.int32(0), np.int32(0), np.int32(0)
    for i in range(code.size):
        g = gradient[i]
        moment = beta2 * v[i] + rest * g * g
        v[i] = moment
        root = np.sqrt(moment / correction)
        idle = (root == 0) & (g == 0)
        u = np.float32(0) if idle else g / root
        u = min(max(u, -bound), bound)
        move = min(max(np.rint(factor * u), -span), span)
        sign = np.int32(code[i] >> exponent_bits)
        e = np.int32((code[i] & top) - np.int32(move) * (np.int32(1) - np.int32(2) * sign))
        code[i] = min(max(e, np.int32(0)), top) | np.int32(sign << exponent_bits)
        undefined += np.int32((moment == 0) & (g == 0))
        above += np.int32(e > top)
        below += np.int32(e < 0)
    return undefined, above, below


@njit(cache=True, nogil=True, parallel=True)
def _move(code, gradient, v, scalars, exponent_bits, counts):  # type: ignore[no-untyped-def]
    beta2, rest, correction, bound, factor = scalars
    finite = 0
    for task in prange(counts.shape[0]):
        part = slice(task * _CHUNK, min(code.size, (task + 1) * _CHUNK))
        finite += _finite_chunk(gradient[part])
    if finite != code.size:
        return False
    for task in prange(counts.shape[0]):
        part = slice(task * _CHUNK, min(code.size, (task + 1) * _CHUNK))
        found = _move_chunk(
            code[part],
            gradient[part],
            v[part],
            beta2,
            rest,
            correction,
            bound,
            factor,
            exponent_bits,
        )
        for j in range(3):
            counts[task, j] = found[j]
    return True


def move_codes(
    code: npt.NDArray[np.int32],
    gradient: npt.NDArray[np.float32],
    v: npt.NDArray[np.float32],
    step: int,
    lr_factor: float,
    exponent_bits: int,
    beta2: float = 0.999,
    g_bound: float = 10.0,
) -> tuple[int, int, int] | None:
    """One step of integer Madam on `code` and `v`, in place; C-contiguous, of one shape.

    code: LNS codes without zero, `sign << E | e`; step counts from 1. Returns how many elements had
    the undefined direction 0/0, passed the top exponent and passed the lowest (both are clamped);
    None, with nothing written, if the gradient is not finite everywhere.
    """
    values = (beta2, 1.0 - beta2, 1.0 - beta2**step, g_bound, lr_factor)
    scalars = tuple(np.float32(value) for value in values)
    counts = np.zeros((-(-code.size // _CHUNK), 3), np.int64)
    flat = code.reshape(-1), gradient.reshape(-1), v.reshape(-1)
    with parallel(code.size, 16 * _CHUNK):
        if not _move(*flat, scalars, exponent_bits, counts):
            return None
    undefined, above, below = (int(count) for count in counts.sum(axis=0))
    return undefined, above, below
