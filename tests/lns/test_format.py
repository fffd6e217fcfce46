"""Formats and arrays of codes: derived numbers, names and every refusal."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from lnsim.lns import (
    BF16,
    FORMATS,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    LNS16_UPDATE,
    FloatArray,
    FloatFormat,
    IntArray,
    IntFormat,
    LNSArray,
    LNSFormat,
    get_format,
)
from lnsim.lns.oracle import decode_one
from lnsim.lns.testing import float_formats


def test_lns_numbers() -> None:
    """Bits, range and dtype follow from E, gamma and zero."""
    assert (LNS8.bits, LNS8.max_exponent, LNS8.min_exponent) == (8, 127, 1)
    assert LNS8.octaves == Fraction(126, 8)
    assert LNS8.code_dtype == np.uint8
    assert LNSFormat(8, 16).code_dtype == np.uint16
    assert (LNS16_UPDATE.bits, LNS16_UPDATE.min_exponent) == (16, 0)


def test_float_numbers() -> None:
    """Largest numbers of the standard formats: OCP OFP8 rev 1.0 and IEEE 754."""
    assert FP8_E4M3.max_value == 448
    assert FP8_E5M2.max_value == 57344
    assert FP16.max_value == 65504
    assert BF16.max_value == 2.0**128 - 2.0**120
    assert FP32.max_value == float(np.finfo(np.float32).max)
    assert [f.bits for f in (FP8_E4M3, FP16, FP32)] == [8, 16, 32]
    assert [f.overflow for f in (FP8_E4M3, FP8_E5M2, FP16, BF16, FP32)] == ["saturate"] * 2 + [
        "infinity"
    ] * 3


@given(float_formats())
def test_the_largest_float_code_has_the_largest_value(fmt: FloatFormat) -> None:
    """max_code decodes to max_value, and the next code is not a number; min_scale is the unit."""
    assert decode_one(fmt.max_code, 0, fmt) == fmt.max_value
    beyond = float(decode_one(fmt.max_code + 1, 0, fmt))
    assert beyond == 0 if fmt.encoding == "finite" else not np.isfinite(beyond)
    assert decode_one(1, 0, fmt) == Fraction(2) ** fmt.min_scale


def test_names_are_unique_and_looked_up() -> None:
    """Each name in FORMATS gives its format; a format's own name tells it apart."""
    assert all(get_format(name) is fmt for name, fmt in FORMATS.items())
    aliases = {"lns-madam-8", "lns16-update"}  # of lns8 and lns-madam-u16
    assert len({fmt.name for fmt in FORMATS.values()}) == len(FORMATS) - len(aliases)
    assert get_format("lns8") == LNS8
    assert [get_format(f"lns{bits}").bits for bits in range(4, 17)] == list(range(4, 17))
    assert get_format("lns16") == LNSFormat(15, 2048)
    assert [get_format(f"integer-madam-{n}").name for n in (12, 10, 8)] == [
        "lns-e11g128nz", "lns-e9g32nz", "lns-e7g8nz",
    ]  # fmt: skip
    assert LNS8.name == "lns-e7g8"
    assert LNS16_UPDATE.name == "lns-e15g2048nz"
    assert FloatFormat(4, 3, "fn", overflow="infinity").name == "fp8-e4m3-infinity"
    assert FloatFormat(3, 2, "fn").name == "fp6-e3m2fn"
    assert INT8.name == "int8"


def test_formats_are_frozen_and_comparable() -> None:
    """Equal fields, equal format and hash; no field can be set."""
    assert LNSFormat(7, 8) == LNS8
    assert hash(LNSFormat(7, 8)) == hash(LNS8)
    with pytest.raises(FrozenInstanceError):
        LNS8.gamma = 4  # type: ignore[misc]


REFUSED = [
    (lambda: LNSFormat(1, 8), ValueError, r"exponent_bits must be in 2\.\.15, got 1"),
    (lambda: LNSFormat(16, 8), ValueError, r"exponent_bits must be in 2\.\.15, got 16"),
    (lambda: LNSFormat(7, 6), ValueError, r"gamma must be a power of two, got 6"),
    (lambda: LNSFormat(7, 0), ValueError, r"gamma must be a power of two, got 0"),
    (lambda: LNSFormat(7, 8192), ValueError, r"gamma must be in 1\.\.4096, got 8192"),
    (lambda: LNSFormat(7.0, 8), TypeError, r"exponent_bits must be an integer, got 7\.0"),
    (lambda: LNSFormat(True, 8), TypeError, r"exponent_bits must be an integer, got True"),
    (lambda: LNSFormat(7, "8"), TypeError, r"gamma must be an integer, got '8'"),
    (lambda: LNSFormat(7, 8, 1), TypeError, r"zero must be True or False, got 1"),
    (lambda: FloatFormat(9, 3), ValueError, r"exponent_bits must be in 2\.\.8, got 9"),
    (lambda: FloatFormat(4, 24), ValueError, r"mantissa_bits must be in 1\.\.23, got 24"),
    (
        lambda: FloatFormat(4, 3, "x"),
        ValueError,
        r"encoding must be one of finite, fn, fnuz, ieee, got 'x'",
    ),
    (
        lambda: FloatFormat(4, 3, overflow="wrap"),
        ValueError,
        r"overflow must be one of default, infinity, saturate, got 'wrap'",
    ),
    (lambda: IntFormat(1), ValueError, r"bits must be in 2\.\.16, got 1"),
    (
        lambda: get_format("fp7"),
        ValueError,
        r"format must be one of bf16, fp16, .*tf32, got 'fp7'",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_formats_are_refused(make, error, message) -> None:  # type: ignore[no-untyped-def]
    """The message names the field, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        make()


U8 = np.zeros((2, 3), np.uint8)
REFUSED_ARRAYS = [
    (
        lambda: LNSArray(U8.astype(np.int64), 0, LNS8),
        TypeError,
        "code must be a numpy array of uint8 for lns-e7g8, got int64",
    ),
    (
        lambda: LNSArray([0], 0, LNS8),  # type: ignore[arg-type]
        TypeError,
        "code must be a numpy array of uint8 for lns-e7g8, got list",
    ),
    (
        lambda: LNSArray(U8 + np.uint8(16), 0, LNSFormat(3, 1)),
        ValueError,
        r"code must be below 2\^4 for lns-e3g1, got 16",
    ),
    (
        lambda: FloatArray(U8 + np.uint8(64), 0, FloatFormat(3, 2)),
        ValueError,
        r"code must be below 2\^6 for fp6-e3m2ieee, got 64",
    ),
    (
        lambda: IntArray(U8.astype(np.int8) + np.int8(8), 0, IntFormat(4)),
        ValueError,
        r"code must be in -8\.\.7 for int4, got 8",
    ),
    (lambda: LNSArray(U8, 0.5, LNS8), TypeError, r"offset must be an integer, got 0\.5"),  # type: ignore[arg-type]
    (
        lambda: LNSArray(U8, 2**31, LNS8),
        ValueError,
        r"offset must be in -2147483648\.\.2147483647, got 2147483648",
    ),
    (
        lambda: LNSArray(U8, np.zeros((2, 2), np.int32), LNS8),
        ValueError,
        r"offset must be broadcastable to the code's shape \(2, 3\), got \(2, 2\)",
    ),
    (
        lambda: LNSArray(U8, np.zeros((4, 2, 3), np.int32), LNS8),
        ValueError,
        r"offset must be broadcastable to the code's shape \(2, 3\), got \(4, 2, 3\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED_ARRAYS)
def test_bad_arrays_are_refused(make, error, message) -> None:  # type: ignore[no-untyped-def]
    """Codes of another dtype or width and offsets that do not fit are refused by name."""
    with pytest.raises(error, match=f"^{message}$"):
        make()


def test_arrays_know_their_shape_and_transpose() -> None:
    """Shape, size and the transpose of codes and of an offset per column."""
    columns = np.array([1, 2, 3], np.int64)
    array = LNSArray(np.arange(6, dtype=np.uint8).reshape(2, 3), columns, LNS8)
    assert (array.shape, array.ndim, array.size, len(array)) == ((2, 3), 2, 6, 2)
    assert array.T.shape == (3, 2)
    assert np.asarray(array.T.offset).shape == (3, 1)
    assert np.asarray(array.offset).dtype == np.int32
    assert LNSArray(U8, np.int16(3), LNS8).T.offset == 3
