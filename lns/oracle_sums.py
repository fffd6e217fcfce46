"""The oracle's additions: S and D in every variant, one sum, sums in every order, dot products.

Written from the definitions with `decimal` and fractions; no table and no code of what it judges.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache

from .format import LNSFormat
from .oracle_ops import _DECIMAL, _decided, _log2, _pow2, _store, floor_log2, split


def _half_up(x: Fraction) -> int:
    return (2 * x.numerator + x.denominator) // (2 * x.denominator)


@lru_cache(maxsize=1 << 16)
def _nearest(n: int, root: int, gamma: int, opposite: bool) -> int:
    """RN(gamma log2(1 + 2^(-n/root))), or for opposite signs RN(-gamma log2(1 - 2^(-n/root)))."""
    if n % root == 0:  # 1 +- 2^-n: exact where it is a power of two itself
        whole = 1 + (-1 if opposite else 1) * Fraction(2) ** -(n // root)
        if whole == Fraction(2) ** floor_log2(whole):
            return abs(floor_log2(whole)) * gamma
    power = _pow2(-n, root)
    total = _DECIMAL.subtract(1, power) if opposite else _DECIMAL.add(1, power)
    return _decided(_DECIMAL.multiply(abs(_log2(total)), Decimal(gamma)), ROUND_HALF_UP)


@lru_cache(maxsize=64)
def _first_zero(gamma: int, opposite: bool) -> int:
    """The smallest d from which the exact function is 0; it falls with d."""
    below, found = int(opposite) - 1, 1 + int(opposite)  # not 0 at `below` (or none), 0 at `found`
    while _nearest(found, gamma, gamma, opposite):
        below, found = found, 2 * found
    while found - below > 1:
        middle = (below + found) // 2
        if _nearest(middle, gamma, gamma, opposite):
            below = middle
        else:
            found = middle
    return found


def _mitchell(d: int, gamma: int, opposite: bool) -> int:
    """2^-(q + f) ~ 2^-q (1 - f/2); log2(2^m (1 + f)) ~ m + f."""
    y = Fraction(1, 2 ** (d // gamma)) * (1 - Fraction(d % gamma, gamma) / 2)
    x = 1 - y if opposite else 1 + y
    octave = floor_log2(x)
    return _half_up(gamma * abs(octave + x / Fraction(2) ** octave - 1))


def gauss_one(d: int, gamma: int, opposite: bool, variant: str = "exact") -> int:
    """S(d), or with `opposite` D(d), d >= 1, in steps."""
    kind, _, number = variant.partition(":")
    if kind == "exact":
        return _nearest(d, gamma, gamma, opposite)
    if kind == "mitchell":
        return _mitchell(d, gamma, opposite)
    entries, first = int(number), int(opposite)
    width = -(-_first_zero(gamma, opposite) // entries)
    if kind == "table":
        i = d // width
        return _nearest(2 * i * width + width - 1, 2 * gamma, gamma, opposite) if i < entries else 0
    i, t = divmod(d - first, width)
    if i >= entries:
        return 0
    low, high = (
        Fraction(_nearest(first + j * width, gamma, 256 * gamma, opposite), 256) for j in (i, i + 1)
    )
    return _half_up(low + (high - low) * Fraction(t, width))


def _sum(a: int, b: int, fmt: LNSFormat, variant: str) -> tuple[int, int | None]:
    """(sign, exponent) of a + b before it is stored; the exponent of zero is None."""
    (sign_a, e_a), (sign_b, e_b) = split(a, fmt), split(b, fmt)
    if e_a is None or e_b is None:
        return (sign_b, e_b) if e_a is None else (sign_a, e_a)
    (e_small, _), (e_large, sign) = sorted([(e_a, sign_a), (e_b, sign_b)])
    d = e_large - e_small
    if sign_a == sign_b:
        return sign, e_large + gauss_one(d, fmt.gamma, False, variant)
    return (0, None) if d == 0 else (sign, e_large - gauss_one(d, fmt.gamma, True, variant))


def add_one(a: int, b: int, fmt: LNSFormat, variant: str = "exact") -> int:
    """a + b of one format and offset."""
    sign, e = _sum(a, b, fmt, variant)
    return 0 if e is None else _store(sign, e, fmt)


def sub_one(a: int, b: int, fmt: LNSFormat, variant: str = "exact") -> int:
    """a - b of one format and offset."""
    return add_one(a, b ^ 2**fmt.exponent_bits, fmt, variant)


def total_one(codes: Sequence[int], fmt: LNSFormat, order: str, variant: str = "exact") -> int:
    """Sum of codes: "sequential", "tree" (0+1, 2+3, ... again and again) or "lanes:V"."""

    def plus(a: int, b: int) -> int:
        return add_one(a, b, fmt, variant)

    codes = [0 if split(code, fmt)[1] is None else code for code in codes]
    if order == "tree":
        return _pairwise(codes, plus)
    lanes = 1 if order == "sequential" else int(order.partition(":")[2])
    sums = []
    for lane in range(min(lanes, len(codes))):
        running = codes[lane]
        for code in codes[lane + lanes :: lanes]:
            running = plus(running, code)
        sums.append(running)
    return _pairwise(sums, plus)


def _pairwise(codes: list[int], plus: Callable[[int, int], int]) -> int:
    while len(codes) > 1:
        pairs = [plus(a, b) for a, b in zip(codes[::2], codes[1::2], strict=False)]
        codes = pairs + codes[2 * len(pairs) :]
    return codes[0] if codes else 0


def log_dot(
    a: Sequence[int],
    b: Sequence[int],
    fmt: LNSFormat,
    accumulator: LNSFormat,
    order: str,
    variant: str = "exact",
    fmt_b: LNSFormat | None = None,
) -> int:
    """Sum of products in `accumulator`: each enters as exponent p + 1, one offset step lower.

    fmt: of a, and of b where fmt_b is None.
    """
    products = _products(a, b, fmt, fmt_b or fmt, accumulator)
    return total_one(products, accumulator, order, variant)


def log_dot_counted(
    a: Sequence[int],
    fmt_a: LNSFormat,
    b: Sequence[int],
    fmt_b: LNSFormat,
    accumulator: LNSFormat,
    lanes: int,
    variant: str,
) -> tuple[int, bool]:
    """(`log_dot` in lanes, whether any sum on the way went above the accumulator's top)."""
    above = False

    def plus(x: int, y: int) -> int:
        nonlocal above
        e = _sum(x, y, accumulator, variant)[1]
        above |= e is not None and e >= 2**accumulator.exponent_bits
        return add_one(x, y, accumulator, variant)

    products = _products(a, b, fmt_a, fmt_b, accumulator)
    sums = []
    for lane in range(min(lanes, len(products))):
        running = 0
        for product in products[lane::lanes]:
            running = plus(running, product)
        sums.append(running)
    return _pairwise(sums, plus), above


def _products(
    a: Sequence[int], b: Sequence[int], fmt_a: LNSFormat, fmt_b: LNSFormat, accumulator: LNSFormat
) -> list[int]:
    """Codes of the products in steps of the accumulator's gamma."""
    steps_a, steps_b = accumulator.gamma // fmt_a.gamma, accumulator.gamma // fmt_b.gamma
    products = []
    for x, y in zip(a, b, strict=True):
        (s_x, e_x), (s_y, e_y) = split(x, fmt_a), split(y, fmt_b)
        if e_x is None or e_y is None:
            products.append(0)
        else:
            products.append(_store(s_x ^ s_y, e_x * steps_a + e_y * steps_b + 1, accumulator))
    return products
