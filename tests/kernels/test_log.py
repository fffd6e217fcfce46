"""The fully logarithmic GEMM: every sum as the oracle adds it, on any number of threads."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lnsim.kernels import Place, evenly, matmul, matmul_counted, matmul_real
from lnsim.lns import LNS8, Accumulator, Datapath, LNSArray, LNSFormat, decode, dot
from lnsim.lns.oracle import log_dot
from lnsim.lns.testing import lns_arrays, log_datapaths

VARIANTS = ("exact", "table:8", "interp:16", "mitchell")


def random_codes(fmt: LNSFormat, shape: tuple[int, int], seed: int) -> LNSArray:
    """Any codes, zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    return LNSArray(rng.integers(0, 2**fmt.bits, shape).astype(fmt.code_dtype), 3, fmt)


def sums(
    a: Any, b: Any, bits: int | None = None, lanes: int = 1, variant: str = "exact"
) -> LNSArray:
    """`matmul` in style "log"; bits None: two more than a's exponents."""
    rule = Accumulator(bits=bits or a.fmt.exponent_bits + 2, lanes=lanes, style="log")
    product: LNSArray = matmul(a, b, Datapath(accumulator=rule, variant=variant))
    return product


@settings(max_examples=60)
@given(data=st.data())
def test_it_equals_the_oracle(data: st.DataObject) -> None:
    """Formats, sizes, accumulators, lanes and variants at random: code by code."""
    fmt = LNSFormat(
        data.draw(st.integers(2, 9)), data.draw(st.sampled_from((1, 2, 8, 64))),
        data.draw(st.booleans()),
    )  # fmt: skip
    m, n, k = (data.draw(st.integers(0, 7)) for _ in range(3))
    a, b = data.draw(lns_arrays(fmt, (m, k))), data.draw(lns_arrays(fmt, (k, n)))
    bits = fmt.exponent_bits + 2 + data.draw(st.integers(0, 3))
    lanes, variant = data.draw(st.sampled_from((1, 2, 3, 8))), data.draw(st.sampled_from(VARIANTS))
    got = sums(a, b, bits, lanes, variant)
    wide = LNSFormat(bits, fmt.gamma)
    assert got.fmt == wide
    assert got.offset == a.offset + b.offset - 1
    assert got.shape == (m, n)
    for i, row in enumerate(a.code.tolist()):
        for j, column in enumerate(b.code.T.tolist()):
            wanted = log_dot(row, column, fmt, wide, f"lanes:{lanes}", variant)
            assert int(got.code[i, j]) == wanted


@settings(max_examples=60)
@given(data=st.data())
def test_the_datapath_equals_the_oracle(data: st.DataObject) -> None:
    """Style "log" of two formats: codes, scale and the count of saturated outputs; `dot` agrees."""
    width, exponent = data.draw(st.integers(0, 3)), data.draw(st.integers(2, 8))
    fine = LNSFormat(exponent, 2 << width, data.draw(st.booleans()))
    steps = data.draw(st.integers(0, min(2, width)))
    coarse = LNSFormat(data.draw(st.integers(2, 8)), fine.gamma >> steps, data.draw(st.booleans()))
    fmt_a, fmt_b = data.draw(st.permutations((fine, coarse)))
    m, n, k = (data.draw(st.integers(0, 5)) for _ in range(3))
    a, b = data.draw(lns_arrays(fmt_a, (m, k))), data.draw(lns_arrays(fmt_b, (k, n)))
    if data.draw(st.booleans()):
        rows = data.draw(hnp.arrays(np.int32, (m, 1), elements=st.integers(-99, 99)))
        a = LNSArray(a.code, rows, fmt_a)
    datapath = data.draw(log_datapaths(fmt_a, fmt_b))
    got, saturated = matmul_counted(a, b, datapath)
    wanted, expected = matmul_counted(a, b, datapath, backend="oracle")
    assert got.fmt == wanted.fmt == datapath.sum_format(fmt_a, fmt_b)
    np.testing.assert_array_equal(got.code, wanted.code)
    np.testing.assert_array_equal(
        np.broadcast_to(got.offset, (m, n)), np.broadcast_to(wanted.offset, (m, n))
    )
    assert saturated == expected
    order, bits = f"lanes:{datapath.accumulator.lanes}", datapath.accumulator.bits
    whole = LNSArray(a.code, 0, fmt_a)
    one = dot(whole.reshape(m, 1, k), b.T.reshape(1, n, k), bits, order, datapath.variant)
    np.testing.assert_array_equal(one.code, got.code)


def test_saturated_sums_are_counted() -> None:
    """Of four outputs one passes the top of the accumulator on its way and comes back."""
    fmt = LNSFormat(2, 1)
    rows = LNSArray(np.array([[3] * 9 + [7] * 9, [3] + [0] * 17], np.uint8), 0, fmt)
    columns = LNSArray(np.array([[3] * 18, [1] * 18], np.uint8).T.copy(), 0, fmt)
    datapath = Datapath(accumulator=Accumulator(bits=4, lanes=18, style="log"))
    got, saturated = matmul_counted(rows, columns, datapath)
    wanted = matmul_counted(rows, columns, datapath, backend="oracle")
    assert (saturated, wanted[1]) == (0, 0)
    np.testing.assert_array_equal(got.code, wanted[0].code)
    many = LNSArray(np.full((1, 600), 3, np.uint8), 0, fmt)
    tall = LNSArray(np.array([[3] * 600, [0] * 600], np.uint8).T.copy(), 0, fmt)
    wide = Datapath(accumulator=Accumulator(bits=4, lanes=600, style="log"))
    got, saturated = matmul_counted(many, tall, wide)
    assert (saturated, matmul_counted(many, tall, wide, backend="oracle")[1]) == (1, 1)
    assert got.code.tolist() == [[15, 0]]


def test_values_beyond_float32_are_infinite_and_counted() -> None:
    """As with a linear accumulator; three of four outputs here."""
    code = np.array([[100, 3], [0, 1]], np.uint8)
    a, b = LNSArray(code, 600, LNS8), LNSArray(np.eye(2, dtype=np.uint8) * 100, 600, LNS8)
    real, overflowed = matmul_real(a, b, Datapath(accumulator=Accumulator(bits=9, style="log")))
    assert np.isinf(real).tolist() == [[True, True], [False, True]]
    assert overflowed == 3
    assert np.isinf(matmul_real(a, b, Datapath())[0][0, 0])


@pytest.mark.parametrize("backend", ["cpu", "oracle"])
def test_an_offset_beyond_int32_is_refused(backend: str) -> None:
    """Of one number and of rows and columns."""
    datapath, one = (
        Datapath(accumulator=Accumulator(bits=9, style="log")),
        np.ones((1, 1), np.uint8),
    )
    most = 2**31 - 1
    scales: list[tuple[object, object]] = [(most, most)]
    scales.append((np.full((1, 1), most, np.int32), np.full((1, 1), most, np.int32)))
    for left, right in scales:
        a, b = LNSArray(one, left, LNS8), LNSArray(one, right, LNS8)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^offset must be in -2147483648\.\.2147483647"):
            matmul(a, b, datapath, backend)


def test_real_values_and_batches() -> None:
    """float32 results are the decoded sums, in place too; a batch is its members."""
    fmt = LNSFormat(5, 4)
    a, b = random_codes(fmt, (6, 10), 1), random_codes(LNSFormat(6, 8), (10, 4), 2)
    datapath = Datapath(accumulator=Accumulator(bits=9, lanes=2, style="log"), variant="mitchell")
    sums = matmul(a, b, datapath)
    real, saturated = matmul_real(a, b, datapath)
    np.testing.assert_array_equal(real, decode(sums).astype(np.float32))
    np.testing.assert_array_equal(datapath.to_real(sums, a, b), decode(sums))
    place = Place(np.zeros(24, np.float32), evenly(6, 1), evenly(4, 6), False)
    assert matmul_real(a, b, datapath, place)[1] == saturated
    np.testing.assert_array_equal(place.memory.reshape(4, 6).T, real)
    batch = LNSArray(np.stack([a.code, a.code[::-1]]), a.offset, fmt)
    right = LNSArray(np.stack([b.code, b.code]), b.offset, b.fmt)
    both = matmul(batch, right, datapath)
    np.testing.assert_array_equal(both.code[0], sums.code)
    np.testing.assert_array_equal(both.code[1], sums.code[::-1])
    assert both.offset == sums.offset


@pytest.mark.parametrize("lanes", [1, 5, 64])
def test_blocks_and_threads_change_nothing(lanes: int) -> None:
    """Sizes around a block of columns, one thread and all: the same as lns.dot."""
    for n in (511, 513):
        a, b = random_codes(LNS8, (9, 37), n), random_codes(LNS8, (37, n), n + 1)
        wanted = dot(a.reshape(9, 1, 37), b.T.reshape(1, n, 37), order=f"lanes:{lanes}")
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            got = sums(a, b, lanes=lanes)
            np.testing.assert_array_equal(got.code, wanted.code)
        assert got.offset == wanted.offset


def test_it_saturates_and_flushes() -> None:
    """The largest sum stays at the top of the accumulator, a running one stands still long before;
    the smallest difference becomes zero."""
    fmt = LNSFormat(3, 2)
    top = LNSArray(np.full((1, 4000), 7, np.uint8), 0, fmt)
    assert int(sums(top, top.T, 5, lanes=1024).code[0, 0]) == 31
    assert int(sums(top, top.T, 5).code[0, 0]) == 20
    near = LNSArray(np.array([[1, 1]], np.uint8), 0, fmt)
    other = LNSArray(np.array([[1], [9]], np.uint8), 0, fmt)
    assert int(sums(near, other).code[0, 0]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bits": 3}, r"^bits must be in 4\.\.15, got 3$"),
        ({"lanes": 0}, r"^lanes must be in 1\.\.1024, got 0$"),
        ({"variant": "x"}, r"^variant must be one of exact, table:n, interp:n, mitchell, got 'x'$"),
    ],
)
def test_bad_arguments(words: dict[str, object], message: str) -> None:
    """Each names the argument, the rule and the value."""
    x = random_codes(LNS8, (3, 3), 0)
    with pytest.raises(ValueError, match=message):
        sums(x, x, **words)  # type: ignore[arg-type]


def test_bad_operands() -> None:
    """Sizes, scales and kinds that do not fit."""
    x = random_codes(LNS8, (3, 4), 0)
    with pytest.raises(ValueError, match=r"^b must have as many rows as a has columns \(4\)"):
        sums(x, x)
    scaled = LNSArray(x.code, np.arange(4, dtype=np.int32), LNS8)
    with pytest.raises(ValueError, match=r"^offset of a must be constant along k \(axis 1\)"):
        sums(scaled, x.T)
    with pytest.raises(ValueError, match=r"^a must be 2-dimensional, got shape \(4,\)$"):
        sums(x[0], x)
    with pytest.raises(
        TypeError, match=r"^a must be of type LNSArray for a Datapath, got ndarray$"
    ):
        sums(x.code, x, 9)  # type: ignore[arg-type]
    narrow = Datapath(accumulator=Accumulator(bits=8, style="log"))
    with pytest.raises(
        ValueError,
        match=r"^bits must be at least 9 in style 'log' for lns-e7g8 times lns-e7g8, got 8$",
    ):
        matmul(x, x.T, narrow)
