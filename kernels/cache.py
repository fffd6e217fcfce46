"""Numba's on-disk cache, kept honest.

A cached kernel is compiled again when its own file changes, but not when a helper it was inlined
from changes in another file. A stamp beside the cache holds a hash of every source of the package;
where it differs the cached kernels are deleted before anything is loaded.
"""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SUFFIXES = (".nbi", ".nbc")  # Numba's index and code files


def source_hash(folder: Path) -> str:
    """Return the SHA-256 of the package's sources, names included."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def drop_stale(folder: Path) -> int:
    """Delete cached kernels of other sources from folder/__pycache__; return how many files.

    A folder that cannot be written (Numba then caches elsewhere, by file and time) is left alone.
    """
    cache = folder / "__pycache__"
    stamp = cache / "sources.sha256"
    wanted = source_hash(folder)
    try:
        if stamp.exists() and stamp.read_text() == wanted:
            return 0
        stale = [path for path in cache.glob("*") if path.suffix in SUFFIXES]
        for path in stale:
            path.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        stamp.write_text(wanted)
    except OSError:
        return 0
    return len(stale)
