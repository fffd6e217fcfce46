"""Where the codes of an operand lie: flat memory and two offset tables.

Element (i, k) of an operand with rows i, contracted over k, is `memory[row_at[i] + k_at[k]]`. So a
transposed matrix is read where it lies, and so are the patches of a convolution (im2col without
the copy: each code appears in many patches).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray, Offset
from ..lns.checks import require_int, require_kind
from ..lns.format import Format

Int64 = npt.NDArray[np.int64]

IN_PLACE, ALONG_K, ALONG_ROWS = 0, 1, 2

# How an operand is read: IN_PLACE with steps from row to row and from product to product, or copied
# along runs of k or of rows (ALONG_K, ALONG_ROWS; the steps are then 0).
Reading = tuple[int, int, int]


def _runs_of(at: Int64) -> tuple[Int64, int]:
    """(for every offset how many from there on are neighbours, how many runs there are)."""
    last = np.append(np.flatnonzero(at[1:] != at[:-1] + 1), at.size - 1) if at.size else at
    end = np.repeat(last, np.diff(last, prepend=-1))
    return end + 1 - np.arange(at.size), last.size


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

    The matrix has element (i, k) at row_at[i] + k_at[k]; runs: for every offset how many from
    there on are neighbours.
    """
    (along_k, parts), (along_rows, pieces) = _runs_of(k_at), _runs_of(row_at)
    fewer = parts * row_at.size < pieces * k_at.size
    return fewer, along_k if fewer else along_rows


class Codes(NamedTuple):
    """Codes as the kernels read them; rows are what is kept of an operand, k what is summed."""

    memory: npt.NDArray[Any]  #: 1-D C-contiguous, unsigned
    row_at: Int64  #: (rows,)
    k_at: Int64  #: (K,)
    reading: tuple[Reading, Int64]  #: how they are read, and the runs along which they are copied

    def rows(self, part: slice) -> "Codes":
        """Some of the rows."""
        reading = self.reading
        if reading[0][0] == ALONG_ROWS:
            reading = reading[0], reading[1][part]
        return Codes(self.memory, self.row_at[part], self.k_at, reading)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A matrix (M, K) whose element (i, k) is array.code.flat[row_at[i] + k_at[k]].

    array: any shape, C-contiguous codes, one offset for the whole tensor. It may take the place of
    an array in `matmul`: as the left operand it is (M, K); `.T` is the right operand (K, M).
    row_at, k_at: as :class:`Pattern` takes them. ValueError where a place is outside the codes.
    """

    array: CodeArray
    row_at: Int64
    k_at: Int64
    transposed: bool = False
    pattern: Pattern = field(init=False, repr=False)  #: of row_at and k_at

    def __post_init__(self) -> None:
        self._set(Pattern(self.row_at, self.k_at))

    @classmethod
    def of(cls, array: CodeArray, pattern: Pattern, transposed: bool = False) -> "Gathered":
        """The matrix of a pattern: what the pattern knows is not found out for every matrix."""
        require_kind("pattern", pattern, Pattern)
        made = object.__new__(cls)
        fields = array, pattern.row_at, pattern.k_at, transposed
        for name, value in zip(("array", "row_at", "k_at", "transposed"), fields, strict=True):
            object.__setattr__(made, name, value)
        made._set(pattern)
        return made

    def _set(self, pattern: Pattern) -> None:
        """Check the array, and that the pattern lies within it."""
        _require_codes(self.array)
        if not isinstance(self.array.offset, int):
            raise ValueError(
                f"array must have one offset for the whole tensor, got {self.array.offset.shape}"
            )
        if not self.array.code.flags.c_contiguous:
            raise ValueError(f"array must be C-contiguous, got strides {self.array.code.strides}")
        first, last = pattern.ends
        if first < 0 or (self.size and last >= self.array.size):
            raise ValueError(
                f"row_at + k_at must lie within the {self.array.size} codes, got {first} to {last}"
            )
        object.__setattr__(self, "pattern", pattern)

    @property
    def fmt(self) -> Format:
        """Format of the codes."""
        return self.array.fmt

    @property
    def offset(self) -> Offset:
        """Scale of the codes."""
        return self.array.offset

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        shape = self.row_at.size, self.k_at.size
        return (shape[1], shape[0]) if self.transposed else shape

    @property
    def ndim(self) -> int:
        """2: it is a matrix."""
        return 2

    @property
    def size(self) -> int:
        """Elements of the matrix."""
        return self.row_at.size * self.k_at.size

    @property
    def T(self) -> "Gathered":  # noqa: N802
        """The transposed matrix, same codes."""
        return Gathered.of(self.array, self.pattern, not self.transposed)

    def gathered(self) -> CodeArray:
        """Return the matrix as an array of its own (a copy)."""
        code = self.array.code.reshape(-1)[self.row_at[:, None] + self.k_at]
        return with_code(self.array, code.T if self.transposed else code)


Matrix = CodeArray | Gathered


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a float32 result (M, N) goes: element (i, j) to memory[row_at[i] + column_at[j]]."""

    memory: npt.NDArray[np.float32]  #: 1-D C-contiguous
    row_at: Int64  #: (M,)
    column_at: Int64  #: (N,)
    unit: bool  #: column_at is 0, 1, 2, ...


def _require_codes(array: object) -> None:
    if not isinstance(array, CodeArray):
        raise TypeError(
            f"array must be an LNSArray, FloatArray or IntArray, got {type(array).__name__}"
        )


def with_code(array: CodeArray, code: npt.NDArray[Any]) -> CodeArray:
    """Return other codes under the same format and scale; ValueError unless that is one number."""
    _require_codes(array)
    if not isinstance(array.offset, int):
        raise ValueError(
            f"array must have one offset for the whole tensor, got {array.offset.shape}"
        )
    kind: Any = type(array)
    made: CodeArray = kind(code, array.offset, array.fmt)
    return made


def plain_array(operand: Matrix) -> CodeArray:
    """The operand as an array."""
    return operand.gathered() if isinstance(operand, Gathered) else operand


def kind_of(operand: Any) -> type:
    """LNSArray, FloatArray or IntArray; another class as it is."""
    return type(operand.array) if isinstance(operand, Gathered) else type(operand)


def left_codes(operand: Matrix) -> Codes:
    """Codes of a left operand (M, K): its rows are kept."""
    return _codes(operand, transposed=False)


def right_codes(operand: Matrix) -> Codes:
    """Codes of a right operand (K, N): its columns are kept."""
    return _codes(operand, transposed=True)


def _codes(operand: Matrix, transposed: bool) -> Codes:
    if isinstance(operand, Gathered):
        memory = _unsigned(operand.array.code).reshape(-1)
        same = operand.transposed == transposed
        pattern = operand.pattern if same else operand.pattern.flipped()
        return Codes(memory, pattern.row_at, pattern.k_at, pattern.reading)
    code = operand.code.T if transposed else operand.code
    rows, products = code.shape
    if code.flags.c_contiguous:
        memory, steps = code.reshape(-1), (products, 1)
    elif code.flags.f_contiguous:
        memory, steps = code.T.reshape(-1), (1, rows)
    else:
        memory, steps = np.ascontiguousarray(code).reshape(-1), (products, 1)
    row_at, k_at = even_steps(rows, steps[0]), even_steps(products, steps[1])
    return Codes(_unsigned(memory), row_at, k_at, ((IN_PLACE, *steps), row_at[:0]))


def evenly(count: int, step: int) -> Int64:
    """Offsets 0, step, 2 step, ...; shared, not to be written."""
    return even_steps(
        require_int("count", count, 0, 1 << 31), require_int("step", step, -(1 << 31), 1 << 31)
    )


@lru_cache(maxsize=256)
def even_steps(count: int, step: int) -> Int64:
    """`evenly` for the kernels' own sizes, without its checks: a small product asks six times."""
    return np.arange(count, dtype=np.int64) * step


def _unsigned(code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes by their bits, as table indices; read-only and unaligned ones copied: kernels know
    the usual memory (Numba would compile them anew for another kind)."""
    if not (code.flags.writeable and code.flags.aligned):
        code = code.copy()
    return code.view(f"u{code.dtype.itemsize}") if code.dtype.kind == "i" else code
