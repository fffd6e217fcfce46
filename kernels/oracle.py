"""The "oracle" backend: matmul as three Python loops over `lns.oracle`. Slow; it is the judge."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray, LNSArray
from ..lns.datapath import AnyDatapath, Datapath, FloatDatapath
from ..lns.format import FloatFormat, LNSFormat
from ..lns.oracle import dot, float_dot, int_dot


def _dot(datapath: AnyDatapath) -> Any:
    """The oracle's dot product for a kind of datapath."""
    if isinstance(datapath, Datapath):
        return dot
    return float_dot if isinstance(datapath, FloatDatapath) else int_dot


def matmul_counted(a: CodeArray, b: CodeArray, datapath: AnyDatapath) -> tuple[Any, int]:
    """`matmul.matmul_counted` on arguments that are already checked."""
    one = _dot(datapath)
    real = isinstance(datapath.accumulator, FloatFormat)
    out = np.zeros((a.shape[0], b.shape[1]), np.float32 if real else np.int64)
    columns = b.code.T.tolist()
    overflowed = 0
    for i, row in enumerate(a.code.tolist()):
        for j, column in enumerate(columns):
            out[i, j], left_range = one(row, a.fmt, column, b.fmt, datapath)
            overflowed += bool(left_range)
    if isinstance(datapath, Datapath) and datapath.accumulator.style == "log":
        return _sums(out, a, b, datapath), overflowed
    return out, overflowed


def _sums(code: npt.NDArray[Any], a: Any, b: Any, datapath: Datapath) -> LNSArray:
    """Codes of style "log" beside their format and scale: offset_a + offset_b - 1, G the finer."""
    gamma = max(a.fmt.gamma, b.fmt.gamma)
    fmt = LNSFormat(datapath.accumulator.bits, gamma)
    steps = [np.asarray(x.offset, np.int64) * (gamma // x.fmt.gamma) for x in (a, b)]
    if not steps[0].ndim and not steps[1].ndim:
        return LNSArray(code.astype(fmt.code_dtype), int(steps[0] + steps[1]) - 1, fmt)
    rows, columns = (_beside_k(x, axis) for x, axis in zip(steps, (1, 0), strict=True))
    offset: Any = rows + columns - 1
    return LNSArray(code.astype(fmt.code_dtype), offset, fmt)


def _beside_k(offset: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.int64]:
    """An operand's scales, one per row or column: the first along k, 0 where there is no k."""
    whole = offset.reshape((1,) * (2 - offset.ndim) + offset.shape)
    first = np.split(whole, (1,), axis)[0] if whole.shape[axis] else np.zeros((1, 1), np.int64)
    return first
