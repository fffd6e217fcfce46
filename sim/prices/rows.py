"""`PriceRow`: one line of a price table, and rows from text, each checked.

An error reads `<column> must be <rule>, got <value>`.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...lns.checks import require_choice
from .interval import Interval
from .kinds import KINDS, Key

CONFIDENCES = ("confirmed", "derived", "unconfirmed")
COLUMNS = (
    "kind", "bits", "detail", "low_pj", "mid_pj", "high_pj", "unit", "node", "source",
    "confidence", "note",
)  # fmt: skip
MOST_PJ = 1e12  # a joule; no sum of prices leaves a float64


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One line of a price table."""

    kind: str
    bits: int
    detail: str
    price: Interval
    unit: str
    node: str
    source: str
    confidence: str
    note: str = ""

    @property
    def key(self) -> Key:
        """What the row is found by."""
        return self.kind, self.bits, self.detail


def read_rows(text: str, name: str) -> list[PriceRow]:
    """Return the rows of a price table's CSV text; `name` is the file named in an error."""
    reader, rows = csv.DictReader(io.StringIO(text)), []
    try:
        lacking = [column for column in COLUMNS[:-1] if column not in (reader.fieldnames or ())]
        if lacking:
            named = ", ".join(COLUMNS)
            raise ValueError(f"{name} must have the columns {named}, got no {lacking[0]}")
        for record in reader:
            try:
                rows.append(read_row(record))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}, line {reader.line_num}: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{name} must be CSV, got {error}") from error
    return unique(rows, name)


def unique(rows: list[PriceRow], name: str) -> list[PriceRow]:
    """Return the rows; ValueError where two have one kind, bits and detail."""
    seen = set()
    for row in rows:
        if row.key in seen:
            raise ValueError(f"{name}: a row must be given once, got {row.key} again")
        seen.add(row.key)
    return rows


def read_row(record: Mapping[str, str | None]) -> PriceRow:
    """Return the row of a record of COLUMNS; what is wrong raises ValueError naming the column."""
    texts = {column: (record.get(column) or "").strip() for column in COLUMNS}
    for column in ("unit", "node", "source"):
        if not texts[column]:
            raise ValueError(f"{column} must be given, got nothing")
    require_choice("kind", texts["kind"], KINDS)
    require_choice("confidence", texts["confidence"], CONFIDENCES)
    require_choice("unit", texts["unit"], (KINDS[texts["kind"]].unit,))
    _check_detail(texts["kind"], texts["bits"], texts["detail"])
    low, mid, high = (_number(column, texts[column]) for column in ("low_pj", "mid_pj", "high_pj"))
    if not (0 <= low <= mid <= high and math.isfinite(high)):
        raise ValueError(f"prices must be 0 <= low <= mid <= high, got {low}, {mid}, {high}")
    if high > MOST_PJ:
        raise ValueError(f"high_pj must be at most {MOST_PJ:g}, got {high}")
    names = ("kind", "detail", "unit", "node", "source", "confidence", "note")
    own = {name: texts[name] for name in names}
    return PriceRow(bits=int(texts["bits"] or 0), price=Interval(low, mid, high), **own)


def _number(column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{column} must be a number, got {text!r}") from None


def _check_detail(name: str, bits: str, detail: str) -> None:
    """Refuse a row that no event and no rule could ever find."""
    kind = KINDS[name]
    if bits and not re.fullmatch("[0-9]{1,9}", bits):
        raise ValueError(f"bits must be a whole number or empty, got {bits!r}")
    if detail and not kind.detail:
        raise ValueError(f"detail of {name} must be left out, got {detail!r}")
    if not re.fullmatch(kind.detail, detail):
        raise ValueError(f"detail of {name} must look like {kind.detail}, got {detail!r}")
    width = int(bits or 0)
    if width and not kind.bits:
        raise ValueError(f"bits of {name} must be left out, got {width}")
    if kind.bits and not width:
        raise ValueError(f"bits of {name} must be {kind.bits}, got {bits or 0}")
    if kind.bits_of and width != int(kind.bits_of(detail)):
        raise ValueError(f"bits of {name} must be {kind.bits_of(detail)}, got {width}")
