"""MX blocks: equal to the oracle in fractions and to gfloat's block formats.

Where the rules part: gfloat (0.5) takes floor(log2(max)) from a rounded logarithm, so a maximum
just below a power of two can get the next scale (the exact exponent is given to it below, its own
rule is tried away from there), and it has no rule for NaN and infinity in a block, which are
refused here. In mxint8 it rounds numbers below -1.9921875 times the scale to -2, the code that
the specification (5.3.4) allows to leave unused, as here. Both give a block of zeros the smallest
scale.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gfloat import RoundMode, decode_block, encode_block
from gfloat import formats as gfloat_formats
from gfloat.block import compute_scale_amax, quantize_block
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lnsim.lns import (
    FP8_E4M3,
    FP16,
    FP32,
    INT8,
    MX_FORMATS,
    FloatFormat,
    IntFormat,
    MXArray,
    MXFormat,
    NonFiniteError,
    decode_mx,
    encode_mx,
    get_mx_format,
)
from lnsim.lns import oracle_mx as oracle
from lnsim.lns.mx import round_mx
from lnsim.lns.testing import float_values

GFLOAT = {
    "mxfp8-e4m3": gfloat_formats.format_info_mxfp8_e4m3,
    "mxfp8-e5m2": gfloat_formats.format_info_mxfp8_e5m2,
    "mxfp6-e3m2": gfloat_formats.format_info_mxfp6_e3m2,
    "mxfp6-e2m3": gfloat_formats.format_info_mxfp6_e2m3,
    "mxfp4": gfloat_formats.format_info_mxfp4_e2m1,
    "mxint8": gfloat_formats.format_info_mxint8,
}
NAMES = pytest.mark.parametrize("name", MX_FORMATS)
Doubles = npt.NDArray[np.float64]


def same(got: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
    """Equal values and, where they are numbers, equal signs of zero."""
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    assert (np.signbit(got) == np.signbit(wanted))[number].all()


def element_codes(fmt: MXFormat) -> npt.NDArray[Any]:
    """Every code of the element."""
    code = np.arange(2**fmt.bits).astype(np.uint8)
    return code.view(fmt.element.code_dtype)


def block_of(fmt: MXFormat, scale: int) -> MXArray:
    """One code a row, each with the same scale."""
    code = element_codes(fmt)[:, None]
    return MXArray(code, np.full(code.shape, scale, np.uint8), 1, fmt)


def test_the_published_parameters() -> None:
    """OCP MX v1.0, tables 1 to 6: largest element, its exponent, bits with the scale's share."""
    wanted = {
        "mxfp8-e4m3": (448, 8, 8.25),
        "mxfp8-e5m2": (57344, 15, 8.25),
        "mxfp6-e3m2": (28, 4, 6.25),
        "mxfp6-e2m3": (Fraction(15, 2), 2, 6.25),
        "mxfp4": (6, 2, 4.25),
        "mxint8": (Fraction(127, 64), 0, 8.25),
    }
    found = {n: (f.max_element, f.max_exponent, f.stored_bits) for n, f in MX_FORMATS.items()}
    assert found == wanted
    assert all(get_mx_format(name).name == name for name in wanted)
    assert MXFormat(FP8_E4M3, 16).name == "mxfp8-e4m3-16"


@NAMES
@pytest.mark.parametrize("scale", [0, 1, 100, 127, 200, 254, 255])
def test_every_element_code_against_gfloat_and_the_oracle(name: str, scale: int) -> None:
    """Values, both zeros, E5M2's infinities and NaNs, the NaN of the scale."""
    fmt = MX_FORMATS[name]
    code = element_codes(fmt).tolist()
    bits = [int(c) % 2**fmt.bits for c in code]
    got = decode_mx(block_of(fmt, scale))[:, 0]
    same(got, np.array(list(decode_block(GFLOAT[name], [scale, *bits]))))
    same(got, np.array([float(v) for v in oracle.decode_block(scale, code, fmt)]))


@NAMES
def test_every_scale_code_against_gfloat(name: str) -> None:
    """The element 1 (the largest power of two below it) at all 256 scales."""
    fmt = MX_FORMATS[name]
    one = encode_mx(np.array([2.0**fmt.max_exponent]), fmt, 0)
    assert one.scale.tolist() == [127]
    got = [decode_mx(MXArray(one.code, np.array([s], np.uint8), 0, fmt))[0] for s in range(256)]
    bits = int(one.code[0])
    wanted = [next(iter(decode_block(GFLOAT[name], [s, bits]))) for s in range(256)]
    np.testing.assert_array_equal(got, wanted)


@NAMES
@pytest.mark.parametrize("exponent", [-126, 0, 100])
def test_every_midpoint_against_gfloat(name: str, exponent: int) -> None:
    """Each element, the middles between neighbours and the doubles beside them, at fixed scales:
    beside the power of two that has this scale; above the largest element too."""
    fmt = MX_FORMATS[name]
    value = np.unique(decode_mx(block_of(fmt, 127))[:, 0])
    value = value[np.isfinite(value)]
    middle = (value[1:] + value[:-1]) / 2
    top = 2.0 ** (fmt.max_exponent + 1)
    x = np.concatenate([value, middle, np.nextafter(middle, -top), np.nextafter(middle, top)])
    x = np.append(x, [np.nextafter(top, 0), -np.nextafter(top, 0), -0.0, 1e-300, -1e-300])
    x = np.unique(np.append(x, -x)[np.abs(np.append(x, -x)) < top])
    peak = np.full(x.size, 2.0**fmt.max_exponent)
    with np.errstate(under="ignore"):
        pairs = np.stack([peak, x], axis=1) * 2.0**exponent
    got = encode_mx(pairs, fmt, 1)
    assert (got.scale == exponent + 127).all()
    info, scale = GFLOAT[name], 2.0**exponent
    for row, pair in zip(got.code.tolist(), pairs / scale, strict=True):
        wanted = list(encode_block(info, scale, pair, RoundMode.TiesToEven))
        wanted = [129 if name == "mxint8" and c == 128 else c for c in wanted]  # -127 for -128
        assert [exponent + 127, *(c % 2**fmt.bits for c in row)] == wanted, pair


@NAMES
def test_whole_blocks_against_gfloat(name: str) -> None:
    """Random blocks of 32 over fp32's range, quantised by gfloat's own scale rule."""
    fmt, info = MX_FORMATS[name], GFLOAT[name]
    rng = np.random.default_rng(7)
    x = rng.standard_normal((40, 32)) * np.exp2(rng.uniform(-140, 120, (40, 1)))
    x[0] = 0
    x[1] *= np.exp2(rng.uniform(-20, 0, 32))
    x = x.astype(np.float32)
    got = decode_mx(encode_mx(x, fmt, 1))
    for row, values in zip(got, x.astype(np.float64), strict=True):
        wanted = quantize_block(info, values, compute_scale_amax)  # type: ignore[arg-type]
        if name == "mxint8":  # -2 times the scale
            scale = compute_scale_amax(0.0, values)
            wanted = np.maximum(wanted, -127 / 64 * scale)
        same(row, wanted)


def test_a_maximum_just_below_a_power_of_two() -> None:
    """The exponent is exact where a rounded logarithm is not, which is gfloat's difference."""
    x = np.array([np.nextafter(8.0, 0), 1.0])
    for fmt in MX_FORMATS.values():
        assert encode_mx(x, fmt, 0).scale.tolist() == [127 + 2 - fmt.max_exponent]
    assert compute_scale_amax(0.0, x) == 8.0


@st.composite
def mx_formats(draw: st.DrawFn) -> MXFormat:
    """The concrete formats and any other element, at several block sizes."""
    widths = st.sampled_from(("ieee", "fn", "fnuz", "finite"))
    element = draw(
        st.sampled_from([fmt.element for fmt in MX_FORMATS.values()])
        | st.integers(2, 8).map(IntFormat)
        | st.tuples(st.integers(2, 4), st.integers(1, 3), widths).map(lambda e: FloatFormat(*e))
    )
    return MXFormat(element, draw(st.sampled_from((1, 2, 4, 32))))


def blocks_of(x: npt.NDArray[Any], axis: int, block: int) -> list[tuple[Any, Any, list[float]]]:
    """(index of the scale, index of the elements, elements) of every block."""
    moved = np.moveaxis(x, axis, -1)
    parts = [
        (at, b, slice(b * block, (b + 1) * block))
        for at in np.ndindex(moved.shape[:-1])
        for b in range(-(-moved.shape[-1] // block))
    ]
    return [((*at, b), (*at, part), moved[at][part].tolist()) for at, b, part in parts]


@given(st.data(), mx_formats())
def test_any_array_equals_the_oracle(data: st.DataObject, fmt: MXFormat) -> None:
    """Scale and element codes of float32 and float64, any axis, ragged blocks, and both ways back.

    Numbers are near each other, or anything: subnormals, and beyond what E8M0 reaches.
    """
    dtype = data.draw(st.sampled_from((np.float32, np.float64)))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    near = st.integers(-300, 300).map(lambda n: n / 16.0)
    x = data.draw(hnp.arrays(dtype, shape, elements=near | float_values(dtype)))
    got = encode_mx(x, fmt, axis)
    code, scale = (np.moveaxis(part, axis, -1) for part in (got.code, got.scale))
    value = np.moveaxis(decode_mx(got), axis, -1)
    for at, where, values in blocks_of(x, axis, fmt.block):
        wanted = oracle.encode_block(values, fmt)
        assert (int(scale[at]), code[where].tolist()) == wanted
        same(value[where], np.array([float(v) for v in oracle.decode_block(*wanted, fmt)]))


@given(st.data(), mx_formats() | st.sampled_from(list(MX_FORMATS.values())))
def test_the_fast_path_is_the_same(data: st.DataObject, fmt: MXFormat) -> None:
    """`round_mx` of float32: values, signs, and the elements that were clipped or lost."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
    axis = data.draw(st.integers(0, len(shape) - 1))
    near = st.integers(-300, 300).map(lambda n: n / 16.0)
    x = data.draw(hnp.arrays(np.float32, shape, elements=near | float_values(np.float32)))
    got, saturated, underflowed = round_mx(x, fmt, axis)
    assert got.dtype == np.float32
    wanted = decode_mx(encode_mx(x, fmt, axis))
    same(got, wanted)
    assert underflowed == np.count_nonzero((wanted == 0) & (x != 0))
    top = float(fmt.max_element)
    scale = np.repeat(encode_mx(x, fmt, axis).scale, fmt.block, axis)
    scale = scale[tuple(slice(n) for n in shape)]
    with np.errstate(over="ignore"):
        size = np.abs(x.astype(np.float64)) * np.exp2(127.0 - scale)
    assert saturated >= np.count_nonzero(size > top * 2)
    assert saturated <= np.count_nonzero(size > top)


@NAMES
@given(data=st.data())
def test_encoding_twice_changes_nothing(name: str, data: st.DataObject) -> None:
    """The values of encoded blocks survive: a maximum stays in its octave."""
    fmt = MX_FORMATS[name]
    x = data.draw(hnp.arrays(np.float64, 5, elements=st.floats(-1e30, 1e30)))
    array = encode_mx(x, fmt, 0)
    same(decode_mx(encode_mx(decode_mx(array), fmt, 0)), decode_mx(array))


def test_minus_two_is_read_but_not_written() -> None:
    """-1.999 is rounded to -127/64, as its twin is: -2 would take the next scale when encoded again
    and, of the largest float32 numbers, leave float32."""
    fmt = MX_FORMATS["mxint8"]
    x = np.array([-1.999, 1 / 64, 1.999])
    assert encode_mx(x, fmt, 0).code.tolist() == [-127, 1, 127]
    assert decode_mx(MXArray(np.array([-128], np.int8), ONE, 0, fmt)).tolist() == [-2.0]
    largest = np.array([-np.finfo(np.float32).max], np.float32)
    assert round_mx(largest, fmt, 0)[0].tolist() == [-127 / 64 * 2.0**127]
    assert list(encode_block(GFLOAT["mxint8"], 1.0, [-1.999])) == [127, 128]  # gfloat's choice


def test_blocks_along_either_axis_and_the_transpose() -> None:
    """33 elements are two blocks, the second of one; a transpose is a view with turned blocks."""
    x = np.arange(1.0, 67.0).reshape(2, 33)
    fmt = MX_FORMATS["mxfp8-e4m3"]
    rows, columns = encode_mx(x, fmt, -1), encode_mx(x, fmt, 0)
    assert (rows.scale.shape, columns.scale.shape, rows.axis) == ((2, 2), (1, 33), 1)
    assert rows.stored_bits == 66 * 8 + 4 * 8
    turned = encode_mx(x.T, fmt, 0)
    assert (rows.T.code == turned.code).all()
    assert (rows.T.scale == turned.scale).all()
    assert rows.T.axis == 0
    assert np.shares_memory(rows.T.code, rows.code)
    assert rows.scale[0].tolist() == [127 + 5 - 8, 127 + 5 - 8]  # 32 of 1..32, 32 of 33


def test_the_ends_of_the_scale() -> None:
    """Below 2^-127 times the element's range numbers flush, above 2^127 times it they saturate."""
    for fmt in MX_FORMATS.values():
        tiny = 2.0 ** (fmt.min_scale - 127)
        array = encode_mx(np.array([tiny, -tiny / 2, 1.5 * tiny, -tiny / 4]), fmt, 0)
        assert array.scale.tolist() == [0]
        lost = 0.0 if isinstance(fmt.element, IntFormat) else -0.0
        same(decode_mx(array), np.array([tiny, lost, 2 * tiny, lost]))
        huge = encode_mx(np.array([1e300, 1.0]), fmt, 0)
        assert huge.scale.tolist() == [254]
        assert decode_mx(huge).tolist() == [float(fmt.max_element) * 2.0**127, 0.0]
        zero = encode_mx(np.array([0.0, 0.0]), fmt, 0)
        assert (zero.scale.tolist(), zero.code.tolist()) == ([0], [0, 0])
        largest = np.array([np.finfo(np.float32).max], np.float32)
        assert np.isfinite(round_mx(largest, fmt, 0)[0]).all()


X = np.ones((2, 3), np.float32)
E4M3 = MX_FORMATS["mxfp8-e4m3"]
CODE, SCALE = np.zeros((2, 3), np.uint8), np.zeros((2, 1), np.uint8)
ONE = np.array([127], np.uint8)
REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: MXFormat(FP32), ValueError, "element must be of at most 8 bits, got fp32"),
    (lambda: MXFormat(FP16, 32), ValueError, "element must be of at most 8 bits, got fp16"),
    (
        lambda: MXFormat(FloatFormat(4, 3, "fn", "infinity")),
        ValueError,
        "element must saturate, got fp8-e4m3-infinity",
    ),
    (lambda: MXFormat(INT8, 24), ValueError, "block must be a power of two, got 24"),
    (
        lambda: MXFormat("fp8"),  # type: ignore[arg-type]
        TypeError,
        "element must be a FloatFormat or an IntFormat, got 'fp8'",
    ),
    (lambda: get_mx_format("mxfp5"), ValueError, "format must be one of mxfp4, .*, got 'mxfp5'"),
    (lambda: encode_mx(X, E4M3, 2), ValueError, r"axis must be in -2\.\.1, got 2"),
    (
        lambda: encode_mx(np.float32(1), E4M3, 0),
        ValueError,
        "x must have at least one axis to be cut into blocks, got a single number",
    ),
    (
        lambda: encode_mx(X.astype(int), E4M3, 0),
        TypeError,
        "x must be float32 or float64, got int64",
    ),
    (
        lambda: encode_mx(X, FP8_E4M3, 0),  # type: ignore[arg-type]
        TypeError,
        r"fmt must be an MXFormat, got FloatFormat\(.*\)",
    ),
    (lambda: round_mx(X.astype(float), E4M3, 0), TypeError, "x must be float32, got float64"),  # type: ignore[arg-type]
    (
        lambda: encode_mx(np.array([[1.0, np.inf], [np.nan, 0]]), E4M3, 0),
        NonFiniteError,
        r"x must be finite for mxfp8-e4m3, got inf at index \(0, 1\)",
    ),
    (
        lambda: round_mx(np.array([1.0, np.nan], np.float32), E4M3, 0),
        NonFiniteError,
        r"x must be finite for mxfp8-e4m3, got nan at index \(1,\)",
    ),
    (
        lambda: MXArray(CODE, SCALE, 0, E4M3),
        ValueError,
        r"scale must be of shape \(1, 3\), got \(2, 1\)",
    ),
    (
        lambda: MXArray(CODE, SCALE.astype(np.int8), 1, E4M3),  # type: ignore[arg-type]
        TypeError,
        "scale must be a numpy array of uint8, got int8",
    ),
    (
        lambda: MXArray(CODE + np.uint8(16), SCALE, 1, MX_FORMATS["mxfp4"]),
        ValueError,
        r"code must be below 2\^4 for fp4-e2m1, got 16",
    ),
    (lambda: decode_mx(X), TypeError, "array must be an MXArray, got ndarray"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=f"^{message}$"):
        call()
