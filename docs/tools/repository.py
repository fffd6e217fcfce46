"""Sphinx extension: a link to a file of the repository leads to a page that shows it.

In Markdown such a link is an ordinary relative one, `[encode](../lns/codec.py#encode)`, which also
works where the page is read in the repository. In the HTML a text file becomes a highlighted page,
and the name after # the line of its definition; a name that the file does not define is a warning,
so it fails a build with -W. Every documented function has such a link too.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from definitions import LINK, definitions
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".py": "python", ".md": "markdown", ".csv": "text", ".json": "json", ".toml": "toml"}
MARKDOWN = re.compile(r"\]\((\.\./[^)#\s]+\.md)\)")
logger = logging.getLogger(__name__)


def _line(path: Path, name: str) -> int | None:
    return definitions(path.read_text("utf-8")).get(name) if path.is_file() else None


def on_source(app: Any, docname: str, source: list[str]) -> None:
    """Put the line of a name into its link's title, which is what Sphinx keeps of it.

    Markdown outside the documentation is marked as a file, or it would be taken for a page.
    """
    folder = Path(app.env.doc2path(docname)).parent

    def titled(match: "re.Match[str]") -> str:
        text, target, name = match.groups()
        line = _line((folder / target).resolve(), name)
        if line is None:
            logger.warning("%s must define %s, which is linked to", target, name, location=docname)
        return f'[{text}]({target} "{name}, line {line}")'

    def marked(match: "re.Match[str]") -> str:
        outside = not (folder / match[1]).resolve().is_relative_to(ROOT / "docs")
        return f"](path:{match[1]})" if outside else str(match[0])

    source[0] = MARKDOWN.sub(marked, LINK.sub(titled, source[0]))


def _uri(app: Any, path: Path, line: int | None) -> str:
    """Address of the page that shows a file, from the page now read; the file is noted."""
    shown: set[str] = app.env.__dict__.setdefault("repository_files", set())
    name = str(path.relative_to(ROOT))
    shown.add(name)
    uri: str = app.builder.get_relative_uri(app.env.docname, f"source/{name}")
    return uri + (f"#line-{line}" if line else "")


def on_read(app: Any, doctree: nodes.document) -> None:
    """Turn links to files into links to their pages; give documented objects theirs."""
    for link in list(doctree.findall(addnodes.download_reference)):
        path = Path(app.env.relfn2path(link["reftarget"], app.env.docname)[1]).resolve()
        if not path.is_relative_to(ROOT) or path.suffix not in LANGUAGES:
            continue
        if not path.is_file():
            logger.warning("%s must exist, it is linked to", path, location=app.env.docname)
            continue
        line = re.search(r", line (\d+)$", link.get("reftitle", ""))
        uri = _uri(app, path, int(line[1]) if line else None)
        reference = nodes.reference("", "", *link.children, internal=True, refuri=uri)
        link.replace_self(reference)
    for signature in doctree.findall(addnodes.desc_signature):
        place = _place(signature.get("module"), signature.get("fullname"))
        if place is not None:
            text = nodes.inline("", "[source]", classes=["viewcode-link"])
            uri = _uri(app, *place)
            signature += nodes.reference("", "", text, internal=True, refuri=uri)


def _place(module: str | None, name: str | None) -> tuple[Path, int] | None:
    """File and line of a documented class or function of this project."""
    found: Any = import_module(module) if module else None
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    found = inspect.unwrap(getattr(found, "fget", found) or found)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return None
    path = Path(inspect.getsourcefile(found) or "").resolve()
    return (path, inspect.getsourcelines(found)[1]) if path.is_relative_to(ROOT) else None


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for every file that is linked to."""
    for name in sorted(app.env.__dict__.get("repository_files", ())):
        path = ROOT / name
        if not path.is_file():  # linked to in an earlier build
            continue
        body = app.builder.highlighter.highlight_block(
            path.read_text("utf-8"),
            LANGUAGES[path.suffix],
            linenos="inline",
            lineanchors="line",
            anchorlinenos=True,
        )
        yield f"source/{name}", {"title": name, "body": f"<h1>{name}</h1>{body}"}, "page.html"


def setup(app: Any) -> dict[str, Any]:
    """Connect the hooks."""
    app.connect("source-read", on_source)
    app.connect("doctree-read", on_read)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}
