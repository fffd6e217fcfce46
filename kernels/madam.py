"""Integer Madam's step in one pass: second moment, direction, move, clamp.

The operations and their order are those of `sim.madam` in float32, so the bits are the same.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..lns.checks import require_int
from .threads import parallel

_CHUNK = 1 << 12  # elements per task
_MOST = 3e38  # below the largest float32


@njit(cache=True, nogil=True)
def _finite_chunk(gradient):  # type: ignore[no-untyped-def]
    finite = 0
    for i in range(gradient.size):
        finite += gradient[i] - gradient[i] == 0
    return finite


@njit(cache=True, nogil=True, error_model="numpy")
def _move_chunk(code, gradient, v, beta2, rest, correction, bound, factor, exponent_bits):  # type: ignore[no-untyped-def]
    # Shifts by less than 32 and sums kept in int32 stay vectors of int32.
    places = np.int32(np.int32(exponent_bits) & np.int32(31))
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
        move = np.int32(min(max(np.rint(factor * u), -span), span))
        sign = np.int32(code[i] >> places)
        away = np.int32((move ^ np.int32(-sign)) + sign)  # move * sign w
        e = np.int32(np.int32(code[i] & top) - away)
        code[i] = min(max(e, np.int32(0)), top) | np.int32(sign << places)
        undefined = np.int32(undefined + np.int32((moment == 0) & (g == 0)))
        above = np.int32(above + np.int32(e > top))
        below = np.int32(below + np.int32(e < 0))
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


def _check_arrays(code: Any, gradient: Any, v: Any) -> None:
    """Refuse what the loop could not walk: it reads and writes memory by its length alone."""
    for name, array, dtype in (
        ("code", code, np.int32),
        ("gradient", gradient, np.float32),
        ("v", v, np.float32),
    ):
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            got = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, got {got}")
        if array.shape != code.shape:
            raise ValueError(f"{name} must have code's shape {code.shape}, got {array.shape}")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")
        if name != "gradient" and not array.flags.writeable:
            raise ValueError(f"{name} must be writable, got read-only memory")


def _check_numbers(lr_factor: Any, beta2: Any, g_bound: Any) -> None:
    for name, value in (("lr_factor", lr_factor), ("beta2", beta2), ("g_bound", g_bound)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= beta2 < 1:
        raise ValueError(f"beta2 must be at least 0 and below 1, got {beta2}")
    if not 0 < g_bound < _MOST:
        raise ValueError(f"g_bound must be above 0 and below {_MOST:g}, got {g_bound}")
    if not 0 <= lr_factor < _MOST:
        raise ValueError(f"lr_factor must be at least 0 and below {_MOST:g}, got {lr_factor}")


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
    None, with nothing written, if the gradient is not finite everywhere. Raises TypeError for
    arrays of another dtype, ValueError for other shapes and layouts, memory that cannot be written,
    and numbers out of range: step below 1, exponent_bits outside 2..15, beta2 outside 0..1, g_bound
    not above 0, lr_factor negative, either beyond float32.
    """
    _check_arrays(code, gradient, v)
    require_int("step", step, 1, 1 << 53)
    require_int("exponent_bits", exponent_bits, 2, 15)
    _check_numbers(lr_factor, beta2, g_bound)
    values = (beta2, 1.0 - beta2, 1.0 - beta2**step, g_bound, lr_factor)
    scalars = tuple(np.float32(value) for value in values)
    counts = np.zeros((-(-code.size // _CHUNK), 3), np.int64)
    flat = code.reshape(-1), gradient.reshape(-1), v.reshape(-1)
    with parallel(code.size, 16 * _CHUNK):
        if not _move(*flat, scalars, exponent_bits, counts):
            return None
    undefined, above, below = (int(count) for count in counts.sum(axis=0))
    return undefined, above, below
