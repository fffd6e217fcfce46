"""`Record`: what a run leaves, everything needed to read its numbers and to repeat them.

The types are the form of the file: `from_json` reads by them, so that a file that was damaged is
run again and not half read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..events.event import Event, Events, event_rows
from ..prices.interval import Interval
from .run_config import RunConfig

FINISHED = ("ok", "diverged")  #: a run that failed is tried again when the sweep is resumed
_FAILED = ("id", "label", "config", "status", "reason", "test_accuracy")  # all of a failed record
_NEWER = {"newer": True}  # of a field that earlier records lack: None there, and not written
_EVENTS = ("counted_events", "events")
_BIG = 1e300  # more than any price, time or loss; a whole number above has no float


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses (mean cross-entropy) and accuracy (percent) after one epoch."""

    epoch: int
    train_loss: float
    test_loss: float | None  #: None: not finite
    test_accuracy: float


@dataclass(frozen=True, slots=True)
class Conversions:
    """Elements converted in one layer and role over the training steps."""

    layer: str
    role: str
    elements: int
    saturated: int
    underflowed: int


@dataclass(frozen=True, slots=True)
class Accumulators:
    """Sums of one layer and phase over the training steps."""

    layer: str
    phase: str
    outputs: int
    overflowed: int
    products: int | None = field(default=None, metadata=_NEWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energies in pJ of an average step; the parts add up to `per_step_pj`."""

    per_step_pj: Interval
    on_chip_per_step_pj: Interval | None = field(default=None, metadata=_NEWER)  #: without DRAM
    per_epoch_pj: Interval
    by_phase: Mapping[str, Interval] | None = field(default=None, metadata=_NEWER)
    by_component: Mapping[str, Interval] | None = field(default=None, metadata=_NEWER)
    by_kind: Mapping[str, Interval] | None = field(default=None, metadata=_NEWER)
    by_group: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Time of a step, and its multiplications by unit.

    overlapped: the vector unit works beside the array; sequential: after it.
    """

    overlapped_cycles: int | None = field(default=None, metadata=_NEWER)
    sequential_cycles: int | None = field(default=None, metadata=_NEWER)
    overlapped_seconds: float
    sequential_seconds: float
    multiplications: Mapping[str, int]

    @property
    def seconds(self) -> tuple[float, float]:
        """Vector unit beside the array, and after it."""
        return self.overlapped_seconds, self.sequential_seconds


@dataclass(frozen=True, slots=True)
class Host:
    """What ran it."""

    system: str
    processor: str
    cores: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run's outcome; the fields, in this order, are the keys of its file.

    The same configuration gives the same values on the same versions, but for `seconds`, `machine`
    and `time`. A run that failed has an id, label, configuration and reason alone. Counts and
    events are totals over the training steps.
    """

    id: str
    label: str
    config: Mapping[str, Any]  #: RunConfig.as_dict()
    lr: float | None = field(default=None, metadata=_NEWER)  #: the rate that the schedule scales
    status: str  #: "ok", "diverged" or "failed"
    reason: str | None
    test_accuracy: float | None  #: percent; of a run that ended well
    history: tuple[Epoch, ...] = ()
    steps: int = 0
    steps_per_epoch: int = 0
    counts: tuple[Conversions, ...] = ()
    accumulators: tuple[Accumulators, ...] = ()
    counted_events: Mapping[str, Events] | None = field(
        default=None, metadata=_NEWER
    )  #: by phase: GEMMs, conversions, update
    events: Mapping[str, Events] = field(default_factory=dict)  #: by phase, all of them
    energy: Energy | None = None  #: None where no step was begun
    step: StepTime | None = None  #: likewise
    accelerator: Mapping[str, Any] | None = field(
        default=None, metadata=_NEWER
    )  #: the machine simulated
    overflow_rule: str = ""
    node: str = ""
    price_sources: tuple[str, ...] | None = field(default=None, metadata=_NEWER)
    prices: str | None = field(default=None, metadata=_NEWER)  #: digest of the price table
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    threads: Mapping[str, int] = field(default_factory=dict)
    machine: Host | None = None  #: the one that ran it
    time: str = ""  #: UTC
    seconds: float = 0.0
    undefined_directions: int | None = field(default=None, metadata=_NEWER)  #: Madam's 0/0

    @classmethod
    def from_json(cls, values: object) -> "Record":
        """Return the record of a file's JSON value.

        Numbers are finite, counts not negative; a run that ended well has an accuracy, one that
        took steps has their energy and time. Unknown keys are left alone. Anything else raises
        ValueError: the file is damaged.
        """
        if not isinstance(values, dict):
            raise ValueError(f"record must hold keys and values, got {values!r}"[:200])
        if values.get("status") == "failed":
            return cls(**_read_fields("record", cls, values, _FAILED))
        record = cls(**_read_fields("record", cls, values))
        if record.machine is None:
            raise ValueError("record.machine must be what ran it, got None")
        if record.status not in FINISHED:
            raise ValueError(f"status must be ok, diverged or failed, got {record.status!r}"[:200])
        if (record.test_accuracy is not None) != (record.status == "ok"):
            raise ValueError(f"test_accuracy must be there for status ok, got {record.status}")
        if record.steps and (record.energy is None or record.step is None):
            raise ValueError(f"energy and step must be there, got none for {record.steps} steps")
        return record

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that `from_json` reads."""
        values: dict[str, Any] = _plain(self)
        return {name: values[name] for name in _FAILED} if self.status == "failed" else values

    @property
    def failed(self) -> bool:
        """Whether it could not be finished and will be tried again."""
        return self.status == "failed"


def failed_record(config: RunConfig, reason: str) -> Record:
    """Return the record of a run that could not be finished."""
    return Record(
        id=config.run_id,
        label=config.label,
        config=config.as_dict(),
        status="failed",
        reason=reason,
        test_accuracy=None,
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read_fields(
    name: str, kind: Any, values: Mapping[str, Any], only: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The fields of a dataclass, or `only` some, each of its type; a newer one may be absent."""
    found = {}
    for each in fields(kind):
        wanted = not only or each.name in only
        if wanted and (each.name in values or not each.metadata.get("newer")):
            if each.name not in values:
                raise ValueError(f"{name} must have {each.name}, got none")
            hint = _hints(kind)[each.name]
            found[each.name] = _read(f"{name}.{each.name}", hint, values[each.name])
    return found


def _read(name: str, hint: Any, value: Any) -> Any:
    """A JSON value as the type `hint` says; ValueError where it is none such."""
    if isinstance(hint, UnionType):  # with None
        return None if value is None else _read(name, get_args(hint)[0], value)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return hint(**_read_fields(name, hint, value))
    if origin is tuple and isinstance(value, list):
        return tuple(_read(name, arguments[0], each) for each in value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _read(f"{name}.{key}", arguments[1], each) for key, each in value.items()}
    if hint == Events and isinstance(value, list):
        return _read_events(name, value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = (whole or isinstance(value, float)) and abs(value) < _BIG and math.isfinite(value)
    if (hint is str and isinstance(value, str)) or (hint is int and whole and value >= 0):
        return value
    if hint is float and number:
        return value
    raise ValueError(
        f"{name} must be of type {getattr(hint, '__name__', hint)}, got {value!r}"[:200]
    )


def _read_events(name: str, rows: list[Any]) -> Events:
    """Rows [kind, bits, detail, count], each event once."""
    events: Events = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError(f"{name} must hold [kind, bits, detail, count], got {row!r}"[:200])
        kind, bits, detail, count = map(_read, [name] * 4, (str, int, str, int), row)
        events[Event(kind, bits, detail)] = count
    if len(events) != len(rows):
        raise ValueError(f"{name} must hold an event once, got {len(rows) - len(events)} again")
    return events


def _plain(value: Any) -> Any:
    """The JSON value of a record or a part of one."""
    if is_dataclass(value):
        parts = {each.name: (each, getattr(value, each.name)) for each in fields(value)}
        return {
            name: {phase: event_rows(events) for phase, events in part.items()}
            if name in _EVENTS
            else _plain(part)
            for name, (each, part) in parts.items()
            if not (part is None and each.metadata.get("newer"))
        }
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
