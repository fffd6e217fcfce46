"""Numba's on-disk cache, kept honest, and a word to who waits for a compiler.

A cached kernel is compiled again when its own file changes, but not when a helper it was inlined
from changes in another file. A stamp beside the cache holds a hash of every source of the package;
where it differs the cached kernels are deleted before anything is loaded.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from numba.core import event

FOLDER = Path(__file__).resolve().parents[2]  # of all kernels
SUFFIXES = (".nbi", ".nbc")  # Numba's index and code files


def source_hash(folder: Path) -> str:
    """Return the SHA-256 of the package's sources, names included."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(
            path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
        )
    return digest.hexdigest()


def drop_stale(folder: Path) -> int:
    """Delete cached kernels of other sources below `folder`; return how many files.

    A folder that cannot be written (Numba then caches elsewhere, by file and time) is left alone.
    """
    cache = folder / "__pycache__"
    stamp = cache / "sources.sha256"
    wanted = source_hash(folder)
    try:
        if stamp.exists() and stamp.read_text() == wanted:
            return 0
        stale = [path for path in folder.rglob("*") if path.suffix in SUFFIXES]
        for path in stale:
            path.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        stamp.write_text(wanted)
    except OSError:
        return 0
    return len(stale)


class _Announcer(event.Listener):
    """Says once per process that kernels of this package are being compiled."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """A compilation that no cache spared begins."""
        package = __name__.partition(".cpu.")[0]
        function = event.data["dispatcher"].py_func
        if not self.said and function.__module__.startswith(package):
            self.said = True
            print(
                "lnsim: compiling kernels for this machine, once (up to half a minute)",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


def announce_compilation() -> None:
    """From now on, print one line on stderr when a kernel has to be compiled."""
    event.register("numba:compile", _Announcer())
