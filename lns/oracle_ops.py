"""The oracle's operations on single numbers: encode, decode, mul, div, sqrt, add, requantise.

Written from the definitions, it shares no code and no table with what it judges and reads only
the fields of formats. Everything takes and gives single Python numbers. Powers of two are compared
as integers; where a logarithm is needed, `decimal` works with 80 digits and a value too near a
rounding boundary is an error, never a result.
"""

from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import copysign, inf, isfinite, isnan, nan

from .format import FloatFormat, Format, IntFormat, LNSFormat

_DECIMAL = Context(prec=80)
_SAFE = Decimal("1e-30")  # a rounding boundary nearer than this is not decided by 80 digits


def _log2(x: Decimal) -> Decimal:
    return _DECIMAL.divide(_DECIMAL.ln(x), _DECIMAL.ln(Decimal(2)))


def _pow2(numerator: int, denominator: int) -> Decimal:
    return _DECIMAL.power(Decimal(2), _DECIMAL.divide(Decimal(numerator), Decimal(denominator)))


def _decided(value: Decimal, rounding: str) -> int:
    """Round an irrational `value`, known to some 70 digits, to a whole number."""
    boundary = value if rounding == ROUND_FLOOR else value + Decimal("0.5")
    if abs(boundary - boundary.to_integral_value()) < _SAFE:
        raise ArithmeticError(f"value must be away from a rounding boundary, got {value}")
    return int(value.to_integral_value(rounding))


def _above(power: int, base: int, root: int) -> bool:
    """Is 2^(power/root) > base? In integers."""
    if base <= 0:
        return True
    return 1 << max(0, power) > base**root << max(0, -power)


@lru_cache(maxsize=1 << 16)
def nearest_power(n: int, root: int, places: int) -> int:
    """RN_even(2^(n/root) * 2^places): c with (2c-1)^root < 2^(n + root(places+1)) < (2c+1)^root."""
    if n % root == 0:
        return round(Fraction(2) ** (n // root + places))
    guess = int(_DECIMAL.multiply(_pow2(n, root), _pow2(places, 1)))
    doubled = n + root * (places + 1)
    for c in (guess, guess + 1):
        if _above(doubled, 2 * c - 1, root) and not _above(doubled, 2 * c + 1, root):
            return c
    raise ArithmeticError(f"no integer is nearest to 2^({n}/{root} + {places})")


def floor_log2(x: Fraction) -> int:
    """floor(log2(x)) of a positive fraction."""
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if x >= Fraction(2) ** guess else guess - 1


def split(code: int, fmt: LNSFormat) -> tuple[int, int | None]:
    """(sign, e) of a code; e is None for zero, whose sign is 0."""
    sign, e = divmod(code, 2**fmt.exponent_bits)
    return (0, None) if fmt.zero and e == 0 else (sign, e)


def _store(sign: int, e: int, fmt: LNSFormat) -> int:
    """Code of an exponent after the offset: saturated above, flushed below."""
    if e < (1 if fmt.zero else 0):
        return 0 if fmt.zero else sign << fmt.exponent_bits
    return sign << fmt.exponent_bits | min(e, 2**fmt.exponent_bits - 1)


def _floor_steps(x: Fraction, gamma: int) -> int:
    """floor(gamma * log2(x)): from the bit length of x^gamma, or 80 digits where that is long."""
    exact = floor_log2(x)
    if x == Fraction(2) ** exact:
        return exact * gamma
    if gamma <= 4096:
        return floor_log2(x**gamma)
    logarithm = _DECIMAL.subtract(_log2(Decimal(x.numerator)), _log2(Decimal(x.denominator)))
    return _decided(_DECIMAL.multiply(logarithm, Decimal(gamma)), ROUND_FLOOR)


def _value_steps(x: Fraction, gamma: int, offset: int) -> int:
    """The step whose value is nearest to x; gamma = 1: a tie goes to the even stored exponent."""
    low = _floor_steps(x, gamma)
    if gamma == 1:
        middle = 3 * Fraction(2) ** (low - 1)
        return low + (x > middle or (x == middle and (low - offset) % 2 == 1))
    neighbours = _DECIMAL.add(_pow2(low, gamma), _pow2(low + 1, gamma))
    exact = _DECIMAL.divide(Decimal(x.numerator), Decimal(x.denominator))
    ratio = _DECIMAL.divide(exact, neighbours)  # above 1/2: nearer to the upper one
    if abs(ratio - Decimal("0.5")) < _SAFE:
        raise ArithmeticError(f"x must be away from a midpoint, got {x}")
    return low + (ratio > Decimal("0.5"))


def steps_one(
    x: float, gamma: int, rounding: str, offset: int = 0, draw: int = 0, random_bits: int = 8
) -> int:
    """gamma * log2|x| rounded, before an offset is taken off; x: not zero.

    offset: of the code, whose parity decides the tie of "nearest_value" at gamma = 1.
    """
    magnitude = abs(Fraction(x))
    if rounding == "nearest":  # 2n - 1 < 2 gamma log2(x) < 2n + 1
        return (_floor_steps(magnitude, 2 * gamma) + 1) // 2
    if rounding == "nearest_value":
        return _value_steps(magnitude, gamma, offset)
    if rounding == "floor":
        return _floor_steps(magnitude, gamma)
    if rounding == "stochastic":
        steps, part = divmod(_floor_steps(magnitude, gamma << random_bits), 2**random_bits)
        return steps + (part + draw >= 2**random_bits)
    raise ValueError(f"rounding must be known, got {rounding!r}")


def _encode_log(
    x: float, fmt: LNSFormat, offset: int, rounding: str, draw: int, random_bits: int
) -> int:
    if x == 0:
        return 0
    steps = steps_one(x, fmt.gamma, rounding, offset, draw, random_bits)
    return _store(int(x < 0), steps - offset, fmt)


def float_value(code: int, fmt: FloatFormat) -> tuple[bool, Fraction | float]:
    """(negative, magnitude) of a float code; the magnitude is a Fraction, infinity or NaN."""
    negative, rest = divmod(code, 2 ** (fmt.exponent_bits + fmt.mantissa_bits))
    exponent, mantissa = divmod(rest, 2**fmt.mantissa_bits)
    if fmt.encoding == "ieee" and exponent == 2**fmt.exponent_bits - 1:
        return bool(negative), nan if mantissa else inf
    if fmt.encoding == "fnuz" and negative and rest == 0:
        return False, nan
    if fmt.encoding == "fn" and rest == 2 ** (fmt.exponent_bits + fmt.mantissa_bits) - 1:
        return bool(negative), nan
    significand = Fraction(mantissa, 2**fmt.mantissa_bits) + (exponent > 0)
    bias = _bias(fmt)
    return bool(negative), significand * Fraction(2) ** (max(exponent, 1) - bias)


def _bias(fmt: FloatFormat) -> int:
    return 2 ** (fmt.exponent_bits - 1) - (0 if fmt.encoding == "fnuz" else 1)


def _float_largest(fmt: FloatFormat) -> Fraction:
    """Largest finite number: 1.11..1 below the infinities, or one unit less in "fn"."""
    bias, unit = _bias(fmt), Fraction(1, 2**fmt.mantissa_bits)
    if fmt.encoding in ("fnuz", "finite"):
        return (2 - unit) * Fraction(2) ** (2**fmt.exponent_bits - 1 - bias)
    if fmt.encoding == "fn":
        return (2 - 2 * unit) * Fraction(2) ** (2**fmt.exponent_bits - 1 - bias)
    return (2 - unit) * Fraction(2) ** (2**fmt.exponent_bits - 2 - bias)


def beyond_one(x: float | Fraction, fmt: FloatFormat | IntFormat, offset: int) -> bool:
    """Is a finite x * 2^-offset, rounded with room above, larger than the largest number?"""
    exact = Fraction(x) * Fraction(2) ** -offset
    if isinstance(fmt, IntFormat):
        return not -(2 ** (fmt.bits - 1)) <= round(exact) < 2 ** (fmt.bits - 1)
    largest = _float_largest(fmt)
    unit = Fraction(2) ** (floor_log2(largest) - fmt.mantissa_bits)
    return round(abs(exact) / unit) * unit > largest


def float_code(negative: bool, magnitude: Fraction | float, fmt: FloatFormat) -> int:
    """Code of a magnitude (a Fraction, infinity or NaN) rounded once, to nearest even."""
    ones = 2 ** (fmt.exponent_bits + fmt.mantissa_bits) - 1
    infinity = ones - (2**fmt.mantissa_bits - 1)
    quiet = ones if fmt.encoding == "fn" else infinity + 2 ** (fmt.mantissa_bits - 1)
    sign = int(negative) * (ones + 1)
    if isinstance(magnitude, float) and isnan(magnitude):
        if fmt.encoding == "finite":
            raise ValueError("a NaN has no code")
        return ones + 1 if fmt.encoding == "fnuz" else sign + quiet
    bias = _bias(fmt)
    largest = _float_largest(fmt)
    rounded: Fraction | float = magnitude
    exponent = 1 - bias
    if isinstance(magnitude, Fraction) and magnitude:
        exponent = max(floor_log2(magnitude), exponent)
        unit = Fraction(2) ** (exponent - fmt.mantissa_bits)
        rounded = round(magnitude / unit) * unit  # Python's round: half to even
    if rounded > largest:
        if fmt.overflow == "infinity" and fmt.encoding == "fnuz":
            return ones + 1
        if fmt.overflow == "infinity":
            return sign + (ones if fmt.encoding == "fn" else infinity)
        rounded, exponent = largest, floor_log2(largest)
    assert isinstance(rounded, Fraction)
    # A significand of 2 carries into the exponent field by itself; below 1 the field is 0.
    significand = rounded / Fraction(2) ** (exponent - fmt.mantissa_bits)
    if fmt.encoding == "fnuz" and significand == 0:
        return 0
    return sign + (exponent + bias - 1) * 2**fmt.mantissa_bits + int(significand)


def encode_one(
    x: float,
    fmt: Format,
    offset: int,
    rounding: str = "nearest",
    draw: int = 0,
    random_bits: int = 8,
) -> int:
    """Code of one number; `draw` is the random integer of "stochastic", 0 <= draw < 2^random_bits.

    Float formats take NaN (its sign is kept) and infinity; the others take finite numbers.
    """
    if isinstance(fmt, LNSFormat):
        return _encode_log(x, fmt, offset, rounding, draw, random_bits)
    if isinstance(fmt, IntFormat):
        limit = 2 ** (fmt.bits - 1)
        return max(-limit, min(limit - 1, round(Fraction(x) * Fraction(2) ** -offset)))
    negative = copysign(1.0, x) < 0
    if not isfinite(x):
        return float_code(negative, abs(x), fmt)
    return float_code(negative, abs(Fraction(x)) * Fraction(2) ** -offset, fmt)


def decode_one(code: int, offset: int, fmt: Format) -> Fraction | float:
    """Value of one code: LNS the nearest float64 (+0.0 if too small, OverflowError if too large),
    otherwise an exact Fraction, or a float for NaN, infinity and a float's negative zero."""
    if isinstance(fmt, IntFormat):
        return code * Fraction(2) ** offset
    if isinstance(fmt, FloatFormat):
        negative, magnitude = float_value(code, fmt)
        if isinstance(magnitude, float):
            return -magnitude if negative else magnitude
        if negative and magnitude == 0:
            return -0.0
        return (-magnitude if negative else magnitude) * Fraction(2) ** offset
    sign, e = split(code, fmt)
    if e is None:
        return 0.0
    steps = e + offset
    places = min(52 - steps // fmt.gamma, 1074)
    magnitude = float(nearest_power(steps, fmt.gamma, places) * Fraction(2) ** -places)
    return -magnitude if sign and magnitude else magnitude


def mul_one(
    a: int,
    offset_a: int,
    fmt_a: LNSFormat,
    b: int,
    offset_b: int,
    fmt_b: LNSFormat,
    fmt: LNSFormat,
    offset: int,
) -> int:
    """a * b stored in (fmt, offset)."""
    (sign_a, e_a), (sign_b, e_b) = split(a, fmt_a), split(b, fmt_b)
    if e_a is None or e_b is None:
        return 0
    return _store(sign_a ^ sign_b, e_a + offset_a + e_b + offset_b - offset, fmt)


def div_one(
    a: int,
    offset_a: int,
    fmt_a: LNSFormat,
    b: int,
    offset_b: int,
    fmt_b: LNSFormat,
    fmt: LNSFormat,
    offset: int,
) -> int:
    """a / b stored in (fmt, offset); ZeroDivisionError for b = 0."""
    (sign_a, e_a), (sign_b, e_b) = split(a, fmt_a), split(b, fmt_b)
    if e_b is None:
        raise ZeroDivisionError("b must be other than zero")
    if e_a is None:
        return 0
    return _store(sign_a ^ sign_b, e_a + offset_a - e_b - offset_b - offset, fmt)


def sqrt_one(a: int, offset_a: int, fmt_a: LNSFormat, fmt: LNSFormat, offset: int) -> int:
    """RN_even((e + offset_a) / 2) - offset, stored; ValueError for a negative operand."""
    sign, e = split(a, fmt_a)
    if e is None:
        return 0
    if sign:
        raise ValueError("a must not be negative")
    return _store(0, round(Fraction(e + offset_a, 2)) - offset, fmt)


def requantise_one(a: int, offset_a: int, fmt_a: LNSFormat, fmt: LNSFormat, offset: int) -> int:
    """RN_even((e + offset_a) * G' / G - offset), stored."""
    sign, e = split(a, fmt_a)
    if e is None:
        return 0
    return _store(sign, round(Fraction((e + offset_a) * fmt.gamma, fmt_a.gamma) - offset), fmt)
