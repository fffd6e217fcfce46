"""The vector unit's events: by the family of its format, which is open."""

from collections.abc import Mapping

import pytest
from lnsim.lns.format import BF16, FP32, INT8, LNS16_UPDATE, LNSFormat
from lnsim.sim.events.event import Event, Events
from lnsim.sim.events.update import update_events
from lnsim.sim.events.vector import UNITS, vector_events


def test_floating_point_by_hand() -> None:
    """One event a kind; a logarithm is priced as an exponential."""
    one = dict.fromkeys(("multiply", "add", "compare", "divide", "sqrt", "exp", "log", "round"), 3)
    assert vector_events(one, BF16) == {
        Event("float_multiply", 16, "8x8e8"): 3,
        Event("float_add", 16, "bf16"): 3,
        Event("compare", 16): 3,
        Event("float_div_sqrt", 16, "divide"): 3,
        Event("float_div_sqrt", 16, "sqrt"): 3,
        Event("float_exp", 16): 6,
        Event("float_to_int", 16): 3,
    }
    assert vector_events({"add": 0}, FP32) == {}


def test_a_family_without_a_unit_is_refused() -> None:
    """The message names those that have one."""
    with pytest.raises(TypeError, match=r"^unit must be of a format of FloatFormat, got IntFormat"):
        vector_events({"add": 1}, INT8)


def log_unit(fmt: LNSFormat) -> Mapping[str, Events]:
    """A unit on logarithms: a product is a sum of exponents, a root a shift."""
    add = Event("exponent_add", fmt.exponent_bits + 1)
    return {
        "multiply": {add: 1},
        "divide": {add: 1},
        "sqrt": {Event("shift", fmt.exponent_bits): 1},
        "add": {Event("distance", fmt.exponent_bits): 2, Event("gauss_lookup", 12, "64x12"): 1},
        "compare": {Event("compare", fmt.bits): 1},
    }


def test_another_family_is_asked_for_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of LNS registered: its events, for arithmetic and for AdamW's update."""
    monkeypatch.setitem(UNITS, LNSFormat, log_unit)
    fmt = LNSFormat(9, 8)
    assert vector_events({"multiply": 5, "divide": 2, "add": 3, "sqrt": 1}, fmt) == {
        Event("exponent_add", 10): 7,
        Event("distance", 9): 6,
        Event("gauss_lookup", 12, "64x12"): 3,
        Event("shift", 9): 1,
    }
    assert update_events("adamw", 10, None, fmt) == {
        Event("exponent_add", 10): 100,
        Event("distance", 9): 80,
        Event("gauss_lookup", 12, "64x12"): 40,
        Event("shift", 9): 10,
    }


def test_codes_and_floats_of_one_width_both_count() -> None:
    """A bf16 unit and exponents of 16 bits with their sign: two comparisons of each."""
    assert update_events("integer-madam", 5, LNS16_UPDATE, BF16)[Event("compare", 16)] == 4 * 5
