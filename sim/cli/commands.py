"""What each command of `lnsim` does with its parsed arguments."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..data.catalog import DATASETS
from ..data.datasets import DataNotFoundError, find_file, locate

if TYPE_CHECKING:
    from ..report.page import Line
    from ..report.sweep_tables import Summary
    from ..runs.sweep_config import SweepConfig

_FEWEST = 4  # columns of the printed table on the narrowest terminal
_WIDE = 160  # characters where the output is no terminal, so that no row is broken


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


def run_sweep_command(args: argparse.Namespace) -> int:
    """`lnsim sweep`: run what is missing, write the results, print the table."""
    from ..runs.progress import make_reporter
    from ..runs.sweep import run_sweep
    from ..runs.sweep_config import SweepConfig, load_sweep
    from .flags import given

    config = load_sweep(args.config, given(args, SweepConfig))
    result = run_sweep(config, progress=make_reporter(console(stderr=True)))
    from ..report.page import OUTPUTS, write_outputs

    summaries = write_outputs(result.folder, config, result.records)
    print_summary(summaries, config)
    print(f"results: {', '.join(str(result.folder / name) for name in OUTPUTS)}")
    for reason in dict.fromkeys(record["reason"] for record in result.failed):
        runs = [record for record in result.failed if record["reason"] == reason]
        names = f"{runs[0]['label']}, seed {runs[0]['config']['seed']}"
        names += f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        print(f"failed: {names}: {reason}; the same command tries again", file=sys.stderr)
    return 1 if result.failed else 0


def print_summary(summaries: Sequence["Summary"], config: "SweepConfig") -> None:
    """Print a row a configuration; a narrow terminal gets fewer columns, not broken rows."""
    from ..report.page import caption, lines, units

    unit = units(summaries)["step"][0]
    table = {
        "configuration": [_marked(line) for line in lines(summaries)],
        "accuracy %": [line.accuracy for line in lines(summaries)],
        "seeds": [line.seeds for line in lines(summaries)],
        f"{unit} per step": [line.per_step for line in lines(summaries)],
        f"{unit} on chip": [line.on_chip for line in lines(summaries)],
        "time per step": [line.time for line in lines(summaries)],
        "saturated": [line.saturated for line in lines(summaries)],
        "underflow": [line.underflowed for line in lines(summaries)],
        "acc. overflow": [line.overflowed for line in lines(summaries)],
    }
    out = console()
    columns = list(table)
    while len(columns) > _FEWEST and _width(table, columns) > out.width:
        columns.pop()
    rows = list(zip(*(table[name] for name in columns), strict=True))
    out.print(f"\n[bold]{escape(caption(config))}[/bold]")
    out.print(table_of(columns, rows, right=columns[1:]))
    out.print("* on the Pareto front of mean accuracy and mid energy; energies: mid (low–high)")


def _width(table: Mapping[str, Sequence[str]], columns: Sequence[str]) -> int:
    """Characters a table of these columns is wide."""
    cells = [[name, *(Text.from_markup(cell).plain for cell in table[name])] for name in columns]
    return sum(max(len(cell) for cell in column) + 3 for column in cells)


def _marked(line: "Line") -> str:
    """A configuration's name, bold with a star on the front, with what went wrong in red."""
    name = escape(line.label)
    name = f"[bold]{name} *[/bold]" if line.front else name
    return f"{name} [red]{escape(line.status)}[/red]" if line.status else name


def run_train_command(args: argparse.Namespace) -> int:
    """`lnsim train`: one run, its record as JSON, a summary."""
    from ..runs.run_config import RunConfig
    from ..runs.store import Folder, write_record
    from .flags import given

    config = RunConfig(**given(args, RunConfig))
    folder = Folder(args.out if args.out is not None else Path("results/train"))
    if args.resume and args.checkpoint is None:
        raise ValueError("checkpoint must be given to resume, got none")
    if args.checkpoint_every is not None and args.checkpoint is None:
        raise ValueError("checkpoint must be given with checkpoint-every, got none")
    if args.resume and not args.checkpoint.exists():
        raise ValueError(f"checkpoint must be an existing file to resume, got {args.checkpoint}")
    if args.checkpoint is not None and args.checkpoint.exists() and not args.resume:
        raise ValueError(
            f"checkpoint must be a new file without --resume, got {args.checkpoint}, which exists"
        )
    locate(DATASETS[config.data])
    record = _train_with_bar(config, args)
    path = folder.record_path(config)
    write_record(path, record)
    for name, value in train_lines(record):
        print(f"{name:<16} {value}")
    print(f"{'record':<16} {path}")
    return 0


def _train_with_bar(config: Any, args: argparse.Namespace) -> dict[str, Any]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..runs.train import train

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(escape(config.label))

        def on_step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return train(
            config,
            on_step,
            checkpoint=args.checkpoint,
            resume=args.resume,
            checkpoint_every=args.checkpoint_every,
        )


def train_lines(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a run's outcome as (name, text) pairs."""
    from ..report.page import percent
    from ..report.sweep_tables import counted, interval
    from ..report.units import energy_text, time_text, unit_of

    rows = [("configuration", record["label"]), ("status", record["status"])]
    if record["status"] != "ok":
        rows.append(("reason", str(record["reason"])))
    for epoch in record["history"]:
        loss, accuracy = epoch["train_loss"], epoch["test_accuracy"]
        rows.append((f"epoch {epoch['epoch']}", f"loss {loss:.4f}, test accuracy {accuracy:.2f} %"))
    energy = interval(record, "per_step_pj")
    if energy is not None:
        unit, factor = unit_of(energy.mid)
        machine = record["accelerator"]["name"]
        where = f"{machine}, {record['node']}"
        rows.append(("energy per step", f"{energy_text(energy, factor)} {unit}, {where}"))
        step = record["step"]
        times = step["overlapped_seconds"], step["sequential_seconds"]
        rows.append(("time per step", time_text(times)))
        units = step["multiplications"]
        text = ", ".join(f"{count:,} in the {unit}" for unit, count in units.items())
        rows.append(("multiplications", f"{text}, per step"))
    counts = counted(record)
    rows.append(("saturated", percent(counts["saturated"], counts["encoded"])))
    rows.append(("underflowed", percent(counts["underflowed"], counts["encoded"])))
    outputs, overflowed = counts["accumulator_outputs"], counts["accumulator_overflowed"]
    rows.append(("acc. overflow", percent(overflowed, outputs)))
    rows.append(("overflow rule", record["overflow_rule"]))
    return rows


def run_formats_command(args: argparse.Namespace) -> int:
    """`lnsim formats [NAME]`: the zoo, or one of it."""
    from ..recipes.facts import ZOO, details, facts
    from ..recipes.recipe import RECIPES, get_recipe

    if args.name is not None:
        rows = details(args.name)
        if args.plot is not None:
            from ..files.paths import write_atomic
            from ..report.precision_plot import picture_kind, precision_picture

            kind = picture_kind(args.plot, args.name)
            write_atomic(args.plot, precision_picture(args.name, kind))
            rows.append(("precision plot", str(args.plot)))
        for name, value in rows:
            print(f"{name:<30} {value}")
        return 0
    if args.plot is not None:
        raise ValueError(f"plot must come with the name of a format, got {args.plot}")
    out = console()
    columns = ("format", "bits", "kind", "smallest", "largest", "octaves", "worst error", "beyond")
    zoo = [facts(name) for name in ZOO]
    table = [
        (f.name, f"{f.bits:g}", f.kind, f.smallest, f.largest, f.octaves, f.error, f.overflow)
        for f in zoo
    ]
    out.print("\n[bold]Number formats[/bold] (at scale 1; worst error: rounding to nearest)")
    out.print(table_of(columns, table, right=("bits", "smallest", "largest", "octaves")))
    out.print("[bold]Training recipes[/bold] (lnsim train --format, lnsim sweep --formats)")
    recipes = [get_recipe(name) for name in RECIPES]
    rows2 = [
        (name, recipe.optimiser, recipe.description)
        for name, recipe in zip(RECIPES, recipes, strict=True)
        if name != "lns8"  # `--format lns` with its widths
    ]
    lns = get_recipe("lns8")
    rows2.insert(0, ("lns", lns.optimiser, f"{lns.description}; widths by flags"))
    out.print(table_of(("recipe", "optimiser", "what is stored and computed"), rows2, right=()))
    return 0


def run_data_list_command(args: argparse.Namespace) -> int:
    """`lnsim data list`: name, size, licence, and where it is or how to get it."""
    rows = []
    for info in DATASETS.values():
        try:
            place = str(locate(info))
        except DataNotFoundError:
            place = f"lnsim data fetch {info.name}"
        size = f"{info.train} + {info.test}"
        rows.append((info.name, info.title, size, f"{info.megabytes:g}", info.licence, place))
    columns = ("name", "what", "images", "MB", "licence", "where, or how to get it")
    console().print(table_of(columns, rows, right=("images", "MB")))
    return 0


def run_data_fetch_command(args: argparse.Namespace) -> int:
    """`lnsim data fetch NAME`: get it, check it, say where it is."""
    from ..data.fetch import fetch, run_tool

    def run(command: Sequence[str], folder: Path) -> None:
        print(f"running {' '.join(command)} ...", file=sys.stderr)
        run_tool(command, folder)

    folder, fresh = fetch(args.name, run=run)
    files = [find_file(folder, name) for name in DATASETS[args.name].files]
    size = sum(path.stat().st_size for path in files if path is not None) / 1e6
    state = "fetched and checked" if fresh else "was there already, checked"
    print(f"{args.name}: {state}, {size:.1f} MB in {folder}")
    return 0
