"""The two halves of a logarithmic multiply-accumulate as frozen values: antilog, accumulator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import require_choice, settle_int, settle_power_of_two
from .code_array import LogCodes
from .format import LNSFormat

STYLES = ("direct", "bins", "log")
_BY_STYLE: Any = None  # a field that is filled in by the style where it is left out
_LINEAR = {"bits": 24, "guard": 4, "overflow": "saturate", "rounding": "floor"}
# What style "log" has instead: no alignment, so no headroom and nothing that is rounded.
_LOG = {"guard": 0, "overflow": "saturate", "rounding": "none"}


@dataclass(frozen=True, slots=True)
class Antilog:
    """Linear value of a remainder: `entries` constants joined by Mitchell's straight lines.

    M(r) = floor(c_m * (G + l) / G), c_m = RN_even(2^(m/L) * 2^T), m = r div (G/L),
    l = r mod (G/L). entries = G is a plain table, entries = 1 is Mitchell's approximation (no
    table); between is the hybrid of US patent 11,886,980.
    """

    entries: int | None = None  #: L, a power of two, at most G; None: L = G of the pair
    table_bits: int = 8  #: T, fraction bits of the constants, 1..16

    def __post_init__(self) -> None:
        if self.entries is not None:
            settle_power_of_two(self, "entries", 1, 4096)
        settle_int(self, "table_bits", 1, 16)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """Where products are summed, in ascending k.

    Styles "direct" and "bins": W-bit two's complement with an alignment in front of it. A term is
    shifted right so that the largest possible one leaves `guard` bits of headroom. Products are
    taken in groups of `lanes`; a group's sum is exact, then accumulator and group are added and
    saturated or wrapped. "bins" keeps one accumulator per antilog constant and multiplies once per
    output (US patents 11,886,980 and 12,033,060).

    Style "log" (fully logarithmic hardware): the sum is a number of LNSFormat(bits, G, zero=True)
    starting at zero, and a product enters it exactly, one step finer than the products' own offset.
    bits must be given, at least E + 2 and at most 15; lanes V > 1: V running sums, of k mod V each,
    then added pairwise. It saturates and aligns nothing: guard, rounding and overflow are left out,
    or given as what they are then, 0, "none" and "saturate", as `dataclasses.replace` gives them.
    """

    bits: int = _BY_STYLE  #: W, 4..62, default 24; "log": 4..15, no default
    guard: int = _BY_STYLE  #: headroom bits, 0..W-2, default 4; "log": 0
    overflow: str = _BY_STYLE  #: "saturate" (default) or "wrap"; "log": "saturate"
    lanes: int = 1  #: V, 1..1024: products added before the accumulator sees them; "log": sums
    rounding: str = _BY_STYLE  #: of the alignment: "floor" (default), "toward_zero"; "log": "none"
    style: str = "direct"  #: "direct", "bins" or "log"

    def __post_init__(self) -> None:
        require_choice("style", self.style, STYLES)
        settle_int(self, "lanes", 1, 1024)
        for name, value in (_LOG if self.style == "log" else _LINEAR).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.style == "log":
            self._check_log()
        else:
            self._check_linear()

    def _check_log(self) -> None:
        if self.bits is None:
            raise ValueError("bits must be given in style 'log', got None")
        settle_int(self, "bits", 4, 15)
        settle_int(self, "guard", 0, 62)
        for name, value in _LOG.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} must be left out in style 'log', got {getattr(self, name)!r}"
                )

    def _check_linear(self) -> None:
        settle_int(self, "bits", 4, 62)
        settle_int(self, "guard", 0, self.bits - 2)
        require_choice("overflow", self.overflow, ("saturate", "wrap"))
        require_choice("rounding", self.rounding, ("floor", "toward_zero"))
        if self.lanes << (self.bits - 1 - self.guard) >= (1 << 63) - (1 << (self.bits - 1)):
            raise ValueError(
                "accumulator must keep lanes * 2^(bits-1-guard) + 2^(bits-1) below 2^63, "
                f"got bits={self.bits}, guard={self.guard}, lanes={self.lanes}"
            )

    @property
    def term_bits(self) -> int:
        """Bits of the largest aligned magnitude: W - 1 - guard; style "log": of an exponent."""
        return self.bits if self.style == "log" else self.bits - 1 - self.guard

    @property
    def stored_bits(self) -> int:
        """Bits of what is kept between two products: W, or in style "log" V numbers of W + 1."""
        return (self.bits + 1) * self.lanes if self.style == "log" else self.bits


def least_log_bits(a: LNSFormat, b: LNSFormat) -> int:
    """Exponent bits that hold any product of the two formats and its double: style "log"'s W.

    A product enters as exponent p + 1, in steps of the finer gamma. E + 2 for one format.
    """
    gamma = max(a.gamma, b.gamma)
    top = a.max_exponent * (gamma // a.gamma) + b.max_exponent * (gamma // b.gamma) + 1
    return top.bit_length() + 1


def require_sums(acc: object, fmt: LNSFormat, a: Any, b: Any) -> LogCodes:
    """Return `acc` if it is what style "log" makes of a (..., M, K) times b (..., K, N).

    fmt: of the sums. Raises TypeError for another kind, ValueError for another format, shape or
    offset than offset_a + offset_b - 1, in steps of fmt's gamma.
    """
    if not isinstance(acc, LogCodes):
        got = getattr(acc, "dtype", type(acc).__name__)
        raise TypeError(f"acc must be an LNSArray in style 'log', got {got}")
    if acc.fmt != fmt:
        raise ValueError(f"acc must be of format {fmt.name}, got {acc.fmt.name}")
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"a and b must be (M, K) and (K, N), got shapes {a.shape} and {b.shape}")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if acc.shape != shape:
        raise ValueError(f"acc must have the product's shape {shape}, got {acc.shape}")
    if acc.size and a.shape[-1]:
        wanted = np.broadcast_to(sum_offset(a, b, fmt.gamma), shape)
        found = np.broadcast_to(np.asarray(acc.offset, np.int64), shape)
        if (wanted != found).any():
            at = tuple(int(i) for i in np.argwhere(wanted != found)[0])
            raise ValueError(
                f"acc must be at the product's offset {wanted[at]}, got {found[at]} at index {at}"
            )
    return acc


def sum_offset(a: Any, b: Any, gamma: int) -> npt.NDArray[np.int64]:
    """Return offset_a + offset_b - 1 in steps of `gamma`: of style "log"'s sums of a times b.

    a (..., M, K), b (..., K, N), each of an offset that is constant along K (0 where K = 0). int64,
    no axes or broadcastable to (..., M, N).
    """
    total = np.asarray(-1, np.int64)
    for x, axis in ((a, -1), (b, -2)):
        offset = np.asarray(x.offset, np.int64) * (gamma // x.fmt.gamma)
        if offset.ndim >= -axis:  # it has an axis K
            some = offset.shape[axis] > 0
            offset = np.take(offset, [0], axis) if some else np.zeros((), np.int64)
        total = np.asarray(total + offset)
    return total


def scaled(acc: object, factor: Any, places: npt.NDArray[np.int64]) -> Any:
    """Return float64 acc * factor * 2^places, infinite beyond float64's range.

    Raises TypeError for accumulators that are no array of integers or floats, ValueError where the
    scales do not fit their shape.
    """
    if not isinstance(acc, np.ndarray) or acc.dtype.kind not in "iuf":
        got = getattr(acc, "dtype", type(acc).__name__)
        raise TypeError(f"acc must be an array of accumulators, got {got}")
    try:
        fits = np.broadcast_shapes(acc.shape, places.shape) == acc.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"acc must have the product's shape {places.shape}, got {acc.shape}")
    with np.errstate(over="ignore", under="ignore"):
        # places beyond these give zero and infinity whatever an accumulator holds
        value = acc.astype(np.float64) * factor
        return np.ldexp(value, np.clip(places, -3000, 3000).astype(np.int32))
