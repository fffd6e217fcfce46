"""A judge from outside: xlns 1.0.5 (MIT), exponent for exponent where its meaning is ours.

xlns writes a number as a sign and a whole exponent of the base 2^(2^-F), which is gamma = 2^F at
offset 0, without a width. Its scalar class (`xlns.xlns`: fields x and s) and its arrays (`xlnsnp`:
2 x + s in an int64) take F from a global. Where the two differ by design, a test states how, by the
rule or by an example: exponent width, encoding in float64, roots, cancellation, the sign of zero,
division by zero, infinities, the order of sums, and Mitchell's rounding.
"""

import math
from collections.abc import Callable
from functools import reduce

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import xlns
from lnsim.lns import (
    LNSArray,
    LNSFormat,
    NonFiniteError,
    add,
    compare,
    decode,
    div,
    dot,
    encode,
    mul,
    neg,
    sqrt,
    square,
    sub,
    total,
)
from lnsim.lns.gauss import gauss_table
from lnsim.lns.oracle import encode_one
from lnsim.lns.thresholds import thresholds
from xlnsconf.lpvip_ufunc import mitch_ufunc

Ints = npt.NDArray[np.int64]
SetBits = Callable[[int], None]
fraction_bits = pytest.mark.parametrize("bits", range(8))
XLNS_ZERO = -(2**63)  # of xlnsnp; plus one: negative


@pytest.fixture
def set_bits(monkeypatch: pytest.MonkeyPatch) -> SetBits:
    """xlns's global precision, given back afterwards."""
    for name in ("xlnsF", "xlnsB", "xlns1stCons"):
        monkeypatch.setattr(xlns, name, getattr(xlns, name))
    return xlns.xlnssetF


def wide(bits: int, zero: bool = False) -> LNSFormat:
    """A format in which nothing here saturates or flushes, around the offset -2^14."""
    return LNSFormat(15, 2**bits, zero)


MIDDLE = -(2**14)


def every(fmt: LNSFormat) -> LNSArray:
    """All codes, at the offset that puts 1 in the middle."""
    code = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    return LNSArray(code, -(2 ** (fmt.exponent_bits - 1)), fmt)


def parts(array: LNSArray) -> tuple[Ints, Ints]:
    """(exponent at offset 0, sign) of every element."""
    sign, e = np.divmod(array.code.astype(np.int64), 2**array.fmt.exponent_bits)
    return e + np.asarray(array.offset), sign


def theirs(array: LNSArray) -> xlns.xlnsnp:
    """The same numbers as xlns's array: 2 x + s, zero its own code."""
    e, sign = parts(array)
    result = xlns.xlnsnp("")
    zero = array.fmt.zero & (array.code & array.fmt.max_exponent == 0)
    result.nd = np.where(zero, XLNS_ZERO, 2 * e + sign)
    return result


def scalar(exponent: int, sign: int) -> xlns.xlns:
    """One number of xlns's scalar class."""
    result = xlns.xlns("")
    result.x, result.s = exponent, bool(sign)
    return result


def assert_equal(ours: LNSArray, found: xlns.xlnsnp) -> None:
    """Exponent and sign of every element."""
    e, sign = parts(ours)
    np.testing.assert_array_equal(2 * e + sign, found.nd)


def stored(found: xlns.xlnsnp, fmt: LNSFormat, offset: int) -> Ints:
    """What a format makes of xlns's unbounded exponents: saturated above, flushed below."""
    zero = found.nd | 1 == XLNS_ZERO + 1
    e, sign = np.where(zero, -(2**40), found.nd >> 1) - offset, found.nd & 1
    code = np.clip(e, 0, fmt.max_exponent) | sign << fmt.exponent_bits
    return np.where(zero | ((e < 1) & fmt.zero), 0, code)


# --- where they agree ---------------------------------------------------------------------------


@fraction_bits
def test_products_quotients_and_squares(bits: int, set_bits: SetBits) -> None:
    """Every pair of eight-bit codes."""
    set_bits(bits)
    x = every(LNSFormat(7, 2**bits, zero=False))
    column = LNSArray(x.code[:, None], x.offset, x.fmt)
    left, right = theirs(column), theirs(x)
    assert_equal(mul(column, x, wide(bits), MIDDLE), left * right)
    assert_equal(div(column, x, wide(bits), MIDDLE), left / right)
    assert_equal(square(x, wide(bits), MIDDLE), right**2)
    assert_equal(neg(x), -right)


@pytest.mark.parametrize("bits", range(13))
def test_the_ideal_gaussian_logarithms(bits: int, set_bits: SetBits) -> None:
    """xlns's "ideal" functions are S and D at every distance of fifteen bits."""
    set_bits(bits)
    distance = np.arange(2**15)
    sums = xlns.sbdb_ufunc_ideal(-distance, 0) // 2
    differences = xlns.sbdb_ufunc_ideal(-distance[1:], 1) // 2
    np.testing.assert_array_equal(gauss_table(2**bits, False), sums)
    np.testing.assert_array_equal(-gauss_table(2**bits, True)[1:], differences)


@fraction_bits
@pytest.mark.parametrize("zero", [True, False])
def test_scalar_sums_and_comparisons(zero: bool, bits: int, set_bits: SetBits) -> None:
    """Every pair of six-bit codes; where a sum leaves the format, what the format makes of it."""
    set_bits(bits)
    x = every(LNSFormat(5, 2**bits, zero))
    e, sign = (part.tolist() for part in parts(x))
    numbers = [scalar(*pair) for pair in zip(e, sign, strict=True)]
    if zero:
        numbers[0] = numbers[2**5] = xlns.xlns(0.0)
    column = LNSArray(x.code[:, None], x.offset, x.fmt)
    pairs = [[a + b for b in numbers] for a in numbers]
    gone = [[not isinstance(c.x, int) for c in row] for row in pairs]
    found = xlns.xlnsnp("")
    found.nd = np.array(
        [[XLNS_ZERO if out else 2 * c.x + c.s for c, out in zip(*rows, strict=True)]
         for rows in zip(pairs, gone, strict=True)]
    )  # fmt: skip
    np.testing.assert_array_equal(add(column, x).code, stored(found, x.fmt, int(x.offset)))
    np.testing.assert_array_equal(sub(column, neg(x)).code, add(column, x).code)
    order = [[(a > b) - (a < b) for b in numbers] for a in numbers]
    np.testing.assert_array_equal(compare(column, x), order)


@fraction_bits
def test_array_sums(bits: int, set_bits: SetBits) -> None:
    """Every pair of eight-bit codes but x + (-x); narrow formats store what xlns has."""
    set_bits(bits)
    x = every(LNSFormat(7, 2**bits))
    column = LNSArray(x.code[:, None], x.offset, x.fmt)
    ours = add(column, x)
    found = stored(theirs(column) + theirs(x), x.fmt, int(x.offset))
    cancelled = compare(column, neg(x)) == 0
    zero = theirs(x).nd == XLNS_ZERO
    same = ~cancelled | zero
    np.testing.assert_array_equal(ours.code[same], found[same])


@fraction_bits
def test_encoding_numbers_of_eight_significant_bits(bits: int, set_bits: SetBits) -> None:
    """Every fifth normal bfloat16, both signs: both round to nearest in the logarithm."""
    set_bits(bits)
    x = (np.arange(1 << 7, 255 << 7, 5, np.uint32) << 16).view(np.float32).astype(np.float64)
    x[::2] *= -1
    for fmt, offset in ((wide(bits), MIDDLE), (LNSFormat(7, 2**bits), -60)):
        found = stored(xlns.xlnsnp(x), fmt, offset)
        np.testing.assert_array_equal(encode(x, fmt, offset).code, found)
        np.testing.assert_array_equal(encode(x.astype(np.float32), fmt, offset).code, found)


@fraction_bits
def test_codes_survive_the_way_through_the_other(bits: int, set_bits: SetBits) -> None:
    """Decoded by xlns and encoded here, decoded here and encoded by xlns: the same exponents."""
    set_bits(bits)
    x = every(LNSFormat(7, 2**bits, zero=False))
    e, sign = parts(x)
    values = np.array([float(scalar(*pair)) for pair in zip(e.tolist(), sign.tolist())])  # noqa: B905
    np.testing.assert_array_equal(encode(values, x.fmt, x.offset).code, x.code)
    np.testing.assert_array_equal(xlns.xlnsnp(decode(x)).nd, 2 * e + sign)


def signed(shape: tuple[int, ...], bits: int, seed: int) -> LNSArray:
    """Random numbers of about eight bits, far from the ends of a wide format."""
    rng = np.random.default_rng(seed)
    code = 2**14 + rng.integers(-100, 100, shape) | rng.integers(0, 2, shape) << 15
    return LNSArray(code.astype(np.uint16), MIDDLE, wide(bits, zero=True))


@fraction_bits
def test_sequential_sums(bits: int, set_bits: SetBits) -> None:
    """xlns scalars added one after the other, by reduce and by numpy over objects."""
    set_bits(bits)
    x = signed((40,), bits, bits)
    numbers = [scalar(*pair) for pair in zip(*(part.tolist() for part in parts(x)), strict=True)]
    e, sign = parts(total(x, order="sequential"))
    for found in (reduce(lambda a, b: a + b, numbers), np.array(numbers, object).sum()):
        assert (found.x, found.s) == (int(e), bool(sign))


def reversed_bits(count: int) -> list[int]:
    """0..count-1 with their bits reversed: first halves against second become neighbours."""
    places = count.bit_length() - 1
    return [int(f"{i:0{places}b}"[::-1], 2) for i in range(count)]


@fraction_bits
def test_trees_of_sums(bits: int, set_bits: SetBits) -> None:
    """xlns's array sum folds the upper half onto the lower: "tree" in bit-reversed order.

    Of 64 positive numbers; and a product of matrices, 5 x 32 by 32 x 4.
    """
    set_bits(bits)
    drawn = (signed(shape, bits, i) for i, shape in enumerate(((64,), (5, 32), (32, 4))))
    x, a, b = (LNSArray(m.code & 2**15 - 1, m.offset, m.fmt) for m in drawn)
    e, _ = parts(total(x[reversed_bits(64)], order="tree"))
    assert 2 * int(e) == int(theirs(x).sum().nd.item())
    # Of nine bits, so that a product and its double fit the widest accumulator.
    narrow = LNSFormat(9, 2**bits)
    a, b = (LNSArray((m.code - 2**14 + 200).astype(np.uint16), -200, narrow) for m in (a, b))
    order = reversed_bits(32)
    left, right = a[:, order], b[order].T
    found = dot(left.reshape(5, 1, 32), right.reshape(1, 4, 32), order="tree")
    e, sign = parts(found)
    np.testing.assert_array_equal(2 * e + sign, (theirs(a) @ theirs(b)).nd)


@fraction_bits
def test_mitchells_sum_but_for_its_rounding(bits: int, set_bits: SetBits) -> None:
    """Difference: xlns's LPVIP sum shifts bits out, "mitchell" rounds half up.

    Both round (G + f) / 2^q, -d = f - q G. F = 3, d = 3: 13 / 2 is 6 there and 7 here.
    """
    set_bits(bits)
    distance = np.arange(1, min(40 * 2**bits, 2**15))
    whole, fraction = np.divmod(-distance, 2**bits)
    doubled = (2 ** (bits + 1) + 2 * fraction).astype(object)
    shift = (-whole).astype(object)
    np.testing.assert_array_equal(mitch_ufunc(-distance, bits), doubled // 2 >> shift)
    rounded = doubled // 2 + (2 ** (shift - 1)) >> shift
    np.testing.assert_array_equal(gauss_table(2**bits, False, "mitchell")[distance], rounded)
    if bits == 3:
        assert (mitch_ufunc(np.array(-3), 3), gauss_table(8, False, "mitchell")[3]) == (6, 7)


# --- where they differ --------------------------------------------------------------------------


def test_xlns_has_no_width(set_bits: SetBits) -> None:
    """Twenty squarings of 2 at F = 3 give 2^(2^20) there, the top exponent here: 127 at offset 0.

    Its arrays clip on demand only (`ovf`, to the range of fp32), never by themselves.
    """
    set_bits(3)
    number, code = xlns.xlns(2.0), LNSArray(np.array([8], np.uint8), 0, LNSFormat(7, 8))
    for _ in range(20):
        number, code = number * number, square(code, offset=0)
    assert number.x == 8 * 2**20
    assert code.code.tolist() == [127]


@fraction_bits
def test_roots_of_odd_exponents(bits: int, set_bits: SetBits) -> None:
    """xlns's arrays round a root down to a whole step, here half goes to even.

    They differ for x = 3 mod 4 alone: at F = 0 the root of 8 is 2 there (1.5 -> 1) and 4 here.
    The scalar class keeps the half step, a number that no code of F bits holds.
    """
    set_bits(bits)
    x = every(LNSFormat(7, 2**bits, zero=False))[:128]
    e, _ = parts(x)
    found = theirs(x) ** 0.5
    np.testing.assert_array_equal(found.nd, e // 2 * 2)
    ours, _ = parts(sqrt(x, wide(bits), MIDDLE))
    np.testing.assert_array_equal(ours - found.nd // 2, e % 4 == 3)
    assert (xlns.xlns(2.0**2**-bits) ** 0.5).x == 0.5


def test_roots_of_negative_numbers_and_of_zero(set_bits: SetBits) -> None:
    """xlns's arrays drop the sign, sqrt(-4) = 2, and halve zero's code, which then is no zero."""
    set_bits(0)
    assert (xlns.xlnsnp(-4.0) ** 0.5).nd.tolist() == [2]
    assert (xlns.xlnsnp(0.0) ** 0.5).nd.tolist() == [XLNS_ZERO // 2]
    fmt = LNSFormat(4, 1)
    with pytest.raises(ValueError, match=r"^a must not be negative"):
        sqrt(encode(np.array([-4.0]), fmt, -2))
    assert sqrt(LNSArray(np.array([0], np.uint8), 0, fmt)).code.tolist() == [0]


@fraction_bits
def test_a_difference_of_equals_in_xlns_arrays(bits: int, set_bits: SetBits) -> None:
    """xlnsnp has x - x = -|x| (1 - 2^(-1/G)), its D at distance 1; the scalar class and we have 0.

    F = 3: 1 - 1 is -2^(-29/8) = -0.081. Every code of eight bits.
    """
    set_bits(bits)
    x = every(LNSFormat(7, 2**bits, zero=False))
    found = theirs(x) - theirs(x)
    e, _ = parts(x)
    np.testing.assert_array_equal(found.nd, 2 * (e - gauss_table(2**bits, True)[1]) + 1)
    assert not sub(x, x).code.any()
    if bits == 3:
        assert (xlns.xlnsnp(1.0) - xlns.xlnsnp(1.0)).nd.tolist() == [-2 * 29 + 1]


def test_zero_has_a_sign_in_xlns(set_bits: SetBits) -> None:
    """Scalars: zero is x = -inf beside a sign, and -0 is not 0, though 1 - 1 and -1 + 1 are both.

    Arrays: -2^63 and -2^63 + 1. Here it is code 0 (e = 0 of either sign where the format has zero).
    """
    set_bits(3)
    plus, minus = xlns.xlns(1.0), -xlns.xlns(1.0)
    assert (plus + minus).x == (minus + plus).x == xlns.xlns(0.0).x == -math.inf
    assert (plus + minus) == xlns.xlns(0.0)
    assert (minus + plus) != xlns.xlns(0.0)
    assert (-xlns.xlnsnp(0.0)).nd.tolist() == [XLNS_ZERO + 1]
    one = encode(np.array([1.0, -1.0]), LNSFormat(7, 8), -64)
    assert add(one, neg(one)).code.tolist() == [0, 0]
    zeros = LNSArray(np.array([0, 128], np.uint8), 0, LNSFormat(7, 8))
    assert compare(zeros, zeros[::-1]).tolist() == [0, 0]
    assert neg(zeros).code.tolist() == [0, 0]


def test_one_is_exponent_zero_in_xlns(set_bits: SetBits) -> None:
    """x = 0 is one there; here the offset says which code is one, and at offset 0 a format with a
    zero has none: 1 is flushed."""
    set_bits(3)
    assert xlns.xlns(1.0).x == 0
    fmt = LNSFormat(7, 8)
    assert [encode(np.array([1.0]), fmt, o).code.tolist() for o in (-64, -1, 0)] == [[64], [1], [0]]
    assert encode(np.array([1.0]), LNSFormat(7, 8, zero=False), 0).code.tolist() == [0]


def test_division_by_zero(set_bits: SetBits) -> None:
    """A scalar becomes infinite, an array's integer wraps round (3 / 0 is tiny); here an error."""
    set_bits(3)
    assert (xlns.xlns(1.0) / xlns.xlns(0.0)).x == math.inf
    assert (xlns.xlnsnp(3.0) / xlns.xlnsnp(0.0)).nd.tolist() == [XLNS_ZERO + 26]
    x = LNSArray(np.array([3, 0], np.uint8), 0, LNSFormat(7, 8))
    with pytest.raises(ValueError, match=r"^b must be other than zero, got zero at index \(1,\)$"):
        div(x, x)


@pytest.mark.parametrize(("value", "error"), [(math.inf, OverflowError), (math.nan, ValueError)])
def test_infinities_and_nans(value: float, error: type, set_bits: SetBits) -> None:
    """xlns fails in Python's conversion to an integer; here the element is named."""
    set_bits(3)
    with pytest.raises(error, match="cannot convert float"):
        xlns.xlns(value)
    with pytest.raises(NonFiniteError, match=r"^x must be finite for lns-e7g8, got"):
        encode(np.array([value]), LNSFormat(7, 8), 0)


def test_encoding_beside_a_boundary(set_bits: SetBits) -> None:
    """xlns rounds a float64 logarithm: one step off for a double next to a boundary.

    F = 1, 38.05462768008708: 2 log2 = 10.5 to 15 digits, above it by an integer comparison: 11
    here, 10 there. Of the doubles on both sides of every boundary of an octave, F = 0..7.
    """
    differing = count = 0
    for bits in range(8):
        set_bits(bits)
        limits = thresholds(2**bits, "nearest", 52).astype(np.float64)
        x = np.concatenate([limits, limits + 1]) * 2.0 ** (5 - 52)
        ours, _ = parts(encode(x, wide(bits), MIDDLE))
        found = xlns.xlnsnp(x).nd // 2
        assert (np.abs(found - ours) <= 1).all()
        exact = [encode_one(float(v), wide(bits), MIDDLE) + MIDDLE for v in x[::7]]
        assert ours[::7].tolist() == exact
        differing, count = differing + int((found != ours).sum()), count + x.size
    assert 0 < differing < count


def test_decoding_is_by_a_rounded_base(set_bits: SetBits) -> None:
    """xlns raises the float64 nearest to 2^(1/G) to a power, here each value is the nearest double.

    F = 1: two is 2.0000000000000004 there. Up to 64 units in the last place for eight bits; F = 0
    is exact.
    """
    for bits in range(8):
        set_bits(bits)
        x = every(LNSFormat(7, 2**bits, zero=False))[:128]
        e, _ = parts(x)
        found = np.array([float(scalar(int(i), 0)) for i in e])
        off = np.abs(found - decode(x)) / np.spacing(decode(x))
        assert off.max() <= (64 if bits else 0)
        assert off.any() == (bits > 0)
    set_bits(1)
    assert float(xlns.xlns(2.0)) != 2.0
    assert decode(encode(np.array([2.0]), LNSFormat(7, 2), -64)).tolist() == [2.0]


def test_steps_finer_than_float64_decides(set_bits: SetBits) -> None:
    """F = 23, xlns's default: D(1) = 197373598.33 steps, 197373599 there; gamma ends at 4096 here.

    Encoding errs as well: 8.000000991555055 has 25165825.499999997 steps, 25165826 there.
    """
    set_bits(23)
    with mpmath.workdps(50):
        gamma = mpmath.mpf(2**23)
        wanted = int(mpmath.nint(-gamma * mpmath.log(1 - mpmath.power(2, -1 / gamma), 2)))
        steps = gamma * mpmath.log(mpmath.mpf(8.000000991555055), 2)
        assert (wanted, int(mpmath.nint(steps))) == (197373598, 25165825)
    assert -int(xlns.sbdb_ufunc_ideal(-1, 1)) // 2 == 197373599
    assert xlns.xlns(8.000000991555055).x == 25165826
    with pytest.raises(ValueError, match=r"^gamma must be in 1\.\.4096, got 8388608$"):
        LNSFormat(7, 2**23)
