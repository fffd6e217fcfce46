"""`lnsim energy`: what it prints and writes, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from lnsim.sim.cli import main
from lnsim.sim.energy_command import recipe_of
from lnsim.sim.scalesim_reports import ACCESS, BANDWIDTH, COMPUTE
from lnsim.sim.step_energy import CANNOT

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


def test_the_list(capsys: pytest.CaptureFixture) -> None:
    """Networks, machines and formats."""
    assert main(["energy", "--list"]) == 0
    printed = capsys.readouterr().out
    for name in ("bert-large", "gpt-1.7b", "lns-madam-like", "fp8-fixed"):
        assert name in printed
