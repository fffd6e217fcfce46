"""Arithmetic on logarithmic codes: every pair of small formats against the oracle, and laws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lnsim.lns import (
    LNS8,
    LNSArray,
    LNSFormat,
    absolute,
    add,
    compare,
    decode,
    div,
    encode,
    mul,
    neg,
    requantise,
    sqrt,
    square,
    sub,
)
from lnsim.lns.gauss import gauss_table
from lnsim.lns.oracle import (
    add_one,
    decode_one,
    div_one,
    mul_one,
    requantise_one,
    sqrt_one,
    sub_one,
)
from lnsim.lns.testing import NEAR_OFFSETS, OFFSETS, lns_arrays, lns_formats

SMALL = [
    LNSFormat(e, g, zero) for e, g in ((2, 1), (3, 2), (4, 1), (5, 8)) for zero in (True, False)
]
BY_PAIRS = [*SMALL, LNS8, LNSFormat(7, 2, zero=False)]
names = pytest.mark.parametrize("fmt", BY_PAIRS, ids=lambda f: f.name)


def every(fmt: LNSFormat, offset: int = 0) -> LNSArray:
    """All codes of a format, the negative zero among them."""
    return LNSArray(np.arange(2**fmt.bits).astype(fmt.code_dtype), offset, fmt)


def column(array: LNSArray) -> LNSArray:
    return LNSArray(array.code[:, None], array.offset, array.fmt)


def all_pairs(fmt: LNSFormat, one: Callable[[int, int], int]) -> npt.NDArray[np.int64]:
    """The oracle's code for every pair of codes."""
    codes = range(2**fmt.bits)
    return np.array([[one(a, b) for b in codes] for a in codes])


# --- every pair against the oracle --------------------------------------------------------------


@names
def test_every_sum_and_difference(fmt: LNSFormat) -> None:
    """add and sub equal the oracle for all pairs; the offset stays and plays no part."""
    x = every(fmt, 5)
    total, difference = add(column(x), x), sub(column(x), x)
    assert (total.code == all_pairs(fmt, lambda a, b: add_one(a, b, fmt))).all()
    assert (difference.code == all_pairs(fmt, lambda a, b: sub_one(a, b, fmt))).all()
    assert total.offset == difference.offset == 5
    assert total.fmt == fmt


@names
def test_every_product(fmt: LNSFormat) -> None:
    """mul equals the oracle for all pairs, where results saturate, fit and flush."""
    x, offset = every(fmt, 3), 3 + 2 ** (fmt.exponent_bits - 1)
    wanted = all_pairs(fmt, lambda a, b: mul_one(a, 3, fmt, b, 3, fmt, fmt, offset))
    assert (mul(column(x), x, offset=offset).code == wanted).all()


@names
def test_every_quotient(fmt: LNSFormat) -> None:
    """div equals the oracle for every divisor but zero."""
    x, offset = every(fmt, -7), -(2 ** (fmt.exponent_bits - 1))
    codes = [c for c in range(2**fmt.bits) if not (fmt.zero and c % 2**fmt.exponent_bits == 0)]
    divisor = LNSArray(np.array(codes, fmt.code_dtype), 2, fmt)
    wanted = [
        [div_one(a, -7, fmt, b, 2, fmt, fmt, offset) for b in codes] for a in range(2**fmt.bits)
    ]
    assert (div(column(x), divisor, offset=offset).code == wanted).all()


@names
def test_every_square_and_square_root(fmt: LNSFormat) -> None:
    """square and sqrt equal the oracle; a root of an odd exponent is a tie, taken to even."""
    x = every(fmt, 5)
    got = square(x, offset=20)
    assert got.code.tolist() == [mul_one(c, 5, fmt, c, 5, fmt, fmt, 20) for c in range(2**fmt.bits)]
    positive = LNSArray(x.code[: 2**fmt.exponent_bits], 5, fmt)
    for offset in (0, -1, 4):
        assert sqrt(positive, offset=offset).code.tolist() == [
            sqrt_one(c, 5, fmt, fmt, offset) for c in range(2**fmt.exponent_bits)
        ]


@names
def test_every_sign_and_comparison(fmt: LNSFormat) -> None:
    """neg and absolute change the sign of the value, compare orders all pairs of values."""
    x = every(fmt)
    value = decode(x)
    assert (decode(neg(x)) == -value).all()
    assert (decode(absolute(x)) == np.abs(value)).all()
    if fmt.zero:
        assert neg(x).code[[0, 2**fmt.exponent_bits]].tolist() == [0, 0]
    assert (compare(column(x), x) == np.sign(value[:, None] - value)).all()
    assert compare(x, x).dtype == np.int8


@pytest.mark.parametrize("target", [LNSFormat(4, 2), LNSFormat(5, 1, zero=False), LNSFormat(7, 64)])
@pytest.mark.parametrize("source", [LNSFormat(5, 8), LNSFormat(6, 1, zero=False), LNSFormat(7, 16)])
def test_every_requantisation(source: LNSFormat, target: LNSFormat) -> None:
    """All codes, at offsets on and off the target's grid, ties among them."""
    for offset in (0, 3, -21):
        for new in (0, 1, -5, 6):
            got = requantise(every(source, offset), target, new)
            wanted = [requantise_one(c, offset, source, target, new) for c in range(2**source.bits)]
            assert got.code.tolist() == wanted
            assert got.offset == new


@pytest.mark.parametrize("gamma", [1, 2, 8, 64, 4096])
def test_gaussian_logarithms_equal_the_oracle(gamma: int) -> None:
    """S and D over the whole range of distances (a stride of them), and near d = 0 each one."""
    far = np.unique(np.geomspace(100, 32767, 150).astype(int)).tolist()
    top = LNSFormat(15, gamma, zero=False)
    sums, differences = gauss_table(gamma, False), gauss_table(gamma, True)
    assert sums.shape == differences.shape == (2**15,)
    for d in [*range(1, 100), *far]:
        large, small = 2**15 - 1 - 15 * gamma, 2**15 - 1 - 15 * gamma - d
        if small >= 0 and large >= 0:
            assert add_one(large, small, top) == large + sums[d]
            # D(1) is at most 13.5 octaves, and a sum that flushes says nothing of it
            if large - differences[d] > 0:
                assert sub_one(large, small, top) == large - differences[d]


def test_gaussian_logarithms_by_hand() -> None:
    """G = 1: S = 1, 1, 0 (log2 2, 1.5, 1.25), D(1) = 1; G = 8: 8 log2(1.5) = 4.68, D(8) = 8."""
    assert gauss_table(1, False)[:4].tolist() == [1, 1, 0, 0]
    assert gauss_table(1, True)[1:4].tolist() == [1, 0, 0]
    assert gauss_table(8, False)[[0, 8]].tolist() == [8, 5]
    assert gauss_table(8, True)[8] == 8
    assert not gauss_table(8, True).flags.writeable


# --- laws ---------------------------------------------------------------------------------------


@given(st.data(), lns_formats())
def test_sums_and_products_commute(data: st.DataObject, fmt: LNSFormat) -> None:
    """a + b = b + a and a b = b a, bit for bit."""
    a, b = data.draw(lns_arrays(fmt, (5,), 7)), data.draw(lns_arrays(fmt, (5,), 7))
    assert (add(a, b).code == add(b, a).code).all()
    ab, ba = mul(a, b), mul(b, a)
    assert (ab.code == ba.code).all()
    assert ab.offset == ba.offset


@given(st.data(), lns_formats())
def test_zero_and_cancellation(data: st.DataObject, fmt: LNSFormat) -> None:
    """x - x = 0 exactly, x + 0 = x, and x + x is one octave more until it saturates."""
    x = data.draw(lns_arrays(fmt, (6,), 0))
    assert not sub(x, x).code.any()
    value = np.asarray(x.code & fmt.max_exponent, int)
    doubled = np.minimum(value + fmt.gamma, fmt.max_exponent)
    if fmt.zero:
        zeros = LNSArray(np.zeros(6, fmt.code_dtype), 0, fmt)
        canonical = np.where(value == 0, 0, x.code)
        assert (add(x, zeros).code == canonical).all()
        assert (add(zeros, x).code == canonical).all()
        doubled = np.where(value == 0, 0, doubled)
    assert (add(x, x).code & fmt.max_exponent == doubled).all()


@given(st.data(), lns_formats())
def test_sums_are_odd(data: st.DataObject, fmt: LNSFormat) -> None:
    """-(a + b) = (-a) + (-b), but for an exact cancellation, which is code 0 in both."""
    a, b = data.draw(lns_arrays(fmt, (5,), 0)), data.draw(lns_arrays(fmt, (5,), 0))
    left, right = neg(add(a, b)), add(neg(a), neg(b))
    cancelled = compare(a, neg(b)) == 0
    assert (left.code == right.code)[~cancelled].all()
    assert not right.code[cancelled].any()


@given(st.data(), lns_formats(max_exponent_bits=12))
def test_exact_products_and_quotients(data: st.DataObject, fmt: LNSFormat) -> None:
    """(a b) / b = a through a format wide enough to hold the product."""
    a, b = data.draw(lns_arrays(fmt, (5,))), data.draw(lns_arrays(fmt, (5,)))
    wide = LNSFormat(15, fmt.gamma, fmt.zero)
    divisor = LNSArray(np.maximum(b.code, 1), b.offset, fmt)
    if fmt.zero:
        divisor = LNSArray(divisor.code | np.array(1, fmt.code_dtype), b.offset, fmt)
    middle = int(np.asarray(a.offset)) + int(np.asarray(b.offset)) - 1
    product = mul(a, divisor, wide, middle)
    again = div(product, divisor, fmt, a.offset)
    zero = fmt.zero & (a.code & fmt.max_exponent == 0)
    assert (again.code == np.where(zero, 0, a.code)).all()


@given(st.data(), lns_formats(max_gamma=256), st.integers(0, 4))
def test_requantising_up_and_down_again_is_the_identity(
    data: st.DataObject, fmt: LNSFormat, doublings: int
) -> None:
    """A finer format with room for all exponents holds every value exactly."""
    ratio = 2 ** min(doublings, 15 - fmt.exponent_bits)
    x = data.draw(lns_arrays(fmt))
    finer = LNSFormat(15, fmt.gamma * ratio, fmt.zero)
    there = requantise(x, finer, np.asarray(x.offset) * ratio - (1 if ratio == 1 else 0))
    again = requantise(there, fmt, x.offset)
    zero = fmt.zero & (x.code & fmt.max_exponent == 0)
    fits = ratio > 1 or fmt.exponent_bits < 15
    if fits:
        assert (again.code == np.where(zero, 0, x.code)).all()


@given(st.data(), lns_formats(), lns_formats(), st.none() | NEAR_OFFSETS)
def test_requantise_equals_the_oracle(
    data: st.DataObject, source: LNSFormat, target: LNSFormat, offset: int | None
) -> None:
    """Any pair of formats; the default offset is the smallest multiple that saturates nothing."""
    x = data.draw(lns_arrays(source))
    got = requantise(x, target, offset)
    settled = int(np.asarray(got.offset))
    old = int(np.asarray(x.offset))
    wanted = [requantise_one(int(c), old, source, target, settled) for c in x.code]
    assert got.code.tolist() == wanted
    if offset is None:
        assert_smallest(got, [(int(c), old) for c in x.code], source, target)


def assert_smallest(
    got: LNSArray, codes: list[tuple[int, int]], source: LNSFormat, target: LNSFormat
) -> None:
    """The default offset is a multiple of gamma; one octave lower some code would saturate."""
    offset = int(np.asarray(got.offset))
    assert offset % target.gamma == 0
    wide = LNSFormat(15, target.gamma, zero=False)
    if target.max_exponent + 2 * target.gamma > wide.max_exponent:
        return
    exponents = [
        [requantise_one(c, old, source, wide, o) & wide.max_exponent for c, old in codes
         if not (source.zero and c & source.max_exponent == 0)]
        for o in (offset, offset - target.gamma)
    ]  # fmt: skip
    if not exponents[0]:
        assert offset == 0
        return
    assert max(exponents[0]) <= target.max_exponent < max(exponents[1])


def spans_an_octave(fmt: LNSFormat) -> bool:
    """With less, the largest magnitude itself may be flushed at the default offset."""
    return fmt.gamma <= fmt.max_exponent


@given(st.data(), lns_formats(max_exponent_bits=9, max_gamma=256).filter(spans_an_octave))
def test_default_offsets_of_results(data: st.DataObject, fmt: LNSFormat) -> None:
    """Products, quotients and roots by default: the smallest multiple of gamma that fits all."""
    a, b = data.draw(lns_arrays(fmt, (3,))), data.draw(lns_arrays(fmt, (3,)))
    for got in (mul(a, b), square(a), sqrt(absolute(a))):
        offset, top = int(np.asarray(got.offset)), int((got.code & fmt.max_exponent).max())
        assert offset % fmt.gamma == 0
        if fmt.zero and not got.code.any():
            assert offset == 0
        else:
            assert fmt.max_exponent - fmt.gamma < top


@given(st.data(), lns_formats(), OFFSETS, OFFSETS, OFFSETS)
def test_no_offset_overflows(
    data: st.DataObject, fmt: LNSFormat, one: int, two: int, new: int
) -> None:
    """Any int32 offsets of operands and target: products and quotients are the oracle's."""
    a, b = data.draw(lns_arrays(fmt, (3,), one)), data.draw(lns_arrays(fmt, (3,), two))
    pairs = list(zip(a.code.tolist(), b.code.tolist(), strict=True))
    assert mul(a, b, offset=new).code.tolist() == [
        mul_one(x, one, fmt, y, two, fmt, fmt, new) for x, y in pairs
    ]
    assert compare(a, b).tolist() == [
        order(exact(x, one, fmt), exact(y, two, fmt)) for x, y in pairs
    ]


def exact(code: int, offset: int, fmt: LNSFormat) -> tuple[int, int]:
    """(sign, signed steps): ordered as the values are."""
    if fmt.zero and code & fmt.max_exponent == 0:
        return 0, 0
    sign = -1 if code >> fmt.exponent_bits else 1
    return sign, sign * ((code & fmt.max_exponent) + offset)


def order(a: tuple[int, int], b: tuple[int, int]) -> int:
    return (a > b) - (a < b)


def test_offsets_per_channel_and_broadcasting() -> None:
    """Offsets by row and by column, shapes that broadcast, a target with offsets of its own."""
    rng = np.random.default_rng(0)
    rows, columns = np.array([[1], [-9]], np.int32), np.array([4, 0, 7], np.int32)
    a = LNSArray(rng.integers(0, 256, (2, 3)).astype(np.uint8), rows, LNS8)
    b = LNSArray(rng.integers(1, 128, 3).astype(np.uint8), columns, LNS8)
    target = np.array([[10], [20]], np.int32)
    product, quotient = mul(a, b, offset=target), div(a, b, offset=target)
    again = requantise(a, LNSFormat(6, 2), target)
    for i in range(2):
        for j in range(3):
            pair = (int(a.code[i, j]), int(rows[i, 0]), LNS8, int(b.code[j]), int(columns[j]), LNS8)
            assert product.code[i, j] == mul_one(*pair, LNS8, int(target[i, 0]))
            assert quotient.code[i, j] == div_one(*pair, LNS8, int(target[i, 0]))
            assert again.code[i, j] == requantise_one(*pair[:3], LNSFormat(6, 2), int(target[i, 0]))
    whole = add(a, LNSArray(a.code[:, :1], rows, LNS8))
    assert (np.asarray(whole.offset) == rows).all()
    mixed = add(LNSArray(a.code, 4, LNS8), LNSArray(b.code, np.full(3, 4, np.int32), LNS8))
    assert (np.asarray(mixed.offset) == 4).all()
    point = LNSArray(np.array(9, np.uint8), 0, LNS8)
    for result in (add(point, point), mul(point, point), sqrt(point), requantise(point, LNS8)):
        assert result.shape == ()


def test_values_come_out_right() -> None:
    """A few numbers a reader can check: 3 * 4 = 12, 12 / 4 = 3, sqrt 16 = 4, 1 + 1 = 2."""
    fmt = LNSFormat(10, 64)
    three, four = (encode(np.array([v]), fmt, -512) for v in (3.0, 4.0))
    assert decode(mul(three, four, offset=-512))[0] == pytest.approx(12, rel=0.006)
    assert decode(div(three, four, offset=-512))[0] == pytest.approx(0.75, rel=0.006)
    assert decode(sqrt(four, offset=-512)) == 2
    assert decode(add(four, four)) == 8
    assert decode(sub(four, neg(four))) == 8
    assert decode_one(int(square(four, offset=-512).code[0]), -512, fmt) == 16


# --- refusals -----------------------------------------------------------------------------------

X = LNSArray(np.array([[1, 2], [0, 131]], np.uint8), 0, LNS8)
OTHER = LNSArray(X.code, 0, LNSFormat(7, 4))
WIDER = LNSArray(X.code.astype(np.uint16), 0, LNSFormat(8, 8))
MOVED = LNSArray(X.code, np.array([0, 8], np.int32), LNS8)
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: div(X, X),
        ValueError,
        r"b must be other than zero, got zero at index \(1, 0\)",
    ),
    (
        lambda: div(X, LNSArray(X.code[1], 0, LNS8)),
        ValueError,
        r"b must be other than zero, got zero at index \(0, 0\)",
    ),
    (
        lambda: sqrt(X),
        ValueError,
        r"a must not be negative, got a negative number at index \(1, 1\)",
    ),
    (lambda: mul(X, OTHER), ValueError, "b must have a's gamma = 8, got 4"),
    (lambda: add(X, OTHER), ValueError, "b must have a's gamma = 8, got 4"),
    (lambda: mul(X, X, LNSFormat(7, 4)), ValueError, "fmt must have a's gamma = 8, got 4"),
    (lambda: mul(X, X, 8), TypeError, "fmt must be an LNSFormat, got 8"),  # type: ignore[arg-type]
    (lambda: mul(X, 2), TypeError, "b must be an LNSArray, got int"),  # type: ignore[arg-type]
    (lambda: sub(X, 2), TypeError, "b must be an LNSArray, got int"),  # type: ignore[arg-type]
    (lambda: neg(2), TypeError, "a must be an LNSArray, got int"),  # type: ignore[arg-type]
    (lambda: add(X, WIDER), ValueError, "b must have a's format lns-e7g8, got lns-e8g8"),
    (
        lambda: add(X, MOVED),
        ValueError,
        r"b must have a's offset, got 0 and 8 at index \(0, 1\); requantise one of them",
    ),
    (
        lambda: sub(X, X, variant="table"),
        ValueError,
        "variant must be one of exact, table:n, interp:n, mitchell, got 'table'",
    ),
    (lambda: requantise(X, 8), TypeError, "fmt must be an LNSFormat, got 8"),  # type: ignore[arg-type]
    (
        lambda: mul(X, X, offset=np.zeros((3, 2, 2), np.int32)),
        ValueError,
        r"offset must be broadcastable to the code's shape \(2, 2\), got \(3, 2, 2\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        call()
