"""`lnsim energy`: what it prints and writes, and what it refuses."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from lnsim.lns import Accumulator, Datapath
from lnsim.sim import cost_step, get_machine
from lnsim.sim.cli.energy import recipe_of
from lnsim.sim.cli.main import main
from lnsim.sim.cost.energy import CANNOT
from lnsim.sim.report.scalesim import ACCESS, BANDWIDTH, COMPUTE
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.workload.topology import read_topology

TOPOLOGY = "Layer, M, N, K,\nfirst, 32, 16, 24,\nsecond, 32, 10, 16,\n"


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """A topology file of two layers."""
    path = tmp_path / "two.csv"
    path.write_text(TOPOLOGY)
    return path


def test_it_writes_everything(layers: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All files, twice the same bytes; the tables on screen name formats, phases and doubts."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        words = ["energy", "--topology", str(layers), "--against", "fp8-fixed,fp32"]
        assert main([*words, "--out", str(folder)]) == 0
    printed = capsys.readouterr().out
    for text in ("lns8", "fp8-fixed", "fp32", "forward", "dram", CANNOT, "0 multiplications in"):
        assert text in printed
    files = sorted(p.relative_to(folders[0]) for p in folders[0].rglob("*") if p.is_file())
    assert len(files) == 5 + 3 * 5
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    report = json.loads((folders[0] / "energy.json").read_text())
    assert [step["format"] for step in report["steps"]] == ["lns8", "fp8-fixed", "fp32"]
    assert report["comparisons"][0]["by_intervals"] == CANNOT
    parts = list(csv.DictReader((folders[0] / "energy.csv").read_text().splitlines()))
    for step in report["steps"]:
        own = [float(row["mid_pj"]) for row in parts if row["format"] == step["format"]]
        assert sum(own) == pytest.approx(step["total_pj"]["mid"])
    assert all(row["source"] and row["confidence"] for row in report["prices"])


def test_other_tools_read_the_step(layers: Path, tmp_path: Path) -> None:
    """SCALE-Sim's headers and trailing commas; the topology written can be costed again."""
    assert main(["energy", "--topology", str(layers), "--out", str(tmp_path / "o")]) == 0
    folder = tmp_path / "o" / "lns8"
    for name, header in (
        ("COMPUTE_REPORT", COMPUTE),
        ("BANDWIDTH_REPORT", BANDWIDTH),
        ("DETAILED_ACCESS_REPORT", f"{ACCESS},"),
    ):
        lines = (folder / f"{name}.csv").read_text().splitlines()
        assert lines[0] == header
        assert len(lines) == 1 + 5  # two forward, one dx, two dw
        assert all(line.endswith(",") for line in lines)
        assert {line.count(",") for line in lines} == {header.count(",")}
    first = (folder / "COMPUTE_REPORT.csv").read_text().splitlines()[1].split(", ")
    assert first[0] == "0"
    stalls = int(first[3])
    assert int(first[2]) == 2 * (24 + 16 + 16 - 2) - 1 + stalls  # OS on 16x16, two folds
    assert int(first[1]) == int(first[2]) + 1
    again = ["energy", "--topology", str(folder / "gemms.csv"), "--out", str(tmp_path / "p")]
    assert main(again) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--machine", "tpu"], "machine must be one of edge-16, lns-madam-like, tpu-128"),
        (["--model", "vgg"], "model must be one of bert-base,"),
        (["--format", "fp5"], "format must be one of bf16,"),
        (["--against", "fp8,fp8"], "against must name other formats, each once, got 'fp8,fp8'"),
        (["--dataflow", "rs"], "dataflow must be one of is, os, ws, got 'rs'"),
        (["--recurrence", "x"], "recurrence must be one of paper, scalesim"),
        (["--objective", "x"], "objective must be one of latency, traffic"),
        (["--node", "7 nm"], "node must be one of 32 nm, 45 nm, 65 nm"),
        (["--mac-prices", "x"], "mac_prices must be one of components, published-pe"),
        (["--batch", "0"], "batch must be in 1..1048576, got 0"),
        (["--optimiser", "lion"], "optimiser must be one of adamw,"),
        (["--format", "fp32", "--optimiser", "integer-madam"], "update must be an LNSFormat"),
        (["--model", "cnn", "--topology", "x.csv"], "only one of model, topology and onnx"),
        (["--prices", "nowhere.csv"], "nowhere.csv: No such file or directory"),
        (["--topology", "nowhere.csv"], "nowhere.csv"),
        (["--format", "e99g8"], "exponent_bits must be in 2..15, got 99"),
        (["--format", "e14g8-log"], "exponent_bits must be at most 13 in style log"),
        (["--format", "lns8-log-w8"], "bits must be at least 9 in style 'log' for"),
        (["--format", "lns8-log-cubic"], "variant must be one of exact, table:n, "),
        (["--format", "lns8-bins-mitchell"], "format must be one of bf16,"),
        (["--format", "lns8-w3"], "bits must be in 4..62, got 3"),
        (["--format", "lns8-log", "--mac-prices", "published-pe"],
         "mac_prices must not be published-pe in style log: the paper sums fixed-point numbers"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 2, one line that names what is wrong, and nothing written."""
    assert main(["energy", *words, "--out", str(tmp_path / "o")]) == 2
    out = capsys.readouterr()
    assert out.err.startswith("lnsim: error: ")
    assert message in out.err
    assert out.err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_the_machine_and_prices_flags_take_effect(layers: Path, tmp_path: Path) -> None:
    """Each changes what it says: cycles, traffic or energy."""

    def run(*words: str) -> dict:
        folder = tmp_path / "_".join(words or ("plain",)).replace("/", "-")
        assert main(["energy", "--topology", str(layers), *words, "--out", str(folder)]) == 0
        report: dict = json.loads((folder / "energy.json").read_text())
        return report["steps"][0]

    plain = run()
    assert run("--recurrence", "paper")["cycles"] != plain["cycles"]
    assert run("--dataflow", "ws")["cycles"] != plain["cycles"]
    assert run("--machine", "tpu-128")["cycles"] != plain["cycles"]
    assert run("--node", "32 nm")["total_pj"]["mid"] < plain["total_pj"]["mid"]
    assert run("--mac-prices", "published-pe")["mac_fj"]["mid"] == pytest.approx(80.0)
    assert run("--format", "e5g4")["total_pj"]["mid"] < plain["total_pj"]["mid"]
    assert run("--optimiser", "adamw")["total_pj"]["mid"] > plain["total_pj"]["mid"]


def test_names_of_formats() -> None:
    """e5g4 is LNS with five exponent bits in quarter octaves; an optimiser changes its storage."""
    recipe = recipe_of("e5g4")
    assert (recipe.weight.bits, recipe.name) == (6, "e5g4")
    assert recipe_of("lns8", "adamw").update is None
    assert recipe_of("fp8").optimiser == "adamw"


def test_names_of_accumulators() -> None:
    """-bins, -log with a variant, -wW for the accumulator's bits; the plain name is "direct"."""
    wanted = {
        "lns8": Datapath(),
        "lns8-w20": Datapath(accumulator=Accumulator(bits=20)),
        "e5g4-bins": Datapath(accumulator=Accumulator(style="bins")),
        "lns8-bins-w30": Datapath(accumulator=Accumulator(bits=30, style="bins")),
        "lns8-log": Datapath(accumulator=Accumulator(bits=9, style="log")),
        "e5g4-log": Datapath(accumulator=Accumulator(bits=7, style="log")),
        "lns8-log-w11": Datapath(accumulator=Accumulator(bits=11, style="log")),
        "e7g8-log-mitchell": Datapath(
            accumulator=Accumulator(bits=9, style="log"), variant="mitchell"
        ),
        "lns8-log-table:8-w10": Datapath(
            accumulator=Accumulator(bits=10, style="log"), variant="table:8"
        ),
    }
    for name, datapath in wanted.items():
        recipe = recipe_of(name)
        assert (recipe.name, recipe.datapath) == (name, datapath)
    assert recipe_of("lns8-log", "adamw").optimiser == "adamw"


def test_a_logarithmic_sum_costs_what_training_counts(layers: Path, tmp_path: Path) -> None:
    """The command's events are those of the recipe that `train --style log` runs."""
    words = ["energy", "--topology", str(layers), "--format", "lns8-log-interp:4"]
    words += ["--against", "lns8,lns8-log,lns8-log-table:8,lns8-bins", "--out", str(tmp_path / "o")]
    assert main(words) == 0
    report = json.loads((tmp_path / "o" / "energy.json").read_text())
    steps = {step["format"]: step for step in report["steps"]}
    assert len({step["total_pj"]["mid"] for step in steps.values()}) == 5
    for variant in ("interp:4", "exact", "table:8"):
        name = "lns8-log" if variant == "exact" else f"lns8-log-{variant}"
        recipe = RunConfig(exponent_bits=7, style="log", variant=variant).recipe()
        cost = cost_step(read_topology(layers), get_machine("edge-16"), recipe)
        own = [(e.kind, e.bits, e.detail, n) for e, n in cost.events().items()]
        counted: Counter = Counter()
        for event in (event for rows in steps[name]["events"].values() for event in rows):
            counted[event["kind"], event["bits"], event["detail"]] += event["count"]
        assert sorted((*key, n) for key, n in counted.items()) == sorted(own)
    assert (tmp_path / "o" / "lns8-log-table-8" / "ert.yaml").exists()  # no colon in a file's name


def test_the_list(capsys: pytest.CaptureFixture) -> None:
    """Networks, machines and formats."""
    assert main(["energy", "--list"]) == 0
    printed = capsys.readouterr().out
    for name in ("bert-large", "gpt-1.7b", "lns-madam-like", "fp8-fixed"):
        assert name in printed
