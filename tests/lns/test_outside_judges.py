"""Judges from outside: mpmath for the Gaussian logarithms, gfloat and torch for float codes.

mpmath 1.3 (BSD) computes S and D to 60 digits; gfloat 0.5 (MIT, Graphcore Research) is another
implementation of the OCP formats, and of any that its FormatInfo describes. gfloat rounds on its
own; overflow is compared by the rule that a test's name says. ml_dtypes judges in
test_float_formats.py.
"""

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gfloat import FormatInfo, RoundMode, decode_ndarray, round_ndarray
from gfloat import formats as gfloat_formats
from gfloat.types import Domain
from lnsim.lns import (
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FloatArray,
    FloatFormat,
    decode,
    encode,
)
from lnsim.lns.format import FP4_E2M1, FP6_E2M3, FP6_E3M2, FP8_E4M3FNUZ, FP8_E5M2FNUZ, TF32
from lnsim.lns.gauss import gauss_table


def fnuz(precision: int, bias: int) -> FormatInfo:
    """Eight bits, finite, no minus zero: its code is the NaN (gfloat ships no such format)."""
    return FormatInfo(
        "fnuz", 8, precision, bias=bias, is_signed=True, domain=Domain.Finite, has_nz=False,
        num_high_nans=0, has_subnormals=True, is_twos_complement=False,
    )  # fmt: skip


# NVIDIA's tf32: fp32's exponent and fp16's fraction, 19 bits; IEEE's infinities and NaNs
TF32_INFO = FormatInfo(
    "tf32", 19, 11, bias=127, is_signed=True, domain=Domain.Extended, has_nz=True,
    num_high_nans=2**10 - 1, has_subnormals=True, is_twos_complement=False,
)  # fmt: skip
GFLOAT = {
    "fp8-e4m3": (FP8_E4M3, gfloat_formats.format_info_ocp_e4m3),
    "fp8-e5m2": (FP8_E5M2, gfloat_formats.format_info_ocp_e5m2),
    "fp8-e4m3fnuz": (FP8_E4M3FNUZ, fnuz(4, 8)),
    "fp8-e5m2fnuz": (FP8_E5M2FNUZ, fnuz(3, 16)),
    "fp6-e3m2": (FP6_E3M2, gfloat_formats.format_info_ocp_e3m2),
    "fp6-e2m3": (FP6_E2M3, gfloat_formats.format_info_ocp_e2m3),
    "fp4-e2m1": (FP4_E2M1, gfloat_formats.format_info_ocp_e2m1),
    "fp16": (FP16, gfloat_formats.format_info_binary16),
    "bf16": (BF16, gfloat_formats.format_info_bfloat16),
    "tf32": (TF32, TF32_INFO),
}
TORCH = {
    "fp8-e4m3fnuz": (FP8_E4M3FNUZ, torch.float8_e4m3fnuz),
    "fp8-e5m2fnuz": (FP8_E5M2FNUZ, torch.float8_e5m2fnuz),
}
RULES = [
    (name, rule)
    for name, (fmt, _) in GFLOAT.items()
    for rule in ("saturate", "infinity")
    if rule == "saturate" or fmt.encoding != "finite"
]


@pytest.mark.parametrize("gamma", [1, 8, 256, 4096])
@pytest.mark.parametrize("opposite", [False, True])
def test_gaussian_logarithms_against_mpmath(gamma: int, opposite: bool) -> None:
    """S and D at the smallest, the largest and 300 random distances: the nearest whole step."""
    rng = np.random.default_rng(gamma)
    most = min(40 * gamma, 2**15 - 1)
    distances = np.unique(np.concatenate([[1, 2, 3, most], rng.integers(1, most, 300)]))
    table = gauss_table(gamma, opposite)
    with mpmath.workdps(60):
        for d in distances.tolist():
            power = mpmath.power(2, -mpmath.mpf(d) / gamma)
            inside = 1 - power if opposite else 1 + power
            exact = gamma * mpmath.log(inside, 2) * (-1 if opposite else 1)
            assert table[d] == int(mpmath.nint(exact)), d
            tie = gamma == 1 and d == 1  # 1 - 1/2: a whole number of steps, no tie
            assert tie or abs(abs(exact - mpmath.floor(exact)) - 0.5) > 1e-30


def every_code(fmt: FloatFormat) -> npt.NDArray[np.unsignedinteger]:
    """2^bits codes."""
    return np.arange(2**fmt.bits).astype(fmt.code_dtype)


def boundaries(fmt: FloatFormat, dtype: type[np.floating]) -> npt.NDArray[np.floating]:
    """Every number, every midpoint of two neighbours and the numbers of `dtype` beside them, of
    both signs; above the largest number, half its step up is the last midpoint."""
    magnitude = np.arange(fmt.max_code + 1).astype(fmt.code_dtype)
    value = decode(FloatArray(magnitude, 0, fmt))
    after = np.append(value[1:], 2 * value[-1] - value[-2])
    middle = ((value + after) / 2).astype(dtype)
    beside = [np.nextafter(middle, dtype(0)), np.nextafter(middle, dtype(np.inf))]
    x = np.concatenate([value.astype(dtype), middle, *beside])
    return np.concatenate([x, -x])


def assert_same(got: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> None:
    """Equal numbers, zeros by their signs; any NaN is a NaN."""
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    assert (np.signbit(got) == np.signbit(wanted))[number].all()


@pytest.mark.parametrize("name", GFLOAT)
def test_every_code_against_gfloat(name: str) -> None:
    """Values, signed zeros, infinities and NaNs, in formats of up to 19 bits."""
    fmt, info = GFLOAT[name]
    wanted = decode_ndarray(info, every_code(fmt).astype(np.int64))
    assert_same(decode(FloatArray(every_code(fmt), 0, fmt)), wanted)


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_every_midpoint_against_gfloat(name: str, rule: str) -> None:
    """Ties to even and the doubles beside every tie, under both rules of overflow.

    "saturate": the largest number, also for an infinity. "infinity": an infinity, in fp8-e4m3
    and FNUZ, which have none, a NaN. One of them is the format's default.
    """
    shipped, info = GFLOAT[name]
    fmt = FloatFormat(shipped.exponent_bits, shipped.mantissa_bits, shipped.encoding, rule)
    x = np.append(boundaries(fmt, np.float64), [4 * fmt.max_value, np.inf, -np.inf])
    with np.errstate(invalid="ignore"):  # gfloat scales the infinities
        wanted = round_ndarray(info, x, RoundMode.TiesToEven, sat=rule == "saturate")
    assert_same(decode(encode(x, fmt)), wanted)
    beyond = encode(np.array([4 * fmt.max_value]), fmt).code[0]
    assert (beyond == fmt.max_code) == (rule == "saturate")


@pytest.mark.parametrize("name", TORCH)
def test_fnuz_against_torch(name: str) -> None:
    """Every code; every tie and the float32 beside it. Overflow: torch's rule is "infinity", which
    in these is the NaN; the shipped "saturate" differs beyond the largest number and there alone.
    """
    shipped, dtype = TORCH[name]
    assert shipped.overflow == "saturate"
    code = every_code(shipped)
    wanted = torch.from_numpy(code).view(dtype).to(torch.float32).numpy()
    assert_same(decode(FloatArray(code, 0, shipped)).astype(np.float32), wanted)
    x = np.append(boundaries(shipped, np.float32), np.float32([4 * shipped.max_value, np.inf]))
    held = torch.from_numpy(x).to(dtype).view(torch.uint8).numpy()
    nan_rule = FloatFormat(shipped.exponent_bits, shipped.mantissa_bits, "fnuz", "infinity")
    np.testing.assert_array_equal(encode(x, nan_rule).code, held)
    beyond = held == 0x80
    assert 0 < beyond.sum() < 10
    largest = np.where(x > 0, shipped.max_code, shipped.max_code | 0x80)
    np.testing.assert_array_equal(encode(x, shipped).code, np.where(beyond, largest, held))


def test_tf32_by_masking() -> None:
    """tf32 is float32 without its last 13 bits: added half, to even, and cut off, in integers.

    Every tie of the format and the float32 beside it; the overflow rule is the shipped "infinity".
    """
    assert TF32.overflow == "infinity"
    x = boundaries(TF32, np.float32)
    bits = x.view(np.uint32).astype(np.uint64)
    cut = (bits + 0xFFF + (bits >> 13 & 1)) >> 13
    np.testing.assert_array_equal(encode(x, TF32).code, cut)
