"""Codes in this machine's memory: how they are made, padded, spread and read as matrices.

Only places change here, no value: the backends that keep codes in numpy arrays share it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray, FloatArray, IntArray, LNSArray
from ..lns.checks import NonFiniteError
from ..lns.datapath import AnyDatapath, FloatDatapath
from ..lns.format import FloatFormat, Format, LNSFormat
from .operands import Gathered, Matrix, Pattern, with_code

Sides = tuple[int, int]


def asarray(x: Any) -> npt.NDArray[Any]:
    """Return `x` as a numpy array on the same memory."""
    return np.asarray(x)


def codes(code: Any, offset: int, fmt: Format) -> CodeArray:
    """Return codes of `fmt` from integers of any dtype, in its own dtype."""
    kind: Any = IntArray
    if isinstance(fmt, LNSFormat):
        kind = LNSArray
    elif isinstance(fmt, FloatFormat):
        kind = FloatArray
    made: CodeArray = kind(np.asarray(code).astype(fmt.code_dtype), offset, fmt)
    return made


def integers(array: CodeArray) -> npt.NDArray[np.int32]:
    """Return the codes as integers of 32 bits, a copy."""
    return array.code.astype(np.int32)


def matrix(array: CodeArray, first: int = 0, count: int | None = None) -> CodeArray:
    """Return `count` parts from `first` on along the first axis (None: all), a row each."""
    part = array.code[first : None if count is None else first + count]
    return with_code(array, part.reshape(part.shape[0], -1))


def grouped(x: npt.NDArray[Any], axis: int, groups: int) -> npt.NDArray[Any]:
    """Return `x` with an axis cut in two: (groups, its size / groups)."""
    return x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def require_finite(a: Matrix, b: Matrix, datapath: AnyDatapath) -> None:
    """Refuse a NaN or an infinity that meets a fixed-point accumulator: NonFiniteError."""
    if not isinstance(datapath, FloatDatapath) or isinstance(datapath.accumulator, FloatFormat):
        return
    for name, operand in (("a", a), ("b", b)):
        array: Any = operand.array if isinstance(operand, Gathered) else operand
        magnitude = array.code & ((1 << (array.fmt.bits - 1)) - 1)
        bad = magnitude > array.fmt.max_code
        if array.fmt.encoding == "fnuz":
            bad |= (magnitude == 0) & (array.code > 0)
        if bad.any():
            index = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
            raise NonFiniteError(
                f"{name} must be finite for a fixed-point accumulator, got code "
                f"{int(array.code[index])} at index {index}"
            )


def patches(array: CodeArray, pattern: Pattern) -> Gathered:
    """Return the matrix whose elements lie in `array` where the pattern says."""
    return Gathered.of(array, pattern)


def pad(array: CodeArray, pads: tuple[Sides, Sides]) -> CodeArray:
    """Return codes (N, C, H, W), contiguous, with zero codes added; a negative pad crops."""
    (top, bottom), (left, right) = pads
    code = array.code
    height, width = code.shape[2:]
    code = code[
        :, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)
    ]
    top, bottom, left, right = (max(side, 0) for side in (top, bottom, left, right))
    if not (top or bottom or left or right):
        return with_code(array, np.ascontiguousarray(code))
    n, c, height, width = code.shape
    wide = np.zeros((n, c, top + height + bottom, left + width + right), code.dtype)
    wide[:, :, top : top + height, left : left + width] = code
    return with_code(array, wide)


def spread(array: CodeArray, stride: Sides, extra: Sides) -> CodeArray:
    """Return errors (N, C, OH, OW) with stride - 1 zero codes between and `extra` at the end."""
    code = array.code
    n, c, height, width = code.shape
    if stride == (1, 1) and extra == (0, 0):
        return array
    wide = np.zeros(
        (n, c, (height - 1) * stride[0] + 1 + extra[0], (width - 1) * stride[1] + 1 + extra[1]),
        code.dtype,
    )
    wide[
        :, :, : (height - 1) * stride[0] + 1 : stride[0], : (width - 1) * stride[1] + 1 : stride[1]
    ] = code
    return with_code(array, wide)


def turned_kernel(array: CodeArray, first: int = 0, count: int | None = None) -> CodeArray:
    """Return weights (O, I, H, W) as (O H W, I), each kernel turned by 180 degrees.

    Of `count` outputs from `first` on (None: of all).
    """
    part = array.code[first : None if count is None else first + count]
    flipped = part[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
    return with_code(array, np.ascontiguousarray(flipped.reshape(-1, array.shape[1])))
