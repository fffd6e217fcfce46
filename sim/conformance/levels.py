"""How much the conformance suite asks: the formats and counts of `quick` and `full`."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...lns.format import BF16, FORMATS, FP16, FP32, FloatFormat, IntFormat, LNSFormat

VARIANTS = ("exact", "table:3", "table:16", "interp:4", "interp:16", "mitchell")
GAMMAS = tuple(1 << n for n in range(13))  # all that LNSFormat has: 1..4096
ROUNDINGS = ("nearest", "nearest_value", "floor")


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
