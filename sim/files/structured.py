"""YAML and TOML files as plain values: nothing is executed, nothing grows, nothing is guessed.

YAML is read by PyYAML's safe loader, which makes no objects of other classes, with four changes: a
list or mapping is not repeated by an alias (a few lines could stand for billions of values), a key
stands once in its mapping, `4:8` is text (YAML 1.1 reads a number to the base 60), and so is `010`
(YAML 1.1 reads 8). Files have limits, so that what is wrong in them can be said in a message.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from .paths import readable

SUFFIXES = (".yaml", ".yml", ".toml")
MOST_BYTES = 1 << 24
DEEPEST = 32  # levels of lists and mappings
LONGEST_TEXT = 10_000  # characters
_LONG_KEY = re.compile(  # tomllib takes the square of a key's length
    rf"(?:^|[{{,\[])[ \t]*(?:[\w\"'-]+[ \t]*\.[ \t]*){{{DEEPEST}}}", re.MULTILINE
)
MOST_BITS = 256  # of a whole number


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the module's changes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own field
        first: [(tag, form) for tag, form in forms if not tag.endswith((":int", ":float"))]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Refuse what is nested deeper than any file; scanning takes the square of the depth."""
        if self.flow_level >= DEEPEST:
            text = f"brackets must be nested at most {DEEPEST} deep, got deeper"
            raise yaml.scanner.ScannerError(None, None, text, self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias of anything but one value."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            node = self.anchors.get(event.anchor)
            if isinstance(node, yaml.CollectionNode):
                text = f"an alias must be of one value, got *{event.anchor}"
                raise yaml.composer.ComposerError(None, None, text, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that stands twice."""
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                    text = f"a key must be given once, got {key.value!r} again"
                    raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
                if isinstance(key, yaml.ScalarNode):
                    seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def read_text(path: Path, subject: str) -> str:
    """Return a file's UTF-8 text, lines ended by `\\n`, without a byte order mark.

    Raises OSError where it cannot be read, ValueError (`<subject> must be ...`) for other bytes and
    for more than MOST_BYTES.
    """
    with readable(path).open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{subject} must be of at most {MOST_BYTES} bytes, got more")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{subject} must be UTF-8 text, got {error.reason}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_values(path: Path, subject: str) -> Any:
    """Return what a YAML or TOML file holds; None for an empty YAML file.

    Raises OSError where it cannot be read, else ValueError, `<subject> must be ..., got ...`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{subject} must be a .yaml, .yml or .toml file, got {path}")
    return parse(read_text(path, subject), suffix, subject)


def parse(text: str, suffix: str, subject: str) -> Any:
    """Return the values of the text of a file with one of SUFFIXES; errors as `read_values`."""
    kind = "TOML" if suffix == ".toml" else "YAML"
    if kind == "TOML" and _LONG_KEY.search(text):
        raise ValueError(f"{subject} must be nested at most {DEEPEST} deep, got a longer key")
    try:
        values = tomllib.loads(text) if kind == "TOML" else yaml.load(text, _Loader)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{subject} must be {kind}, got {_one_line(error)}") from error
    except RecursionError as error:
        raise ValueError(f"{subject} must be {kind}, got too many nested brackets") from error
    except ValueError as error:  # a date such as 2026-13-45
        raise ValueError(f"{subject} must hold valid values, got {error}") from error
    _check_limits(values, subject)
    return values


def _check_limits(values: Any, subject: str) -> None:
    """Refuse what no message could show."""
    level, depth = [values], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(f"{subject} must be nested at most {DEEPEST} deep, got deeper")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value, *value.values()]
            elif isinstance(value, list | tuple | set):
                inner += value
            elif isinstance(value, str | bytes) and len(value) > LONGEST_TEXT:
                raise ValueError(
                    f"{subject} must hold texts of at most {LONGEST_TEXT} characters, got "
                    f"{len(value)}"
                )
            elif isinstance(value, int) and value.bit_length() > MOST_BITS:
                raise ValueError(
                    f"{subject} must hold numbers below 2^{MOST_BITS}, got one of "
                    f"{value.bit_length()} bits"
                )
        level, depth = inner, depth + 1


def _one_line(error: Exception) -> str:
    """An error without YAML's excerpt of several lines."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    text = problem or str(error).splitlines()[0]
    return f"{text} (line {mark.line + 1}, column {mark.column + 1})" if mark else text
