"""The shipped strategies give what they promise."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from lnsim.lns import LNSArray, LNSFormat, decode_mx, testing
from lnsim.lns.testing import (
    PROFILES,
    accumulators,
    channel_arrays,
    codes,
    datapaths,
    float_values,
    lns_arrays,
    lns_formats,
    log_datapaths,
    mx_arrays,
    mx_formats,
    register_profiles,
)

QUIET = settings(suppress_health_check=list(HealthCheck), max_examples=2000, database=None)


def test_profiles_are_registered() -> None:
    """All three can be asked for by name."""
    register_profiles()
    assert [settings.get_profile(name).max_examples for name in PROFILES] == [50, 100, 2000]


@given(lns_formats(max_exponent_bits=6, max_gamma=16))
def test_formats_stay_in_bounds(fmt: LNSFormat) -> None:
    """As asked."""
    assert 2 <= fmt.exponent_bits <= 6
    assert fmt.gamma <= 16


@given(st.data())
def test_arrays_are_of_their_format(data: st.DataObject) -> None:
    """Any shape asked for, every code below 2^bits."""
    fmt = data.draw(lns_formats())
    array = data.draw(lns_arrays(fmt, shape=(2, 3)))
    assert isinstance(array, LNSArray)
    assert array.shape == (2, 3)
    assert data.draw(codes(fmt)) < 2**fmt.bits
    datapath = data.draw(datapaths(fmt.gamma))
    assert datapath.resolve(fmt, fmt).gamma == fmt.gamma


def test_the_corners_are_reached() -> None:
    """Saturating codes, the negative zero and formats without zero are all found."""
    fmt = LNSFormat(4, 2)
    for wanted in (0, 15, 16, 31):
        found = find(
            lns_arrays(fmt, shape=(1,)), lambda x, w=wanted: int(x.code[0]) == w, settings=QUIET
        )
        assert found.code.tolist() == [wanted]
    assert not find(lns_formats(), lambda f: not f.zero, settings=QUIET).zero


@given(st.data())
def test_logarithmic_accumulators_and_datapaths(data: st.DataObject) -> None:
    """Every style can be asked for; formats that none can take are refused at once."""
    styles = ("log", "bins", "direct")
    assert data.draw(accumulators(("log",))).style == "log"
    assert data.draw(accumulators(styles)).style in styles
    a, b = LNSFormat(12, 1), LNSFormat(2, 2)
    datapath = data.draw(log_datapaths(a, b))
    assert datapath.sum_format(a, b).exponent_bits == datapath.accumulator.bits == 15


def test_all_styles_are_reached() -> None:
    """Each of the three named ones, and no other."""
    for style in ("log", "bins", "direct"):
        drawn = find(accumulators(("bins", "log", "direct")), lambda a, s=style: a.style == s,
                     settings=QUIET)  # fmt: skip
        assert drawn.style == style
    with pytest.raises(ValueError, match=r"^styles must be one of bins, direct, log, got 'tree'$"):
        accumulators(("log", "tree"))
    with pytest.raises(ValueError, match=r"^styles must name at least one style, got none$"):
        accumulators(())
    message = (
        r"^a and b must be formats .+ fit 15 .+, got lns-e13g1 and lns-e13g4096, which need 27$"
    )
    with pytest.raises(ValueError, match=message):
        log_datapaths(LNSFormat(13, 1), LNSFormat(13, 4096))


@given(st.data())
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "float16"])
def test_numbers_are_of_their_dtype(dtype: npt.DTypeLike, data: st.DataObject) -> None:
    """Each is one of the dtype's, and finite."""
    value = data.draw(float_values(dtype))
    assert np.isfinite(value)
    assert float(np.array(value, dtype)) == value


@pytest.mark.parametrize("dtype", [np.int64, np.longdouble, np.complex64])
def test_other_numbers_are_refused(dtype: npt.DTypeLike) -> None:
    """A dtype that no format is encoded from."""
    with pytest.raises(ValueError, match=r"^dtype must be one of float16, float32, float64, got "):
        float_values(dtype)


@given(st.data(), lns_formats())
def test_arrays_with_a_scale_for_each_channel(data: st.DataObject, fmt: LNSFormat) -> None:
    """An int32 for each index of one axis; the axis and the shape can be fixed."""
    free = data.draw(channel_arrays(fmt))
    assert np.asarray(free.offset).ndim == free.ndim >= 1
    assert sum(n > 1 for n in np.asarray(free.offset).shape) <= 1
    fixed = data.draw(channel_arrays(fmt, (2, 3), -1))
    assert np.asarray(fixed.offset).shape == (1, 3)
    assert np.asarray(fixed.offset).dtype == np.int32


@given(st.data())
def test_mx_arrays_are_of_their_format(data: st.DataObject) -> None:
    """Any element and scale, which decode; blocks along the axis asked for."""
    fmt = data.draw(mx_formats())
    array = data.draw(mx_arrays(fmt))
    assert decode_mx(array).shape == array.shape
    fixed = data.draw(mx_arrays(fmt, (2, 70), 1))
    assert fixed.axis == 1
    assert fixed.scale.shape == (2, -(-70 // fmt.block))


def test_the_corners_of_mx_are_reached() -> None:
    """The NaN of a block, a block that is not full, integers and floats as elements."""
    arrays = mx_formats().flatmap(mx_arrays)
    assert 255 in find(arrays, lambda x: 255 in x.scale, settings=QUIET).scale
    part = find(arrays, lambda x: x.shape[x.axis] % x.fmt.block > 0, settings=QUIET)
    assert part.shape[part.axis] % part.fmt.block
    for kind in ("IntFormat", "FloatFormat"):
        found = find(mx_formats(), lambda f, k=kind: type(f.element).__name__ == k, settings=QUIET)
        assert found.bits <= 8


def test_the_reference_names_every_strategy() -> None:
    """The line of docs/api/lns.md, against the functions that the module defines."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "api" / "lns.md").read_text(
        encoding="utf-8"
    )
    (line,) = re.findall(r"^`lnsim\.lns\.testing` .*\n.*$", page, flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", line))
    own = {name for name, value in vars(testing).items()
           if callable(value) and getattr(value, "__module__", "") == testing.__name__}  # fmt: skip
    public = {name for name in own if not name.startswith("_")}
    assert named == public - {"powers_of_two", "register_profiles"}
