"""Accelergy's energy reference table (ERT): ours written as one, and rows read back from one.

An ERT names components and actions: `lnsim.<kind>.<bits>.<detail>`, one action `access`, pJ.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ..events.event import Event
from .kinds import KINDS
from .rows import PriceRow, read_row, unique
from .table import PriceTable

_ERT_VERSION = "0.4"
_PREFIX = "lnsim"


def ert_text(events: Iterable[Event], table: PriceTable) -> str:
    """Return an Accelergy ERT (YAML, version 0.4) of the mid prices of `events`, in pJ."""
    tables = []
    for event in sorted(set(events)):
        energy = table.value(table.weights(event)).mid
        action = {"name": "access", "arguments": {}, "energy": float(f"{energy:.9g}")}
        tables.append({"name": _component(event), "actions": [action]})
    text: str = yaml.safe_dump(
        {"ERT": {"version": _ERT_VERSION, "tables": tables}}, sort_keys=False
    )
    return text


def _component(event: Event) -> str:
    return ".".join((_PREFIX, event.kind, str(event.bits), event.detail or "-"))


def read_ert(values: Mapping[str, Any], name: str, base: PriceTable) -> list[PriceRow]:
    """Return the rows of a parsed ERT whose components are named as `ert_text` names them.

    An ERT has one number per action: low, mid and high are the same. Components of other names are
    refused, since nothing here would use them. Raises ValueError naming the file and the component.
    """
    tables = values["ERT"].get("tables") if isinstance(values["ERT"], Mapping) else None
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{name}: ERT must hold a list `tables`, got none")
    return unique([_ert_row(entry, name, base) for entry in tables], name)


def _ert_row(entry: Any, name: str, base: PriceTable) -> PriceRow:
    component = entry.get("name") if isinstance(entry, Mapping) else None
    words = component.split(".", 3) if isinstance(component, str) else []
    known = len(words) == 4 and words[0] == _PREFIX and words[1] in KINDS
    if not known or not re.fullmatch("[0-9]{1,9}", words[2]):
        raise ValueError(
            f"{name}: component must be named {_PREFIX}.<kind>.<bits>.<detail> with a kind of the "
            f"price table, got {component!r}"
        )
    actions = entry.get("actions")
    listed = actions if isinstance(actions, list) else []
    energies = [a.get("energy") for a in listed if isinstance(a, Mapping)]
    if len(energies) != 1:
        raise ValueError(f"{name}: {component} must have one action, got {len(energies)}")
    kind, bits, detail = words[1], words[2], "" if words[3] == "-" else words[3]
    try:
        return read_row(
            {
                "kind": kind,
                "bits": bits,
                "detail": detail,
                **{f"{end}_pj": str(energies[0]) for end in ("low", "mid", "high")},
                "unit": KINDS[kind].unit,
                "node": base.node,
                "source": f"Accelergy ERT {name}",
                "confidence": "unconfirmed",
            }
        )
    except ValueError as error:
        raise ValueError(f"{name}: {component}: {error}") from error
