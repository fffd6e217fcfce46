"""Stochastic rounding: its probabilities exactly, and those of seeded draws within a derived bound.

With R random bits, u = gamma log2|x| = n + f and an R-bit draw r, u is rounded to n + 1 where
floor(2^R f) + r >= 2^R: for floor(2^R f) of the 2^R draws. So p = floor(2^R f) / 2^R, and the mean
lies below u by f - p, less than 2^-R steps. u is taken to 60 digits by mpmath.
"""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from lnsim.kernels import quantise
from lnsim.lns import LNS8, LNS16_UPDATE, LNSArray, LNSFormat, encode

FORMATS = [LNS8, LNS16_UPDATE, LNSFormat(5, 1), LNSFormat(9, 64, zero=False)]
DELTA = 1e-12  # chance that one count of a right implementation fails its bound

Coder = Callable[..., LNSArray]


def lns_encode(x: npt.NDArray[Any], fmt: LNSFormat, generator: Any, random_bits: int) -> LNSArray:
    """`lns.encode`, the middle of the format at 1."""
    offset = -(2 ** (fmt.exponent_bits - 1))
    got: LNSArray = encode(x, fmt, offset, "stochastic", generator, random_bits)
    return got


def kernel(x: npt.NDArray[Any], fmt: LNSFormat, generator: Any, random_bits: int) -> LNSArray:
    """`kernels.quantise`, likewise."""
    offset = -(2 ** (fmt.exponent_bits - 1))
    words = {"generator": generator, "random_bits": random_bits}
    got: LNSArray = quantise(x, fmt, offset, "stochastic", **words)[0]
    return got


coders = pytest.mark.parametrize("coder", [lns_encode, kernel])
formats = pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)


class EveryDraw(np.random.Generator):
    """A generator whose integers count up: each R-bit number once in every 2^R elements."""

    def integers(self, low: Any, high: Any = None, size: Any = None, **words: Any) -> Any:
        """0, 1, ..., 2^R - 1, 0, ... in C order."""
        first, last = (0, low) if high is None else (low, high)
        dtype = words.get("dtype", np.int64)
        count = np.arange(math.prod(np.atleast_1d(size).tolist()))
        return (first + count % (last - first)).astype(dtype).reshape(size)


def numbers(fmt: LNSFormat) -> list[float]:
    """float32 numbers of both signs near 1: random, and beside a step where f is near 0 and 1."""
    rng = np.random.default_rng(fmt.gamma)
    drawn = np.exp2(rng.uniform(-4, 4, 8)) * rng.choice([-1, 1], 8)
    step = np.exp2(np.array([3, 5]) / fmt.gamma)
    near = np.concatenate([step * 0.99999, step * 1.00001])
    return np.concatenate([drawn, near]).astype(np.float32).astype(float).tolist()


def split(x: float, gamma: int) -> tuple[int, mpmath.mpf]:
    """(n, f) of u = gamma log2|x|."""
    u = gamma * mpmath.log(abs(mpmath.mpf(x)), 2)
    return int(mpmath.floor(u)), u - mpmath.floor(u)


def steps(array: LNSArray) -> npt.NDArray[np.int64]:
    """Whole steps of every element."""
    return (array.code & array.fmt.max_exponent).astype(np.int64) + np.asarray(array.offset)


@coders
@formats
@pytest.mark.parametrize("random_bits", [1, 2, 5, 8, 12])
def test_every_draw_once(fmt: LNSFormat, random_bits: int, coder: Coder) -> None:
    """Of the 2^R draws exactly floor(2^R f) round up, the largest ones; the mean is low by less
    than 2^-R steps and never high."""
    count = 2**random_bits
    with mpmath.workdps(60):
        for x in numbers(fmt):
            whole, fraction = split(x, fmt.gamma)
            for dtype in (np.float32, np.float64):
                got = coder(
                    np.full(count, x, dtype), fmt, EveryDraw(np.random.PCG64(0)), random_bits
                )
                up = steps(got) - whole
                raised = int(mpmath.floor(fraction * count))
                assert up.tolist() == [0] * (count - raised) + [1] * raised
                assert (got.code >> fmt.exponent_bits == (x < 0)).all()
                bias = fraction - mpmath.mpf(int(up.sum())) / count
                assert 0 <= bias < mpmath.mpf(1) / count


@coders
@formats
@pytest.mark.parametrize("random_bits", [1, 4, 8, 16])
def test_seeded_draws_are_binomial(fmt: LNSFormat, random_bits: int, coder: Coder) -> None:
    """n draws of one number: the count of those rounded up is binomial(n, p). Hoeffding:
    P(|count - n p| > t) <= 2 exp(-2 t^2 / n), which is DELTA at t = sqrt(n ln(2 / DELTA) / 2).

    Neighbours are independent: both of a pair are up with probability p^2, n / 2 times.
    """
    n = 20_000
    bound = math.sqrt(n * math.log(2 / DELTA) / 2)
    generator = np.random.default_rng(random_bits)
    seen = 0.0
    with mpmath.workdps(60):
        for x in numbers(fmt):
            whole, fraction = split(x, fmt.gamma)
            p = float(mpmath.floor(fraction * 2**random_bits)) / 2**random_bits
            up = steps(coder(np.full(n, x, np.float32), fmt, generator, random_bits)) - whole
            assert set(up.tolist()) <= {0, 1}
            assert abs(int(up.sum()) - n * p) <= bound
            assert p > 0 or not up.any()
            pairs = int((up[::2] * up[1::2]).sum())
            assert abs(pairs - n / 2 * p * p) <= bound / math.sqrt(2)
            seen = max(seen, min(p, 1 - p))
    assert seen > 0.2  # the bound is 2.7 % of n: wrong probabilities would show


@coders
@formats
def test_numbers_of_the_format_stay(fmt: LNSFormat, coder: Coder) -> None:
    """f = 0: powers of two are never moved, whatever is drawn."""
    x = np.repeat(2.0 ** np.arange(-2, 3), 300)
    got = coder(x, fmt, np.random.default_rng(0), 8)
    assert steps(got).tolist() == np.repeat(np.arange(-2, 3) * fmt.gamma, 300).tolist()


@coders
def test_the_ends_of_the_range_take_no_carry(coder: Coder) -> None:
    """Above the top every draw saturates; just below the smallest some round up into the format."""
    fmt = LNSFormat(4, 2)  # offset -8: steps -7..7; 2^-3.75 is half a step below
    beyond = coder(np.full(256, 2.0**3.9), fmt, EveryDraw(np.random.PCG64(0)), 8)
    assert set(beyond.code.tolist()) == {15}
    below = coder(np.full(256, np.nextafter(2.0**-3.75, 1)), fmt, EveryDraw(np.random.PCG64(0)), 8)
    assert below.code.tolist() == [0] * 128 + [1] * 128
