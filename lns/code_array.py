"""What stands below all arithmetic: codes, the scale beside them and the format that reads them.

`array.LNSArray` is :class:`LogCodes` with operators; here nothing computes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from .checks import as_array, require_kind
from .format import FloatFormat, IntFormat, LNSFormat

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
    fixed = require_offset(offset, code.shape)
    if not code.size:
        return fixed
    if isinstance(fmt, IntFormat):
        low, high, least, most = fmt.min_value, fmt.max_value, int(code.min()), int(code.max())
        if not low <= least <= most <= high:
            worst = most if most > high else least
            raise ValueError(f"code must be in {low}..{high} for {fmt.name}, got {worst}")
    elif code.dtype.itemsize * 8 > fmt.bits and int(code.max()) >> fmt.bits:
        raise ValueError(f"code must be below 2^{fmt.bits} for {fmt.name}, got {int(code.max())}")
    return fixed


class Coded:
    """What every array of codes has, blocks in one scale each (`mx.MXArray`) among them."""

    __slots__ = ()
    code: npt.NDArray[Any]

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


class _Scaled(Coded):
    """Codes beside an offset: what LNSArray, FloatArray and IntArray share."""

    __slots__ = ()
    _format: ClassVar[type]
    offset: Offset
    fmt: Any

    def __post_init__(self) -> None:
        require_kind("fmt", self.fmt, self._format)
        object.__setattr__(self, "offset", _check(self.fmt, self.code, self.offset))

    def like(self, code: npt.NDArray[Any], offset: Offset, fmt: Any = None) -> Self:
        """Return other codes as an array of this kind; fmt None: of this format."""
        kind: Any = type(self)
        made: Self = kind(code, offset, self.fmt if fmt is None else fmt)
        return made

    @property
    def T(self) -> Self:  # noqa: N802 - numpy's name
        """The transpose, a view."""
        offset = self.offset
        if not isinstance(offset, int):
            offset = offset.reshape((1,) * (self.ndim - offset.ndim) + offset.shape).T
        return self.like(self.code.T, offset)


@dataclass(frozen=True, slots=True, eq=False)
class LogCodes(_Scaled):
    """The fields of an LNSArray and their checks; see there."""

    code: npt.NDArray[Any]
    offset: Offset
    fmt: LNSFormat
    _format = LNSFormat


@dataclass(frozen=True, slots=True, eq=False)
class FloatArray(_Scaled):
    """Codes of a FloatFormat: value = float(code) * 2^offset."""

    code: npt.NDArray[Any]
    offset: Offset
    fmt: FloatFormat
    _format = FloatFormat


@dataclass(frozen=True, slots=True, eq=False)
class IntArray(_Scaled):
    """Codes of an IntFormat: value = code * 2^offset."""

    code: npt.NDArray[Any]
    offset: Offset
    fmt: IntFormat
    _format = IntFormat
