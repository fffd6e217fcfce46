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
from .interval import ZERO, Interval, ranking
from .kinds import GROUPS, Key, Rows, Weights, add_weights, group_of, kind_of, position
from .rows import PriceRow, read_rows
from .sram import sram_rows

DEFAULT_TABLE = ASSETS / "prices.csv"
Count = int | float | Fraction


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Rows by (kind, bits, detail).

    Raises ValueError where rows are of different nodes, DRAM and whole MACs aside.
    """

    rows: Mapping[Key, PriceRow]
    _by_kind: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nodes = sorted({row.node for row in self.rows.values() if kind_of(row.kind).node})
        if len(nodes) != 1:
            raise ValueError(f"node must be the same in every row, got {', '.join(nodes)}")
        by_kind: dict[str, list[tuple[float, Key]]] = {}
        for row in self.rows.values():
            by_kind.setdefault(row.kind, []).append((position(row.key), row.key))
        object.__setattr__(self, "_by_kind", {k: sorted(v) for k, v in by_kind.items()})

    @classmethod
    def default(cls) -> "PriceTable":
        """Return the table that is shipped."""
        return _default_table()

    @property
    def node(self) -> str:
        """Technology and supply of every row."""
        return next(row.node for row in self.rows.values() if kind_of(row.kind).node)

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
        rule = kind_of(event.kind).rule
        if rule is None:
            raise ValueError(f"prices must have a row for {event}, got none")
        try:
            return rule.weights(event, self._by_kind)
        except KeyError as error:
            raise ValueError(
                f"prices must have rows of kind {error.args[0]} for {event}, got none"
            ) from error

    def used(self, events: Iterable[Event]) -> set[Key]:
        """Return the keys of the rows that price the events."""
        return {key for event in events for key in self.weights(event)}

    def value(self, weights: Mapping[Key, float]) -> Interval:
        """Return the interval of a weighted sum of rows; a negative weight swaps low and high."""
        low = mid = high = 0.0
        for key, weight in sorted(weights.items()):
            price = self.rows[key].price
            ends = (price.low, price.high) if weight >= 0 else (price.high, price.low)
            low += weight * ends[0]
            mid += weight * price.mid
            high += weight * ends[1]
        return Interval(low, mid, high)


@lru_cache(maxsize=1)
def _default_table() -> PriceTable:
    text = DEFAULT_TABLE.read_text(encoding="utf-8")
    rows = [*read_rows(text, DEFAULT_TABLE.name), *sram_rows("45", "45 nm 0.9 V")]
    return PriceTable({row.key: row for row in rows})


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """pJ of a set of events; the parts add up to the total."""

    total: Interval
    by_kind: dict[str, Interval]
    by_group: dict[str, Interval]  #: over GROUPS


def price(events: Mapping[Event, Count], table: PriceTable) -> EnergyReport:
    """Return the energy of `events`; one without a price raises ValueError naming it."""
    by_kind: dict[str, Interval] = {}
    by_group = dict.fromkeys(GROUPS, ZERO)
    for event, count in sorted(events.items()):
        energy = table.value(table.weights(event)).scaled(float(count))
        by_kind[event.kind] = by_kind.get(event.kind, ZERO) + energy
        group = group_of(event.kind)
        by_group[group] = by_group[group] + energy
    return EnergyReport(sum(by_kind.values(), ZERO), by_kind, by_group)


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


def rank_events(a: Mapping[Event, Count], b: Mapping[Event, Count], table: PriceTable) -> str:
    """Return `ranking` of a against b with shared prices: by the sign of `difference`."""
    return ranking(difference(a, b, table), ZERO)
