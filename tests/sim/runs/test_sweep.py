"""Sweeps: what they expand to, that nothing is done twice, and what survives a death."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lnsim.sim.runs import worker
from lnsim.sim.runs.axes import parse_axis
from lnsim.sim.runs.executor import Active
from lnsim.sim.runs.progress import Clock
from lnsim.sim.runs.record import Record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.store import Folder, read_record, write_record
from lnsim.sim.runs.sweep import MAX_DEATHS, SweepInterrupted, SweepResult, run_sweep
from lnsim.sim.runs.sweep_config import SweepConfig, load_sweep, read_file
from lnsim.sim.runs.train import train

TINY = SweepConfig(
    exponent_bits=(5,),
    formats=("fp8",),
    seeds=2,
    epochs=1,
    batch=16,
    limit_train=64,
    limit_test=50,
    workers=1,
)


class Watcher:
    """A reporter that remembers, and may act on the runs in progress."""

    def __init__(self, act: Callable[[Sequence[Active]], None] | None = None) -> None:
        self.act = act
        self.ended: list[RunConfig] = []
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def begin(self, total: int, done: int) -> None:
        self.total, self.done = total, done

    def tick(self, active: Sequence[Active]) -> None:
        if self.act is not None:
            self.act(active)

    def finished(self, config: RunConfig, record: Record) -> None:
        self.ended.append(config)

    def end(self) -> None:
        pass


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A finished sweep of two configurations and two seeds."""
    return run_sweep(TINY, tmp_path_factory.mktemp("sweep"), progress=Watcher())


def files(folder: Path) -> dict[str, int]:
    """Run files and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}


def test_the_default_sweep() -> None:
    """E = 4..8 at a range of 16 octaves, five baselines with their optimisers, three seeds."""
    runs = SweepConfig().runs()
    assert len(runs) == 30
    lns = [run for run in runs if run.format == "lns" and run.seed == 0]
    assert [(run.exponent_bits, run.gamma) for run in lns] == [
        (4, 1),
        (5, 2),
        (6, 4),
        (7, 8),
        (8, 16),
    ]
    assert {run.optimiser for run in lns} == {"integer-madam"}
    floats = {run.format: run.optimiser for run in runs if run.format != "lns"}
    assert floats == {
        "fp32": "adamw",
        "bf16": "adamw",
        "fp16": "adamw",
        "fp8": "adamw",
        "fp32-madam": "madam",
    }
    assert [run.seed for run in runs] == [0] * 10 + [1] * 10 + [2] * 10
    assert SweepConfig().folder == Path("results/digits-mlp")


@pytest.mark.parametrize(
    ("value", "axis"),
    [
        ("4:8", (4, 5, 6, 7, 8)),
        ("4,6,8", (4, 6, 8)),
        ("4:6,9", (4, 5, 6, 9)),
        (7, (7,)),
        ([4, "6:7"], (4, 6, 7)),
        ("5,5", (5,)),
        ("none", ()),
    ],
)
def test_an_axis_is_a_number_a_list_or_a_range(value: object, axis: tuple[int, ...]) -> None:
    """From flags and files alike; a range includes both ends."""
    assert parse_axis("exponent_bits", value) == axis


@pytest.mark.parametrize("value", ["8:4", "a", "1:2:3", "", "1:100000", "4,"])
def test_a_bad_axis_is_refused(value: str) -> None:
    """With the rule and what was given."""
    with pytest.raises(ValueError, match=r"^guard must be a number, a list 4,6,8 or a range 4:8"):
        parse_axis("guard", value)


def test_variants_of_style_log_are_an_axis() -> None:
    """Each variant is a run; the sum's width follows the format, and the file says so again."""
    values = {
        "style": "log", "variant": "exact,table:8,auto", "exponent_bits": "6:7", "seeds": 1,
        "formats": "fp8-fixed",
    }  # fmt: skip
    config = SweepConfig.from_mapping(values)
    runs = [run for run in config.runs() if run.format == "lns"]
    assert [(run.exponent_bits, run.variant, run.accumulator_bits) for run in runs] == [
        (6, "exact", 8), (6, "table:8", 8), (7, "exact", 9), (7, "table:8", 9)
    ]  # fmt: skip
    assert {run.accumulator_bits for run in config.runs() if run.format != "lns"} == {24}
    assert SweepConfig.from_mapping(config.as_dict()) == config
    with pytest.raises(ValueError, match=r"^variant must be left out for style direct"):
        SweepConfig.from_mapping({"variant": "mitchell"})


def test_axes_multiply_and_formats_do_not() -> None:
    """Widths apply to LNS and to fp8-fixed; fp32 is there once a seed."""
    config = SweepConfig(
        exponent_bits=(6, 7),
        gamma=(4, 8),
        accumulator_bits=(16, 24),
        formats=("fp32", "fp8-fixed"),
        seeds=2,
        lr=0.5,
        baseline_lr=0.25,
    )
    runs = config.runs()
    assert len(runs) == 2 * (2 * 2 * 2 + 1 + 2)
    assert len({run.run_id for run in runs}) == len(runs)
    assert {run.lr for run in runs if run.format == "lns"} == {0.5}
    assert {run.lr for run in runs if run.format != "lns"} == {0.25}
    assert {run.accumulator_bits for run in runs if run.format == "fp8-fixed"} == {16, 24}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "exponent-bits: '5:6'\nformats: fp8\nlr: 1e-3\nseeds: 1\ngamma: auto\n"),
        ("a.toml", "exponent_bits = [5, 6]\nformats = ['fp8']\nlr = 1e-3\nseeds = 1\n"),
    ],
)
def test_a_file_says_what_flags_say_and_flags_win(tmp_path: Path, name: str, text: str) -> None:
    """YAML and TOML, `-` or `_` in keys, `1e-3` in YAML a number."""
    path = tmp_path / name
    path.write_text(text)
    config = load_sweep(path, {"seeds": 2})
    assert config == SweepConfig(exponent_bits=(5, 6), formats=("fp8",), lr=0.001, seeds=2)


def test_a_sweep_written_and_read_is_the_same_sweep(done: SweepResult) -> None:
    """sweep.yaml beside the results runs it again."""
    assert load_sweep(done.folder / "sweep.yaml", {}) == TINY
    assert read_file(done.folder / "sweep.yaml")["exponent_bits"] == [5]


def test_every_run_leaves_its_record(done: SweepResult) -> None:
    """One file a run, named by its id, holding its whole configuration; nothing else is left."""
    assert [record.status for record in done.records] == ["ok"] * 4
    for run, record in zip(TINY.runs(), done.records, strict=True):
        path = done.folder / "runs" / f"{run.run_id}.json"
        assert json.loads(path.read_text()) == record.to_json()
        assert read_record(path) == record
        assert RunConfig.from_dict(dict(record.config)) == run
    assert sorted(path.name for path in done.folder.iterdir()) == ["runs", "sweep.yaml"]


def test_a_worker_gives_the_bits_of_a_run_in_this_process(done: SweepResult) -> None:
    """Where a run happens changes nothing but its time."""
    from lnsim.sim.runs.train import train

    own = train(TINY.runs()[0])
    other = done.records[0]
    assert own.history == other.history
    assert own.events == other.events
    assert own.counts == other.counts


def test_a_finished_sweep_does_nothing(done: SweepResult) -> None:
    """No worker is even started."""
    before, watcher = files(done.folder), Watcher()
    again = run_sweep(TINY, done.folder, progress=watcher)
    assert again.records == done.records
    assert watcher.ended == []
    assert files(done.folder) == before


def test_only_what_is_missing_is_done(done: SweepResult) -> None:
    """One file gone, one damaged: those two are done, the other two keep their time."""
    runs = TINY.runs()
    before = files(done.folder)
    Folder(done.folder).record_path(runs[1]).unlink()
    Folder(done.folder).record_path(runs[2]).write_text('{"id": "cut')
    watcher = Watcher()
    again = run_sweep(TINY, done.folder, progress=watcher)
    assert watcher.ended == [runs[1], runs[2]]
    assert (watcher.total, watcher.done) == (4, 2)
    after = files(done.folder)
    kept = [f"{runs[i].run_id}.json" for i in (0, 3)]
    assert [before[name] for name in kept] == [after[name] for name in kept]
    assert [r.history for r in again.records] == [r.history for r in done.records]


def finished_record(run: RunConfig) -> Record:
    """A record with every field, of a run that took no step."""
    texts = dict.fromkeys(("overflow_rule", "node", "time"), "")
    nothing: dict[str, Any] = dict.fromkeys(("reason", "energy", "step", "commit"))
    values = texts | nothing | {
        "id": run.run_id, "label": run.label, "config": run.as_dict(), "status": "ok",
        "test_accuracy": 90.0, "history": [], "steps": 0, "steps_per_epoch": 4, "counts": [],
        "accumulators": [], "events": {}, "versions": {}, "threads": {}, "seconds": 1.0,
        "machine": {"processor": "p", "cores": 2, "system": "s"},
        "accelerator": run.resolve().machine.as_dict(),
    }  # fmt: skip
    return Record.from_json(values)


def test_a_record_of_another_configuration_or_a_failed_run_is_not_done(tmp_path: Path) -> None:
    """The file's name alone proves nothing."""
    run, other = TINY.runs()[:2]
    folder, plan, record = Folder(tmp_path), run.resolve(), finished_record(run)
    write_record(folder.record_path(run), record)
    assert folder.finished(run, plan) == record
    machine = plan.machine.as_dict()
    for change in (
        {"config": other.as_dict()},
        {"status": "failed"},
        {"accelerator": machine | {"rows": 8}},
    ):
        write_record(folder.record_path(run), replace(record, **change))
        assert folder.finished(run, plan) is None
    text = json.dumps(record.to_json() | {"status": "failed"})
    folder.record_path(run).write_text(text)
    assert folder.finished(run, plan) is None


LONG = SweepConfig(
    exponent_bits=(),
    formats=("fp32", "bf16"),
    seeds=1,
    epochs=30,
    batch=32,
    limit_train=320,
    limit_test=50,
    workers=1,
)


def killer(times: dict[str, int]) -> Callable[[Sequence[Active]], None]:
    """Kill workers that run a format, once they are under way, as often as `times` says."""
    killed: list[tuple[str, str]] = []

    def act(active: Sequence[Active]) -> None:
        for job in active:
            name = job.task.format
            due = sum(other == name for other, _ in killed) < times[name]
            if due and 0 < job.fraction < 1 and (name, job.worker) not in killed:
                killed.append((name, job.worker))
                os.kill(int(job.worker), signal.SIGKILL)

    return act


def test_a_killed_worker_costs_one_try_and_the_second_the_run(tmp_path: Path) -> None:
    """Killed once: done again, as if nothing had been. Twice: recorded as failed, and on it goes.

    A later sweep tries the failed run again and nothing else.
    """
    watcher = Watcher(killer({"fp32": MAX_DEATHS, "bf16": 1}))
    result = run_sweep(LONG, tmp_path, progress=watcher)
    assert [record.status for record in result.records] == ["failed", "ok"]
    assert result.failed[0].reason == f"its worker process died {MAX_DEATHS} times"
    assert sum("a worker died in bf16" in text for text in watcher.messages) == 1
    assert len(result.records[1].history) == LONG.epochs
    watcher = Watcher()
    assert run_sweep(LONG, tmp_path, progress=watcher).failed == []
    assert [run.format for run in watcher.ended] == ["fp32"]


def test_an_interrupt_stops_the_workers_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C while the second run is under way: the first is kept, no process is left."""

    def interrupt(active: Sequence[Active]) -> None:
        if any(job.task.format == "bf16" and job.fraction > 0 for job in active):
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted, match="interrupted with 1 of 2 runs done; the same comm"):
        run_sweep(LONG, tmp_path, progress=Watcher(interrupt))
    assert multiprocessing.active_children() == []
    watcher = Watcher()
    run_sweep(LONG, tmp_path, progress=watcher)
    assert [run.format for run in watcher.ended] == ["bf16"]


def test_a_diverged_run_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """An absurd learning rate: fp32 diverges, the record says how, LNS is done as usual."""
    config = SweepConfig(
        exponent_bits=(5,),
        formats=("fp32",),
        baseline_lr=1e30,
        seeds=1,
        epochs=1,
        batch=16,
        limit_train=64,
        limit_test=50,
        workers=1,
    )
    result = run_sweep(config, tmp_path, progress=Watcher())
    assert [record.status for record in result.records] == ["ok", "diverged"]
    assert "finite" in str(result.records[1].reason)
    watcher = Watcher()
    run_sweep(config, tmp_path, progress=watcher)
    assert watcher.ended == []


def test_out_that_is_a_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Also where a parent of it is the file."""
    path = tmp_path / "taken"
    path.write_text("mine")
    for out in (path, path / "below"):
        with pytest.raises(ValueError, match=f"^out must be a folder, got the file {path}$"):
            run_sweep(TINY, out, progress=Watcher())
    assert path.read_text() == "mine"


def test_the_time_left_is_that_of_this_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs done before the start do not make the rest look quick."""
    now = [100.0]
    monkeypatch.setattr("lnsim.sim.runs.progress.time.monotonic", lambda: now[0])
    clock = Clock(total=10, done=5)
    assert clock.left() == "-:--"
    now[0] += 30
    assert clock.left(0.5) == "4:30"
    clock.done = 6
    now[0] += 3000
    assert clock.left() == "3:22:00"


def test_a_sweep_of_baselines_alone_is_written_and_read(tmp_path: Path) -> None:
    """No LNS width is a value too; what no run uses is checked all the same."""
    sweep = SweepConfig(exponent_bits=(), formats=("fp8",))
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep.as_dict()))
    assert load_sweep(path, {}) == sweep
    with pytest.raises(ValueError, match=r"^gamma must be a power of two, got 6$"):
        SweepConfig(exponent_bits=(), formats=("fp8",), gamma=(6,))


def test_the_overflow_rule_of_a_format_is_an_option() -> None:
    """It reaches every float baseline and no other, and the label and the rule say so."""
    sweep = SweepConfig(formats=("fp8", "int8"), seeds=1, format_overflow="infinity")
    rules = {run.format: run.recipe().overflow_rule for run in sweep.runs()}
    assert "fp8-e4m3-infinity goes to NaN" in rules["fp8"]
    assert "infinity" not in rules["int8"]
    labels = [run.label for run in sweep.runs() if run.format == "fp8"]
    assert labels == ["fp8 to infinity · adamw"]


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes a run up from its checkpoint: no step is done twice, the bits are the same."""
    config = TINY.runs()[0]
    whole = train(config)
    checkpoint = tmp_path / "run.pt"
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, stop, checkpoint, checkpoint_seconds=0.0)
    monkeypatch.setattr(worker, "_on_step", lambda done, total: seen.append(done))
    record = worker.run_one(config.as_dict(), tmp_path / "record.json", checkpoint)
    assert seen == list(range(1, whole.steps + 1))
    assert record.history == whole.history
    assert record.events == whole.events
    assert not checkpoint.exists()


def test_a_table_of_ones_own_prices_every_run(tmp_path: Path) -> None:
    """The file changes energies and nothing else; edited, its runs are not taken as done."""
    row = "kind,bits,detail,low_pj,mid_pj,high_pj,unit,node,source,confidence,note\n"
    path = tmp_path / "p.csv"
    path.write_text(row + "int_add,8,,1,2,3,pJ/operation,45 nm,mine,derived,\n")
    tiny = {"limit_train": 16, "limit_test": 8, "batch": 8, "epochs": 1}
    plain, own = (train(RunConfig(prices=p, **tiny)) for p in (None, str(path)))
    assert plain.history == own.history
    assert plain.counted_events == own.counted_events
    assert own.energy is not None
    assert plain.energy is not None
    assert own.energy.per_step_pj.mid > plain.energy.per_step_pj.mid
    assert own.price_sources is not None
    assert "mine" in own.price_sources
    config, folder = RunConfig(prices=str(path), **tiny), Folder(tmp_path / "out")
    write_record(folder.record_path(config), own)
    assert folder.finished(config, config.resolve()) is not None
    path.write_text(row + "int_add,8,,1,2,4,pJ/operation,45 nm,mine,derived,\n")
    assert folder.finished(config, config.resolve()) is None
    with pytest.raises(OSError, match="nowhere"):
        RunConfig(prices="nowhere.csv")
