"""The fully logarithmic GEMM: every sum as the oracle adds it, on any number of threads."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.kernels import matmul_log
from lnsim.lns import LNS8, LNSArray, LNSFormat, dot
from lnsim.lns.oracle import log_dot
from lnsim.lns.testing import lns_arrays

VARIANTS = ("exact", "table:8", "interp:16", "mitchell")


def random_codes(fmt: LNSFormat, shape: tuple[int, int], seed: int) -> LNSArray:
    """Any codes, zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    return LNSArray(rng.integers(0, 2**fmt.bits, shape).astype(fmt.code_dtype), 3, fmt)


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
    got = matmul_log(a, b, bits, lanes, variant)
    wide = LNSFormat(bits, fmt.gamma)
    assert got.fmt == wide
    assert got.offset == a.offset + b.offset - 1
    assert got.shape == (m, n)
    for i, row in enumerate(a.code.tolist()):
        for j, column in enumerate(b.code.T.tolist()):
            wanted = log_dot(row, column, fmt, wide, f"lanes:{lanes}", variant)
            assert int(got.code[i, j]) == wanted


@pytest.mark.parametrize("lanes", [1, 5, 64])
def test_blocks_and_threads_change_nothing(lanes: int) -> None:
    """Sizes around a block of columns, one thread and all: the same as lns.dot."""
    for n in (511, 513):
        a, b = random_codes(LNS8, (9, 37), n), random_codes(LNS8, (37, n), n + 1)
        wanted = dot(a.reshape(9, 1, 37), b.T.reshape(1, n, 37), order=f"lanes:{lanes}")
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            got = matmul_log(a, b, lanes=lanes)
            np.testing.assert_array_equal(got.code, wanted.code)
        assert got.offset == wanted.offset


def test_it_saturates_and_flushes() -> None:
    """The largest sum stays at the top of the accumulator, a running one stands still long before;
    the smallest difference becomes zero."""
    fmt = LNSFormat(3, 2)
    top = LNSArray(np.full((1, 4000), 7, np.uint8), 0, fmt)
    assert int(matmul_log(top, top.T, 5, lanes=1024).code[0, 0]) == 31
    assert int(matmul_log(top, top.T, 5).code[0, 0]) == 20
    near = LNSArray(np.array([[1, 1]], np.uint8), 0, fmt)
    other = LNSArray(np.array([[1], [9]], np.uint8), 0, fmt)
    assert int(matmul_log(near, other).code[0, 0]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"accumulator_bits": 8}, r"^accumulator_bits must be in 9\.\.15, got 8$"),
        ({"lanes": 0}, r"^lanes must be in 1\.\.1024, got 0$"),
        ({"variant": "x"}, r"^variant must be one of exact, table:n, interp:n, mitchell, got 'x'$"),
    ],
)
def test_bad_arguments(words: dict[str, object], message: str) -> None:
    """Each names the argument, the rule and the value."""
    x = random_codes(LNS8, (3, 3), 0)
    with pytest.raises(ValueError, match=message):
        matmul_log(x, x, **words)  # type: ignore[arg-type]


def test_bad_operands() -> None:
    """Sizes, formats, scales and kinds that do not fit."""
    x = random_codes(LNS8, (3, 4), 0)
    with pytest.raises(ValueError, match=r"^b must have 4 rows, as a has columns, got 3$"):
        matmul_log(x, x)
    with pytest.raises(ValueError, match=r"^b must have a's format lns-e7g8, got lns-e7g16$"):
        matmul_log(x, random_codes(LNSFormat(7, 16), (4, 2), 0))
    scaled = LNSArray(x.code, np.zeros((3, 1), np.int32), LNS8)
    with pytest.raises(ValueError, match=r"^offset of a must be one number, got \(3, 1\)$"):
        matmul_log(scaled, x.T)
    with pytest.raises(ValueError, match=r"^a must have two axes, got shape \(4,\)$"):
        matmul_log(x[0], x)
    with pytest.raises(TypeError, match=r"^a must be an LNSArray, got ndarray$"):
        matmul_log(x.code, x)  # type: ignore[arg-type]
