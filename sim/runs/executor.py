"""Where a sweep's runs happen: what `run_sweep` asks of a pool of workers, here or elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its result, or the error it raised, or `died`: its worker is gone."""

    task: Any
    result: Any = None
    error: BaseException | None = None
    died: bool = False


@dataclass(frozen=True, slots=True)
class Active:
    """A job in progress."""

    task: Any
    worker: str  #: who does it, to be read by people: a process id, a host; "" where unknown
    fraction: float  #: done, 0..1; 0 where unknown


class Executor(Protocol):
    """Workers, each with one job at a time.

    A job is a function at the top of a module; it and its arguments are pickled to get to a worker,
    which may die without taking others' jobs with it. A context manager that leaves none behind:
    left by an error, the jobs in progress are given up.
    """

    @property
    def free(self) -> int:
        """Number of workers without a job."""

    def submit(self, task: Any, job: Callable[..., Any], *arguments: Any) -> None:
        """Start `job(*arguments)` on a free worker; there must be one. task: any name for it."""

    def active(self) -> list[Active]:
        """Return the jobs in progress."""

    def collect(self, timeout: float) -> list[Outcome]:
        """Wait up to `timeout` seconds for jobs to end; return how each that did ended, once."""

    def close(self, kill: bool = False) -> None:
        """Give the workers back: when their jobs are done, or (`kill`) at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(kill=kind is not None)
