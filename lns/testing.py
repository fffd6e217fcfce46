"""Hypothesis strategies for your own tests: formats, codes, arrays, scales, numbers, datapaths.

    from hypothesis import given
    from lnsim.lns.testing import lns_arrays, lns_formats

    @given(lns_formats(max_exponent_bits=8).flatmap(lns_arrays))
    def test_negation_is_its_own_inverse(x): ...

Needs the extra lnsim[testing], and is imported by nothing else in the package. Profiles, to be
loaded with `hypothesis.settings.load_profile` after `register_profiles()`: "lnsim-dev" (50
examples), "lnsim-ci" (the same ones every time) and "lnsim-thorough" (2,000).
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .accumulator import STYLES, least_log_bits
from .array import LNSArray, Offset
from .checks import require_choice
from .datapath import Accumulator, Antilog, Datapath
from .format import ENCODINGS, FloatFormat, IntFormat, LNSFormat
from .mx import MXArray, require_axis, scale_shape
from .mx_format import MXFormat

PROFILES = ("lnsim-dev", "lnsim-ci", "lnsim-thorough")

OFFSETS = st.integers(-(2**31), 2**31 - 1)
NEAR_OFFSETS = st.integers(-3000, 3000)
_WIDTHS: dict[str, Literal[16, 32, 64]] = {"float16": 16, "float32": 32, "float64": 64}
_SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def register_profiles() -> None:
    """Make PROFILES known to Hypothesis."""
    settings.register_profile("lnsim-dev", max_examples=50, deadline=None)
    settings.register_profile("lnsim-ci", max_examples=100, derandomize=True, deadline=None)
    settings.register_profile("lnsim-thorough", max_examples=2000, deadline=None)


def powers_of_two(low: int, high: int) -> st.SearchStrategy[int]:
    """Powers of two in low..high, themselves powers of two."""
    return st.integers(low.bit_length() - 1, high.bit_length() - 1).map(lambda n: 2**n)


@st.composite
def lns_formats(
    draw: st.DrawFn, max_exponent_bits: int = 15, max_gamma: int = 4096, gamma: int | None = None
) -> LNSFormat:
    """Any LNSFormat within the bounds; `gamma` fixes its gamma."""
    steps = draw(powers_of_two(1, max_gamma)) if gamma is None else gamma
    return LNSFormat(draw(st.integers(2, max_exponent_bits)), steps, draw(st.booleans()))


@st.composite
def float_formats(draw: st.DrawFn) -> FloatFormat:
    """Any FloatFormat, of every encoding."""
    encoding = draw(st.sampled_from(ENCODINGS))
    overflow = (
        "saturate" if encoding == "finite" else draw(st.sampled_from(("saturate", "infinity")))
    )
    return FloatFormat(draw(st.integers(2, 8)), draw(st.integers(1, 23)), encoding, overflow)


def int_formats() -> st.SearchStrategy[IntFormat]:
    """Any IntFormat."""
    return st.integers(2, 16).map(IntFormat)


def codes(fmt: LNSFormat) -> st.SearchStrategy[int]:
    """Any code of `fmt` as an int, the negative zero among them."""
    return st.integers(0, 2**fmt.bits - 1)


@st.composite
def lns_arrays(
    draw: st.DrawFn,
    fmt: LNSFormat,
    shape: tuple[int, ...] | None = None,
    offset: Offset | None = None,
) -> LNSArray:
    """Arrays of any codes of `fmt` (a negative zero among them), by default of up to 6 elements.

    offset: an int, or int32 that broadcasts to the shape; None: one of NEAR_OFFSETS.
    """
    size = (draw(st.integers(0, 6)),) if shape is None else shape
    code = draw(hnp.arrays(fmt.code_dtype, size, elements=codes(fmt)))
    return LNSArray(code, draw(NEAR_OFFSETS) if offset is None else offset, fmt)


@st.composite
def channel_arrays(
    draw: st.DrawFn,
    fmt: LNSFormat,
    shape: tuple[int, ...] | None = None,
    axis: int | None = None,
) -> LNSArray:
    """Arrays with an offset for each index of an axis: int32, size 1 along the others.

    shape: of at least one axis; None: one to three axes of up to 4. axis None: any of them.
    """
    size = draw(_SHAPES) if shape is None else shape
    along = draw(st.integers(0, len(size) - 1)) if axis is None else require_axis(axis, len(size))
    scales = tuple(n if i == along else 1 for i, n in enumerate(size))
    offset = draw(hnp.arrays(np.int32, scales, elements=NEAR_OFFSETS))
    return draw(lns_arrays(fmt, size, offset))


@st.composite
def mx_formats(draw: st.DrawFn, max_block: int = 64) -> MXFormat:
    """MX formats of any element of up to 8 bits, blocks of a power of two up to `max_block`."""
    elements = st.one_of(float_formats(), int_formats())
    element = draw(elements.filter(lambda e: e.bits <= 8 and _saturates(e)))
    return MXFormat(element, draw(powers_of_two(1, max_block)))


@st.composite
def mx_arrays(
    draw: st.DrawFn,
    fmt: MXFormat,
    shape: tuple[int, ...] | None = None,
    axis: int | None = None,
) -> MXArray:
    """Arrays of any element and scale codes, NaN among them (a scale of 255).

    shape: of at least one axis; None: one to three axes of up to 4. axis, of the blocks: None: any.
    """
    size = draw(_SHAPES) if shape is None else shape
    along = draw(st.integers(0, len(size) - 1)) if axis is None else require_axis(axis, len(size))
    element = fmt.element
    ends = (
        (element.min_value, element.max_value)
        if isinstance(element, IntFormat)
        else (0, 2**element.bits - 1)
    )
    code = draw(hnp.arrays(element.code_dtype, size, elements=st.integers(*ends)))
    scale = draw(hnp.arrays(np.uint8, scale_shape(size, along, fmt)))
    return MXArray(code, scale, along, fmt)


def _saturates(element: FloatFormat | IntFormat) -> bool:
    return isinstance(element, IntFormat) or element.overflow == "saturate"


def accumulators(styles: tuple[str, ...] = ("direct", "bins")) -> st.SearchStrategy[Accumulator]:
    """Any accumulator of these styles that stays inside int64; style "log": 4 to 15 bits.

    Raises ValueError for a style that does not exist, or none.
    """
    known = [require_choice("styles", style, STYLES) for style in styles]
    if not known:
        raise ValueError("styles must name at least one style, got none")
    return st.sampled_from(known).flatmap(
        lambda style: _log_accumulators(4) if style == "log" else _linear_accumulators(style)
    )


@st.composite
def _linear_accumulators(draw: st.DrawFn, style: str) -> Accumulator:
    bits = draw(st.integers(4, 62))
    guard = draw(st.integers(0, bits - 2))
    room = (2**63 - 2 ** (bits - 1) - 1) >> (bits - 1 - guard)
    return Accumulator(
        bits=bits,
        guard=guard,
        overflow=draw(st.sampled_from(("saturate", "wrap"))),
        lanes=draw(st.integers(1, min(1024, room))),
        rounding=draw(st.sampled_from(("floor", "toward_zero"))),
        style=style,
    )


@st.composite
def _log_accumulators(draw: st.DrawFn, least: int) -> Accumulator:
    lanes = draw(st.one_of(st.integers(1, 9), st.just(1024)))
    return Accumulator(bits=draw(st.integers(least, 15)), lanes=lanes, style="log")


@st.composite
def datapaths(draw: st.DrawFn, gamma: int) -> Datapath:
    """Any datapath that takes operands whose finer gamma is `gamma`."""
    accumulator = draw(accumulators())
    entries, table_bits = draw(powers_of_two(1, gamma)), draw(st.integers(1, 16))
    if accumulator.style == "bins":
        table_bits = min(table_bits, 63 - accumulator.bits)
        entries = min(entries, 2 ** (63 - accumulator.bits - table_bits))
    return Datapath(Antilog(entries, table_bits), accumulator)


def log_datapaths(a: LNSFormat, b: LNSFormat) -> st.SearchStrategy[Datapath]:
    """Any fully logarithmic datapath for operands of the two formats.

    Raises ValueError for formats whose products need more than 15 exponent bits and their sums.
    """
    least = least_log_bits(a, b)
    if least > 15:
        raise ValueError(
            f"a and b must be formats whose sums of products fit 15 exponent bits, got {a.name} "
            f"and {b.name}, which need {least}"
        )
    return _log_datapaths(least)


@st.composite
def _log_datapaths(draw: st.DrawFn, least: int) -> Datapath:
    rule = draw(_log_accumulators(least))
    kind = draw(st.sampled_from(("exact", "mitchell", "table", "interp")))
    count = f":{draw(st.integers(1, 300))}" if kind in ("table", "interp") else ""
    return Datapath(accumulator=rule, variant=kind + count)


def float_values(dtype: npt.DTypeLike) -> st.SearchStrategy[float]:
    """Finite numbers of a numpy float dtype, subnormals and both zeros among them.

    Raises ValueError for another dtype than float16, float32 and float64.
    """
    name = np.dtype(dtype).name
    if name not in _WIDTHS:
        raise ValueError(f"dtype must be one of {', '.join(_WIDTHS)}, got {name}")
    return st.floats(width=_WIDTHS[name], allow_nan=False, allow_infinity=False)
