"""`RunConfig.resolve`: everything a run needs is in the plan, and a file may go once it is made."""

import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lnsim.sim import get_machine, get_recipe
from lnsim.sim.files.assets import ASSETS
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.runs.run_config import RunConfig


def test_a_plan_holds_what_the_configuration_names() -> None:
    """Recipe with the run's optimiser, machine with its lanes, prices, and the step's workload."""
    plan = RunConfig(format="fp8", optimiser="sgd", model="cnn", batch=8).resolve()
    assert plan.recipe == replace(get_recipe("fp8"), optimiser="sgd")
    assert plan.machine == get_machine("edge-16")
    assert plan.prices.node == PriceTable.default().node
    assert (plan.workload.name, plan.workload.gemms[0].M) == ("cnn", 8 * 8 * 8)
    assert plan.workload is plan.workload
    assert RunConfig(lanes=4).resolve().machine.lanes == 4


def test_labels_and_plans_outlive_the_files(tmp_path: Path) -> None:
    """A label says that lanes differ from the machine's, whose file has gone; so does a copy's."""
    path = tmp_path / "own.toml"
    shutil.copy(ASSETS / "machines" / "lns-madam-like.toml", path)
    usual, four = RunConfig(machine=str(path)), RunConfig(machine=str(path), lanes=4)
    plan = four.resolve()
    path.unlink()
    assert usual.label == f"LNS E7 G8 on {path} · integer-madam"
    for config in (four, pickle.loads(pickle.dumps(four))):
        assert config.label == f"LNS E7 G8 V4 on {path} · integer-madam"
        assert config == four
    assert plan.machine.lanes == 4
    assert plan.workload.macs > 0


def test_a_plan_needs_no_torch_before_its_workload() -> None:
    """The parent of a sweep resolves runs and stays light."""
    code = (
        "import sys; from lnsim.sim.runs.run_config import RunConfig; RunConfig().resolve();"
        "print(sorted({'torch', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
