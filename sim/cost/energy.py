"""A step's events in picojoules: by phase, component and unit, and how two formats compare."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...lns.checks import require_kind
from ..prices.interval import ZERO, Interval, ranking
from ..prices.table import PriceTable, difference, price
from .components import COMPONENTS, Part
from .mac_source import get_mac_source
from .step import StepCost

CANNOT = "cannot be ranked"


@dataclass(frozen=True, eq=False)
class StepEnergy:
    """Energy and time of a step."""

    cost: StepCost
    parts: Mapping[Part, Interval]  #: (phase, component) -> pJ
    prices: PriceTable  #: what the parts were priced from

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.cost.recipe.name

    @property
    def total(self) -> Interval:
        """Of the whole step, pJ."""
        return sum(self.parts.values(), ZERO)

    @property
    def on_chip(self) -> Interval:
        """Without DRAM, pJ."""
        return sum((part for (_, name), part in self.parts.items() if name != "dram"), ZERO)

    def of_component(self, *names: str) -> Interval:
        """Of some components over all phases, pJ."""
        return sum((part for (_, name), part in self.parts.items() if name in names), ZERO)

    def of_phase(self, phase: str) -> Interval:
        """Of a phase over all components, pJ."""
        return sum((part for (name, _), part in self.parts.items() if name == phase), ZERO)

    @property
    def mac_fj(self) -> Interval:
        """fJ of the array per multiply-accumulate."""
        return self.of_component("array").scaled(1000.0 / self.cost.workload.macs)

    @property
    def seconds(self) -> tuple[float, float]:
        """Time of a step: vector unit beside the array, and after it."""
        return self.cost.seconds

    @property
    def utilisation(self) -> float:
        """Share of the array's products in the cycles its GEMMs take, memories included."""
        limited = sum(layer.limited_cycles for layer in self.cost.layers)
        return self.cost.workload.macs / (self.cost.machine.macs_per_cycle * limited)

    @property
    def array_multiplications(self) -> int:
        """Multiplications in the array; 0 is what "multiply-free" means."""
        return self.cost.unit_multiplications["array"]

    @property
    def vector_multiplications(self) -> int:
        """Multiplications of the vector unit."""
        return self.cost.unit_multiplications["vector unit"]

    def as_dict(self) -> dict[str, Any]:
        """Return every figure as JSON values; energies in pJ."""
        cost = self.cost
        return {
            "format": self.name,
            "mac_prices": cost.mac_prices,
            "total_pj": self.total.as_dict(),
            "on_chip_pj": self.on_chip.as_dict(),
            "mac_fj": self.mac_fj.as_dict(),
            "parts": [
                {"phase": phase, "component": component, **self.parts[phase, component].columns()}
                for phase in cost.cycles
                for component in COMPONENTS
                if (phase, component) in self.parts
            ],
            "cycles": {phase: asdict(cycles) for phase, cycles in cost.cycles.items()},
            "seconds_overlapped": self.seconds[0],
            "seconds_sequential": self.seconds[1],
            "utilisation": self.utilisation,
            "multiplications": [
                {"phase": phase, "unit": unit, "cause": cause, "count": count}
                for (phase, unit), causes in cost.multiplications.items()
                for cause, count in sorted(causes.items())
            ],
            "events": {
                phase: [
                    {"component": component, **asdict(event), "count": count}
                    for component in COMPONENTS
                    for event, count in sorted(cost.parts.get((phase, component), {}).items())
                ]
                for phase in cost.cycles
            },
        }


def price_step(cost: StepCost, table: PriceTable) -> StepEnergy:
    """Return the energy of a step; an event without a price raises ValueError naming it."""
    require_kind("cost", cost, StepCost)
    require_kind("table", table, PriceTable)
    parts = {key: price(events, table).total for key, events in cost.parts.items()}
    return StepEnergy(cost, parts, table)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One format against another, both from one table."""

    name: str
    other: str
    ratio: Interval  #: of totals, other / this: mid of mids; low and high: outermost
    by_intervals: str  #: "lower", "higher" or "cannot be ranked", the totals taken as independent
    optimisers: tuple[str, str]
    by_shared_prices: str  #: the same, with one price on both sides for a row that both use

    def text(self) -> str:
        """Return a sentence for people."""
        words = f"{self.other} takes {self.ratio.mid:.2f} times the energy of {self.name}"
        if self.optimisers[0] != self.optimisers[1]:
            words += f", with {self.optimisers[1]} instead of {self.optimisers[0]}"
        spread = f"({self.ratio.low:.2f} to {self.ratio.high:.2f} from the intervals)"
        if self.by_intervals != CANNOT:
            return f"{words} {spread}"
        if self.by_shared_prices == CANNOT:
            return f"{words} {spread}: the two cannot be ranked"
        return (
            f"{words} {spread}: the intervals overlap, so by themselves they cannot be ranked; "
            f"with one price for what both use, {self.name} is {self.by_shared_prices}"
        )


def compare(this: StepEnergy, other: StepEnergy, table: PriceTable) -> Comparison:
    """Return how `other` compares with `this`; the table is the one both are priced from."""
    for name, energy in (("this", this), ("other", other)):
        require_kind(name, energy, StepEnergy)
    require_kind("table", table, PriceTable)
    a, b = this.total, other.total
    gap = difference(this.cost.events(), other.cost.events(), table)
    return Comparison(
        name=this.name,
        other=other.name,
        ratio=Interval(b.low / a.high, b.mid / a.mid, b.high / a.low),
        optimisers=(this.cost.recipe.optimiser, other.cost.recipe.optimiser),
        by_intervals=ranking(a, b),
        by_shared_prices=ranking(gap, ZERO),
    )


def price_notes(cost: StepCost, table: PriceTable) -> list[str]:
    """Return what a reader must know of the prices used: nodes, whole-PE constants, intervals."""
    notes = [f"prices: {table.node}; DRAM: {cost.machine.dram.price_name}"]
    source = get_mac_source(cost.mac_prices)
    if source.covers_buffers:
        notes.append(
            f"array: {source.description}; it stands beside memories at {table.node}, and the "
            "machine's buffers are taken to be inside it"
        )
    if cost.machine.unconfirmed:
        notes.append(f"unconfirmed parameters: {', '.join(cost.machine.unconfirmed)}")
    if cost.machine.vector.scale == "delayed":
        notes.append("scales are delayed: training on lnsim finds them first, with other values")
    if cost.workload.uncounted:
        notes.append(f"arithmetic not counted: {', '.join(cost.workload.uncounted)}")
    return notes
