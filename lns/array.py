"""Arrays of codes: integers, the scale that stands beside them and the format that reads them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import as_array, require_kind
from .format import FloatFormat, IntFormat, LNSFormat
from .operators import Operators

Offset = int | npt.NDArray[np.int32]
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1  # of an int32


def require_offset(offset: object, shape: tuple[int, ...]) -> Offset:
    """Return an offset for codes of `shape` as an int or an int32 array that broadcasts to it.

    Raises TypeError for another dtype, ValueError outside int32 or where it does not broadcast.
    """
    if type(offset) is int and _LEAST <= offset <= _MOST:
        return offset
    whole = as_array("offset", offset)
    if whole.dtype.kind not in "iu":
        raise TypeError(f"offset must be an integer, got {offset!r}")
    if whole.size and (whole.min() < _LEAST or whole.max() > _MOST):
        raise ValueError(f"offset must be in {_LEAST}..{_MOST}, got {offset!r}")
    if whole.ndim == 0:
        return int(whole)
    try:
        fits = np.broadcast_shapes(whole.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"offset must be broadcastable to the code's shape {shape}, got {whole.shape}"
        )
    return whole.astype(np.int32)


def _check(fmt: Any, code: npt.NDArray[Any], offset: Offset) -> Offset:
    """Validate one array's fields; return the offset as an int or an int32 array."""
    dtype = fmt.code_dtype
    if not isinstance(code, np.ndarray) or code.dtype != dtype:
        got = getattr(code, "dtype", type(code).__name__)
        raise TypeError(f"code must be a numpy array of {dtype} for {fmt.name}, got {got}")
    return require_offset(offset, code.shape)


def _check_width(code: npt.NDArray[Any], fmt: LNSFormat | FloatFormat) -> None:
    """Refuse codes that need more bits than the format has."""
    spare = code.dtype.itemsize * 8 - fmt.bits
    if spare and code.size and int(code.max()) >> fmt.bits:
        raise ValueError(f"code must be below 2^{fmt.bits} for {fmt.name}, got {int(code.max())}")


class _CodeArray:
    """What the three array classes share."""

    __slots__ = ()
    code: npt.NDArray[Any]
    offset: Offset

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the codes."""
        return self.code.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.code.ndim

    @property
    def size(self) -> int:
        """Number of codes."""
        return self.code.size

    def __len__(self) -> int:
        if not self.code.ndim:
            raise TypeError("len() must be of an array with axes, got a single number")
        return len(self.code)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LNSArray(Operators, _CodeArray):
    """Codes of an LNSFormat: value = (-1)^sign * 2^((e + offset) / gamma).

    code: uint8 or uint16, as `fmt.code_dtype`, any shape. offset: int32, one for the array or an
    array broadcastable to `code` (a scale per row or channel). operators.py says what it does like
    an array. Raises TypeError for another dtype and ValueError for codes wider than the format or
    an offset that does not broadcast.
    """

    code: npt.NDArray[Any]
    offset: Offset
    fmt: LNSFormat

    def __post_init__(self) -> None:
        require_kind("fmt", self.fmt, LNSFormat)
        fixed = _check(self.fmt, self.code, self.offset)
        object.__setattr__(self, "offset", fixed)
        _check_width(self.code, self.fmt)

    @property
    def T(self) -> "LNSArray":  # noqa: N802 - numpy's name
        """The transpose, a view."""
        return LNSArray(self.code.T, _transposed(self.offset, self.ndim), self.fmt)


@dataclass(frozen=True, slots=True, eq=False)
class FloatArray(_CodeArray):
    """Codes of a FloatFormat: value = float(code) * 2^offset."""

    code: npt.NDArray[Any]
    offset: Offset
    fmt: FloatFormat

    def __post_init__(self) -> None:
        require_kind("fmt", self.fmt, FloatFormat)
        fixed = _check(self.fmt, self.code, self.offset)
        object.__setattr__(self, "offset", fixed)
        _check_width(self.code, self.fmt)

    @property
    def T(self) -> "FloatArray":  # noqa: N802 - numpy's name
        """The transpose, a view."""
        return FloatArray(self.code.T, _transposed(self.offset, self.ndim), self.fmt)


@dataclass(frozen=True, slots=True, eq=False)
class IntArray(_CodeArray):
    """Codes of an IntFormat: value = code * 2^offset."""

    code: npt.NDArray[Any]
    offset: Offset
    fmt: IntFormat

    def __post_init__(self) -> None:
        require_kind("fmt", self.fmt, IntFormat)
        fixed = _check(self.fmt, self.code, self.offset)
        object.__setattr__(self, "offset", fixed)
        low, high = self.fmt.min_value, self.fmt.max_value
        if self.code.size and not low <= int(self.code.min()) <= int(self.code.max()) <= high:
            worst = int(self.code.max()) if int(self.code.max()) > high else int(self.code.min())
            raise ValueError(f"code must be in {low}..{high} for {self.fmt.name}, got {worst}")

    @property
    def T(self) -> "IntArray":  # noqa: N802 - numpy's name
        """The transpose, a view."""
        return IntArray(self.code.T, _transposed(self.offset, self.ndim), self.fmt)


CodeArray = LNSArray | FloatArray | IntArray


def _transposed(offset: Offset, ndim: int) -> Offset:
    """The offset that stands beside the transpose of an array of `ndim` axes."""
    if isinstance(offset, int):
        return offset
    return offset.reshape((1,) * (ndim - offset.ndim) + offset.shape).T
