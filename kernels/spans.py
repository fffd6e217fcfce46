"""Where the codes of an operand are read: in place, or copied in runs of neighbours."""

import numpy as np
import numpy.typing as npt

from .bounds import PACKED
from .gather import fewer_runs
from .inner import inner
from .moves import SPAN
from .operands import Codes
from .which import read_spans

IN_PLACE, ALONG_K, ALONG_ROWS = 0, 1, 2

Int64 = npt.NDArray[np.int64]

# How an operand is read: IN_PLACE with steps from row to row and from product to product, or copied
# along runs of k or of rows (ALONG_K, ALONG_ROWS; the steps are then 0).
Reading = tuple[int, int, int]


def reading_of(codes: Codes) -> tuple[Reading, Int64]:
    """Return (how to read the codes, the runs along which they are copied)."""
    row_step, k_step = codes.steps
    if row_step is not None and k_step is not None:
        return (IN_PLACE, row_step, k_step), codes.row_at[:0]
    along_k, runs = fewer_runs(codes.row_at, codes.k_at)
    return (ALONG_K if along_k else ALONG_ROWS, 0, 0), runs


@inner
def line_up(memory, row_at, k_at, reading, runs, first, rows):  # type: ignore[no-untyped-def]
    """Where the codes of rows first..first + rows - 1 are, at most PACKED: (codes, place of the
    first one, steps from row to row and from product to product)."""
    way, row_step, k_step = reading
    base = np.int64(0)
    if way == IN_PLACE:
        return memory, row_at[first] + k_at[0], row_step, k_step
    if way == ALONG_K:
        line = k_at.size + SPAN
        codes = np.empty(rows * line, memory.dtype)
        for i in range(rows):
            read_spans(memory, row_at[first + i], k_at, runs, 0, codes, i * line, k_at.size)
        return codes, base, line, 1
    codes = np.empty(k_at.size * PACKED + SPAN, memory.dtype)
    for k in range(k_at.size):
        read_spans(memory, k_at[k], row_at, runs, first, codes, k * PACKED, rows)
    return codes, base, 1, PACKED
