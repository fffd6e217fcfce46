"""The judge is judged: by hand calculations, the processor's floats and exact real sums."""

import struct
from collections.abc import Callable
from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lnsim.lns import (
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    Accumulator,
    Antilog,
    Datapath,
    FloatDatapath,
    FloatFormat,
    IntDatapath,
    IntFormat,
    LNSFormat,
)
from lnsim.lns.oracle import (
    add_one,
    decode_one,
    div_one,
    dot,
    encode_one,
    float_dot,
    int_dot,
    mul_one,
    requantise_one,
    resolve_one,
    sqrt_one,
    sub_one,
    term,
)
from lnsim.lns.oracle_ops import nearest_power
from lnsim.lns.testing import SINGLES, lns_formats

# gamma = 1, one constant of 2 bits: M = 2, a product 2^(e_a + e_b) has the magnitude 2 * 2^p.
OCTAVE = LNSFormat(3, 1)
PLAIN = LNSFormat(2, 1, zero=False)


# --- single numbers -----------------------------------------------------------------------------


def test_powers_by_hand() -> None:
    """RN(2^(m/8) * 256): 256, 279.17, 304.44, 332.0-, 362.04, 394.81, 430.54, 469.51."""
    assert [nearest_power(m, 8, 8) for m in range(8)] == [256, 279, 304, 332, 362, 395, 431, 470]
    assert nearest_power(-1, 1, 0) == 0  # one half: to even
    assert nearest_power(-1, 2, 0) == 1  # 0.707
    assert nearest_power(-3, 2, 0) == 0  # 0.354
    assert nearest_power(3, 1, -1) == 4


@pytest.mark.parametrize(("fmt", "letter"), [(FP16, "e"), (FP32, "f")])
@given(x=SINGLES)
def test_float_codes_are_the_processors(fmt: FloatFormat, letter: str, x: float) -> None:
    """fp16 and fp32 codes of any float32 are those of Python's struct, overflow apart."""
    for value in (x, x * 1.0000001):
        try:
            packed = struct.pack(f"<{letter}", value)
        except OverflowError:
            continue
        code = encode_one(value, fmt, 0)
        assert code == int.from_bytes(packed, "little")
        assert float(decode_one(code, 0, fmt)) == struct.unpack(f"<{letter}", packed)[0]


def test_special_float_codes() -> None:
    """Infinities, NaNs of both signs, overflow by each rule, negative zero."""
    specials = (inf, -inf, nan, -0.0, 1e300)
    saturating = FloatFormat(5, 10, overflow="saturate")
    assert [encode_one(x, FP16, 0) for x in specials] == [0x7C00, 0xFC00, 0x7E00, 0x8000, 0x7C00]
    assert encode_one(-inf, saturating, 0) == 0xFBFF
    assert [encode_one(x, FP8_E4M3, 0) for x in specials] == [0x7E, 0xFE, 0x7F, 0x80, 0x7E]
    lossy = FloatFormat(4, 3, "fn", overflow="infinity")
    assert [encode_one(x, lossy, 0) for x in specials] == [0x7F, 0xFF, 0x7F, 0x80, 0x7F]
    assert [encode_one(x, FP8_E4M3, 0) for x in (448.0, 464.0, 464.1)] == [0x7E, 0x7E, 0x7E]
    assert [encode_one(x, lossy, 0) for x in (448.0, 464.0, 464.1)] == [0x7E, 0x7E, 0x7F]
    assert isnan(decode_one(0x7F, 0, FP8_E4M3))
    assert decode_one(0xFC, 0, FP8_E5M2) == -inf
    assert str(decode_one(0x80, 0, FP8_E4M3)) == "-0.0"


@given(st.integers(-(2**20), 2**20), lns_formats())
def test_decoded_powers_are_near_the_machines(steps: int, fmt: LNSFormat) -> None:
    """2^(n/G) agrees with the C library to two units, exactly at whole octaves."""
    octave, rest = divmod(steps, fmt.gamma)
    if not -1000 < octave < 1000:
        return
    got = decode_one(1, steps - 1, fmt)
    assert got == pytest.approx(2.0 ** (rest / fmt.gamma) * 2.0**octave, rel=2.0**-51)
    if rest == 0:
        assert got == 2.0**octave


def test_arithmetic_by_hand() -> None:
    """LNS(4, 2), value 2^(e/2): 4 * 2 = 8, 8 / 2 = 4, sqrt 8 = 2^1.5, 2 + 2 = 4, 4 - 2 = 2."""
    fmt = LNSFormat(4, 2)
    two, four, eight = 2, 4, 6
    assert mul_one(four, 0, fmt, two, 0, fmt, fmt, 0) == eight
    assert div_one(eight, 0, fmt, two, 0, fmt, fmt, 0) == four
    assert sqrt_one(eight, 0, fmt, fmt, 0) == 3
    assert sqrt_one(5, 0, fmt, fmt, 0) == 2  # 2.5 to even
    assert sqrt_one(7, 0, fmt, fmt, 0) == 4  # 3.5 to even
    assert add_one(two, two, fmt) == four
    assert sub_one(four, two, fmt) == two
    assert sub_one(two, four, fmt) == two + 16
    assert add_one(four, 16, fmt) == four  # a negative zero is zero
    assert requantise_one(5, 0, fmt, LNSFormat(4, 1), 0) == 2  # 2.5 to even
    assert requantise_one(5, 0, fmt, LNSFormat(4, 1), 1) == 2  # 1.5 to even
    assert requantise_one(15, 0, fmt, LNSFormat(4, 4), 0) == 15  # saturated
    assert requantise_one(16 + 1, 0, fmt, LNSFormat(4, 2, zero=False), 9) == 16  # sign kept
    with pytest.raises(ZeroDivisionError, match=r"^b must be other than zero$"):
        div_one(four, 0, fmt, 0, 0, fmt, fmt, 0)
    with pytest.raises(ValueError, match=r"^a must not be negative$"):
        sqrt_one(17, 0, fmt, fmt, 0)


@given(st.data(), lns_formats(max_exponent_bits=10, max_gamma=64))
def test_sums_are_within_half_a_step(data: st.DataObject, fmt: LNSFormat) -> None:
    """The exact sum of two magnitudes lies within half a step of the oracle's, as real numbers."""
    a, b = (data.draw(st.integers(1, fmt.max_exponent // 2)) for _ in "ab")
    total = 2.0 ** (a / fmt.gamma) + 2.0 ** (b / fmt.gamma) if fmt.gamma > 4 else None
    got = add_one(a, b, fmt)
    if total is not None and got < fmt.max_exponent:
        assert abs(fmt.gamma * np.log2(total) - got) <= 0.5 + 1e-9


# --- the logarithmic GEMM -----------------------------------------------------------------------


def simple(**fields: object) -> Datapath:
    return Datapath(Antilog(1, 1), Accumulator(**fields))  # type: ignore[arg-type]


def test_alignment_by_hand() -> None:
    """OCTAVE: the largest product is 2 * 2^14, B = 16; W = 8, guard 1 leaves 6, so D = 10."""
    datapath = simple(bits=8, guard=1)
    assert resolve_one(OCTAVE, OCTAVE, datapath) == (16, 10)
    assert term(7, 0, OCTAVE, 7, 0, OCTAVE, datapath) == 2**15 >> 10
    assert term(7, 1, OCTAVE, 7, 0, OCTAVE, datapath) == -32
    assert term(1, 0, OCTAVE, 1, 0, OCTAVE, datapath) == 0
    assert term(1, 1, OCTAVE, 1, 0, OCTAVE, datapath) == -1  # floor of a tiny negative
    towards = simple(bits=8, guard=1, rounding="toward_zero")
    assert term(1, 1, OCTAVE, 1, 0, OCTAVE, towards) == 0
    assert term(0, 0, OCTAVE, 7, 0, OCTAVE, datapath) == 0
    assert term(0, 0, PLAIN, 0, 1, PLAIN, simple(bits=16, guard=2)) == -2
    assert resolve_one(PLAIN, OCTAVE, datapath) == (12, 6)


def test_saturation_and_wrapping_by_hand() -> None:
    """Terms of 32 in 8 bits: 128 is one too many; afterwards -32 counts from where it stopped."""
    top, minus = [7] * 4, [7] * 4 + [15]
    saturating, wrapping = simple(bits=8, guard=1), simple(bits=8, guard=1, overflow="wrap")
    assert dot([7] * 3, OCTAVE, [7] * 3, OCTAVE, saturating) == (96, False)
    assert dot(top, OCTAVE, top, OCTAVE, saturating) == (127, True)
    assert dot(minus, OCTAVE, [7] * 5, OCTAVE, saturating) == (95, True)
    assert dot(top, OCTAVE, top, OCTAVE, wrapping) == (-128, True)
    assert dot(minus, OCTAVE, [7] * 5, OCTAVE, wrapping) == (96, True)
    assert dot([15] * 4, OCTAVE, [7] * 4, OCTAVE, saturating) == (-128, False)
    assert dot([15] * 5, OCTAVE, [7] * 5, OCTAVE, saturating) == (-128, True)
    assert dot([15] * 5, OCTAVE, [7] * 5, OCTAVE, wrapping) == (96, True)
    assert dot([], OCTAVE, [], OCTAVE, saturating) == (0, False)


def test_groups_of_lanes_by_hand() -> None:
    """Five terms of +32 and one of -32: a group is summed exactly, a zero keeps its place."""
    codes, ones = [7, 7, 7, 7, 15, 7], [7] * 6
    by_lanes = [
        dot(codes, OCTAVE, ones, OCTAVE, simple(bits=8, guard=1, lanes=v)) for v in (1, 2, 3, 4, 5)
    ]
    # 1: 127 - 32 + 32; 2: 64, 128 -> 127, 0; 3: 96, then +32 -> 127; 4: 128 -> 127; 5: 96, 128
    assert by_lanes == [(127, True), (127, True), (127, True), (127, True), (127, True)]
    codes, ones = [7, 7, 7, 7, 15, 15], [7] * 6
    by_lanes = [
        dot(codes, OCTAVE, ones, OCTAVE, simple(bits=8, guard=1, lanes=v)) for v in (1, 2, 5, 6)
    ]
    assert by_lanes == [(63, True), (63, True), (64, False), (64, False)]
    kept = [7, 7, 7, 0, 7, 15]  # lanes 2: 64, 96, 96; lanes 3: 96, 96
    assert dot(kept, OCTAVE, [7] * 6, OCTAVE, simple(bits=8, guard=1, lanes=2)) == (96, False)
    moved = [7, 7, 7, 7, 15, 0]  # lanes 2: 64, 128 -> 127, 95
    assert dot(moved, OCTAVE, [7] * 6, OCTAVE, simple(bits=8, guard=1, lanes=2)) == (95, True)


def test_bins_by_hand() -> None:
    """LNS(3, 2), L = 2, T = 1: c = 2, 3; terms (G + l) 2^q with G = 2 go to bin p mod 2."""
    fmt = LNSFormat(3, 2)
    datapath = Datapath(Antilog(2, 1), Accumulator(bits=16, guard=2, style="bins"))
    assert resolve_one(fmt, fmt, datapath) == (9, 0)  # 2 * 2^7
    # p = 2, 3, 3: bin 0 holds 2 * 2^1, bin 1 holds 2 * 2^1 - 2 * 2^1 + 2 * 2^2 (p = 5)
    codes = [1, 1, 9, 2]
    others = [1, 2, 2, 3]
    assert dot(codes, fmt, others, fmt, datapath) == (2 * 4 + 3 * 8, False)
    tight = Datapath(Antilog(2, 1), Accumulator(bits=4, guard=0, style="bins"))
    assert resolve_one(fmt, fmt, tight) == (9, 6)
    # p = 14: 256 >> 6 = 4 into bin 0, twice is 8: saturated to 7; bin 1 alone would not overflow
    assert dot([7, 7], fmt, [7, 7], fmt, tight) == (2 * 7, True)
    assert dot([7, 7], fmt, [7, 6], fmt, tight) == (2 * 4 + 3 * 2, False)


def test_mitchell_in_direct_and_bins_is_the_same_sum() -> None:
    """L = 1, T = 3, gamma 8: c = 8 = G, so a single bin at full width times c is c times direct."""
    fmt = LNSFormat(4, 8)
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 32, 20).tolist() for _ in "ab")
    direct = Datapath(Antilog(1, 3), Accumulator(bits=40, guard=10))
    bins = Datapath(Antilog(1, 3), Accumulator(bits=40, guard=10, style="bins"))
    assert dot(a, fmt, b, fmt, bins)[0] == 8 * dot(a, fmt, b, fmt, direct)[0]


@given(st.data(), lns_formats(max_exponent_bits=6, max_gamma=16), st.sampled_from([1, 2, 4]))
def test_a_wide_accumulator_is_the_exact_sum(
    data: st.DataObject, fmt: LNSFormat, ratio: int
) -> None:
    """With T = 16 and every place kept, the sum is that of the real products within 2^-16."""
    mate = LNSFormat(5, max(1, fmt.gamma // ratio), zero=data.draw(st.booleans()))
    datapath = Datapath(Antilog(None, 16), Accumulator(bits=62, guard=5))
    codes = [
        (data.draw(st.integers(0, 2**fmt.bits - 1)), data.draw(st.integers(0, 2**mate.bits - 1)))
        for _ in range(4)
    ]
    a, b = zip(*codes, strict=True)
    bits, places = resolve_one(fmt, mate, datapath)
    got, out = dot(a, fmt, b, mate, datapath)
    products = [
        float(decode_one(x, 0, fmt)) * float(decode_one(y, 0, mate))
        for x, y in zip(a, b, strict=True)
    ]
    scale = 2.0 ** (16 - places)
    slack = sum(abs(p) for p in products) * scale * 2.0**-16 + len(a)
    assert not out
    assert abs(got - sum(products) * scale) <= slack
    assert bits - places <= 56


def test_zero_operands_and_entries() -> None:
    """e = 0 is zero where the format says so, a magnitude where it does not; L is checked."""
    datapath = simple(bits=16, guard=1)
    assert dot([0, 8], OCTAVE, [7, 7], OCTAVE, datapath)[0] == 0
    assert dot([0], PLAIN, [0], PLAIN, datapath)[0] == 2
    with pytest.raises(ValueError, match=r"^entries must be at most gamma = 8, got 16$"):
        dot([1], LNS8, [1], LNS8, Datapath(Antilog(16)))


# --- float and integer GEMM ---------------------------------------------------------------------


def code_of(x: float, fmt: FloatFormat) -> int:
    return encode_one(x, fmt, 0)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=12))
def test_fp8_sums_are_the_processors(pairs: list[tuple[int, int]]) -> None:
    """E4M3 products and their float32 sums are exact in float64, so one rounding is numpy's."""
    numbers = [(a & ~1 if a & 127 == 127 else a, b & ~1 if b & 127 == 127 else b) for a, b in pairs]
    acc = np.float32(0)
    for a, b in numbers:
        x, y = float(decode_one(a, 0, FP8_E4M3)), float(decode_one(b, 0, FP8_E4M3))
        acc = np.float32(np.float64(acc) + np.float64(x) * y)
    a_codes, b_codes = [a for a, _ in numbers], [b for _, b in numbers]
    got, out = float_dot(a_codes, FP8_E4M3, b_codes, FP8_E4M3, FloatDatapath())
    assert (struct.pack("<f", got), out) == (struct.pack("<f", acc), False)


SPECIAL_SUMS: list[tuple[list[float], list[float], float]] = [
    ([inf, 1.0], [1.0, 1.0], inf),
    ([inf, -inf], [1.0, 1.0], nan),
    ([inf], [0.0], nan),
    ([0.0], [-inf], nan),
    ([inf, 1.0], [-1.0, 1.0], -inf),
    ([inf, inf], [1.0, 1.0], inf),
    ([nan, 1.0], [1.0, 1.0], nan),
    ([1.0, -1.0], [1.0, 1.0], 0.0),
    ([-0.0], [1.0], 0.0),
]


@pytest.mark.parametrize(("a", "b", "wanted"), SPECIAL_SUMS)
def test_special_sums(a: list[float], b: list[float], wanted: float) -> None:
    """IEEE 754's infinities, NaNs and signed zeros; a non-finite result is reported."""
    codes = [[code_of(x, BF16) for x in xs] for xs in (a, b)]
    got, out = float_dot(codes[0], BF16, codes[1], BF16, FloatDatapath())
    assert struct.pack("<f", got) == struct.pack("<f", wanted) or (isnan(got) and isnan(wanted))
    assert out == (wanted != 0)


def test_float_accumulators_by_hand() -> None:
    """One rounding per step: bf16 stops at 256 + 1; E4M3 saturates at 448, or goes to NaN."""
    one = code_of(1.0, BF16)
    big = code_of(256.0, BF16)
    assert float_dot([big, one], BF16, [one, one], BF16, FloatDatapath(BF16)) == (256.0, False)
    big, one = code_of(448.0, FP8_E4M3), code_of(1.0, FP8_E4M3)
    pair = ([big, big], FP8_E4M3, [one, one], FP8_E4M3)
    assert float_dot(*pair, FloatDatapath(FP8_E4M3)) == (448.0, False)
    value, out = float_dot(*pair, FloatDatapath(FloatFormat(4, 3, "fn", "infinity")))
    assert isnan(value)
    assert out
    assert float_dot(*pair, FloatDatapath(FloatFormat(4, 3, overflow="infinity"))) == (inf, True)
    tiny = code_of(2.0**-9, FP8_E4M3)
    value, _ = float_dot([tiny], FP8_E4M3, [tiny | 128], FP8_E4M3, FloatDatapath(FP8_E4M3))
    assert struct.pack("<f", value) == struct.pack("<f", -0.0)  # a tiny negative keeps its sign


def test_fixed_point_sums_of_floats_by_hand() -> None:
    """E4M3: units of 2^-18, 36 bits at most; W = 24, guard 4: D = 17, by either rounding."""
    one, tiny = code_of(1.0, FP8_E4M3), code_of(2.0**-9, FP8_E4M3)
    for rounding, small in (("floor", -1), ("toward_zero", 0)):
        datapath = FloatDatapath(Accumulator(24, 4, rounding=rounding))
        codes = ([one, one, tiny], FP8_E4M3, [one, one, tiny | 128], FP8_E4M3)
        assert float_dot(*codes, datapath) == (2 * 2 ** (18 - 17) + small, False)
    narrow = FloatDatapath(Accumulator(8, 0))
    top = FP8_E4M3.max_code
    assert float_dot([top] * 2, FP8_E4M3, [top] * 2, FP8_E4M3, narrow) == (127, True)
    with pytest.raises(
        ValueError, match=r"^b must be finite for a fixed-point accumulator, got nan at 1$"
    ):
        float_dot([one, one], FP8_E4M3, [one, 127], FP8_E4M3, narrow)
    with pytest.raises(
        ValueError, match=r"^a must be finite for a fixed-point accumulator, got inf at 0$"
    ):
        float_dot([0x7C], FP8_E5M2, [one], FP8_E4M3, narrow)


@given(st.lists(st.tuples(st.integers(-128, 127), st.integers(-128, 127)), max_size=20))
def test_wide_integer_sums_are_exact(pairs: list[tuple[int, int]]) -> None:
    """int8 in 32 bits is the plain sum; in 16 bits with guard 8 each product loses 8 places."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    assert int_dot(a, INT8, b, INT8, IntDatapath()) == (sum(x * y for x, y in pairs), False)
    narrow = IntDatapath(Accumulator(16, 8))  # 128 * 128 has 15 bits, 7 stay
    wanted = sum(x * y >> 8 for x, y in pairs)
    assert int_dot(a, INT8, b, INT8, narrow) == (wanted, False)


def test_integer_overflow_by_hand() -> None:
    """int4 in 8 bits, guard 0: 64 fits its 7 bits, two saturate at 127 or wrap to -128."""
    small = IntFormat(4)
    saturating, wrapping = (
        IntDatapath(Accumulator(8, 0, overflow)) for overflow in ("saturate", "wrap")
    )
    assert int_dot([-8], small, [-8], small, saturating) == (64, False)
    assert int_dot([-8, -8], small, [-8, -8], small, saturating) == (127, True)
    assert int_dot([-8, -8], small, [-8, -8], small, wrapping) == (-128, True)


UNEQUAL: list[tuple[Callable[..., object], object, object]] = [
    (dot, LNS8, Datapath()),
    (float_dot, FP16, FloatDatapath()),
    (int_dot, INT8, IntDatapath()),
]


@pytest.mark.parametrize(("one", "fmt", "datapath"), UNEQUAL)
def test_operands_of_different_length_are_refused(
    one: Callable[..., object], fmt: object, datapath: object
) -> None:
    """Every element has its mate."""
    with pytest.raises(ValueError, match=r"^zip\(\) argument 2 is shorter than argument 1$"):
        one([1, 1], fmt, [1], fmt, datapath)


def test_integer_and_float_values() -> None:
    """Exact fractions: 3 * 2^-2, and E4M3's 0x08 is its smallest normal number 2^-6."""
    assert decode_one(3, -2, INT8) == Fraction(3, 4)
    assert decode_one(0x08, 1, FP8_E4M3) == Fraction(1, 32)
    assert [encode_one(x, INT8, 0) for x in (2.5, 3.5, -2.5, 127.5, -200.0)] == [
        2,
        4,
        -2,
        127,
        -128,
    ]
