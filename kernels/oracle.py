"""The "oracle" backend: matmul as three Python loops over `lns.oracle`. Slow; it is the judge."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray
from ..lns.datapath import AnyDatapath, Datapath, FloatDatapath
from ..lns.format import FloatFormat
from ..lns.oracle import dot, float_dot, int_dot


def _dot(datapath: AnyDatapath) -> Any:
    """The oracle's dot product for a kind of datapath."""
    if isinstance(datapath, Datapath):
        return dot
    return float_dot if isinstance(datapath, FloatDatapath) else int_dot


def matmul_counted(
    a: CodeArray, b: CodeArray, datapath: AnyDatapath
) -> tuple[npt.NDArray[Any], int]:
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
    return out, overflowed
