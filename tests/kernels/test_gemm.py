"""The logarithmic GEMM on CPU equals the oracle, at every size, thread count and parameter."""

from concurrent.futures import ThreadPoolExecutor
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
from lnsim.lns.array import LNSArray
from lnsim.lns.datapath import Accumulator, Antilog, Datapath
from lnsim.lns.format import LNS8, LNSFormat

BLOCKS = [VECTOR_BYTES // 4 * vectors for vectors in VECTORS]  # columns in 32-bit lanes
BLOCK = max(BLOCKS)
SLOTS = 12  # products of a chunk at gamma 8

# Sizes on both sides of the kernel's boundaries (BLOCK columns, SLOTS products), and primes.
SHAPES = [
    (1, 1, 1),
    (3, SLOTS - 1, BLOCK - 1),
    (2, SLOTS, BLOCK),
    (4, SLOTS + 1, BLOCK + 1),
    (BLOCK - 1, 2, 3),
    (BLOCK, 3, 2),
    (BLOCK + 1, 2, 5),
    (7, 67, 13),
    (2, 5, 131),
    (131, 3, 2),
    *[(5, 17, width + more) for width in BLOCKS for more in (-1, 0, 1)],
    *[(rows, 21, 16) for rows in (1, 2, 3, 4, 6)],
]

DATAPATHS = {
    "default": Datapath(),
    "wrap": Datapath(accumulator=Accumulator(overflow="wrap", guard=2, bits=20)),
    "toward-zero": Datapath(accumulator=Accumulator(rounding="toward_zero", guard=3)),
    "lanes": Datapath(accumulator=Accumulator(lanes=3, guard=1, bits=18)),
    "many-lanes": Datapath(accumulator=Accumulator(lanes=20, guard=0, bits=16)),
    "w32": Datapath(accumulator=Accumulator(bits=32, guard=0)),
    "wide": Datapath(accumulator=Accumulator(bits=48, guard=2)),
    "bins": Datapath(Antilog(2), Accumulator(style="bins", guard=0, lanes=2)),
}


@pytest.fixture
def every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products use every thread too, as large ones do."""
    monkeypatch.setattr("lnsim.kernels.cpu.backend._FAST_GRAIN", 1)
    monkeypatch.setattr("lnsim.kernels.cpu.backend._SLOW_GRAIN", 1)


def random_codes(fmt: LNSFormat, shape: tuple[int, int], rng: np.random.Generator) -> LNSArray:
    """Uniform codes, every bit pattern included."""
    return LNSArray(rng.integers(0, 1 << fmt.bits, shape).astype(fmt.code_dtype), 0, fmt)


def large_codes(fmt: LNSFormat, shape: tuple[int, int], rng: np.random.Generator) -> LNSArray:
    """Codes of the top octave, mostly positive, so that sums leave the range."""
    stored = np.maximum(fmt.max_exponent - rng.integers(0, fmt.gamma, shape), fmt.min_exponent)
    sign = (rng.random(shape) < 0.25).astype(np.int64) << fmt.exponent_bits
    return LNSArray((stored | sign).astype(fmt.code_dtype), 0, fmt)


def assert_same(got: tuple[Any, int], wanted: tuple[Any, int]) -> None:
    """Equal accumulators, dtype and overflow count."""
    assert got[0].dtype == wanted[0].dtype == np.int64
    np.testing.assert_array_equal(got[0], wanted[0])
    assert got[1] == wanted[1]


@pytest.mark.usefixtures("every_thread")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", DATAPATHS)
def test_equals_the_oracle_at_every_size_and_thread_count(
    name: str, shape: tuple[int, int, int]
) -> None:
    """Accumulators and overflow counts are the oracle's with one thread and with two."""
    rng = np.random.default_rng(sum(shape))
    m, k, n = shape
    a, b = random_codes(LNS8, (m, k), rng), large_codes(LNS8, (k, n), rng)
    wanted = matmul_counted(a, b, DATAPATHS[name], backend="oracle")
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            assert_same(matmul_counted(a, b, DATAPATHS[name]), wanted)
    finally:
        numba.set_num_threads(before)


@st.composite
def accumulators(draw: st.DrawFn, styles: tuple[str, ...] = ("direct", "bins")) -> Accumulator:
    """Any accumulator that can be made (the few that could leave 64 bits are skipped)."""
    bits = draw(st.integers(4, 62))
    guard = draw(st.integers(0, bits - 2))
    room = max(1, min(1024, 2 ** (63 - (bits - guard)) // 2))
    return Accumulator(
        bits=bits,
        guard=guard,
        overflow=draw(st.sampled_from(("saturate", "wrap"))),
        lanes=min(room, draw(st.sampled_from((1, 1, 2, 3, 5, 8, 9, 16, 1024)))),
        rounding=draw(st.sampled_from(("floor", "toward_zero"))),
        style=draw(st.sampled_from(styles)),
    )


@st.composite
def lns_cases(draw: st.DrawFn) -> tuple[LNSArray, LNSArray, Datapath]:
    """Two small arrays of codes in formats of their own, and a datapath that takes them."""
    # The oracle pairs all exponents of an octave: a fine gamma goes with few exponent bits.
    exponent_bits, octave_bits = draw(st.sampled_from(((15, 5), (6, 12))))
    formats = [
        LNSFormat(
            draw(st.integers(2, exponent_bits)),
            2 ** draw(st.integers(0, octave_bits)),
            zero=draw(st.booleans()),
        )
        for _ in range(2)
    ]
    gamma = max(fmt.gamma for fmt in formats)
    entries = 2 ** draw(st.integers(0, min(6, gamma.bit_length() - 1)))
    table_bits = draw(st.integers(1, 16))
    accumulator = draw(accumulators())
    if accumulator.style == "bins":
        entries = min(entries, 1 << max(0, 63 - accumulator.bits - table_bits))
        if accumulator.bits + table_bits > 63:
            table_bits = 63 - accumulator.bits
    m, k, n = draw(st.integers(1, 4)), draw(st.integers(0, 25)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    make = draw(st.sampled_from((random_codes, large_codes)))
    a, b = make(formats[0], (m, k), rng), make(formats[1], (k, n), rng)
    return a, b, Datapath(Antilog(entries, max(1, table_bits)), accumulator)


@settings(deadline=None, max_examples=250)
@given(lns_cases())
def test_equals_the_oracle_for_every_parameter(
    case: tuple[LNSArray, LNSArray, Datapath],
) -> None:
    """Any formats, antilog and accumulator: the chosen kernel and the general one are right."""
    wanted = matmul_counted(*case, backend="oracle")
    assert_same(matmul_counted(*case), wanted)
    assert_same(wide_product(*case), wanted)


@st.composite
def narrow_cases(draw: st.DrawFn) -> tuple[LNSArray, LNSArray, Datapath]:
    """Cases that the fast kernel takes, sized around its blocks."""
    gammas = [2 ** draw(st.integers(0, 5)) for _ in range(2)]
    formats = [LNSFormat(draw(st.integers(2, 9)), g, zero=draw(st.booleans())) for g in gammas]
    bits = draw(st.integers(4, 32))
    accumulator = Accumulator(
        bits,
        draw(st.integers(0, bits - 2)),
        draw(st.sampled_from(("saturate", "wrap"))),
        draw(st.sampled_from((1, 1, 2, 3, 8, 9, 33))),
        draw(st.sampled_from(("floor", "toward_zero"))),
    )
    m, k, n = draw(st.integers(1, 70)), draw(st.integers(1, 90)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    make = draw(st.sampled_from((random_codes, large_codes)))
    a, b = make(formats[0], (m, k), rng), make(formats[1], (k, n), rng)
    return a, b, Datapath(Antilog(None, draw(st.integers(1, 16))), accumulator)


@settings(deadline=None, max_examples=150)
@given(narrow_cases())
def test_the_fast_kernel_equals_the_general_one(
    case: tuple[LNSArray, LNSArray, Datapath],
) -> None:
    """Tables, panels, bounds and replays change nothing at sizes the oracle is too slow for."""
    a, b, datapath = case
    assert term_table(datapath, a.fmt, b.fmt) is not None
    assert_same(matmul_counted(a, b, datapath), wide_product(a, b, datapath))


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize("guard", [0, 2, 4])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("bits", [20, 32, 45])
def test_sums_that_leave_the_range_are_replayed_exactly(
    bits: int, overflow: str, guard: int, lanes: int
) -> None:
    """Large operands saturate or wrap in most outputs, at sizes of several tasks and chunks."""
    rng = np.random.default_rng(guard + lanes)
    datapath = Datapath(
        accumulator=Accumulator(bits=bits, guard=guard, overflow=overflow, lanes=lanes)
    )
    a, b = large_codes(LNS8, (150, 203), rng), large_codes(LNS8, (203, 150), rng)
    assert term_table(datapath, LNS8, LNS8) is not None
    acc, overflowed = matmul_counted(a, b, datapath)
    assert_same((acc, overflowed), wide_product(a, b, datapath))
    assert 150 * 150 // 2 < overflowed <= 150 * 150
    row, column = LNSArray(a.code[:1], 0, LNS8), LNSArray(b.code[:, :1], 0, LNS8)
    assert acc[0, 0] == matmul(row, column, datapath, backend="oracle")[0, 0]


def test_only_the_outputs_that_left_the_range_are_counted() -> None:
    """One row of large operands among small ones: its outputs alone are flagged, all are exact."""
    rng = np.random.default_rng(5)
    a = rng.integers(1, 60, (70, 100)).astype(np.uint8)
    a[33] = LNS8.max_exponent
    b = np.full((100, 65), LNS8.max_exponent, np.uint8)
    arrays = LNSArray(a, 0, LNS8), LNSArray(b, 0, LNS8)
    acc, overflowed = matmul_counted(*arrays, Datapath())
    assert overflowed == 65
    assert (acc[33] == 2**23 - 1).all()
    assert_same((acc, overflowed), wide_product(*arrays, Datapath()))


def test_an_accumulator_that_comes_back_is_still_counted() -> None:
    """Up beyond the top and down again: the result is inside, the excursion is counted."""
    top, minus = LNS8.max_exponent, 1 << LNS8.exponent_bits
    a = np.full((1, 64), top, np.uint8)
    a[0, 32:] |= minus
    arrays = LNSArray(a, 0, LNS8), LNSArray(np.full((64, 1), top, np.uint8), 0, LNS8)
    wanted = matmul_counted(*arrays, Datapath(), backend="oracle")
    assert wanted[1] == 1
    assert abs(int(wanted[0][0, 0])) < 2**23 - 1
    assert_same(matmul_counted(*arrays, Datapath()), wanted)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("name", DATAPATHS)
def test_empty_sizes_give_zeros(name: str, shape: tuple[int, int, int]) -> None:
    """A product with an empty side has the right shape; without k it is zero."""
    m, k, n = shape
    a, b = (LNSArray(np.zeros(s, np.uint8), 0, LNS8) for s in ((m, k), (k, n)))
    acc, overflowed = matmul_counted(a, b, DATAPATHS[name])
    assert acc.shape == (m, n)
    assert acc.dtype == np.int64
    assert not acc.any()
    assert overflowed == 0


@pytest.mark.parametrize("name", ["default", "wide", "bins"])
def test_any_strides_give_the_same_result(name: str) -> None:
    """Transposed, stepped and reversed operands are read as numpy reads them."""
    rng = np.random.default_rng(3)
    a, b = random_codes(LNS8, (22, 18), rng), random_codes(LNS8, (11, 9), rng)
    left = LNSArray(a.code[::2, ::-2], 0, LNS8).T
    right = LNSArray(np.broadcast_to(b.code[:, :1], (11, 9)), 0, LNS8)
    plain = [LNSArray(np.array(array.code), 0, LNS8) for array in (left, right)]
    assert_same(
        matmul_counted(left, right, DATAPATHS[name]), matmul_counted(*plain, DATAPATHS[name])
    )


@pytest.mark.usefixtures("every_thread")
def test_the_kernel_may_be_entered_from_several_threads() -> None:
    """Four Python threads at once get what one gets."""
    rng = np.random.default_rng(8)
    a, b = random_codes(LNS8, (70, 90), rng), random_codes(LNS8, (90, 70), rng)
    wanted = matmul_counted(a, b, Datapath())
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(matmul_counted, a, b, Datapath()) for _ in range(8)]
        for result in results:
            assert_same(result.result(), wanted)
