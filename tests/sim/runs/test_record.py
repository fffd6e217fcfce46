"""Records: what is written is read, key by key; damaged files are refused, older ones read."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from lnsim.sim.runs.record import Record, failed_record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.train import train

KEYS = (
    "id", "label", "config", "lr", "status", "reason", "test_accuracy", "history", "steps",
    "steps_per_epoch", "counts", "accumulators", "counted_events", "events", "energy", "step",
    "accelerator", "overflow_rule", "node", "price_sources", "prices", "versions", "commit",
    "threads", "machine", "time", "seconds", "undefined_directions",
)  # fmt: skip
NEWER = {
    "lr", "counted_events", "accelerator", "price_sources", "prices", "undefined_directions",
}  # fmt: skip


@pytest.fixture(scope="module")
def record() -> Record:
    """Of a run of two steps."""
    return train(RunConfig(batch=8, limit_train=16, limit_test=8, epochs=1))


def test_a_record_is_its_file(record: Record) -> None:
    """The keys in their order, and every value, through text and back."""
    values = record.to_json()
    assert tuple(values) == KEYS
    text = json.dumps(values, allow_nan=False)
    again = Record.from_json(json.loads(text))
    assert again == record
    assert json.dumps(again.to_json()) == text
    phases = values["events"]
    assert all(rows == sorted(rows) for rows in phases.values())
    assert {phase: len(rows) for phase, rows in phases.items()} == {
        phase: len(events) for phase, events in record.events.items()
    }


def test_a_record_of_an_earlier_version_reads(record: Record) -> None:
    """Fields that came later are None and are not written; unknown ones are left alone."""
    values = {name: value for name, value in record.to_json().items() if name not in NEWER}
    values["energy"].pop("on_chip_per_step_pj")
    old = Record.from_json(json.loads(json.dumps(values)) | {"later": 1})
    assert [getattr(old, name) for name in sorted(NEWER)] == [None] * len(NEWER)
    assert old.to_json() == values


def test_a_failed_record_is_six_fields() -> None:
    """A run that could not be finished has no numbers."""
    failed = failed_record(RunConfig(), "died")
    assert tuple(failed.to_json()) == (
        "id", "label", "config", "status", "reason", "test_accuracy",
    )  # fmt: skip
    assert Record.from_json(json.loads(json.dumps(failed.to_json()))) == failed


DAMAGES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("must have steps", lambda r: r.pop("steps")),
    ("record.steps must be of type int", lambda r: r.update(steps=-1)),
    ("record.steps must be of type int", lambda r: r.update(steps=True)),
    ("record.seconds must be of type float", lambda r: r.update(seconds=float("nan"))),
    ("record.seconds must be of type float", lambda r: r.update(seconds=10**400)),
    ("record.label must be of type str", lambda r: r.update(label=None)),
    ("must have mid", lambda r: r["energy"]["per_step_pj"].pop("mid")),
    ("by_group.dram must have mid", lambda r: r["energy"]["by_group"].update(dram={"low": 1})),
    ("record.history must be of type", lambda r: r.update(history={})),
    ("must have train_loss", lambda r: r["history"][0].pop("train_loss")),
    (r"must hold \[kind, bits", lambda r: r["events"]["forward"][0].pop()),
    ("must hold an event once", lambda r: r["events"].update(dx=r["events"]["dx"] * 2)),
    ("record.events.dw must be of type int", lambda r: r["events"]["dw"].append(["a", 8, "", -1])),
    ("test_accuracy must be there", lambda r: r.update(test_accuracy=None)),
    ("test_accuracy must be there", lambda r: r.update(status="diverged")),
    ("status must be", lambda r: r.update(status="fine")),
    ("energy and step must be there", lambda r: r.update(energy=None)),
    ("energy and step must be there", lambda r: r.update(step=None)),
    ("record.machine must", lambda r: r.update(machine=None)),
]


@pytest.mark.parametrize(("text", "damage"), DAMAGES, ids=[str(i) for i in range(len(DAMAGES))])
def test_a_damaged_record_is_refused(
    record: Record, text: str, damage: Callable[[dict[str, Any]], Any]
) -> None:
    """With the field that is wrong."""
    values = json.loads(json.dumps(record.to_json()))
    Record.from_json(values)
    damage(values)
    with pytest.raises(ValueError, match=text):
        Record.from_json(values)


@pytest.mark.parametrize("value", [None, [], "record", 1])
def test_what_is_no_object_is_no_record(value: object) -> None:
    """The JSON value of another file."""
    with pytest.raises(ValueError, match=r"^record must hold keys and values, got"):
        Record.from_json(value)
