"""The GEMM of codes for every pair of codes, one product and sums of several.

Default profile: the named formats of up to eight bits through every style at its defaults. Profile
"thorough" (`make thorough`): every LNSFormat of up to eight bits with eight gammas, every option of
the datapath, and an odd stride of the codes of nine to sixteen bits.

A (codes, 1) times a (1, codes) product meets every pair. What a product is depends on the sum of
the exponents and the sign alone, so the oracle is asked once for each of those; sums of several
products are added again here, from the oracle's terms, constants and Gaussian logarithms.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lnsim.kernels import matmul_counted
from lnsim.lns import (
    FORMATS,
    LNS8,
    Accumulator,
    Datapath,
    FloatArray,
    FloatDatapath,
    FloatFormat,
    IntArray,
    IntDatapath,
    IntFormat,
    LNSArray,
    LNSFormat,
)
from lnsim.lns.accumulator import least_log_bits
from lnsim.lns.datapath import Antilog
from lnsim.lns.oracle import decode_one, dot, gauss_one, term
from lnsim.lns.oracle_ops import nearest_power

Ints = npt.NDArray[np.int64]
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
NAMED = sorted({f for f in FORMATS.values() if isinstance(f, LNSFormat) and f.bits <= 8},
               key=lambda f: f.name)  # fmt: skip
EVERY = [
    LNSFormat(e, gamma, zero)
    for gamma in (1, 2, 4, 8, 16, 64, 256, 4096)  # outermost: S and D of a gamma are kept
    for e in range(2, 8)
    for zero in (True, False)
]
WIDE = [LNSFormat(e, gamma, zero) for e, gamma, zero in
        product(range(8, 16), (8, 64, 2048), (True, False))]  # fmt: skip
SMALL = EVERY if THOROUGH else NAMED
by_format = pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
compared = {"cases": 0, "outputs": 0}


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    """How much was compared (shown by pytest -s)."""
    yield
    print(f"\n{compared['cases']} products of matrices, {compared['outputs']} outputs compared")


def codes(fmt: LNSFormat) -> npt.NDArray[Any]:
    """Every code of up to eight bits; an odd stride of about 256 codes above."""
    step = 1 if fmt.bits <= 8 else 2 ** (fmt.bits - 8) + 1
    return np.arange(0, 2**fmt.bits, step).astype(fmt.code_dtype)


def taken_apart(code: npt.NDArray[Any], fmt: LNSFormat) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """(sign, exponent, whether zero) of codes."""
    sign, e = np.divmod(code.astype(np.int64), 2**fmt.exponent_bits)
    return sign, e, (e == 0) & fmt.zero


def kinds(a: LNSArray, b: LNSArray) -> tuple[Ints, Ints]:
    """For every element of a against every one of b: (exponent p = e_a + e_b, sign); p = -1: zero.

    a: (M,), b: (N,); both results (M, N), in steps of the finer gamma.
    """
    gamma = max(a.fmt.gamma, b.fmt.gamma)
    (s_a, e_a, zero_a), (s_b, e_b, zero_b) = taken_apart(a.code, a.fmt), taken_apart(b.code, b.fmt)
    steps_a, steps_b = e_a * (gamma // a.fmt.gamma), e_b * (gamma // b.fmt.gamma)
    p = np.where(zero_a[:, None] | zero_b, -1, steps_a[:, None] + steps_b)
    return p, s_a[:, None] ^ s_b


@lru_cache(maxsize=256)
def representatives(a: LNSFormat, b: LNSFormat) -> tuple[list[tuple[int, int]], Ints]:
    """One pair of codes for each kind of product, and which of them each pair of codes is."""
    left, right = LNSArray(codes(a), 0, a), LNSArray(codes(b), 0, b)
    p, sign = kinds(left, right)
    _, first, which = np.unique(p * 2 + sign, return_index=True, return_inverse=True)
    rows, columns = np.unravel_index(first, p.shape)
    pairs = zip(left.code[rows].tolist(), right.code[columns].tolist(), strict=True)
    return list(pairs), which.reshape(p.shape)


def assert_one_product(a: LNSFormat, b: LNSFormat, datapath: Datapath) -> None:
    """Every pair of codes through the kernel is what the oracle makes of its kind of product."""
    pairs, which = representatives(a, b)
    wanted = np.array([dot([x], a, [y], b, datapath) for x, y in pairs], np.int64)
    left, right = LNSArray(codes(a)[:, None], 0, a), LNSArray(codes(b)[None, :], 0, b)
    got, overflowed = matmul_counted(left, right, datapath)
    value = got.code if isinstance(got, LNSArray) else got
    np.testing.assert_array_equal(value, wanted[which, 0], err_msg=str(datapath))
    assert overflowed == wanted[which, 1].sum(), datapath
    compared["cases"] += 1
    compared["outputs"] += which.size


def linear_datapaths(gamma: int, style: str) -> Iterator[Datapath]:
    """Antilogs and accumulators of a style: everything that shapes a term."""
    most = min(gamma, 32 if style == "bins" else 4096)
    entries = sorted(n for n in {1, 2, 4, 8, 32, most} if n <= most)
    widths = ((24, 4), (4, 0), (4, 2), (12, 10), (32, 0), (40, 7), (62, 60))
    places = (1, 2, 5, 8, 12, 16) if style == "direct" else (1, 8, 16)
    for count, table_bits, (bits, guard), rounding in product(
        entries, places, widths, ("floor", "toward_zero")
    ):
        if style == "bins" and bits + table_bits + count.bit_length() - 1 > 63:
            continue
        rule = Accumulator(bits, guard, rounding=rounding, style=style)
        yield Datapath(Antilog(count, table_bits), rule)


@by_format
def test_one_product_of_every_pair_stays_a_logarithm(fmt: LNSFormat) -> None:
    """Style "log", in the narrowest accumulator; thorough: in a wider one too."""
    least = least_log_bits(fmt, fmt)
    for bits in {least, least + 3} if THOROUGH else {least}:
        rule = Accumulator(bits=bits, style="log")
        assert_one_product(fmt, fmt, Datapath(accumulator=rule))


@by_format
@pytest.mark.parametrize("style", ["direct", "bins"])
def test_one_product_of_every_pair(fmt: LNSFormat, style: str) -> None:
    """At the defaults; thorough: antilog, width, guard and rounding in every combination."""
    assert_one_product(fmt, fmt, Datapath(accumulator=Accumulator(style=style)))
    if THOROUGH:
        for datapath in linear_datapaths(fmt.gamma, style):
            assert_one_product(fmt, fmt, datapath)


def mixed(a: LNSFormat, b: LNSFormat) -> list[Datapath]:
    """A few datapaths of each style for two formats."""
    finer = max(a.gamma, b.gamma)
    found = [
        Datapath(),
        Datapath(Antilog(min(finer, 4), 5), Accumulator(12, 1, rounding="toward_zero")),
        Datapath(Antilog(1, 16), Accumulator(62, 0)),
        Datapath(Antilog(min(finer, 16), 8), Accumulator(style="bins", guard=0)),
    ]
    if least_log_bits(a, b) <= 15:
        rule = Accumulator(bits=least_log_bits(a, b), style="log")
        found.append(Datapath(accumulator=rule))
    return found


@by_format
def test_one_product_of_two_formats(fmt: LNSFormat) -> None:
    """Of two gammas; thorough: every format against eight others, on either side."""
    start = EVERY.index(fmt)
    others = [EVERY[(start + i) % len(EVERY)] for i in (1, 2, 5, 14, 27, 40, 58, 77)]
    for other in others if THOROUGH else (LNSFormat(4, 2), LNSFormat(6, 16, zero=False)):
        for datapath in mixed(fmt, other):
            assert_one_product(fmt, other, datapath)


@pytest.mark.parametrize("fmt", WIDE if THOROUGH else WIDE[2:4], ids=lambda f: f.name)
def test_one_product_at_an_odd_stride(fmt: LNSFormat) -> None:
    """Nine to sixteen bits: some 200 codes by as many, and by every code of LNS8."""
    for other in (fmt, LNS8):
        for datapath in mixed(fmt, other):
            assert_one_product(fmt, other, datapath)


# --- sums of several products -------------------------------------------------------------------


def summed(a: LNSArray, b: LNSArray, datapath: Datapath) -> tuple[Ints, int]:
    """A linear style's (M, K) times (K, N): groups of lanes, each saturated or wrapped."""
    rule, gamma = datapath.accumulator, max(a.fmt.gamma, b.fmt.gamma)
    entries = datapath.antilog.entries or gamma
    bins = rule.style == "bins"
    pairs, which = representatives(a.fmt, b.fmt)
    table = np.array([_term(x, a.fmt, y, b.fmt, datapath) for x, y in pairs], np.int64)
    p, _ = kinds(LNSArray(codes(a.fmt), 0, a.fmt), LNSArray(codes(b.fmt), 0, b.fmt))
    place = np.where(p < 0, 0, p % gamma // (gamma // entries)) if bins else np.zeros_like(p)
    terms = table[which]
    shape = a.shape[0], b.shape[1]
    total, left = np.zeros(shape, np.int64), np.zeros(shape, bool)
    low, high = -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1
    for m in range(entries if bins else 1):
        here = np.where(place == m, terms, 0)
        acc = np.zeros(shape, np.int64)
        for start in range(0, a.shape[1], rule.lanes):
            for k in range(start, min(start + rule.lanes, a.shape[1])):
                acc += here[np.ix_(a.code[:, k], b.code[k])]
            left |= (acc < low) | (acc > high)
            if rule.overflow == "saturate":
                acc = np.clip(acc, low, high)
            else:  # int64 wraps as well, so the low bits are right
                acc = (acc - low & (1 << rule.bits) - 1) + low
        constant = nearest_power(m, entries, datapath.antilog.table_bits) if bins else 1
        total += constant * acc
    return total, int(left.sum())


def _term(x: int, a: LNSFormat, y: int, b: LNSFormat, datapath: Datapath) -> int:
    (s_x, e_x), (s_y, e_y) = divmod(x, 2**a.exponent_bits), divmod(y, 2**b.exponent_bits)
    return term(e_x, s_x, a, e_y, s_y, b, datapath)


@lru_cache(maxsize=16)
def gauss(gamma: int, bits: int, variant: str) -> tuple[Ints, Ints]:
    """S and D for every distance of two exponents of `bits` bits."""
    sums = [gauss_one(d, gamma, False, variant) for d in range(2**bits)]
    differences = [gauss_one(d, gamma, True, variant) for d in range(1, 2**bits)]
    return np.array(sums, np.int64), np.array([0, *differences], np.int64)


def plus(x: Ints, y: Ints, fmt: LNSFormat, variant: str) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """(x + y as codes of a format with a zero, whether the sum went above its top)."""
    sums, differences = gauss(fmt.gamma, fmt.exponent_bits, variant)
    (s_x, e_x), (s_y, e_y) = (np.divmod(code, 2**fmt.exponent_bits) for code in (x, y))
    distance, large = np.abs(e_x - e_y), np.maximum(e_x, e_y)
    same, sign = s_x == s_y, np.where(e_x > e_y, s_x, s_y)
    e = np.where(same, large + sums[distance], large - differences[distance])
    e = np.where(same | (distance > 0), e, 0)
    stored = np.where(e < 1, 0, np.minimum(e, fmt.max_exponent) + (sign << fmt.exponent_bits))
    result = np.where(e_x == 0, y, np.where(e_y == 0, x, stored))
    return result, (e > fmt.max_exponent) & (e_x > 0) & (e_y > 0)


def log_summed(a: LNSArray, b: LNSArray, datapath: Datapath) -> tuple[Ints, int]:
    """Style "log": running sums of k mod lanes, each from zero, then pairwise."""
    fmt = LNSFormat(datapath.accumulator.bits, max(a.fmt.gamma, b.fmt.gamma))
    lanes, count = datapath.accumulator.lanes, a.shape[1]
    shape = a.shape[0], b.shape[1]
    above = np.zeros(shape, bool)
    sums = []
    for lane in range(min(lanes, count)):
        running = np.zeros(shape, np.int64)
        for k in range(lane, count, lanes):
            p, sign = kinds(a[:, k], b[k])
            entered = np.where(p < 0, 0, p + 1 + (sign << fmt.exponent_bits))
            running, out = plus(running, entered, fmt, datapath.variant)
            above |= out
        sums.append(running)
    while len(sums) > 1:
        pairs = [plus(x, y, fmt, datapath.variant) for x, y in zip(sums[::2], sums[1::2])]  # noqa: B905
        for _, out in pairs:
            above |= out
        sums = [total for total, _ in pairs] + sums[2 * len(pairs) :]
    return sums[0], int(above.sum())


def assert_sums(a: LNSArray, b: LNSArray, datapath: Datapath) -> int:
    """The kernel's sums are those added here; returns how many outputs left the range."""
    style = datapath.accumulator.style
    wanted, left = (log_summed if style == "log" else summed)(a, b, datapath)
    got, overflowed = matmul_counted(a, b, datapath)
    value = got.code if isinstance(got, LNSArray) else got
    np.testing.assert_array_equal(value, wanted, err_msg=str(datapath))
    assert overflowed == left, datapath
    compared["cases"] += 1
    compared["outputs"] += wanted.size
    return left


def several(fmt: LNSFormat, products: int, seed: int) -> tuple[LNSArray, LNSArray]:
    """(codes, K) and (K, codes): every pair meets in the first product, the rest are drawn.

    Half of what is drawn lies in the top octave with mostly one sign, so that sums leave the range.
    """
    rng = np.random.default_rng(seed)
    every = codes(fmt)
    shape = every.size, products - 1

    def drawn() -> npt.NDArray[Any]:
        high = np.maximum(fmt.max_exponent - rng.integers(0, fmt.gamma, shape), 0)
        high |= (rng.random(shape) < 0.2).astype(np.int64) << fmt.exponent_bits
        anywhere = rng.integers(0, 2**fmt.bits, shape)
        rest = np.where(rng.random(shape) < 0.5, high, anywhere)
        return np.concatenate([every[:, None], rest.astype(fmt.code_dtype)], 1)

    return LNSArray(drawn(), 0, fmt), LNSArray(np.ascontiguousarray(drawn().T), 0, fmt)


SUMS = {
    "direct": ((16, 0), (24, 4), (8, 1), (4, 2), (32, 0), (40, 2), (62, 5)),
    "bins": ((16, 0), (24, 4), (8, 1), (40, 2)),
}


@by_format
@pytest.mark.parametrize("style", ["direct", "bins"])
def test_sums_of_several_products(fmt: LNSFormat, style: str) -> None:
    """Every pair of codes and drawn ones beside it: groups, saturation, wrapping, the count."""
    a, b = several(fmt, 9, fmt.bits)
    if not THOROUGH:
        for guard in (0, 4):
            assert_sums(a, b, Datapath(accumulator=Accumulator(guard=guard, style=style)))
        return
    left = 0
    for (bits, guard), lanes, overflow, rounding, entries in product(
        SUMS[style], (1, 2, 4, 9), ("saturate", "wrap"), ("floor", "toward_zero"),
        sorted({min(4, fmt.gamma), min(16, fmt.gamma)}),
    ):  # fmt: skip
        rule = Accumulator(bits, guard, overflow, lanes, rounding, style)
        left += assert_sums(a, b, Datapath(Antilog(entries), rule))
    assert left > 0 or style == "bins"  # a bin of its own may hold what little a small format gives


VARIANTS = ("exact", "mitchell", "table:1", "table:7", "table:64", "interp:1", "interp:6",
            "interp:50")  # fmt: skip


def variants(fmt: LNSFormat) -> tuple[str, ...]:
    """Variants of a fully logarithmic sum; where gamma is large the oracle finds z too slowly."""
    return VARIANTS[: 2 if fmt.gamma > 256 else None]


@by_format
def test_every_sum_of_two_products(fmt: LNSFormat) -> None:
    """Style "log": x times one constant plus another times y, x and y every code; every variant."""
    every = codes(fmt)
    for variant in variants(fmt) if THOROUGH else VARIANTS[:1]:
        for one, two in ((1, 1), (fmt.max_exponent, 2 + 2**fmt.exponent_bits)):
            a = np.stack([every, np.full_like(every, one)], 1)
            b = np.stack([np.full_like(every, two), every])
            rule = Accumulator(bits=least_log_bits(fmt, fmt), style="log")
            operands = LNSArray(a, 0, fmt), LNSArray(b, 0, fmt)
            assert_sums(*operands, Datapath(accumulator=rule, variant=variant))


@by_format
def test_fully_logarithmic_sums_of_several_products(fmt: LNSFormat) -> None:
    """Lanes, widths and variants; 1024 equal products against the narrowest top."""
    least = least_log_bits(fmt, fmt)
    a, b = several(fmt, 9, fmt.bits)
    lanes, widths = ((1, 2, 3, 8, 1024), {least, least + 1}) if THOROUGH else ((1,), {least})
    for variant, count, bits in product(variants(fmt) if THOROUGH else VARIANTS[:1], lanes, widths):
        rule = Accumulator(bits=bits, lanes=count, style="log")
        assert_sums(a, b, Datapath(accumulator=rule, variant=variant))
    # Ten doublings, by hand: 2 top + 1 + 10 gamma against 2^(E+2) - 1.
    many = LNSArray(np.full((1, 1024), fmt.max_exponent, fmt.code_dtype), 0, fmt)
    rule = Accumulator(bits=least, lanes=1024, style="log")
    left = assert_sums(many, many.T, Datapath(accumulator=rule))
    assert left == (10 * fmt.gamma > 2 ** (fmt.exponent_bits + 1))


def test_a_zero_stands_apart_at_the_finest_gamma() -> None:
    """gamma = 4096: 0 + 1 * 1 is 1, though S is not yet 0 at the largest distance of two codes."""
    fmt = LNSFormat(7, 4096)
    rule = Accumulator(bits=least_log_bits(fmt, fmt), style="log")
    assert_one_product(fmt, fmt, Datapath(accumulator=rule))


def test_sums_here_are_the_oracles() -> None:
    """Before it judges: on 400 outputs of each style what is added here is lns.oracle.dot."""
    fmt, rng = LNSFormat(4, 16), np.random.default_rng(3)
    code = rng.integers(9, 16, (2, 20, 24)) | (rng.random((2, 20, 24)) < 0.1) * 16
    code[rng.random(code.shape) < 0.1] = 0
    x, y = (LNSArray(np.array(part, np.uint8), 0, fmt) for part in (code[0], code[1].T))
    rules = [
        Accumulator(8, 1, lanes=2),
        Accumulator(8, 1, "wrap", rounding="toward_zero"),
        Accumulator(9, 0, style="bins", lanes=3),
        Accumulator(bits=6, style="log", lanes=2),
        Accumulator(bits=6, style="log"),
    ]
    for rule in rules:
        datapath = Datapath(Antilog(2 if rule.style == "bins" else None), rule)
        wanted = [
            [dot(row, fmt, column, fmt, datapath) for column in y.code.T.tolist()]
            for row in x.code.tolist()
        ]
        expected = np.array(wanted, np.int64)
        got, left = (log_summed if rule.style == "log" else summed)(x, y, datapath)
        np.testing.assert_array_equal(got, expected[..., 0])
        assert left == expected[..., 1].sum() > 0


# --- the baselines ------------------------------------------------------------------------------

FLOATS = sorted({f for f in FORMATS.values() if isinstance(f, FloatFormat) and f.bits <= 8},
                key=lambda f: f.name)  # fmt: skip
INTS = [f for f in FORMATS.values() if isinstance(f, IntFormat)]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_one_product_of_every_pair_of_floats(fmt: FloatFormat) -> None:
    """fp32 accumulator: the exact product, which fp32 holds; fixed point: the oracle's units as
    Python integers, shifted by the difference of widths."""
    every = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    value = np.array([float(decode_one(int(c), 0, fmt)) for c in every])
    with np.errstate(invalid="ignore"):
        exact = value[:, None] * value
    left, right = FloatArray(every[:, None], 0, fmt), FloatArray(every[None, :], 0, fmt)
    got, overflowed = matmul_counted(left, right, FloatDatapath())
    np.testing.assert_array_equal(got, exact + 0.0)  # +0 + (-0) is +0
    assert overflowed == (~np.isfinite(exact)).sum()
    finite = every[np.isfinite(value)]
    unit = float(decode_one(1, 0, fmt))
    units = [int(float(decode_one(int(c), 0, fmt)) / unit) for c in finite]
    largest = max(units) ** 2
    for rule in (Accumulator(), Accumulator(12, 3, rounding="toward_zero")):
        places = max(0, largest.bit_length() - (rule.bits - 1 - rule.guard))
        scale = 1 << places
        wanted = [
            [x * y // scale if rule.rounding == "floor" else int_towards_zero(x * y, scale)
             for y in units] for x in units
        ]  # fmt: skip
        pair = FloatArray(finite[:, None], 0, fmt), FloatArray(finite[None, :], 0, fmt)
        got, overflowed = matmul_counted(*pair, FloatDatapath(rule))
        np.testing.assert_array_equal(got, wanted)
        assert overflowed == 0
        compared["cases"] += 1
        compared["outputs"] += got.size


def int_towards_zero(x: int, scale: int) -> int:
    """x / scale without its fraction."""
    return -(-x // scale) if x < 0 else x // scale


@pytest.mark.parametrize("fmt", INTS, ids=lambda f: f.name)
def test_one_product_of_every_pair_of_integers(fmt: IntFormat) -> None:
    """The exact product, and the same shifted to fit a narrow accumulator."""
    every = np.arange(fmt.min_value, fmt.max_value + 1).astype(fmt.code_dtype)
    exact = np.multiply.outer(every.astype(np.int64), every.astype(np.int64))
    left, right = IntArray(every[:, None], 0, fmt), IntArray(every[None, :], 0, fmt)
    np.testing.assert_array_equal(matmul_counted(left, right, IntDatapath())[0], exact)
    bits = int(exact.max()).bit_length()
    for guard, rounding in product((0, 3), ("floor", "toward_zero")):
        rule = Accumulator(10, guard, rounding=rounding)
        places = max(0, bits - (9 - guard))
        wanted = exact >> places if rounding == "floor" else np.sign(exact) * (abs(exact) >> places)
        got, overflowed = matmul_counted(left, right, IntDatapath(rule))
        np.testing.assert_array_equal(got, wanted)
        assert overflowed == 0
