"""Laws of addition on codes, over every pair of codes: what holds, and what a table breaks."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lnsim.lns import LNS8, LNSArray, LNSFormat, add, decode
from lnsim.lns.testing import lns_arrays, lns_formats

GAMMAS = (1, 2, 4, 8, 16, 32, 64)
SMALL = [LNSFormat(*case) for case in product(range(2, 7), GAMMAS, (True, False))] + [
    LNSFormat(7, gamma) for gamma in (1, 8, 64)
]
LINES = [f"interp:{n}" for n in (1, 2, 3, 4, 8, 16, 64, 256)]


def rank(code: npt.NDArray[np.integer], fmt: LNSFormat) -> npt.NDArray[np.int64]:
    """An integer for each code, ordered as their values are; 0 for both zeros."""
    sign, e = np.divmod(code.astype(np.int64), 2**fmt.exponent_bits)
    size = e + 1 - fmt.zero  # without a zero code e = 0 is a magnitude
    return np.where(sign == 1, -size, size)


def ascending(fmt: LNSFormat) -> npt.NDArray[np.unsignedinteger]:
    """Every code by value, without the negative zero."""
    code = np.arange(2**fmt.bits)
    code = code[~(fmt.zero & (code == 2**fmt.exponent_bits))]
    return code[np.argsort(rank(code, fmt))].astype(fmt.code_dtype)


def falls(fmt: LNSFormat, variant: str) -> int:
    """Pairs of neighbours x < y and z for which x + z > y + z."""
    code = ascending(fmt)
    x = LNSArray(code, 0, fmt)
    sums = rank(add(x.reshape(-1, 1), x, variant).code, fmt)
    return int((np.diff(sums, axis=0) < 0).sum())


@pytest.mark.parametrize("variant", ["exact", "mitchell", *LINES])
def test_addition_is_monotone(variant: str) -> None:
    """x <= y gives x + z <= y + z for every code of the small formats, with and without a zero."""
    assert {fmt.name: falls(fmt, variant) for fmt in SMALL} == {fmt.name: 0 for fmt in SMALL}


def test_addition_by_a_table_is_not_monotone() -> None:
    """0xf8 < 0xf7, and added to 0xf5 they change places: where a block of D or S ends, it jumps."""
    x = LNSArray(np.array([0xF8, 0xF7], np.uint8), 0, LNS8)
    z = LNSArray(np.array([0xF5, 0xF5], np.uint8), 0, LNS8)
    assert (x < x[[1, 0]]).tolist() == [True, False]
    sums = add(x, z, "table:16")
    assert [round(v) for v in decode(sums).tolist()] == [-55109, -60097]
    assert bool(sums[0] > sums[1])
    for variant in ("table:4", "table:16"):
        assert falls(LNS8, variant) > 0
    for variant in ("table:37", "table:64"):  # a word for each distance: the exact function
        assert falls(LNS8, variant) == 0


@pytest.mark.parametrize("variant", ["exact", "mitchell", "table:3", "table:16", "interp:4"])
def test_saturation_absorbs_every_code(variant: str) -> None:
    """The top plus anything of its sign, or zero, is the top: each small format, both signs."""
    for fmt in SMALL:
        sign = 2**fmt.exponent_bits
        for top in (fmt.max_exponent, fmt.max_exponent + sign):
            same = ascending(fmt)
            same = same[(same >= sign) == (top >= sign)]
            zeros = np.array([0, sign], fmt.code_dtype) if fmt.zero else same[:0]
            x = LNSArray(np.concatenate([same, zeros]), -3, fmt)
            peak = LNSArray(np.array(top, fmt.code_dtype), -3, fmt)
            for total in (add(x, peak, variant), add(peak, x, variant)):
                assert (total.code == top).all(), (fmt, variant)


@given(st.data(), lns_formats())
def test_saturation_absorbs_in_wide_formats(data: st.DataObject, fmt: LNSFormat) -> None:
    """The same for any format of up to sixteen bits."""
    x = data.draw(lns_arrays(fmt, shape=(4,)))
    positive = LNSArray(x.code & fmt.max_exponent, x.offset, fmt)
    peak = LNSArray(np.array(fmt.max_exponent, fmt.code_dtype), x.offset, fmt)
    for variant in ("exact", "mitchell"):
        assert (add(positive, peak, variant).code == fmt.max_exponent).all()
