"""Picojoules of counted events, always as an interval, from a table whose rows name their source.

The default table is one node, 45 nm at 0.9 V, because Horowitz (ISSCC 2014, fig. 1.1.9) is the
best confirmed set of prices. low and high bound each row; mid is the published or derived value.
The interval of a total takes every row at its low, or every row at its high, at once: an outer
bound, not a standard deviation. Two totals share their rows, so overlapping intervals do not mean
that two configurations cannot be told apart: compare them with `difference`, in which a shared row
has one price on both sides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256

from ..events.event import Event
from ..files.assets import ASSETS
from .kinds import RULES, Key, Rows, Weights, add_weights

DEFAULT_TABLE = ASSETS / "prices.csv"
CONFIDENCES = ("confirmed", "derived", "unconfirmed")
_ANY_NODE = ("mac", "dram_read_bits", "dram_write_bits")  # their rows say where they are from
PER_BIT = (
    "wire_bits",
    "sram_read_bits",
    "sram_write_bits",
    "dram_read_bits",
    "dram_write_bits",
    "register_bits",
    "mux_bits",
    "float_overhead",
)
KINDS = frozenset((*RULES, *PER_BIT, "int_add", "mac"))
COLUMNS = (
    "kind",
    "bits",
    "detail",
    "low_pj",
    "mid_pj",
    "high_pj",
    "unit",
    "node",
    "source",
    "confidence",
    "note",
)
Count = int | float | Fraction
#: what by_group adds up
GROUPS = ("arithmetic", "registers", "conversion", "vector", "buffer", "wires", "dram")


@dataclass(frozen=True, slots=True)
class Interval:
    """low <= mid <= high, in pJ."""

    low: float
    mid: float
    high: float

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def scaled(self, factor: float) -> "Interval":
        """Return the interval times a number >= 0."""
        return Interval(self.low * factor, self.mid * factor, self.high * factor)

    def as_dict(self) -> dict[str, float]:
        """Return {"low", "mid", "high"}."""
        return {"low": self.low, "mid": self.mid, "high": self.high}


ZERO = Interval(0.0, 0.0, 0.0)


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


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Rows by (kind, bits, detail).

    Raises ValueError where rows are of different nodes, DRAM and whole MACs aside.
    """

    rows: Mapping[Key, PriceRow]
    _by_kind: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nodes = sorted({row.node for row in self.rows.values() if row.kind not in _ANY_NODE})
        if len(nodes) != 1:
            raise ValueError(f"node must be the same in every row, got {', '.join(nodes)}")
        by_kind: dict[str, list[tuple[float, Key]]] = {}
        for row in self.rows.values():
            by_kind.setdefault(row.kind, []).append((_width(row), row.key))
        object.__setattr__(self, "_by_kind", {k: sorted(v) for k, v in by_kind.items()})

    @classmethod
    def default(cls) -> "PriceTable":
        """Return the table that is shipped."""
        return _default_table()

    @property
    def node(self) -> str:
        """Technology and supply of every row."""
        return next(row.node for row in self.rows.values() if row.kind not in _ANY_NODE)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that change with any row."""
        text = repr(sorted((key, repr(row)) for key, row in self.rows.items()))
        return sha256(text.encode()).hexdigest()[:12]

    @property
    def sources(self) -> list[str]:
        """The rows' sources, each once, sorted."""
        return sorted({row.source for row in self.rows.values()})

    def weights(self, event: Event) -> Weights:
        """Return the rows, and how much of each, that price one event.

        Its own row if there is one, else the kind's rule; a kind with neither raises ValueError.
        """
        key = (event.kind, event.bits, event.detail)
        if key in self.rows:
            return {key: 1.0}
        if event.kind not in RULES:
            raise ValueError(f"prices must have a row for {event}, got none")
        try:
            return RULES[event.kind](event, self._by_kind)
        except KeyError as error:
            raise ValueError(
                f"prices must have rows of kind {error.args[0]} for {event}, got none"
            ) from error

    def value(self, weights: Mapping[Key, float]) -> Interval:
        """Return the interval of a weighted sum of rows; a negative weight swaps low and high."""
        low = mid = high = 0.0
        for key, weight in sorted(weights.items()):
            price = self.rows[key].price
            ends = (price.low, price.high) if weight >= 0 else (price.high, price.low)
            low, mid, high = (
                low + weight * ends[0],
                mid + weight * price.mid,
                high + weight * ends[1],
            )
        return Interval(low, mid, high)


@lru_cache(maxsize=1)
def _default_table() -> PriceTable:
    from .rows import read_rows
    from .sram import sram_rows

    text = DEFAULT_TABLE.read_text(encoding="utf-8")
    rows = [*read_rows(text, DEFAULT_TABLE.name), *sram_rows("45", "45 nm 0.9 V")]
    return PriceTable({row.key: row for row in rows})


def _width(row: PriceRow) -> float:
    """Where a row stands on its kind's line: bits, or the product of the widths of a multiplier."""
    if row.kind == "int_multiply":
        first, _, second = row.detail.partition("x")
        return int(first) * int(second)
    return row.bits


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """pJ of a set of events; the parts add up to the total."""

    total: Interval
    by_kind: dict[str, Interval]
    by_group: dict[str, Interval]  #: over GROUPS


def group_of(kind: str) -> str:
    """Return which of GROUPS a kind belongs to; the vector unit's kinds are told by their place."""
    if kind in ("convert", "encode", "requantise", "float_to_int"):
        return "conversion"
    if kind == "register_bits":
        return "registers"
    names = {"sram": "buffer", "dram": "dram", "wire": "wires"}
    return names.get(kind.partition("_")[0], "arithmetic")


def price(events: Mapping[Event, Count], table: PriceTable) -> EnergyReport:
    """Return the energy of `events`; one without a price raises ValueError naming it."""
    by_kind: dict[str, Interval] = {}
    by_group = dict.fromkeys(GROUPS, ZERO)
    for event, count in sorted(events.items()):
        energy = table.value(table.weights(event)).scaled(float(count))
        by_kind[event.kind] = by_kind.get(event.kind, ZERO) + energy
        group = group_of(event.kind)
        by_group[group] = by_group[group] + energy
    return EnergyReport(_total(by_kind.values()), by_kind, by_group)


def _total(parts: Iterable[Interval]) -> Interval:
    return sum(parts, ZERO)


def difference(a: Mapping[Event, Count], b: Mapping[Event, Count], table: PriceTable) -> Interval:
    """Return the interval of energy(a) - energy(b) with each row at one price on both sides.

    Rows vary independently within their intervals; a row that both sides use counts by the
    difference of its weights, so equal parts cancel. low > 0: a is higher whatever the prices.
    """
    weights: Weights = {}
    for events, sign in ((a, 1), (b, -1)):
        for event, count in events.items():
            add_weights(weights, table.weights(event), sign * float(count))
    return table.value(weights)


def ranking(a: Interval, b: Interval) -> str:
    """Return "lower", "higher" (a against b) or, where the intervals overlap, "cannot be ranked".

    Takes the two as independent, the strictest reading; configurations priced from one table are
    better told apart by `rank_events`.
    """
    if a.high < b.low:
        return "lower"
    return "higher" if a.low > b.high else "cannot be ranked"


def rank_events(a: Mapping[Event, Count], b: Mapping[Event, Count], table: PriceTable) -> str:
    """Return `ranking` of a against b with shared prices: by the sign of `difference`."""
    return ranking(difference(a, b, table), ZERO)
