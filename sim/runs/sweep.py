"""Run a sweep: every configuration once, in worker processes, resumable at any moment.

A run is done when its file exists and holds its configuration, so calling `run_sweep` again
does only what is missing. A run that diverges is recorded and the sweep goes on; so does a worker
that dies, whose run is tried again and recorded as failed after `MAX_DEATHS`.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console

from ..data.catalog import DATASETS
from ..data.datasets import locate
from ..files.paths import inside, write_atomic
from ..prices.table import PriceTable
from .executor import Executor, Outcome
from .plan import Plan
from .pool import Pool, default_workers
from .progress import PlainReporter, Reporter
from .record import Record, failed_record
from .run_config import RunConfig
from .store import Folder, write_record
from .sweep_config import SweepConfig
from .worker import run_one, warm_up

MAX_DEATHS = 2  #: workers a run may take with it before it is given up
POLL_SECONDS = 0.2


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C: the finished runs are kept; the message says how to go on."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep left."""

    folder: Path
    config: SweepConfig
    records: list[Record]  #: in the order of `config.runs()`
    prices: PriceTable  #: what the runs are priced with, as read before the first

    @property
    def failed(self) -> list[Record]:
        """Records of the runs that could not be finished."""
        return [record for record in self.records if record.failed]


def run_sweep(
    config: SweepConfig,
    out: Path | None = None,
    workers: int | None = None,
    progress: Reporter | None = None,
    executor: Executor | None = None,
) -> SweepResult:
    """Do the runs of `config` that `out` (default: `config.folder`) does not hold yet.

    workers: runs at a time, default `config.workers`, else one per core. executor: where they
    happen, closed at the end; default a Pool of so many processes. Its workers must see `out` as
    this process does. Raises ValueError where `out` is a file, DataNotFoundError where the data
    set is missing, before anything is run; SweepInterrupted on Ctrl-C, after every worker has been
    stopped.
    """
    locate(DATASETS[config.data])
    folder = Folder(out if out is not None else config.folder)
    reporter = progress if progress is not None else PlainReporter(Console(stderr=True))
    runs = config.runs()
    _write_sweep(folder, config)
    plans = {run: run.resolve() for run in runs}
    records = _finished(folder, plans)
    todo = [run for run in runs if run not in records]
    _announce(reporter, folder, runs, len(records))
    if todo:
        if executor is None:
            executor = Pool(min(workers or config.workers or default_workers(), len(todo)))
        try:
            records |= _run_all(todo, folder, executor, reporter, len(records))
        except KeyboardInterrupt as error:
            done = len(_finished(folder, plans))
            raise SweepInterrupted(
                f"interrupted with {done} of {len(runs)} runs done; the same command goes on "
                f"from there (results in {folder.root})"
            ) from error
    folder.tidy()
    in_order = [records[run] for run in runs]
    return SweepResult(folder.root, config, in_order, plans[runs[0]].prices)


def _finished(folder: Folder, plans: Mapping[RunConfig, Plan]) -> dict[RunConfig, Record]:
    """The records of the runs that are done."""
    found = {run: folder.finished(run, plan) for run, plan in plans.items()}
    return {run: record for run, record in found.items() if record is not None}


def _write_sweep(folder: Folder, config: SweepConfig) -> None:
    """Leave a file that runs the sweep again; the place of the results is not part of it."""
    values = {key: value for key, value in config.as_dict().items() if value is not None}
    values.pop("out", None)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
    write_atomic(inside(folder.root, "sweep.yaml"), text)


def _announce(reporter: Reporter, folder: Folder, runs: list[RunConfig], done: int) -> None:
    text = f"{len(runs)} runs into {folder.root}"
    reporter.message(f"{text}, {done} of them done before" if done else text)
    others = folder.others(runs)
    if others:
        reporter.message(f"{folder.root}/runs also holds {others} runs of other sweeps, left out")


def _run_all(
    todo: list[RunConfig], folder: Folder, executor: Executor, reporter: Reporter, before: int
) -> dict[RunConfig, Record]:
    """Run `todo` and return the records; `before` runs were done earlier."""
    queue, deaths = deque(todo), Counter[RunConfig]()
    records: dict[RunConfig, Record] = {}
    with executor as pool:
        _warm_up(pool, todo, reporter)
        reporter.begin(before + len(todo), before)
        try:
            while len(records) < len(todo):
                while queue and pool.free:
                    _submit(pool, folder, queue.popleft())
                for outcome in pool.collect(POLL_SECONDS):
                    run = outcome.task
                    deaths[run] += outcome.died
                    if outcome.died and deaths[run] < MAX_DEATHS:
                        reporter.message(f"a worker died in {run.label}, seed {run.seed}; again")
                        queue.append(run)
                        continue
                    records[run] = _record(outcome, folder)
                    reporter.finished(run, records[run])
                reporter.tick(pool.active())
        finally:
            reporter.end()
    return records


def _submit(pool: Executor, folder: Folder, run: RunConfig) -> None:
    pool.submit(run, run_one, run.as_dict(), folder.record_path(run), folder.checkpoint_path(run))


def _record(outcome: Outcome, folder: Folder) -> Record:
    """The record of a job that ended; one that failed is written here."""
    if outcome.result is not None:
        result: Record = outcome.result
        return result
    reason = f"its worker process died {MAX_DEATHS} times"
    if outcome.error is not None:
        reason = f"{type(outcome.error).__name__}: {outcome.error}"
    record = failed_record(outcome.task, reason)
    write_record(folder.record_path(outcome.task), record)
    return record


def _warm_up(pool: Executor, todo: list[RunConfig], reporter: Reporter) -> None:
    """Compile in one worker, so that the others load Numba's cache and none compiles twice.

    Raises ValueError where no configuration can be run at all, such as a network that does not fit
    the images.
    """
    reporter.message("preparing kernels (compiled on the first run only)...")
    kinds = dict.fromkeys(replace(run, seed=0) for run in todo)
    pool.submit(None, warm_up, [run.as_dict() for run in kinds])
    outcomes: list[Outcome] = []
    while not outcomes:
        outcomes = pool.collect(POLL_SECONDS)
    met = outcomes[0].result
    if met and all(met):
        raise ValueError(met[0])
