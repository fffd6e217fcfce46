"""The README's example runs as printed, and what it says exists."""

import re
import shlex
from pathlib import Path

import pytest
from lnsim.sim.cli.main import build_parser

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python blocks of the README, executed word for word."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for text in ("exponent_add", "antilog_lookup", "fp8 takes", "Interval(low="):
        assert text in printed


def test_linked_files_exist() -> None:
    """Every relative link and picture of the README is in the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).resolve().parents[2] / link).exists(), link


def test_every_command_of_the_readme_parses() -> None:
    """The `lnsim` lines it shows are accepted, flag by flag."""
    lines = re.findall(r"^    (lnsim .*)$", README.replace("\\\n", " "), re.MULTILINE)
    commands = [shlex.split(line, comments=True)[1:] for line in lines]
    assert {command[0] for command in commands} == {
        "sweep", "train", "energy", "formats", "conformance", "data",
    }  # fmt: skip
    for command in commands:
        build_parser(command[0]).parse_args(command)
