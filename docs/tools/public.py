"""Sphinx extension: docstrings as they are written here, and no public name without an entry.

The project's docstrings are plain prose: |x| is a magnitude, * a product, and a sentence that
starts with "Raises" at the start of a line says what is refused. They are made reStructuredText
before Sphinx reads them. When all pages are read, each name of a package's `__all__` must have its
entry in the Python domain.
"""

import importlib
import re
from typing import Any

# Lines that begin a new paragraph after a full stop: arguments, errors, sources.
PARAGRAPH = re.compile(
    r"(Raises|Sources?|The same|[a-z_0-9]+(, [a-z_0-9]+)*( \"[a-z]+\"|, LNS)?:)\s"
)
ARRAY_LIKE = re.compile(r"~numpy\._typing\._array_like\._Buffer .*?\[complex \| bytes \| str\]")
ND_ARRAY = re.compile(
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([^\]]*)\]\]"
)
PACKAGES = ("lnsim.lns", "lnsim.kernels", "lnsim.sim")


def prose(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText: literal blocks as they are, the rest escaped."""
    text: list[str] = []
    literal = False
    for line in lines:
        indented = line.startswith(" ") or not line.strip()
        literal = literal and indented
        if not literal:
            if PARAGRAPH.match(line) and text and text[-1].rstrip().endswith("."):
                text.append("")
            code = re.split(r"(`[^`]*`)", line)
            line = "".join(
                part if part.startswith("`") else re.sub(r"([|*\\]|_(?=\W|$))", r"\\\1", part)
                for part in code
            )
        literal = literal or line.rstrip().endswith("::")
        text.append(line)
    return text


def on_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring of this project in place."""
    lines[:] = prose(lines)


def readable(signature: str | None) -> str | None:
    """Return a signature with numpy's types as the code has them, not as numpy defines them."""
    if signature is None:
        return None
    signature = ARRAY_LIKE.sub("~numpy.typing.ArrayLike", signature)
    return ND_ARRAY.sub(r"~numpy.typing.NDArray[\1]", signature)


def on_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, given: str | None, back: str | None
) -> tuple[str | None, str | None]:
    """Rewrite arguments and result of a documented function."""
    return readable(given), readable(back)


def missing(documented: set[str]) -> list[str]:
    """Return the public names, dotted, that are not among the documented ones."""
    names = [
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
    ]
    return [name for name in names if name not in documented]


def on_consistency(app: Any, env: Any) -> None:
    """Warn of every public name that no page documents; with -W the build fails."""
    from sphinx.util.logging import getLogger  # here, so that tests need no Sphinx

    documented = {name for name, *_ in env.get_domain("py").get_objects()}
    for name in missing(documented):
        getLogger(__name__).warning("public name %s has no entry in the API reference", name)


def setup(app: Any) -> dict[str, Any]:
    """Connect the hooks."""
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("autodoc-process-signature", on_signature)
    app.connect("env-check-consistency", on_consistency)
    return {"parallel_read_safe": True}
