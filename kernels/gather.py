"""A gathered matrix as an array of its own, on every thread."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .threads import parallel
from .which import read_1, read_4, read_8, read_16, read_32

PIECES = (32, 16, 8, 4, 1)
_GRAIN = 1 << 18  # codes that make a thread worth waking


def piece_of(at: npt.NDArray[np.int64], step: int | None = None) -> int:
    """Return the longest run, of PIECES, that these offsets are made of.

    step: the distance between neighbours where they are evenly spaced.
    """
    if step is not None or (at.size > 1 and at[1] != at[0] + 1):
        return next(p for p in PIECES if at.size % p == 0) if step == 1 else 1
    if not at.size:
        return 1
    following = np.append(at[1:] == at[:-1] + 1, False)
    for piece in PIECES[:-1]:
        if at.size % piece == 0 and following.reshape(-1, piece)[:, :-1].all():
            return piece
    return 1


@njit(cache=True, nogil=True)
def read_runs(memory, base, at, first, out, out_at, count, piece):  # type: ignore[no-untyped-def]
    """`moves.read_P` with P = piece, one of PIECES."""
    if piece == 1:
        read_1(memory, base, at, first, out, out_at, count)
    elif piece == 4:
        read_4(memory, base, at, first, out, out_at, count)
    elif piece == 8:
        read_8(memory, base, at, first, out, out_at, count)
    elif piece == 16:
        read_16(memory, base, at, first, out, out_at, count)
    else:
        read_32(memory, base, at, first, out, out_at, count)


@njit(cache=True, nogil=True, parallel=True)
def read_lines(memory, line_at, along, piece, out):  # type: ignore[no-untyped-def]
    """out[line * along.size + j] = memory[line_at[line] + along[j]]; along: runs of `piece`."""
    for line in prange(line_at.size):
        read_runs(memory, line_at[line], along, 0, out, line * along.size, along.size, piece)


def gather(
    code: npt.NDArray[Any], row_at: npt.NDArray[np.int64], k_at: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return (rows, K) codes: element (i, k) is code.flat[row_at[i] + k_at[k]].

    Written along whichever axis has the longer runs; so either the result or its transpose is
    C-contiguous.
    """
    if not row_at.size or not k_at.size:
        return np.empty((row_at.size, k_at.size), code.dtype)
    unsigned = code.reshape(-1).view(f"u{code.dtype.itemsize}")
    unsigned = unsigned if unsigned.flags.writeable else unsigned.copy()
    along_rows, along_k = piece_of(row_at), piece_of(k_at)
    turned = along_rows > along_k
    lines, along = (k_at, row_at) if turned else (row_at, k_at)
    out = np.empty((lines.size, along.size), unsigned.dtype)
    with parallel(out.size, _GRAIN):
        read_lines(unsigned, lines, along, max(along_rows, along_k), out.reshape(-1))
    whole = out.view(code.dtype)
    return whole.T if turned else whole
