"""`lnsim sweep`: accuracy and energy over bit widths, with baselines."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.text import Text

from ..report.page import OUTPUTS, Line, caption, lines, units, write_outputs
from ..report.sweep_tables import Summary
from ..runs import sweep
from ..runs.progress import make_reporter
from ..runs.sweep_config import SweepConfig, load_sweep
from .console import console, table_of
from .flags import SWEEP_HELP, add_flags, given, note_old_name

_FEWEST = 4  # columns of the printed table on the narrowest terminal


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--config", type=Path, help="YAML or TOML file; flags override it")
    add_flags(parser, SweepConfig, SWEEP_HELP)


def run(args: argparse.Namespace) -> int:
    """Run what is missing, write the results, print the table."""
    flags = given(args, SweepConfig)
    config = load_sweep(args.config, flags)
    note_old_name(flags.get("model"), config.model)
    result = sweep.run_sweep(config, progress=make_reporter(console(stderr=True)))
    summaries = write_outputs(result.folder, config, result.records, result.prices)
    print_summary(summaries, config)
    print(f"results: {', '.join(str(result.folder / name) for name in OUTPUTS)}")
    for reason in dict.fromkeys(record.reason for record in result.failed):
        runs = [record for record in result.failed if record.reason == reason]
        names = f"{runs[0].label}, seed {runs[0].config['seed']}"
        names += f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        print(f"failed: {names}: {reason}; the same command tries again", file=sys.stderr)
    return 1 if result.failed else 0


def print_summary(summaries: Sequence[Summary], config: SweepConfig) -> None:
    """Print a row a configuration; a narrow terminal gets fewer columns, not broken rows."""
    unit, shown = units(summaries)["step"][0], lines(summaries)
    table = {
        "configuration": [_marked(line) for line in shown],
        "accuracy %": [line.accuracy for line in shown],
        "seeds": [line.seeds for line in shown],
        f"{unit} per step": [line.per_step for line in shown],
        f"{unit} on chip": [line.on_chip for line in shown],
        "time per step": [line.time for line in shown],
        "saturated": [line.saturated for line in shown],
        "underflow": [line.underflowed for line in shown],
        "acc. overflow": [line.overflowed for line in shown],
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


def _marked(line: Line) -> str:
    """A configuration's name, bold with a star on the front, with what went wrong in red."""
    name = escape(line.label)
    name = f"[bold]{name} *[/bold]" if line.front else name
    return f"{name} [red]{escape(line.status)}[/red]" if line.status else name
