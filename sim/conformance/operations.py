"""The operations of the conformance suite, each in one place: a method of `Backend` and its record.

The method says what an implementation is given and gives back; the record above it how its answer
is laid out, what the oracle answers, and how answers are compared, written and read. To add an
operation, add its method with its record; ask_*.py then ask it.

The oracle answers in Python integers and fractions, one number at a time. Comparison, negation and
the default offset have no function in lns.oracle; they are written here from their definitions, on
the oracle's own `split` and `encode_one`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from inspect import signature
from math import copysign, isnan
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ...lns.array import CodeArray, FloatArray, IntArray, LNSArray, Offset
from ...lns.datapath import Accumulator, AnyDatapath, Datapath, FloatDatapath, IntDatapath
from ...lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ...lns.oracle import (
    add_one,
    decode_one,
    div_one,
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
from ...lns.oracle import dot as lns_dot
from ...lns.oracle_ops import split

Real = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Operand = LNSArray | FloatArray | IntArray | Real
Number = int | float
OPERANDS = ("x", "draws", "a", "b")  # arguments that are arrays; the others are settings


def code_text(code: int, fmt: Format) -> str:
    """A code as the file has it: hexadecimal, all digits; a two's complement one in decimal."""
    if isinstance(fmt, IntFormat):
        return str(code)
    return f"{code:0{-(-fmt.bits // 4)}x}"


def real_text(value: float) -> str:
    """A number as the file has it: C99's hexadecimal form, exact; "nan" with its sign."""
    if isnan(value):
        return "-nan" if np.signbit(value) else "nan"
    return float(value).hex()


@dataclass(frozen=True, slots=True)
class Kind:
    """What the numbers of an answer are, and how they are compared, written and read."""

    name: str  #: in the file
    words: str  #: what the numbers of the file are called
    read: Callable[[str], Number]  #: one number of the file
    real: bool = False

    def text(self, value: Number, fmt: Format | None) -> str:
        """One number as the file has it; fmt: of a code."""
        if self.real:
            return real_text(value)
        return str(value) if fmt is None else code_text(int(value), fmt)

    def same(self, a: Number, b: Number) -> bool:
        """Equal; of real numbers zeros by sign too, and a NaN is a NaN."""
        if not self.real:
            return a == b
        return (a == b and copysign(1.0, a) == copysign(1.0, b)) or (isnan(a) and isnan(b))


CODE = Kind("code", "hexadecimal codes", lambda word: int(word, 16))  # LNS and float formats
INTEGER = Kind("integer", "integers", int)
FLOAT64 = Kind("float64", "hexadecimal floats", float.fromhex, real=True)
FLOAT32 = Kind("float32", "hexadecimal floats", float.fromhex, real=True)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the suite: what it takes, what it returns, what is right."""

    name: str  #: also of the method that an implementation offers
    takes: tuple[str, ...]  #: arguments in the order of the call; those of OPERANDS come first
    returns: Kind | None  #: None: what the accumulator of its datapath holds
    oracle: Callable[..., list[Number]]  #: takes them too; the right numbers in C order
    layout: Literal["each", "rows", "products", "one"]  #: see `shape`
    coded: bool  #: the numbers are codes: of the setting `fmt`, or else as the operands

    def kind(self, settings: Mapping[str, Any]) -> Kind:
        """What the answer consists of."""
        if self.returns is not None:
            return self.returns
        return FLOAT32 if isinstance(settings["datapath"].accumulator, FloatFormat) else INTEGER

    def shape(self, first: Operand, *others: Operand) -> tuple[int, ...]:
        """Shape of the answer: the operands', without the last axis, (M, N), a single number."""
        if self.layout == "products":
            return first.shape[0], others[0].shape[1]
        if self.layout == "rows":
            return first.shape[:-1]
        return first.shape if self.layout == "each" else ()

    def parts(self, place: tuple[int, ...]) -> tuple[Any, Any]:
        """What of the first and of the second operand goes into the number at `place`."""
        if self.layout == "products":
            return (place[0], slice(None)), (slice(None), place[1])
        return place or ..., place or ...


OPERATIONS: dict[str, Operation] = {}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def operation(
    returns: Kind | None,
    oracle: Callable[..., list[Number]],
    layout: Literal["each", "rows", "products", "one"] = "each",
    coded: bool | None = None,
) -> Callable[[_Method], _Method]:
    """Return a decorator that enters a method's record into OPERATIONS.

    coded None: if it returns codes. The rest is as in `Operation`.
    """

    def enter(method: _Method) -> _Method:
        name, (_, *takes) = method.__name__, signature(method).parameters
        codes = returns is CODE if coded is None else coded
        OPERATIONS[name] = Operation(name, tuple(takes), returns, oracle, layout, codes)
        return method

    return enter


def one_each(offset: Any, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return an offset, or several, as one per element of `shape`."""
    return np.broadcast_to(np.asarray(offset, np.int64), shape)


def _codes(array: CodeArray) -> list[int]:
    return [int(code) for code in array.code.reshape(-1)]


def _offsets(offset: Offset, array: CodeArray) -> list[int]:
    """One offset per code."""
    return [int(value) for value in one_each(offset, array.shape).reshape(-1)]


def _each(a: CodeArray) -> Iterable[tuple[int, int]]:
    """(code, offset) of each code."""
    return zip(_codes(a), _offsets(a.offset, a), strict=True)


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
    return [float(decode_one(code, offset, a.fmt)) for code, offset in _each(a)]


def _requantise(a: LNSArray, fmt: LNSFormat, offset: Offset) -> list[Number]:
    each = zip(_each(a), _offsets(offset, a), strict=True)
    return [requantise_one(code, old, a.fmt, fmt, new) for (code, old), new in each]


def _binary(one: Callable[..., int], a: LNSArray, b: LNSArray, *target: Any) -> list[Number]:
    pairs = zip(_each(a), _each(b), strict=True)
    return [one(*x, a.fmt, *y, b.fmt, *target) for x, y in pairs]


def _square(a: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return _binary(mul_one, a, a, fmt, offset)


def _sqrt(a: LNSArray, fmt: LNSFormat, offset: int) -> list[Number]:
    return [sqrt_one(code, old, a.fmt, fmt, offset) for code, old in _each(a)]


def _signed(sign: Callable[[int], int], a: LNSArray) -> list[Number]:
    """The codes with a sign made of their own; zero has none."""
    parts = (split(code, a.fmt) for code in _codes(a))
    return [0 if e is None else sign(s) * 2**a.fmt.exponent_bits + e for s, e in parts]


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


def _sum_of_two(one: Callable[..., int], a: LNSArray, b: LNSArray, variant: str) -> list[Number]:
    if a.fmt != b.fmt or _offsets(a.offset, a) != _offsets(b.offset, b):
        raise ValueError("formats and offsets must be the same")
    return [one(x, y, a.fmt, variant) for x, y in zip(_codes(a), _codes(b), strict=True)]


def _total(a: LNSArray, order: str, variant: str) -> list[Number]:
    return [total_one(row, a.fmt, order, variant) for row in a.code.tolist()]


def _dot(a: LNSArray, b: LNSArray, accumulator_bits: int, order: str, variant: str) -> list[Number]:
    wide = LNSFormat(accumulator_bits, a.fmt.gamma)
    pairs = zip(a.code.tolist(), b.code.tolist(), strict=True)
    return [log_dot(x, y, a.fmt, wide, order, variant) for x, y in pairs]


def _matmul(
    one: Callable[..., tuple[Number, bool]], a: CodeArray, b: CodeArray, datapath: AnyDatapath
) -> list[Number]:
    for array, axis in ((a, 1), (b, 0)):
        if np.diff(one_each(array.offset, array.shape), axis=axis).any():
            raise ValueError("offset must be constant along k")
    columns = b.code.T.tolist()
    return [one(x, a.fmt, y, b.fmt, datapath)[0] for x in a.code.tolist() for y in columns]


def log_datapath(accumulator_bits: int, lanes: int, variant: str) -> Datapath:
    """Return the datapath that the settings of `matmul_log` stand for."""
    rule = Accumulator(bits=accumulator_bits, lanes=lanes, style="log")
    return Datapath(accumulator=rule, variant=variant)


def _matmul_log(
    a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
) -> list[Number]:
    return _matmul(lns_dot, a, b, log_datapath(accumulator_bits, lanes, variant))


class Backend:
    """Every operation of the suite; the arguments are given by position, all of them.

    An implementation is any object with some of these methods, of this class or not; what it has
    not, or what raises NotImplementedError, is reported as not offered. Arrays come as LNSArray,
    FloatArray and IntArray (`code`, `offset`, `fmt`; offset a plain int, or an int32 array that
    broadcasts), numbers as float32 or float64 arrays. A method returns codes or numbers, in the
    operands' shape if its text names no other, as a numpy array, nested lists or the array class of
    the format; in the last case the offset and the format beside the codes are checked too. Invalid
    operands are refused by a ValueError or an ArithmeticError.
    """

    @operation(CODE, _encode)
    def encode(self, x: Real, fmt: LNSFormat, offset: int, rounding: str) -> Any:
        """Codes of x (n,); rounding "nearest", "nearest_value" or "floor"."""

    @operation(CODE, _encode_stochastic)
    def encode_stochastic(
        self, x: Real, draws: Integers, fmt: LNSFormat, offset: int, random_bits: int
    ) -> Any:
        """Codes of x (n,), rounded by the random integers `draws` (n,) of `random_bits` bits."""

    @operation(INTEGER, _default_offset, "one")
    def default_offset(self, x: Real, fmt: LNSFormat, rounding: str) -> Any:
        """The offset, one integer, that encoding chooses for x (n,)."""

    @operation(FLOAT64, _decode)
    def decode(self, a: LNSArray) -> Any:
        """The float64 nearest to each value."""

    @operation(CODE, _requantise)
    def requantise(self, a: LNSArray, fmt: LNSFormat, offset: Offset) -> Any:
        """Codes of a in another format and scale, or in a scale per row or column."""

    @operation(CODE, partial(_binary, mul_one))
    def mul(self, a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a * b in (fmt, offset)."""

    @operation(CODE, partial(_binary, div_one))
    def div(self, a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a / b in (fmt, offset)."""

    @operation(CODE, _square)
    def square(self, a: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a * a in (fmt, offset)."""

    @operation(CODE, _sqrt)
    def sqrt(self, a: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of the square root of a in (fmt, offset)."""

    @operation(CODE, partial(_signed, lambda sign: 1 - sign))
    def neg(self, a: LNSArray) -> Any:
        """Codes of -a in a's format and offset."""

    @operation(CODE, partial(_signed, lambda sign: 0))
    def absolute(self, a: LNSArray) -> Any:
        """Codes of |a| in a's format and offset."""

    @operation(INTEGER, partial(_binary, _compare_one))
    def compare(self, a: LNSArray, b: LNSArray) -> Any:
        """-1, 0 or 1: a's value below, equal to or above b's; formats and offsets may differ."""

    @operation(CODE, partial(_sum_of_two, add_one))
    def add(self, a: LNSArray, b: LNSArray, variant: str) -> Any:
        """Codes of a + b in their common format and offset."""

    @operation(CODE, partial(_sum_of_two, sub_one))
    def sub(self, a: LNSArray, b: LNSArray, variant: str) -> Any:
        """Codes of a - b in their common format and offset."""

    @operation(CODE, _total, "rows")
    def total(self, a: LNSArray, order: str, variant: str) -> Any:
        """Codes of the sums of a's rows: (n, K) to (n,), in a's format and offset."""

    @operation(CODE, _dot, "rows")
    def dot(self, a: LNSArray, b: LNSArray, accumulator_bits: int, order: str, variant: str) -> Any:
        """Codes of the products of rows, (n, K) and (n, K) to (n,), in the wide format."""

    @operation(None, partial(_matmul, lns_dot), "products")
    def matmul(self, a: LNSArray, b: LNSArray, datapath: Datapath) -> Any:
        """Accumulators of a (M, K) times b (K, N), styles "direct" and "bins"."""

    # Not `matmul` with style "log": objects and files of 0.1 have it as a method of its own, and a
    # `matmul` that offers the other two styles was never asked this one.
    @operation(CODE, _matmul_log, "products")
    def matmul_log(
        self, a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
    ) -> Any:
        """Codes of a (M, K) times b (K, N) in the accumulator's format, style "log"."""

    @operation(CODE, _encode)
    def encode_float(self, x: Real, fmt: FloatFormat, offset: int) -> Any:
        """Codes of x * 2^-offset in a float format."""

    @operation(FLOAT64, _decode)
    def decode_float(self, a: FloatArray) -> Any:
        """float64 values; any NaN for a NaN."""

    @operation(None, partial(_matmul, float_dot), "products")
    def matmul_float(self, a: FloatArray, b: FloatArray, datapath: FloatDatapath) -> Any:
        """float32 sums of a (M, K) times b (K, N), or the integers of a fixed-point sum."""

    @operation(INTEGER, _encode, coded=True)
    def encode_int(self, x: Real, fmt: IntFormat, offset: int) -> Any:
        """Codes of x * 2^-offset in an integer format."""

    @operation(FLOAT64, _decode)
    def decode_int(self, a: IntArray) -> Any:
        """float64 values."""

    @operation(None, partial(_matmul, int_dot), "products")
    def matmul_int(self, a: IntArray, b: IntArray, datapath: IntDatapath) -> Any:
        """Accumulators of a (M, K) times b (K, N)."""


def _missing(method: _Method) -> Any:
    """What a method of `Backend` does until a class offers its own."""

    @wraps(method)
    def missing(*_: Any) -> Any:
        raise NotImplementedError

    return missing


for _name in OPERATIONS:
    setattr(Backend, _name, _missing(getattr(Backend, _name)))
