"""Microscaling (MX) block formats as frozen values: small elements that share a power of two.

A block is 32 neighbours along one axis, stored as one scale and 32 elements::

      bit   7                           0     bits - 1        0      bits - 1        0
          +-------------------------------+ +-------------------+   +-------------------+
          |         X, E8M0 scale         | |     element 0     |...|     element 31    |
          +-------------------------------+ +-------------------+   +-------------------+

value = 2^(X - 127) * element; X = 255 makes a NaN of the whole block. Elements are FloatFormats, or
two's complement integers with an implied scale: an IntFormat of n bits counts 2^-(n-2), so that
mxint8 has -2 to 127/64; -2 is read, but never written.
Source: OCP Microscaling Formats (MX) Specification v1.0, sections 5.1 to 5.4.
"""

from dataclasses import dataclass
from fractions import Fraction

from .checks import require_choice, require_power_of_two
from .format import (
    FP4_E2M1,
    FP6_E2M3,
    FP6_E3M2,
    FP8_E4M3,
    FP8_E5M2,
    INT8,
    FloatFormat,
    Format,
    IntFormat,
)

SCALE_BITS = 8  # E8M0, OCP MX v1.0 section 5.4.1
SCALE_BIAS = 127  # OCP MX v1.0 section 5.4.1
SCALE_NAN = 255  # OCP MX v1.0 section 5.4.1


@dataclass(frozen=True, slots=True)
class MXFormat:
    """Blocks of `block` elements with one E8M0 scale each (see the module's drawing).

    The shared exponent is floor(log2(max|x|)) - max_exponent; elements are rounded to nearest even
    and saturate (OCP MX v1.0, section 6.3). Raises TypeError for an element that is no FloatFormat
    or IntFormat, ValueError for one of more than 8 bits or one that does not saturate, and for a
    block that is no power of two in 1..1024.
    """

    element: FloatFormat | IntFormat
    block: int = 32  #: elements that share a scale, a power of two; 32 in OCP MX v1.0

    def __post_init__(self) -> None:
        if not isinstance(self.element, FloatFormat | IntFormat):
            raise TypeError(f"element must be a FloatFormat or an IntFormat, got {self.element!r}")
        if self.element.bits > 8:
            raise ValueError(f"element must be of at most 8 bits, got {self.element.name}")
        if isinstance(self.element, FloatFormat) and self.element.overflow != "saturate":
            raise ValueError(f"element must saturate, got {self.element.name}")
        require_power_of_two("block", self.block, 1, 1024)

    @property
    def bits(self) -> int:
        """Bits of an element, its share of the scale apart."""
        return self.element.bits

    @property
    def stored_bits(self) -> float:
        """Bits an element takes with its share of the scale, in a full block: 8.25 for 8."""
        return self.element.bits + SCALE_BITS / self.block

    @property
    def implied_scale(self) -> int:
        """log2 of what an integer element counts: -(bits - 2); 0 for floats."""
        return 2 - self.element.bits if isinstance(self.element, IntFormat) else 0

    @property
    def max_element(self) -> Fraction:
        """Largest finite element, implied scale included."""
        return Fraction(self.element.max_value) * Fraction(2) ** self.implied_scale

    @property
    def max_exponent(self) -> int:
        """floor(log2(max_element)), emax of the element: 8, 15, 4, 2, 2 and 0 in OCP MX v1.0."""
        whole, part = self.max_element.numerator, self.max_element.denominator
        return whole.bit_length() - part.bit_length()  # the denominator is a power of two

    @property
    def min_scale(self) -> int:
        """log2 of the smallest positive element: every element is a multiple of 2^min_scale."""
        element = self.element
        return self.implied_scale if isinstance(element, IntFormat) else element.min_scale

    @property
    def name(self) -> str:
        """Short name, e.g. `mxfp8-e4m3`; a block that is not of 32 is appended (`-16`)."""
        short = "mxfp4" if self.element == FP4_E2M1 else f"mx{self.element.name}"
        return short if self.block == 32 else f"{short}-{self.block}"


AnyFormat = Format | MXFormat

_ELEMENTS = (FP8_E4M3, FP8_E5M2, FP6_E3M2, FP6_E2M3, FP4_E2M1, INT8)  # OCP MX v1.0, table 1
MX_FORMATS: dict[str, MXFormat] = {
    fmt.name: fmt for fmt in [MXFormat(element) for element in _ELEMENTS]
}


def get_mx_format(name: str) -> MXFormat:
    """Return the MX format called `name`; an unknown one raises ValueError listing the known."""
    return MX_FORMATS[require_choice("format", name, MX_FORMATS)]
