"""Events: counted by hand for tiny GEMMs, conserved for all, refused where they make no sense."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.kernels import EncodeCounts
from lnsim.lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from lnsim.lns.format import (
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    LNS16_UPDATE,
    LNSFormat,
)
from lnsim.sim.events.encode import encode_events
from lnsim.sim.events.event import NOT_COUNTED, Event, add_events
from lnsim.sim.events.log_mac import change_events
from lnsim.sim.events.mac import gemm_events
from lnsim.sim.events.update import update_events
from lnsim.sim.rules.rule import RULES
from lnsim.sim.training.tally import Tally

ADDS = ("accumulate", "tree_add")


def test_lns_direct_by_hand() -> None:
    """2 x 3 outputs of 5 products: 30 of each step; LNS8 sums need 8 bits, table words 9."""
    assert gemm_events(Datapath(), LNS8, LNS8, 2, 3, 5) == {
        Event("exponent_add", 8): 30,
        Event("antilog_lookup", 9, "8x9"): 30,
        Event("shift", 24): 30,
        Event("accumulate", 24): 30,
        Event("convert", 24): 6,
        Event("register_bits"): 30 * (8 + 8 + 20 + 24),
    }


def test_mitchell_and_gamma_one_need_no_look_up() -> None:
    """The mantissa of L = 1 is wires, and so is the only one of gamma = 1."""
    one = LNSFormat(4, 1)
    cases = ((Datapath(Antilog(1)), LNS8), (Datapath(), one), (Datapath(Antilog(2)), LNS8))
    looked_up = [
        any(event.kind == "antilog_lookup" for event in gemm_events(path, fmt, fmt, 1, 1, 1))
        for path, fmt in cases
    ]
    assert looked_up == [False, False, True]


def test_a_hybrid_table_in_style_direct_has_gamma_entries() -> None:
    """L = 2 of gamma = 8 is still a table of eight values where there are no bins."""
    events = gemm_events(Datapath(Antilog(2)), LNS8, LNS8, 1, 1, 1)
    assert Event("antilog_lookup", 9, "8x9") in events


def log_path(lanes: int = 1, variant: str = "exact") -> Datapath:
    """Style "log" with the 9 exponent bits that LNS8 needs."""
    return Datapath(accumulator=Accumulator(bits=9, lanes=lanes, style="log"), variant=variant)


def test_log_by_hand() -> None:
    """Two subtractions, a look-up, a choice and an addition per sum: S is 0 from 36 steps on, D
    from 37, the largest value is D(1) = 29. Two lanes take one more sum an output."""
    for lanes, sums in ((1, 30), (2, 36)):
        assert gemm_events(log_path(lanes), LNS8, LNS8, 2, 3, 5) == {
            Event("exponent_add", 8): 30,
            Event("distance", 9): 2 * sums,
            Event("gauss_lookup", 5, "73x5"): sums,
            Event("larger_select", 10, "2x10"): sums,
            Event("accumulate", 9): sums,
            Event("exponent_add", 9): 6,
            Event("antilog_lookup", 24, "8x24"): 6,
            Event("register_bits"): 30 * (8 + 8 + 10) + sums * 10,
        }


@pytest.mark.parametrize(
    ("variant", "found"),
    [
        ("table:8", {Event("gauss_lookup", 5, "16x5"): 1}),
        ("table:99", {Event("gauss_lookup", 5, "73x5"): 1}),
        ("mitchell", {Event("shift", 8): 2, Event("log_add", 8): 2}),
        (
            "interp:4",
            {
                Event("gauss_lookup", 13, "10x13"): 2,
                Event("int_multiply", 13, "13x4"): 1,
                Event("log_add", 13): 2,
            },
        ),
    ],
)
def test_a_variant_changes_the_look_up_alone(variant: str, found: dict[Event, int]) -> None:
    """Fewer words; wires, shifts and additions; knots, a multiplication and additions."""
    plain = gemm_events(log_path(), LNS8, LNS8, 2, 3, 5)
    del plain[Event("gauss_lookup", 5, "73x5")]
    wanted = plain | {event: 30 * times for event, times in found.items()}
    assert gemm_events(log_path(variant=variant), LNS8, LNS8, 2, 3, 5) == wanted


@pytest.mark.parametrize(
    ("gamma", "width", "variant", "words"),
    [
        (256, 9, "exact", 2 * 512),  # S and D are 0 from 2440 on, but 9 bits reach 510
        (256, 12, "exact", 2 * 2440),
        (256, 9, "table:64", 2 * 14),  # blocks of 39
        (256, 12, "table:64", 2 * 64),
        (4096, 15, "exact", 2 * 2**15),  # 0 from 55414 and 55415 on
        (4096, 15, "table:256", 2 * 152),  # blocks of 217
        (4096, 15, "interp:256", 2 * 153),  # one knot more each
        (4096, 15, "table:32768", 2 * 2**14),  # blocks of 2
    ],
)
def test_a_table_reaches_as_far_as_two_numbers_lie_apart(
    gamma: int, width: int, variant: str, words: int
) -> None:
    """Accumulators of W exponent bits have distances below 2^W: no words beyond."""
    (found,) = (e for e in change_events(gamma, width, variant) if e.kind == "gauss_lookup")
    assert found.detail == f"{words}x{found.bits}"


def test_bins_by_hand() -> None:
    """No look-up; one of four 24-bit bins per product; four constants and three adds per output."""
    datapath = Datapath(Antilog(4), Accumulator(style="bins"))
    assert gemm_events(datapath, LNS8, LNS8, 2, 3, 5) == {
        Event("exponent_add", 8): 30,
        Event("shift", 24): 30,
        Event("bin_select", 24, "4x24"): 30,
        Event("accumulate", 24): 30,
        Event("constant_multiply", 24, "24x9"): 6 * 4,
        Event("result_add", 24 + 9 + 2): 6 * 3,
        Event("convert", 35): 6,
        Event("register_bits"): 30 * (8 + 8 + 20 + 24),
    }


def test_lanes_by_hand() -> None:
    """k = 7 in groups of 4: a tree of 3 adds (21, 21, 22 bits), a rest of 3: 21 and 22 bits."""
    datapath = Datapath(accumulator=Accumulator(lanes=4))
    events = gemm_events(datapath, LNS8, LNS8, 1, 1, 7)
    assert {event: n for event, n in events.items() if event.kind in ADDS} == {
        Event("tree_add", 21): 2 + 1,
        Event("tree_add", 22): 1 + 1,
        Event("accumulate", 24): 2,
    }
    assert events[Event("register_bits")] == 7 * (8 + 8 + 20) + 2 * 24


def test_a_tree_wider_than_the_accumulator_widens_its_adder() -> None:
    """16 terms of 23 bits make a 27-bit sum, which a 24-bit accumulator's adder must take."""
    datapath = Datapath(accumulator=Accumulator(guard=1, lanes=16))
    assert Event("accumulate", 27) in gemm_events(datapath, LNS8, LNS8, 1, 1, 16)


def test_different_gammas_scale_the_coarser_exponent() -> None:
    """E=7 G=8 times E=4 G=1: sums reach 127 + 8 * 15 = 247, 8 bits."""
    events = gemm_events(Datapath(), LNS8, LNSFormat(4, 1), 1, 1, 1)
    assert Event("exponent_add", 8) in events
    assert events[Event("register_bits")] == 8 + 5 + 20 + 24


def test_float_accumulator_by_hand() -> None:
    """E4M3 times E5M2: significands 4 and 3 bits, exponents of 5; an fp32 add per product."""
    assert gemm_events(FloatDatapath(), FP8_E4M3, FP8_E5M2, 2, 3, 5) == {
        Event("float_multiply", 8, "4x3e5"): 30,
        Event("float_add", 32, "fp32"): 30,
        Event("register_bits"): 30 * (8 + 8 + (4 + 3 + 5 + 2) + 32),
    }


def test_fixed_accumulator_of_floats_by_hand() -> None:
    """The fixed-point sum of fp8 products costs the steps an LNS product costs, and a product."""
    events = gemm_events(FloatDatapath(Accumulator()), FP8_E4M3, FP8_E4M3, 2, 3, 5)
    assert events == {
        Event("significand_multiply", 4, "4x4"): 30,
        Event("exponent_add", 5): 30,
        Event("shift", 24): 30,
        Event("accumulate", 24): 30,
        Event("convert", 24): 6,
        Event("register_bits"): 30 * (8 + 8 + 20 + 24),
    }


def test_integers_by_hand() -> None:
    """int8 with a 32-bit accumulator: a multiply and an add per product."""
    assert gemm_events(IntDatapath(), INT8, INT8, 2, 3, 5) == {
        Event("int_multiply", 8, "8x8"): 30,
        Event("accumulate", 32): 30,
        Event("convert", 32): 6,
        Event("register_bits"): 30 * (8 + 8 + 16 + 32),
    }


SIZES = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(
    m=SIZES, n=SIZES, k=SIZES, lanes=st.integers(1, 9), style=st.sampled_from(["direct", "bins"])
)
def test_every_product_is_added_once(m: int, n: int, k: int, lanes: int, style: str) -> None:
    """m n k products, as many adds whatever the lanes, one conversion per output."""
    accumulator = Accumulator(lanes=lanes, style=style)
    paths = [(Datapath(accumulator=accumulator), LNS8)]
    if style == "direct":
        paths += [(FloatDatapath(accumulator), BF16), (IntDatapath(accumulator), INT8)]
    for datapath, fmt in paths:
        kinds: dict[str, int] = {}
        for event, count in gemm_events(datapath, fmt, fmt, m, n, k).items():
            kinds[event.kind] = kinds.get(event.kind, 0) + count
        assert kinds["accumulate"] + kinds.get("tree_add", 0) == m * n * k
        products = ("exponent_add", "int_multiply", "significand_multiply")
        assert {kinds[kind] for kind in products if kind in kinds} == {m * n * k}
        assert kinds["convert"] == m * n


@pytest.mark.parametrize("fmt", [FP8_E4M3, FP16, FP32])
def test_formats_of_another_family_are_refused(fmt: object) -> None:
    """A logarithmic datapath multiplies logarithmic codes only."""
    with pytest.raises(TypeError, match="formats must be of the datapath's family"):
        gemm_events(Datapath(), LNS8, fmt, 1, 1, 1)


def test_conversions_by_hand() -> None:
    """From fp32 an encode, from a code a requantisation, to fp32 nothing."""
    assert encode_events(LNS8, 10) == {Event("encode", 8, "gamma=8"): 10}
    assert encode_events(FP32, 10) == {}
    assert encode_events(BF16, 10)[Event("encode", 16, "float")] == 10
    assert encode_events(INT8, 10)[Event("encode", 8, "int")] == 10
    assert encode_events(LNS8, 10, LNS16_UPDATE)[Event("requantise", 16)] == 10
    assert encode_events(LNS8, 0) == {}


def test_update_arithmetic_by_hand() -> None:
    """AdamW: nine multiplies, four adds, a division, a root; integer Madam moves by an addition."""
    adamw = update_events("adamw", 3, None)
    assert adamw[Event("float_multiply", 32, "24x24e8")] == 27
    assert adamw[Event("float_add", 32, "fp32")] == 12
    assert adamw[Event("float_div_sqrt", 32, "divide")] == 3
    assert adamw[Event("float_div_sqrt", 32, "sqrt")] == 3
    integer = update_events("integer-madam", 3, LNS16_UPDATE)
    assert integer[Event("exponent_add", 16)] == 3
    assert Event("float_exp", 32) not in integer
    assert update_events("madam", 3, None)[Event("float_exp", 32)] == 3


def test_update_refusals() -> None:
    """An unknown rule, a negative size and integer Madam on floats name what is wrong."""
    with pytest.raises(ValueError, match=r"^rule must be one of adamw, .+, got 'adam'$"):
        update_events("adam", 1, None)
    with pytest.raises(ValueError, match=r"^elements must be in 0\.\."):
        update_events("sgd", -1, None)
    with pytest.raises(ValueError, match=r"^update_fmt must be an LNSFormat"):
        update_events("integer-madam", 1, None)
    assert all(update_events(rule, 0, LNS16_UPDATE) == {} for rule in RULES)


def _filled() -> Tally:
    tally = Tally()
    tally.add_encode("fc", "activation", "forward", LNS8, EncodeCounts(10, 2, 1))
    tally.add_encode("fc", "activation", "forward", LNS8, EncodeCounts(10, 0, 1))
    tally.add_encode("fc", "weight", "forward", LNS8, EncodeCounts(6, 0, 0), LNS16_UPDATE)
    tally.add_encode("fc", "weight", "forward", BF16, EncodeCounts(6, 1, 0), BF16)
    tally.add_gemm("fc", "dw", Datapath(), LNS8, LNS8, 2, 3, 5, 4)
    tally.add_events("update", update_events("sgd", 6, None))
    return tally


def test_a_tally_adds_up_by_layer_role_and_phase() -> None:
    """Two conversions of a role are one row; a format that stays as it is costs nothing."""
    state = _filled().as_dict()
    assert state["encodes"][0] == {
        "layer": "fc",
        "role": "activation",
        "elements": 20,
        "saturated": 2,
        "underflowed": 2,
    }
    assert state["accumulators"] == [
        {"layer": "fc", "phase": "dw", "outputs": 6, "overflowed": 4, "products": 30}
    ]
    events = _filled().events
    assert events["forward"] == {
        Event("encode", 8, "gamma=8"): 20,
        Event("requantise", 16): 6,
    }
    assert events["dw"][Event("exponent_add", 8)] == 30


def test_a_tally_survives_json() -> None:
    """What as_dict gives, load_dict takes back through text."""
    tally, copy = _filled(), Tally()
    copy.load_dict(json.loads(json.dumps(tally.as_dict())))
    assert copy.as_dict() == tally.as_dict()
    assert copy.events == tally.events


def test_a_disabled_tally_counts_nothing() -> None:
    """Evaluation leaves no trace."""
    tally = _filled()
    before = tally.as_dict()
    tally.enabled = False
    tally.add_encode("fc", "error", "dx", LNS8, EncodeCounts(10, 0, 0))
    tally.add_gemm("fc", "dx", Datapath(), LNS8, LNS8, 2, 3, 5, 0)
    tally.add_events("update", {Event("compare", 8): 1})
    assert tally.as_dict() == before
    tally.reset()
    assert tally.as_dict() == Tally().as_dict()


def test_a_tally_refuses_unknown_names() -> None:
    """A misspelt phase or role is an error, not a new row."""
    with pytest.raises(ValueError, match=r"^phase must be one of dw, dx, forward, update, got"):
        Tally().add_events("backward", {})
    with pytest.raises(ValueError, match=r"^role must be one of activation, .+, got 'weights'$"):
        Tally().add_encode("fc", "weights", "forward", LNS8, EncodeCounts(1, 0, 0))


def test_counts_add() -> None:
    """Adding a mapping twice doubles it."""
    total: dict[Event, int] = {}
    for _ in range(2):
        add_events(total, {Event("compare", 8): 3})
    assert total == {Event("compare", 8): 6}


def test_the_gaps_are_stated() -> None:
    """The report's text names what is left out."""
    for gap in ("evaluation", "clock tree", "leakage", "processing elements"):
        assert gap in NOT_COUNTED
