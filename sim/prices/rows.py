"""Rows of price tables from text, each checked: `<column> must be <rule>, got <value>`."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping

from ...lns.checks import require_choice
from ..machine.machine import DRAM_KINDS
from .table import COLUMNS, CONFIDENCES, KINDS, PER_BIT, Interval, PriceRow

MOST_PJ = 1e12  # a joule; no sum of prices leaves a float64


def read_rows(text: str, name: str) -> list[PriceRow]:
    """Return the rows of a price table's CSV text; `name` is the file named in an error."""
    reader = csv.DictReader(io.StringIO(text))
    try:
        return _rows(reader, name)
    except csv.Error as error:
        raise ValueError(f"{name} must be CSV, got {error}") from error


def _rows(reader: "csv.DictReader[str]", name: str) -> list[PriceRow]:
    lacking = [column for column in COLUMNS[:-1] if column not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(f"{name} must have the columns {', '.join(COLUMNS)}, got no {lacking[0]}")
    rows = []
    for record in reader:
        try:
            rows.append(read_row(record))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}, line {reader.line_num}: {error}") from error
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
    unit = "pJ/bit" if texts["kind"] in PER_BIT else "pJ/operation"
    require_choice("unit", texts["unit"], (unit,))
    _check_detail(texts["kind"], texts["bits"], texts["detail"])
    low, mid, high = (_number(column, texts[column]) for column in ("low_pj", "mid_pj", "high_pj"))
    if not (0 <= low <= mid <= high and math.isfinite(high)):
        raise ValueError(f"prices must be 0 <= low <= mid <= high, got {low}, {mid}, {high}")
    if high > MOST_PJ:
        raise ValueError(f"high_pj must be at most {MOST_PJ:g}, got {high}")
    return PriceRow(
        kind=texts["kind"],
        bits=int(texts["bits"] or 0),
        detail=texts["detail"],
        price=Interval(low, mid, high),
        unit=texts["unit"],
        node=texts["node"],
        source=texts["source"],
        confidence=texts["confidence"],
        note=texts["note"],
    )


def _number(column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{column} must be a number, got {text!r}") from None


_N = "[1-9][0-9]{0,5}"
_PAIR = f"{_N}x{_N}"
_BYTES = "[1-9][0-9]{0,14}B"
_DRAM = f"({'|'.join(DRAM_KINDS)})( [0-9.e+-]+)?"  # with a machine's own price behind it
_PAPER = {"lns8": "8", "fp8": "8", "fp16": "16", "fp32": "32"}  # of LNS-Madam: see mac_prices
# What an event of a kind, or the base row of its rule, has as detail; nothing for all the others.
_DETAILS = {
    "int_multiply": _PAIR,
    "significand_multiply": _PAIR,
    "constant_multiply": _PAIR,
    "bin_select": _PAIR,
    "register_select": _PAIR,
    "larger_select": _PAIR,
    "antilog_lookup": _PAIR,
    "gauss_lookup": _PAIR,
    "float_multiply": f"{_PAIR}e{_N}",
    "float_add": ".*",  # the format's name; its rule asks for the bits alone
    "encode": f"gamma={_N}|float|int",
    "float_div_sqrt": "divide|sqrt",
    "sram_read_bits": _BYTES,
    "sram_write_bits": _BYTES,
    "dram_read_bits": _DRAM,
    "dram_write_bits": _DRAM,
    "wire_bits": "1mm",
    "mac": "|".join(_PAPER),
}
_NO_WIDTH = tuple(kind for kind in PER_BIT if not kind.startswith("sram_"))
# The bits of these follow from the detail, and no rule looks for them by anything else.
_BITS: dict[str, Callable[[str], str]] = {
    "bin_select": lambda detail: detail.partition("x")[2],
    "register_select": lambda detail: detail.partition("x")[2],
    "larger_select": lambda detail: detail.partition("x")[2],
    "gauss_lookup": lambda detail: detail.partition("x")[2],
    "significand_multiply": lambda detail: max(detail.split("x"), key=int),
    "constant_multiply": lambda detail: detail.partition("x")[0],
    "mac": lambda detail: _PAPER[detail],
}


def _check_detail(kind: str, bits: str, detail: str) -> None:
    """Refuse a row that no event and no rule could ever find."""
    if bits and not re.fullmatch("[0-9]{1,9}", bits):
        raise ValueError(f"bits must be a whole number or empty, got {bits!r}")
    if kind not in _DETAILS and detail:
        raise ValueError(f"detail of {kind} must be left out, got {detail!r}")
    if kind in _DETAILS and not re.fullmatch(_DETAILS[kind], detail):
        raise ValueError(f"detail of {kind} must look like {_DETAILS[kind]}, got {detail!r}")
    width = int(bits or 0)
    if kind in _NO_WIDTH:
        if width:
            raise ValueError(f"bits of {kind} must be left out, got {width}")
    elif not width:
        word = "the width of a word" if kind.startswith("sram_") else "a width above 0"
        raise ValueError(f"bits of {kind} must be {word}, got {bits or 0}")
    if kind in _BITS and width != int(_BITS[kind](detail)):
        raise ValueError(f"bits of {kind} must be {_BITS[kind](detail)}, got {width}")
