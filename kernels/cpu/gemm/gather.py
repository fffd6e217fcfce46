"""A gathered matrix as an array of its own, on every thread."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..ir.moves import SPAN, read_spans
from ..runtime.inner import inner
from ..runtime.threads import parallel

_GRAIN = 1 << 18  # codes that make a thread worth waking

Int64 = npt.NDArray[np.int64]

IN_PLACE, ALONG_K, ALONG_ROWS = 0, 1, 2

# How an operand is read: IN_PLACE with steps from row to row and from product to product, or copied
# along runs of k or of rows (ALONG_K, ALONG_ROWS; the steps are then 0).
Reading = tuple[int, int, int]


@njit(cache=True, nogil=True)
def _runs_of(at):  # type: ignore[no-untyped-def]
    """(for every offset how many from there on are neighbours, how many runs there are)."""
    runs, found = np.ones(at.size, np.int64), min(at.size, 1)
    for i in range(at.size - 2, -1, -1):
        if at[i + 1] == at[i] + 1:
            runs[i] = runs[i + 1] + 1
        else:
            found += 1
    return runs, found


class Pattern:
    """Where the elements of a matrix lie, (i, k) at row_at[i] + k_at[k], and what follows from it.

    row_at: (M,), k_at: (K,), int64, C-contiguous, else TypeError or ValueError; not to be written
    to afterwards, since what is found out about them is kept. One pattern may serve any number of
    :class:`Gathered` matrices.
    """

    __slots__ = ("_ends", "_k_at", "_reading", "_row_at")

    def __init__(self, row_at: Int64, k_at: Int64) -> None:
        for name, at in (("row_at", row_at), ("k_at", k_at)):
            if not isinstance(at, np.ndarray) or at.ndim != 1 or at.dtype != np.int64:
                got = f"{at.ndim}-d {at.dtype}" if isinstance(at, np.ndarray) else repr(at)
                raise TypeError(f"{name} must be 1-dimensional int64, got {got}")
            if not at.flags.c_contiguous:
                raise ValueError(f"{name} must be C-contiguous, got strides {at.strides}")
        least, most = (
            sum(int(find(at)) for at in (row_at, k_at) if at.size) for find in (np.min, np.max)
        )
        self._set(row_at, k_at, (least, most), None)

    def _set(
        self,
        row_at: Int64,
        k_at: Int64,
        ends: tuple[int, int],
        reading: tuple[Reading, Int64] | None,
    ) -> "Pattern":
        self._row_at, self._k_at, self._ends, self._reading = row_at, k_at, ends, reading
        return self

    @property
    def row_at(self) -> Int64:
        """Offsets of the rows, (M,)."""
        return self._row_at

    @property
    def k_at(self) -> Int64:
        """Offsets of the columns, (K,)."""
        return self._k_at

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest place and the highest."""
        return self._ends

    @property
    def reading(self) -> tuple[Reading, Int64]:
        """(how to read the matrix, the runs along which it is copied)."""
        if self._reading is None:
            along_k, runs = fewer_runs(self._row_at, self._k_at)
            self._reading = (ALONG_K if along_k else ALONG_ROWS, 0, 0), runs
        return self._reading

    def flipped(self) -> "Pattern":
        """Return the transposed matrix's, which is copied along the same runs."""
        (way, _, _), runs = self.reading
        reading = (ALONG_ROWS if way == ALONG_K else ALONG_K, 0, 0), runs
        return Pattern.__new__(Pattern)._set(self._k_at, self._row_at, self._ends, reading)

    def shifted(self, by: int) -> "Pattern":
        """Return the pattern of a matrix that lies `by` elements further on, with the same runs."""
        if not by:
            return self
        row_at, k_at = self._row_at, self._k_at
        if row_at.size < k_at.size:
            row_at = row_at + by
        else:
            k_at = k_at + by
        ends = self._ends[0] + by, self._ends[1] + by
        return Pattern.__new__(Pattern)._set(row_at, k_at, ends, self.reading)


def fewer_runs(row_at: Int64, k_at: Int64) -> tuple[bool, Int64]:
    """Return (is a matrix copied in fewer runs along k than along its rows?, the runs of that way).

    The matrix has element (i, k) at row_at[i] + k_at[k]; runs: see `moves.read_spans`.
    """
    (along_k, parts), (along_rows, pieces) = _runs_of(k_at), _runs_of(row_at)
    fewer = parts * row_at.size < pieces * k_at.size
    return fewer, along_k if fewer else along_rows


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
