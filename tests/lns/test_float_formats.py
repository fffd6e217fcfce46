"""Small floats and integers: equal to torch's dtypes and ml_dtypes over all codes and midpoints.

Overflow rules differ between tools and each comparison names the one it uses: torch 2.13 saturates
E4M3 (448) and sends E5M2 to infinity; ml_dtypes sends E4M3 to NaN and E5M2 to infinity. NaNs are
compared as NaNs, everything else as bits.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lnsim.lns import (
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    FloatArray,
    FloatFormat,
    IntArray,
    IntFormat,
    LNSFormat,
    NonFiniteError,
    amax_offset,
    decode,
    encode,
)
from lnsim.lns.format import FP4_E2M1, FP6_E2M3, FP6_E3M2, FP8_E4M3FNUZ, TF32
from lnsim.lns.oracle import decode_one, encode_one
from lnsim.lns.testing import DOUBLES, float_formats, float_values, int_formats

E4M3_NAN = FloatFormat(
    4, 3, "fn", overflow="infinity"
)  # ml_dtypes' rule: NaN, there is no infinity
E5M2_INF = FloatFormat(5, 2, overflow="infinity")  # the rule of torch and of ml_dtypes
TORCH = {
    "float16": (FP16, torch.float16),
    "bfloat16": (BF16, torch.bfloat16),
    "float8_e4m3fn-saturating": (FP8_E4M3, torch.float8_e4m3fn),
    "float8_e5m2-infinite": (E5M2_INF, torch.float8_e5m2),
}
ML = {
    "float16": (FP16, np.float16),
    "bfloat16": (BF16, ml_dtypes.bfloat16),
    "float8_e4m3fn-nan": (E4M3_NAN, ml_dtypes.float8_e4m3fn),
    "float8_e5m2-infinite": (E5M2_INF, ml_dtypes.float8_e5m2),
    "float8_e4m3fnuz-nan": (
        FloatFormat(4, 3, "fnuz", overflow="infinity"),
        ml_dtypes.float8_e4m3fnuz,
    ),
    "float8_e5m2fnuz-nan": (
        FloatFormat(5, 2, "fnuz", overflow="infinity"),
        ml_dtypes.float8_e5m2fnuz,
    ),
    "float6_e3m2-saturating": (FP6_E3M2, ml_dtypes.float6_e3m2fn),
    "float6_e2m3-saturating": (FP6_E2M3, ml_dtypes.float6_e2m3fn),
    "float4_e2m1-saturating": (FP4_E2M1, ml_dtypes.float4_e2m1fn),
    "float8_e3m4": (FloatFormat(3, 4, overflow="infinity"), ml_dtypes.float8_e3m4),
    "float8_e4m3": (FloatFormat(4, 3, overflow="infinity"), ml_dtypes.float8_e4m3),
}

Doubles = npt.NDArray[np.float64]


def all_codes(fmt: FloatFormat) -> npt.NDArray[Any]:
    return np.arange(2**fmt.bits, dtype=np.uint32).astype(fmt.code_dtype)


def finite_magnitudes(fmt: FloatFormat) -> Doubles:
    """Every finite value >= 0, ascending: codes of one sign are ordered as their values."""
    return decode(FloatArray(np.arange(fmt.max_code + 1).astype(fmt.code_dtype), 0, fmt))


def hard_cases(fmt: FloatFormat) -> Doubles:
    """All values, midpoints, their float32 neighbours, beyond the top, specials; both signs."""
    values = finite_magnitudes(fmt)
    step = values[-1] - values[-2]
    middle = np.append((values[1:] + values[:-1]) / 2, values[-1] + step / 2)
    assert (middle.astype(np.float32) == middle).all()
    single = middle.astype(np.float32)
    beside = [np.nextafter(single, np.float32(to)) for to in (0, 3e38)]
    large = values[-1] + step * np.array([0.25, 0.75, 1, 2, 3])
    specials = [np.inf, *([] if fmt.encoding == "finite" else [np.nan]), 2.0**-149, 3e38]
    x = np.concatenate([values, middle, *beside, large[large < 3e38], specials])
    return np.concatenate([x, -x])


def assert_same_codes(got: FloatArray, wanted: npt.NDArray[Any]) -> None:
    """Equal bits, where a NaN of either side is met by any NaN of the other."""
    assert got.code.dtype == wanted.dtype
    nan = np.isnan(decode(got))
    assert (nan == np.isnan(decode(FloatArray(wanted, 0, got.fmt)))).all()
    np.testing.assert_array_equal(got.code[~nan], wanted[~nan])


@pytest.mark.parametrize("name", TORCH)
def test_conversion_equals_torch(name: str) -> None:
    """Every value, midpoint and float32 neighbour of a midpoint, overflow by the rule named."""
    fmt, dtype = TORCH[name]
    x = hard_cases(fmt).astype(np.float32)
    view = torch.uint8 if fmt.bits == 8 else torch.uint16
    wanted = torch.from_numpy(x).to(dtype).view(view).numpy()
    if name == "float8_e4m3fn-saturating" and wanted[x == 3e38][0] != fmt.max_code:
        fmt = E4M3_NAN  # torch before 2.13
    assert_same_codes(encode(x, fmt), wanted)


@pytest.mark.parametrize("name", TORCH)
def test_values_equal_torch(name: str) -> None:
    """Every code decodes to torch's value, signed zeros and NaNs included."""
    fmt, dtype = TORCH[name]
    code = all_codes(fmt)
    wanted = torch.from_numpy(code).view(dtype).to(torch.float64).numpy()
    got = decode(FloatArray(code, 0, fmt))
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    assert (np.signbit(got) == np.signbit(wanted))[number].all()


@pytest.mark.parametrize("name", ML)
def test_conversion_equals_ml_dtypes(name: str) -> None:
    """The same cases against ml_dtypes (float16: numpy), overflow by the rule named."""
    fmt, dtype = ML[name]
    x = hard_cases(fmt).astype(np.float32)
    with np.errstate(over="ignore"):  # numpy warns where a float16 becomes infinite
        wanted = x.astype(dtype).view(fmt.code_dtype)
    assert_same_codes(encode(x, fmt), wanted)
    code = all_codes(fmt)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = code.view(dtype).astype(np.float64)
    np.testing.assert_array_equal(decode(FloatArray(code, 0, fmt)), values)


EVERY = [
    FP16,
    BF16,
    FP8_E4M3,
    E4M3_NAN,
    FP8_E5M2,
    E5M2_INF,
    FloatFormat(2, 1, "fn"),
    FP8_E4M3FNUZ,
    FloatFormat(5, 2, "fnuz", overflow="infinity"),
    FP6_E3M2,
    FP6_E2M3,
    FP4_E2M1,
    TF32,
    FloatFormat(2, 1),
    FloatFormat(3, 2, overflow="infinity"),
    FloatFormat(8, 1, "fn", overflow="infinity"),
]


@pytest.mark.parametrize("fmt", EVERY, ids=lambda f: f.name)
def test_every_code_survives_a_round_trip(fmt: FloatFormat) -> None:
    """Numbers, infinities and signed zeros come back as they were; NaNs as the quiet NaN."""
    code = all_codes(fmt)
    value = decode(FloatArray(code, 0, fmt))
    again = encode(value, fmt).code
    kept = np.isfinite(value) | (np.isinf(value) & (fmt.overflow == "infinity"))
    assert (again[kept] == code[kept]).all()
    quiet = 0 if fmt.encoding == "finite" else encode_one(float("nan"), fmt, 0)
    assert set(again[np.isnan(value)].tolist()) <= {quiet, quiet | 2 ** (fmt.bits - 1)}
    clipped = np.isinf(value) & ~kept
    assert (again[clipped] & (2 ** (fmt.bits - 1) - 1) == fmt.max_code).all()


@pytest.mark.parametrize("fmt", EVERY, ids=lambda f: f.name)
def test_float64_is_rounded_once(fmt: FloatFormat) -> None:
    """A midpoint goes to the even code; its float64 neighbours to either side do not waver."""
    values = finite_magnitudes(fmt)
    middle = (values[1:] + values[:-1]) / 2
    low = np.arange(middle.size)
    assert (encode(middle, fmt).code == low + (low & 1)).all()
    assert (encode(np.nextafter(middle, 0), fmt).code == low).all()
    assert (encode(np.nextafter(middle, np.inf), fmt).code == low + 1).all()
    sign, rounded = 2 ** (fmt.bits - 1), low + (low & 1)
    unsigned = (rounded == 0) & (fmt.encoding == "fnuz")  # its zero has no sign
    assert (encode(-middle, fmt).code == rounded + np.where(unsigned, 0, sign)).all()


def test_a_nan_becomes_the_quiet_nan_of_its_sign() -> None:
    """Signalling and negative NaNs of either width, without a warning."""
    for pattern in (0x7F800001, 0xFF800001, 0x7FC12345, 0xFFFFFFFF):
        x = np.array([pattern], np.uint32).view(np.float32)
        sign = pattern >> 31
        assert encode(x, FP32).code[0] == 0x7FC00000 | sign << 31
        assert encode(x, BF16).code[0] == 0x7FC0 | sign << 15
        assert encode(x, FP8_E4M3).code[0] == 0x7F | sign << 7
        assert encode(x, FP8_E5M2).code[0] == 0x7E | sign << 7


def test_a_format_without_nan_refuses_it() -> None:
    """fp6 and fp4 have no code for it; infinity is the largest number."""
    x = np.array([[1.0, np.inf], [np.nan, 0.0]])
    with pytest.raises(NonFiniteError, match=r"^x must not be NaN for fp4-e2m1, got NaN at index"):
        encode(x, FP4_E2M1)
    assert decode(encode(x[0], FP4_E2M1)).tolist() == [1.0, 6.0]
    with pytest.raises(ValueError, match=r"^overflow must be saturate in the encoding finite"):
        FloatFormat(3, 2, "finite", overflow="infinity")


def test_the_published_largest_numbers() -> None:
    """OCP MX rev 1.0 for fp6 and fp4, ml_dtypes' for the others, IEEE-like for tf32."""
    wanted = {FP4_E2M1: 6, FP6_E2M3: 7.5, FP6_E3M2: 28, FP8_E4M3FNUZ: 240, FP8_E4M3: 448}
    assert {fmt: fmt.max_value for fmt in wanted} == wanted
    values = decode(FloatArray(np.arange(8, dtype=np.uint8), 0, FP4_E2M1))
    assert values.tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert (TF32.bits, TF32.code_dtype) == (19, np.uint32)


def test_fp32_equals_the_machine() -> None:
    """Any float32 pattern is its own code; float64 is rounded as the processor rounds it."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint32)
    bits = bits[(bits & 0x7F800000) != 0x7F800000]
    bits = np.append(bits, np.array([0, 1, 0x7FFFFF, 0x80000000, 0x80000001], np.uint32))
    x = bits.view(np.float32)
    assert (encode(x, FP32).code == bits).all()
    np.testing.assert_array_equal(decode(FloatArray(bits, 0, FP32)), x.astype(np.float64))
    spread = x.astype(np.float64) * (1 + rng.uniform(-1e-7, 1e-7, x.size))
    middle = (x.astype(np.float64) + np.nextafter(x, np.float32(0)).astype(np.float64)) / 2
    for y in (spread, middle):
        with np.errstate(over="ignore", under="ignore"):
            assert (encode(y, FP32).code == y.astype(np.float32).view(np.uint32)).all()


@given(st.data(), float_formats(), st.integers(-200, 200))
def test_any_float_format_equals_the_oracle(
    data: st.DataObject, fmt: FloatFormat, offset: int
) -> None:
    """float32 and float64 inputs, near the format's own numbers and anywhere; any offset."""
    dtype = data.draw(st.sampled_from((np.float32, np.float64)))
    anywhere = data.draw(st.lists(float_values(dtype), max_size=3))
    codes = data.draw(st.lists(st.integers(0, fmt.max_code), min_size=2, max_size=2))
    pair = [float(decode_one(c, offset, fmt)) for c in codes]
    near = [*pair, sum(pair) / 2, float(np.nextafter(pair[0], 1e300)), -pair[1]]
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([*anywhere, *near, np.inf, -np.inf, -0.0]).astype(dtype)
        if fmt.encoding != "finite":
            x = np.append(x, dtype(np.nan))
    got = encode(x, fmt, offset)
    assert got.code.tolist() == [encode_one(float(v), fmt, offset) for v in x]


@given(st.data(), float_formats(), st.integers(-1200, 700))
def test_float_values_equal_the_oracle(data: st.DataObject, fmt: FloatFormat, offset: int) -> None:
    """Any code at any scale is the nearest float64 of its exact value."""
    codes = data.draw(st.lists(st.integers(0, 2**fmt.bits - 1), min_size=1, max_size=6))
    got = decode(FloatArray(np.array(codes, fmt.code_dtype), offset, fmt))
    wanted = [float(decode_one(c, offset, fmt)) for c in codes]
    np.testing.assert_array_equal(got, wanted)


@given(st.lists(DOUBLES, max_size=5), int_formats(), st.integers(-1100, 1100))
def test_integers_equal_the_oracle(values: list[float], fmt: IntFormat, offset: int) -> None:
    """Round to nearest even, saturate: at any scale, and halves of codes exactly."""
    halves = [] if abs(offset) > 900 else [(n + 0.5) * 2.0**offset for n in (-3, -2, -1, 0, 1, 2)]
    x = np.array([*values, *halves])
    got = encode(x, fmt, offset)
    assert got.code.tolist() == [encode_one(float(v), fmt, offset) for v in x]


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_every_integer_code_survives_a_round_trip(bits: int) -> None:
    """encode(decode(c)) = c at several scales; the values are c * 2^offset."""
    fmt = IntFormat(bits)
    code = np.arange(fmt.min_value, fmt.max_value + 1).astype(fmt.code_dtype)
    for offset in (-30, 0, 5):
        value = decode(IntArray(code, offset, fmt))
        assert (value == code * 2.0**offset).all()
        assert (encode(value, fmt, offset).code == code).all()


def round_to(largest: float, fmt: FloatFormat | IntFormat, offset: int) -> Fraction:
    """The rounded largest * 2^-offset on the unbounded grid of the format's top octave."""
    value = Fraction(largest) * Fraction(2) ** -offset
    if isinstance(fmt, IntFormat):
        return Fraction(round(value))
    unit = Fraction(1)
    while value / unit >= 2 ** (fmt.mantissa_bits + 1):
        unit *= 2
    while value / unit < 2**fmt.mantissa_bits:
        unit /= 2
    return round(value / unit) * unit


@given(st.lists(DOUBLES, max_size=4), float_formats() | int_formats())
def test_amax_offset_is_the_smallest(values: list[float], fmt: FloatFormat | IntFormat) -> None:
    """The largest magnitude fits after rounding, and one power of two lower it does not."""
    x = np.array(values, np.float64)
    offset = amax_offset(x, fmt)
    if not x.any():
        assert offset == 0
        return
    largest = float(np.abs(x).max())
    assert round_to(largest, fmt, offset) <= fmt.max_value
    assert round_to(largest, fmt, offset - 1) > fmt.max_value


def test_default_offsets() -> None:
    """Floats 0; integers the smallest power of two for which nothing saturates."""
    x = np.array([[0.3, -100.0], [127.49, 0.0]])
    assert encode(x, FP16).offset == 0
    assert encode(x, INT8).offset == 0
    assert encode(x * 2, INT8).offset == 1
    assert encode(x / 16, INT8).offset == -4
    assert encode(np.array([127.5]), INT8).offset == 1
    assert encode(np.zeros(3), INT8).offset == 0
    assert encode(np.zeros(0), INT8).code.shape == (0,)
    assert amax_offset(np.array([448.0]), FP8_E4M3) == 0
    assert amax_offset(np.array([465.0]), FP8_E4M3) == 1


def test_offsets_per_channel() -> None:
    """An array of offsets scales each row by its own power of two."""
    x = np.array([[1.0, 3.0], [100.0, 5.0]])
    offsets = np.array([[-5], [1]], np.int32)
    for fmt in (INT8, FP8_E4M3):
        whole = encode(x, fmt, offsets)
        for i in range(2):
            assert (whole.code[i] == encode(x[i], fmt, int(offsets[i, 0])).code).all()
        assert (decode(whole)[0] == x[0]).all()
    assert encode(np.float64(3.0), INT8, 0).code.shape == ()
    assert decode(encode(np.float32(3.0), FP16)) == 3


HUGE = FloatArray(np.array([FP32.max_code], np.uint32), 2**31 - 1, FP32)
REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: encode(np.ones(1), FP16, rounding="stochastic"),
        ValueError,
        "rounding must be one of nearest, got 'stochastic'",
    ),
    (
        lambda: encode(np.array([1.0, np.inf]), INT8),
        NonFiniteError,
        r"x must be finite for int8, got inf at index \(1,\)",
    ),
    (
        lambda: amax_offset(np.array([1.0, np.nan]), FP8_E4M3),
        NonFiniteError,
        "x must be finite for a scale of fp8-e4m3, got nan",
    ),
    (lambda: amax_offset(np.ones(1, int), INT8), TypeError, "x must be float32 .*, got int64"),
    (
        lambda: amax_offset(np.ones(1), LNSFormat(7, 8)),  # type: ignore[arg-type]
        TypeError,
        r"fmt must be a FloatFormat or an IntFormat, got LNSFormat\(.*\)",
    ),
    (
        lambda: decode(HUGE),
        OverflowError,
        r"array must be below 2\^1024 to be decoded, got more at index \(0,\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        call()
