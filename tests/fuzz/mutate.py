"""Valid files made wrong: bytes flipped, cut, doubled; values replaced, moved, removed."""

import copy
import json
import math
from typing import Any

import yaml
from hypothesis import strategies as st

JUNK = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\r", b"9" * 400, b"1e400", b"-1", b"nan",
    b"[" * 3000, b"{" * 200, b"&a [*a]", b"*a", b"!!python/object/apply:os.system [id]", b"'", b'"',
    b"\xc3\x28", b",,,,", b"\xe2\x80\xa8", b"0x10", b"010", b"1:30", b"~", b"<<: {a: 1}", b"\\",
    "٣²½".encode(), b"=cmd|' /C calc'!A0", b"../../x", b"/etc/passwd", b"1_0", b"true", b"#",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**80, 10**400, 0.0, -0.5, 1e-300, 1e300,
    math.nan, math.inf, -math.inf, "", "x", "8", "4:8", "1:99999999", "-5", "nan", "../../x",
    "/tmp/x", "a/b",
    "..", "\0", "a\nb", "x" * 20_000, "٣", "auto", "none", "full", [], [[]], [1], ["a"], {},
    {"a": 1},
)  # fmt: skip


@st.composite
def bytes_of(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file with up to four wounds, or something else altogether."""
    if draw(st.integers(0, 30)) == 0:
        return draw(st.one_of(st.binary(max_size=60), st.sampled_from(JUNK), st.just(b"")))
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(("flip", "cut", "insert", "drop", "double", "junk", "end")))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "double":
            data[at:at] = data[at : at + 60]
        elif how == "junk":
            data[at:at] = draw(st.sampled_from(JUNK))
        else:
            data += draw(st.sampled_from(JUNK))
    return bytes(data)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a tree of dicts and lists, the root left out."""
    if isinstance(tree, dict):
        pairs = list(tree.items())
    else:
        pairs = list(enumerate(tree)) if isinstance(tree, list) else []
    found = []
    for key, value in pairs:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def tree_of(draw: st.DrawFn, valid: Any, values: tuple[Any, ...] = VALUES) -> Any:
    """A tree with up to three values replaced, removed, renamed, doubled or nested."""
    tree = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        ways = places(tree)
        if not ways:
            return tree
        way = draw(st.sampled_from(ways))
        parent = tree
        for key in way[:-1]:
            parent = parent[key]
        key = way[-1]
        how = draw(st.sampled_from(("set", "set", "set", "drop", "rename", "nest", "deep", "copy")))
        if how == "set":
            parent[key] = draw(st.sampled_from(values))
        elif how == "drop":
            del parent[key]
        elif how == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(("", "x", "_", f"{key}s", "out", "name", 3)))] = parent.pop(
                key
            )
        elif how == "nest":
            parent[key] = [parent[key]]
        elif how == "deep":
            for _ in range(60):
                parent[key] = {"a": parent[key]}
        elif how == "copy" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
    return tree


def as_yaml(tree: Any) -> bytes:
    """A tree as YAML."""
    return yaml.safe_dump(tree, sort_keys=False).encode("utf-8", "surrogatepass")


def as_json(tree: Any) -> bytes:
    """A tree as JSON, NaN and infinity as Python writes them."""
    return json.dumps(tree).encode()


def as_toml(tree: Any, prefix: str = "") -> str:
    """A tree as TOML where it has a form for it; keys and texts are quoted as JSON."""
    lines, tables = [], []
    for key, value in tree.items():
        if isinstance(value, dict):
            tables.append(f"[{prefix}{json.dumps(str(key))}]\n" + as_toml(value, f"{prefix}{key}."))
        else:
            text = json.dumps(value) if value is not None else '"None"'
            text = text.replace("NaN", "nan").replace("Infinity", "inf")
            lines.append(f"{json.dumps(str(key))} = {text}")
    return "\n".join([*lines, *tables]) + "\n"
