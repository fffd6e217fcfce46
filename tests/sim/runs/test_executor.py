"""A sweep on another executor than the pool of processes: same records, deaths and interrupts."""

import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lnsim.sim.runs.executor import Active, Executor, Outcome
from lnsim.sim.runs.record import Record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.sweep import MAX_DEATHS, SweepInterrupted, run_sweep
from lnsim.sim.runs.sweep_config import SweepConfig
from lnsim.sim.runs.train import train

SMALL = SweepConfig(
    exponent_bits=(5,), formats=("fp8",), seeds=1, epochs=1, batch=16, limit_train=32,
    limit_test=20,
)  # fmt: skip
VARYING = ("time", "seconds")


class Serial(Executor):
    """One job at a time in this process, done when it is collected.

    deaths: format -> times its worker dies before the job begins; interrupt: Ctrl-C on that format.
    """

    def __init__(self, deaths: dict[str, int] | None = None, interrupt: str = "") -> None:
        self.deaths, self.interrupt = Counter(deaths or {}), interrupt
        self.jobs: deque[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = deque()
        self.closed: list[bool] = []

    @property
    def free(self) -> int:
        return 1 - len(self.jobs)

    def submit(self, task: Any, job: Callable[..., Any], *arguments: Any) -> None:
        assert self.free
        self.jobs.append((task, job, arguments))

    def active(self) -> list[Active]:
        return [Active(task, "here", 0.0) for task, _, _ in self.jobs]

    def collect(self, timeout: float) -> list[Outcome]:
        ended = []
        while self.jobs:
            task, job, arguments = self.jobs.popleft()
            name = getattr(task, "format", None)
            if name == self.interrupt:
                raise KeyboardInterrupt
            if self.deaths[name]:
                self.deaths[name] -= 1
                ended.append(Outcome(task, died=True))
                continue
            try:
                ended.append(Outcome(task, job(*arguments)))
            except Exception as error:
                ended.append(Outcome(task, error=error))
        return ended

    def close(self, kill: bool = False) -> None:
        self.closed.append(kill)


class Quiet:
    """A reporter that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.ended: list[RunConfig] = []
        self.workers: set[str] = set()

    def message(self, text: str) -> None:
        self.messages.append(text)

    def begin(self, total: int, done: int) -> None: ...

    def tick(self, active: Sequence[Active]) -> None:
        self.workers |= {job.worker for job in active}

    def finished(self, config: RunConfig, record: Record) -> None:
        self.ended.append(config)

    def end(self) -> None: ...


def fixed(record: Record) -> dict[str, Any]:
    """What does not change between two runs."""
    return {key: value for key, value in record.to_json().items() if key not in VARYING}


def test_another_executor_gives_the_same_records_and_files(tmp_path: Path) -> None:
    """Those of a run on its own; a second sweep takes them over, and starts no worker."""
    executor = Serial()
    result = run_sweep(SMALL, tmp_path, progress=Quiet(), executor=executor)
    assert executor.closed == [False]
    for run, record in zip(SMALL.runs(), result.records, strict=True):
        assert fixed(record) == fixed(train(run))
        written = json.loads((tmp_path / "runs" / f"{run.run_id}.json").read_text())
        assert written == record.to_json()
        assert list(written) == list(record.to_json())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "sweep.yaml"]
    unused, reporter = Serial(), Quiet()
    again = run_sweep(SMALL, tmp_path, progress=reporter, executor=unused)
    assert (again.records, reporter.ended, unused.closed) == (result.records, [], [])


def test_a_worker_that_dies_costs_a_try_and_twice_the_run(tmp_path: Path) -> None:
    """On any executor: `died` is all the sweep needs to know."""
    reporter = Quiet()
    executor = Serial({"fp8": MAX_DEATHS, "lns": MAX_DEATHS - 1})
    result = run_sweep(SMALL, tmp_path, progress=reporter, executor=executor)
    assert [record.status for record in result.records] == ["ok", "failed"]
    assert result.failed[0].reason == f"its worker process died {MAX_DEATHS} times"
    assert sum("a worker died in LNS E5 G2" in text for text in reporter.messages) == 1
    assert executor.closed == [False]


def test_an_interrupt_closes_it_at_once(tmp_path: Path) -> None:
    """What was done is kept, jobs in progress are given up."""
    executor = Serial(interrupt="fp8")
    with pytest.raises(SweepInterrupted, match="interrupted with 1 of 2 runs done"):
        run_sweep(SMALL, tmp_path, progress=Quiet(), executor=executor)
    assert executor.closed == [True]
