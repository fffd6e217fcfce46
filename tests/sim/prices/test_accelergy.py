"""An ERT goes out and comes back."""

from pathlib import Path

import pytest
import yaml
from lnsim.sim import cost_step, get_machine, get_recipe
from lnsim.sim.cost.energy import price_step
from lnsim.sim.prices.accelergy import ert_text
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.workload.workload import Gemm, workload_of_layers

TOY = workload_of_layers("toy", [Gemm("a", "forward", 8, 8, 8)])


def test_an_ert_goes_out_and_comes_back(tmp_path: Path) -> None:
    """What Accelergy would read gives the same mid energies when it is laid over the table."""
    table = PriceTable.default()
    cost = cost_step(TOY, get_machine("edge-16"), get_recipe("lns8"))
    text = ert_text(cost.events(), table)
    parsed = yaml.safe_load(text)
    assert parsed["ERT"]["version"] == "0.4"
    assert set(parsed["ERT"]["tables"][0]) == {"name", "actions"}
    assert set(parsed["ERT"]["tables"][0]["actions"][0]) == {"name", "arguments", "energy"}
    path = tmp_path / "ert.yaml"
    path.write_text(text)
    back = load_prices(path)
    ours, theirs = (price_step(cost, t).total for t in (table, back))
    assert theirs.mid == pytest.approx(ours.mid, rel=1e-8)
    assert theirs.low == pytest.approx(theirs.high)  # one number an action
    for entry in parsed["ERT"]["tables"]:
        entry["actions"][0]["energy"] *= 2
    path.write_text(yaml.safe_dump(parsed))
    doubled = load_prices(path)
    assert price_step(cost, doubled).total.mid == pytest.approx(2 * ours.mid, rel=1e-8)
