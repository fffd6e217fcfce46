"""The datapath's frozen values: derived integers against the oracle's, values, refusals."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product

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
    LNS16_UPDATE,
    Accumulator,
    Antilog,
    Datapath,
    FloatArray,
    FloatDatapath,
    FloatFormat,
    IntArray,
    IntDatapath,
    IntFormat,
    LNSArray,
    LNSFormat,
    decode,
)
from lnsim.lns.oracle import dot, resolve_one, term
from lnsim.lns.testing import datapaths, lns_formats


def one(code: int, fmt: LNSFormat, offset: int = 0) -> LNSArray:
    """A 1 x 1 array."""
    return LNSArray(np.array([[code]], fmt.code_dtype), offset, fmt)


# --- resolve ------------------------------------------------------------------------------------


def test_the_constants_by_hand() -> None:
    """G = 8, T = 8: RN(256 * 2^(m/8)); B = 40 and D = 21 for W = 24, guard 4."""
    mac = Datapath().resolve(LNS8, LNS8)
    assert mac.constants == (256, 279, 304, 332, 362, 395, 431, 470)
    assert mac.mantissa == mac.constants
    assert (mac.product_bits, mac.shift, mac.max_sum) == (40, 21, 254)
    assert (mac.gamma, mac.ratio_a, mac.ratio_b, mac.entries) == (8, 1, 1, 8)


def test_mitchell_and_the_hybrid_by_hand() -> None:
    """L = 1 is 2^T (1 + r/G); L = 2 has a straight line to each constant; bins keep G + l."""
    mitchell = Datapath(Antilog(1, 8)).resolve(LNS8, LNS8)
    assert mitchell.mantissa == (256, 288, 320, 352, 384, 416, 448, 480)
    hybrid = Datapath(Antilog(2, 8)).resolve(LNS8, LNS8)
    assert hybrid.constants == (256, 362)
    assert hybrid.mantissa == (256, 288, 320, 352, 362, 407, 452, 497)
    bins = Datapath(Antilog(2, 8), Accumulator(style="bins")).resolve(LNS8, LNS8)
    assert bins.mantissa == (8, 9, 10, 11, 8, 9, 10, 11)
    assert bins.product_bits == 4 + 31


SMALL = [
    LNSFormat(e, g, zero) for e, g in ((2, 1), (3, 4), (4, 16), (5, 2)) for zero in (True, False)
]
ANTILOGS = [Antilog(1, 1), Antilog(1, 8), Antilog(2, 1), Antilog(2, 3), Antilog(4, 1), Antilog()]


@pytest.mark.parametrize("style", ["direct", "bins"])
@pytest.mark.parametrize("antilog", ANTILOGS, ids=str)
def test_no_pair_of_codes_exceeds_the_product_bits(antilog: Antilog, style: str) -> None:
    """B is the bit length of the largest magnitude over all pairs, found by trying every pair."""
    # W = 62 keeps every place of these products: the oracle's term is the magnitude itself
    bits = 62 - (antilog.table_bits + 4 if style == "bins" else 0)
    datapath = Datapath(antilog, Accumulator(bits=bits, guard=0, style=style))
    for a, b in product(SMALL, SMALL):
        if (antilog.entries or 1) > max(a.gamma, b.gamma):
            continue
        mac = datapath.resolve(a, b)
        largest = max(
            term(e_a, 0, a, e_b, 0, b, datapath)
            for e_a in range(2**a.exponent_bits)
            for e_b in range(2**b.exponent_bits)
        )
        assert mac.shift == 0
        assert largest.bit_length() == mac.product_bits
        assert (mac.product_bits, mac.shift) == resolve_one(a, b, datapath)


@given(st.data(), lns_formats(max_gamma=512), lns_formats(max_gamma=512))
def test_resolve_equals_the_oracle(data: st.DataObject, a: LNSFormat, b: LNSFormat) -> None:
    """B, D and every M(r), for any two formats, antilog and accumulator."""
    gamma = max(a.gamma, b.gamma)
    datapath = data.draw(datapaths(gamma))
    mac = datapath.resolve(a, b)
    assert (mac.product_bits, mac.shift) == resolve_one(a, b, datapath)
    assert (mac.gamma, mac.ratio_a * a.gamma, mac.ratio_b * b.gamma) == (gamma, gamma, gamma)
    assert len(mac.mantissa) == gamma
    for _ in range(4):
        e_a = data.draw(st.integers(a.min_exponent, a.max_exponent))
        e_b = data.draw(st.integers(b.min_exponent, b.max_exponent))
        q, r = divmod(e_a * mac.ratio_a + e_b * mac.ratio_b, gamma)
        for sign in (0, 1):
            magnitude = (mac.mantissa[r] << q) >> mac.shift
            exact = -(mac.mantissa[r] << q) if sign else mac.mantissa[r] << q
            floor = datapath.accumulator.rounding == "floor"
            wanted = exact >> mac.shift if floor else (-magnitude if sign else magnitude)
            assert term(e_a, sign, a, e_b, 0, b, datapath) == wanted


def test_resolve_at_the_finest_gamma() -> None:
    """G = 4096 with a full table, two coarser mates and a hybrid of 64 constants."""
    fine = LNSFormat(15, 4096)
    for mate in (LNS8, LNSFormat(15, 1, zero=False), LNS16_UPDATE):
        for antilog in (Antilog(64, 12), Antilog(1, 16)):
            datapath = Datapath(antilog)
            mac = datapath.resolve(mate, fine)
            assert (mac.product_bits, mac.shift) == resolve_one(mate, fine, datapath)
    assert len(set(Datapath(Antilog(None, 16)).resolve(fine, fine).constants)) == 4096


def test_more_entries_than_gamma_are_refused() -> None:
    """L must not exceed the finer gamma of the pair; None follows the pair."""
    with pytest.raises(ValueError, match=r"^entries must be at most gamma = 8, got 16$"):
        Datapath(Antilog(16)).resolve(LNS8, LNSFormat(7, 4))
    assert Datapath(Antilog()).resolve(LNS8, LNSFormat(7, 4)).entries == 8
    with pytest.raises(TypeError, match=r"^b must be of type LNSFormat, got .*$"):
        Datapath().resolve(LNS8, INT8)  # type: ignore[arg-type]


# --- values of results --------------------------------------------------------------------------


@given(st.data(), lns_formats(max_exponent_bits=6, max_gamma=8))
def test_to_real_is_the_value_of_the_accumulator(data: st.DataObject, fmt: LNSFormat) -> None:
    """A single product at full width: to_real differs from a * b by the antilog's error only."""
    datapath = Datapath(
        Antilog(None, 16), Accumulator(bits=data.draw(st.integers(40, 46)), guard=2)
    )
    a, b = (data.draw(st.integers(fmt.min_exponent, fmt.max_exponent)) for _ in "ab")
    offsets = [data.draw(st.integers(-40, 40)) for _ in "ab"]
    left, right = one(a, fmt, offsets[0]), one(b, fmt, offsets[1])
    mac = datapath.resolve(fmt, fmt)
    acc, _ = dot([a], fmt, [b], fmt, datapath)
    value = datapath.to_real(np.array([[acc]]), left, right)
    exact = decode(left) * decode(right)
    unit = 2.0 ** (mac.shift - 16) * 2.0 ** (sum(offsets) / fmt.gamma)
    # half a unit of T = 16 in the constant, one unit lost by the shift
    assert abs(value - exact)[0, 0] <= exact[0, 0] * 2.0**-17 + unit


def test_to_real_by_hand() -> None:
    """acc * 2^(D-T) * 2^(offsets), and bins divided by a further G."""
    a, b = one(1, LNS8, -8), one(1, LNS8, 20)
    acc = np.array([[3]])
    direct = Datapath().to_real(acc, a, b)[0, 0]
    assert direct == 3 * 2.0 ** (21 - 8 + 1) * 2**0.5
    bins = Datapath(accumulator=Accumulator(style="bins"))
    places = bins.resolve(LNS8, LNS8).shift - 8 - 3 + 1
    assert bins.to_real(acc, a, b)[0, 0] == 3 * 2.0**places * 2**0.5
    rows = LNSArray(np.ones((2, 1), np.uint8), np.array([[0], [8]], np.int32), LNS8)
    values = Datapath().to_real(np.array([[1, 1], [1, 1]]), rows, one(1, LNS8))
    assert (values[1] == 2 * values[0]).all()
    coarse = Datapath().to_real(acc, one(1, LNSFormat(7, 2), 2), b)[0, 0]
    mac = Datapath().resolve(LNSFormat(7, 2), LNS8)
    assert coarse == 3 * 2.0 ** (mac.shift - 8 + 1 + 2) * 2**0.5


def test_float_and_integer_results_by_hand() -> None:
    """Float: the operands' powers of two; fixed: also the units; integers: also D."""
    a = FloatArray(np.array([[1]], np.uint8), 3, FP8_E4M3)
    assert FloatDatapath().to_real(np.float32([[1.5]]), a, a)[0, 0] == 1.5 * 64
    fixed = FloatDatapath(Accumulator(bits=24, guard=4))
    # E4M3: 448 is 229376 units of 2^-9; 229376^2 has 36 bits, W - 1 - guard = 19
    assert fixed.shift(FP8_E4M3, FP8_E4M3) == 36 - 19
    assert fixed.to_real(np.array([[5]]), a, a)[0, 0] == 5 * 2.0 ** (17 - 18 + 6)
    x = IntArray(np.array([[1]], np.int8), -2, INT8)
    assert IntDatapath().shift(INT8, INT8) == 0
    narrow = IntDatapath(Accumulator(bits=10, guard=2))
    assert narrow.shift(INT8, INT8) == 15 - 7  # 128 * 128 has 15 bits
    assert narrow.to_real(np.array([[3]]), x, x)[0, 0] == 3 * 2.0 ** (8 - 4)
    assert FloatDatapath(FP16).shift(FP8_E4M3, FP8_E5M2) == 0


@pytest.mark.parametrize("fmt", [FP8_E4M3, FP8_E5M2, FP16, BF16, FP32, FloatFormat(2, 1, "fn")])
def test_the_fixed_shift_leaves_room_for_the_largest_product(fmt: FloatFormat) -> None:
    """D brings max * max, in units of the smallest product, to exactly W - 1 - guard bits."""
    accumulator = Accumulator(bits=12, guard=3)
    units = Fraction(fmt.max_value) ** 2 / Fraction(2) ** (2 * fmt.min_scale)
    assert units.denominator == 1
    places = FloatDatapath(accumulator).shift(fmt, fmt)
    assert (int(units) >> places).bit_length() == min(8, int(units).bit_length())


LOG = Datapath(accumulator=Accumulator(9, style="log"))
SUMS = LNSFormat(9, 8)


def test_real_values_of_style_log() -> None:
    """The sums decoded, scales of rows and columns too; beyond float64 they are refused."""
    row = np.array([[0], [8]], np.int32)
    a, b = LNSArray(np.ones((2, 1), np.uint8), row, LNS8), one(1, LNS8, 16)
    sums = LNSArray(np.full((2, 1), 3, np.uint16), row + 15, SUMS)
    assert LOG.to_real(sums, a, b).tolist() == decode(sums).tolist()
    assert LOG.to_real(sums, a, b)[:, 0].tolist() == [2**2.25, 2**3.25]
    far = one(1, LNS8, 2**14)
    with pytest.raises(OverflowError, match=r"^array must be below 2\^1024 to be decoded, got 2\^"):
        LOG.to_real(LNSArray(np.full((1, 1), 3, np.uint16), 2**15 - 1, SUMS), far, far)
    assert Datapath().to_real(np.ones((1, 1), np.int64), far, far).tolist() == [[np.inf]]
    with pytest.raises(TypeError, match=r"^guard must be an integer, got False$"):
        Accumulator(9, guard=False, style="log")
    kept = replace(LOG.accumulator, lanes=2)
    assert (kept.guard, type(kept.guard), kept.overflow) == (0, int, "saturate")
    assert type(Accumulator(9, guard=np.int8(0), style="log").guard) is int  # type: ignore[arg-type]


# --- refusals -----------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Antilog(3), ValueError, "entries must be a power of two, got 3"),
    (lambda: Antilog(8192), ValueError, r"entries must be in 1\.\.4096, got 8192"),
    (lambda: Antilog(8, 0), ValueError, r"table_bits must be in 1\.\.16, got 0"),
    (lambda: Antilog(8, 17), ValueError, r"table_bits must be in 1\.\.16, got 17"),
    (lambda: Accumulator(3), ValueError, r"bits must be in 4\.\.62, got 3"),
    (lambda: Accumulator(63), ValueError, r"bits must be in 4\.\.62, got 63"),
    (lambda: Accumulator(8, 7), ValueError, r"guard must be in 0\.\.6, got 7"),
    (lambda: Accumulator(8, -1), ValueError, r"guard must be in 0\.\.6, got -1"),
    (
        lambda: Accumulator(overflow="clip"),
        ValueError,
        "overflow must be one of saturate, wrap, got 'clip'",
    ),
    (lambda: Accumulator(lanes=0), ValueError, r"lanes must be in 1\.\.1024, got 0"),
    (lambda: Accumulator(lanes=1025), ValueError, r"lanes must be in 1\.\.1024, got 1025"),
    (
        lambda: Accumulator(rounding="nearest"),
        ValueError,
        "rounding must be one of floor, toward_zero, got 'nearest'",
    ),
    (
        lambda: Accumulator(style="tree"),
        ValueError,
        "style must be one of bins, direct, log, got 'tree'",
    ),
    (
        lambda: Accumulator(bits=60, guard=0, lanes=32),
        ValueError,
        r"accumulator must keep lanes \* 2\^\(bits-1-guard\) \+ 2\^\(bits-1\) below 2\^63, "
        "got bits=60, guard=0, lanes=32",
    ),
    (
        lambda: Datapath(Antilog(16, 8), Accumulator(bits=52, style="bins")),
        ValueError,
        r"datapath must keep bits \+ table_bits \+ log2\(entries\) at most 63 in style 'bins', "
        "got 64",
    ),
    (
        lambda: Datapath(Antilog(None, 8), Accumulator(bits=53, style="bins")).resolve(LNS8, LNS8),
        ValueError,
        r"datapath must keep bits \+ table_bits \+ log2\(entries\) at most 63 in style 'bins', "
        "got 64",
    ),
    (
        lambda: Datapath(8),  # type: ignore[arg-type]
        TypeError,
        "antilog must be an Antilog, got 8",
    ),
    (
        lambda: Datapath(accumulator=24),  # type: ignore[arg-type]
        TypeError,
        "accumulator must be an Accumulator, got 24",
    ),
    (
        lambda: FloatDatapath("fp32"),  # type: ignore[arg-type]
        TypeError,
        "accumulator must be a FloatFormat or an Accumulator, got 'fp32'",
    ),
    (
        lambda: FloatDatapath(Accumulator(style="bins")),
        ValueError,
        "style must be direct in a float datapath, got 'bins'",
    ),
    (
        lambda: IntDatapath(FP32),  # type: ignore[arg-type]
        TypeError,
        r"accumulator must be an Accumulator, got FloatFormat\(.*\)",
    ),
    (
        lambda: IntDatapath(Accumulator(style="bins")),
        ValueError,
        "style must be direct in an integer datapath, got 'bins'",
    ),
    (lambda: Accumulator(style="log"), ValueError, "bits must be given in style 'log', got None"),
    (lambda: Accumulator(16, style="log"), ValueError, r"bits must be in 4\.\.15, got 16"),
    (
        lambda: Accumulator(9, guard=4, style="log"),
        ValueError,
        "guard must be left out in style 'log', got 4",
    ),
    (
        lambda: Accumulator(9, overflow="wrap", style="log"),
        ValueError,
        "overflow must be left out in style 'log', got 'wrap'",
    ),
    (
        lambda: Accumulator(9, rounding="floor", style="log"),
        ValueError,
        "rounding must be left out in style 'log', got 'floor'",
    ),
    (
        lambda: Datapath(Antilog(4), Accumulator(9, style="log")),
        ValueError,
        r"antilog must be left out in style 'log', got Antilog\(.*\)",
    ),
    (
        lambda: Datapath(variant="mitchell"),
        ValueError,
        "variant must be left out in style 'direct', got 'mitchell'",
    ),
    (
        lambda: Datapath(accumulator=Accumulator(9, style="log"), variant="table:0"),
        ValueError,
        r"n of variant table:0 must be in 1\.\.32768, got 0",
    ),
    (
        lambda: Datapath(accumulator=Accumulator(9, style="log")).resolve(LNS8, LNSFormat(7, 16)),
        ValueError,
        "bits must be at least 10 in style 'log' for lns-e7g8 times lns-e7g16, got 9",
    ),
    (
        lambda: Datapath().sum_format(LNS8, LNS8),
        ValueError,
        "style must be 'log' here, got 'direct'",
    ),
    (
        lambda: LOG.to_real(np.ones((1, 1), np.int64), one(1, LNS8), one(1, LNS8)),
        TypeError,
        "acc must be an LNSArray in style 'log', got int64",
    ),
    (
        lambda: LOG.to_real(one(1, LNS8), one(1, LNS8), one(1, LNS8)),
        ValueError,
        "acc must be of format lns-e9g8, got lns-e7g8",
    ),
    (
        lambda: LOG.to_real(one(1, SUMS, -1).reshape(1), one(1, LNS8), one(1, LNS8)),
        ValueError,
        r"acc must have the product's shape \(1, 1\), got \(1,\)",
    ),
    (
        lambda: LOG.to_real(one(1, SUMS, 5), one(1, LNS8, 2), one(1, LNS8, 3)),
        ValueError,
        r"acc must be at the product's offset 4, got 5 at index \(0, 0\)",
    ),
    (
        lambda: LOG.to_real(one(1, SUMS), one(1, LNS8)[0], one(1, LNS8)),
        ValueError,
        r"a and b must be \(M, K\) and \(K, N\), got shapes \(1,\) and \(1, 1\)",
    ),
    (
        lambda: Datapath().to_real(one(1, LNS8), one(1, LNS8), one(1, LNS8)),  # type: ignore[arg-type]
        TypeError,
        "acc must be an array of accumulators, got LNSArray",
    ),
    (
        lambda: FloatDatapath().to_real(np.zeros((1, 1)), one(1, LNS8), one(1, LNS8)),
        TypeError,
        "a must be of type FloatArray, got LNSArray",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_datapaths_are_refused(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    """The message names the field, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        make()


def test_datapaths_are_values() -> None:
    """Equal fields, equal datapath and hash; the defaults are those of the contract."""
    assert Datapath() == Datapath(Antilog(None, 8), Accumulator(24, 4, "saturate", 1, "floor"))
    assert hash(Datapath()) == hash(Datapath())
    assert Accumulator().term_bits == 19
    assert IntDatapath().accumulator == Accumulator(bits=32, guard=0)
    assert IntDatapath().shift(IntFormat(16), IntFormat(16)) == 0
    assert IntDatapath(Accumulator(bits=62, guard=60)).accumulator.term_bits == 1
