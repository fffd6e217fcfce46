"""MX blocks once more in Python integers and fractions: slow, obvious, the judge.

Written from the OCP Microscaling Formats (MX) Specification v1.0, sections 5 and 6.3, one block at
a time; no code and no table is shared with what it judges, and of formats only the fields are read.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite, isnan, nan

from .format import FloatFormat, IntFormat
from .mx_format import MXFormat
from .oracle_ops import (
    beyond_one,
    decode_one,
    encode_one,
    float_code,
    float_value,
    floor_log2,
)

Value = Fraction | float  #: a float stands for NaN, infinity and negative zero alone


def _implied(fmt: MXFormat) -> Fraction:
    """What an integer element counts: 2^-6 in mxint8."""
    return Fraction(1, 2 ** (fmt.element.bits - 2)) if _whole(fmt) else Fraction(1)


def _whole(fmt: MXFormat) -> bool:
    return isinstance(fmt.element, IntFormat)


@lru_cache(maxsize=64)
def _largest_exponent(fmt: MXFormat) -> int:
    """emax of the element: floor(log2) of the largest of all its values."""
    values = (
        decode_one(code, 0, fmt.element) for code in range(2 ** (fmt.element.bits - _whole(fmt)))
    )
    finite = [value for value in values if isinstance(value, Fraction)]
    return floor_log2(max(finite) * _implied(fmt))


def encode_block(values: Sequence[float], fmt: MXFormat) -> tuple[int, list[int]]:
    """(scale code, element codes) of one block of finite numbers; of zeros the scale code is 0."""
    if not all(isfinite(value) for value in values):
        raise ValueError("values must be finite")
    magnitudes = [abs(Fraction(value)) for value in values]
    exponent = -127
    if any(magnitudes):
        exponent = floor_log2(max(magnitudes)) - _largest_exponent(fmt)
    exponent = min(max(exponent, -127), 127)
    places = exponent + floor_log2(_implied(fmt))
    codes = [encode_one(value, fmt.element, places) for value in values]
    if isinstance(fmt.element, IntFormat):  # the code without a positive twin is not used
        codes = [max(code, 1 - 2 ** (fmt.element.bits - 1)) for code in codes]
    return exponent + 127, codes


def beyond_block(value: float, scale: int, fmt: MXFormat) -> bool:
    """Is an element of a block of this scale, rounded with room above, larger than the largest?"""
    exact = abs(Fraction(value)) / (_implied(fmt) * Fraction(2) ** (scale - 127))
    if isinstance(fmt.element, IntFormat):
        return round(exact) > 2 ** (fmt.element.bits - 1) - 1
    return beyond_one(exact, fmt.element, 0)


def decode_block(scale: int, codes: Sequence[int], fmt: MXFormat) -> list[Value]:
    """Exact values of one block; a float for NaN, infinity and negative zero."""
    if scale == 255:
        return [nan] * len(codes)
    found: list[Value] = []
    for code in codes:
        value = decode_one(code, 0, fmt.element)
        if isinstance(value, Fraction):
            value *= _implied(fmt) * Fraction(2) ** (scale - 127)
        found.append(value)
    return found


def dot_mx(a: Sequence[Value], b: Sequence[Value], accumulator: FloatFormat) -> tuple[float, bool]:
    """One output of a GEMM of finite decoded blocks: (value, whether it is not finite).

    Products in ascending k, each exact, added to the accumulator and rounded once; it starts at +0
    and stays infinite or NaN once it is.
    """
    acc: tuple[bool, Value] = (False, Fraction(0))
    for x, y in zip(a, b, strict=True):
        if not (isfinite(x) and isfinite(y)):
            raise ValueError("a and b must be finite")
        if isinstance(acc[1], float):
            continue
        product = Fraction(x) * Fraction(y)
        total = (-acc[1] if acc[0] else acc[1]) + product
        # A sum of zeros is negative where both are; an exact cancellation is positive.
        zeros = acc[0] and acc[1] == 0 and product == 0 and _negative(x) != _negative(y)
        code = float_code(total < 0 or zeros, abs(total), accumulator)
        acc = float_value(code, accumulator)
    if isinstance(acc[1], float) and isnan(acc[1]):
        return nan, True
    value = float(acc[1])
    return (-value if acc[0] else value), value == inf


def _negative(value: Value) -> bool:
    """The sign; the only float here is negative zero."""
    return isinstance(value, float) or value < 0
