"""Judges from outside: mpmath for the Gaussian logarithms, gfloat for every small float code.

mpmath 1.3 (BSD) computes S and D to 60 digits; gfloat 0.5 (MIT, Graphcore Research) is another
implementation of the OCP formats. gfloat rounds on its own; overflow is compared by the rule named.
"""

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from gfloat import RoundMode, decode_float, round_float
from gfloat import formats as gfloat_formats
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
from lnsim.lns.format import FP4_E2M1, FP6_E2M3, FP6_E3M2
from lnsim.lns.gauss import gauss_table

GFLOAT = {
    "fp8-e4m3": (FP8_E4M3, gfloat_formats.format_info_ocp_e4m3),
    "fp8-e5m2": (FP8_E5M2, gfloat_formats.format_info_ocp_e5m2),
    "fp6-e3m2": (FP6_E3M2, gfloat_formats.format_info_ocp_e3m2),
    "fp6-e2m3": (FP6_E2M3, gfloat_formats.format_info_ocp_e2m3),
    "fp4-e2m1": (FP4_E2M1, gfloat_formats.format_info_ocp_e2m1),
    "fp16": (FP16, gfloat_formats.format_info_binary16),
    "bf16": (BF16, gfloat_formats.format_info_bfloat16),
}


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


def codes(fmt: FloatFormat) -> npt.NDArray[np.unsignedinteger]:
    """Every code of up to eight bits, an odd stride above."""
    step = 1 if fmt.bits <= 8 else 37
    return np.arange(0, 2**fmt.bits, step).astype(fmt.code_dtype)


@pytest.mark.parametrize("name", GFLOAT)
def test_every_code_against_gfloat(name: str) -> None:
    """Values, signed zeros, infinities and NaNs."""
    fmt, info = GFLOAT[name]
    code = codes(fmt)
    wanted = np.array([decode_float(info, int(c)).fval for c in code])
    got = decode(FloatArray(code, 0, fmt))
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    assert (np.signbit(got) == np.signbit(wanted))[number].all()


@pytest.mark.parametrize("name", GFLOAT)
def test_every_midpoint_against_gfloat(name: str) -> None:
    """Midpoints of neighbours and the doubles beside them, ties to even; the range's end saturates
    (this library's rule for eight bits and fewer), which gfloat does when asked."""
    fmt, info = GFLOAT[name]
    code = np.unique(np.minimum(codes(fmt), fmt.max_code - 1))
    value = decode(FloatArray(code, 0, fmt))
    after = decode(FloatArray((code + 1).astype(fmt.code_dtype), 0, fmt))
    middle = (value + after) / 2
    x = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, 1e300)])
    x = np.concatenate([x, -x])
    if fmt.overflow == "saturate":
        x = np.append(x, [fmt.max_value * 1.01, fmt.max_value * 4, -fmt.max_value * 4])
    wanted = [round_float(info, float(v), RoundMode.TiesToEven, sat=True) for v in x]
    np.testing.assert_array_equal(decode(encode(x, fmt)), wanted)
