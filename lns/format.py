"""Number formats as frozen values: how a number is stored, nothing about how it is computed with.

LNSFormat, E = 4, gamma = 2 (one sign bit above E exponent bits)::

      bit   4   3   2   1   0
          +---+---------------+      value = (-1)^sign * 2^((e + offset) / gamma)
          | s |       e       |      e = 0 is zero when zero=True
          +---+---------------+

FloatFormat, exponent_bits = 4, mantissa_bits = 3 (fp8 E4M3)::

      bit   7   6   5   4   3   2   1   0
          +---+---------------+-----------+
          | s |   exponent    | mantissa  |    subnormals where exponent = 0
          +---+---------------+-----------+

IntFormat: two's complement. An array of any format also carries `offset`, the base-2 logarithm of
its scale (in steps of 1/gamma for LNS, whole powers of two otherwise).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .checks import require_bool, require_choice, require_int, require_power_of_two


@dataclass(frozen=True, slots=True)
class LNSFormat:
    """A signed logarithmic code of 1 + exponent_bits bits (see the module's drawing).

    Raises ValueError or TypeError for exponent_bits outside 2..15 or a gamma that is not a power
    of two in 1..4096. Source of the form: LNS-Madam (arXiv 2106.13914), "multi-base" LNS.
    """

    exponent_bits: int = 7  #: E, width of the unsigned exponent, 2..15
    gamma: int = 8  #: G, steps per octave ("base factor"), a power of two, 1..4096
    zero: bool = True  #: True: e = 0 is zero; False: every e is a magnitude

    def __post_init__(self) -> None:
        require_int("exponent_bits", self.exponent_bits, 2, 15)
        require_power_of_two("gamma", self.gamma, 1, 4096)
        require_bool("zero", self.zero)

    @property
    def bits(self) -> int:
        """Total bits of a code, sign included."""
        return 1 + self.exponent_bits

    @property
    def max_exponent(self) -> int:
        """Largest stored e."""
        return (1 << self.exponent_bits) - 1

    @property
    def min_exponent(self) -> int:
        """Smallest stored e that is a magnitude."""
        return 1 if self.zero else 0

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Unsigned dtype a code is stored in: uint8 where it fits, else uint16."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def octaves(self) -> Fraction:
        """log2 of the largest over the smallest magnitude."""
        return Fraction(self.max_exponent - self.min_exponent, self.gamma)

    @property
    def name(self) -> str:
        """Short name, e.g. `lns-e7g8` (`lns-e7g8nz` without a zero code)."""
        return f"lns-e{self.exponent_bits}g{self.gamma}{'' if self.zero else 'nz'}"


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary float with subnormals, rounded to nearest even (see the module's drawing).

    encoding "ieee": the top exponent holds infinities and NaNs. "fn" (OCP E4M3): the top exponent
    holds numbers, only the all-ones code of each sign is NaN, there is no infinity.
    overflow "saturate": beyond the largest number the code is the largest number, infinity
    included; "infinity": IEEE's rule (in "fn", which has none, NaN). NaN stays NaN either way.
    The default is "saturate" for 8 bits and fewer and "infinity" above.
    Source: OCP OFP8 rev 1.0 (E4M3: max 448; E5M2: max 57344); IEEE 754-2019.
    """

    exponent_bits: int  #: 2..8
    mantissa_bits: int  #: stored fraction bits, 1..23
    encoding: str = "ieee"  #: "ieee" or "fn"
    overflow: str = "default"  #: "saturate" or "infinity"; "default" resolves by width

    def __post_init__(self) -> None:
        require_int("exponent_bits", self.exponent_bits, 2, 8)
        require_int("mantissa_bits", self.mantissa_bits, 1, 23)
        require_choice("encoding", self.encoding, ("ieee", "fn"))
        require_choice("overflow", self.overflow, ("saturate", "infinity", "default"))
        if self.overflow == "default":
            rule = "saturate" if self.bits <= 8 else "infinity"
            object.__setattr__(self, "overflow", rule)

    @property
    def bits(self) -> int:
        """Total bits of a code, sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """Exponent bias, 2^(exponent_bits - 1) - 1."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def min_scale(self) -> int:
        """log2 of the smallest subnormal: every finite value is a multiple of 2^min_scale."""
        return 1 - self.bias - self.mantissa_bits

    @property
    def max_code(self) -> int:
        """Code of the largest finite number."""
        top = (1 << (self.bits - 1)) - 1
        return top - 1 if self.encoding == "fn" else top - (1 << self.mantissa_bits)

    @property
    def max_value(self) -> float:
        """Largest finite number."""
        exponent, mantissa = divmod(self.max_code, 1 << self.mantissa_bits)
        significand = mantissa + (1 << self.mantissa_bits)
        return float(significand) * 2.0 ** (exponent - self.bias - self.mantissa_bits)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """uint8, uint16 or uint32, the narrowest that holds a code."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def name(self) -> str:
        """Short name, e.g. `fp8-e4m3` or `fp32`; a non-default overflow rule is appended."""
        base = _FLOAT_NAMES.get(
            (self.exponent_bits, self.mantissa_bits, self.encoding),
            f"fp{self.bits}-e{self.exponent_bits}m{self.mantissa_bits}"
            + ("fn" if self.encoding == "fn" else ""),
        )
        usual = "saturate" if self.bits <= 8 else "infinity"
        return base if self.overflow == usual else f"{base}-{self.overflow}"


_FLOAT_NAMES = {
    (8, 23, "ieee"): "fp32",
    (5, 10, "ieee"): "fp16",
    (8, 7, "ieee"): "bf16",
    (4, 3, "fn"): "fp8-e4m3",
    (5, 2, "ieee"): "fp8-e5m2",
}


@dataclass(frozen=True, slots=True)
class IntFormat:
    """A two's complement integer with a power-of-two scale, rounded to nearest even, saturating."""

    bits: int  #: total bits, 2..16

    def __post_init__(self) -> None:
        require_int("bits", self.bits, 2, 16)

    @property
    def min_value(self) -> int:
        """Most negative code."""
        return -(1 << (self.bits - 1))

    @property
    def max_value(self) -> int:
        """Most positive code."""
        return (1 << (self.bits - 1)) - 1

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """int8 where it fits, else int16."""
        return np.dtype(np.int8 if self.bits <= 8 else np.int16)

    @property
    def name(self) -> str:
        """Short name, e.g. `int8`."""
        return f"int{self.bits}"


Format = LNSFormat | FloatFormat | IntFormat

FP32 = FloatFormat(8, 23)
FP16 = FloatFormat(5, 10)
BF16 = FloatFormat(8, 7)
FP8_E4M3 = FloatFormat(4, 3, encoding="fn")  # OCP OFP8 rev 1.0
FP8_E5M2 = FloatFormat(5, 2)  # OCP OFP8 rev 1.0
INT8 = IntFormat(8)
LNS8 = LNSFormat(7, 8)  # LNS-Madam's 8-bit GEMM format
LNS16_UPDATE = LNSFormat(15, 2048, zero=False)  # LNS-Madam's 16-bit update format

FORMATS: dict[str, Format] = {
    "lns4": LNSFormat(3, 1),
    "lns5": LNSFormat(4, 1),
    "lns6": LNSFormat(5, 2),
    "lns7": LNSFormat(6, 4),
    "lns8": LNS8,
    "lns9": LNSFormat(8, 16),
    "lns16-update": LNS16_UPDATE,
    "fp32": FP32,
    "fp16": FP16,
    "bf16": BF16,
    "fp8-e4m3": FP8_E4M3,
    "fp8-e5m2": FP8_E5M2,
    "int8": INT8,
}


def get_format(name: str) -> Format:
    """Return the format called `name`; an unknown name raises ValueError listing the known ones."""
    return FORMATS[require_choice("format", name, FORMATS)]
