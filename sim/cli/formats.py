"""`lnsim formats`: the number formats and training recipes."""

import argparse
from pathlib import Path

from ..files.paths import write_atomic
from ..recipes.catalog import RECIPES
from ..recipes.facts import ZOO, details, facts
from ..recipes.names import LNS, SPELLINGS, get_recipe
from .console import console, table_of


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("name", nargs="?", help="a format or recipe (default: a table of all)")
    parser.add_argument(
        "--plot", type=Path, help="with a number format: its relative error as .png, .svg or .pdf"
    )


def run(args: argparse.Namespace) -> int:
    """Print the zoo, or one of it."""
    if args.name is not None:
        rows = details(args.name)
        if args.plot is not None:
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
    lns = get_recipe(LNS)
    rows2 = [(LNS, lns.optimiser, f"{lns.description}; widths by flags")]
    for name in RECIPES:
        recipe = get_recipe(name)
        if name != "lns8":  # `--format lns` with its widths
            rows2.append((name, recipe.optimiser, recipe.description))
    rows2 += [(name, lns.optimiser, what) for name, what in SPELLINGS]
    out.print(table_of(("recipe", "optimiser", "what is stored and computed"), rows2, right=()))
    return 0
