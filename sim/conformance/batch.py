"""The questions of the conformance suite as values: an operation, its operands, its settings.

A batch is one call of one operation on arrays. `LEVELS` says how much is asked; the questions are
made in conformance_codes.py, conformance_reals.py and conformance_gemms.py, and answered by the
oracle in conformance_judge.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...lns.array import FloatArray, IntArray, LNSArray
from ...lns.format import (
    BF16,
    FORMATS,
    FP16,
    FP32,
    FloatFormat,
    Format,
    IntFormat,
    LNSFormat,
)

Operand = LNSArray | FloatArray | IntArray | npt.NDArray[Any]
VARIANTS = ("exact", "table:3", "table:16", "interp:4", "interp:16", "mitchell")
GAMMAS = tuple(1 << n for n in range(13))  # all that LNSFormat has: 1..4096
ROUNDINGS = ("nearest", "nearest_value", "floor")

# operation -> what its result is: "code" (of an LNS or float format), "integer" or "float64"
OPERATIONS = {
    "encode": "code",
    "encode_stochastic": "code",
    "default_offset": "integer",
    "decode": "float64",
    "requantise": "code",
    "mul": "code",
    "div": "code",
    "square": "code",
    "sqrt": "code",
    "neg": "code",
    "absolute": "code",
    "compare": "integer",
    "add": "code",
    "sub": "code",
    "total": "code",
    "dot": "code",
    "matmul": "integer",
    "matmul_log": "code",
    "encode_float": "code",
    "decode_float": "float64",
    "matmul_float": "float32",  # "integer" with a fixed-point accumulator
    "encode_int": "integer",
    "decode_int": "float64",
    "matmul_int": "integer",
}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One call: `operation(*operands, *settings)`, in the order of the two dictionaries.

    exhaustive: the operands are all there are of `what`, for these formats and settings.
    refused: the operands are invalid and the answer is an error.
    """

    section: str
    operation: str  #: one of OPERATIONS
    what: str  #: what the operands are, such as "every pair of codes"
    operands: Mapping[str, Operand]
    settings: Mapping[str, Any]
    exhaustive: bool
    refused: bool = False

    @property
    def result(self) -> str:
        """What the answer consists of: "code", "integer", "float64" or "float32"."""
        if self.operation == "matmul_float":
            fixed = not isinstance(self.settings["datapath"].accumulator, FloatFormat)
            return "integer" if fixed else "float32"
        return OPERATIONS[self.operation]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the answer."""
        first, *others = self.operands.values()
        if self.operation.startswith("matmul"):
            return first.shape[0], others[0].shape[1]
        if self.operation in ("total", "dot"):
            return first.shape[:-1]
        return () if self.operation == "default_offset" else first.shape

    @property
    def cases(self) -> int:
        """Numbers in the answer; an error is one."""
        return 1 if self.refused else int(np.prod(self.shape))

    @property
    def target(self) -> Format | None:
        """Format of the answer's codes; None for other answers."""
        if "accumulator_bits" in self.settings:
            gamma = max(fmt.gamma for fmt in self.formats if isinstance(fmt, LNSFormat))
            return LNSFormat(self.settings["accumulator_bits"], gamma)
        if self.result != "code" and self.operation != "encode_int":
            return None
        target: Format = self.settings.get("fmt") or self.formats[0]
        return target

    @property
    def offset(self) -> Any:
        """Offset beside the answer's codes."""
        if "accumulator_bits" in self.settings:
            arrays = [x for x in self.operands.values() if isinstance(x, LNSArray)]
            gamma = max(x.fmt.gamma for x in arrays)
            return sum(x.offset * (gamma // x.fmt.gamma) for x in arrays) - 1
        if "offset" in self.settings:
            return self.settings["offset"]
        return next(x.offset for x in self.operands.values() if not isinstance(x, np.ndarray))

    @property
    def formats(self) -> list[Format]:
        """Formats of the operands; where they are numbers, the target's."""
        found: list[Format] = [
            x.fmt for x in self.operands.values() if not isinstance(x, np.ndarray)
        ]
        return found or [self.settings["fmt"]]

    @property
    def coverage(self) -> str:
        """ "exhaustive"; "directed": chosen one by one; "sampled": drawn."""
        if self.exhaustive:
            return "exhaustive"
        return "directed" if self.refused or self.what.startswith("directed") else "sampled"


def one_each(offset: Any, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return an offset, or several, as one per element of `shape`."""
    return np.broadcast_to(np.asarray(offset, np.int64), shape)


def codes(fmt: LNSFormat, values: Iterable[int], offset: int = 0) -> LNSArray:
    """Return an array of one axis."""
    return LNSArray(np.array(list(values), fmt.code_dtype), offset, fmt)


def every_code(fmt: LNSFormat, offset: int = 0) -> LNSArray:
    """Return all codes, the negative zero among them."""
    return codes(fmt, range(1 << fmt.bits), offset)


def every_pair(
    a: LNSFormat, b: LNSFormat, offset_a: int = 0, offset_b: int = 0
) -> tuple[LNSArray, LNSArray]:
    """Return all pairs of codes of two formats, the second running faster."""
    count_a, count_b = 1 << a.bits, 1 << b.bits
    left, right = np.repeat(np.arange(count_a), count_b), np.tile(np.arange(count_b), count_a)
    return (
        LNSArray(left.astype(a.code_dtype), offset_a, a),
        LNSArray(right.astype(b.code_dtype), offset_b, b),
    )


@dataclass(frozen=True, slots=True)
class Level:
    """How much is asked."""

    name: str
    pairs: tuple[LNSFormat, ...]  #: every pair of codes of each
    boundaries: tuple[LNSFormat, ...]  #: every boundary of encoding
    wide: tuple[LNSFormat, ...]  #: drawn codes
    drawn: int  #: codes, or pairs of codes, drawn of each wide format
    distances: tuple[LNSFormat, ...]  #: add and sub at every distance of exponents
    terms: tuple[tuple[LNSFormat, LNSFormat], ...]  #: every pair as a product with K = 1
    gemms: int  #: random products of each style
    large: tuple[tuple[int, int, int], ...]  #: (M, K, N) beyond a kernel's blocks
    floats: tuple[FloatFormat, ...]  #: every code
    wide_floats: tuple[FloatFormat, ...]  #: drawn codes
    ints: tuple[IntFormat, ...]


def _lns(*numbers: tuple[int, int, bool]) -> tuple[LNSFormat, ...]:
    return tuple(LNSFormat(*three) for three in numbers)


def _both_overflows(names: Iterable[str]) -> tuple[FloatFormat, ...]:
    """Each named format with both of its rules beyond the largest number."""
    found: list[FloatFormat] = []
    for name in names:
        fmt = FORMATS[name]
        assert isinstance(fmt, FloatFormat)
        rules = ("saturate",) if fmt.encoding == "finite" else ("saturate", "infinity")
        found += [FloatFormat(fmt.exponent_bits, fmt.mantissa_bits, fmt.encoding, r) for r in rules]
    return tuple(found)


_SMALL_FLOATS = tuple(name for name in FORMATS if name.startswith(("fp8-", "fp6-", "fp4-")))
_WIDE = _lns((9, 64, True), (12, 256, False), (15, 2048, False))
_E7G8, _E4G2 = LNSFormat(7, 8), LNSFormat(4, 2)
_TERMS = (
    (LNSFormat(3, 1), LNSFormat(3, 1)),
    (LNSFormat(4, 4), LNSFormat(4, 4)),
    (LNSFormat(4, 4, zero=False), LNSFormat(3, 1)),
    (LNSFormat(3, 8), LNSFormat(5, 2, zero=False)),
    (_E7G8, _E4G2),
)

QUICK = Level(
    name="quick",
    pairs=_lns(
        (2, 1, True), (2, 1, False), (3, 1, True), (3, 2, True), (3, 2, False), (4, 1, True),
        (4, 2, False), (4, 4, True), (5, 2, True), (5, 4, False), (7, 8, True),
    ),
    boundaries=_lns(
        (2, 1, True), (2, 1, False), (3, 1, True), (3, 2, False), (4, 1, False), (4, 4, True),
        (7, 8, True),
    ),
    wide=_WIDE,
    drawn=200,
    distances=_lns((9, 64, True)),
    terms=_TERMS,
    gemms=250,
    large=((33, 40, 70), (3, 130, 17)),
    floats=_both_overflows(_SMALL_FLOATS),
    wide_floats=(FP16, BF16, FP32),
    ints=(IntFormat(4), IntFormat(8)),
)  # fmt: skip

FULL = Level(
    name="full",
    pairs=tuple(
        LNSFormat(e, g, zero)
        for e in (2, 3, 4, 5, 6, 7)
        for g in (1, 2, 4, 8, 16)
        for zero in (True, False)
        if g < 1 << e and (e < 7 or g == 8)
    ),
    boundaries=tuple(
        LNSFormat(e, g, zero)
        for e, g in ((2, 1), (3, 1), (3, 2), (4, 1), (4, 4), (5, 2), (6, 4), (7, 8), (8, 16))
        for zero in (True, False)
    ),
    wide=(*_WIDE, LNSFormat(10, 4096), LNSFormat(15, 1)),
    drawn=2000,
    distances=_lns((9, 64, True), (10, 64, False), (12, 256, True), (15, 2048, True)),
    terms=(*_TERMS, (_E7G8, _E7G8), (LNSFormat(6, 32, zero=False), LNSFormat(6, 32))),
    gemms=4000,
    large=((33, 40, 70), (3, 130, 17), (65, 257, 33), (130, 100, 65)),
    floats=_both_overflows(_SMALL_FLOATS),
    wide_floats=(*_both_overflows(("fp16", "bf16", "tf32", "fp32")), FloatFormat(5, 9)),
    ints=(IntFormat(2), IntFormat(4), IntFormat(8), IntFormat(16)),
)  # fmt: skip

LEVELS = {level.name: level for level in (QUICK, FULL)}
