"""Sums and dot products of logarithmic codes, in an order that is part of the call.

Addition of codes is not associative: the order decides the result, so it is always named.

    "sequential"  ((x0 + x1) + x2) + ..., ascending
    "tree"        x0 + x1, x2 + x3, ... and the results again, an odd one passing through
    "lanes:V"     V running sums, of k mod V each, then added as a tree
"""

import numpy as np
import numpy.typing as npt

from .accumulator import least_log_bits
from .arith import Array, add, neg, require_broadcast, take_apart
from .checks import plain_number, require_int
from .code_array import LogCodes
from .format import LNSFormat
from .gauss import split_variant

ORDERS = ("sequential", "tree", "lanes:V")
MAX_LANES = 1024
Codes = npt.NDArray[np.unsignedinteger]


def split_order(order: object) -> tuple[str, int]:
    """Return (kind, lanes) of an order's name, lanes = 1 where it has none.

    Raises ValueError for another name and for lanes outside 1..1024; V has no leading zeros.
    """
    kind, colon, number = order.partition(":") if isinstance(order, str) else ("", "", "")
    if kind in ("sequential", "tree") and not colon:
        return kind, 1
    lanes = plain_number(number)
    if kind == "lanes" and lanes is not None:
        return kind, require_int(f"V of order {order}", lanes, 1, MAX_LANES)
    raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")


def total(
    array: Array, axis: int | None = None, order: str = "sequential", variant: str = "exact"
) -> Array:
    """Return the sum along an axis (None: of all elements in C order), in the array's format.

    Every addition is `add`'s, with its variant, saturation and flushing; the offset must be the
    same along the axis and stays. No elements give code 0. Raises ValueError for an unknown order
    or variant, an axis out of range, or an offset that varies along the axis.
    """
    split_variant(variant)
    kind, lanes = split_order(order)
    if not isinstance(array, LogCodes):
        raise TypeError(f"array must be an LNSArray, got {type(array).__name__}")
    if axis is not None and not array.ndim:
        raise ValueError("array must have an axis to sum along, got a single number")
    flat = array.like(array.code.reshape(-1), _one_offset(array)) if axis is None else array
    place = 0 if axis is None else require_int("axis", axis, -array.ndim, array.ndim - 1)
    code = np.moveaxis(flat.code, place, 0)
    offset = _without_axis(flat, place)
    terms = [_canonical(array.like(np.asarray(row), offset)) for row in code]
    if not terms:
        return array.like(np.zeros(code.shape[1:], array.fmt.code_dtype), offset)
    if kind != "tree":
        terms = [_running(terms[lane::lanes], variant) for lane in range(min(lanes, len(terms)))]
    return _pairwise(terms, variant)


def dot(
    a: Array,
    b: LogCodes,
    accumulator_bits: int | None = None,
    order: str = "sequential",
    variant: str = "exact",
) -> Array:
    """Return the sums of products along the last axis, as fully logarithmic hardware has them.

    a, b: (..., K), which broadcast, of any formats; G is the finer gamma, to which exponents and
    offsets of the other are brought. The accumulator is a number of LNSFormat(accumulator_bits, G,
    zero=True), by default of the fewest bits that hold a product and its double (E + 2 for one
    format); a product enters it exactly, as exponent e_a + e_b + 1 at offset_a + offset_b - 1.
    order, variant: as `total`. Raises ValueError where the accumulator is narrower than that or
    wider than 15 bits, or an offset varies along K.
    """
    for name, array in (("a", a), ("b", b)):
        if not isinstance(array, LogCodes):
            raise TypeError(f"{name} must be an LNSArray, got {type(array).__name__}")
        if array.ndim == 0:
            raise ValueError(f"{name} must have an axis to sum along, got a single number")
    require_broadcast(a.shape, b.shape)
    target = accumulator_format(a.fmt, b.fmt, accumulator_bits)
    steps = [
        np.asarray(_without_axis(array, array.ndim - 1), np.int64)
        * (target.gamma // array.fmt.gamma)
        for array in (a, b)
    ]
    offset = np.asarray(steps[0] + steps[1] - 1)
    code = _products(a, b, target)
    whole = offset if offset.ndim == 0 else offset[..., None]
    products = a.like(code, whole, target)  # checked as an int32
    return total(products, -1, order, variant)


def accumulator_format(a: LNSFormat, b: LNSFormat, bits: int | None) -> LNSFormat:
    """Return the format of a sum of products of `a` and `b`; None: as few exponent bits as fit.

    ValueError for fewer, which could not hold a product and its double, or more than 15.
    """
    least = least_log_bits(a, b)
    wanted = require_int("accumulator_bits", least if bits is None else bits, least, 15)
    return LNSFormat(wanted, max(a.gamma, b.gamma))


def _products(a: LogCodes, b: LogCodes, target: LNSFormat) -> npt.NDArray[np.unsignedinteger]:
    """Codes of the products, exponent e_a + e_b + 1."""
    left, right = take_apart("a", a), take_apart("b", b)
    negative = (left.negative ^ right.negative).astype(np.int64)
    exponents = [
        part.e * (target.gamma // array.fmt.gamma) for part, array in ((left, a), (right, b))
    ]
    code = exponents[0] + exponents[1] + 1 | negative << target.exponent_bits
    return np.where(left.zero | right.zero, 0, code).astype(target.code_dtype)


def _canonical(array: Array) -> Array:
    """Zeros as code 0; a sum of one element is that element."""
    return neg(neg(array))


def _running(parts: list[Array], variant: str) -> Array:
    sum_ = parts[0]
    for part in parts[1:]:
        sum_ = add(sum_, part, variant)
    return sum_


def _pairwise(parts: list[Array], variant: str) -> Array:
    while len(parts) > 1:
        pairs = [add(x, y, variant) for x, y in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


def _one_offset(array: LogCodes) -> int:
    """The offset of a whole array; ValueError where there are several."""
    if isinstance(array.offset, int):
        return array.offset
    values = np.unique(array.offset)
    if len(values) > 1:
        raise ValueError(
            f"offset must be the same along the sum, got {int(values[0])} and {int(values[1])}; "
            "requantise first"
        )
    return int(values[0]) if len(values) else 0


def _without_axis(array: LogCodes, axis: int) -> int | npt.NDArray[np.int32]:
    """The offset beside the sum along an axis: it must not vary there."""
    if isinstance(array.offset, int):
        return array.offset
    offset = np.moveaxis(np.broadcast_to(array.offset, array.shape), axis, 0)
    if len(offset) and (offset != offset[0]).any():
        index = tuple(int(i) for i in np.argwhere(offset != offset[0])[0])
        raise ValueError(
            f"offset must be the same along the sum, got {int(offset[0][index[1:]])} and "
            f"{int(offset[index])}; requantise first"
        )
    first = offset[0] if len(offset) else _of_nothing(array, axis, offset.shape[1:])
    return int(first) if first.ndim == 0 else np.ascontiguousarray(first)


def _of_nothing(array: LogCodes, axis: int, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """The offset beside a sum of no elements: the array's own where it has one, else 0."""
    own = np.asarray(array.offset, np.int32)
    own = np.moveaxis(own.reshape((1,) * (array.ndim - own.ndim) + own.shape), axis, 0)
    return np.broadcast_to(own[0] if len(own) else np.int32(0), shape)
