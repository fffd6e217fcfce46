"""The fast encoders give what `lns.encode` gives, bit for bit, and count what is lost."""

from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lnsim.kernels import EncodeCounts, decode, quantise, requantise
from lnsim.kernels.cpu.codes.encoders import CHUNK, step_table
from lnsim.lns.arith import requantise as lns_requantise
from lnsim.lns.array import FloatArray, IntArray, LNSArray
from lnsim.lns.checks import NonFiniteError
from lnsim.lns.codec import decode as lns_decode
from lnsim.lns.codec import encode
from lnsim.lns.float_codec import amax_offset
from lnsim.lns.format import (
    BF16,
    FP4_E2M1,
    FP6_E3M2,
    FP8_E4M3,
    FP8_E4M3FNUZ,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    LNS16_UPDATE,
    FloatFormat,
    Format,
    IntFormat,
    LNSFormat,
)
from lnsim.lns.oracle import requantise_one
from lnsim.lns.testing import lns_arrays
from lnsim.lns.thresholds import thresholds

LNS_FORMATS = [LNS8, LNS16_UPDATE, LNSFormat(4, 1), LNSFormat(3, 1, zero=False), LNSFormat(9, 64)]
FLOAT_FORMATS = [
    FP32,
    FP16,
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FloatFormat(4, 3, encoding="fn", overflow="infinity"),
    FloatFormat(5, 2, overflow="infinity"),
    FloatFormat(2, 1),
    FP8_E4M3FNUZ,
    FloatFormat(5, 2, "fnuz", overflow="infinity"),
    FP6_E3M2,
    FP4_E2M1,
]
INT_FORMATS = [INT8, IntFormat(2), IntFormat(16)]
ROUNDINGS = ["nearest", "nearest_value", "floor"]


def assert_same(got: Any, wanted: Any) -> None:
    """Equal codes, dtype, offset and format."""
    assert got.fmt == wanted.fmt
    assert got.code.dtype == wanted.code.dtype
    np.testing.assert_array_equal(got.offset, wanted.offset)
    np.testing.assert_array_equal(got.code, wanted.code)


def bit_patterns(dtype: Any, count: int, seed: int) -> np.ndarray:
    """Random finite bit patterns (every exponent, subnormals too) after both zeros."""
    rng = np.random.default_rng(seed)
    x = np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype).copy()
    x[:2] = 0.0, -0.0
    return x[np.isfinite(x)]


def edges(fmt: LNSFormat, rounding: str) -> np.ndarray:
    """float64 on both sides of every threshold of an octave, in three octaves."""
    at = thresholds(fmt.gamma, rounding, 52).astype(np.float64) * 2.0**-52
    sides = np.concatenate([np.nextafter(at, 0), at, np.nextafter(at, 4), [1.0, 1.5, 2.0]])
    return np.concatenate([sides, -sides * 2.0**-3, sides * 2.0**5])


def float_edges(fmt: FloatFormat) -> np.ndarray:
    """Midpoints of neighbouring codes and their neighbours; what lies at and beyond the top."""
    codes = np.unique(np.linspace(0, fmt.max_code, 600).astype(np.int64))
    value = lns_decode(FloatArray(codes.astype(fmt.code_dtype), 0, fmt))
    after = lns_decode(
        FloatArray(np.minimum(codes + 1, fmt.max_code).astype(fmt.code_dtype), 0, fmt)
    )
    middle = (value + after) / 2
    top = fmt.max_value
    above = np.array([top, top * (1 + 2.0 ** -(fmt.mantissa_bits + 2)), top * 1.5, np.inf])
    if fmt.encoding != "finite":
        above = np.append(above, np.nan)
    sides = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), above])
    return np.concatenate([value, sides, -sides])


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("fmt", LNS_FORMATS, ids=lambda f: f.name)
def test_lns_codes_equal_encode_at_every_threshold(fmt: LNSFormat, rounding: str) -> None:
    """Both neighbours of every threshold in float64 and in float32, which has a kernel of its own,
    subnormals, zeros and any bit pattern."""
    beside = edges(fmt, rounding)
    with np.errstate(over="ignore", under="ignore"):
        single = beside.astype(np.float32)
        around = [np.nextafter(single, np.float32(way)) for way in (-np.inf, np.inf)]
    single = np.unique(np.concatenate([single, *around]))
    for x in (beside, single[np.isfinite(single)], bit_patterns(np.float64, 3000, 1)):
        for offset in (None, 0, -3, 7 * fmt.gamma + 1):
            wanted = encode(x, fmt, offset, rounding)
            assert_same(quantise(x, fmt, offset, rounding)[0], wanted)
    x = bit_patterns(np.float32, 3000, 2)
    assert_same(quantise(x, fmt, -40, rounding)[0], encode(x, fmt, -40, rounding))


@pytest.mark.parametrize("random_bits", [1, 8, 12])
@pytest.mark.parametrize("fmt", LNS_FORMATS, ids=lambda f: f.name)
def test_stochastic_codes_equal_encode_with_the_same_generator(
    fmt: LNSFormat, random_bits: int
) -> None:
    """One draw per element in C order, zeros included, and the generators end alike."""
    x = np.random.default_rng(3).standard_normal((40, 50)).astype(np.float32)
    x[::7] = 0
    first, second = np.random.default_rng(4), np.random.default_rng(4)
    for offset in (None, -5):
        got, _ = quantise(x, fmt, offset, "stochastic", first, random_bits=random_bits)
        assert_same(got, encode(x, fmt, offset, "stochastic", second, random_bits))
    assert first.integers(1 << 30) == second.integers(1 << 30)


def test_a_tie_at_the_largest_magnitude_finds_room() -> None:
    """gamma = 1, nearest value: 1.5 * 2^n goes to the even stored exponent below the odd top."""
    fmt = LNSFormat(3, 1)
    array, counts = quantise(np.array([1.5, 1.0]), fmt, rounding="nearest_value")
    assert array.offset == 1 - fmt.max_exponent
    np.testing.assert_array_equal(array.code, [fmt.max_exponent - 1, fmt.max_exponent - 1])
    assert counts == EncodeCounts(2, 0, 0)


@pytest.mark.parametrize("fmt", FLOAT_FORMATS, ids=lambda f: f.name)
def test_float_codes_equal_encode_at_every_midpoint(fmt: FloatFormat) -> None:
    """Codes, midpoints and their neighbours, overflow, NaN, infinity and any bit pattern."""
    for x in (float_edges(fmt), bit_patterns(np.float64, 3000, 5)):
        for offset in (0, 3, -30):
            assert_same(quantise(x, fmt, offset)[0], encode(x, fmt, offset))
    x = bit_patterns(np.float32, 3000, 6)
    assert_same(quantise(x, fmt)[0], encode(x, fmt))
    small = x[np.abs(x) < 2.0**100]
    scaled, counts = quantise(small, fmt, scaling="amax")
    assert_same(scaled, encode(small, fmt, amax_offset(small, fmt)))
    assert counts.saturated == 0


@pytest.mark.parametrize("fmt", INT_FORMATS, ids=lambda f: f.name)
def test_integer_codes_equal_encode(fmt: IntFormat) -> None:
    """Halves and their neighbours, saturation on both sides, any bit pattern."""
    halves = np.arange(2 * fmt.min_value - 3, 2 * fmt.max_value + 4) / 2
    edge = np.concatenate([halves, np.nextafter(halves, -np.inf), np.nextafter(halves, np.inf)])
    for x in (edge, bit_patterns(np.float64, 3000, 7), bit_patterns(np.float32, 3000, 8)):
        for offset in (None, 0, 2, -5):
            assert_same(quantise(x, fmt, offset)[0], encode(x, fmt, offset))


@pytest.mark.parametrize("fmt", [LNS8, FP8_E4M3, FP16, INT8], ids=lambda f: f.name)
def test_shapes_scales_and_thread_counts(fmt: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, single, strided and many-chunk inputs; an offset per row; one thread and two."""
    monkeypatch.setattr("lnsim.kernels.cpu.codes.quantise._GRAIN", 1)
    rng = np.random.default_rng(9)
    whole = rng.standard_normal((2 * CHUNK + 1, 2)).astype(np.float32)
    rows = rng.integers(-9, 9, (whole.shape[0], 1)).astype(np.int32)
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            for x in (whole, whole[::3, 1], whole[:0], whole[3:4, 1:], whole[:CHUNK]):
                assert_same(quantise(x, fmt)[0], encode(x, fmt))
            assert_same(quantise(whole, fmt, rows)[0], encode(whole, fmt, rows))
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(
    ("fmt", "x", "saturated", "underflowed"),
    [
        (LNSFormat(3, 1), [0.0, 0.5, 1.0, 2.0, 128.0, 256.0, -256.0, 1e30], 3, 2),
        (LNSFormat(3, 1, zero=False), [0.0, -0.5, 1.0, 128.0, 256.0], 1, 1),
        (FP8_E4M3, [0.0, 448.0, 464.0, 464.1, -1e9, np.inf, np.nan, 2.0**-11, 2.0**-10], 2, 2),
        (FP8_E5M2, [57344.0, 61439.0, 61440.0, -np.inf], 1, 0),
        (FP16, [65504.0, 65520.0, 1e-9, -1e-9, 0.0], 1, 2),
        (INT8, [127.0, 127.5, 128.0, -128.0, -128.5, -129.0, 0.5, -0.4, 0.6, 0.0], 3, 2),
    ],
    ids=["lns", "lns-nz", "e4m3", "e5m2", "fp16", "int8"],
)
def test_counts_are_of_the_elements_that_lost(
    fmt: Format, x: list[float], saturated: int, underflowed: int
) -> None:
    """Finite inputs beyond the top code; nonzero inputs that became zero; at offset 0."""
    counts = quantise(np.array(x), fmt, 0)[1]
    assert counts == EncodeCounts(len(x), saturated, underflowed)
    assert counts + counts == EncodeCounts(2 * len(x), 2 * saturated, 2 * underflowed)


@pytest.mark.parametrize("fmt", [LNS8, INT8], ids=lambda f: f.name)
@pytest.mark.parametrize("offset", [None, 0])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_non_finite_elements_are_named(fmt: Format, offset: int | None, value: float) -> None:
    """The first index in C order, however many tasks there are."""
    x = np.ones((3, CHUNK), np.float32)
    x[1, 5] = x[2, 0] = x[1, 700] = value
    message = rf"^x must be finite for {fmt.name}, got {value} at index \(1, 5\)$"
    with pytest.raises(NonFiniteError, match=message):
        quantise(x, fmt, offset)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fmt": LNS8, "scaling": "amax"}, ValueError, "^scaling must be 'none' for lns-e7g8, got"),
        ({"fmt": INT8, "scaling": "max"}, ValueError, "^scaling must be one of amax, none, got"),
        (
            {"fmt": INT8, "scaling": "amax", "offset": 3},
            ValueError,
            "^offset must be left out with scaling 'amax', got 3$",
        ),
        ({"fmt": FP16, "rounding": "floor"}, ValueError, "^rounding must be one of nearest, got"),
        ({"fmt": LNS8, "rounding": "up"}, ValueError, "^rounding must be one of floor, nearest, "),
        (
            {"fmt": LNS8, "rounding": "stochastic"},
            TypeError,
            "^generator must be a numpy Generator, got None$",
        ),
        ({"fmt": "lns8"}, TypeError, "^fmt must be a format, got 'lns8'$"),
        (
            {"fmt": LNS8, "random_bits": 9},
            ValueError,
            "^random_bits must be left out with rounding 'nearest', got 9$",
        ),
        (
            {"fmt": FP16, "generator": np.random.default_rng(0)},
            ValueError,
            "^generator must be left out with rounding 'nearest', got Generator",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Every message names the argument, the rule and the value."""
    with pytest.raises(error, match=message):
        quantise(np.ones(3), **options)


def test_only_float32_and_float64_are_encoded() -> None:
    """Integers and half floats are refused, not converted."""
    with pytest.raises(TypeError, match=r"^x must be float32 or float64, got int64$"):
        quantise(np.arange(3), LNS8)


@pytest.mark.parametrize("gamma", [1, 2, 8, 4096])
def test_a_bucket_holds_one_threshold_at_most(gamma: int) -> None:
    """What lets the encoder decide with one comparison."""
    table = step_table(gamma, "nearest")
    ends = np.append(table.first, gamma)
    assert np.diff(ends).max() <= 1
    assert table.first[0] == 0


@pytest.mark.parametrize("offset", [0, -900, 16, -140 * 8 - 3])
@pytest.mark.parametrize(
    "fmt",
    [*LNS_FORMATS, FP16, BF16, FP8_E4M3, FP8_E5M2, FP8_E4M3FNUZ, FP4_E2M1, *INT_FORMATS],
    ids=lambda f: f.name,
)
def test_decode_rounds_the_value_once(fmt: Format, offset: int) -> None:
    """Every code (an odd stride above 12 bits): the float32 nearest to the value."""
    if isinstance(fmt, IntFormat):
        codes = np.arange(fmt.min_value, fmt.max_value + 1)
    else:
        codes = np.arange(0, 1 << fmt.bits, 1 if fmt.bits <= 12 else 13)
    kind = {LNSFormat: LNSArray, FloatFormat: FloatArray, IntFormat: IntArray}[type(fmt)]
    array = kind(codes.astype(fmt.code_dtype), offset, fmt)
    with np.errstate(over="ignore", under="ignore"):
        wanted = lns_decode(array).astype(np.float32)
    inside = np.isfinite(wanted) | ~np.isfinite(lns_decode(array))
    got = decode(kind(array.code[inside], offset, fmt))
    np.testing.assert_array_equal(got, wanted[inside])
    if not inside.all():
        index = int((~inside).argmax())
        with pytest.raises(
            OverflowError, match=rf"float32's range, got more at index \({index},\)"
        ):
            decode(array)


def test_decode_takes_a_scale_per_column_and_fp32() -> None:
    """Offsets by column, and the one format without a table."""
    rng = np.random.default_rng(11)
    code = rng.integers(0, 256, (5, 3)).astype(np.uint8)
    array = LNSArray(code, np.array([0, -8, 24], np.int32), LNS8)
    np.testing.assert_array_equal(decode(array), lns_decode(array).astype(np.float32))
    single = rng.standard_normal((4, 4)).astype(np.float32)
    np.testing.assert_array_equal(decode(FloatArray(single.view(np.uint32), 0, FP32)), single)
    scaled = decode(FloatArray(single.view(np.uint32), -3, FP32))
    np.testing.assert_array_equal(scaled, single / 8)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(2, 12), st.integers(0, 12), st.booleans()),
    st.tuples(st.integers(2, 12), st.integers(0, 12), st.booleans()),
    st.integers(-5000, 5000),
    st.integers(-5000, 5000) | st.none(),
)
@example((4, 1, True), (3, 0, True), 0, None)
@example((4, 1, True), (3, 0, True), 1, 0)
def test_requantise_equals_the_oracle(
    source: tuple[int, int, bool],
    target: tuple[int, int, bool],
    offset: int,
    new_offset: int | None,
) -> None:
    """Any pair of formats, every code (an odd stride above 8 bits): one rounding, half to even."""
    old, new = (LNSFormat(bits, 2**octave, zero) for bits, octave, zero in (source, target))
    codes = np.arange(0, 1 << old.bits, max(1, (1 << old.bits) // 256) | 1)
    array = LNSArray(codes.astype(old.code_dtype), offset, old)
    got, counts = requantise(array, new, new_offset)
    wanted = [requantise_one(int(c), offset, old, new, int(got.offset)) for c in codes]
    np.testing.assert_array_equal(got.code, wanted)
    assert counts.elements == codes.size
    if new_offset is None:
        assert counts.saturated == 0
        assert got.offset % new.gamma == 0
        tighter, lost = requantise(array, new, got.offset - new.gamma)
        assert lost.saturated > 0
        assert tighter.fmt == new


@pytest.mark.parametrize("size", [*range(40), (1 << 14) + 21])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_requantise_of_any_size(size: int, several: bool, zero: bool) -> None:
    """Strips of lanes and what is left of them: codes and counts, one scale or one an element."""
    old, new = LNSFormat(11, 64, zero), LNSFormat(6, 8)
    rng = np.random.default_rng(size)
    code = rng.integers(0, 1 << old.bits, size).astype(old.code_dtype)
    code[::5] &= 1 << 11  # zeros, or the smallest magnitudes
    offset = rng.integers(-900, 700, size).astype(np.int32) if several else -100
    got, counts = requantise(LNSArray(code, offset, old), new, -24)
    offsets = np.broadcast_to(offset, size).tolist()
    pairs = list(zip(code.tolist(), offsets, strict=True))
    wanted = [requantise_one(c, o, old, new, -24) for c, o in pairs]
    np.testing.assert_array_equal(got.code, np.array(wanted, new.code_dtype))
    exact = [Fraction((c & old.max_exponent) + o, 8) + 24 for c, o in pairs]
    counted = [
        e for e, (c, _) in zip(exact, pairs, strict=True) if c & old.max_exponent or not zero
    ]
    assert counts.saturated == sum(round(e) > new.max_exponent for e in counted)
    assert counts.underflowed == sum(round(e) < 1 for e in counted)


def test_requantise_takes_a_scale_per_row() -> None:
    """Each row is requantised as if it stood alone; the counts add up."""
    rng = np.random.default_rng(12)
    code = rng.integers(0, 1 << 16, (3, 50)).astype(np.uint16)
    rows = np.array([[0], [-4096], [6000]], np.int32)
    got, counts = requantise(LNSArray(code, rows, LNS16_UPDATE), LNS8, 0)
    parts = [
        requantise(LNSArray(code[i], int(rows[i, 0]), LNS16_UPDATE), LNS8, 0) for i in range(3)
    ]
    np.testing.assert_array_equal(got.code, np.stack([part[0].code for part in parts]))
    assert counts == parts[0][1] + parts[1][1] + parts[2][1]


@given(data=st.data())
def test_requantise_between_scales_per_channel(data: st.DataObject) -> None:
    """Old and new scales per tensor, row, column or element, near and far: the oracle's codes, and
    those of lns.requantise; the counts are those of the elements."""
    pair = []
    for _ in range(2):
        bits, octave = data.draw(st.integers(2, 10)), data.draw(st.integers(0, 6))
        pair.append(LNSFormat(bits, 2**octave, data.draw(st.booleans())))
    old, new = pair
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    code = data.draw(lns_arrays(old, (rows, columns), 0)).code
    shapes = st.sampled_from([(), (rows, 1), (1, columns), (columns,), (rows, columns)])
    near = st.integers(-200, 200)
    steps = near if data.draw(st.booleans()) else st.sampled_from([-(2**31), -(2**29), 0, 2**30])
    scales = [data.draw(hnp.arrays(np.int32, data.draw(shapes), elements=steps)) for _ in range(2)]
    before, after = (int(scale) if scale.ndim == 0 else scale for scale in scales)
    array = LNSArray(code, before, old)
    got, counts = requantise(array, new, after)
    assert_same(got, lns_requantise(array, new, after))
    whole = [np.broadcast_to(scale, code.shape).tolist() for scale in scales]
    wanted = [
        [
            requantise_one(int(code[i, j]), whole[0][i][j], old, new, whole[1][i][j])
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    np.testing.assert_array_equal(got.code, wanted)
    alone = EncodeCounts(0, 0, 0)
    for i in range(rows):
        for j in range(columns):
            one = LNSArray(code[i, j].reshape(1), whole[0][i][j], old)
            alone = alone + requantise(one, new, whole[1][i][j])[1]
    assert counts == alone


def test_requantise_counts_what_it_loses() -> None:
    """A narrower range saturates above and flushes below; zeros do neither."""
    array = LNSArray(np.array([0, 1, 64, 127, 255], np.uint8), 0, LNS8)
    got, counts = requantise(array, LNSFormat(5, 8), 50)
    np.testing.assert_array_equal(got.code, [0, 0, 14, 31, 63])
    assert counts == EncodeCounts(5, 2, 1)


@pytest.mark.parametrize("gamma", [1, 2, 8, 64])
def test_the_smallest_float32_powers(gamma: int) -> None:
    """Beside 2^-150, half the smallest subnormal: the power itself is a tie and goes to zero, the
    next step above it to the smallest subnormal; and beside 2^128 the last finite one."""
    fmt = LNSFormat(4, gamma, zero=False)
    steps = np.arange(3, dtype=np.uint8)
    low = decode(LNSArray(steps, -150 * gamma - 1, fmt))
    smallest = np.float32(2.0**-149)
    np.testing.assert_array_equal(low, np.array([0, 0, smallest], np.float32))
    high = decode(LNSArray(steps[:2], 128 * gamma - 2, fmt))
    below = [2.0 ** (128 - (2 - i) / gamma) for i in range(2)]
    np.testing.assert_array_equal(high, np.array(below, np.float32))
    with pytest.raises(OverflowError):
        decode(LNSArray(steps, 128 * gamma - 2, fmt))
