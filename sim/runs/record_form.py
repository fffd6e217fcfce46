"""The form of a run's record, so that a file that was damaged is run again and not half read."""

import math
from typing import Any

Form = Any  # a type, a tuple of forms (any of them), [form] (a list) or {key: form}; str: any key


class _Number:
    """A finite number that is no bool."""


_TEXT_OR_NONE = (str, None)
_INTERVAL = {"low": _Number, "mid": _Number, "high": _Number}
_EVENT_FIELDS = (str, int, str, int)  # kind, bits, detail, count
_FORM: dict[str, Form] = {
    "id": str,
    "label": str,
    "config": {str: object},
    "status": str,
    "reason": _TEXT_OR_NONE,
    "test_accuracy": (_Number, None),
    "history": [
        {
            "epoch": int,
            "train_loss": _Number,
            "test_loss": (_Number, None),
            "test_accuracy": _Number,
        }
    ],
    "steps": int,
    "steps_per_epoch": int,
    "counts": [{"layer": str, "role": str, "elements": int, "saturated": int, "underflowed": int}],
    "accumulators": [{"layer": str, "phase": str, "outputs": int, "overflowed": int}],
    "events": {str: [list]},
    "energy": (
        {"per_step_pj": _INTERVAL, "per_epoch_pj": _INTERVAL, "by_group": {str: _INTERVAL}},
        None,
    ),
    "step": (
        {
            "overlapped_seconds": _Number,
            "sequential_seconds": _Number,
            "multiplications": {str: int},
        },
        None,
    ),
    "overflow_rule": str,
    "node": str,
    "versions": {str: str},
    "commit": _TEXT_OR_NONE,
    "threads": {str: int},
    "machine": {str: object, "processor": str, "cores": (int, None), "system": str},
    "time": str,
    "seconds": _Number,
}


def is_record(record: object) -> bool:
    """Whether a JSON value has every field of a finished run's record, with values of its kind.

    More fields than those are left alone; numbers are finite, counts are not negative, a run that
    ended well has an accuracy, and one that took steps has their energy and time.
    """
    if not isinstance(record, dict) or not _fits(record, _FORM):
        return False
    rows = [row for phase in record["events"].values() for row in phase]
    if not all(
        len(row) == len(_EVENT_FIELDS)
        and all(map(_fits, row, _EVENT_FIELDS))
        and row[1] >= 0
        and row[3] >= 0
        for row in rows
    ):
        return False
    well = record["status"] == "ok"
    priced = record["energy"] is not None and record["step"] is not None
    return (record["test_accuracy"] is not None) == well and (priced or not record["steps"])


def _fits(value: Any, form: Form) -> bool:
    if isinstance(form, tuple):
        return any(_fits(value, each) for each in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(each, form[0]) for each in value)
    if isinstance(form, dict):
        return isinstance(value, dict) and _has_fields(value, form)
    if form is None:
        return value is None
    if form is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if form is _Number:
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        return whole and abs(value) < 1e300 and math.isfinite(value)
    return isinstance(value, form)


def _has_fields(value: dict[str, Any], form: dict[Any, Form]) -> bool:
    named = {key: each for key, each in form.items() if isinstance(key, str)}
    if not all(key in value and _fits(value[key], each) for key, each in named.items()):
        return False
    rest = form.get(str)
    return rest is None or all(_fits(each, rest) for k, each in value.items() if k not in named)
