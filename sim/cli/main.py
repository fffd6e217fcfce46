"""`lnsim`: parse, call, print. A command's file is imported when it is asked for: `fill`, `run`.

A mistake of the user ends in one line on stderr, `lnsim: error: ...`, and exit code 2; runs that
failed in exit code 1; Ctrl-C in 130.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from .console import CommandError

LONGEST = 1000  # characters of a message; what was got may be a whole file
#: name of a command and of its file beside this one -> what it is for
COMMANDS = {
    "sweep": "accuracy and energy over bit widths, with baselines",
    "train": "one training run",
    "energy": "cycles, traffic and energy of a training step on a machine",
    "formats": "the number formats and training recipes",
    "conformance": "an implementation of the number path against the oracle",
    "data": "data sets: list, fetch",
}


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
    for name, text in COMMANDS.items():
        own = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == command:
            module = import_module(f".{name}", __package__)
            module.fill(own)
            own.set_defaults(run=module.run)
    return parser


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
    except (CommandError, ValueError, TypeError, OSError) as error:
        return _fail(one_line(error))
