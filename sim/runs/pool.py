"""Worker processes that may die: one single-process executor per slot, rebuilt when it breaks.

With one executor per slot, a worker's death is blamed on the run it had and on no other.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import worker
from .executor import Active, Executor, Outcome


@dataclass(slots=True)
class Slot:
    """One worker process and what it is doing."""

    index: int
    executor: ProcessPoolExecutor | None = None
    process: Any = None  #: multiprocessing's handle of the worker
    future: Future[Any] | None = None
    task: Any = None  #: what the caller gave with the job


@dataclass(slots=True)
class Pool(Executor):
    """`size` worker processes; a context manager that leaves none behind."""

    size: int
    _slots: list[Slot] = field(init=False)
    _cells: Any = field(init=False)

    def __post_init__(self) -> None:
        self._slots = [Slot(index) for index in range(self.size)]
        self._cells = multiprocessing.get_context("spawn").RawArray("d", self.size)

    def close(self, kill: bool = False) -> None:
        """End the workers, at once or when their jobs are done."""
        for slot in self._slots:
            if kill and slot.process is not None:
                slot.process.kill()
            if slot.executor is not None:
                slot.executor.shutdown(wait=True, cancel_futures=True)

    @property
    def free(self) -> int:
        """Number of workers without a job."""
        return sum(slot.future is None for slot in self._slots)

    def submit(self, task: Any, job: Callable[..., Any], *arguments: Any) -> None:
        """Start a job on a free worker; there must be one."""
        slot = next(slot for slot in self._slots if slot.future is None)
        self._cells[slot.index] = 0.0
        slot.task = task
        if slot.executor is not None:
            try:
                slot.future = slot.executor.submit(job, *arguments)
                return
            except BrokenProcessPool:  # it died while it had nothing to do
                slot.executor.shutdown(wait=True)
        self._launch(slot, job, *arguments)

    def _launch(self, slot: Slot, job: Callable[..., Any], *arguments: Any) -> None:
        slot.executor = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.start,
            initargs=(self._cells, slot.index),
        )
        before = set(multiprocessing.active_children())
        with _interrupts_ignored():
            slot.future = slot.executor.submit(job, *arguments)
        slot.process = next(iter(set(multiprocessing.active_children()) - before), None)

    def active(self) -> list[Active]:
        """Return the jobs in progress."""
        return [
            Active(slot.task, _where(slot), self._cells[slot.index])
            for slot in self._slots
            if slot.future is not None
        ]

    def collect(self, timeout: float) -> list[Outcome]:
        """Wait up to `timeout` seconds for jobs to end; return how each that did ended."""
        futures = [slot.future for slot in self._slots if slot.future is not None]
        wait(futures, timeout=timeout, return_when=FIRST_COMPLETED)
        ended = [slot for slot in self._slots if slot.future is not None and slot.future.done()]
        return [self._end(slot) for slot in ended]

    def _end(self, slot: Slot) -> Outcome:
        future, task = slot.future, slot.task
        assert future is not None
        slot.future, slot.task = None, None
        error = future.exception()
        if not isinstance(error, BrokenProcessPool):
            return Outcome(task, None if error else future.result(), error)
        assert slot.executor is not None
        slot.executor.shutdown(wait=True)
        slot.executor, slot.process = None, None
        return Outcome(task, died=True)


def _where(slot: Slot) -> str:
    return str(slot.process.pid) if slot.process else ""


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first instruction on.

    A child inherits an ignored signal; the worker's own set-up comes only after its imports.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
