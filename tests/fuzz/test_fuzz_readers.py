"""Every file reader of lnsim.sim on valid files made wrong: a refusal in one line, or an answer."""

import io
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mutate
import pytest
import torch
import yaml
from fuzzing import attempt, fuzz
from hypothesis import given
from hypothesis import strategies as st
from lnsim.sim.cost.energy import price_step
from lnsim.sim.cost.step import cost_step
from lnsim.sim.data.datasets import parse_idx
from lnsim.sim.events.event import Event
from lnsim.sim.machine.machine import FOLDER, Machine, get_machine
from lnsim.sim.prices.accelergy import ert_text
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.recipes.names import get_recipe
from lnsim.sim.report.page import write_outputs
from lnsim.sim.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.store import Folder
from lnsim.sim.runs.sweep import run_sweep
from lnsim.sim.runs.sweep_config import load_sweep, read_file
from lnsim.sim.training.convert import convert
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.workload.models import make_model
from lnsim.sim.workload.onnx_graph import read_onnx
from lnsim.sim.workload.topology import read_topology, topology_text
from lnsim.sim.workload.workload import Workload

FILES = (ValueError, TypeError, OSError)
TINY: dict[str, Any] = {
    "exponent_bits": [5], "formats": ["fp8"], "seeds": 1, "epochs": 1, "batch": 16,
    "limit_train": 32, "limit_test": 16, "workers": 1,
}  # fmt: skip
SWEEP: dict[str, Any] = TINY | {
    "name": "mine", "out": "results/mine", "data": "digits", "model": "mlp", "gamma": "auto",
    "lr": 0.01, "schedule": "cosine", "accumulator_bits": [24], "guard": "4:5",
    "lanes": ["machine"], "machine": "edge-16", "optimiser": ["integer-madam"],
    "rounding": "floor", "style": "direct",
}  # fmt: skip
MACHINE: dict[str, Any] = tomllib.loads((FOLDER / "edge-16.toml").read_text(encoding="utf-8"))
ROW = {
    "kind": "int_add", "bits": 8, "detail": "", "low_pj": 0.006, "mid_pj": 0.007, "high_pj": 0.008,
    "unit": "pJ/operation", "node": "45 nm", "source": "somebody", "confidence": "confirmed",
}  # fmt: skip
PRICES: dict[str, Any] = {"base": "default", "prices": [ROW, ROW | {"bits": 16}]}
CSV = ",".join(ROW) + ",note\n" + ",".join(map(str, ROW.values())) + ",none\n"
TOPOLOGIES = (
    b"Layer, M, N, K,\nfirst, 64, 32, 16,\nsecond, 8, 10, 32,\n",
    b"Layer, h, w, fh, fw, c, n, s,\nConv1, 28, 28, 3, 3, 16, 32, 1,\n"
    b"DP2, 26, 26, 3, 3, 32, 1, 2,\n",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files under test."""
    return tmp_path_factory.mktemp("fuzz")


def written(place: Path, name: str, content: bytes) -> Path:
    """A file with this content."""
    path = place / name
    path.write_bytes(content)
    return path


def wounded(draw: st.DrawFn, tree: Any, suffix: str) -> bytes:
    """A tree with wrong values, or its text with wounds."""
    if suffix == ".toml":
        if draw(st.booleans()):
            return mutate.as_toml(draw(mutate.tree_of(tree))).encode("utf-8", "replace")
        return draw(mutate.bytes_of(mutate.as_toml(tree).encode()))
    if draw(st.integers(0, 2)):
        return mutate.as_yaml(draw(mutate.tree_of(tree)))
    return draw(mutate.bytes_of(mutate.as_yaml(tree)))


SUFFIXES = st.sampled_from((".yaml", ".yml", ".toml", ".TOML"))


@fuzz(ordinary=8)
@given(data=st.data())
def test_sweep_configs(data: st.DataObject, place: Path) -> None:
    """YAML and TOML of a sweep; what is accepted has runs and a folder below this one."""
    suffix = data.draw(SUFFIXES)
    raw = wounded(data.draw, SWEEP, suffix.lower())
    path = written(place, f"sweep{suffix}", raw)
    answer = attempt(
        "read sweep config", lambda: load_sweep(path, {}), refusals=(ValueError, TypeError)
    )
    if answer is not None:
        folder = (place / answer.value.folder).resolve()
        assert folder.is_relative_to(place.resolve())
        assert answer.value.runs()


@fuzz(ordinary=8)
@given(data=st.data())
def test_machine_files(data: st.DataObject, place: Path) -> None:
    """TOML and YAML of a machine; what is accepted can cost a step and names no other folder."""
    suffix = data.draw(st.sampled_from((".yaml", ".toml")))
    path = written(place, f"machine{suffix}", wounded(data.draw, MACHINE, suffix))
    answer = attempt("read machine", lambda: Machine.load(path), refusals=(ValueError, TypeError))
    if answer is not None:
        machine = answer.value
        assert Path(machine.name).name == machine.name
        assert Machine.from_mapping(json.loads(json.dumps(machine.as_dict()))) == machine
        used = attempt("cost a read machine", lambda: priced(small_step(), machine, None))
        assert used is None or math.isfinite(used.value)


def small_step() -> Workload:
    """A step of two products."""
    from lnsim.sim.workload.workload import Gemm, workload_of_layers

    return workload_of_layers(
        "small", [Gemm("a", "forward", 64, 32, 16), Gemm("b", "forward", 8, 10, 32)]
    )


def priced(workload: Workload, machine: Machine, table: PriceTable | None) -> float:
    """Mid energy of a step."""
    from lnsim.sim.prices.sources import table_of_node, with_dram

    own = with_dram(table_of_node(machine.node) if table is None else table, machine)
    return price_step(cost_step(workload, machine, get_recipe("lns8")), own).total.high


@fuzz(ordinary=8)
@given(data=st.data())
def test_price_files(data: st.DataObject, place: Path) -> None:
    """CSV, YAML and ERT; what is accepted prices a step."""
    events = [Event("int_add", 8), Event("shift", 24), Event("accumulate", 24)]
    kind = data.draw(st.sampled_from(("csv", "yaml", "ert")))
    if kind == "csv":
        path = written(place, "p.csv", data.draw(mutate.bytes_of(CSV.encode())))
    elif kind == "yaml":
        path = written(place, "p.yaml", wounded(data.draw, PRICES, ".yaml"))
    else:
        tree = yaml.safe_load(ert_text(events, PriceTable.default()))
        path = written(place, "p.yml", wounded(data.draw, tree, ".yaml"))
    answer = attempt(f"read prices {kind}", lambda: load_prices(path), refusals=(ValueError,))
    if answer is not None and data.draw(st.integers(0, 3)) == 0:
        total = attempt(
            "price with a read table",
            lambda: priced(small_step(), get_machine("edge-16"), answer.value),
        )
        assert total is None or math.isfinite(total.value)


@fuzz(ordinary=8)
@given(data=st.data())
def test_topologies(data: st.DataObject, place: Path) -> None:
    """SCALE-Sim's CSV; what is accepted is written and read back as the same products."""
    raw = data.draw(st.sampled_from(TOPOLOGIES))
    path = written(place, "net.csv", data.draw(mutate.bytes_of(raw)))
    answer = attempt("read topology", lambda: read_topology(path), refusals=(ValueError,))
    if answer is not None:
        back = written(place, "back.csv", topology_text(answer.value.gemms).encode())
        sizes = [(g.M, g.N, g.K) for g in answer.value.gemms]
        # each line is read as a layer of its own, with products for its gradients
        read = [g for g in read_topology(back).gemms if g.phase == "forward"]
        assert [(g.M, g.N, g.K) for g in read] == sizes


def onnx_file() -> bytes:
    """A graph with a convolution, a product and what lies between."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Flatten", ["z"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "c"], ["s"], transB=1, name="fc"),
    ]
    tensors = [("w", (4, 3, 3, 3)), ("v", (5, 256)), ("c", (5,))]
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, dims, [0.5] * math.prod(dims))
        for name, dims in tensors
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 8, 8))
    s = helper.make_tensor_value_info("s", TensorProto.FLOAT, ("n", 5))
    model = helper.make_model(helper.make_graph(nodes, "net", [x], [s], weights))
    raw: bytes = model.SerializeToString()
    return raw


def skeleton(raw: bytes) -> bytes:
    """The same graph with its weights' values dropped, so that wounds hit the structure."""
    import onnx

    model = onnx.load_model_from_string(raw)
    for tensor in model.graph.initializer:
        tensor.ClearField("float_data")
    small: bytes = model.SerializeToString()
    return small


@pytest.fixture(scope="module")
def graph() -> bytes:
    """A small ONNX file."""
    return skeleton(onnx_file())


@fuzz(ordinary=8)
@given(data=st.data())
def test_onnx_files(data: st.DataObject, place: Path, graph: bytes) -> None:
    """Bytes of an ONNX graph."""
    path = written(place, "net.onnx", data.draw(mutate.bytes_of(graph)))
    batch = data.draw(st.sampled_from((None, 1, 8, 0, -1, 2**70, "8", True, 1.5)))
    attempt("read ONNX", lambda: read_onnx(path, batch), refusals=(ValueError, TypeError))


@fuzz(ordinary=8)
@given(data=st.data())
def test_idx_files(data: st.DataObject) -> None:
    """MNIST's format; sizes that multiply to nothing or beyond 64 bits among them."""
    sizes = data.draw(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 4), max_size=9))
    raw = b"\0\0\x08" + bytes([len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
    raw += bytes(data.draw(st.integers(0, 30)))
    raw = data.draw(st.just(raw) | mutate.bytes_of(raw))
    answer = attempt("read idx", lambda: parse_idx(raw, "a file"), refusals=(ValueError,))
    assert answer is None or answer.value.size == math.prod(answer.value.shape)


# --- records ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Folder, dict[str, Any]]:
    """A sweep that ran: its configuration, folder and one record."""
    root = tmp_path_factory.mktemp("sweep")
    config = load_sweep(None, {**TINY, "exponent_bits": [5], "formats": "none"})
    record = one_record(config.runs()[0], root)
    return config, Folder(root), record


def one_record(run: RunConfig, root: Path) -> dict[str, Any]:
    """The record of a run, made in this process."""
    from lnsim.sim.runs.train import train

    record = json.loads(json.dumps(train(run).to_json()))
    path = Folder(root).record_path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return record


@fuzz(ordinary=8)
@given(data=st.data())
def test_records(
    data: st.DataObject, finished: tuple[Any, Folder, dict[str, Any]], place: Path
) -> None:
    """A record that was changed is run again, or everything that reads it can."""
    config, folder, record = finished
    run = config.runs()[0]
    raw = mutate.as_json(record)
    if data.draw(st.booleans()):
        raw = mutate.as_json(data.draw(mutate.tree_of(record)))
    else:
        raw = data.draw(mutate.bytes_of(raw))
    folder.record_path(run).write_bytes(raw)
    plan = run.resolve()
    answer = attempt("read record", lambda: folder.finished(run, plan))
    assert answer is not None, "a damaged record is no error"
    if answer.value is not None:
        from lnsim.sim.report.sweep_tables import csv_text, result_row, summarise, summary_row

        def tables() -> str:
            rows = [result_row(answer.value)]
            return csv_text(rows) + csv_text([summary_row(s) for s in summarise([answer.value])])

        assert attempt("tables of a read record", tables) is not None


def test_a_whole_record_is_taken(finished: tuple[Any, Folder, dict[str, Any]]) -> None:
    """What a run wrote is read back; the page of it can be made."""
    config, folder, record = finished
    run = config.runs()[0]
    folder.record_path(run).write_text(json.dumps(record))
    answer = folder.finished(run, run.resolve())
    assert answer is not None
    assert answer.to_json() == record
    write_outputs(folder.root, config, [answer])


# --- checkpoints --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunConfig, Any, Any, bytes]]:
    """A run after two steps, with its checkpoint's bytes."""
    from lnsim.sim.runs.train import train

    path = tmp_path_factory.mktemp("state") / "run.pt"
    run = RunConfig(epochs=1, batch=16, limit_train=32, limit_test=16, exponent_bits=5)
    train(run, checkpoint=path)
    model = convert(make_model("mlp", (1, 8, 8), 10, 0), run.recipe())
    optimiser = make_optimiser(model, run.recipe(), lr=run.lr)
    random = torch.get_rng_state()
    yield run, model, optimiser, path.read_bytes()
    torch.set_rng_state(random)


def saved(content: Any) -> bytes:
    """torch's file of a value."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


CHECKPOINT_VALUES = (
    *mutate.VALUES,
    torch.zeros(3),
    torch.zeros(0),
    torch.ones(2, 2, dtype=torch.int64),
)


@fuzz(ordinary=6, weight=0.5)
@given(data=st.data())
def test_checkpoints(
    data: st.DataObject, state: tuple[RunConfig, Any, Any, bytes], place: Path
) -> None:
    """A wounded checkpoint is refused, or restores a position that can be gone on from."""
    run, model, optimiser, raw = state
    if data.draw(st.booleans()):
        content = torch.load(io.BytesIO(raw), weights_only=True)
        raw = saved(data.draw(mutate.tree_of(content, CHECKPOINT_VALUES)))
    else:
        raw = data.draw(mutate.bytes_of(raw))
    path = written(place, "run.pt", raw)
    tally = model.tally
    answer = attempt(
        "read checkpoint", lambda: load_checkpoint(path, run, model, optimiser, tally),
        refusals=(ValueError,),
    )  # fmt: skip
    if answer is not None:
        assert isinstance(answer.value, Progress)
        assert answer.value.step >= 0


def test_a_whole_checkpoint_is_taken(state: tuple[RunConfig, Any, Any, bytes], place: Path) -> None:
    """What a run wrote is read back."""
    run, model, optimiser, raw = state
    path = written(place, "whole.pt", raw)
    progress = load_checkpoint(path, run, model, optimiser, model.tally)
    assert (progress.step, progress.epoch) == (2, 1)
    save_checkpoint(path, run, model, optimiser, model.tally, progress)
    assert load_checkpoint(path, run, model, optimiser, model.tally) == replace(progress)


# --- every reader -------------------------------------------------------------------------------

READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "sweep": (".yaml", lambda path: load_sweep(path, {})),
    "config": (".toml", read_file),
    "machine": (".toml", Machine.load),
    "machine by name": (".yml", lambda path: get_machine(str(path))),
    "prices": (".csv", load_prices),
    "prices yaml": (".yaml", load_prices),
    "topology": (".csv", read_topology),
    "onnx": (".onnx", read_onnx),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "what", ["missing", "folder", "empty", "NUL in the name", "no text", "long name", "loop"]
)
def test_no_file_at_all(name: str, what: str, tmp_path: Path) -> None:
    """A missing file, a folder, an empty file, a path with NUL, a link to itself."""
    suffix, read = READERS[name]
    path = tmp_path / f"f{suffix}"
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "NUL in the name":
        path = Path(f"a\0b{suffix}")
    elif what == "no text":
        path.write_bytes(b"\xff\xfe\0\0" * 9)
    elif what == "long name":
        path = tmp_path / ("x" * 300 + suffix)
    elif what == "loop":
        path.symlink_to(path)
    rule = re.compile("must|No such file|Is a directory|File name too long|Too many levels")
    answer = attempt(f"read no {name}", lambda: read(path), refusals=FILES, rule=rule)
    assert (answer is not None) == (what == "empty" and name in ("sweep", "config"))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("read", [load_prices, Machine.load, read_file])
@pytest.mark.parametrize(
    "text",
    [
        BOMB + "formats: *i\n",
        "a: &a [*a]\n",
        "a: &a {b: 1}\nc: {<<: *a}\n",
        "name: !!python/object/apply:os.system ['touch owned']\n",
        "name: !!python/name:os.system\n",
        "name: !!python/object/new:os.system [touch owned]\n",
        "name: !!python/module:os\n",
        "seeds: 1\nseeds: 2\n",
        "? [a, b]\n: 1\n",
        "? {a: b}\n: 1\n",
        "a: " + "[" * 5000,
        "a: " + "9" * 5000,
        "a: 0x" + "f" * 5000,
        "a: 2026-13-45\n",
        "%YAML 9.9\n--- a\n",
        "a: 1\n--- \nb: 2\n",
    ],
)
def test_hostile_yaml(
    read: Callable[[Path], Any], text: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Bombs, tags that would run code, doubled keys, depths: one refusal, nothing run."""
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "f.yaml", text.encode())
    assert attempt("hostile YAML", lambda: read(path), refusals=(ValueError, TypeError)) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.yaml"]


def test_yaml_says_what_it_shows(tmp_path: Path) -> None:
    """A range is text, not a number to the base 60; a byte order mark and CRLF change nothing."""
    path = written(tmp_path, "f.yaml", b"\xef\xbb\xbfguard: 4:8\r\nlanes: 1:4\r\nlr: 1e-3\r\n")
    assert read_file(path) == {"guard": "4:8", "lanes": "1:4", "lr": 1e-3}
    sweep = load_sweep(path, {})
    assert sweep.guard == (4, 5, 6, 7, 8)
    assert sweep.lanes == (1, 2, 3, 4)
    octal = written(tmp_path, "o.yaml", b"epochs: 010\n")
    with pytest.raises(TypeError, match=r"epochs must be an integer, got '010'$"):
        load_sweep(octal, {})
    toml = written(tmp_path, "f.toml", b"\xef\xbb\xbfseeds = 2\r\n")
    assert read_file(toml) == {"seeds": 2}


def test_nothing_warns_of_a_checkpoint(tmp_path: Path) -> None:
    """An old form of torch's file is refused without a warning."""
    path = tmp_path / "old.pt"
    torch.save({"version": 1}, path, _use_new_zipfile_serialization=False)
    run = RunConfig(limit_train=32, limit_test=16, batch=16)
    model = convert(make_model("mlp", (1, 8, 8), 10, 0), run.recipe())
    optimiser = make_optimiser(model, run.recipe(), lr=None)
    with pytest.raises(ValueError, match=r"^checkpoint must "):  # a warning would be an error
        load_checkpoint(path, run, model, optimiser, model.tally)


def test_run_sweep_reads_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged record is found and run again by the sweep itself."""
    config = load_sweep(None, {**TINY, "formats": "none"})
    folder = Folder(tmp_path)
    run = config.runs()[0]
    record = one_record(run, tmp_path)
    record["energy"]["per_step_pj"].pop("mid")
    folder.record_path(run).write_text(json.dumps(record))
    done = []

    def run_all(todo: list[RunConfig], *rest: Any) -> dict[RunConfig, Any]:
        done.append(todo)
        return dict.fromkeys(todo, record)

    monkeypatch.setattr("lnsim.sim.runs.sweep._run_all", run_all)
    run_sweep(config, tmp_path)
    assert done == [[run]]
