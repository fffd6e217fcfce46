"""Addition in every variant, sums in every order, dot products: all against the oracle."""

import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lnsim.kernels import matmul
from lnsim.lns import (
    LNS8,
    Accumulator,
    Datapath,
    LNSArray,
    LNSFormat,
    add,
    decode,
    dot,
    encode,
    max_error,
    neg,
    sub,
    total,
)
from lnsim.lns.gauss import gauss_table, zero_from
from lnsim.lns.oracle import add_one, gauss_one, log_dot, sub_one, total_one
from lnsim.lns.testing import lns_arrays

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
VARIANTS = ("exact", "table:1", "table:16", "interp:4", "interp:64", "mitchell")
SMALL = [LNSFormat(3, 2), LNSFormat(4, 1, zero=False), LNSFormat(5, 8), LNSFormat(5, 4, zero=False)]
variants = pytest.mark.parametrize("variant", VARIANTS)


def every(fmt: LNSFormat) -> LNSArray:
    """All codes, the negative zero among them."""
    return LNSArray(np.arange(2**fmt.bits).astype(fmt.code_dtype), 3, fmt)


@variants
@pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
def test_every_sum_in_every_variant(fmt: LNSFormat, variant: str) -> None:
    """All pairs of codes of small formats, sums and differences."""
    x = every(fmt)
    column = x.reshape(-1, 1)
    codes = range(2**fmt.bits)
    wanted = [[add_one(a, b, fmt, variant) for b in codes] for a in codes]
    assert add(column, x, variant).code.tolist() == wanted
    wanted = [[sub_one(a, b, fmt, variant) for b in codes] for a in codes]
    assert sub(column, x, variant).code.tolist() == wanted


DOCUMENTED = ("exact", "table:16", "table:64", "table:256", "interp:16", "interp:64", "mitchell")


@pytest.mark.parametrize("variant", [*DOCUMENTED, "table:1", "interp:4"])
@pytest.mark.parametrize("gamma", [1, 2, 8, 64])
@pytest.mark.parametrize("opposite", [False, True])
def test_every_distance_of_twelve_bits(gamma: int, opposite: bool, variant: str) -> None:
    """The tables equal the definitions for all d that E <= 12 can give."""
    table = gauss_table(gamma, opposite, variant)
    first = int(opposite)
    wanted = [gauss_one(d, gamma, opposite, variant) for d in range(first, 2**12)]
    assert table[first : 2**12].tolist() == wanted


STRIDE = 1 if THOROUGH else 1021  # odd, so that it meets every place of a block


@pytest.mark.parametrize("variant", [*DOCUMENTED, "table:1", "table:32768", "interp:1"])
@pytest.mark.parametrize("gamma", [2048, 4096])
@pytest.mark.parametrize("opposite", [False, True])
def test_distances_of_fifteen_bits(gamma: int, opposite: bool, variant: str) -> None:
    """Fine gammas, to the largest distance there is: an odd stride of d, thorough: every d."""
    table = gauss_table(gamma, opposite, variant)
    assert len(table) == 2**15
    first = int(opposite)
    for part in (range(first, 8), range(first, 2**15, STRIDE), range(2**15 - 2, 2**15)):
        wanted = [gauss_one(d, gamma, opposite, variant) for d in part]
        assert table[part.start : part.stop : part.step].tolist() == wanted


@pytest.mark.parametrize("gamma", [2**n for n in range(13)])
@pytest.mark.parametrize("opposite", [False, True])
def test_where_the_functions_become_zero(gamma: int, opposite: bool) -> None:
    """The smallest d by the oracle; at gamma 4096 it lies beyond every distance of two numbers."""
    found = zero_from(gamma, opposite)
    assert gauss_one(found, gamma, opposite) == 0
    assert gauss_one(found - 1, gamma, opposite) == 1
    beyond = {(4096, False): 55414, (4096, True): 55415}
    assert (found > 2**15) == ((gamma, opposite) in beyond)
    assert found == beyond.get((gamma, opposite), found)


@pytest.mark.parametrize(
    ("variant", "gamma", "worst"),
    [
        ("exact", 8, (0, 0)),
        ("table:16", 8, (1, 8)),
        ("table:64", 8, (0, 0)),
        ("interp:16", 8, (1, 3)),
        ("interp:64", 8, (1, 0)),
        ("mitchell", 8, (1, 3)),
        ("mitchell", 64, (5, 34)),
        ("table:256", 4096, (54, 27614)),
    ],
)
def test_the_stated_errors(variant: str, gamma: int, worst: tuple[int, int]) -> None:
    """Steps a variant is off by at most, over every distance, for sums and differences."""
    assert max_error(gamma, variant) == worst
    short = max_error(gamma, variant, 2**7 - 1)
    assert short[0] <= worst[0]
    assert short[1] <= worst[1]


@pytest.mark.parametrize("gamma", [1, 8, 256])
def test_more_entries_are_not_worse(gamma: int) -> None:
    """The error of sums falls with the table, to none where every distance has an entry."""
    for kind in ("table", "interp"):
        errors = [max_error(gamma, f"{kind}:{n}")[0] for n in (4, 16, 64, 256, 4096)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] <= (kind == "interp")
    assert max_error(gamma, "table:32768") == (0, 0)


@variants
@given(data=st.data())
def test_sums_in_every_order(variant: str, data: st.DataObject) -> None:
    """total of up to twelve codes, any format, equals the oracle: sequential, tree, lanes."""
    fmt = LNSFormat(data.draw(st.integers(2, 9)), data.draw(st.sampled_from((1, 2, 8))),
                    data.draw(st.booleans()))  # fmt: skip
    x = data.draw(lns_arrays(fmt, shape=(data.draw(st.integers(0, 12)),)))
    for order in ("sequential", "tree", "lanes:1", "lanes:3", "lanes:16"):
        got = total(x, order=order, variant=variant)
        assert got.code.shape == ()
        assert int(got.code) == total_one(x.code.tolist(), fmt, order, variant)
        assert got.offset == x.offset


@given(data=st.data(), zero=st.booleans())
def test_dot_products(data: st.DataObject, zero: bool) -> None:
    """Rows times rows, every order, accumulators of E + 2 bits and more."""
    fmt = LNSFormat(data.draw(st.integers(2, 6)), data.draw(st.sampled_from((1, 4))), zero)
    n = data.draw(st.integers(0, 9))
    a, b = (data.draw(lns_arrays(fmt, shape=(2, n))) for _ in range(2))
    extra = data.draw(st.integers(0, 2))
    order = data.draw(st.sampled_from(("sequential", "tree", "lanes:4")))
    variant = data.draw(st.sampled_from(VARIANTS))
    wide = LNSFormat(fmt.exponent_bits + 2 + extra, fmt.gamma)
    got = dot(a, b, wide.exponent_bits, order, variant)
    wanted = [
        log_dot(x, y, fmt, wide, order, variant)
        for x, y in zip(a.code.tolist(), b.code.tolist(), strict=True)
    ]
    assert got.code.tolist() == wanted
    assert got.fmt == wide
    assert got.offset == a.offset + b.offset - 1


def test_one_product_is_exact() -> None:
    """A sum of one product has the product's value, the largest and the smallest too."""
    x = every(LNS8)
    pairs = dot(x.reshape(-1, 1, 1), x.reshape(1, -1, 1))
    values = decode(x)
    wanted = [[a * b for b in values] for a in values]
    np.testing.assert_allclose(decode(pairs), wanted, rtol=1e-14, atol=0)


def test_the_order_matters() -> None:
    """Addition is not associative: a small number is lost on a large one that then cancels."""
    x = encode(np.array([4096.0, 1.0, -4096.0, 1.0]), LNS8)
    orders = ("sequential", "tree", "lanes:2")
    assert [float(total(x, order=order)) for order in orders] == [1.0, 0.0, 2.0]


def test_sums_along_an_axis() -> None:
    """As numpy's axis; scales per row stay beside their rows, and must not vary along the sum."""
    code = every(LNS8).code[:24].reshape(2, 3, 4)
    x = LNSArray(code, 5, LNS8)
    for axis in (0, 1, -1):
        got = total(x, axis)
        rows = np.moveaxis(code, axis, -1)
        wanted = [
            total_one(row.tolist(), LNS8, "sequential") for row in rows.reshape(-1, rows.shape[-1])
        ]
        assert got.code.ravel().tolist() == wanted
    scaled = LNSArray(code, np.array([[[1]], [[2]]], np.int32), LNS8)
    assert total(scaled, 2).offset.tolist() == [[1, 1, 1], [2, 2, 2]]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"^offset must be the same along the sum, got 1 and 2; "):
        total(scaled, 0)
    with pytest.raises(ValueError, match=r"^offset must be the same along the sum, got 1 and 2; "):
        total(scaled)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"order": "random"}, r"^order must be one of sequential, tree, lanes:V, got 'random'$"),
        ({"order": "lanes:0"}, r"^V of order lanes:0 must be in 1\.\.1024, got 0$"),
        ({"variant": "table"}, r"^variant must be one of exact, table:n, interp:n, mitchell, got"),
        ({"variant": "table:0"}, r"^n of variant table:0 must be in 1\.\.32768, got 0$"),
        ({"variant": "mitchell:3"}, r"^variant must be one of "),
        ({"variant": "table:064"}, r"^variant must be one of .+, got 'table:064'$"),
        ({"variant": "table:\uff16\uff14"}, r"^variant must be one of "),
        ({"variant": "interp:" + "9" * 5000}, r"^variant must be one of "),
        ({"order": "lanes:\u0663"}, r"^order must be one of "),
        ({"order": "lanes:03"}, r"^order must be one of "),
        ({"order": "lanes:"}, r"^order must be one of "),
        ({"axis": 2}, r"^axis must be in -1\.\.0, got 2$"),
    ],
)
def test_refusals_of_total(words: dict[str, object], message: str) -> None:
    """Each names the argument, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        total(every(LNS8), **words)  # type: ignore[arg-type]


def test_a_single_number_has_no_axis() -> None:
    """It sums to itself, and says so where an axis is asked for."""
    x = every(LNS8)
    assert total(x[5]).code.tolist() == 5
    for axis in (0, -1):
        with pytest.raises(ValueError, match=r"^array must have an axis to sum along, got a singl"):
            total(x[5], axis)


def test_refusals_of_dot() -> None:
    """An accumulator too narrow or too wide, a number instead of a row."""
    x = every(LNS8)
    with pytest.raises(ValueError, match=r"^accumulator_bits must be in 9\.\.15, got 8$"):
        dot(x, x, 8)
    wide = LNSArray(np.zeros(2, np.uint16), 0, LNSFormat(14, 8))
    with pytest.raises(ValueError, match=r"^accumulator_bits must be in 16\.\.15, got 16$"):
        dot(wide, wide)
    with pytest.raises(ValueError, match=r"^a must have an axis to sum along"):
        dot(x[0], x)
    with pytest.raises(TypeError, match=r"^b must be an LNSArray, got list$"):
        dot(x, [1])  # type: ignore[arg-type]


# --- what an array does -------------------------------------------------------------------------


def grid() -> LNSArray:
    """Six numbers, a zero among them."""
    return encode(np.array([[1.0, -0.5, 3.0], [0.0, 2.0, 4.0]]), LNS8)


def test_operators_are_the_functions() -> None:
    """+ - * / @ and signs give the codes of add, sub, mul, div, dot, neg and absolute."""
    x = grid()
    y = LNSArray(x.code[::-1].copy(), x.offset, x.fmt)
    assert ((x + y).code == add(x, y).code).all()
    assert ((x - y).code == sub(x, y).code).all()
    np.testing.assert_array_equal(np.asarray(x * x), np.asarray(x) ** 2)
    assert ((x[:, 1:] / y[:, 1:]).code.shape) == (2, 2)
    assert ((-x).code == neg(x).code).all()
    assert (np.asarray(abs(x)) == np.abs(np.asarray(x))).all()
    assert ((+x).code == x.code).all()
    for left, right in product((x, x[0]), (y.transpose(), y[1])):
        shape = (np.asarray(left) @ np.asarray(right)).shape
        assert (left @ right).shape == shape
    assert ((x @ y.transpose()).code[1, 0]) == dot(x[1], y[0]).code


def test_indexing_and_shapes() -> None:
    """As numpy, the offset beside the codes; iterating gives rows, then numbers."""
    x = LNSArray(grid().code, np.array([[1], [2]], np.int32), LNS8)
    assert x[1].offset.tolist() == [2, 2, 2]  # type: ignore[union-attr]
    assert x[1, 2].offset == 2
    assert x[:, ::2].shape == (2, 2)
    assert x[x > x[0, 1]].ndim == 1
    assert x.reshape(3, 2).offset.tolist() == [[1, 1], [1, 2], [2, 2]]  # type: ignore[union-attr]
    assert x.transpose().shape == x.T.shape == (3, 2)
    assert (np.asarray(x.transpose()) == np.asarray(x).T).all()
    assert [len(row) for row in x] == [3, 3]
    assert [float(value) for value in grid()[0]] == [1.0, -0.5, float(np.asarray(grid())[0, 2])]
    with pytest.raises(TypeError, match=r"^len\(\) must be of an array with axes"):
        len(x[0, 0])
    with pytest.raises(TypeError):
        x[0] = x[1]  # type: ignore[index]


def test_comparisons_are_of_values() -> None:
    """Element by element, as float64 compares the values; across formats too."""
    x, other = grid(), encode(np.array([1.0, 0.5, 3.0]), LNSFormat(9, 64))
    value, wanted = np.asarray(x), np.asarray(other)
    for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
        assert (getattr(x, name)(other) == getattr(value, name)(wanted)).all(), name
    assert bool(x[0, 0])
    assert not bool(x[1, 0])


def test_conversions() -> None:
    """numpy and torch get the values; float() one number."""
    import torch

    x = grid()
    assert (np.asarray(x) == decode(x)).all()
    assert np.asarray(x, np.float32).dtype == np.float32
    assert (torch.asarray(x).numpy() == decode(x)).all()
    assert (torch.tensor(x).numpy() == decode(x)).all()
    with pytest.raises(ValueError, match=r"^copy must be allowed"):
        np.array(x, copy=False)
    with pytest.raises(TypeError, match=r"^float\(\) must be of one element, got shape \(2, 3\)$"):
        float(x)


def test_repr_shows_values_and_codes() -> None:
    """Both, with offset and format; long arrays are abbreviated."""
    assert repr(encode(np.array([1.0, -0.5, 0.0]), LNS8)) == (
        "LNSArray([ 1. , -0.5,  0. ], codes [0x78, 0xf0, 0x00], offset=-120, lns-e7g8)"
    )
    assert "..." in repr(every(LNS8))
    assert "offset=array(2, 1)" in repr(LNSArray(grid().code, np.array([[1], [2]], np.int32), LNS8))


def test_truth_is_the_codes() -> None:
    """A number is true whatever float64 makes of it; both zeros are false."""
    for offset in (-(2**31), 0, 2**31 - 1):
        x = LNSArray(np.array([0, 1, 128, 129, 255], np.uint8), offset, LNS8)
        assert [bool(element) for element in x] == [False, True, False, True, True]
    assert bool(LNSArray(np.zeros((), np.uint8), -(2**31), LNSFormat(7, 8, zero=False)))


def test_repr_beyond_float64_shows_powers() -> None:
    """Too large and too small for float64: every number as its power of two, with the codes."""
    code = np.array([[0, 1], [129, 128]], np.uint8)
    assert repr(LNSArray(code, 16003, LNS8)) == (
        "LNSArray([[0, 2^2000.5],\n [-2^2000.5, 0]], codes [[0x00, 0x01],\n [0x81, 0x80]], "
        "offset=16003, lns-e7g8)"
    )
    assert "[2^-268435456.0]" in repr(
        LNSArray(np.zeros(1, np.uint8), -(2**31), LNSFormat(7, 8, False))
    )
    assert repr(LNSArray(np.array(1, np.uint8), 8200, LNS8)).startswith("LNSArray(2^1025.125, ")
    mixed = LNSArray(np.ones(2, np.uint8), np.array([-1, 2**31 - 1], np.int32), LNS8)
    assert repr(mixed).startswith("LNSArray([2^0.0, 2^268435456.0], codes [0x01, 0x01], ")
    long = LNSArray(np.ones(10**6, np.uint8), 9000, LNS8)
    assert "2^1125.125, ..., 2^1125.125" in repr(long)
    assert repr(LNSArray(np.ones(1, np.uint8), -1074 * 8 - 1, LNS8)).startswith(
        "LNSArray([5.e-324]"
    )


@pytest.mark.parametrize("other", [1, 2.0, np.ones(3), [1.0]])
def test_plain_numbers_are_refused(other: object) -> None:
    """They have no format; the message says how to give them one."""
    x = grid()
    for work in (
        lambda: x + other, lambda: other + x, lambda: x * other, lambda: other * x,
        lambda: x @ other, lambda: x == other, lambda: x < other, lambda: other / x,
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"must be LNSArrays, got .+; encode\(x, fmt, offset\)"):
            work()


def test_what_has_no_meaning_is_refused() -> None:
    """Truth of several numbers, hashing, numpy functions, products of unequal or many axes."""
    x = grid()
    with pytest.raises(ValueError, match=r"^truth must be of one element, got shape \(2, 3\)$"):
        bool(x)
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    with pytest.raises(TypeError):
        np.add(x, x)
    works: list[Callable[[], object]] = [
        lambda: np.dot(x, x.T), lambda: np.mean(x), lambda: np.sort(x), lambda: np.sum(x),
        lambda: np.concatenate([x, x]), lambda: np.where(True, x, x), lambda: np.linalg.norm(x),
        lambda: np.einsum("ij->i", x), lambda: np.reshape(x, 6), lambda: np.dot(np.ones(2), x),
    ]  # fmt: skip
    for work in works:
        with pytest.raises(TypeError, match=r"^numpy\.\S+ must be given values, got an LNSArray; "):
            work()
    assert np.size(a=x, axis=0) == 2
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert (np.mean(np.asarray(x)), np.array(x).shape) == (np.mean(decode(x)), (2, 3))
    with pytest.raises(ValueError, match=r"^@ must contract equal sizes"):
        x @ x
    with pytest.raises(ValueError, match=r"^@ must be of one or two axes"):
        x.reshape(1, 2, 3) @ x
    with pytest.raises(ValueError, match=r"^b must have a's offset"):
        x + LNSArray(x.code, 7, LNS8)


def test_the_page_on_arithmetic_is_true() -> None:
    """Its examples run, and its table of errors is the one that is computed."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "arithmetic.md").read_text(
        encoding="utf-8"
    )
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(code) == 2
    exec(compile("".join(code), "arithmetic.md", "exec"), {})
    rows = re.findall(r"^\| `([a-z:0-9]+)` \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 7
    for variant, cells in rows:
        formats = ((1, 15), (8, 127), (8, 511), (64, 1023), (2048, 32767))
        errors = [max_error(gamma, variant, distances) for gamma, distances in formats]
        assert cells.split(" | ") == [f"{s:,} / {d:,}" for s, d in errors]


def test_a_sum_of_nothing_keeps_its_scales() -> None:
    """K = 0 with a scale per row and column: zeros at the sums of the scales, as matmul has."""
    rows = LNSArray(np.zeros((3, 1, 0), np.uint8), np.array([[[1]], [[2]], [[3]]], np.int32), LNS8)
    columns = LNSArray(np.zeros((1, 2, 0), np.uint8), np.array([[[10], [20]]], np.int32), LNS8)
    got = dot(rows, columns)
    assert got.code.tolist() == [[0, 0]] * 3
    np.testing.assert_array_equal(got.offset, [[10, 20], [11, 21], [12, 22]])
    plain = LNSArray(np.zeros((3, 0), np.uint8), np.array([[1], [2], [3]], np.int32), LNS8)
    turned = LNSArray(np.zeros((0, 2), np.uint8), np.array([10, 20], np.int32), LNS8)
    datapath = Datapath(accumulator=Accumulator(bits=9, style="log"))
    np.testing.assert_array_equal(matmul(plain, turned, datapath).offset, got.offset)
