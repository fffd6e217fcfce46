"""Price tables from files: a user's rows (CSV, YAML), an Accelergy ERT, a neighbouring node.

CSV and YAML rows have the columns of assets/prices.csv and take the place of the shipped rows of
the same kind, bits and detail. YAML:

    base: default            # or none: only the rows of this file; or 22 nm, 16 nm, 7 nm: the
                             # shipped memories of that node under the logic of this file
    prices:
      - {kind: int_add, bits: 8, low_pj: 0.006, mid_pj: 0.007, high_pj: 0.008, unit: pJ/operation,
         node: 7 nm, source: "Jouppi et al., ISCA 2021, table 2", confidence: confirmed}

An ERT is read as accelergy.py writes it. Another kind of file is one more reader in READERS.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...lns.checks import require_choice
from ..files.structured import read_text, read_values
from ..machine.machine import Machine
from .accelergy import read_ert
from .interval import Interval
from .kinds import kind_of
from .rows import COLUMNS, PriceRow, read_row, read_rows, unique
from .sram import NODES, sram_rows
from .table import PriceTable

_MEMORY_NODES = {f"{nm} nm": nm for nm in NODES if nm != "45"}
BASES = ("default", "none", *_MEMORY_NODES)
# Stillmaker and Baas, Integration 58 (2017): energy at supply V is a V^2 + b V + c, as tabulated in
# hwcomponents (MIT). Factor from node x to y: the ratio of the two.
_STILLMAKER = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
_OWN_NODE, _OWN_SUPPLY = 45, 0.9  # of assets/prices.csv


def load_prices(path: Path, node: str = "45 nm") -> PriceTable:
    """Return the table of a file laid over the shipped one of `node`, by one of READERS.

    .csv: rows; .yaml, .yml: rows under `prices`, or an ERT under `ERT`. A missing column, an
    unknown kind, an empty unit, node or source, numbers out of order or not finite raise ValueError
    naming the file and the row.
    """
    if path.suffix not in READERS:
        *most, last = READERS
        known = f"{', '.join(most)} or {last}"
        raise ValueError(f"prices must be a {known} file, got {path.name}")
    try:
        return READERS[path.suffix](path, node)
    except ValueError as error:
        named = str(error) if path.name in str(error) else f"{path}: {error}"
        raise ValueError(named) from error


def _read_csv(path: Path, node: str) -> PriceTable:
    return laid_over(table_of_node(node), read_rows(read_text(path, f"{path}:"), str(path)))


def _read_yaml(path: Path, node: str) -> PriceTable:
    values = read_values(path, f"{path}: prices")
    if isinstance(values, Mapping) and "ERT" in values:
        table = table_of_node(node)
        return laid_over(table, read_ert(values, str(path), table))
    if not isinstance(values, Mapping) or not isinstance(values.get("prices"), list):
        raise ValueError(f"{path} must hold a list `prices` or a table `ERT`, got neither")
    for key in values:
        require_choice(f"{path}: key", key, ("base", "prices"))
    base = require_choice(f"{path}: base", values.get("base", "default"), BASES)
    rows = [_yaml_row(row, f"{path}, row {i}") for i, row in enumerate(values["prices"], start=1)]
    unique(rows, str(path))
    if base != "default":
        memory = _memories(base, rows) if base in _MEMORY_NODES else []
        return PriceTable({row.key: row for row in [*memory, *rows]})
    return laid_over(table_of_node(node), rows)


#: suffix of a file -> (path, node of the shipped table) -> the table
READERS: dict[str, Callable[[Path, str], PriceTable]] = {
    ".csv": _read_csv,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}


def _memories(node: str, rows: Sequence[PriceRow]) -> list[PriceRow]:
    """The shipped SRAM rows of a node, under the name the file's rows give it, and every DRAM."""
    names = [row.node for row in rows if kind_of(row.kind).node]
    dram = [row for row in PriceTable.default().rows.values() if kind_of(row.kind).group == "dram"]
    return [*sram_rows(_MEMORY_NODES[node], names[0] if names else node), *dram]


def laid_over(table: PriceTable, rows: Iterable[PriceRow]) -> PriceTable:
    """Return the table with rows in place of its own; rows may name its node without the supply."""
    short = table.node.partition(" 0.9 V")[0]
    fitted = [replace(row, node=table.node) if row.node == short else row for row in rows]
    return PriceTable(dict(table.rows) | {row.key: row for row in fitted})


def _yaml_row(values: Any, where: str) -> PriceRow:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: a row must hold keys and values, got {values!r}")
    try:
        for key in values:
            require_choice("key", key, COLUMNS)
        return read_row({key: None if v is None else str(v) for key, v in values.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def table_of_node(node: str) -> PriceTable:
    """Return the shipped table of `45 nm`, or scaled to a neighbour, `32 nm` or `65 nm`.

    Scaling follows Stillmaker and Baas (Integration 58, 2017) at the same supply. Further than to a
    neighbour it is refused: it puts 7 nm three to eight times below what was published for it. A
    scaled row says so, is "derived", and its interval reaches from the scaled low to the unscaled
    high (from the unscaled low to the scaled high on the way up).
    """
    table = PriceTable.default()
    if node in (f"{_OWN_NODE} nm", table.node):
        return table
    names = sorted(_STILLMAKER, reverse=True)
    at = names.index(_OWN_NODE)
    near = {f"{nm} nm": nm for nm in (names[at - 1], names[at + 1])}
    if node not in near:
        known = ", ".join(sorted([f"{_OWN_NODE} nm", *near]))
        raise ValueError(
            f"node must be one of {known}, got {node!r}: prices are not scaled further than to a "
            "neighbouring node; give a table of your own for others"
        )
    factor = _energy(near[node]) / _energy(_OWN_NODE)
    return PriceTable({row.key: _scaled(row, factor, node) for row in table.rows.values()})


def with_dram(table: PriceTable, machine: Machine) -> PriceTable:
    """Return the table with a row for the machine's own price of its DRAM, if it has one."""
    price = machine.dram.pj_per_bit
    if price is None:
        return table
    rows = [
        PriceRow(
            kind, 0, machine.dram.price_name, Interval(price, price, price), "pJ/bit", "DRAM",
            f"machine {machine.name}: {machine.source or 'no source given'}", "unconfirmed",
            "the machine's own price, without an interval",
        )
        for kind in ("dram_read_bits", "dram_write_bits")
    ]  # fmt: skip
    return PriceTable(dict(table.rows) | {row.key: row for row in rows})


def machine_prices(machine: Machine, path: Path | None = None) -> PriceTable:
    """Return the prices of the machine's node and DRAM, a file's rows laid over them."""
    table = table_of_node(machine.node) if path is None else load_prices(path, machine.node)
    return with_dram(table, machine)


def _energy(nm: int) -> float:
    a, b, c = _STILLMAKER[nm]
    return a * _OWN_SUPPLY**2 + b * _OWN_SUPPLY + c


def _scaled(row: PriceRow, factor: float, node: str) -> PriceRow:
    if not kind_of(row.kind).node:
        return row
    low, mid, high = row.price.low, row.price.mid, row.price.high
    price = Interval(low * min(factor, 1.0), mid * factor, high * max(factor, 1.0))
    return replace(
        row,
        price=price,
        node=f"{node} 0.9 V, scaled from {_OWN_NODE} nm",
        source=f"{row.source}; scaled by {factor:.3f}, Stillmaker and Baas 2017",
        confidence="derived",
    )
