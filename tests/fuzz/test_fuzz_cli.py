"""The command line with wild arguments: an answer, or one line on stderr and exit code 2."""

import argparse
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import count, fuzz, limited
from hypothesis import given
from hypothesis import strategies as st
from lnsim.sim.cli.main import build_parser, main
from lnsim.sim.data import fetch
from lnsim.sim.report import step_files as energy_outputs
from lnsim.sim.runs import sweep, train

COMMANDS = ("sweep", "train", "energy", "formats", "data")  # `conformance` runs other programs
STOPPED = "run must not be made here"
WORDS = (
    "",
    "0",
    "1",
    "-1",
    "8",
    "4:8",
    "8:4",
    "4,6,8",
    "1:99999999",
    "none",
    "auto",
    "full",
    "machine",
    "1e400",
    "nan",
    "-inf",
    "0x10",
    "٣",
    "9" * 5000,
    "fp8",
    "lns8",
    "fp9",
    "e5g4",
    "e٣g4",
    "e99999g1",
    "e3g3",
    "lns",
    "mlp",
    "cnn",
    "digits",
    "mnist",
    "edge-16",
    "tpu-128",
    "os",
    "ws",
    "exact",
    "log",
    "table:4",
    "cosine",
    "../../x",
    "/etc/passwd",
    "/dev/full",
    ".",
    "..",
    "a/b",
    "\0",
    "a\0b",
    "\n",
    "x\ny",
    "\udcff",
    "-",
    "--",
    "---",
    "--help-me",
    "-h",
    "[red]",
    "[/]",
    "{0}",
    "%s",
    "%(prog)s",
    "$(id)",
    "`id`",
    "file.csv",
    "file.yaml",
    "file.toml",
    "file.onnx",
    "folder",
    "taken",
    "45 nm",
    "7 nm",
    "saturate",
    "infinity",
    "wrap",
    "integer-madam",
    "adamw",
    "x" * 300,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a few files; what would train or fetch says so and stops."""
    root = tmp_path_factory.mktemp("cli")
    (root / "file.csv").write_text("Layer, M, N, K,\na, 8, 4, 2,\n")
    (root / "file.yaml").write_text("seeds: 1\nexponent_bits: 4:5\n")
    (root / "file.toml").write_text("seeds = 1\n")
    (root / "file.onnx").write_bytes(b"\x08\x01")
    (root / "taken").write_text("mine")
    (root / "folder").mkdir()

    def stop(*rest: Any, **named: Any) -> Any:
        raise ValueError(STOPPED)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("LNSIM_DATA", str(root / "data"))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setattr(sweep, "run_sweep", stop)
        patch.setattr(train, "train", stop)
        patch.setattr(fetch, "run_tool", stop)
        patch.setattr(energy_outputs, "write_step", lambda folder, *rest: ["energy.csv"])
        yield root


def flags(command: str) -> list[str]:
    """Every option of a command."""
    commands = next(
        action
        for action in build_parser(command)._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    found = [
        text for action in commands.choices[command]._actions for text in action.option_strings
    ]
    return [text for text in found if text not in ("-h", "--help")]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with up to five of its flags, words in any order and place."""
    command = draw(st.sampled_from(COMMANDS))
    words = [command] if draw(st.integers(0, 15)) else []
    if command == "data" and draw(st.integers(0, 5)):
        words.append(draw(st.sampled_from(("list", "fetch", "x"))))
    word = st.one_of(st.sampled_from(WORDS), st.text(max_size=6))
    for _ in range(draw(st.integers(0, 5))):
        flag = draw(st.sampled_from(flags(command) or ["--x"]))
        how = draw(st.integers(0, 9))
        if how == 0:
            words.append(draw(word))
        elif how == 1:
            words.append(flag)
        elif how == 2:
            words.append(f"{flag}={draw(word)}")
        else:
            words += [flag, draw(word)]
    return words


@fuzz(ordinary=12)
@given(words=command_lines())
def test_a_command_line_ends_in_an_answer_or_one_line(words: list[str], place: Path) -> None:
    """Exit code 0, or 2 with one line that begins `lnsim: error: ` and nothing on stdout after."""
    before = sorted(path.name for path in place.iterdir())
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with limited(), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            code: Any = main(words)
        except SystemExit as stop:  # argparse's own for --help and --version
            code = stop.code
    text = stderr.getvalue()
    target = f"lnsim {words[0] if words and words[0] in COMMANDS else '...'}"
    if code == 0:
        assert not text
        count(target, "answer")
    else:
        assert code == 2, (words, code, text)
        assert text.startswith("lnsim: error: "), text
        assert text.count("\n") == 1, text
        assert len(text) < 1100
        count(target, "accepted, not run" if STOPPED in text else "exit code 2")
    after = sorted(path.name for path in place.iterdir())
    assert {*after} - {*before} <= {"results"}, "only results/ is made without being asked for"
