"""What a training run costs on its machine: what was counted while it ran, and what was not.

Arithmetic of GEMMs, conversions and update is counted as it runs (tally). Words moved, the rest of
the vector unit's work and the time are those of the same network's step on the machine
(trace.trace_step, step_cost.cost_step), times the steps: shapes alone decide them. One description,
the run's configuration, drives both.
"""

from dataclasses import dataclass
from typing import Any

from ..cost.components import Part, add, in_order
from ..cost.step import StepCost, cost_step
from ..events.event import Events, add_events
from ..prices.table import GROUPS, ZERO, Interval, PriceTable, group_of, price
from ..training.tally import Tally
from ..workload.networks import run_workload as run_workload
from ..workload.workload import Workload
from .run_config import RunConfig

_COUNTED = ("array", "conversion")  # by the tally, in every phase; and the update's arithmetic
_GROUP_OF = {
    "conversion": "conversion",
    "vector unit": "vector",
    "ifmap buffer": "buffer",
    "filter buffer": "buffer",
    "ofmap buffer": "buffer",
    "wires": "wires",
    "dram": "dram",
}


@dataclass(frozen=True, eq=False)
class RunCost:
    """Totals over the steps of a run."""

    step: StepCost
    parts: dict[Part, Events]

    def events(self) -> dict[str, Events]:
        """Return the events by phase."""
        found: dict[str, Events] = {phase: {} for phase in self.step.recipe.rule.phases}
        for (phase, _), events in self.parts.items():
            add_events(found[phase], events)
        return found


def run_cost(config: RunConfig, workload: Workload, tally: Tally, steps: int) -> RunCost:
    """Return the cost of `steps` steps whose arithmetic is in `tally`."""
    step = cost_step(workload, config.accelerator(), config.recipe())
    parts: dict[Part, Events] = {}
    for phase, events in tally.events.items():
        for event, count in events.items():
            conversion = group_of(event.kind) == "conversion" and event.kind != "float_to_int"
            own = "conversion" if conversion else "vector unit" if phase == "update" else "array"
            add(parts, phase, own, {event: count})
    for (phase, component), events in step.parts.items():
        if component not in _COUNTED and (phase, component) != ("update", "vector unit"):
            add(parts, phase, component, {event: n * steps for event, n in events.items()})
    return RunCost(step, in_order(parts, step.recipe.rule.phases))


def run_energy(
    cost: RunCost, steps: int, steps_per_epoch: int, table: PriceTable
) -> dict[str, Any]:
    """Return the energies of an average step as JSON values, in pJ.

    "per_step_pj", "per_epoch_pj" and "on_chip_per_step_pj" (without DRAM) are totals; "by_phase",
    "by_component", "by_kind" and "by_group" add up to the first.
    """
    by_phase = dict.fromkeys(cost.step.recipe.rule.phases, ZERO)
    by_component: dict[str, Interval] = {}
    by_kind: dict[str, Interval] = {}
    by_group = dict.fromkeys(GROUPS, ZERO)
    for (phase, component), events in cost.parts.items():
        report = price(events, table)
        by_phase[phase] = by_phase[phase] + report.total
        by_component[component] = by_component.get(component, ZERO) + report.total
        for kind, energy in report.by_kind.items():
            by_kind[kind] = by_kind.get(kind, ZERO) + energy
            group = _GROUP_OF.get(component) or group_of(kind)
            by_group[group] = by_group[group] + energy
    total = sum(by_phase.values(), ZERO)
    on_chip = sum((part for name, part in by_component.items() if name != "dram"), ZERO)
    per_step = total.scaled(1 / steps)
    return {
        "per_step_pj": per_step.as_dict(),
        "on_chip_per_step_pj": on_chip.scaled(1 / steps).as_dict(),
        "per_epoch_pj": per_step.scaled(steps_per_epoch).as_dict(),
        "by_phase": _per_step(by_phase, steps),
        "by_component": _per_step(by_component, steps),
        "by_kind": _per_step(dict(sorted(by_kind.items())), steps),
        "by_group": _per_step(by_group, steps),
    }


def _per_step(parts: dict[str, Interval], steps: int) -> dict[str, dict[str, float]]:
    return {name: part.scaled(1 / steps).as_dict() for name, part in parts.items()}


def run_time(cost: RunCost) -> dict[str, Any]:
    """Return the time of a step as JSON values: cycles and seconds, and the multiplications.

    "overlapped": the vector unit works beside the array; "sequential": after it.
    """
    step = cost.step
    overlapped, sequential = step.seconds
    return {
        "overlapped_cycles": step.overlapped_cycles,
        "sequential_cycles": step.sequential_cycles,
        "overlapped_seconds": overlapped,
        "sequential_seconds": sequential,
        "multiplications": step.unit_multiplications,
    }
