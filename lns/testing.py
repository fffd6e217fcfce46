"""Hypothesis strategies for your own tests: formats, codes, arrays, offsets, numbers, datapaths.

    from hypothesis import given
    from lnsim.lns.testing import lns_arrays, lns_formats

    @given(lns_formats(max_exponent_bits=8).flatmap(lns_arrays))
    def test_negation_is_its_own_inverse(x): ...

Needs the extra lnsim[testing], and is imported by nothing else in the package. Profiles, to be
loaded with `hypothesis.settings.load_profile` after `register_profiles()`: "lnsim-dev" (50
examples), "lnsim-ci" (the same ones every time) and "lnsim-thorough" (2,000).
"""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .accumulator import least_log_bits
from .array import LNSArray
from .datapath import Accumulator, Antilog, Datapath
from .format import ENCODINGS, FloatFormat, IntFormat, LNSFormat

PROFILES = ("lnsim-dev", "lnsim-ci", "lnsim-thorough")

OFFSETS = st.integers(-(2**31), 2**31 - 1)
NEAR_OFFSETS = st.integers(-3000, 3000)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def register_profiles() -> None:
    """Make PROFILES known to Hypothesis."""
    settings.register_profile("lnsim-dev", max_examples=50, deadline=None)
    settings.register_profile("lnsim-ci", derandomize=True, deadline=None)
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
    offset: int | None = None,
) -> LNSArray:
    """Arrays of any codes of `fmt` (a negative zero among them), by default of up to 6 elements."""
    size = (draw(st.integers(0, 6)),) if shape is None else shape
    code = draw(hnp.arrays(fmt.code_dtype, size, elements=codes(fmt)))
    return LNSArray(code, draw(NEAR_OFFSETS) if offset is None else offset, fmt)


@st.composite
def accumulators(draw: st.DrawFn, styles: tuple[str, ...] = ("direct", "bins")) -> Accumulator:
    """Any accumulator that stays inside int64."""
    bits = draw(st.integers(4, 62))
    guard = draw(st.integers(0, bits - 2))
    room = (2**63 - 2 ** (bits - 1) - 1) >> (bits - 1 - guard)
    return Accumulator(
        bits=bits,
        guard=guard,
        overflow=draw(st.sampled_from(("saturate", "wrap"))),
        lanes=draw(st.integers(1, min(1024, room))),
        rounding=draw(st.sampled_from(("floor", "toward_zero"))),
        style=draw(st.sampled_from(styles)),
    )


@st.composite
def datapaths(draw: st.DrawFn, gamma: int) -> Datapath:
    """Any datapath that takes operands whose finer gamma is `gamma`."""
    accumulator = draw(accumulators())
    entries, table_bits = draw(powers_of_two(1, gamma)), draw(st.integers(1, 16))
    if accumulator.style == "bins":
        table_bits = min(table_bits, 63 - accumulator.bits)
        entries = min(entries, 2 ** (63 - accumulator.bits - table_bits))
    return Datapath(Antilog(entries, table_bits), accumulator)


@st.composite
def log_datapaths(draw: st.DrawFn, a: LNSFormat, b: LNSFormat) -> Datapath:
    """Any fully logarithmic datapath for operands of the two formats (at most 13 bits wide)."""
    rule = Accumulator(
        bits=draw(st.integers(least_log_bits(a, b), 15)),
        lanes=draw(st.one_of(st.integers(1, 9), st.just(1024))),
        style="log",
    )
    kind = draw(st.sampled_from(("exact", "mitchell", "table", "interp")))
    count = f":{draw(st.integers(1, 300))}" if kind in ("table", "interp") else ""
    return Datapath(accumulator=rule, variant=kind + count)


def float_values(dtype: type[np.floating]) -> st.SearchStrategy[float]:
    """Finite numbers of a numpy float dtype, subnormals and both zeros among them."""
    return DOUBLES if dtype is np.float64 else SINGLES
