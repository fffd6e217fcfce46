"""What a sweep shows while it runs: a bar with the time left on a terminal, else plain lines."""

import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from .executor import Active
from .record import Record
from .run_config import RunConfig


class Reporter(Protocol):
    """What a sweep tells while it runs."""

    def message(self, text: str) -> None:
        """A line for the reader."""

    def begin(self, total: int, done: int) -> None:
        """`total` runs, of which `done` were finished before."""

    def tick(self, active: Sequence[Active]) -> None:
        """The runs in progress; called several times a second."""

    def finished(self, config: RunConfig, record: Record) -> None:
        """A run has ended."""

    def end(self) -> None:
        """Nothing more will come."""


class Clock:
    """Time left, from the share of the work done since `begin`."""

    def __init__(self, total: int, done: int) -> None:
        self.total = total
        self.done: float = done
        self.before = done
        self.started = time.monotonic()

    def left(self, partial: float = 0.0) -> str:
        """Return the estimated time left as m:ss; `partial`: work inside unfinished runs."""
        worked = self.done + partial - self.before
        if worked <= 0:
            return "-:--"
        rate = (time.monotonic() - self.started) / worked
        seconds = round(rate * max(0.0, self.total - self.done - partial))
        hours, minutes = divmod(seconds // 60, 60)
        clock = f"{minutes:02d}:{seconds % 60:02d}"
        return f"{hours}:{clock}" if hours else clock.removeprefix("0")


def outcome_text(record: Record) -> str:
    """Return how a run ended, in a few words."""
    if record.status == "ok":
        return f"{record.test_accuracy:.2f} % in {record.seconds:.1f} s"
    return f"{record.status.upper()}: {record.reason}"


class PlainReporter:
    """One line per finished run; for pipes, logs and tests."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clock = Clock(0, 0)

    def message(self, text: str) -> None:
        """Print the text."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def begin(self, total: int, done: int) -> None:
        """Start the clock."""
        self.clock = Clock(total, done)

    def tick(self, active: Sequence[Active]) -> None:
        """Show nothing between runs."""

    def finished(self, config: RunConfig, record: Record) -> None:
        """Print the run's place, label, seed and outcome."""
        self.clock.done += 1
        place = f"[{int(self.clock.done)}/{self.clock.total}]"
        name = f"{config.label}, seed {config.seed}"
        self.message(f"{place} {name}: {outcome_text(record)}; left {self.clock.left()}")

    def end(self) -> None:
        """Nothing to close."""


class BarReporter(PlainReporter):
    """A bar with the time left; runs that do not end well get a line above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total} runs"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("left {task.fields[left]}"),
            TextColumn("[dim]{task.fields[now]}"),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, left="-:--", now="")

    def begin(self, total: int, done: int) -> None:
        """Show the bar."""
        super().begin(total, done)
        self.bar.update(self.task, total=total, completed=done)
        self.bar.start()

    def tick(self, active: Sequence[Active]) -> None:
        """Move the bar by the runs in progress."""
        partial = sum(job.fraction for job in active)
        now = ", ".join(f"{job.task.label} seed {job.task.seed}" for job in active[:3])
        done = self.clock.done + partial
        left = self.clock.left(partial)
        self.bar.update(self.task, completed=done, left=left, now=escape(now))

    def finished(self, config: RunConfig, record: Record) -> None:
        """Count the run; print it if it did not end well."""
        self.clock.done += 1
        if record.status != "ok":
            self.message(f"{config.label}, seed {config.seed}: {outcome_text(record)}")

    def end(self) -> None:
        """Take the bar away."""
        self.bar.stop()


def make_reporter(console: Console) -> Reporter:
    """Return a bar on a terminal, plain lines elsewhere."""
    return BarReporter(console) if console.is_terminal else PlainReporter(console)
