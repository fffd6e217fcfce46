"""Strategies of wild values: what a caller may hand over by mistake, and what is nearly right."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lnsim.lns import (
    FORMATS,
    Accumulator,
    Antilog,
    Datapath,
    FloatArray,
    FloatDatapath,
    FloatFormat,
    IntArray,
    IntDatapath,
    IntFormat,
    LNSArray,
    LNSFormat,
)
from lnsim.lns.testing import datapaths, lns_formats

HUGE = (
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    -(2**31) - 1,
    -(2**63),
    -(2**63) - 1,
    10**30,
    10**400,
)


class Index:
    """Has __index__."""

    def __index__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return "Index()"


class BadIndex:
    """Has an __index__ that fails."""

    def __index__(self) -> int:
        raise ValueError("__index__ must not be asked")

    def __repr__(self) -> str:
        return "BadIndex()"


def whole() -> st.SearchStrategy[int]:
    """Integers, small ones most, huge ones too."""
    return st.one_of(st.integers(-3, 40), st.integers(), st.sampled_from(HUGE))


NUMBERS: tuple[Any, ...] = (
    True, False, 0.0, -0.0, 1.5, 8.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 1j,
    Decimal("8"), Decimal("NaN"), Fraction(1, 3), np.float32(8), np.float64("nan"), np.float16(1),
    np.int8(7), np.int8(-1), np.uint64(2**64 - 1), np.int64(8), np.bool_(True), np.complex64(1),
    np.longdouble(8), np.datetime64("2020"), np.timedelta64(3, "s"), Index(), BadIndex(),
)  # fmt: skip
OBJECTS: tuple[Any, ...] = (
    None, "", "8", "nearest", "exact", "table:0", "table:8", "interp:99999999999999999999",
    "table:٣", "lanes:²", "lanes:4", "tree", "\0", "x" * 200, "٣", b"8", bytearray(b"\1"), [], [1],
    (), (1, 2),
    [[1.0, 2.0], [3.0]], {}, {"a": 1}, set(), range(3), object(), int, len, np.int64, ...,
    slice(None), memoryview(b"ab"), np.random.default_rng(0), np.random.RandomState(0),
    np.dtype(np.float32), np.str_("nearest"), np.bytes_(b"a"),
)  # fmt: skip


def shapes(most: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of up to three axes, empty ones among them."""
    return st.lists(st.integers(0, most), max_size=3).map(tuple)


def twisted(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """The same values in another layout: transposed, strided, reversed, read-only, unaligned."""
    how = draw(st.sampled_from(("as is", "as is", "fortran", "strided", "reversed", "read-only",
                                "unaligned", "broadcast", "swapped")))  # fmt: skip
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if how == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    if how == "read-only":
        array = array.copy()
        array.setflags(write=False)
    if how == "unaligned" and array.size and not array.dtype.hasobject:
        raw = np.zeros(array.nbytes + 1, np.uint8)
        off = raw[1:].view(array.dtype).reshape(array.shape)
        off[...] = array
        return off
    if how == "broadcast" and array.ndim and array.shape[0]:
        return np.broadcast_to(array[:1], array.shape)
    if how == "swapped" and array.dtype.kind in "iufc":
        return array.astype(array.dtype.newbyteorder())
    return array


DTYPES = (
    "f4",
    "f8",
    "f2",
    "g",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "?",
    "c8",
    "O",
    "U3",
    "M8[s]",
)


@st.composite
def arrays(draw: st.DrawFn, dtypes: tuple[str, ...] = DTYPES, most: int = 4) -> np.ndarray:
    """Arrays of any dtype, shape and layout."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(shapes(most))
    if dtype.kind in "fiub":
        array = draw(hnp.arrays(dtype if dtype != np.longdouble else np.float64, shape))
        array = array.astype(dtype)
    else:
        array = np.zeros(shape, dtype)
        if dtype.kind == "O":
            array[...] = draw(st.sampled_from((1, 2.5, None, "a", 10**30)))
    if draw(st.integers(0, 20)) == 0:
        return np.ma.masked_array(array)
    return twisted(draw, array)


def real_arrays() -> st.SearchStrategy[np.ndarray]:
    """float32 and float64 of any shape and layout, NaN and infinities among them."""
    return arrays(("f4", "f8"))


@st.composite
def finite_arrays(draw: st.DrawFn) -> np.ndarray:
    """float32 and float64 without NaN and infinity."""
    array = draw(real_arrays())
    with np.errstate(all="ignore"):
        return np.nan_to_num(array, nan=0.5, posinf=2.0, neginf=-1e-30).astype(array.dtype)


@st.composite
def formats(draw: st.DrawFn) -> Any:
    """A format of any of the three kinds."""
    which = draw(st.integers(0, 4))
    if which <= 1:
        return draw(lns_formats())
    if which == 2:
        return draw(st.sampled_from(sorted(FORMATS.values(), key=lambda f: f.name)))
    if which == 3:
        encoding = draw(st.sampled_from(("ieee", "fn", "fnuz", "finite")))
        return FloatFormat(draw(st.integers(2, 8)), draw(st.integers(1, 23)), encoding)
    return IntFormat(draw(st.integers(2, 16)))


@st.composite
def offsets(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """An offset that fits codes of `shape`: one number, or one along some axes."""
    if draw(st.booleans()):
        return draw(st.one_of(st.integers(-60, 60), st.integers(-(2**31), 2**31 - 1)))
    own = tuple(1 if draw(st.booleans()) else n for n in shape)
    own = own[draw(st.integers(0, len(own))) :]
    return draw(hnp.arrays(np.int32, own, elements=st.integers(-60, 60)))


@st.composite
def code_arrays(
    draw: st.DrawFn, fmt: Any = None, shape: Any = None, offset: Any = None, plain: bool = False
) -> Any:
    """An LNSArray, FloatArray or IntArray, of any layout that its class takes."""
    fmt = draw(formats()) if fmt is None else fmt
    shape = draw(shapes()) if shape is None else shape
    if isinstance(fmt, IntFormat):
        kind: Any = IntArray
        elements = st.integers(fmt.min_value, fmt.max_value)
    else:
        kind = LNSArray if isinstance(fmt, LNSFormat) else FloatArray
        elements = st.integers(0, 2**fmt.bits - 1)
    code = draw(hnp.arrays(fmt.code_dtype, shape, elements=elements))
    if not plain:
        code = twisted(draw, code)
        code = code if code.dtype.isnative else code.astype(fmt.code_dtype)
    return kind(code, draw(offsets(shape)) if offset is None else offset, fmt)


@st.composite
def any_datapath(draw: st.DrawFn) -> Any:
    """A datapath of any of the three kinds."""
    which = draw(st.integers(0, 3))
    if which <= 1:
        return draw(datapaths(2 ** draw(st.integers(0, 12))))
    if which == 2:
        own = draw(
            st.sampled_from((FORMATS["fp32"], FORMATS["bf16"], FORMATS["fp16"], Accumulator()))
        )
        return FloatDatapath(own)
    return IntDatapath(Accumulator(draw(st.integers(4, 62)), 0))


def anything() -> st.SearchStrategy[Any]:
    """Any value of the lists above, any array, format, datapath or code array."""
    return st.one_of(
        st.sampled_from(OBJECTS),
        st.sampled_from(NUMBERS),
        whole(),
        st.floats(),
        st.text(max_size=4),
        arrays(),
        formats(),
        code_arrays(),
        any_datapath(),
        st.just(Antilog()),
        st.just(Accumulator()),
        st.just(Datapath()),
    )


def mostly(right: st.SearchStrategy[Any], odds: int = 5) -> st.SearchStrategy[Any]:
    """`right` in `odds` of odds + 1 draws, else anything."""
    return st.integers(0, odds).flatmap(lambda n: right if n else anything())
