"""Codes one by one and pair by pair: codec, arithmetic and requantisation against the oracle.

Default profile: the named formats of up to eight bits at their defaults. Profile "thorough" (`make
thorough`): every LNSFormat of up to eight bits with eight gammas, every rounding and variant, every
small float and integer format, and an odd stride of the codes of nine to sixteen bits with sums in
two variants, "exact" and "mitchell".
`test_exhaustive_gemm` does the same for products of matrices.

All pairs of codes meet by broadcasting. What a product or quotient is depends on one number and the
sign alone, so the oracle is asked once for each; sums are made again here from its S and D.
"""

import os
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lnsim import kernels
from lnsim.kernels import quantise
from lnsim.lns import (
    FORMATS,
    FloatArray,
    FloatFormat,
    IntArray,
    IntFormat,
    LNSArray,
    LNSFormat,
    absolute,
    add,
    compare,
    decode,
    div,
    encode,
    mul,
    neg,
    requantise,
    sqrt,
    square,
    sub,
    total,
)
from lnsim.lns.codec import ROUNDINGS
from lnsim.lns.format import ENCODINGS
from lnsim.lns.oracle import (
    add_one,
    decode_one,
    div_one,
    encode_one,
    gauss_one,
    mul_one,
    requantise_one,
    sqrt_one,
    sub_one,
    total_one,
)
from lnsim.lns.oracle_ops import nearest_power

Ints = npt.NDArray[np.int64]
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
NAMED = sorted(
    {f for f in FORMATS.values() if isinstance(f, LNSFormat) and f.bits <= 8}, key=lambda f: f.name
)
GAMMAS = (1, 2, 4, 8, 16, 64, 256, 4096)
EVERY = [
    LNSFormat(e, gamma, zero)
    for gamma, e, zero in product(GAMMAS, range(2, 8), (True, False))  # S and D are kept
]
WIDE = [LNSFormat(*case) for case in product(range(8, 16), (8, 64, 2048), (True, False))]
SMALL = EVERY if THOROUGH else NAMED
BOTH = [*SMALL, *(WIDE if THOROUGH else WIDE[2:4])]
VARIANTS = ("exact", "mitchell", *(f"{kind}:{n}" for kind, n in
            product(("table", "interp"), (1, 2, 3, 8, 33, 128, 32768))))  # fmt: skip
small_formats = pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
all_formats = pytest.mark.parametrize("fmt", BOTH, ids=lambda f: f.name)
compared = {"results": 0}


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    """How much was compared (shown by pytest -s)."""
    yield
    print(f"\n{compared['results']} results compared")


def assert_same(got: Any, wanted: Any, note: object = "") -> None:
    """Equal arrays of integers; counts them."""
    np.testing.assert_array_equal(got, wanted, err_msg=str(note))
    compared["results"] += np.size(wanted)


def every(fmt: LNSFormat, offset: int = 0) -> LNSArray:
    """Every code of up to eight bits, the negative zero among them; an odd stride above."""
    step = 1 if fmt.bits <= 8 else 2 ** (fmt.bits - 8) + 1
    return LNSArray(np.arange(0, 2**fmt.bits, step).astype(fmt.code_dtype), offset, fmt)


def column(array: LNSArray) -> LNSArray:
    return LNSArray(array.code[:, None], array.offset, array.fmt)


def parts(array: LNSArray) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """(sign, stored exponent, whether zero)."""
    sign, e = np.divmod(array.code.astype(np.int64), 2**array.fmt.exponent_bits)
    return sign, e, (e == 0) & array.fmt.zero


def by_kind(
    x: LNSArray, key: Callable[[Ints, Ints], Ints], one: Callable[[int, int], int]
) -> tuple[Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """`one` of every pair of codes, asked once for each (key, sign); where either code is zero."""
    sign, e, zero = parts(x)
    kind = key(e[:, None], e) * 4 + (sign[:, None] ^ sign)
    zeros = np.broadcast_to(zero[:, None], kind.shape), np.broadcast_to(zero, kind.shape)
    kind = np.where(zeros[1], 2**40, np.where(zeros[0], 2**40 + 1, kind))
    _, first, which = np.unique(kind, return_index=True, return_inverse=True)
    rows, columns = np.unravel_index(first, kind.shape)
    pairs = zip(x.code[rows].tolist(), x.code[columns].tolist(), strict=True)
    return np.array([one(a, b) for a, b in pairs])[which.reshape(kind.shape)], *zeros


# --- arithmetic ---------------------------------------------------------------------------------


@all_formats
def test_products_and_quotients(fmt: LNSFormat) -> None:
    """All pairs, at targets where results saturate, fit and flush, and at the default one."""
    half, top = 2 ** (fmt.exponent_bits - 1), fmt.max_exponent
    x, own = every(fmt, 3), (3, fmt)
    for offset in (3 + half, 6, 6 + top, None):
        got = mul(column(x), x, offset=offset)
        new = int(got.offset)
        wanted, _, _ = by_kind(
            x, np.add, lambda a, b: mul_one(a, *own, b, *own, fmt, new)  # noqa: B023
        )  # fmt: skip
        assert_same(got.code, wanted, offset)
        assert offset is not None or new % fmt.gamma == 0
    divisor = LNSArray(x.code[~parts(x)[2]], 3, fmt)
    for offset in (-half, 0, -top, top // 2, None):
        got = div(column(x), divisor, offset=offset)
        new = int(got.offset)

        def one(a: int, b: int) -> int:
            is_zero = fmt.zero and b % 2**fmt.exponent_bits == 0
            return -1 if is_zero else div_one(a, *own, b, *own, fmt, new)  # noqa: B023

        wanted, _, _ = by_kind(x, lambda a, b: a - b + 2 * top, one)
        assert_same(got.code, wanted[:, ~parts(x)[2]], offset)


@all_formats
def test_squares_roots_signs_and_comparisons(fmt: LNSFormat) -> None:
    """One operand: the oracle for each code; comparisons by exact sign and exponent."""
    x = every(fmt, -5)
    code = x.code.tolist()
    sign, e, zero = parts(x)
    positive = LNSArray(x.code[x.code <= fmt.max_exponent], -5, fmt)
    for offset in (0, -9, 4, None):
        got = square(x, offset=offset)
        new = int(got.offset)
        assert_same(got.code, [mul_one(c, -5, fmt, c, -5, fmt, fmt, new) for c in code])
        got = sqrt(positive, offset=offset)
        new = int(got.offset)
        assert_same(got.code, [sqrt_one(c, -5, fmt, fmt, new) for c in positive.code.tolist()])
    assert_same(neg(x).code, np.where(zero, 0, x.code.astype(int) ^ 2**fmt.exponent_bits))
    assert_same(absolute(x).code, e)
    size = np.where(zero, 0, (e + 1) * (1 - 2 * sign))
    assert_same(compare(column(x), x), np.sign(size[:, None] - size))


def gauss(distance: Ints, gamma: int, opposite: bool, variant: str) -> Ints:
    """The oracle's S or D at every distance that occurs; D(0) is not used."""
    seen, which = np.unique(distance, return_inverse=True)
    steps = [gauss_one(d, gamma, opposite, variant) if d or not opposite else 0
             for d in seen.tolist()]  # fmt: skip
    return np.array(steps, np.int64)[which.reshape(distance.shape)]


def summed(x: LNSArray, y: LNSArray, variant: str) -> Ints:
    """Codes of x + y: the larger exponent and S or -D, stored."""
    fmt = x.fmt
    (s_x, e_x, zero_x), (s_y, e_y, zero_y) = parts(x), parts(y)
    distance, large, same = np.abs(e_x - e_y), np.maximum(e_x, e_y), s_x == s_y
    sums, differences = (gauss(distance, fmt.gamma, kind, variant) for kind in (False, True))
    e = np.where(same, large + sums, large - differences)
    sign = np.where(e_x > e_y, s_x, s_y) << fmt.exponent_bits
    low = 1 if fmt.zero else 0
    stored = np.where((e < low) & fmt.zero, 0, np.clip(e, 0, fmt.max_exponent) + sign)
    stored = np.where(~same & (distance == 0), 0, stored)
    one_of = np.where(zero_x, np.where(zero_y, 0, y.code), x.code)
    return np.where(zero_x | zero_y, one_of, stored)


@all_formats
def test_sums_and_differences(fmt: LNSFormat) -> None:
    """All pairs; thorough: in every variant, above eight bits in the two without a number."""
    x = every(fmt, 5)
    variants = VARIANTS if THOROUGH else VARIANTS[:1]
    for variant in variants if fmt.bits <= 8 else VARIANTS[:2]:
        got = add(column(x), x, variant)
        assert_same(got.code, summed(column(x), x, variant), variant)
        assert got.offset == 5
        flipped = LNSArray(neg(x).code, 5, fmt)
        assert_same(sub(column(x), x, variant).code, summed(column(x), flipped, variant), variant)


@pytest.mark.parametrize("zero", [True, False])
def test_sums_here_are_the_oracles(zero: bool) -> None:
    """Before it judges: every pair of small formats, an odd stride of pairs of LNS(7, 8)."""
    for fmt, step in ((LNSFormat(3, 2, zero), 1), (LNSFormat(4, 8, zero), 1), (LNSFormat(7, 8), 7)):
        x = LNSArray(every(fmt).code[::step], 0, fmt)
        for variant in ("exact", "mitchell", "table:3", "interp:3"):
            wanted = [[add_one(a, b, fmt, variant) for b in x.code.tolist()]
                      for a in x.code.tolist()]  # fmt: skip
            np.testing.assert_array_equal(summed(column(x), x, variant), wanted)
            wanted = [[sub_one(a, b, fmt, variant) for b in x.code.tolist()]
                      for a in x.code.tolist()]  # fmt: skip
            np.testing.assert_array_equal(summed(column(x), neg(x), variant), wanted)


TRIPLES = [LNSFormat(*case) for case in product((2, 3), GAMMAS[:5], (True, False))]


@pytest.mark.parametrize("fmt", TRIPLES if THOROUGH else TRIPLES[::7], ids=lambda f: f.name)
def test_sums_of_every_triple(fmt: LNSFormat) -> None:
    """Three codes in each order, saturating and flushing on the way."""
    code = np.arange(2**fmt.bits)
    triples = np.stack(np.meshgrid(code, code, code, indexing="ij"), -1).reshape(-1, 3)
    x = LNSArray(triples.astype(fmt.code_dtype), 0, fmt)
    orders = ("sequential", "tree", "lanes:2") if THOROUGH else ("lanes:2",)
    for order, variant in product(orders, VARIANTS[:4] if THOROUGH else VARIANTS[:1]):
        wanted = [total_one(t, fmt, order, variant) for t in triples.tolist()]
        assert_same(total(x, -1, order, variant).code, wanted, (order, variant))


@all_formats
def test_requantisation(fmt: LNSFormat) -> None:
    """All codes to some formats (thorough: to each), on and off the target's grid; kernel too."""
    for target in BOTH if THOROUGH else (LNSFormat(4, 2), LNSFormat(7, 64, zero=False)):
        for offset, new in ((0, 0), (3, -5), (-21, 6), (-fmt.max_exponent, None)):
            x = every(fmt, offset)
            got = requantise(x, target, new)
            settled = int(got.offset)
            wanted = [requantise_one(c, offset, fmt, target, settled) for c in x.code.tolist()]
            assert_same(got.code, wanted, (target, offset, new))
            fast, _ = kernels.requantise(x, target, new)
            assert_same(fast.code, wanted, (target, offset, new))
            assert fast.offset == settled


# --- codec --------------------------------------------------------------------------------------


def power(n: int, root: int) -> float:
    """2^(n/root) to the nearest float64, a normal one."""
    octave, rest = divmod(n, root)
    return nearest_power(rest, root, 52) * 2.0 ** (octave - 52)


def beside(values: list[float]) -> npt.NDArray[np.float64]:
    """Each value, the doubles below and above it, and the negatives of all."""
    x = np.array(values)
    x = np.concatenate([x, np.nextafter(x, 0), np.nextafter(x, 1e300)])
    return np.concatenate([[0.0], x, -x])


def boundaries(fmt: LNSFormat) -> npt.NDArray[np.float64]:
    """float64 around every value, every midpoint of logarithms and every midpoint of values.

    From two steps below the lowest exponent at offset 0 to two above the top.
    """
    low = -2 if fmt.bits <= 8 else 0
    step = 1 if fmt.bits <= 8 else 2 ** (fmt.bits - 6) + 1
    near = np.unique(np.append(np.arange(low, fmt.max_exponent + 3, step), fmt.max_exponent))
    found = []
    for e in near[near < 1000 * fmt.gamma].tolist():
        here, after = power(e, fmt.gamma), power(e + 1, fmt.gamma)
        found += [here, power(2 * e + 1, 2 * fmt.gamma), here / 2 + after / 2]
    return beside(found)


@all_formats
def test_encoding_at_every_boundary(fmt: LNSFormat) -> None:
    """All roundings; lns.encode and the kernel on float64 and float32."""
    x = boundaries(fmt)
    single = np.unique(x[np.abs(x) < 1e38].astype(np.float32))
    offsets = (0, -7) if fmt.gamma == 1 else (0,)  # which exponent is even counts at gamma 1 alone
    for rounding, offset in product(ROUNDINGS[:3] if THOROUGH else ROUNDINGS[:1], offsets):
        moved = np.ldexp(x, offset)
        wanted = [encode_one(v, fmt, offset, rounding) for v in moved.tolist()]
        assert_same(encode(moved, fmt, offset, rounding).code, wanted, (rounding, offset))
        assert_same(quantise(moved, fmt, offset, rounding)[0].code, wanted, (rounding, offset))
        if offset == 0:
            wanted = [encode_one(float(v), fmt, 0, rounding) for v in single]
            assert_same(encode(single, fmt, 0, rounding).code, wanted, rounding)
            assert_same(quantise(single, fmt, 0, rounding)[0].code, wanted, rounding)


@all_formats
def test_stochastic_encoding_at_every_boundary(fmt: LNSFormat) -> None:
    """Floor and carry of the drawn bits: an odd stride of the same numbers, two widths of bits."""
    x = boundaries(fmt)[:: 1 if fmt.exponent_bits < 4 else 37]
    for random_bits in (1, 3, 8, 16) if THOROUGH else (8,):
        draws = np.random.default_rng(5).integers(0, 1 << random_bits, x.shape).tolist()
        wanted = [encode_one(v, fmt, -3, "stochastic", draw, random_bits)
                  for v, draw in zip(x.tolist(), draws, strict=True)]  # fmt: skip
        for coder in (encode, lambda *args: quantise(*args[:5], random_bits=args[5])[0]):
            generator = np.random.default_rng(5)
            got = coder(x, fmt, -3, "stochastic", generator, random_bits)  # type: ignore[operator]
            assert_same(got.code, wanted, random_bits)


@all_formats
def test_decoding_and_back(fmt: LNSFormat) -> None:
    """Every value within float64 is the oracle's and encodes to its code, but for a negative zero;
    as float32 it is the nearest one."""
    for offset in (0, -(2 ** (fmt.exponent_bits - 1)), 3 - fmt.max_exponent):
        x = every(fmt, offset)
        x = x[np.abs(parts(x)[1] + offset) < 1000 * fmt.gamma]
        value = decode(x)
        assert_same(value, [decode_one(c, offset, fmt) for c in x.code.tolist()], offset)
        canonical = np.where(parts(x)[2], 0, x.code)
        for rounding in ("nearest", "nearest_value"):
            assert_same(encode(value, fmt, offset, rounding).code, canonical, (offset, rounding))
        normal = x[np.abs(parts(x)[1] + offset) < 126 * fmt.gamma]
        single = [nearest_single(c, offset, fmt) for c in normal.code.tolist()]
        assert_same(kernels.decode(normal), np.array(single, np.float32), offset)


def nearest_single(code: int, offset: int, fmt: LNSFormat) -> float:
    """The nearest float32 to a code's exact value, away from the ends of its range."""
    sign, e = divmod(code, 2**fmt.exponent_bits)
    if fmt.zero and e == 0:
        return 0.0
    octave, rest = divmod(e + offset, fmt.gamma)
    return (-1) ** sign * nearest_power(rest, fmt.gamma, 23) * 2.0 ** (octave - 23)


def small_floats() -> list[FloatFormat]:
    """The named formats of up to eight bits; thorough: every one there is."""
    if not THOROUGH:
        return [f for f in FORMATS.values() if isinstance(f, FloatFormat) and f.bits <= 8]
    return [
        FloatFormat(e, m, encoding, overflow)
        for e, m, encoding, overflow in product(
            range(2, 7), range(1, 6), ENCODINGS, ("saturate", "infinity")
        )
        if e + m <= 7 and (encoding, overflow) != ("finite", "infinity")
    ]


@pytest.mark.parametrize("fmt", small_floats(), ids=lambda f: f.name)
def test_small_floats(fmt: FloatFormat) -> None:
    """Every value; every value, midpoint and neighbour back; infinities, NaNs and signed zeros."""
    code = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    value = decode(FloatArray(code, 0, fmt))
    wanted = np.array([float(decode_one(int(c), 0, fmt)) for c in code])
    assert_same(value, wanted)
    number = ~np.isnan(value)
    assert (np.signbit(value) == np.signbit(wanted))[number].all()
    finite = np.unique(np.abs(value[np.isfinite(value)]))
    top = float(finite[-1])
    points = [
        *finite,
        *((finite[1:] + finite[:-1]) / 2),
        top * (1 + 2.0 ** -(fmt.mantissa_bits + 2)),
    ]
    x = np.concatenate([beside(points), [-0.0, 2 * top, np.inf, -np.inf]])
    if fmt.encoding != "finite":
        x = np.append(x, np.nan)
    for offset in (0, 3):
        codes = [encode_one(v, fmt, offset) for v in x.tolist()]
        assert_same(encode(x, fmt, offset).code, codes, offset)
        assert_same(quantise(x, fmt, offset)[0].code, codes, offset)


@pytest.mark.parametrize("bits", range(2, 9) if THOROUGH else (4, 8))
def test_small_integers(bits: int) -> None:
    """Every value; every value, midpoint and neighbour back, beyond both ends too."""
    fmt = IntFormat(bits)
    code = np.arange(fmt.min_value, fmt.max_value + 1)
    for offset in (0, -4):
        array = IntArray(code.astype(fmt.code_dtype), offset, fmt)
        assert_same(decode(array), [float(decode_one(c, offset, fmt)) for c in code.tolist()])
        x = beside(np.ldexp(np.arange(0, 2**bits) / 2, offset).tolist())
        wanted = [encode_one(v, fmt, offset) for v in x.tolist()]
        assert_same(encode(x, fmt, offset).code, wanted, offset)
        assert_same(quantise(x, fmt, offset)[0].code, wanted, offset)
