"""What the oracle answers to a batch: Python integers and fractions, one number at a time.

Comparison, negation and the default offset have no function in lns.oracle; they are written here
from their definitions, on the oracle's own `split` and `encode_one`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...lns.array import CodeArray, LNSArray, Offset
from ...lns.datapath import AnyDatapath, Datapath, FloatDatapath, IntDatapath
from ...lns.format import Format, LNSFormat
from ...lns.oracle import (
    add_one,
    decode_one,
    div_one,
    dot,
    encode_one,
    float_dot,
    int_dot,
    log_dot,
    mul_one,
    requantise_one,
    sqrt_one,
    sub_one,
    total_one,
)
from ...lns.oracle_ops import split
from .batch import Batch, one_each

Real = npt.NDArray[Any]
Number = int | float


def expected(batch: Batch) -> list[Number] | None:
    """Return the right answer in C order, or None where it is an error (`batch.refused`)."""
    judge = _JUDGES[batch.operation]
    if not batch.refused:
        return judge(*batch.operands.values(), *batch.settings.values())
    try:
        judge(*batch.operands.values(), *batch.settings.values())
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    raise AssertionError(f"the oracle must refuse {batch.operation}: {batch.what}")


def _codes(array: CodeArray) -> list[int]:
    return [int(code) for code in array.code.reshape(-1)]


def _rows(array: CodeArray) -> list[list[int]]:
    rows: list[list[int]] = array.code.tolist()
    return rows


def _offset(array: CodeArray) -> int:
    """The one offset of an array; ValueError where there are several."""
    if isinstance(array.offset, int):
        return array.offset
    values = set(array.offset.reshape(-1).tolist())
    if len(values) != 1:
        raise ValueError(f"offset must be one number, got {sorted(values)}")
    return int(values.pop())


def _offsets(offset: Offset, array: CodeArray) -> list[int]:
    """One offset per code."""
    return [int(value) for value in one_each(offset, array.shape).reshape(-1)]


def _encode(x: Real, fmt: Format, offset: int, rounding: str = "nearest") -> list[Number]:
    return [encode_one(float(value), fmt, offset, rounding) for value in x.reshape(-1)]


def _encode_stochastic(
    x: Real, draws: Real, fmt: LNSFormat, offset: int, random_bits: int
) -> list[Number]:
    return [
        encode_one(float(value), fmt, offset, "stochastic", int(draw), random_bits)
        for value, draw in zip(x.reshape(-1), draws.reshape(-1), strict=True)
    ]


def _default_offset(x: Real, fmt: LNSFormat, rounding: str) -> list[Number]:
    """The smallest multiple of gamma at which the largest magnitude, rounded, is in range.

    Found by encoding it in a format of one more bit, which does not saturate near the answer.
    """
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0:
        return [0]
    wider = LNSFormat(fmt.exponent_bits + 1, fmt.gamma, zero=False)
    top = 2**fmt.exponent_bits - 1

    def fits(offset: int) -> bool:
        return encode_one(largest, wider, offset, rounding) <= top

    offset = 0
    while not fits(offset):
        offset += fmt.gamma
    while fits(offset - fmt.gamma):
        offset -= fmt.gamma
    return [offset]


def _decode(a: CodeArray) -> list[Number]:
    pairs = zip(_codes(a), _offsets(a.offset, a), strict=True)
    return [float(decode_one(code, offset, a.fmt)) for code, offset in pairs]


def _requantise(a: LNSArray, fmt: LNSFormat, offset: Offset) -> list[Number]:
    old_new = _offsets(a.offset, a), _offsets(offset, a)
    each = zip(_codes(a), *old_new, strict=True)
    return [requantise_one(code, old, a.fmt, fmt, new) for code, old, new in each]


def _binary(one: Callable[..., int], a: LNSArray, b: LNSArray, *target: Any) -> list[Number]:
    left, right = (_offset(a), a.fmt), (_offset(b), b.fmt)
    pairs = zip(_codes(a), _codes(b), strict=True)
    return [one(x, *left, y, *right, *target) for x, y in pairs]


def _mul(a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return _binary(mul_one, a, b, fmt, offset)


def _div(a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return _binary(div_one, a, b, fmt, offset)


def _square(a: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return _binary(mul_one, a, a, fmt, offset)


def _sqrt(a: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return [sqrt_one(code, _offset(a), a.fmt, fmt, offset) for code in _codes(a)]


def _signed(code: int, fmt: LNSFormat, sign: Callable[[int], int]) -> int:
    before, e = split(code, fmt)
    return 0 if e is None else sign(before) * 2**fmt.exponent_bits + e


def _neg(a: LNSArray) -> list[Number]:
    return [_signed(code, a.fmt, lambda sign: 1 - sign) for code in _codes(a)]


def _absolute(a: LNSArray) -> list[Number]:
    return [_signed(code, a.fmt, lambda sign: 0) for code in _codes(a)]


def _compare_one(
    a: int, offset_a: int, fmt_a: LNSFormat, b: int, offset_b: int, fmt_b: LNSFormat
) -> int:
    """Sign of a - b: by signs, then by (e + offset) / gamma without the fractions."""
    (s_a, e_a), (s_b, e_b) = split(a, fmt_a), split(b, fmt_b)
    left, right = (0 if e is None else 1 - 2 * s for s, e in ((s_a, e_a), (s_b, e_b)))
    if e_a is None or e_b is None or left != right:
        return (left > right) - (left < right)
    distance = (e_a + offset_a) * fmt_b.gamma - (e_b + offset_b) * fmt_a.gamma
    return left * ((distance > 0) - (distance < 0))


def _compare(a: LNSArray, b: LNSArray) -> list[Number]:
    return _binary(_compare_one, a, b)


def _sum_of_two(one: Callable[..., int], a: LNSArray, b: LNSArray, variant: str) -> list[Number]:
    if a.fmt != b.fmt or _offset(a) != _offset(b):
        raise ValueError("formats and offsets must be the same")
    return [one(x, y, a.fmt, variant) for x, y in zip(_codes(a), _codes(b), strict=True)]


def _add(a: LNSArray, b: LNSArray, variant: str) -> list[Number]:
    return _sum_of_two(add_one, a, b, variant)


def _sub(a: LNSArray, b: LNSArray, variant: str) -> list[Number]:
    return _sum_of_two(sub_one, a, b, variant)


def _total(a: LNSArray, order: str, variant: str) -> list[Number]:
    return [total_one(row, a.fmt, order, variant) for row in _rows(a)]


def _dot(a: LNSArray, b: LNSArray, accumulator_bits: int, order: str, variant: str) -> list[Number]:
    wide = LNSFormat(accumulator_bits, a.fmt.gamma)
    pairs = zip(_rows(a), _rows(b), strict=True)
    return [log_dot(x, y, a.fmt, wide, order, variant) for x, y in pairs]


def _matmul_log(
    a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
) -> list[Number]:
    wide, order = LNSFormat(accumulator_bits, max(a.fmt.gamma, b.fmt.gamma)), f"lanes:{lanes}"
    columns = _columns(b)
    return [log_dot(x, y, a.fmt, wide, order, variant, b.fmt) for x in _rows(a) for y in columns]


def _columns(b: CodeArray) -> list[list[int]]:
    columns: list[list[int]] = b.code.T.tolist()
    return columns


def _matmul(a: CodeArray, b: CodeArray, datapath: AnyDatapath) -> list[Number]:
    one: Any = {Datapath: dot, FloatDatapath: float_dot, IntDatapath: int_dot}[type(datapath)]
    for array, axis in ((a, 1), (b, 0)):
        offset = np.broadcast_to(np.asarray(array.offset), array.shape)
        if np.diff(offset, axis=axis).any():
            raise ValueError("offset must be constant along k")
    columns = _columns(b)
    return [one(x, a.fmt, y, b.fmt, datapath)[0] for x in _rows(a) for y in columns]


_JUDGES: dict[str, Callable[..., list[Number]]] = {
    "encode": _encode,
    "encode_stochastic": _encode_stochastic,
    "default_offset": _default_offset,
    "decode": _decode,
    "requantise": _requantise,
    "mul": _mul,
    "div": _div,
    "square": _square,
    "sqrt": _sqrt,
    "neg": _neg,
    "absolute": _absolute,
    "compare": _compare,
    "add": _add,
    "sub": _sub,
    "total": _total,
    "dot": _dot,
    "matmul": _matmul,
    "matmul_log": _matmul_log,
    "encode_float": _encode,
    "decode_float": _decode,
    "matmul_float": _matmul,
    "encode_int": _encode,
    "decode_int": _decode,
    "matmul_int": _matmul,
}
