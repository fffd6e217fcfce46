"""Integer Madam's step in one pass: second moment, direction, move, clamp.

The operations and their order are those of `sim.madam` in float32, so the bits are the same.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ....lns.checks import require_int
from ..ir.elementwise import add_lanes, move_strips
from ..ir.emit import LANES
from ..ir.tasks import for_each
from ..runtime.inner import inner
from ..runtime.threads import tasks
from .encode32 import INFINITE, largest32

_CHUNK = 1 << 12  # elements per task
_INT32, _FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
_NUMBERS = int, float, np.floating
_MOST = 3e38  # below the largest float32


@inner
def _move_strips(code, gradient, v, first, count, scalars, exponent_bits, used, counts):  # type: ignore[no-untyped-def]
    """`move_strips`; of every strip the first `used` elements are counted."""
    lanes = np.zeros(3 * LANES, np.int32)
    move_strips(code, gradient, v, first, scalars, np.int32(exponent_bits), count, lanes)
    add_lanes(lanes, used, counts)


@inner
def _move_task(task, code, gradient, v, scalars, exponent_bits, counts):  # type: ignore[no-untyped-def]
    """The elements of one task; counts[task]: undefined, above, below."""
    first = task * _CHUNK
    last = min(code.size, first + _CHUNK)
    rest = (last - first) % LANES
    whole = last - first - rest
    if whole:
        _move_strips(code, gradient, v, first, whole, scalars, exponent_bits, LANES, counts[task])
    if rest:
        at = last - rest
        codes = np.zeros(LANES, np.int32)
        gradients, moments = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
        codes[:rest], gradients[:rest] = code[at:last], gradient[at:last]
        moments[:rest] = v[at:last]
        _move_strips(
            codes, gradients, moments, 0, LANES, scalars, exponent_bits, rest, counts[task]
        )
        code[at:last], v[at:last] = codes[:rest], moments[:rest]


@njit(cache=True, nogil=True)
def _move(code, gradient, v, scalars, exponent_bits, alone):  # type: ignore[no-untyped-def]
    """(is the gradient finite, undefined, above, below); nothing is written unless it is."""
    if largest32(gradient.view(np.int32), alone) >= INFINITE:
        return False, np.int64(0), np.int64(0), np.int64(0)
    counts = np.zeros((-(-code.size // _CHUNK), 3), np.int64)
    arguments = code, gradient, v, scalars, exponent_bits, counts
    for_each(_move_task, counts.shape[0], arguments, alone)
    return True, counts[:, 0].sum(), counts[:, 1].sum(), counts[:, 2].sum()


def _check_arrays(code: Any, gradient: Any, v: Any) -> None:
    """Refuse what the loop could not walk: it reads and writes memory by its length alone."""
    for name, array, dtype in (
        ("code", code, _INT32),
        ("gradient", gradient, _FLOAT32),
        ("v", v, _FLOAT32),
    ):
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            got = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"{name} must be an array of {dtype}, got {got}")
        if array.shape != code.shape:
            raise ValueError(f"{name} must have code's shape {code.shape}, got {array.shape}")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")
        if name != "gradient" and not array.flags.writeable:
            raise ValueError(f"{name} must be writable, got read-only memory")


def _check_numbers(lr_factor: Any, beta2: Any, g_bound: Any) -> None:
    for name, value in (("lr_factor", lr_factor), ("beta2", beta2), ("g_bound", g_bound)):
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
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
    """`kernels.codes.move_codes`."""
    _check_arrays(code, gradient, v)
    require_int("step", step, 1, 1 << 53)
    require_int("exponent_bits", exponent_bits, 2, 15)
    _check_numbers(lr_factor, beta2, g_bound)
    values = (beta2, 1.0 - beta2, 1.0 - beta2**step, g_bound, lr_factor)
    scalars = tuple(map(np.float32, values))
    flat = code.reshape(-1), gradient.reshape(-1), v.reshape(-1)
    with tasks(code.size, 16 * _CHUNK) as alone:
        finite, undefined, above, below = _move(*flat, scalars, exponent_bits, alone)
    return (undefined, above, below) if finite else None
