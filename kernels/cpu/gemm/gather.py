"""A gathered matrix as an array of its own, on every thread."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ....lns.array import CodeArray
from ...operands import Gathered, Matrix, fewer_runs, with_code
from ..ir.moves import SPAN, read_spans
from ..runtime.inner import inner
from ..runtime.threads import parallel

_GRAIN = 1 << 18  # codes that make a thread worth waking


@inner
def _read_line(memory, base, along, runs, out):  # type: ignore[no-untyped-def]
    """out[j] = memory[base + along[j]]; `read_spans` may write beyond a line."""
    line = np.empty(along.size + SPAN, memory.dtype)
    read_spans(memory, base, along, runs, 0, line, 0, along.size)
    out[:] = line[: along.size]


@njit(cache=True, nogil=True, parallel=True)
def _read_lines(memory, line_at, along, runs, out):  # type: ignore[no-untyped-def]
    """out[i, j] = memory[line_at[i] + along[j]]."""
    for line in prange(line_at.size):
        _read_line(memory, line_at[line], along, runs, out[line])


def gather(
    code: npt.NDArray[Any], row_at: npt.NDArray[np.int64], k_at: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return (rows, K) codes: element (i, k) is code.flat[row_at[i] + k_at[k]].

    Written along whichever axis takes fewer runs; so either the result or its transpose is
    C-contiguous.
    """
    if not row_at.size or not k_at.size:
        return np.empty((row_at.size, k_at.size), code.dtype)
    unsigned = code.reshape(-1).view(f"u{code.dtype.itemsize}")
    unsigned = unsigned if unsigned.flags.writeable else unsigned.copy()
    along_k, runs = fewer_runs(row_at, k_at)
    lines, along = (row_at, k_at) if along_k else (k_at, row_at)
    out = np.empty((lines.size, along.size), unsigned.dtype)
    with parallel(out.size, _GRAIN):
        _read_lines(unsigned, lines, along, runs, out)
    whole = out.view(code.dtype)
    return whole if along_k else whole.T


def whole(operand: Matrix) -> CodeArray:
    """Return `plain_array(operand)`, gathered on every thread."""
    if not isinstance(operand, Gathered):
        return operand
    code = gather(operand.array.code, operand.row_at, operand.k_at)
    return with_code(operand.array, code.T if operand.transposed else code)
