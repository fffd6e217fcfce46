"""Products of MX blocks: exact products, scales included, on a float accumulator."""

import numpy as np
import numpy.typing as npt

from ..lns.array import FloatArray
from ..lns.datapath import FloatDatapath
from ..lns.format import FP32, FloatFormat
from ..lns.mx import MXArray, decode_mx
from .matmul import matmul

Array = npt.NDArray[np.float32]


def matmul_mx(a: MXArray, b: MXArray, datapath: FloatDatapath) -> Array:
    """Return float32 (M, N): a (M, K) in blocks along K times b (K, N) in blocks along K.

    Exact products, scales included, in ascending k; the accumulator, a FloatFormat, rounds once a
    step. Raises TypeError for arguments of other kinds, ValueError for shapes that do not fit,
    blocks along another axis, or a value beyond float32's range, which no block encoded from
    float32 has.
    """
    if not isinstance(datapath, FloatDatapath) or not isinstance(datapath.accumulator, FloatFormat):
        raise TypeError(f"datapath must have a float accumulator, got {datapath!r}")
    for name, array, axis in (("a", a, 1), ("b", b, 0)):
        if not isinstance(array, MXArray):
            raise TypeError(f"{name} must be an MXArray, got {type(array).__name__}")
        if array.ndim != 2 or array.axis != axis:
            raise ValueError(
                f"{name} must be a matrix in blocks along axis {axis}, got shape {array.shape} "
                f"along axis {array.axis}"
            )
    left, right = (_values(name, array) for name, array in (("a", a), ("b", b)))
    return matmul(left, right, datapath)


def _values(name: str, array: MXArray) -> FloatArray:
    """The values as an FP32 array."""
    value = decode_mx(array)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(value.astype(np.float32))
    beyond = np.isinf(single) & np.isfinite(value)
    if beyond.any():
        index = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise ValueError(f"{name} must be within float32's range, got {value[index]} at {index}")
    return FloatArray(single.view(np.uint32), 0, FP32)
