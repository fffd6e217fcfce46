"""The command line: what it prints, and that every mistake ends in one line and exit code 2."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from lnsim.lns.format import FORMATS
from lnsim.sim.cli.flags import SHARED_HELP, SWEEP_HELP, TRAIN_HELP
from lnsim.sim.cli.main import main
from lnsim.sim.recipes.catalog import RECIPES
from lnsim.sim.recipes.facts import facts
from lnsim.sim.runs import sweep
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.sweep_config import SweepConfig

SMALL = ("--epochs", "1", "--batch", "16", "--limit-train", "64", "--limit-test", "50")
BAD = {
    "sweep --formats fp9": "format must be one of bf16, eEgG, fp16, fp32, fp32-madam, fp8, "
    "fp8-fixed, fp8-no-master, int8, lns, lns8, mxfp4, mxfp6-e2m3, mxfp6-e3m2, mxfp8-e4m3, "
    "mxfp8-e5m2, mxint8, got 'fp9'; did you mean fp8?",
    "sweep --gamma 6": "gamma must be a power of two, got 6",
    "sweep --exponent-bits 0": "exponent_bits must be in 2..15, got 0",
    "sweep --exponent-bits 8:4": "exponent_bits must be a number, a list 4,6,8 or a range 4:8, "
    "got '8:4'",
    "sweep --exponent-bits none --formats none": "exponent_bits or formats must name at least "
    "one, got none in either",
    "sweep --optimiser none": "optimiser must be one of ",
    "sweep --lr x": "argument --lr: invalid float value: 'x' (see `lnsim sweep --help`)",
    "sweep --lr nan": "lr must be ",
    "sweep --epochs 0": "epochs must be in 1..1000000, got 0",
    "sweep --batch 4000": "batch must be at most the 3823 training images, got 4000",
    "sweep --model lstm": "model must be one of cnn, mlp, resnet18-cifar, got 'lstm'",
    "sweep --data imagenet": "data must be one of cifar10, digits, fashion-mnist, mnist, got ",
    "sweep --data mnist": "data set mnist is not in ",
    "sweep --config none.yaml": "config none.yaml must be readable, got No such file or directory",
    "sweep --config sweep.txt": "config sweep.txt must be a .yaml, .yml or .toml file, got ",
    "sweep --config broken.yaml": "config broken.yaml must be YAML, got ",
    "sweep --config broken.toml": "config broken.toml must be TOML, got ",
    "sweep --config list.yaml": "config list.yaml must hold keys and values, got list",
    "sweep --config bytes.yaml": "config bytes.yaml must be UTF-8 text, got invalid start byte",
    "sweep --config unknown.yaml": "unknown.yaml: key must be one of accumulator_bits, ",
    "sweep --config wrong.toml": "wrong.toml: epochs must be an integer, got '4'",
    "sweep --out taken": "out must be a folder, got the file taken",
    "sweep --name a/b": "name must be a plain folder name, got 'a/b'",
    "sweep --workers 0": "workers must be in 1..1024, got 0",
    "sweep --seed 1": "unrecognized arguments: --seed 1 (see `lnsim --help`)",
    "train --format fp8 --gamma 8": "gamma must be left out for format fp8, got 8",
    "train --antilog-entries 3": "antilog_entries must be a power of two, got 3",
    "train --out taken": "out must be a folder, got the file taken",
    "train --resume": "checkpoint must be given to resume, got none",
    "train --batch 4000": "batch must be at most the 3823 training images, got 4000",
    "train --checkpoint taken --resume": "checkpoint must be a file lnsim wrote, got taken",
    "formats lns99": "format must be one of bf16, ",
    "data fetch digits": "digits comes with lnsim, there is nothing to fetch",
    "data fetch imagenet": "data must be one of ",
    "data": "the following arguments are required: ACTION (see `lnsim data --help`)",
    "": "the following arguments are required: COMMAND (see `lnsim --help`)",
    "swep": "argument COMMAND: invalid choice: 'swep' ",
    "--verbose": "the following arguments are required: COMMAND",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are wrong in one way each; no data set but the shipped one."""
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "broken.yaml").write_text("epochs: [1\nseeds: 2\n")
    (tmp_path / "broken.toml").write_text("epochs = \n")
    (tmp_path / "list.yaml").write_text("- epochs\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "unknown.yaml").write_text("epoch: 4\n")
    (tmp_path / "wrong.toml").write_text("epochs = '4'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LNSIM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", BAD, ids=lambda text: text or "nothing")
def test_a_mistake_is_one_line_and_exit_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the rule and what was given; nothing on stdout, nothing written."""
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"lnsim: error: {BAD[command]}")
    assert not Path("results").exists()
    assert Path("taken").read_text() == "mine"


def test_missing_data_ends_in_the_command_that_gets_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a sweep and for a single run."""
    for command in ("sweep", "train"):
        assert main([command, "--data", "cifar10"]) == 2
        assert capsys.readouterr().err.endswith("get it with: lnsim data fetch cifar10\n")


def test_help_is_quick_to_import() -> None:
    """The parser, the sweep and its settings need neither torch nor Numba nor matplotlib."""
    code = (
        "import sys; from lnsim.sim.cli.main import main, build_parser; build_parser('sweep');"
        "print(sorted({'torch', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_mistake_in_a_real_process_shows_no_traceback(place: Path) -> None:
    """The installed command itself: one line, exit 2."""
    command = [
        sys.executable,
        "-c",
        "from lnsim.sim.cli.main import main; raise SystemExit(main())",
    ]
    done = subprocess.run([*command, "sweep", "--gamma", "6"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "lnsim: error: gamma must be a power of two, got 6\n"


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_exit_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They name the program."""
    with pytest.raises(SystemExit) as leaving:
        main([flag])
    assert leaving.value.code == 0
    assert "lnsim" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "helps", "command"),
    [(SweepConfig, SWEEP_HELP, "sweep"), (RunConfig, TRAIN_HELP, "train")],
)
def test_every_field_is_a_flag_with_help(
    config: type[SweepConfig] | type[RunConfig],
    helps: dict[str, str],
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And no help text is left over for a field that is gone."""
    names = {item.name for item in fields(config)}
    assert names <= {*helps, *SHARED_HELP}
    assert set(helps) <= names
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in shown for name in names)


def test_formats_lists_every_format_and_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, one row each; `lns8` is there as `lns`, whose widths are flags."""
    assert main(["formats"]) == 0
    words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(FORMATS) <= words
    assert (set(RECIPES) - {"lns8"}) | {"lns"} <= words


def test_formats_tells_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A number format's numbers; a recipe's rules; both for a name that is both."""
    assert main(["formats", "fp8-e4m3"]) == 0
    text = capsys.readouterr().out
    assert "448" in text
    assert "2^-9" in text
    assert "saturates" in text
    assert main(["formats", "fp8-no-master"]) == 0
    assert "stored between steps as scaled E4M3" in capsys.readouterr().out
    assert main(["formats", "bf16"]) == 0
    text = capsys.readouterr().out
    assert "number format" in text
    assert "training recipe" in text


@pytest.mark.parametrize(
    ("name", "smallest", "largest", "octaves", "error"),
    [
        ("lns8", "2^0.125", "2^15.875", "15.75", "4.43 %"),
        ("fp8-e4m3", "2^-9", "448", "17.81", "5.88 %"),
        ("fp8-e5m2", "2^-16", "57344", "31.81", "11.1 %"),
        ("fp16", "2^-24", "65504", "40", "0.0488 %"),
        ("int8", "1", "127", "6.989", "half a unit"),
    ],
)
def test_the_zoo_in_numbers(
    name: str, smallest: str, largest: str, octaves: str, error: str
) -> None:
    """By hand: 2^(1/16) - 1; u / (1 + u) with u = 2^-4, 2^-3, 2^-11; log2 of the range."""
    fact = facts(name)
    assert (fact.smallest, fact.largest, fact.octaves, fact.error) == (
        smallest,
        largest,
        octaves,
        error,
    )


def test_data_list_says_where_or_how(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped set by its folder, a missing one by the command that gets it, with licences."""
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (digits,) = [line for line in lines if line.strip().startswith("digits")]
    (cifar,) = [line for line in lines if line.strip().startswith("cifar10")]
    assert "CC BY 4.0" in digits
    assert "assets" in digits
    assert "lnsim data fetch cifar10" in cifar


def test_train_writes_its_record_and_goes_on_from_a_checkpoint(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record's path is printed; a second call from the checkpoint gives the same numbers."""
    words = ["train", *SMALL, "--exponent-bits", "6", "--checkpoint", "state.pt", "--out", "run"]
    assert main(words) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1].split()[-1])
    record = json.loads(path.read_text())
    assert record["label"].startswith("LNS E6 G4")
    assert record["steps"] == 4
    assert Path("state.pt").exists()
    path.unlink()
    assert main([*words, "--resume"]) == 0
    again = json.loads(path.read_text())
    assert [again[name] for name in ("history", "events")] == [
        record[name] for name in ("history", "events")
    ]


def test_train_takes_the_names_that_energy_takes(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name and the flags that say the same are one run; a flag that says another is refused."""
    paths = []
    for words in (
        ["--format", "e5g4-log-mitchell"],
        ["--format", "lns", "--exponent-bits", "5", "--gamma", "4", "--style", "log",
         "--variant", "mitchell"],
    ):  # fmt: skip
        assert main(["train", *SMALL, *words, "--out", "run"]) == 0
        paths.append(capsys.readouterr().out.splitlines()[-1].split()[-1])
    assert paths[0] == paths[1]
    assert main(["train", "--format", "e5g4", "--gamma", "8"]) == 2
    out = capsys.readouterr()
    assert out.err == "lnsim: error: gamma must be 4 for format e5g4, got 8\n"


def test_a_network_has_one_name_in_every_command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`resnet18` of 0.1 is read, and said what it is taken for; what cannot be trained says so."""

    def stop(config: SweepConfig, **rest: object) -> None:
        raise ValueError(f"{config.model} into {config.folder}")

    monkeypatch.setattr(sweep, "run_sweep", stop)
    note = "lnsim: note: model resnet18 names two networks, read as {}\n"
    for name, notes in (("resnet18", note.format("resnet18-cifar")), ("resnet18-cifar", "")):
        assert main(["sweep", "--model", name]) == 2
        error = "lnsim: error: resnet18-cifar into results/digits-resnet18\n"
        assert capsys.readouterr().err == notes + error
    assert main(["energy", "--model", "resnet18", "--out", "o"]) == 0
    out = capsys.readouterr()
    assert out.err == note.format("resnet18-imagenet")
    assert "resnet18-imagenet (ResNet-18, ImageNet 224x224, one sample)" in out.out
    for command in ("train", "sweep"):
        assert main([command, "--model", "bert-base"]) == 2
        assert "got 'bert-base', which only `lnsim energy` takes\n" in capsys.readouterr().err


def test_an_interrupted_sweep_exits_130(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the line that says how to go on."""

    def stop(*_: object, **__: object) -> None:
        raise sweep.SweepInterrupted("interrupted with 3 of 30 runs done")

    monkeypatch.setattr(sweep, "run_sweep", stop)
    assert main(["sweep"]) == 130
    assert capsys.readouterr().err == "\nlnsim: interrupted with 3 of 30 runs done\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`lnsim formats | head -1` ends quietly."""
    command = f"{sys.executable} -c 'from lnsim.sim.cli.main import main; raise SystemExit(main())'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} formats | true"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
