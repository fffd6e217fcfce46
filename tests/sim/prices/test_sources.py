"""Prices from files: YAML, ERT, neighbouring nodes; every fault is one line that names it."""

from pathlib import Path

import pytest
import yaml
from lnsim.sim.events.event import Event
from lnsim.sim.prices.interval import Interval
from lnsim.sim.prices.rows import read_row
from lnsim.sim.prices.sources import READERS, laid_over, load_prices, table_of_node
from lnsim.sim.prices.table import PriceTable, price

ROW = {
    "kind": "int_add", "bits": 8, "low_pj": 0.006, "mid_pj": 0.007, "high_pj": 0.008,
    "unit": "pJ/operation", "node": "45 nm 0.9 V", "source": "mine", "confidence": "derived",
}  # fmt: skip
PRICES = ("low_pj", "mid_pj", "high_pj")


def written(path: Path, values: object) -> Path:
    """A YAML file."""
    path.write_text(yaml.safe_dump(values))
    return path


def test_yaml_rows_take_the_place_of_shipped_ones(tmp_path: Path) -> None:
    """The row replaces its namesake; everything derived from it follows; the rest stays."""
    table = load_prices(written(tmp_path / "p.yaml", {"prices": [ROW]}))
    assert table.rows["int_add", 8, ""].price == Interval(0.006, 0.007, 0.008)
    assert table.value(table.weights(Event("exponent_add", 8))).mid == 0.007
    assert table.value(table.weights(Event("accumulate", 32))).mid == 0.1


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """base none: only these rows; base 7 nm: under them CACTI's 7 nm buffers, by their node."""
    row = ROW | {"node": "7 nm 0.75 V"}
    alone = load_prices(written(tmp_path / "p.yaml", {"base": "none", "prices": [row]}))
    assert list(alone.rows) == [("int_add", 8, "")]
    assert alone.node == "7 nm 0.75 V"
    memory = load_prices(written(tmp_path / "p.yml", {"base": "7 nm", "prices": [row]}))
    small = memory.rows["sram_read_bits", 64, "8192B"].price
    assert small.mid * 64 == pytest.approx(0.90, abs=0.005)
    assert small.high * 64 > 7.5  # Jouppi's figure lies inside
    assert memory.node == "7 nm 0.75 V"
    assert ("dram_read_bits", 0, "hbm2") in memory.rows


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prices": [ROW | {"unit": None}]}, "row 1: unit must be given, got nothing"),
        ({"prices": [ROW, ROW | {"mid_pj": 1}]}, "row 2: prices must be 0 <= low <= mid <= high"),
        ({"prices": [ROW | {"watt": 1}]}, "row 1: key must be one of bits, confidence,"),
        ({"prices": [3]}, "row 1: a row must hold keys and values, got 3"),
        ({"prices": 3}, "must hold a list `prices` or a table `ERT`, got neither"),
        ([1], "must hold a list `prices` or a table `ERT`, got neither"),
        ({"prices": [ROW], "node": "7 nm"}, "key must be one of base, prices, got 'node'"),
        ({"prices": [ROW], "base": "5 nm"}, "base must be one of 16 nm, 22 nm, 7 nm, default"),
        ({"prices": [ROW | {"node": "7 nm"}]}, "node must be the same in every row, got 45 nm"),
        ({"ERT": {"tables": []}}, "ERT must hold a list `tables`, got none"),
        ({"ERT": {"tables": [{"name": "system.mac", "actions": []}]}},
         "component must be named lnsim.<kind>.<bits>.<detail>"),
        ({"ERT": {"tables": [{"name": "lnsim.shift.24.-", "actions": []}]}},
         "lnsim.shift.24.- must have one action, got 0"),
        ({"ERT": {"tables": [{"name": "lnsim.shift.24.-", "actions": [{"energy": -1}]}]}},
         "lnsim.shift.24.-: prices must be 0 <= low <= mid <= high, got -1.0"),
    ],
)  # fmt: skip
def test_faulty_yaml(tmp_path: Path, values: object, message: str) -> None:
    """The file, the row and the rule."""
    path = written(tmp_path / "p.yaml", values)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is checked below
        load_prices(path)
    assert message in str(error.value)


def test_other_files(tmp_path: Path) -> None:
    """Broken YAML and unknown suffixes."""
    path = tmp_path / "p.yaml"
    path.write_text("prices: [")
    with pytest.raises(ValueError, match=r"p\.yaml: "):
        load_prices(path)
    with pytest.raises(ValueError, match=r"^prices must be a \.csv, \.yaml or \.yml file, got p\."):
        load_prices(written(tmp_path / "p.json", {}))


def test_a_reader_of_another_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file of gate reports needs: one reader; its rows lie over the machine's node."""

    def read(path: Path, node: str) -> PriceTable:
        name, pj = path.read_text().split()
        values = ROW | {"bits": "32", "source": name} | dict.fromkeys(PRICES, pj)
        return laid_over(table_of_node(node), [read_row({k: str(v) for k, v in values.items()})])

    path = tmp_path / "adder.rpt"
    path.write_text("yosys 0.25")
    with pytest.raises(ValueError, match=r"must be a \.csv, \.yaml or \.yml file, got adder\.rpt"):
        load_prices(path)
    monkeypatch.setitem(READERS, ".rpt", read)
    table = load_prices(path)
    assert table.value(table.weights(Event("accumulate", 32))) == Interval(0.25, 0.25, 0.25)
    assert "yosys" in table.sources
    with pytest.raises(ValueError, match=r"adder\.rpt: node must be one of 32 nm,"):
        load_prices(path, "7 nm")
    path.write_text("yosys -1")
    with pytest.raises(ValueError, match=r"adder\.rpt: prices must be 0 <= low"):
        load_prices(path)
    with pytest.raises(ValueError, match=r"must be a \.csv, \.yaml, \.yml or \.rpt file"):
        load_prices(tmp_path / "p.json")


def test_scaling_reaches_a_neighbour_and_no_further() -> None:
    """32 nm at 0.9 V is 0.641 of 45 nm by Stillmaker's equations; the interval reaches back."""
    factor = (0.9559 * 0.81 - 0.7823 * 0.9 + 0.471) / (1.103 * 0.81 - 0.362 * 0.9 + 0.2767)
    here, there = PriceTable.default(), table_of_node("32 nm")
    row, old = there.rows["int_add", 8, ""], here.rows["int_add", 8, ""]
    assert row.price.mid == pytest.approx(factor * old.price.mid)
    assert row.price.high == old.price.high
    assert row.confidence == "derived"
    assert "scaled by 0.641" in row.source
    assert there.node == "32 nm 0.9 V, scaled from 45 nm"
    assert there.rows["dram_read_bits", 0, "hbm2"] == here.rows["dram_read_bits", 0, "hbm2"]
    up = table_of_node("65 nm").rows["int_add", 8, ""].price
    assert up.low == old.price.low < up.mid
    assert table_of_node("45 nm") is here
    with pytest.raises(ValueError, match=r"^node must be one of 32 nm, 45 nm, 65 nm, got '7 nm': "):
        table_of_node("7 nm")
    events = {Event("int_multiply", 8, "8x8"): 5}
    assert price(events, there).total.mid == pytest.approx(factor * price(events, here).total.mid)
