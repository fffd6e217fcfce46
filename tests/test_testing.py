"""The shipped strategies give what they promise."""

from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from lnsim.lns import LNSArray, LNSFormat
from lnsim.lns.testing import PROFILES, codes, datapaths, lns_arrays, lns_formats, register_profiles


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
    quiet = settings(suppress_health_check=list(HealthCheck), max_examples=2000, database=None)
    fmt = LNSFormat(4, 2)
    for wanted in (0, 15, 16, 31):
        found = find(
            lns_arrays(fmt, shape=(1,)), lambda x, w=wanted: int(x.code[0]) == w, settings=quiet
        )
        assert found.code.tolist() == [wanted]
    assert not find(lns_formats(), lambda f: not f.zero, settings=quiet).zero
