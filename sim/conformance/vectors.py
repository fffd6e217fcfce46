"""The suite as a JSON file: questions with the oracle's answers, and room for somebody else's.

docs/conformance.md describes the fields. Every code, number and integer of a group stands in a
text, separated by spaces, so that no JSON library rounds it. A digest over the questions tells
whether only the answers were changed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...lns.array import FloatArray, IntArray, LNSArray, Offset
from ...lns.checks import require_choice
from ...lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from ...lns.format import FloatFormat, Format, IntFormat, LNSFormat
from .batch import Batch
from .operations import OPERANDS, OPERATIONS, Number, Operand, code_text, real_text
from .run import NOT_OFFERED, Answer

SCHEMA, VERSION = "lnsim conformance vectors", 1
ERROR = "error"  # the answer to invalid operands
_FORMATS: dict[str, Any] = {"lns": LNSFormat, "float": FloatFormat, "int": IntFormat}
_VALUES: dict[str, Any] = {**_FORMATS, "fixed": Accumulator}
_ARRAYS: dict[str, Any] = {"lns": LNSArray, "float": FloatArray, "int": IntArray}
_DATAPATHS: dict[str, Any] = {"lns": Datapath, "float": FloatDatapath, "int": IntDatapath}
_DTYPES: dict[str, Any] = {"float32": np.float32, "float64": np.float64, "int64": np.int64}
Json = dict[str, Any]


def _kind(value: Any, kinds: dict[str, Any]) -> str:
    return next(name for name, known in kinds.items() if isinstance(value, known))


def _value_json(value: Format | Accumulator) -> Json:
    """A format or accumulator as its kind and its fields."""
    return {"kind": _kind(value, _VALUES), **asdict(value)}


def _value_of(given: Json) -> Any:
    """The format or accumulator of its kind and fields."""
    fields = dict(given)
    return _VALUES[fields.pop("kind")](**fields)


def _offset_json(offset: Offset) -> Any:
    """One offset as a number, several as their shape and a text."""
    if isinstance(offset, int):
        return offset
    return {"shape": list(offset.shape), "values": " ".join(map(str, offset.ravel()))}


def _offset_of(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    values = [int(word) for word in given["values"].split()]
    return np.array(values, np.int32).reshape(given["shape"])


def _setting_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _offset_json(value)
    if isinstance(value, Format | Accumulator):
        return _value_json(value)
    if isinstance(value, Datapath | FloatDatapath | IntDatapath):
        antilog = {"antilog": asdict(value.antilog)} if isinstance(value, Datapath) else {}
        accumulator = _setting_json(value.accumulator)
        return {"kind": _kind(value, _DATAPATHS), **antilog, "accumulator": accumulator}
    return value


def _setting_of(name: str, given: Any) -> Any:
    if name == "fmt":
        return _value_of(given)
    if name != "datapath":
        return _offset_of(given)
    parts: Json = {"accumulator": _value_of(given["accumulator"])}
    if "antilog" in given:
        parts["antilog"] = Antilog(**given["antilog"])
    return _DATAPATHS[given["kind"]](**parts)


def _operand_json(operand: Operand) -> Json:
    if isinstance(operand, np.ndarray):
        flat = operand.reshape(-1).tolist()
        texts = [str(v) if operand.dtype.kind == "i" else real_text(v) for v in flat]
        kind: Json = {"kind": operand.dtype.name}
    else:
        texts = [code_text(int(code), operand.fmt) for code in operand.code.reshape(-1)]
        offset = _offset_json(operand.offset)
        kind = {"kind": "codes", "format": _value_json(operand.fmt), "offset": offset}
    return {**kind, "shape": list(operand.shape), "values": " ".join(texts)}


def _operand_of(given: Json) -> Operand:
    words, shape = given["values"].split(), tuple(given["shape"])
    if given["kind"] != "codes":
        read: Any = int if given["kind"] == "int64" else float.fromhex
        return np.array([read(w) for w in words], _DTYPES[given["kind"]]).reshape(shape)
    fmt, offset = _value_of(given["format"]), _offset_of(given["offset"])
    base = 10 if isinstance(fmt, IntFormat) else 16
    code = np.array([int(word, base) for word in words], fmt.code_dtype).reshape(shape)
    array: Operand = _ARRAYS[given["format"]["kind"]](code, offset, fmt)
    return array


def answer_text(batch: Batch, values: list[Number] | None) -> str:
    """An answer as one text; None, for an error: "error"."""
    if values is None:
        return ERROR
    kind, target = batch.result, batch.target
    return " ".join(kind.text(value, target) for value in values)


def question(name: str, batch: Batch, right: list[Number] | None) -> Json:
    """One group of the file, its answers left open."""
    return {
        "name": name,
        "section": batch.section,
        "operation": batch.operation,
        "what": batch.what,
        "exhaustive": batch.exhaustive,
        "operands": {key: _operand_json(value) for key, value in batch.operands.items()},
        "settings": {key: _setting_json(value) for key, value in batch.settings.items()},
        "result": {"kind": batch.result.name, "shape": list(batch.shape)},
        "expected": answer_text(batch, right),
        "answers": None,
    }


def _canonical(group: Json) -> bytes:
    asked = {key: value for key, value in group.items() if key != "answers"}
    return json.dumps(asked, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def digest(groups: list[Json]) -> str:
    """SHA-256 over the groups without their answers."""
    return hashlib.sha256(b"".join(map(_canonical, groups))).hexdigest()


class Vectors:
    """Collects groups and gives the file's text, one group a line."""

    def __init__(self, level: str, seed: int) -> None:
        head = {"schema": SCHEMA, "version": VERSION, "lnsim": version("lnsim")}
        self._head = json.dumps({**head, "level": level, "seed": seed})[:-1]
        self._lines: list[str] = []
        self._digest = hashlib.sha256()
        self._counts: dict[str, int] = {}

    def add(self, batch: Batch, right: list[Number] | None) -> None:
        """Take one batch and its right answer."""
        self._counts[batch.section] = number = self._counts.get(batch.section, 0) + 1
        group = question(f"{batch.section}-{number:04}", batch, right)
        self._digest.update(_canonical(group))
        self._lines.append(json.dumps(group))

    def text(self) -> str:
        """The whole file."""
        groups = ",\n".join(self._lines)
        return f'{self._head}, "groups": [\n{groups}\n], "digest": "{self._digest.hexdigest()}"}}\n'


def load(path: Path) -> list[Json]:
    """Return the groups of a file that was written by `Vectors`, whatever their answers.

    Raises ValueError for another kind of file or version, and where a question was changed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text, got {error.reason}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got {error}") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{path} must be a file written by `lnsim conformance --write`")
    if document.get("version") != VERSION:
        raise ValueError(f"version of {path} must be {VERSION}, got {document.get('version')!r}")
    groups = document.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"groups of {path} must be a list of groups")
    found = digest(groups)
    if found != document.get("digest"):
        raise ValueError(
            f"questions of {path} must be as they were written, only `answers` may change: their "
            f"digest is {found}, the file says {document.get('digest')!r}"
        )
    return groups


def questions(groups: list[Json]) -> Iterator[tuple[str, Batch, str, Any]]:
    """Yield (name, batch, the file's right answer, the answers as given) of every group.

    Raises ValueError for a group that the suite could not have written.
    """
    for group in groups:
        try:
            yield group["name"], _batch_of(group), group["expected"], group.get("answers")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{group.get('name')} must be a group as the suite writes it, got "
                f"{type(error).__name__}: {error}"
            ) from error


def _batch_of(group: Json) -> Batch:
    """The question of a group; its arguments are put into the order of the call."""
    operation = require_choice("operation", group["operation"], OPERATIONS)
    order = list(OPERATIONS[operation].takes)
    operands, settings = group["operands"], group["settings"]
    if set(order) != {*operands, *settings}:
        raise ValueError(
            f"arguments of {operation} must be {order}, got {sorted({**operands, **settings})}"
        )
    return Batch.call(
        group["section"],
        operation,
        group["what"],
        *(
            _operand_of(operands[name]) if name in OPERANDS else _setting_of(name, settings[name])
            for name in order
        ),
        exhaustive=group["exhaustive"],
        refused=group["expected"] == ERROR,
    )


def read_answers(name: str, batch: Batch, given: Any) -> Answer:
    """The answers to one group; null is "not offered".

    Raises ValueError, naming the group, for what is not text, not numbers, or not as many.
    """
    if given is None:
        return NOT_OFFERED
    if not isinstance(given, str):
        raise ValueError(f"answers of {name} must be a text or null, got {type(given).__name__}")
    if given.strip() == ERROR:
        return Answer(problem="an error", refused=True)
    kind, values = batch.result, []
    for place, word in enumerate(given.split()):
        try:
            values.append(kind.read(word))
        except (ValueError, OverflowError):
            raise ValueError(
                f"answers of {name} must be {kind.words}, got {word!r} at place {place}"
            ) from None
    count = int(np.prod(batch.shape))
    if len(values) != count:
        raise ValueError(f"answers of {name} must be {count} numbers, got {len(values)}")
    return Answer(values)
