"""What one multiply-accumulate does, as frozen values: antilog, alignment, accumulator.

`Datapath` is the logarithmic one. Two codes multiply by adding exponents, p = e_a + e_b; the
antilog turns the remainder r = p mod G into an integer M(r); the term +-M(r) * 2^(p div G) is
aligned by D places and summed in a W-bit two's complement accumulator. In style "log" the sum stays
a logarithm: the product's exponent is added by Gaussian logarithms. `FloatDatapath` and
`IntDatapath` are the baselines it is compared with. `resolve` turns a datapath and two formats
into the integers a kernel needs.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .accumulator import Accumulator, Antilog, least_log_bits, require_sums, scaled
from .array import CodeArray, FloatArray, IntArray, LNSArray
from .checks import require_kind
from .format import FP32, FloatFormat, IntFormat, LNSFormat
from .gauss import split_variant
from .log_codec import decode_log
from .thresholds import pow2_fixed


@dataclass(frozen=True, slots=True)
class LNSMac:
    """A Datapath resolved for two LNS formats: the integers that define every term.

    Style "log" has no antilog and no shift: entries, product_bits and shift are 0, mantissa and
    constants empty.
    """

    gamma: int  #: G, the finer of the two
    ratio_a: int  #: multiplies e_a
    ratio_b: int  #: multiplies e_b
    entries: int  #: L
    mantissa: tuple[int, ...]  #: M(r) for r in 0..G-1 ("bins": G + l)
    constants: tuple[int, ...]  #: c_m for m in 0..L-1
    product_bits: int  #: B, bit length of the largest magnitude before the shift
    shift: int  #: D, places a term is shifted right by
    max_sum: int  #: largest p = e_a + e_b


@dataclass(frozen=True, slots=True)
class Datapath:
    """The logarithmic multiply-accumulate: `antilog` then `accumulator`.

    variant: how style "log" adds, a name of gauss.VARIANTS with its n; the other styles have none.
    Raises ValueError for a pair that could leave 64-bit integers ("bins": bits + table_bits +
    log2(entries) above 63), for an antilog in style "log" and a variant in the others.
    """

    antilog: Antilog = field(default_factory=Antilog)
    accumulator: Accumulator = field(default_factory=Accumulator)
    variant: str = "exact"  #: of S and D in style "log"

    def __post_init__(self) -> None:
        if not isinstance(self.antilog, Antilog):
            raise TypeError(f"antilog must be an Antilog, got {self.antilog!r}")
        if not isinstance(self.accumulator, Accumulator):
            raise TypeError(f"accumulator must be an Accumulator, got {self.accumulator!r}")
        split_variant(self.variant)
        if self.accumulator.style == "log" and self.antilog != Antilog():
            raise ValueError(f"antilog must be left out in style 'log', got {self.antilog!r}")
        if self.accumulator.style != "log" and self.variant != "exact":
            raise ValueError(
                f"variant must be left out in style {self.accumulator.style!r}, got "
                f"{self.variant!r}"
            )
        if self.antilog.entries is not None:
            self._check_bins(self.antilog.entries)

    def _check_bins(self, entries: int) -> None:
        need = self.accumulator.bits + self.antilog.table_bits + entries.bit_length() - 1
        if self.accumulator.style == "bins" and need > 63:
            raise ValueError(
                "datapath must keep bits + table_bits + log2(entries) at most 63 in style 'bins', "
                f"got {need}"
            )

    def resolve(self, a: LNSFormat, b: LNSFormat) -> LNSMac:
        """Return the integers of this datapath for operands of formats `a` and `b`.

        Raises ValueError where the antilog has more entries than the finer gamma, or the
        accumulator of style "log" could not hold a product and its double.
        """
        require_kind("a", a, LNSFormat)
        require_kind("b", b, LNSFormat)
        return _resolve(self, a, b)

    def sum_format(self, a: LNSFormat, b: LNSFormat) -> LNSFormat:
        """Return the format of a sum in style "log"; ValueError in the other styles."""
        if self.accumulator.style != "log":
            raise ValueError(f"style must be 'log' here, got {self.accumulator.style!r}")
        return LNSFormat(self.accumulator.bits, self.resolve(a, b).gamma)

    def to_real(
        self, acc: npt.NDArray[np.int64] | LNSArray, a: LNSArray, b: LNSArray
    ) -> npt.NDArray[np.float64]:
        """Return float64 (M, N): the values of accumulators of a (M, K) times b (K, N).

        value = acc * 2^(D-T) * 2^(offset_a/G_a + offset_b/G_b) ("bins": divided by a further G).
        Exact while |acc| < 2^53, the offsets are multiples of gamma and the result is normal;
        otherwise within two roundings; beyond float64's range infinite. Style "log": `decode` of
        the sums, the nearest float64; OverflowError beyond its range. Raises TypeError and
        ValueError for an acc that is not of this product.
        """
        left, right = _arrays(a, b, LNSArray)
        if self.accumulator.style == "log":
            return decode_log(require_sums(acc, self.sum_format(left.fmt, right.fmt), a, b))
        a, b = left, right
        mac = self.resolve(a.fmt, b.fmt)
        places = mac.shift - self.antilog.table_bits
        if self.accumulator.style == "bins":
            places -= mac.gamma.bit_length() - 1
        steps = np.asarray(a.offset, np.int64) * mac.ratio_a + (
            np.asarray(b.offset, np.int64) * mac.ratio_b
        )
        octaves, remainder = np.divmod(steps, mac.gamma)
        fraction = np.exp2(remainder / mac.gamma)
        return scaled(acc, fraction, octaves + places)


@dataclass(frozen=True, slots=True)
class FloatDatapath:
    """A float multiply-accumulate: exact product, ascending k.

    accumulator a FloatFormat: one rounding to that format per step, starting at +0; the result is
    float32 (M, N). accumulator an Accumulator: the exact product is aligned to fixed point and
    summed like an LNS term; the result is int64 (M, N).
    """

    accumulator: FloatFormat | Accumulator = FP32

    def __post_init__(self) -> None:
        if not isinstance(self.accumulator, FloatFormat | Accumulator):
            raise TypeError(
                f"accumulator must be a FloatFormat or an Accumulator, got {self.accumulator!r}"
            )
        encoding = getattr(self.accumulator, "encoding", "ieee")
        if encoding not in ("ieee", "fn"):
            raise ValueError(f"accumulator must be of encoding ieee or fn, got {encoding!r}")
        if isinstance(self.accumulator, Accumulator) and self.accumulator.style != "direct":
            raise ValueError(
                f"style must be direct in a float datapath, got {self.accumulator.style!r}"
            )

    def product_bits(self, a: FloatFormat, b: FloatFormat) -> int:
        """B: bit length of the product of the two largest finite numbers.

        Counted in units of the product of the two smallest subnormals.
        """
        require_kind("a", a, FloatFormat)
        require_kind("b", b, FloatFormat)
        return (_units(a) * _units(b)).bit_length()

    def shift(self, a: FloatFormat, b: FloatFormat) -> int:
        """D of the fixed-point form: max(0, B - term_bits); 0 with a float accumulator."""
        if isinstance(self.accumulator, FloatFormat):
            return 0
        return max(0, self.product_bits(a, b) - self.accumulator.term_bits)

    def to_real(self, acc: npt.NDArray[Any], a: CodeArray, b: CodeArray) -> npt.NDArray[np.float64]:
        """Return float64 (M, N): `acc` times the operands' scales; exact for |acc| < 2^53."""
        x, y = _arrays(a, b, FloatArray)
        places = np.asarray(a.offset, np.int64) + np.asarray(b.offset, np.int64)
        if isinstance(self.accumulator, Accumulator):
            places = places + self.shift(x.fmt, y.fmt) + x.fmt.min_scale + y.fmt.min_scale
        return scaled(acc, 1.0, places)


@dataclass(frozen=True, slots=True)
class IntDatapath:
    """An integer multiply-accumulate: exact product, aligned, summed; the result is int64."""

    accumulator: Accumulator = field(default_factory=lambda: Accumulator(bits=32, guard=0))

    def __post_init__(self) -> None:
        if not isinstance(self.accumulator, Accumulator):
            raise TypeError(f"accumulator must be an Accumulator, got {self.accumulator!r}")
        if self.accumulator.style != "direct":
            raise ValueError(
                f"style must be direct in an integer datapath, got {self.accumulator.style!r}"
            )

    def product_bits(self, a: IntFormat, b: IntFormat) -> int:
        """B: bit length of the product of the most negative codes."""
        require_kind("a", a, IntFormat)
        require_kind("b", b, IntFormat)
        return (a.min_value * b.min_value).bit_length()

    def shift(self, a: IntFormat, b: IntFormat) -> int:
        """D: max(0, B - term_bits)."""
        return max(0, self.product_bits(a, b) - self.accumulator.term_bits)

    def to_real(
        self, acc: npt.NDArray[np.int64], a: IntArray, b: IntArray
    ) -> npt.NDArray[np.float64]:
        """Return float64 (M, N): acc * 2^(D + offset_a + offset_b); exact for |acc| < 2^53."""
        a, b = _arrays(a, b, IntArray)
        places = np.asarray(a.offset, np.int64) + np.asarray(b.offset, np.int64)
        return scaled(acc, 1.0, np.asarray(places + self.shift(a.fmt, b.fmt)))


AnyDatapath = Datapath | FloatDatapath | IntDatapath


def _arrays(a: Any, b: Any, kind: type) -> tuple[Any, Any]:
    """The two arrays, checked; of an operand that the kernels gather, the one it holds."""
    held = getattr(a, "array", a), getattr(b, "array", b)
    require_kind("a", held[0], kind)
    require_kind("b", held[1], kind)
    return held


def _units(fmt: FloatFormat) -> int:
    """Largest finite number of `fmt` in units of its smallest subnormal."""
    exponent, mantissa = divmod(fmt.max_code, 1 << fmt.mantissa_bits)
    return ((1 << fmt.mantissa_bits) + mantissa) << (exponent - 1)


def _antilog_constant(m: int, entries: int, table_bits: int) -> int:
    """RN_even(2^(m/entries) * 2^table_bits), exactly, from floor(2 * value).

    A tie would need a rational 2^(m/entries), which only m = 0 gives, and there it is exact.
    """
    return (pow2_fixed(m, entries, table_bits + 1) + 1) >> 1


@lru_cache(maxsize=4096)
def _constants(entries: int, table_bits: int) -> tuple[int, ...]:
    return tuple(_antilog_constant(m, entries, table_bits) for m in range(entries))


@lru_cache(maxsize=4096)
def _resolve(datapath: Datapath, a: LNSFormat, b: LNSFormat) -> LNSMac:
    gamma = max(a.gamma, b.gamma)
    if datapath.accumulator.style == "log":
        return _resolve_log(datapath, a, b)
    entries = datapath.antilog.entries or gamma
    if entries > gamma:
        raise ValueError(f"entries must be at most gamma = {gamma}, got {entries}")
    datapath._check_bins(entries)
    constants = _constants(entries, datapath.antilog.table_bits)
    run = gamma // entries
    bins = datapath.accumulator.style == "bins"
    mantissa = tuple(
        gamma + r % run if bins else constants[r // run] * (gamma + r % run) // gamma
        for r in range(gamma)
    )
    ratio_a, ratio_b = gamma // a.gamma, gamma // b.gamma
    max_sum = a.max_exponent * ratio_a + b.max_exponent * ratio_b
    product_bits = _product_bits(mantissa, a, b)
    return LNSMac(
        gamma=gamma,
        ratio_a=ratio_a,
        ratio_b=ratio_b,
        entries=entries,
        mantissa=mantissa,
        constants=constants,
        product_bits=product_bits,
        shift=max(0, product_bits - datapath.accumulator.term_bits),
        max_sum=max_sum,
    )


def _resolve_log(datapath: Datapath, a: LNSFormat, b: LNSFormat) -> LNSMac:
    gamma = max(a.gamma, b.gamma)
    ratio_a, ratio_b = gamma // a.gamma, gamma // b.gamma
    max_sum = a.max_exponent * ratio_a + b.max_exponent * ratio_b
    least = least_log_bits(a, b)
    if datapath.accumulator.bits < least:
        raise ValueError(
            f"bits must be at least {least} in style 'log' for {a.name} times {b.name}, "
            f"got {datapath.accumulator.bits}"
        )
    return LNSMac(
        gamma=gamma, ratio_a=ratio_a, ratio_b=ratio_b, entries=0, mantissa=(), constants=(),
        product_bits=0, shift=0, max_sum=max_sum,
    )  # fmt: skip


def _product_bits(mantissa: tuple[int, ...], a: LNSFormat, b: LNSFormat) -> int:
    """Bit length of the largest M(p mod G) << (p div G) over the sums p that pairs of codes reach.

    M may be non-monotone at a seam of the hybrid, but stays within 7% of 2^(p/G), so a search of
    one octave below the top is enough. The finer operand's exponent counts single steps of p.
    """
    fine, coarse = (a, b) if a.gamma >= b.gamma else (b, a)
    gamma, ratio = fine.gamma, fine.gamma // coarse.gamma
    top = fine.max_exponent + coarse.max_exponent * ratio
    largest = 0
    for p in range(max(0, top - gamma), top + 1):
        e_coarse = min(coarse.max_exponent, (p - fine.min_exponent) // ratio)
        if e_coarse >= coarse.min_exponent and p - e_coarse * ratio <= fine.max_exponent:
            largest = max(largest, (mantissa[p % gamma] << (p // gamma)).bit_length())
    return largest
