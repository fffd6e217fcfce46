"""Energy: rows name their source, prices follow stated arithmetic, intervals rank honestly."""

from pathlib import Path

import pytest
from lnsim.lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from lnsim.lns.format import BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, INT8, LNS8, Format
from lnsim.sim import RECIPES, cost_step, get_machine, get_recipe, lns_recipe
from lnsim.sim.events.event import Event, Events
from lnsim.sim.events.mac import gemm_events
from lnsim.sim.prices.kinds import RULE_TEXT, RULES
from lnsim.sim.prices.rows import read_row
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.prices.table import (
    COLUMNS,
    CONFIDENCES,
    KINDS,
    PER_BIT,
    ZERO,
    Interval,
    PriceTable,
    difference,
    price,
    rank_events,
    ranking,
)
from lnsim.sim.workload.networks import network_workload

TABLE = PriceTable.default()
HEAD = ",".join(COLUMNS)
ROW = "int_add,8,,0.1,0.2,0.3,pJ/operation,45 nm 0.9 V,a source,derived,"


def mid(event: Event) -> float:
    """Middle price of one event, pJ."""
    return TABLE.value(TABLE.weights(event)).mid


def test_every_row_says_where_it_comes_from() -> None:
    """Value in order, unit, node, source and confidence; nothing rests on memory."""
    assert len(TABLE.rows) >= 20
    for row in TABLE.rows.values():
        assert 0 <= row.price.low <= row.price.mid <= row.price.high
        assert row.unit in ("pJ/operation", "pJ/bit")
        assert row.source
        assert row.note
        assert row.confidence in CONFIDENCES
        if row.kind not in ("mac", "dram_read_bits", "dram_write_bits"):
            assert row.node == TABLE.node == "45 nm 0.9 V"
            assert row.confidence != "unconfirmed"
        assert "/" not in row.source.replace("yosys/ABC", ""), "a source is a publication"


@pytest.mark.parametrize(
    ("event", "pj"),
    [
        (Event("accumulate", 8), 0.03),
        (Event("accumulate", 16), 0.05),
        (Event("accumulate", 32), 0.1),
        (Event("int_multiply", 8, "8x8"), 0.2),
        (Event("int_multiply", 32, "32x32"), 3.1),
        (Event("float_add", 16, "fp16"), 0.4),
        (Event("float_add", 32, "fp32"), 0.9),
        (Event("float_multiply", 16, "11x11e5"), 1.1),
        (Event("float_multiply", 32, "24x24e8"), 3.7),
        (Event("sram_read_bits", 64, "32768B"), 17.04 / 64),
        (Event("sram_write_bits", 32, "1048576B"), 49.08 / 32),
    ],
)
def test_published_values(event: Event, pj: float) -> None:
    """Horowitz, ISSCC 2014, fig. 1.1.9, at the widths it lists; CACTI 7 for buffers."""
    assert mid(event) == pj


def test_dram_spans_the_published_range() -> None:
    """1300 to 2600 pJ for 64 bits."""
    row = TABLE.rows["dram_read_bits", 0, "horowitz"].price
    assert row.low == pytest.approx(1300 / 64, rel=0.01)
    assert row.high == pytest.approx(2600 / 64, rel=0.01)


@pytest.mark.parametrize(
    ("event", "pj"),
    [
        (Event("accumulate", 24), (0.05 + 0.1) / 2),
        (Event("exponent_add", 4), 0.03 / 2),
        (Event("result_add", 48), 0.1 * 1.5),
        (Event("compare", 12), (0.03 + 0.05) / 2),
        (Event("significand_multiply", 4, "4x4"), 0.2 * 16 / 64),
        (Event("constant_multiply", 32, "32x17"), 0.2 + (3.1 - 0.2) * (544 - 64) / (1024 - 64)),
        (Event("shift", 24), 24 * 5 * 0.00025),
        (Event("bin_select", 24, "4x24"), 3 * 24 * 0.00025),
        (Event("antilog_lookup", 9, "32x9"), 0.07 * 2),
        (Event("antilog_lookup", 18, "8x18"), 0.07 * 2),
        (Event("float_multiply", 8, "4x3e5"), 0.2 * 12 / 64 + 0.03 * 5 / 8 + 8 * 0.008),
        (Event("float_add", 8, "fp8-e5m2"), 0.4 / 2),
        (Event("convert", 32), 0.1 + 0.075 + 32 * 5 * 0.00025),
        (Event("encode", 8, "gamma=8"), 0.03 + 3 * 0.075),
        (Event("encode", 8, "float"), 0.03 + 24 * 5 * 0.00025),
        (Event("requantise", 16), 0.05),
        (Event("float_to_int", 32), 0.075 + 24 * 5 * 0.00025),
        (Event("float_div_sqrt", 16, "divide"), 18.4 * (11 / 24) ** 2),
        (Event("float_exp", 32), 27.6),
        (Event("wire_bits", 0, "2.5mm"), 2.5 * 0.24),
        (Event("sram_read_bits", 64, "512B"), 1.67 / 64 / 2**0.5),
        (Event("sram_read_bits", 8, "1024B"), 1.324 / 32),
        (Event("sram_read_bits", 256, "1024B"), 3.378 / 128),
        (Event("sram_read_bits", 48, "1024B"), (1.324 / 32 + 1.67 / 64) / 2),
        (
            Event("sram_read_bits", 64, str(2304 * 1024) + "B"),
            127.5 / 64 + (188.7 - 127.5) / 64 * (2304**0.5 - 2048**0.5) / (4096**0.5 - 2048**0.5),
        ),
    ],
)
def test_rules_by_hand(event: Event, pj: float) -> None:
    """Kinds without a row follow the stated rule."""
    assert mid(event) == pytest.approx(pj, rel=1e-12)


def test_every_rule_is_stated() -> None:
    """The report's text covers each kind that has a rule, and no other."""
    assert {kind for kinds in RULE_TEXT for kind in kinds.split(", ")} == set(RULES)


def test_a_gemm_by_hand() -> None:
    """One LNS8 product and its output, summed with pencil and paper; the groups add up."""
    report = price(gemm_events(Datapath(), LNS8, LNS8, 1, 1, 1), TABLE)
    arithmetic = 0.03 + 0.07 + 24 * 5 * 0.00025 + 0.075
    convert = 2 * 0.075 + 24 * 5 * 0.00025
    assert report.by_group["arithmetic"].mid == pytest.approx(arithmetic, rel=1e-12)
    assert report.by_group["registers"].mid == pytest.approx(60 * 0.004, rel=1e-12)
    assert report.by_group["conversion"].mid == pytest.approx(convert, rel=1e-12)
    for parts in (report.by_kind, report.by_group):
        assert sum(part.mid for part in parts.values()) == pytest.approx(report.total.mid)
        assert sum(part.high for part in parts.values()) == pytest.approx(report.total.high)


def mac(datapath: Datapath | FloatDatapath | IntDatapath, fmt: Format) -> Events:
    """Events of a long sum's products alone: the conversion left out."""
    events = gemm_events(datapath, fmt, fmt, 1, 1, 1024)
    return {event: count for event, count in events.items() if event.kind != "convert"}


# Ratios to the LNS8 MAC with a table, own gate-level measurement (generated netlists, yosys/ABC,
# 2,048 Gaussian MACs): least and most over three cell libraries, without and with glitches.
MEASURED = [
    (Datapath(Antilog(1)), LNS8, 0.83, 0.84),
    (IntDatapath(Accumulator(24, 0)), INT8, 1.15, 1.30),
    (FloatDatapath(Accumulator()), FP8_E4M3, 0.98, 1.03),
    (FloatDatapath(Accumulator()), FP8_E5M2, 0.92, 0.95),
    (FloatDatapath(FP16), FP8_E4M3, 1.60, 1.94),
    (FloatDatapath(), FP8_E4M3, 1.51, 3.03),
    (FloatDatapath(), BF16, 2.43, 4.33),
    (FloatDatapath(), FP16, 2.99, 5.52),
    (FloatDatapath(), FP32, 6.1, 9.65),
]


@pytest.mark.parametrize(("datapath", "fmt", "low", "high"), MEASURED)
def test_macs_keep_the_measured_ratios(
    datapath: Datapath, fmt: Format, low: float, high: float
) -> None:
    """The sum of the parts is within a quarter of the whole MAC's measured ratio to LNS8."""
    lns = price(mac(Datapath(), LNS8), TABLE).total.mid
    ratio = price(mac(datapath, fmt), TABLE).total.mid / lns
    assert low / 1.25 < ratio < high * 1.25


def test_an_event_without_a_price_is_an_error() -> None:
    """Nothing is ever free by omission."""
    with pytest.raises(ValueError, match=r"^prices must have a row for Event\(kind='teleport'"):
        price({Event("teleport"): 1}, TABLE)
    with pytest.raises(ValueError, match=r"^prices must have a 32-bit row for .*'cbrt'"):
        price({Event("float_div_sqrt", 32, "cbrt"): 1}, TABLE)


def test_overlapping_intervals_cannot_be_ranked() -> None:
    """Touching counts as overlapping."""
    a, b, c = Interval(1, 2, 3), Interval(3, 4, 5), Interval(3.5, 4, 5)
    assert ranking(a, b) == "cannot be ranked"
    assert ranking(a, c) == "lower"
    assert ranking(c, a) == "higher"
    assert ranking(ZERO, ZERO) == "cannot be ranked"


def test_shared_prices_cancel_in_a_difference() -> None:
    """The same work differs by nothing; twice the work is more, though the intervals overlap."""
    once = {Event("dram_read_bits", 0, "horowitz"): 100, Event("accumulate", 24): 5}
    more = {Event("dram_read_bits", 0, "horowitz"): 110, Event("accumulate", 24): 6}
    assert difference(once, dict(once), TABLE) == ZERO
    assert ranking(price(once, TABLE).total, price(more, TABLE).total) == "cannot be ranked"
    assert rank_events(once, more, TABLE) == "lower"
    assert rank_events(more, once, TABLE) == "higher"
    delta = difference(more, once, TABLE)
    assert delta.low == pytest.approx(10 * 20.3 + (0.0333 + 0.0667) / 2)
    assert delta.high == pytest.approx(10 * 40.6 + (0.075 + 0.15) / 2)


def test_a_difference_of_opposite_signs_is_not_ranked() -> None:
    """More DRAM against more arithmetic: either may win, according to the rows."""
    a, b = {Event("dram_read_bits", 0, "horowitz"): 1}, {Event("float_exp", 32): 1}
    assert rank_events(a, b, TABLE) == "cannot be ranked"


def test_every_kind_of_row_says_what_its_detail_is() -> None:
    """A row is taken exactly if an event can be like it, or its kind's rule finds it."""
    workload = network_workload("bert-base", 1)
    logs = [
        lns_recipe(accumulator=Accumulator(9, style="log"), variant=variant)
        for variant in ("exact", "table:8", "interp:4", "mitchell")
    ]
    recipes = [*map(get_recipe, RECIPES), lns_recipe(accumulator=Accumulator(style="bins"))]
    recipes += [lns_recipe(optimiser="madam")]
    edge, far = get_machine("edge-16"), get_machine("lns-madam-like")
    steps = [cost_step(workload, edge, recipe) for recipe in (*recipes, *logs)]
    steps += [cost_step(workload, far, recipe) for recipe in recipes]
    events = {event for step in steps for event in step.events()}
    bases = {"int_add", "mux_bits", "float_overhead", "mac"}
    assert {event.kind for event in events} | bases == KINDS
    for event in sorted(events):
        if event.kind == "wire_bits":  # only its base, a millimetre, is a row
            continue
        unit = "pJ/bit" if event.kind in PER_BIT else "pJ/operation"
        record = dict(zip(COLUMNS, (event.kind, str(event.bits), event.detail), strict=False))
        record |= dict.fromkeys(("low_pj", "mid_pj", "high_pj"), "1")
        record |= {"unit": unit, "node": "n", "source": "s", "confidence": "derived"}
        assert read_row(record).key == (event.kind, event.bits, event.detail)
        if event.kind not in ("float_add", "encode"):
            with pytest.raises(ValueError, match=f"^detail of {event.kind} must "):
                read_row(record | {"detail": "foo"})


def test_a_user_table_replaces_and_adds_rows(tmp_path: Path) -> None:
    """A row for one event wins over the rule; a base row moves everything priced from it."""
    path = tmp_path / "prices.csv"
    extra = "exponent_add,8,,0.5,0.6,0.7,pJ/operation,45 nm 0.9 V,mine,derived,measured"
    path.write_text(f"{HEAD}\n{ROW}\n{extra}\n", encoding="utf-8")
    table = load_prices(path)
    assert table.value(table.weights(Event("exponent_add", 8))) == Interval(0.5, 0.6, 0.7)
    assert table.value(table.weights(Event("compare", 4))).mid == pytest.approx(0.1)
    assert table.value(table.weights(Event("accumulate", 32))).mid == 0.1
    assert "mine" in table.sources


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pJ/operation", "", "line 2: unit must be given, got nothing"),
        ("pJ/operation", "pJ/bit", "line 2: unit must be one of pJ/operation, got 'pJ/bit'"),
        ("a source", " ", "line 2: source must be given, got nothing"),
        ("0.1", "-0.1", "line 2: prices must be 0 <= low <= mid <= high, got -0.1, 0.2, 0.3"),
        ("0.1", "0.25", "line 2: prices must be 0 <= low <= mid <= high, got 0.25, 0.2, 0.3"),
        ("0.3", "inf", "line 2: prices must be 0 <= low <= mid <= high, got 0.1, 0.2, inf"),
        ("0.2", "cheap", "line 2: mid_pj must be a number, got 'cheap'"),
        ("int_add", "intadd", "line 2: kind must be one of"),
        ("derived", "guess", "line 2: confidence must be one of confirmed, derived, unconfirmed"),
        ("45 nm", "7 nm", "node must be the same in every row, got 45 nm 0.9 V, 7 nm 0.9 V"),
        ("kind,bits", "kinds,bits", "must have the columns kind, bits,"),
        ("int_add,8,", "int_add,0,", "line 2: bits of int_add must be a width above 0, got 0"),
        ("int_add,8,,", "gauss_lookup,9,foo,", "line 2: detail of gauss_lookup must look like "),
        ("int_add,8,,", "gauss_lookup,9,8x8,", "line 2: bits of gauss_lookup must be 8, got 9"),
        ("int_add,8,,", "int_multiply,8,0x8,", "line 2: detail of int_multiply must look like "),
        ("int_add,8,,", "distance,9,x,", "line 2: detail of distance must be left out, got 'x'"),
        ("int_add,8,,", "mac,9,lns8,", "line 2: bits of mac must be 8, got 9"),
    ],
)
def test_a_broken_user_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each fault ends in one line that names file line and field."""
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEAD}\n{ROW}\n".replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is checked below
        load_prices(path)
    assert message in str(error.value)
