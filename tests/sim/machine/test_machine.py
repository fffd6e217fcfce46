"""Machines: what a file may say, and one clear error for everything else."""

from pathlib import Path

import pytest
from lnsim.sim import Machine, cost_step, get_machine, get_recipe
from lnsim.sim.cost.energy import price_step
from lnsim.sim.machine.machine import KEYS, check_trainable, machine_names
from lnsim.sim.prices.interval import Interval
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.workload.workload import Gemm, workload_of_layers

GOOD = """
name = "mine"
rows = 8
cols = 4
dataflow = "ws"
clock_ghz = 1.0
ifmap = {capacity_bytes = 4096, word_bits = 64, banks = 2}
filter = {capacity_bytes = 4096, word_bits = 64}
ofmap = {capacity_bytes = 4096, word_bits = 64}
dram = {kind = "ddr4", gbytes_per_s = 10.0}
vector = {width = 8}
"""


@pytest.mark.parametrize("name", machine_names())
def test_shipped_machines_survive_a_round_trip(name: str) -> None:
    """Each is read, written as a mapping and read again; unconfirmed parameters are known keys."""
    machine = get_machine(name)
    assert machine.name == name
    assert machine.source
    assert Machine.from_mapping(machine.as_dict()) == machine


def test_there_are_the_three_machines() -> None:
    """A small, a large and an LNS-Madam-like one, whose parameters are marked unconfirmed."""
    assert machine_names() == ["edge-16", "lns-madam-like", "tpu-128"]
    assert get_machine("tpu-128").macs_per_cycle == 128 * 128
    assert get_machine("edge-16").dram_bits_per_cycle == pytest.approx(12.8 * 8 / 0.5)
    unconfirmed = get_machine("lns-madam-like").unconfirmed
    assert {"rows", "cols", "lanes", "depth", "ifmap", "filter", "node"} <= set(unconfirmed)


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    """A user's file in either form; defaults fill what it leaves out."""
    (tmp_path / "m.toml").write_text(GOOD)
    (tmp_path / "m.yaml").write_text(
        "name: mine\nrows: 8\ncols: 4\ndataflow: ws\nclock_ghz: 1.0\n"
        "ifmap: {capacity_bytes: 4096, word_bits: 64, banks: 2}\n"
        "filter: {capacity_bytes: 4096, word_bits: 64}\n"
        "ofmap: {capacity_bytes: 4096, word_bits: 64}\n"
        "dram: {kind: ddr4, gbytes_per_s: 10.0}\nvector: {width: 8}\n"
    )
    machine = get_machine(str(tmp_path / "m.toml"))
    assert machine == get_machine(str(tmp_path / "m.yaml"))
    assert (machine.lanes, machine.depth, machine.recurrence) == (1, 1, "scalesim")
    assert machine.ifmap.bank_bytes == 2048


def test_every_key_is_documented() -> None:
    """KEYS has a line for each field of the machine and of its parts, and for nothing else."""
    machine = get_machine("edge-16").as_dict()
    flat = set(machine)
    for part in ("dram", "vector"):
        flat |= {f"{part}.{key}" for key in machine[part]}
        flat.discard(part)
    flat |= {f"ifmap.{key}" for key in machine["ifmap"]}  # the three buffers have the same keys
    assert set(KEYS) == flat


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows = 8", "rows = 0", "rows must be in 1..65536, got 0"),
        ("rows = 8", "rows = 8.5", "rows must be an integer, got 8.5"),
        ('"ws"', '"rs"', "dataflow must be one of is, os, ws, got 'rs'"),
        ("banks = 2", "banks = 0", "ifmap.banks must be in 1..65536, got 0"),
        ("banks = 2", "ports = 2", "key must be one of ifmap.banks, ifmap.capacity_bytes, "
         "ifmap.word_bits, got ifmap.ports"),
        ("rows = 8\n", "", "rows must be given, got nothing"),
        ("clock_ghz = 1.0", "clock_ghz = -1.0", "clock_ghz must be above 0, got -1.0"),
        ("clock_ghz = 1.0", 'clock_ghz = "fast"', "clock_ghz must be a number, got 'fast'"),
        ('"ddr4"', '"ddr9"', "dram.kind must be one of ddr3, ddr4, gddr6, hbm2, hbm2e, hbm3, "
         "horowitz, lpddr4, got 'ddr9'"),
        ("width = 8", 'width = 8, format = "lns8"', "vector.format must be one of"),
        ("rows = 8", "rows = 8\nnode_nm = 7", "key must be one of clock_ghz, cols,"),
        ("rows = 8", 'rows = 8\nunconfirmed = ["speed"]', "unconfirmed must be one of"),
        ("ifmap = {capacity_bytes = 4096, word_bits = 64, banks = 2}", "ifmap = 3",
         "ifmap must hold keys and values, got 3"),
        ("rows = 8", "rows = [", "Invalid"),
    ],
)  # fmt: skip
def test_bad_machines(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each fault gives one error naming the file, the key, the rule and the value."""
    path = tmp_path / "m.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises((ValueError, TypeError)) as error:
        Machine.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    """A misspelt machine lists the known ones; another suffix says what is read."""
    with pytest.raises(
        ValueError, match=r"^machine must be one of edge-16, .+, got 'tpu'; did you mean tpu-128\?$"
    ):
        get_machine("tpu")
    path = tmp_path / "m.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"machine must be a \.yaml, \.yml or \.toml file"):
        Machine.load(path)
    bad = tmp_path / "m.yaml"
    bad.write_text("rows: [")
    with pytest.raises(ValueError, match=r"m\.yaml: "):
        Machine.load(bad)
    bad.write_text("- 1\n")
    with pytest.raises(ValueError, match="machine must hold keys and values, got none"):
        Machine.load(bad)


def test_a_training_run_needs_what_it_computes(tmp_path: Path) -> None:
    """fp32 on the vector unit and scales found first; other machines are for `lnsim energy`."""
    machine = get_machine("edge-16")
    check_trainable(machine)
    path = tmp_path / "m.toml"
    path.write_text(GOOD.replace("width = 8", 'width = 8, scale = "delayed"'))
    with pytest.raises(ValueError, match=r"^vector\.scale must be two-pass for a training run"):
        RunConfig(machine=str(path))
    path.write_text(GOOD.replace("width = 8", 'width = 8, format = "bf16"'))
    with pytest.raises(ValueError, match=r"^vector\.format must be fp32 for a training run"):
        RunConfig(machine=str(path))


def test_a_runs_lanes_are_its_machines() -> None:
    """One number: the machine's by default, the run's own where it is given."""
    run = RunConfig(machine="lns-madam-like")
    assert run.lanes == run.resolve().machine.lanes == 32
    assert run.recipe().datapath.accumulator.lanes == 32  # type: ignore[union-attr]
    assert RunConfig(lanes=4).resolve().machine.lanes == 4
    assert RunConfig(format="fp32").resolve().machine == get_machine("edge-16")


def test_the_documentation_has_every_key() -> None:
    """docs/accelerator.md prints KEYS as they are."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "accelerator.md").read_text(
        encoding="utf-8"
    )
    for key, text in KEYS.items():
        assert f"| `{key}` | {text} |" in page


def test_a_dram_price_of_ones_own(tmp_path: Path) -> None:
    """pj_per_bit takes the place of the kind's row, in costs and in runs; its source is named."""
    text = GOOD.replace("gbytes_per_s = 10.0", "gbytes_per_s = 10.0, pj_per_bit = 2.5")
    path = tmp_path / "m.toml"
    path.write_text(text)
    table = RunConfig(machine=str(path)).resolve().prices
    machine = get_machine(str(path))
    row = table.rows["dram_read_bits", 0, machine.dram.price_name]
    assert row.price == Interval(2.5, 2.5, 2.5)
    assert "machine mine" in row.source
    layers = workload_of_layers("toy", [Gemm("a", "forward", 8, 8, 8)])
    cost = cost_step(layers, machine, get_recipe("lns8"))
    moved = sum(n for e, n in cost.events().items() if e.kind.startswith("dram_"))
    energy = price_step(cost, table)
    assert energy.of_component("dram").mid == pytest.approx(2.5 * moved)
    path.write_text(GOOD.replace("gbytes_per_s = 10.0", "gbytes_per_s = 10.0, pj_per_bit = -1"))
    with pytest.raises(ValueError, match=r"dram\.pj_per_bit must be at least 0, got -1$"):
        get_machine(str(path))
