"""Arithmetic on logarithmic codes, by integer additions on exponents.

Every result is stored into a target, a format and an offset: e' = exact exponent + exact offset
- offset', saturated above the top, below the smallest magnitude zero (zero=False: e = 0 with the
sign kept). Operands broadcast against each other as in numpy and share one gamma (`requantise`
changes it). Inside, exponents are int64, so no offset overflows.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .code_array import LogCodes, Offset, require_offset
from .format import LNSFormat
from .gauss import gauss_table
from .log_codec import stored_codes

Ints = npt.NDArray[np.int64]
Array = TypeVar("Array", bound=LogCodes)  # an LNSArray, which stands above this file


class _Parts(NamedTuple):
    """An array taken apart; all of its shape."""

    negative: npt.NDArray[np.bool_]  #: false where zero
    zero: npt.NDArray[np.bool_]
    e: Ints  #: stored exponent
    offset: Ints

    @property
    def steps(self) -> Ints:
        """gamma * log2 of the magnitude; arbitrary where zero."""
        return self.e + self.offset


def take_apart(name: str, array: LogCodes) -> _Parts:
    """Return signs, zeros, exponents and offset of an array; TypeError for another kind."""
    if not isinstance(array, LogCodes):
        raise TypeError(f"{name} must be an LNSArray, got {type(array).__name__}")
    e = (array.code & array.fmt.max_exponent).astype(np.int64)
    zero = (e == 0) & array.fmt.zero
    negative = (array.code >> array.fmt.exponent_bits).astype(bool) & ~zero
    offset = np.broadcast_to(np.asarray(array.offset, np.int64), array.shape)
    return _Parts(np.asarray(negative), np.asarray(zero), np.asarray(e), offset)


def _pair(a: LogCodes, b: LogCodes) -> tuple[_Parts, _Parts]:
    """Both operands taken apart, of one gamma and shapes that broadcast."""
    left, right = take_apart("a", a), take_apart("b", b)
    if a.fmt.gamma != b.fmt.gamma:
        raise ValueError(f"b must have a's gamma = {a.fmt.gamma}, got {b.fmt.gamma}")
    require_broadcast(a.shape, b.shape)
    return left, right


def require_broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Raise ValueError unless the operands' shapes broadcast."""
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        raise ValueError(f"b must have a shape that broadcasts with a's {a}, got {b}") from None


def _target(a: LogCodes, fmt: LNSFormat | None) -> LNSFormat:
    """The given target format, or a's; it has a's gamma."""
    if fmt is None:
        return a.fmt
    if not isinstance(fmt, LNSFormat):
        raise TypeError(f"fmt must be an LNSFormat, got {fmt!r}")
    if fmt.gamma != a.fmt.gamma:
        raise ValueError(f"fmt must have a's gamma = {a.fmt.gamma}, got {fmt.gamma}")
    return fmt


def _first(found: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first true element in C order."""
    return tuple(int(i) for i in np.argwhere(found)[0])


def _stored(
    kind: Array, steps: Ints, negative: Any, zero: Any, fmt: LNSFormat, offset: Offset | None
) -> Array:
    """`stored_codes` as an array of the operand's kind."""
    return kind.like(*stored_codes(steps, negative, zero, fmt, offset), fmt)


def mul(a: Array, b: LogCodes, fmt: LNSFormat | None = None, offset: Offset | None = None) -> Array:
    """Return a * b: exponents add, signs xor, zero if a factor is zero.

    fmt None: a's format. offset None: the smallest multiple of gamma for which nothing saturates
    (0 if all is zero), one for the whole result. Raises ValueError for different gammas.
    """
    left, right = _pair(a, b)
    negative, zero = left.negative ^ right.negative, left.zero | right.zero
    return _stored(a, left.steps + right.steps, negative, zero, _target(a, fmt), offset)


def div(a: Array, b: LogCodes, fmt: LNSFormat | None = None, offset: Offset | None = None) -> Array:
    """Return a / b: exponents subtract, signs xor; target and errors as `mul`.

    Raises ValueError naming the index, in the broadcast shape, of the first division by zero.
    """
    left, right = _pair(a, b)
    steps = left.steps - right.steps
    by_zero = np.broadcast_to(right.zero, steps.shape)
    if by_zero.any():
        raise ValueError(f"b must be other than zero, got zero at index {_first(by_zero)}")
    return _stored(a, steps, left.negative ^ right.negative, left.zero, _target(a, fmt), offset)


def square(a: Array, fmt: LNSFormat | None = None, offset: Offset | None = None) -> Array:
    """Return mul(a, a, fmt, offset)."""
    return mul(a, a, fmt, offset)


def sqrt(a: Array, fmt: LNSFormat | None = None, offset: Offset | None = None) -> Array:
    """Return the square root: RN_even((e + offset_a) / 2) - offset'; target as `mul`.

    Raises ValueError naming the index of the first negative operand.
    """
    parts = take_apart("a", a)
    if parts.negative.any():
        raise ValueError(
            f"a must not be negative, got a negative number at index {_first(parts.negative)}"
        )
    steps = _halved(parts.steps, 1)
    return _stored(a, steps, parts.negative, parts.zero, _target(a, fmt), offset)


def neg(a: Array) -> Array:
    """Return -a in the same format and offset; zero stays code 0."""
    parts = take_apart("a", a)
    return _with_sign(a, parts, ~parts.negative)


def absolute(a: Array) -> Array:
    """Return |a| in the same format and offset."""
    parts = take_apart("a", a)
    return _with_sign(a, parts, np.zeros(a.shape, bool))


def _with_sign(a: Array, parts: _Parts, negative: npt.NDArray[np.bool_]) -> Array:
    code = parts.e | (negative & ~parts.zero).astype(np.int64) << a.fmt.exponent_bits
    return a.like(np.asarray(code).astype(a.fmt.code_dtype), a.offset)


def compare(a: LogCodes, b: LogCodes) -> npt.NDArray[np.int8]:
    """Return int8 -1, 0 or 1 where the value of a is below, equal to or above that of b.

    Exact for any two formats and offsets; a zero equals a zero of either sign.
    """
    left, right = take_apart("a", a), take_apart("b", b)
    require_broadcast(a.shape, b.shape)
    gamma = max(a.fmt.gamma, b.fmt.gamma)
    magnitude = np.sign(left.steps * (gamma // a.fmt.gamma) - right.steps * (gamma // b.fmt.gamma))
    sign_left, sign_right = _signum(left), _signum(right)
    same = magnitude * sign_left
    order = np.where(sign_left == sign_right, same, np.sign(sign_left - sign_right))
    return np.asarray(order).astype(np.int8)


def _signum(parts: _Parts) -> Ints:
    return np.where(parts.zero, 0, np.where(parts.negative, -1, 1))


def requantise(array: Array, fmt: LNSFormat, offset: Offset | None = None) -> Array:
    """Return `array` in another format: e' = RN_even((e + offset) * G' / G - offset').

    The whole expression is rounded once, half to even, then saturated or flushed. offset None: the
    smallest multiple of fmt.gamma for which nothing saturates (0 if all is zero).
    """
    parts = take_apart("array", array)
    if not isinstance(fmt, LNSFormat):
        raise TypeError(f"fmt must be an LNSFormat, got {fmt!r}")
    finer = max(1, fmt.gamma // array.fmt.gamma)
    places = max(1, array.fmt.gamma // fmt.gamma).bit_length() - 1
    exact = parts.steps * finer  # in units of 2^-places of a step of the target
    if offset is None:
        # A tie at the largest element: the top exponent is odd, and half to even would leave it.
        steps = exact + ((1 << places) >> 1) >> places
        _, settled = stored_codes(steps, parts.negative, parts.zero, fmt, None)
    else:
        settled = require_offset(offset, array.shape)
    shift = np.asarray(settled, np.int64)
    steps = _halved(exact - (shift << places), places) + shift
    return _stored(array, steps, parts.negative, parts.zero, fmt, settled)


def _halved(value: Ints, places: int) -> Ints:
    """RN_even(value / 2^places)."""
    kept = value >> places
    rest = value - (kept << places)
    half = (1 << places) >> 1
    return kept + ((rest > half) | ((rest == half) & (kept & 1 == 1)) & (places > 0))


def add(a: Array, b: LogCodes, variant: str = "exact") -> Array:
    """Return a + b in the operands' common format and offset.

    With i the larger exponent and d the distance: i + S(d) for equal signs, i - D(d) for opposite
    ones, zero if they cancel; x + 0 = x. Above the top it saturates; below the smallest magnitude
    it is zero (zero=False: e = 0 with the larger operand's sign; exact cancellation: code 0).
    variant: how S and D are found: "exact", correctly rounded, or "table:n", "interp:n", "mitchell"
    (gauss.VARIANTS; gauss.max_error says how far off). Raises ValueError where formats or offsets
    differ.
    """
    left, right = _pair(a, b)
    _require_common_scale(a, b, left, right)
    distance = np.abs(left.e - right.e)
    opposite = left.negative ^ right.negative
    sums, differences = (gauss_table(a.fmt.gamma, kind, variant) for kind in (False, True))
    change = np.where(opposite, -differences[distance], sums[distance].astype(np.int64))
    e = np.maximum(left.e, right.e) + change
    negative = np.where(left.e >= right.e, left.negative, right.negative)
    cancelled = opposite & (distance == 0)  # never of one zero: a magnitude has another e
    for this, other in ((left, right), (right, left)):  # x + 0 = x
        e = np.where(this.zero, other.e, e)
        negative = np.where(this.zero, other.negative, negative)
    gone = cancelled | (left.zero & right.zero)
    offset = _common_offset(a, b)
    return _stored(a, e + np.asarray(offset, np.int64), negative, gone, a.fmt, offset)


def sub(a: Array, b: LogCodes, variant: str = "exact") -> Array:
    """Return a - b, which is add(a, neg(b), variant)."""
    _pair(a, b)
    return add(a, neg(b), variant)


def _require_common_scale(a: LogCodes, b: LogCodes, left: _Parts, right: _Parts) -> None:
    if a.fmt != b.fmt:
        raise ValueError(f"b must have a's format {a.fmt.name}, got {b.fmt.name}")
    offset_a, offset_b = np.broadcast_arrays(left.offset, right.offset)
    different = offset_a != offset_b
    if different.any():
        index = _first(different)
        raise ValueError(
            f"b must have a's offset, got {int(offset_a[index])} and {int(offset_b[index])} "
            f"at index {index}; requantise one of them"
        )


def _common_offset(a: LogCodes, b: LogCodes) -> Any:
    """The offset both share, as an int or an array that broadcasts to the result."""
    if isinstance(a.offset, int) and isinstance(b.offset, int):
        return a.offset
    return np.broadcast_arrays(np.asarray(a.offset), np.asarray(b.offset))[0].astype(np.int32)
