"""Arrays of codes: integers, the scale that stands beside them and the format that reads them.

An LNSArray does what an array does: index, shape, + - * / @, comparisons, conversion, printing.
Nothing here computes; every operator is the function of the same meaning in arith.py or sums.py,
with its default target. Operands are LNSArrays: a plain number has no format, so it is refused with
a hint to encode it. Comparison is by value. `numpy.asarray` gives the values as float64; numpy's
own functions are refused, but for shape, ndim and size: they would compute on those values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .arith import absolute, add, compare, div, mul, neg, sub
from .code_array import FloatArray, IntArray, LogCodes, Offset, require_offset
from .log_codec import decode_log
from .sums import dot

__all__ = ["CodeArray", "FloatArray", "IntArray", "LNSArray", "Offset", "require_offset"]

_OF_SHAPE = (np.shape, np.ndim, np.size)
_SHOWN = 6  # elements per axis at each end before a long array is abbreviated


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LNSArray(LogCodes):
    """Codes of an LNSFormat: value = (-1)^sign * 2^((e + offset) / gamma).

    code: uint8 or uint16, as `fmt.code_dtype`, any shape. offset: int32, one for the array or an
    array broadcastable to `code` (a scale per row or channel). Raises TypeError for another dtype
    and ValueError for codes wider than the format or an offset that does not broadcast.
    """

    __array_ufunc__ = None  # numpy leaves a binary operator to the methods below
    __hash__ = None  # type: ignore[assignment]  # == is element by element

    def _offset_of(self, change: Any) -> Any:
        """The offset after the same change of shape as the codes; one number stays one."""
        if isinstance(self.offset, int):
            return self.offset
        return np.array(change(np.broadcast_to(self.offset, self.code.shape)))

    def __getitem__(self, index: Any) -> "LNSArray":
        """Elements, rows, slices, masks, as numpy indexes; a single one has no axes."""
        return self.like(np.asarray(self.code[index]), self._offset_of(lambda x: x[index]))

    def __iter__(self) -> Iterator["LNSArray"]:
        return (self[i] for i in range(len(self.code)))

    def reshape(self, *shape: Any) -> "LNSArray":
        """Return the array in another shape, C order."""
        return self.like(self.code.reshape(*shape), self._offset_of(lambda x: x.reshape(*shape)))

    def transpose(self, *axes: Any) -> "LNSArray":
        """Return the array with its axes permuted; without arguments reversed."""
        change = self._offset_of(lambda x: x.transpose(*axes))
        return self.like(self.code.transpose(*axes), change)

    def __add__(self, other: Any) -> "LNSArray":
        return add(*_both(self, other, "+"))

    def __sub__(self, other: Any) -> "LNSArray":
        return sub(*_both(self, other, "-"))

    def __mul__(self, other: Any) -> "LNSArray":
        return mul(*_both(self, other, "*"))

    def __truediv__(self, other: Any) -> "LNSArray":
        return div(*_both(self, other, "/"))

    def __matmul__(self, other: Any) -> "LNSArray":
        """(…, K) @ (K, …): dot, sequential and exact, in an accumulator of two more bits."""
        a, b = _both(self, other, "@")
        if a.ndim not in (1, 2) or b.ndim not in (1, 2):
            raise ValueError(f"@ must be of one or two axes, got shapes {a.shape} and {b.shape}")
        if a.shape[-1] != b.shape[0]:
            raise ValueError(f"@ must contract equal sizes, got shapes {a.shape} and {b.shape}")
        if b.ndim == 1:
            return dot(a, b)
        columns = b.transpose()
        return dot(a[..., None, :], columns) if a.ndim == 2 else dot(a, columns)

    def _refused(self, other: Any) -> Any:
        _both(other, self, "an operator")

    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rmatmul__ = _refused

    def __neg__(self) -> "LNSArray":
        return neg(self)

    def __pos__(self) -> "LNSArray":
        return self

    def __abs__(self) -> "LNSArray":
        return absolute(self)

    def _order(self, other: Any, symbol: str) -> npt.NDArray[np.int8]:
        return compare(*_both(self, other, symbol))

    def __eq__(self, other: object) -> Any:
        return self._order(other, "==") == 0

    def __ne__(self, other: object) -> Any:
        return self._order(other, "!=") != 0

    def __lt__(self, other: Any) -> Any:
        return self._order(other, "<") < 0

    def __le__(self, other: Any) -> Any:
        return self._order(other, "<=") <= 0

    def __gt__(self, other: Any) -> Any:
        return self._order(other, ">") > 0

    def __ge__(self, other: Any) -> Any:
        return self._order(other, ">=") >= 0

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """The values, float64 rounded to nearest; ValueError where no copy is allowed."""
        if copy is False:
            raise ValueError("copy must be allowed: the values are computed from the codes")
        values = decode_log(self)
        return values if dtype is None else values.astype(dtype)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """numpy's shape, ndim and size; TypeError for a function that would read the values."""
        if function in _OF_SHAPE:
            named = {name: _shaped(value) for name, value in options.items()}
            return function(*(_shaped(value) for value in args), **named)
        raise TypeError(
            f"{function.__module__}.{function.__name__} must be given values, got an LNSArray; "
            "numpy.asarray(x) makes them, in float64"
        )

    def __dlpack__(self, **options: Any) -> Any:
        """The values as float64 for `torch.asarray` and other readers of DLPack."""
        return np.asarray(self).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return np.asarray(self).__dlpack_device__()

    def __float__(self) -> float:
        if self.code.size != 1:
            raise TypeError(f"float() must be of one element, got shape {self.code.shape}")
        return float(np.asarray(self).reshape(()))

    def __bool__(self) -> bool:
        if self.code.size != 1:
            raise ValueError(f"truth must be of one element, got shape {self.code.shape}")
        return not (self.fmt.zero and int(self.code.item()) & self.fmt.max_exponent == 0)

    def _values(self) -> str:
        """The values, in powers of two where float64 does not hold them all."""
        e = np.asarray(self.code & self.fmt.max_exponent, np.int64)
        steps = e + np.asarray(self.offset, np.int64)
        number = ~((e == 0) & self.fmt.zero)
        octave = steps // self.fmt.gamma
        if not (number & ((octave > 1023) | (octave < -1074))).any():  # float64's own octaves
            return _shown(np.asarray(self), {})

        def power(i: int) -> str:
            sign = "-" * int(self.code.flat[i] >> self.fmt.exponent_bits)
            return f"{sign}2^{steps.flat[i] / self.fmt.gamma}" if number.flat[i] else "0"

        return _shown(np.arange(e.size).reshape(e.shape), {"int": power})

    def __repr__(self) -> str:
        digits = -(-self.fmt.bits // 4)
        values, codes = self._values(), _shown(self.code, {"int": lambda c: f"0x{c:0{digits}x}"})
        place = self.offset if isinstance(self.offset, int) else f"array{self.offset.shape}"
        return f"LNSArray({values}, codes {codes}, offset={place}, {self.fmt.name})"


CodeArray = LNSArray | FloatArray | IntArray


def _shaped(value: Any) -> Any:
    """In place of an LNSArray an array of its shape."""
    return value.code if isinstance(value, LNSArray) else value


def _shown(array: npt.NDArray[Any], formatter: Any) -> str:
    return np.array2string(
        array, precision=6, separator=", ", threshold=4 * _SHOWN, edgeitems=_SHOWN // 2,
        formatter=formatter,
    )  # fmt: skip


def _both(a: Any, b: Any, symbol: str) -> tuple[LNSArray, LNSArray]:
    """Both operands, or a TypeError that says what to do with the other kind."""
    for value in (a, b):
        if not isinstance(value, LNSArray):
            raise TypeError(
                f"operands of {symbol} must be LNSArrays, got {type(value).__name__}; "
                "encode(x, fmt, offset) makes one"
            )
    return a, b
