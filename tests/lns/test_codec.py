"""Real numbers to logarithmic codes and back, exactly, judged by the oracle and by laws."""

from fractions import Fraction
from math import isqrt

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lnsim.lns import FP8_E4M3, INT8, LNS8, LNSArray, LNSFormat, NonFiniteError, decode, encode
from lnsim.lns.log_codec import floor_steps
from lnsim.lns.oracle import decode_one, encode_one
from lnsim.lns.testing import DOUBLES, NEAR_OFFSETS, SINGLES, float_values, lns_arrays, lns_formats
from lnsim.lns.thresholds import _pow2_bounds, pow2_fixed, thresholds

DETERMINISTIC = ("nearest", "nearest_value", "floor")
SMALL = [
    LNSFormat(e, g, zero)
    for e, g in ((2, 1), (3, 1), (4, 2), (5, 4), (7, 1), (7, 8), (7, 4096))
    for zero in (True, False)
]


def canonical(fmt: LNSFormat) -> npt.NDArray[np.unsignedinteger]:
    """All codes but the negative zero of a format that has a zero."""
    code = np.arange(2**fmt.bits)
    if fmt.zero:
        code = code[code != 2**fmt.exponent_bits]
    return code.astype(fmt.code_dtype)


# --- thresholds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0, 1, 23, 52])
def test_pow2_fixed_is_a_chain_of_square_roots(bits: int) -> None:
    """floor(2^(n/d) 2^bits) equals nested integer square roots of 2^(n + d bits)."""
    for d in (1, 2, 4, 8, 32):
        for n in range(2 * d + 1):
            value, root = 1 << (n + d * bits), d
            while root > 1:
                value, root = isqrt(value), root // 2
            assert pow2_fixed(n, d, bits) == value


def test_pow2_fixed_below_one() -> None:
    """Negative powers: 2^-1.5 * 2^10 = 362.04; what is below one unit gives 0."""
    assert pow2_fixed(-3, 2, 10) == 362
    assert pow2_fixed(-10, 1, 10) == 1
    assert pow2_fixed(-21, 2, 10) == 0
    assert pow2_fixed(5, 1, -7) == 0


@pytest.mark.parametrize("precision", [1, 4, 9])
def test_the_intervals_hold_the_power_even_where_bits_are_few(precision: int) -> None:
    """An interval that missed the power could prove a wrong floor: both ends enclose it."""
    for numerator in range(1, 64):
        below = pow2_fixed(
            numerator, 64, precision
        )  # irrational: strictly between below, below + 1
        low, high = _pow2_bounds(numerator, 6, precision)
        assert low <= below < high


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("gamma", [1, 2, 8, 256, 4096])
@pytest.mark.parametrize("bits", [23, 52])
def test_rounding_changes_exactly_at_the_thresholds(gamma: int, rounding: str, bits: int) -> None:
    """At each sampled threshold T the oracle still rounds m = T down and m = T + 1 up."""
    table = thresholds(gamma, rounding, bits)
    assert table.size == gamma - (rounding == "floor")
    assert not table.flags.writeable
    fmt = LNSFormat(15, gamma, zero=False)
    for k in {0, 1, 2, table.size // 3, table.size // 2, table.size - 1} & set(range(table.size)):
        for m, wanted in ((int(table[k]), k), (int(table[k]) + 1, k + 1)):
            assert encode_one(m / 2**bits, fmt, 0, rounding) == wanted


# --- encode -------------------------------------------------------------------------------------


def assert_encodes_like_the_oracle(
    x: npt.NDArray[np.floating], fmt: LNSFormat, offset: int | None, rounding: str
) -> None:
    """The codes of x are the oracle's, at the offset the encoder used."""
    got = encode(x, fmt, offset, rounding)
    wanted = [encode_one(float(v), fmt, int(got.offset), rounding) for v in x.ravel()]
    assert got.code.ravel().tolist() == wanted
    assert got.shape == x.shape


@given(st.data(), lns_formats(max_gamma=256), st.sampled_from(DETERMINISTIC))
def test_encode_equals_the_oracle(data: st.DataObject, fmt: LNSFormat, rounding: str) -> None:
    """Any float32 or float64, subnormals included, at a given offset or the default one."""
    dtype = data.draw(st.sampled_from((np.float32, np.float64)))
    values = data.draw(st.lists(float_values(dtype), max_size=5))
    offset = data.draw(st.none() | NEAR_OFFSETS | st.just(2**31 - 1) | st.just(-(2**31)))
    assert_encodes_like_the_oracle(np.array(values, dtype), fmt, offset, rounding)


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("gamma", [512, 4096])
def test_encode_equals_the_oracle_at_fine_gammas(gamma: int, rounding: str) -> None:
    """Numbers of every size of float64, the smallest and largest among them."""
    rng = np.random.default_rng(gamma)
    x = np.append(2.0 ** rng.uniform(-40, 40, 12), [5e-324, 3 * 2.0**-1074, 1.7976931348623157e308])
    assert_encodes_like_the_oracle(x, LNSFormat(15, gamma), None, rounding)


@given(DOUBLES, lns_formats(), st.sampled_from(DETERMINISTIC))
def test_encode_is_symmetric_in_sign(x: float, fmt: LNSFormat, rounding: str) -> None:
    """-x encodes as x with the sign bit flipped, zero apart."""
    plus, minus = (encode(np.array([v]), fmt, 0, rounding).code[0] for v in (abs(x), -abs(x)))
    flips = x != 0 and not (fmt.zero and plus == 0)
    assert int(minus) == int(plus) | (2**fmt.exponent_bits if flips else 0)


@given(st.lists(SINGLES, min_size=2, max_size=20), lns_formats(), st.sampled_from(DETERMINISTIC))
def test_encode_is_monotone(values: list[float], fmt: LNSFormat, rounding: str) -> None:
    """A larger magnitude never gets a smaller exponent."""
    x = np.sort(np.abs(np.array(values, np.float32)))
    assert (np.diff(encode(x, fmt, None, rounding).code.astype(int)) >= 0).all()


@given(st.lists(DOUBLES, max_size=6), lns_formats(), st.sampled_from(DETERMINISTIC))
@example([1.5], LNSFormat(3, 1), "nearest_value")
@example([1.5, -3.0], LNSFormat(2, 1, zero=False), "nearest_value")
def test_the_default_offset_is_the_smallest_that_saturates_nothing(
    values: list[float], fmt: LNSFormat, rounding: str
) -> None:
    """A multiple of gamma; a wide format shows no saturation there and some one octave lower."""
    x = np.array(values, np.float64)
    offset = encode(x, fmt, None, rounding).offset
    assert isinstance(offset, int)
    assert offset % fmt.gamma == 0
    if not x.any():
        assert offset == 0
        return
    largest = float(np.abs(x).max())
    steps = LNSFormat(15, fmt.gamma, zero=False)  # wide enough to see one octave above the top
    if fmt.max_exponent + 2 * fmt.gamma <= steps.max_exponent:
        assert encode_one(largest, steps, offset, rounding) <= fmt.max_exponent
        assert encode_one(largest, steps, offset - fmt.gamma, rounding) > fmt.max_exponent


def test_saturation_and_flush_by_hand() -> None:
    """LNS(3, 1): magnitudes 2^1..2^7, zero below; without zero 2^0..2^7 and a signed bottom."""
    x = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 128.0, -1000.0])
    with_zero = encode(x, LNSFormat(3, 1), 0)
    assert with_zero.code.tolist() == [0, 0, 0, 0, 0, 1, 7, 15]
    without = encode(x, LNSFormat(3, 1, zero=False), 0)
    assert without.code.tolist() == [0, 0, 0, 8, 0, 1, 7, 15]
    assert encode(np.array([-0.25]), LNSFormat(3, 1, zero=False), 0).code.tolist() == [8]


def test_the_one_tie_goes_to_the_even_stored_exponent() -> None:
    """gamma = 1, "nearest_value": 3 lies between 2 and 4; which is even depends on the offset."""
    fmt = LNSFormat(4, 1, zero=False)
    assert [
        int(encode(np.array([3.0]), fmt, o, "nearest_value").code[0]) for o in range(-3, 2)
    ] == [
        4,
        4,
        2,
        2,
        0,
    ]


def test_a_tie_at_the_largest_magnitude_settles_the_default_offset_first() -> None:
    """LNS(3, 1), "nearest_value", 1.5: the tie would round 7 up to 8, so the offset is -6."""
    got = encode(np.array([1.5, 0.75]), LNSFormat(3, 1), None, "nearest_value")
    assert (got.offset, got.code.tolist()) == (-6, [6, 6])


def test_roundings_differ_where_they_should() -> None:
    """1.45 is above 2^0.5 (logarithmic midpoint) and below 1.5 (midpoint in value)."""
    fmt = LNSFormat(4, 1)
    codes = [int(encode(np.array([1.45]), fmt, -4, r).code[0]) for r in DETERMINISTIC]
    assert codes == [5, 4, 4]


def test_offsets_per_channel() -> None:
    """An int32 array of offsets encodes each row as a scalar offset would."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    offsets = np.array([[-100], [-64], [2**31 - 1]], np.int32)
    whole = encode(x, LNS8, offsets)
    for i in range(3):
        assert (whole.code[i] == encode(x[i], LNS8, int(offsets[i, 0])).code).all()
    assert (decode(whole)[1] == decode(LNSArray(whole.code[1], -64, LNS8))).all()


def test_shapes_and_memory_layouts() -> None:
    """Zero, one and three axes, empty, transposed and strided arrays keep their shape."""
    x = np.random.default_rng(1).normal(size=(4, 3, 2))
    whole = encode(x, LNS8, -40)
    assert (encode(x.T, LNS8, -40).code == whole.code.T).all()
    assert (encode(x[::2], LNS8, -40).code == whole.code[::2]).all()
    scalar = encode(np.float32(1.0), LNS8, -40)
    assert scalar.shape == ()
    assert decode(scalar).shape == ()
    fine = encode(
        np.float64(1.0), LNSFormat(7, 4096), -5, "stochastic", np.random.default_rng(0), 16
    )
    assert fine.code.tolist() == 5
    assert encode(np.zeros((0, 3)), LNS8).shape == (0, 3)
    assert decode(encode(np.zeros((0, 3)), LNS8)).shape == (0, 3)


# --- stochastic rounding ------------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(0.0), max_size=6),
    lns_formats(),
    st.integers(1, 16),
    st.integers(0, 2**32),
)
@example([5e-324, 0.0, 1.0], LNSFormat(15, 4096), 16, 3)
def test_stochastic_rounding_equals_the_oracle(
    values: list[float], fmt: LNSFormat, random_bits: int, seed: int
) -> None:
    """One draw per element in C order, zeros included, and the published formula."""
    x = np.array(values, np.float64)
    offset = -(2 ** (fmt.exponent_bits - 1))
    got = encode(x, fmt, offset, "stochastic", np.random.default_rng(seed), random_bits)
    draws = np.random.default_rng(seed).integers(0, 2**random_bits, size=x.shape)
    wanted = [
        encode_one(v, fmt, offset, "stochastic", int(r), random_bits)
        for v, r in zip(values, draws, strict=True)
    ]
    assert got.code.tolist() == wanted


@pytest.mark.parametrize("gamma", [2**17, 2**22, 2**28])
def test_long_floors_are_exact_beside_their_thresholds(gamma: int) -> None:
    """Where no table is built, a significand one unit to either side of a power is told apart."""
    k = np.random.default_rng(gamma).integers(0, gamma, 50)
    k = np.append(k, [0, 1, gamma - 1, gamma])
    at = np.array([pow2_fixed(int(n), gamma, 52) for n in k], np.uint64)  # at <= 2^(k/gamma)
    octave = np.zeros(k.size, np.int64)
    inside = at < 2**53
    above = floor_steps(at + np.uint64(1), octave, gamma)
    below = floor_steps(at, octave, gamma)
    exact = k % gamma == 0
    width = 2.0**52 * (2 ** (1 / gamma) - 1)  # of one step near 1, in units of the significand
    assert width > 4
    assert (above[inside & ~exact] == k[inside & ~exact]).all()
    assert (below[inside & ~exact] == k[inside & ~exact] - 1).all()
    assert (below[inside & exact] == k[inside & exact]).all()


def test_stochastic_rounding_is_unbiased_in_the_logarithm() -> None:
    """Over all 2^R draws exactly floor(2^R frac) round up: the sum over draws has no error."""
    fmt, x, bits = LNSFormat(7, 8), 1.3, 6
    codes = [encode_one(x, fmt, -40, "stochastic", r, bits) for r in range(2**bits)]
    low = encode_one(x, fmt, -40, "floor")
    assert sum(c - low for c in codes) == int(2**bits * ((8 * np.log2(x)) % 1))


# --- decode -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
@pytest.mark.parametrize("octaves", [0, -64, 37, -1000])
def test_every_small_code_survives_a_round_trip(fmt: LNSFormat, octaves: int) -> None:
    """encode(decode(c)) = c for every canonical code, at offsets on an octave and off it."""
    code = canonical(fmt)
    for offset in (octaves * fmt.gamma, octaves * fmt.gamma + 5):
        value = decode(LNSArray(code, offset, fmt))
        for rounding in ("nearest", "nearest_value"):
            assert (encode(value, fmt, offset, rounding).code == code).all()


@given(st.data(), lns_formats())
def test_wide_codes_survive_a_round_trip(data: st.DataObject, fmt: LNSFormat) -> None:
    """The same for any format, where the values are normal numbers of float64."""
    array = data.draw(lns_arrays(fmt))
    lowest, highest = (np.array([e + int(array.offset)]) for e in (0, fmt.max_exponent))
    if lowest / fmt.gamma < -1022 or highest / fmt.gamma > 1023:
        return
    code = np.where((array.code == 2**fmt.exponent_bits) & fmt.zero, 0, array.code)
    for rounding in ("nearest", "nearest_value"):
        again = encode(decode(array), fmt, array.offset, rounding)
        assert (again.code == code).all()


@given(st.data(), lns_formats(max_gamma=256))
def test_decode_equals_the_oracle(data: st.DataObject, fmt: LNSFormat) -> None:
    """The nearest float64 of any code, from below the smallest subnormal to the largest octave."""
    array = data.draw(lns_arrays(fmt, (4,)))
    top = 1023 * fmt.gamma - fmt.max_exponent
    anchor = data.draw(st.sampled_from((0, -1022, -1050, -1074, -1075, -1080, 1023)))
    offset = min(top, anchor * fmt.gamma - data.draw(st.integers(0, fmt.max_exponent)))
    got = decode(LNSArray(array.code, offset, fmt))
    wanted = [decode_one(int(c), offset, fmt) for c in array.code]
    assert got.tolist() == wanted
    assert (np.signbit(got) == [np.signbit(float(v)) for v in wanted]).all()


def test_subnormals_are_rounded_once() -> None:
    """Every step of the subnormal range and around its end, against comparisons of fractions."""
    fmt, gamma = LNSFormat(15, 8, zero=False), 8
    steps = np.arange(-1077 * gamma, -1020 * gamma)
    offset = int(steps[0])
    got = decode(LNSArray((steps - offset).astype(np.uint16), offset, fmt))
    assert got.tolist() == [decode_one(int(n) - offset, offset, fmt) for n in steps]
    assert got[steps == -1075 * gamma] == 0  # exactly half of the smallest: to even
    assert got[steps == -1075 * gamma + 1] == 5e-324
    for n in range(-1074 * gamma, -1070 * gamma):  # the nearest multiple of 2^-1074
        units = Fraction(float(got[steps == n][0])) * 2**1074
        power = Fraction(2) ** (n + gamma * 1075)
        assert (2 * units - 1) ** gamma <= power <= (2 * units + 1) ** gamma


def test_decode_of_zeros_is_positive() -> None:
    """Both zero codes, and what is too small for float64, give +0.0."""
    zeros = decode(LNSArray(np.array([0, 128], np.uint8), 0, LNS8))
    tiny = decode(LNSArray(np.array([1, 129], np.uint8), -(2**31), LNS8))
    for value in (zeros, tiny):
        assert value.tolist() == [0, 0]
        assert not np.signbit(value).any()


# --- refusals -----------------------------------------------------------------------------------


def test_decode_beyond_float64_is_an_error() -> None:
    """2^1024 and more cannot be a float64; the last octave below it can."""
    with pytest.raises(
        OverflowError,
        match=r"^array must be below 2\^1024 to be decoded, got 2\^1024 at index \(1,\)$",
    ):
        decode(LNSArray(np.array([1, 2], np.uint8), 1022, LNSFormat(7, 1)))
    assert decode(LNSArray(np.array([0, 1], np.uint8), 1022, LNSFormat(7, 1)))[1] == 2.0**1023


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_non_finite_element_is_named(value: float) -> None:
    """In C order, with its index; NonFiniteError is a ValueError."""
    x = np.ones((2, 3))
    x[0, 2] = x[1, 0] = value
    with pytest.raises(
        NonFiniteError, match=rf"^x must be finite for lns-e7g8, got {value} at index \(0, 2\)$"
    ):
        encode(x, LNS8)
    assert issubclass(NonFiniteError, ValueError)


ONE = np.ones(2)
NO_BITS = "random_bits must be left out with rounding 'nearest', got "
NO_GENERATOR = "generator must be left out with rounding 'nearest', got "
REFUSED = [
    (lambda: encode([1, 2], LNS8), TypeError, "x must be float32 or float64, got int64"),
    (lambda: encode(ONE, "lns8"), TypeError, "fmt must be a format, got 'lns8'"),  # type: ignore[arg-type]
    (
        lambda: encode(ONE, LNS8, rounding="up"),
        ValueError,
        "rounding must be one of floor, nearest, nearest_value, stochastic, got 'up'",
    ),
    (
        lambda: encode(ONE, LNS8, rounding="stochastic"),
        TypeError,
        "generator must be a numpy Generator, got None",
    ),
    (
        lambda: encode(ONE, LNS8, 0, "stochastic", np.random.default_rng(0), 17),
        ValueError,
        r"random_bits must be in 1\.\.16, got 17",
    ),
    *(
        (lambda f=fmt, w=words: encode(ONE, f, **w), error, message)
        for fmt in (LNS8, FP8_E4M3, INT8)
        for words, error, message in (
            ({"random_bits": 9}, ValueError, NO_BITS + "9"),
            ({"random_bits": 99}, ValueError, r"random_bits must be in 1\.\.16, got 99"),
            ({"random_bits": None}, TypeError, "random_bits must be an integer, got None"),
            ({"generator": "x"}, ValueError, NO_GENERATOR + "'x'"),
            ({"generator": np.random.default_rng(0)}, ValueError, NO_GENERATOR + "Generator.*"),
        )
    ),
    (lambda: encode(ONE, LNS8, 1.0), TypeError, r"offset must be an integer, got 1\.0"),  # type: ignore[arg-type]
    (
        lambda: encode(ONE, LNS8, np.zeros((3, 2), np.int32)),
        ValueError,
        r"offset must be broadcastable to the code's shape \(2,\), got \(3, 2\)",
    ),
    (
        lambda: decode(ONE),  # type: ignore[arg-type]
        TypeError,
        "array must be an LNSArray, FloatArray or IntArray, got ndarray",
    ),
    (lambda: thresholds(6, "nearest", 52), ValueError, "gamma must be a power of two, got 6"),
    (
        lambda: thresholds(8, "stochastic", 52),
        ValueError,
        "rounding must be one of floor, nearest, nearest_value, got 'stochastic'",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(call, error, message) -> None:  # type: ignore[no-untyped-def]
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        call()
