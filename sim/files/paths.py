"""Where results may be written: names that are names, and files that stay in their folder."""

import os
from pathlib import Path

_LONGEST = 100  # characters of a name; file systems take 255 bytes, and names are put together


def require_plain_name(name: str, value: object) -> str:
    """Return `value` if it can be (part of) the name of one file or folder, else raise ValueError.

    No separator, no control character, neither `.` nor `..`, at most 100 characters.
    """
    plain = isinstance(value, str) and value not in ("", ".", "..") and len(value) <= _LONGEST
    if not plain or not str(value).isprintable() or set("/\\") & set(str(value)):
        shown = repr(value) if len(repr(value)) <= 2 * _LONGEST else f"{len(str(value))} characters"
        raise ValueError(f"{name} must be a plain folder name, got {shown}")
    return str(value)


def readable(path: Path) -> Path:
    """Return a path that the system can be asked for; ValueError where a NUL is in it."""
    if "\0" in str(path):
        raise ValueError(f"path must be without NUL, got {str(path)!r}")
    return path


def require_folder(name: str, root: Path) -> None:
    """Raise ValueError where `root` cannot be a folder: a file is in the way, or a NUL in it."""
    readable(root)
    for path in (root, *root.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"{name} must be a folder, got the file {path}")


def require_below(name: str, text: str) -> None:
    """Raise ValueError unless a path is relative and stays below where it starts."""
    path = Path(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(
            f"{name} must be a folder below this one in a file (a flag may name any), got {text!r}"
        )


def inside(root: Path, *parts: str) -> Path:
    """Return root/parts; ValueError where `..`, an absolute part or a link leads out of `root`."""
    path = root.joinpath(*parts)
    try:
        home, folder = root.resolve(), path.parent.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ValueError(f"out must hold its own files, got {path}: {error}") from error
    if not folder.is_relative_to(home) or path.name in ("", ".."):
        raise ValueError(f"out must hold its own files, got {path}, which lies in {folder}")
    return path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: beside its place, then renamed into it.

    A link at its place is replaced, not followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
