"""What commands print on: a console that wraps nothing, tables, and the mistakes of a user."""

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_WIDE = 160  # characters where the output is no terminal, so that no row is broken


class CommandError(Exception):
    """A mistake of the user; the message is one line."""


class Output(Console):
    """A console whose reader may leave early, as `head` does."""

    def on_broken_pipe(self) -> None:
        """Leave it to `main`, where rich would exit with code 1."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Return a console; piped output gets a fixed width, so that lines do not wrap."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Output(stderr=stderr, width=width, highlight=False)


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> Table:
    """Return a table; the columns named in `right` are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
