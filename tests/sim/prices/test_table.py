"""Energy: rows name their source, prices follow stated arithmetic, intervals rank honestly."""

from pathlib import Path

import pytest
from lnsim.lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from lnsim.lns.format import BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, INT8, LNS8, Format
from lnsim.sim.events.event import Event, Events
from lnsim.sim.events.mac import gemm_events
from lnsim.sim.prices.interval import ZERO, Interval, ranking
from lnsim.sim.prices.rows import COLUMNS, CONFIDENCES
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.prices.table import PriceTable, difference, price, rank_events

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
