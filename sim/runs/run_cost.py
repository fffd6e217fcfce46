"""What a training run costs on its machine: events and time of a step, times the steps.

Shapes alone decide them, so the run's workload is traced once and its step costed on the machine
(cost/step.py); only what an update moves is asked of the model that was trained. One description,
the run's configuration, drives both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...lns.mx_format import AnyFormat
from ..cost.components import Part, add, code_copies, in_order
from ..cost.step import StepCost
from ..events.encode import encode_events
from ..events.event import Event, Events, add_events
from ..prices.interval import ZERO, Interval
from ..prices.table import GROUPS, PriceTable, group_of, price
from .record import Energy, StepTime

_COUNTED = ("array", "conversion")  # what a tally counts, and the update's arithmetic
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


def counted_events(step: StepCost, update: Events, begun: int, done: int) -> dict[str, Events]:
    """Return the arithmetic of GEMMs, conversions and updates of a run, by phase.

    It is what a Tally counts of the same steps (tests/sim/cost/test_step.py): the machine's, but
    that a tensor with several readers is encoded in the layer of each. update: events of one
    update of the run's own model, part of which may be frozen (make_optimiser.update_of_a_step).
    begun, done: steps; where a run diverges, its last step has a forward phase and no other.
    """
    found: dict[str, Events] = {phase: {} for phase in step.recipe.rule.phases}
    for (phase, component), events in step.parts.items():
        if component in _COUNTED and phase != "update":
            times = begun if phase == "forward" else done
            add_events(found[phase], _times(events, times))
    copies = code_copies(step.workload, step.recipe)
    for tensor in step.workload.tensors:
        fmt: AnyFormat | None = getattr(step.recipe, tensor.role)
        if tensor.readers > 1 and fmt is not None:
            more = (tensor.readers - 1) * tensor.elements * copies[tensor]
            times = begun if tensor.phase == "forward" else done
            add_events(found[tensor.phase], encode_events(fmt, more * times))
    add_events(found["update"], _times(update, done))
    return found


def _times(events: Mapping[Event, int], times: int) -> Events:
    """So many times the events, but for the choice of a register, which no tally sees."""
    return {e: n * times for e, n in events.items() if times and e.kind != "register_select"}


def run_cost(step: StepCost, counted: Mapping[str, Events], steps: int) -> RunCost:
    """Return the cost of `steps` steps whose arithmetic is `counted`, by phase."""
    parts: dict[Part, Events] = {}
    for phase, events in counted.items():
        for event, count in events.items():
            conversion = group_of(event.kind) == "conversion" and event.kind != "float_to_int"
            own = "conversion" if conversion else "vector unit" if phase == "update" else "array"
            add(parts, phase, own, {event: count})
    for (phase, component), events in step.parts.items():
        if component not in _COUNTED and (phase, component) != ("update", "vector unit"):
            add(parts, phase, component, {event: n * steps for event, n in events.items()})
    return RunCost(step, in_order(parts, step.recipe.rule.phases))


def run_energy(cost: RunCost, steps: int, steps_per_epoch: int, table: PriceTable) -> Energy:
    """Return the energies of an average step, in pJ."""
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
    return Energy(
        per_step_pj=per_step,
        on_chip_per_step_pj=on_chip.scaled(1 / steps),
        per_epoch_pj=per_step.scaled(steps_per_epoch),
        by_phase=_per_step(by_phase, steps),
        by_component=_per_step(by_component, steps),
        by_kind=_per_step(dict(sorted(by_kind.items())), steps),
        by_group=_per_step(by_group, steps),
    )


def _per_step(parts: dict[str, Interval], steps: int) -> dict[str, Interval]:
    return {name: part.scaled(1 / steps) for name, part in parts.items()}


def run_time(step: StepCost) -> StepTime:
    """Return the time of a step and its multiplications."""
    overlapped, sequential = step.seconds
    return StepTime(
        overlapped_cycles=step.overlapped_cycles,
        sequential_cycles=step.sequential_cycles,
        overlapped_seconds=overlapped,
        sequential_seconds=sequential,
        multiplications=step.unit_multiplications,
    )
