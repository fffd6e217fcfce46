"""The number path once more in Python integers and fractions: slow, obvious, the judge.

One output of each datapath's GEMM, written from the definitions: no code and no table is shared
with what it judges, and of formats and datapaths only the fields are read. `oracle_ops` holds the
operations on single numbers; they are offered here too.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite, isnan, nan

from .datapath import Accumulator, Datapath, FloatDatapath, IntDatapath
from .format import FloatFormat, IntFormat, LNSFormat
from .oracle_ops import (
    decode_one,
    div_one,
    encode_one,
    float_code,
    float_value,
    mul_one,
    nearest_power,
    requantise_one,
    split,
    sqrt_one,
)
from .oracle_sums import add_one, gauss_one, log_dot, log_dot_counted, sub_one, total_one

__all__ = [
    "add_one",
    "decode_one",
    "div_one",
    "dot",
    "encode_one",
    "float_dot",
    "gauss_one",
    "int_dot",
    "log_dot",
    "mul_one",
    "requantise_one",
    "resolve_one",
    "sqrt_one",
    "sub_one",
    "term",
    "total_one",
]


def _gammas(a: LNSFormat, b: LNSFormat, datapath: Datapath) -> tuple[int, int]:
    """(G, L): the finer gamma and the number of antilog constants."""
    gamma = max(a.gamma, b.gamma)
    entries = gamma if datapath.antilog.entries is None else datapath.antilog.entries
    if entries > gamma:
        raise ValueError(f"entries must be at most gamma = {gamma}, got {entries}")
    return gamma, entries


def _mantissa(r: int, gamma: int, entries: int, datapath: Datapath) -> int:
    """M(r) = floor(c_m (G + l) / G), c_m = RN(2^(m/L) 2^T); in style "bins" G + l."""
    m, line = divmod(r, gamma // entries)
    if datapath.accumulator.style == "bins":
        return gamma + line
    return nearest_power(m, entries, datapath.antilog.table_bits) * (gamma + line) // gamma


@lru_cache(maxsize=4096)
def resolve_one(a: LNSFormat, b: LNSFormat, datapath: Datapath) -> tuple[int, int]:
    """(B, D): the bit length of the largest magnitude any pair of codes gives, and the shift.

    M(r) lies in [2^T, 2^(T+2)) (bins: [G, 2G)), so a sum two quotients below the largest sum cannot
    give the largest magnitude: only the top two octaves are looked through.
    """
    gamma, entries = _gammas(a, b, datapath)
    fine, coarse = (a, b) if a.gamma == gamma else (b, a)
    ratio = gamma // coarse.gamma
    count_fine, count_coarse = (2**f.exponent_bits - int(f.zero) for f in (fine, coarse))
    top = (2**fine.exponent_bits - 1) + (2**coarse.exponent_bits - 1) * ratio
    below_top = (1 << min(count_fine, 2 * gamma)) - 1  # bit t: top - t is a sum of two exponents
    reached = 0
    for j in range(min(count_coarse, 2 * gamma // ratio + 1)):
        reached |= below_top << (j * ratio)
    largest = 0
    for t in range(2 * gamma + 1):
        if reached >> t & 1:
            q, r = divmod(top - t, gamma)
            largest = max(largest, _mantissa(r, gamma, entries, datapath) << q)
    bits = len(f"{largest:b}")
    accumulator = datapath.accumulator
    return bits, max(0, bits - (accumulator.bits - 1 - accumulator.guard))


def _aligned(magnitude: int, negative: bool, places: int, rounding: str) -> int:
    """+-magnitude / 2^places as a whole number, by "floor" or "toward_zero"."""
    if rounding == "toward_zero":
        shifted = magnitude // 2**places
        return -shifted if negative else shifted
    return (-magnitude if negative else magnitude) // 2**places


def term(
    e_a: int, s_a: int, fmt_a: LNSFormat, e_b: int, s_b: int, fmt_b: LNSFormat, datapath: Datapath
) -> int:
    """The aligned term of one product; a zero operand gives 0."""
    if (fmt_a.zero and e_a == 0) or (fmt_b.zero and e_b == 0):
        return 0
    gamma, entries = _gammas(fmt_a, fmt_b, datapath)
    q, r = divmod(e_a * (gamma // fmt_a.gamma) + e_b * (gamma // fmt_b.gamma), gamma)
    _, places = resolve_one(fmt_a, fmt_b, datapath)
    magnitude = _mantissa(r, gamma, entries, datapath) * 2**q
    return _aligned(magnitude, s_a != s_b, places, datapath.accumulator.rounding)


def _accumulate(terms: Sequence[int], accumulator: Accumulator) -> tuple[int, bool]:
    """Groups of `lanes` consecutive terms, each summed exactly, then saturated or wrapped."""
    low, high = -(2 ** (accumulator.bits - 1)), 2 ** (accumulator.bits - 1) - 1
    total, left_range = 0, False
    for start in range(0, len(terms), accumulator.lanes):
        total += sum(terms[start : start + accumulator.lanes])
        if low <= total <= high:
            continue
        left_range = True
        if accumulator.overflow == "saturate":
            total = low if total < low else high
        else:
            total = (total - low) % 2**accumulator.bits + low
    return total, left_range


def dot(
    a_codes: Sequence[int],
    fmt_a: LNSFormat,
    b_codes: Sequence[int],
    fmt_b: LNSFormat,
    datapath: Datapath,
) -> tuple[int, bool]:
    """One output of the logarithmic GEMM: (result, whether an accumulator left its range).

    Style "bins": the products of each antilog constant have an accumulator of their own, with the
    same grouping of consecutive k; the result is the sum of constant times accumulator. Style
    "log": the result is a code of the accumulator's format.
    """
    if datapath.accumulator.style == "log":
        rule, gamma = datapath.accumulator, max(fmt_a.gamma, fmt_b.gamma)
        target = LNSFormat(rule.bits, gamma)
        return log_dot_counted(a_codes, fmt_a, b_codes, fmt_b, target, rule.lanes, datapath.variant)
    gamma, entries = _gammas(fmt_a, fmt_b, datapath)
    bins = entries if datapath.accumulator.style == "bins" else 1
    terms = [[0] * len(a_codes) for _ in range(bins)]
    for k, (a, b) in enumerate(zip(a_codes, b_codes, strict=True)):
        (s_a, e_a), (s_b, e_b) = split(a, fmt_a), split(b, fmt_b)
        if e_a is None or e_b is None:
            continue
        r = (e_a * (gamma // fmt_a.gamma) + e_b * (gamma // fmt_b.gamma)) % gamma
        place = r // (gamma // entries) if bins > 1 else 0
        terms[place][k] = term(e_a, s_a, fmt_a, e_b, s_b, fmt_b, datapath)
    sums = [_accumulate(line, datapath.accumulator) for line in terms]
    left_range = any(out for _, out in sums)
    if datapath.accumulator.style == "direct":
        return sums[0][0], left_range
    bits = datapath.antilog.table_bits
    return sum(nearest_power(m, entries, bits) * s for m, (s, _) in enumerate(sums)), left_range


def _largest_units(fmt: FloatFormat) -> int:
    """Largest finite magnitude in units of the smallest subnormal."""
    code = 2 ** (fmt.exponent_bits + fmt.mantissa_bits) - 1
    while not isfinite(magnitude := float_value(code, fmt)[1]):
        # "ieee" numbers end below the all-ones exponent, "fn" ones one code lower
        code -= 1 if fmt.encoding == "fn" else 2**fmt.mantissa_bits
    units = Fraction(magnitude) / Fraction(float_value(1, fmt)[1])
    return int(units)


def _fixed_terms(
    a_codes: Sequence[int],
    fmt_a: FloatFormat,
    b_codes: Sequence[int],
    fmt_b: FloatFormat,
    accumulator: Accumulator,
) -> list[int]:
    bits = len(f"{_largest_units(fmt_a) * _largest_units(fmt_b):b}")
    places = max(0, bits - (accumulator.bits - 1 - accumulator.guard))
    terms = []
    for k, (a, b) in enumerate(zip(a_codes, b_codes, strict=True)):
        units, negative = Fraction(1), False
        for name, code, fmt in (("a", a, fmt_a), ("b", b, fmt_b)):
            sign, magnitude = float_value(code, fmt)
            if not isinstance(magnitude, Fraction):
                raise ValueError(
                    f"{name} must be finite for a fixed-point accumulator, got {magnitude} at {k}"
                )
            units *= magnitude / Fraction(float_value(1, fmt)[1])
            negative ^= sign
        terms.append(_aligned(int(units), negative, places, accumulator.rounding))
    return terms


def _fused(
    acc: tuple[bool, Fraction | float],
    a: tuple[bool, Fraction | float],
    b: tuple[bool, Fraction | float],
) -> tuple[bool, Fraction | float]:
    """acc + a * b, exact, as (negative, magnitude): IEEE 754's rules for zeros and infinities."""
    sign = a[0] != b[0]
    product: Fraction | float = nan
    if isinstance(a[1], Fraction) and isinstance(b[1], Fraction):
        product = a[1] * b[1]
    elif not isnan(a[1] + b[1]) and 0 not in (a[1], b[1]):
        product = inf
    if isinstance(product, float) or isinstance(acc[1], float):
        clash = product == inf and acc[1] == inf and sign != acc[0]
        unknown = clash or isnan(product + acc[1])
        return (sign if product == inf else acc[0]), nan if unknown else inf
    total = (-acc[1] if acc[0] else acc[1]) + (-product if sign else product)
    if total == 0:  # only two negative zeros give a negative zero
        return acc[0] and sign and acc[1] == product == 0, Fraction(0)
    return total < 0, abs(total)


def float_dot(
    a_codes: Sequence[int],
    fmt_a: FloatFormat,
    b_codes: Sequence[int],
    fmt_b: FloatFormat,
    datapath: FloatDatapath,
) -> tuple[float | int, bool]:
    """One output of the float GEMM.

    Float accumulator: (value, whether it is not finite); each step rounds the exact acc + a * b
    once. Fixed-point accumulator: (integer, whether it left its range); ValueError for a NaN or
    infinity among the operands.
    """
    target = datapath.accumulator
    if isinstance(target, Accumulator):
        return _accumulate(_fixed_terms(a_codes, fmt_a, b_codes, fmt_b, target), target)
    acc: tuple[bool, Fraction | float] = (False, Fraction(0))
    for a, b in zip(a_codes, b_codes, strict=True):
        exact = _fused(acc, float_value(a, fmt_a), float_value(b, fmt_b))
        acc = float_value(float_code(*exact, target), target)
    value = float(acc[1])
    return (-value if acc[0] else value), not isfinite(value)


def int_dot(
    a_codes: Sequence[int],
    fmt_a: IntFormat,
    b_codes: Sequence[int],
    fmt_b: IntFormat,
    datapath: IntDatapath,
) -> tuple[int, bool]:
    """One output of the integer GEMM: (result, whether the accumulator left its range)."""
    accumulator = datapath.accumulator
    bits = len(f"{2 ** (fmt_a.bits - 1) * 2 ** (fmt_b.bits - 1):b}")
    places = max(0, bits - (accumulator.bits - 1 - accumulator.guard))
    terms = [
        _aligned(abs(a * b), a * b < 0, places, accumulator.rounding)
        for a, b in zip(a_codes, b_codes, strict=True)
    ]
    return _accumulate(terms, accumulator)
