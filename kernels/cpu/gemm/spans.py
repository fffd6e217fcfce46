"""Where the codes of an operand are read: in place, or copied in runs of neighbours."""

import numpy as np
from numba.extending import register_jitable

from ...operands import ALONG_K, IN_PLACE
from ..ir.moves import SPAN
from ..runtime.inner import inner
from ..runtime.which import read_spans
from .bounds import PACKED


@register_jitable
def runs_of_part(reading, runs, first, last):  # type: ignore[no-untyped-def]
    """The runs of products first..last - 1, of those that `Codes.reading` has for all."""
    return runs[first:last] if reading[0] == ALONG_K else runs


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
