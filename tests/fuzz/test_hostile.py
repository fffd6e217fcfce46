"""Files that mean harm: pickles that would run, names that would leave, links that lead away."""

import io
import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import count
from lnsim.sim.cli.main import main
from lnsim.sim.cost.energy import price_step
from lnsim.sim.cost.step import cost_step
from lnsim.sim.data.catalog import DIGITS
from lnsim.sim.data.datasets import load_data
from lnsim.sim.files.paths import inside, write_atomic
from lnsim.sim.machine.machine import Machine, get_machine
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.recipes.names import get_recipe
from lnsim.sim.report.step_files import write_step
from lnsim.sim.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from lnsim.sim.runs.record import failed_record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.store import Folder, write_record
from lnsim.sim.runs.sweep_config import SweepConfig, load_sweep
from lnsim.sim.runs.worker import run_one
from lnsim.sim.training.convert import convert
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.workload.models import make_model
from lnsim.sim.workload.workload import Gemm, workload_of_layers

RUN = RunConfig(epochs=1, batch=16, limit_train=16, limit_test=16, exponent_bits=5)
NAMES = (
    "../x",
    "..",
    ".",
    "a/b",
    "/tmp/x",
    "a\0b",
    "a\nb",
    "",
    "a\\b",
    "x" * 101,
    "\x1b[2J",
    "\u202e",
)


class Payload:
    """Unpickled anywhere, makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def parts() -> tuple[Any, Any]:
    """A model and an optimiser of RUN."""
    model = convert(make_model("mlp", (1, 8, 8), 10, 0), RUN.recipe())
    return model, make_optimiser(model, RUN.recipe(), lr=RUN.lr)


def written_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint at step 0, and its content."""
    model, optimiser = parts()
    save_checkpoint(path, RUN, model, optimiser, model.tally, Progress())
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def pickles(mark: Path, content: dict[str, Any]) -> dict[str, bytes]:
    """Files that would run the payload if they were unpickled freely."""
    found = {"bare": pickle.dumps(Payload(mark)), "protocol 0": pickle.dumps(Payload(mark), 0)}
    for name, value in (
        ("whole", Payload(mark)),
        ("config", content | {"config": Payload(mark)}),
        ("state", content | {"optimiser": {"state": {0: Payload(mark)}, "param_groups": []}}),
        ("another key", content | {"more": [Payload(mark)]}),
    ):
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=zipped)
            found[f"{name}, zip {zipped}"] = stream.getvalue()
    return found


KINDS = tuple(pickles(Path("x"), {}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    """Refused by the reader, by --resume, and by a sweep's worker, which starts anew."""
    mark, path = tmp_path / "owned", tmp_path / "run.pt"
    raw = pickles(mark, written_checkpoint(path))[kind]
    path.write_bytes(raw)
    model, optimiser = parts()
    with pytest.raises(ValueError, match=r"^checkpoint must be a file lnsim wrote, got .*run\.pt$"):
        load_checkpoint(path, RUN, model, optimiser, model.tally)
    assert not mark.exists()
    count("hostile checkpoint", "ValueError")


def test_the_payload_would_run(tmp_path: Path) -> None:
    """The test above tests something: pickle itself makes the folder."""
    mark = tmp_path / "owned"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


def test_resume_and_worker_meet_a_pickle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lnsim train --resume` ends in one line; a sweep's worker drops the file and trains."""
    monkeypatch.chdir(tmp_path)
    mark, path = tmp_path / "owned", tmp_path / "run.pt"
    stream = io.BytesIO()
    torch.save(Payload(mark), stream)
    path.write_bytes(stream.getvalue())
    small = ["--limit-train", "16", "--limit-test", "16", "--batch", "16", "--epochs", "1"]
    assert main(["train", *small, "--checkpoint", str(path), "--resume"]) == 2
    assert "checkpoint must be a file lnsim wrote" in capsys.readouterr().err
    record = run_one(RUN.as_dict(), tmp_path / "record.json", path)
    assert record.status == "ok"
    assert not mark.exists()
    assert not path.exists()


def test_a_pickle_in_a_data_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numpy's own pickles, even with the digest the table asks for."""
    import hashlib

    mark = tmp_path / "owned"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        inner = io.BytesIO()
        np.save(inner, np.array([Payload(mark)], object), allow_pickle=True)
        for name in ("train_x", "train_y", "test_x", "test_y"):
            archive.writestr(f"{name}.npy", inner.getvalue())
    raw = stream.getvalue()
    (tmp_path / "optdigits.npz").write_bytes(raw)
    monkeypatch.setattr("lnsim.sim.data.datasets.ASSETS", tmp_path)
    info = replace(DIGITS, files={"optdigits.npz": f"sha256:{hashlib.sha256(raw).hexdigest()}"})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_data("digits", {"digits": info})
    assert not mark.exists()


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_names(name: str, tmp_path: Path) -> None:
    """Of a sweep, of a machine: neither can hold a way out of the results."""
    with pytest.raises(ValueError, match=r"name must (be a plain folder name|not be empty), got "):
        SweepConfig(name=name)
    with pytest.raises(ValueError, match=r"name must be a plain folder name, got "):
        get_machine("edge-16").with_changes(name=name)
    with pytest.raises(ValueError, match=r"name must be a plain folder name, got "):
        Machine.from_mapping(get_machine("edge-16").as_dict() | {"name": name})


@pytest.mark.parametrize("out", ["../x", "/tmp/x", "a/../../x", "a\0b", "..", "./../x"])
@pytest.mark.parametrize("suffix", [".yaml", ".toml"])
def test_a_file_names_no_folder_elsewhere(out: str, suffix: str, tmp_path: Path) -> None:
    """`out` in a file stays below the current folder; the flag may name any."""
    path = tmp_path / f"f{suffix}"
    sign = ":" if suffix == ".yaml" else " ="
    path.write_text(f"out{sign} {json.dumps(out)}\n")
    with pytest.raises(ValueError, match=r"out must be a folder below this one in a file"):
        load_sweep(path, {})
    path.write_text(f"out{sign} results/mine\n" if suffix == ".yaml" else "out = 'results/mine'\n")
    assert load_sweep(path, {}).folder == Path("results/mine")
    assert load_sweep(path, {"out": "/tmp/x"}).folder == Path("/tmp/x")


@pytest.mark.parametrize("which", ["runs", "checkpoints"])
def test_links_that_lead_out_of_a_sweep(which: str, tmp_path: Path) -> None:
    """A link in place of a folder is refused, and nothing behind it is written or removed."""
    outside, root = tmp_path / "outside", tmp_path / "results"
    outside.mkdir()
    root.mkdir()
    (outside / "mine.partial").write_text("mine")
    (outside / ".mine.partial").write_text("mine")
    (root / which).symlink_to(outside)
    folder = Folder(root)
    place = folder.record_path if which == "runs" else folder.checkpoint_path
    with pytest.raises(ValueError, match=r"^out must hold its own files, got .*, which lies in "):
        place(RUN)
    with pytest.raises(ValueError, match=r"^out must hold its own files"):
        folder.tidy()
    assert sorted(path.name for path in outside.iterdir()) == [".mine.partial", "mine.partial"]


@pytest.mark.parametrize("part", ["../x", "/tmp/x", "a/../../x", ".."])
def test_parts_that_lead_out(part: str, tmp_path: Path) -> None:
    """`inside` judges where a path leads, not how it is written."""
    with pytest.raises(ValueError, match=r"^out must hold its own files"):
        inside(tmp_path, part)
    assert inside(tmp_path, "a", "b.csv") == tmp_path / "a" / "b.csv"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match=r"^out must hold its own files"):
        inside(tmp_path / "loop", "x")


def test_links_in_an_energy_folder(tmp_path: Path) -> None:
    """A format's folder that is a link is refused; a file that is one is replaced."""
    outside, root = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    root.mkdir()
    (outside / "mine").write_text("mine")
    workload = workload_of_layers("small", [Gemm("a", "forward", 8, 4, 2)])
    table = PriceTable.default()
    step = price_step(cost_step(workload, get_machine("edge-16"), get_recipe("lns8")), table)
    (root / "energy.csv").symlink_to(outside / "mine")
    write_step(root, [step], table)
    assert (outside / "mine").read_text() == "mine"
    assert not (root / "energy.csv").is_symlink()
    folder = root / step.name
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.symlink_to(outside)
    with pytest.raises(ValueError, match=r"^out must hold its own files"):
        write_step(root, [step], table)
    assert [path.name for path in outside.iterdir()] == ["mine"]


# --- half-written files -------------------------------------------------------------------------


def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record, a checkpoint and any other file: the old one or the new one, and nothing beside."""
    record, state = tmp_path / "r.json", tmp_path / "c.pt"
    write_record(record, failed_record(RUN, "a"))
    written_checkpoint(state)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="JSON"):
        write_record(record, replace(failed_record(RUN, "a"), test_accuracy=float("nan")))

    def fail(*rest: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    for write in (lambda: write_atomic(record, b"new"), lambda: written_checkpoint(state)):
        with pytest.raises(OSError, match="No space left"):
            write()
    monkeypatch.undo()
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        written_checkpoint(state)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_a_link_that_waits_is_not_followed(tmp_path: Path) -> None:
    """The name of the half-written file can be guessed; a link there is replaced."""
    outside = tmp_path / "mine"
    outside.write_text("mine")
    for name in (f".r.json.{os.getpid()}.partial", f"c.pt.{os.getpid()}.partial", "r.json", "c.pt"):
        (tmp_path / name).symlink_to(outside)
    write_atomic(tmp_path / "r.json", "new")
    written_checkpoint(tmp_path / "c.pt")
    assert outside.read_text() == "mine"
    assert (tmp_path / "r.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pt", "mine", "r.json"]
