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

from .checks import require_bool, require_choice, settle_int, settle_power_of_two

_BYTE, _WORD = np.dtype(np.uint8), np.dtype(np.uint16)


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
        settle_int(self, "exponent_bits", 2, 15)
        settle_power_of_two(self, "gamma", 1, 4096)
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
        return _BYTE if self.bits <= 8 else _WORD

    @property
    def octaves(self) -> Fraction:
        """log2 of the largest over the smallest magnitude."""
        return Fraction(self.max_exponent - self.min_exponent, self.gamma)

    @property
    def name(self) -> str:
        """Short name, e.g. `lns-e7g8` (`lns-e7g8nz` without a zero code)."""
        return f"lns-e{self.exponent_bits}g{self.gamma}{'' if self.zero else 'nz'}"


ENCODINGS = ("ieee", "fn", "fnuz", "finite")


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary float with subnormals, rounded to nearest even (see the module's drawing).

    encoding "ieee": the top exponent holds infinities and NaNs. "fn" (OCP E4M3): the top exponent
    holds numbers, only the all-ones code of each sign is NaN, there is no infinity. "fnuz": the
    bias is one more, every code is a number but that of minus zero, which is the one NaN; a zero
    has no sign. "finite" (OCP fp6, fp4): every code is a number; a NaN cannot be stored.
    overflow "saturate": beyond the largest number the code is the largest number, infinity
    included; "infinity": IEEE's rule (in "fn" and "fnuz", which have none, NaN; "finite" always
    saturates). NaN stays NaN either way. The default is "saturate" for 8 bits and fewer, in
    "finite" too, and "infinity" above.
    Source: OCP OFP8 rev 1.0 (E4M3: max 448; E5M2: max 57344); OCP MX rev 1.0 (fp6, fp4); IEEE
    754-2019; "fnuz": ml_dtypes (max 240 and 57344).
    """

    exponent_bits: int  #: 2..8
    mantissa_bits: int  #: stored fraction bits, 1..23
    encoding: str = "ieee"  #: one of ENCODINGS
    overflow: str = "default"  #: "saturate" or "infinity"; "default" resolves by width

    def __post_init__(self) -> None:
        settle_int(self, "exponent_bits", 2, 8)
        settle_int(self, "mantissa_bits", 1, 23)
        require_choice("encoding", self.encoding, ENCODINGS)
        require_choice("overflow", self.overflow, ("saturate", "infinity", "default"))
        if self.overflow == "default":
            object.__setattr__(self, "overflow", self._usual_overflow)
        if self.encoding == "finite" and self.overflow != "saturate":
            raise ValueError(
                f"overflow must be saturate in the encoding finite, got {self.overflow!r}"
            )

    @property
    def _usual_overflow(self) -> str:
        return "saturate" if self.bits <= 8 or self.encoding == "finite" else "infinity"

    @property
    def bits(self) -> int:
        """Total bits of a code, sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """Exponent bias, 2^(exponent_bits - 1) - 1, in "fnuz" one more."""
        return (1 << (self.exponent_bits - 1)) - (self.encoding != "fnuz")

    @property
    def min_scale(self) -> int:
        """log2 of the smallest subnormal: every finite value is a multiple of 2^min_scale."""
        return 1 - self.bias - self.mantissa_bits

    @property
    def max_code(self) -> int:
        """Code of the largest finite number."""
        top = (1 << (self.bits - 1)) - 1
        unused = {"ieee": 1 << self.mantissa_bits, "fn": 1, "fnuz": 0, "finite": 0}
        return top - unused[self.encoding]

    @property
    def max_value(self) -> float:
        """Largest finite number."""
        exponent, mantissa = divmod(self.max_code, 1 << self.mantissa_bits)
        significand = mantissa + (1 << self.mantissa_bits)
        return float(significand) * 2.0 ** (exponent - self.bias - self.mantissa_bits)

    @property
    def _is_plain_ieee(self) -> bool:
        """IEEE's encoding, at widths that no OCP format without infinities shares."""
        finite = (self.exponent_bits, self.mantissa_bits, "finite")
        return self.encoding == "ieee" and finite not in _FLOAT_NAMES

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
            + ("" if self._is_plain_ieee else self.encoding),
        )
        return base if self.overflow == self._usual_overflow else f"{base}-{self.overflow}"


_FLOAT_NAMES = {
    (8, 23, "ieee"): "fp32",
    (5, 10, "ieee"): "fp16",
    (8, 7, "ieee"): "bf16",
    (4, 3, "fn"): "fp8-e4m3",
    (5, 2, "ieee"): "fp8-e5m2",
    (8, 10, "ieee"): "tf32",
    (4, 3, "fnuz"): "fp8-e4m3fnuz",
    (5, 2, "fnuz"): "fp8-e5m2fnuz",
    (3, 2, "finite"): "fp6-e3m2",
    (2, 3, "finite"): "fp6-e2m3",
    (2, 1, "finite"): "fp4-e2m1",
}


@dataclass(frozen=True, slots=True)
class IntFormat:
    """A two's complement integer with a power-of-two scale, rounded to nearest even, saturating."""

    bits: int  #: total bits, 2..16

    def __post_init__(self) -> None:
        settle_int(self, "bits", 2, 16)

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

TF32 = FloatFormat(8, 10)  # 19 bits, NVIDIA's name; stored in 32
FP8_E4M3FNUZ = FloatFormat(4, 3, encoding="fnuz")
FP8_E5M2FNUZ = FloatFormat(5, 2, encoding="fnuz")
FP6_E3M2 = FloatFormat(3, 2, encoding="finite")  # OCP MX rev 1.0
FP6_E2M3 = FloatFormat(2, 3, encoding="finite")  # OCP MX rev 1.0
FP4_E2M1 = FloatFormat(2, 1, encoding="finite")  # OCP MX rev 1.0
INT4 = IntFormat(4)


def _sixteen_octaves(bits: int, zero: bool = True) -> LNSFormat:
    """E = bits - 1 and gamma = 2^(E-4), at least 1: LNS-Madam's range whatever the width."""
    return LNSFormat(bits - 1, 1 << max(0, bits - 5), zero)


FORMATS: dict[str, Format] = {
    **{f"lns{bits}": _sixteen_octaves(bits) for bits in range(4, 17)},
    "lns-madam-8": LNS8,
    "lns-madam-u16": LNS16_UPDATE,
    "lns16-update": LNS16_UPDATE,
    # Madam's integer form (arXiv 2006.14560) stores a sign and an exponent without zero; the range
    # of its 12, 10 and 8 bits is not stated, so these have LNS-Madam's sixteen octaves.
    **{f"integer-madam-{bits}": _sixteen_octaves(bits, zero=False) for bits in (12, 10, 8)},
    "fp32": FP32,
    "tf32": TF32,
    "fp16": FP16,
    "bf16": BF16,
    "fp8-e4m3": FP8_E4M3,
    "fp8-e5m2": FP8_E5M2,
    "fp8-e4m3fnuz": FP8_E4M3FNUZ,
    "fp8-e5m2fnuz": FP8_E5M2FNUZ,
    "fp6-e3m2": FP6_E3M2,
    "fp6-e2m3": FP6_E2M3,
    "fp4-e2m1": FP4_E2M1,
    "int8": INT8,
    "int4": INT4,
}


def get_format(name: str) -> Format:
    """Return the format called `name`; an unknown name raises ValueError listing the known ones."""
    return FORMATS[require_choice("format", name, FORMATS)]
