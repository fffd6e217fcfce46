"""Kinds: each rule by hand, each stated; a kind is one record."""

from pathlib import Path

import pytest
from lnsim.sim.events.event import Event
from lnsim.sim.prices.interval import Interval
from lnsim.sim.prices.kinds import GROUPS, KINDS, Kind, PriceRule, rule_texts
from lnsim.sim.prices.rows import COLUMNS, PriceRow
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.prices.table import PriceTable, price

TABLE = PriceTable.default()
HEAD = ",".join(COLUMNS)


def mid(event: Event) -> float:
    """Middle price of one event, pJ."""
    return TABLE.value(TABLE.weights(event)).mid


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
    told = {kind for kinds in rule_texts() for kind in kinds.split(", ")}
    assert told == {name for name, kind in KINDS.items() if kind.rule is not None}
    assert all(rule_texts().values())


def test_a_kind_is_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that is added has rows, a rule, a group and a line in the report, and no other place.

    Its row's unit and detail are checked, its event is priced by its rule, and one that no record
    names still takes a row of its own.
    """
    path = tmp_path / "prices.csv"
    rule = PriceRule("two additions", lambda event, rows: {rows["int_add"][0][1]: 2.0})
    monkeypatch.setitem(KINDS, "link_bits", Kind("link_bits", rule, "wires", per_bit=True, bits=""))
    report = price({Event("link_bits"): 3}, TABLE)
    assert report.total.mid == report.by_group["wires"].mid == pytest.approx(3 * 2 * 0.03)
    assert rule_texts()["link_bits"] == "two additions"
    row = "link_bits,,,1,2,3,pJ/bit,45 nm 0.9 V,mine,derived,"
    path.write_text(f"{HEAD}\n{row}\n", encoding="utf-8")
    assert price({Event("link_bits"): 3}, load_prices(path)).total == Interval(3, 6, 9)
    path.write_text(f"{HEAD}\n{row.replace('pJ/bit', 'pJ/operation')}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="unit must be one of pJ/bit"):
        load_prices(path)
    own = PriceRow("teleport", 0, "", Interval(1, 1, 1), "pJ/operation", TABLE.node, "s", "derived")
    table = PriceTable(dict(TABLE.rows) | {own.key: own})
    assert price({Event("teleport"): 2}, table).by_group["arithmetic"].mid == 2
    assert {kind.group for kind in KINDS.values()} | {"vector"} == set(GROUPS)
