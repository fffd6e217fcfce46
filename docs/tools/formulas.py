"""Sphinx extension: powers in running text, 2^(1/G), are set raised, letters' indices lowered.

No mathematics engine is needed and pages stay readable without a network. Code is left alone.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes

_INSIDE = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))*"  # brackets two deep
POWER = re.compile(rf"(?<=[\w.)])\^(?:\(({_INSIDE})\)|([-−]?\w+(?![\w(])|-\({_INSIDE}\)))")


INDEX = re.compile(r"(?<![\w])(offset|acc|bin|[A-Za-z])_(a|b|k|m|max|0)(?!\w)")


def parts(text: str) -> Iterator[nodes.Node]:
    """Yield the pieces of a text in order; the brackets around an exponent are dropped."""
    end = 0
    for match in POWER.finditer(text):
        yield from _indexed(text[end : match.start()])
        yield nodes.superscript("", "", *_indexed(match[1] or match[2]))
        end = match.end()
    yield from _indexed(text[end:])


def _indexed(text: str) -> Iterator[nodes.Node]:
    end = 0
    for match in INDEX.finditer(text):
        yield nodes.Text(text[end : match.start()] + match[1])
        yield nodes.subscript("", match[2])
        end = match.end()
    if text[end:]:
        yield nodes.Text(text[end:])


def on_read(app: Any, doctree: nodes.document) -> None:
    """Split every text that has a power or an index in it; code is left alone."""
    kept = (nodes.literal, nodes.literal_block, nodes.raw, nodes.comment, nodes.image)
    kept += (addnodes.desc_signature,)
    for text in list(doctree.findall(nodes.Text)):
        above: Any = text.parent
        while above is not None and not isinstance(above, kept):
            above = above.parent
        if above is None and (POWER.search(text) or INDEX.search(text)):
            text.parent.replace(text, list(parts(text)))


def setup(app: Any) -> dict[str, Any]:
    """Connect the hook."""
    app.connect("doctree-read", on_read)
    return {"parallel_read_safe": True}
