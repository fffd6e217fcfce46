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
from .cpu.gemm.gather import ALONG_ROWS, IN_PLACE, Int64, Pattern, Reading, gather


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
        code = gather(self.array.code, self.row_at, self.k_at)
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
