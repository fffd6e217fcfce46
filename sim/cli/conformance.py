"""`lnsim conformance`: an implementation of the number path against the oracle."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ...lns.checks import require_choice, require_int
from ..conformance.batch import expected
from ..conformance.implementations import BACKENDS, get_backend
from ..conformance.levels import LEVELS
from ..conformance.run import Row, Tally
from ..conformance.run import run as ask_all
from ..conformance.suite import SECTIONS, batches
from ..conformance.vectors import Vectors, answer_text, load, questions, read_answers
from ..files.paths import write_atomic
from .console import console, table_of

DEFAULT_LEVEL, DEFAULT_SEED = "quick", 0
_NAMED = 40  # formats of a section that are named before the list is cut


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "--backend",
        help=f"what is checked: {', '.join(BACKENDS)}, or MODULE:ATTRIBUTE, your own object; its "
        "module is imported, and so runs with your rights",
    )
    parser.add_argument(
        "--level", help=f"how much is asked: {', '.join(LEVELS)} (default: {DEFAULT_LEVEL})"
    )
    parser.add_argument(
        "--seed", type=int, help=f"of the drawn questions (default: {DEFAULT_SEED})"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="SECTION",
        help=f"a section or several, separated by commas: {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the questions and answers as JSON"
    )
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="judge the answers filled into such a file"
    )


def run(args: argparse.Namespace) -> int:
    """Ask, or read a file; print the table and the mismatches; 1 where anything is wrong."""
    only = [name.strip() for text in args.only or () for name in text.split(",") if name.strip()]
    for name in only:
        require_choice("section", name, SECTIONS)
    if args.only and not only:
        raise ValueError(f"only must name a section, got {args.only[0]!r}")
    started = time.perf_counter()
    if args.check is not None:
        for flag in ("backend", "level", "seed", "write"):
            if getattr(args, flag) is not None:
                raise ValueError(f"{flag} must be left out with --check, got {getattr(args, flag)}")
        tally, title = _check(args.check, only), str(args.check)
    else:
        tally, title = _ask(args, only)
        if args.backend is None:
            return 0
    print_tally(tally, f"{title}, {time.perf_counter() - started:.0f} s")
    if not tally.passed and not tally.failed:
        print("nothing was checked: none of the operations is offered", file=sys.stderr)
    return 0 if tally.passed and not tally.failed else 1


def _ask(args: argparse.Namespace, only: Sequence[str]) -> tuple[Tally, str]:
    """Ask the implementation, write the file, or both."""
    if args.backend is None and args.write is None:
        raise ValueError(f"backend must be given: {', '.join(BACKENDS)} or MODULE:ATTRIBUTE")
    level = LEVELS[require_choice("level", args.level or DEFAULT_LEVEL, LEVELS)]
    seed = require_int("seed", DEFAULT_SEED if args.seed is None else args.seed, 0, 2**63 - 1)
    backend = None if args.backend is None else get_backend(args.backend)
    vectors = None if args.write is None else Vectors(level.name, seed)
    seen = None if vectors is None else vectors.add
    asked = _shown(batches(level, seed, only), lambda batch: batch.section)
    tally = ask_all(backend, asked, seen)
    if vectors is not None:
        write_atomic(args.write, vectors.text())
        print(f"vectors: {args.write}")
    return tally, f"{args.backend}, level {level.name}, seed {seed}"


def _check(path: Path, only: Sequence[str]) -> Tally:
    """Judge the answers in a file by the oracle, which is asked again."""
    tally = Tally()
    groups = [group for group in load(path) if not only or group.get("section") in only]
    for name, batch, written, given in _shown(questions(groups), lambda item: item[1].section):
        right = expected(batch)
        if answer_text(batch, right) != written:
            raise ValueError(
                f"{name} of {path} must hold the oracle's answer, got another; the file is of "
                "another version of lnsim"
            )
        tally.add(batch, read_answers(name, batch, given), right, name)
    return tally


def _shown(items: Iterable[Any], section: Callable[[Any], str]) -> Iterator[Any]:
    """The items; a terminal sees on stderr which section is under way."""
    out = console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for item in items:
            bar.update(task, description=section(item))
            yield item


def print_tally(tally: Tally, title: str) -> None:
    """Print what was asked and how it went, which formats, and the first mismatches in full."""
    rows = list(tally.rows.values())
    out = console()
    columns = (
        "section", "operation", "asked", "coverage", "formats", "cases", "passed", "failed",
        "not offered",
    )  # fmt: skip
    out.print(f"\n[bold]Conformance[/bold] of {escape(title)}")
    out.print(table_of(columns, [_cells(row) for row in rows], right=columns[4:]))
    for section in dict.fromkeys(row.section for row in rows):
        for coverage in ("exhaustive", "sampled"):
            mine = [row for row in rows if (row.section, row.coverage) == (section, coverage)]
            names = sorted({name for row in mine for name in row.formats})
            if names:
                shown = names if len(names) <= _NAMED else [*names[:2], "...", *names[-2:]]
                out.print(f"{section}, {coverage}: {', '.join(shown)} ({len(names)})")
    for row in rows:
        for text in row.mismatches:
            out.print(f"\n[red]wrong[/red] {escape(text)}", soft_wrap=True)
    missing = dict.fromkeys(row.operation for row in rows if row.not_offered)
    if missing:
        out.print(f"\nnot offered, in part or at all: {', '.join(missing)}")
    out.print(
        f"\n{tally.passed:,} passed, {tally.failed:,} failed, {tally.not_offered:,} not offered"
    )


def _cells(row: Row) -> list[str]:
    numbers = len(row.formats), row.cases, row.passed, row.failed, row.not_offered
    texts = [f"{number:,}" if number else "-" for number in numbers]
    if row.failed:
        texts[3] = f"[bold red]{texts[3]}[/bold red]"
    return [row.section, row.operation, row.what, row.coverage, *texts]
