"""Float and integer GEMMs equal the oracle, special values included."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.kernels import matmul, matmul_counted
from lnsim.kernels.cpu.backend import wide_product
from lnsim.kernels.cpu.gemm.tables import term_table
from lnsim.kernels.cpu.ir.emit import VECTOR_BYTES, VECTORS
from lnsim.kernels.cpu.ir.fma import FMA_STEPS
from lnsim.lns.array import FloatArray, IntArray
from lnsim.lns.checks import NonFiniteError
from lnsim.lns.codec import encode
from lnsim.lns.datapath import Accumulator, AnyDatapath, FloatDatapath, IntDatapath
from lnsim.lns.format import (
    BF16,
    FP4_E2M1,
    FP8_E4M3,
    FP8_E4M3FNUZ,
    FP8_E5M2,
    FP16,
    FP32,
    FloatFormat,
    IntFormat,
)

BLOCK = VECTORS[0] * VECTOR_BYTES // 4  # columns of a block in 32-bit lanes

SHAPES = [
    (1, 1, 1),
    (3, FMA_STEPS - 1, BLOCK - 1),
    (2, FMA_STEPS, BLOCK),
    (3, FMA_STEPS + 1, BLOCK + 1),
    (257, 2, 2),
    (5, 67, 7),
    (2, 3, 131),
]
FORMATS = [
    FP32, FP16, BF16, FP8_E4M3, FP8_E5M2, FloatFormat(6, 9), FloatFormat(8, 10), FP8_E4M3FNUZ,
    FP4_E2M1,
]  # fmt: skip
# The oracle walks down a format's NaNs to its largest number: 24-bit significands by way of "fn".
FIXED_FORMATS = [*FORMATS[1:], FloatFormat(8, 23, encoding="fn"), FloatFormat(3, 4)]
ACCUMULATORS = [
    FP32,
    FP16,
    BF16,
    FP8_E4M3,
    FloatFormat(4, 3, encoding="fn", overflow="infinity"),
    FloatFormat(5, 2, overflow="infinity"),
    FloatFormat(8, 23, overflow="saturate"),
    FloatFormat(2, 1),
]


@pytest.fixture
def every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products use every thread too, as large ones do."""
    monkeypatch.setattr("lnsim.kernels.cpu.backend._FAST_GRAIN", 1)
    monkeypatch.setattr("lnsim.kernels.cpu.backend._SLOW_GRAIN", 1)


def float_codes(
    fmt: FloatFormat, shape: tuple[int, int], rng: np.random.Generator, finite: bool = True
) -> FloatArray:
    """Random codes: half of them any bit pattern, half of them near 1, so that sums interact."""
    anything = rng.integers(0, 1 << fmt.bits, shape)
    one = fmt.bias << fmt.mantissa_bits
    spread = 3 << fmt.mantissa_bits
    near = rng.integers(max(0, one - spread), one + spread // 3, shape)
    near |= rng.integers(0, 2, shape) << (fmt.bits - 1)
    code = np.where(rng.random(shape) < 0.5, anything, near)
    if finite:
        magnitude = code & ((1 << (fmt.bits - 1)) - 1)
        code = np.where(magnitude > fmt.max_code, code - magnitude, code)
        if fmt.encoding == "fnuz":  # whose NaN is the code of minus zero
            code = np.where(code == 1 << (fmt.bits - 1), 0, code)
    return FloatArray(code.astype(fmt.code_dtype), 0, fmt)


def int_codes(fmt: IntFormat, shape: tuple[int, int], rng: np.random.Generator) -> IntArray:
    """Uniform codes."""
    code = rng.integers(fmt.min_value, fmt.max_value + 1, shape)
    return IntArray(code.astype(fmt.code_dtype), 0, fmt)


def assert_same(got: tuple[Any, int], wanted: tuple[Any, int]) -> None:
    """Equal bits (a NaN equals any NaN, +0 is not -0), dtype and count."""
    assert got[0].dtype == wanted[0].dtype
    np.testing.assert_array_equal(got[0], wanted[0])
    if got[0].dtype == np.float32:
        number = ~np.isnan(got[0])
        np.testing.assert_array_equal(np.signbit(got[0])[number], np.signbit(wanted[0])[number])
    assert got[1] == wanted[1]


def assert_equals_oracle(a: Any, b: Any, datapath: AnyDatapath) -> None:
    """One thread and two give the oracle's result."""
    wanted = matmul_counted(a, b, datapath, backend="oracle")
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            assert_same(matmul_counted(a, b, datapath), wanted)
    finally:
        numba.set_num_threads(before)


@pytest.mark.usefixtures("every_thread")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "datapath",
    [
        FloatDatapath(FP32),
        FloatDatapath(FP16),
        FloatDatapath(Accumulator(bits=24, guard=2)),
        FloatDatapath(Accumulator(bits=50, guard=2, lanes=3, overflow="wrap")),
    ],
    ids=["fp32", "fp16", "fixed24", "fixed50"],
)
def test_float_products_equal_the_oracle_at_every_size(
    datapath: FloatDatapath, shape: tuple[int, int, int]
) -> None:
    """Every path, sizes on both sides of its blocks, one thread and two."""
    rng = np.random.default_rng(sum(shape))
    m, k, n = shape
    finite = isinstance(datapath.accumulator, Accumulator)
    a = float_codes(FP8_E5M2, (m, k), rng, finite)
    assert_equals_oracle(a, float_codes(FP8_E5M2, (k, n), rng, finite), datapath)


@pytest.mark.parametrize("accumulator", ACCUMULATORS, ids=lambda f: f.name)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_every_format_into_every_float_accumulator(
    fmt: FloatFormat, accumulator: FloatFormat
) -> None:
    """Subnormals, infinities, NaNs, signed zeros and overflow come out as the oracle's."""
    rng = np.random.default_rng(fmt.bits + accumulator.bits)
    for finite in (True, False):
        a, b = float_codes(fmt, (6, 21), rng, finite), float_codes(fmt, (21, 6), rng, finite)
        wanted = matmul_counted(a, b, FloatDatapath(accumulator), backend="oracle")
        assert_same(matmul_counted(a, b, FloatDatapath(accumulator)), wanted)


def test_a_tiny_negative_sum_keeps_its_sign() -> None:
    """A negative product below half the smallest subnormal rounds to -0, then +0 joins it."""
    code = np.array([[1]], np.uint32)
    a, b = FloatArray(code | np.uint32(1 << 31), 0, FP32), FloatArray(code, 0, FP32)
    got = matmul(a, b, FloatDatapath(FP32))
    assert got[0, 0] == 0
    assert np.signbit(got[0, 0])
    assert_same((got, 0), matmul_counted(a, b, FloatDatapath(FP32), backend="oracle"))


def test_a_sum_one_rounding_would_miss() -> None:
    """Exact sums a hair above a tie round up: the accumulator sees one rounding, not two."""
    big, tiny = np.float32(1 + 2.0**-11).view(np.uint32), np.float32(2.0**-60).view(np.uint32)
    one = np.float32(1).view(np.uint32)
    a = FloatArray(np.array([[tiny, big]], np.uint32), 0, FP32)
    b = FloatArray(np.array([[one], [one]], np.uint32), 0, FP32)
    wide = FloatFormat(8, 10)  # 2^-60 survives here, and 1 + 2^-11 is a tie
    assert matmul(a, b, FloatDatapath(wide))[0, 0] == np.float32(1 + 2.0**-10)
    assert_same(
        matmul_counted(a, b, FloatDatapath(wide)),
        matmul_counted(a, b, FloatDatapath(wide), backend="oracle"),
    )


@st.composite
def fixed_cases(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, FloatDatapath]:
    """Small float arrays and a fixed-point accumulator."""
    formats = [draw(st.sampled_from(FIXED_FORMATS)) for _ in range(2)]
    bits = draw(st.integers(4, 60))
    guard = draw(st.integers(0, bits - 2))
    lanes = draw(st.sampled_from((1, 1, 2, 3, 8, 17)))
    accumulator = Accumulator(
        bits,
        guard,
        draw(st.sampled_from(("saturate", "wrap"))),
        lanes if bits - guard < 55 else 1,
        draw(st.sampled_from(("floor", "toward_zero"))),
    )
    m, k, n = draw(st.integers(1, 4)), draw(st.integers(0, 25)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    a, b = float_codes(formats[0], (m, k), rng), float_codes(formats[1], (k, n), rng)
    return a, b, FloatDatapath(accumulator)


@settings(deadline=None, max_examples=150)
@given(fixed_cases())
def test_fixed_point_sums_of_floats_equal_the_oracle(
    case: tuple[FloatArray, FloatArray, FloatDatapath],
) -> None:
    """Any pair of float formats, any accumulator: the chosen kernel and the general one."""
    wanted = matmul_counted(*case, backend="oracle")
    assert_same(matmul_counted(*case), wanted)
    assert_same(wide_product(*case), wanted)


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_fixed_point_overflow_in_the_fast_kernel(overflow: str) -> None:
    """fp8 sums that leave the range at sizes of several blocks equal the general kernel's."""
    rng = np.random.default_rng(2)
    datapath = FloatDatapath(Accumulator(bits=20, guard=0, overflow=overflow))
    a, b = (
        FloatArray(np.full(shape, FP8_E4M3.max_code, np.uint8), 0, FP8_E4M3)
        for shape in ((90, 70), (70, 90))
    )
    a.code[:, 10:] ^= (rng.random((90, 60)) < 0.2).astype(np.uint8) << 7
    assert term_table(datapath, FP8_E4M3, FP8_E4M3) is not None
    acc, overflowed = matmul_counted(a, b, datapath)
    assert overflowed == 90 * 90
    assert_same((acc, overflowed), wide_product(a, b, datapath))


@st.composite
def int_cases(draw: st.DrawFn) -> tuple[IntArray, IntArray, IntDatapath]:
    """Small integer arrays and an accumulator."""
    formats = [IntFormat(draw(st.integers(2, 16))) for _ in range(2)]
    bits = draw(st.integers(4, 60))
    guard = draw(st.integers(0, bits - 2))
    accumulator = Accumulator(
        bits,
        guard,
        draw(st.sampled_from(("saturate", "wrap"))),
        draw(st.sampled_from((1, 2, 5))) if bits - guard < 55 else 1,
        draw(st.sampled_from(("floor", "toward_zero"))),
    )
    m, k, n = draw(st.integers(1, 4)), draw(st.integers(0, 25)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    a, b = int_codes(formats[0], (m, k), rng), int_codes(formats[1], (k, n), rng)
    return a, b, IntDatapath(accumulator)


@settings(deadline=None, max_examples=80)
@given(int_cases())
def test_integer_products_equal_the_oracle(
    case: tuple[IntArray, IntArray, IntDatapath],
) -> None:
    """Any pair of integer formats, any accumulator."""
    assert_same(matmul_counted(*case), matmul_counted(*case, backend="oracle"))


@pytest.mark.parametrize(
    ("name", "code"), [("a", 0x7F), ("b", 0xFF)], ids=["a-nan", "b-negative-nan"]
)
def test_a_nan_cannot_enter_a_fixed_point_accumulator(name: str, code: int) -> None:
    """The error names the operand and the first index in C order."""
    arrays = {"a": np.zeros((2, 3), np.uint8), "b": np.zeros((3, 2), np.uint8)}
    arrays[name][1, 1] = arrays[name][1, 0] = code
    a, b = (FloatArray(array, 0, FP8_E4M3) for array in arrays.values())
    message = (
        rf"^{name} must be finite for a fixed-point accumulator, "
        rf"got code {code} at index \(1, 0\)$"
    )
    with pytest.raises(NonFiniteError, match=message):
        matmul(a, b, FloatDatapath(Accumulator()))
    assert np.isnan(matmul(a, b, FloatDatapath(FP32))).any()


@pytest.mark.parametrize(("accumulator", "places"), [(BF16, 54), (FP16, 57)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_a_hair_beside_a_midpoint(accumulator: FloatFormat, places: int, sign: float) -> None:
    """1 + p, p = 2^-8 (2^-11) -+ 2^-54 (2^-57): float64 holds only the midpoint of the target, and
    which way the sum is rounded lies in the bits that are lost. 2^46 - 1 and 2^46 + 1 are products
    of two integers of 24 bits."""
    for x, y, up in ((2**23 - 1, 2**23 + 1, False), (8384513, 8392705, True)):
        assert x * y == 2**46 + (1 if up else -1)
        left = np.array([[1.0, x]], np.float32)
        right = sign * np.array([[1.0], [float(y) * 2.0**-places]], np.float32)
        a, b = encode(left, FP32), encode(right, FP32)
        got = matmul(a, b, FloatDatapath(accumulator))
        step = 2.0**-accumulator.mantissa_bits if up else 0.0
        assert got[0, 0] == sign * (1.0 + step)
        assert got[0, 0] == matmul(a, b, FloatDatapath(accumulator), backend="oracle")[0, 0]
