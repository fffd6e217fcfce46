"""Counts of what a run did: conversions by layer and role, accumulators by layer, events by phase.

Layers hold a reference to one `Tally` and add to it while they work; nothing is estimated
afterwards. `enabled = False` (evaluation) makes every add a no-op. Events follow from shapes alone
and can be modelled (cost/step.py); a run that takes them from there sets `count_events = False`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ...kernels import EncodeCounts
from ...lns.array import CodeArray
from ...lns.checks import require_choice
from ...lns.datapath import AnyDatapath
from ...lns.format import FP32, Format
from ...lns.mx_format import AnyFormat
from ..events.encode import encode_events
from ..events.event import Event, Events, add_events, event_rows
from ..events.mac import gemm_events
from ..events.update import update_events
from ..workload.workload import PHASES

ROLES = ("weight", "activation", "error", "gradient", "update")
_ENCODED = ("elements", "saturated", "underflowed")  # the numbers of a row of `encodes`
_SUMMED = ("outputs", "overflowed", "products")  # and of `accumulators`


@dataclass(frozen=True, slots=True, eq=False)
class GemmRecord:
    """One GEMM that ran: its operands' codes and its accumulators, for a sampling test."""

    layer: str
    phase: str
    a: CodeArray  #: (M, K)
    b: CodeArray  #: (K, N)
    acc: npt.NDArray[Any]  #: (M, N), int64 or float32
    datapath: AnyDatapath


class Tally:
    """Mutable counts of one run."""

    def __init__(self, phases: Sequence[str] = PHASES) -> None:
        self.enabled = True
        self.count_events = True  #: False: conversions and accumulators are counted, no events
        self.phases = tuple(phases)  #: of the rule's steps
        self.on_gemm: Callable[[GemmRecord], None] | None = None  #: called by the GEMM, if set
        self.encodes: dict[tuple[str, str], list[int]] = {}
        self.accumulators: dict[tuple[str, str], list[int]] = {}
        # How often a run asked for the same work; the events of each are worked out when read.
        self._asked: dict[tuple[Any, ...], list[int]] = {}
        self._added: dict[str, Events] = {phase: {} for phase in self.phases}

    def reset(self) -> None:
        """Forget every count; `enabled`, `count_events` and `on_gemm` stay."""
        self.encodes.clear()
        self.accumulators.clear()
        self._asked.clear()
        self._added = {phase: {} for phase in self.phases}

    @property
    def events(self) -> dict[str, Events]:
        """The events of every phase so far, a copy."""
        total = {phase: dict(events) for phase, events in self._added.items()}
        for (phase, kind, *arguments), (times,) in self._asked.items():
            one: Events = kind(*arguments)
            add_events(total[phase], {event: times * count for event, count in one.items()})
        return total

    def _ask(self, phase: str, kind: Callable[..., Events], *arguments: Any) -> None:
        """Count the events that `kind` gives for the arguments once more."""
        asked = (require_choice("phase", phase, self.phases), kind, *arguments)
        if self.count_events:
            self._asked.setdefault(asked, [0])[0] += 1

    def add_encode(
        self,
        layer: str,
        role: str,
        phase: str,
        fmt: AnyFormat,
        counts: EncodeCounts,
        source: Format = FP32,
    ) -> None:
        """Count one tensor's conversion from `source` to `fmt`."""
        if not self.enabled:
            return
        self.add_counts(layer, role, counts)
        if source != fmt:
            self._ask(phase, encode_events, fmt, int(counts.elements), source)

    def add_counts(self, layer: str, role: str, counts: EncodeCounts) -> None:
        """Count a rounding that was no conversion: integer Madam's clamp of stored exponents."""
        if not self.enabled:
            return
        row = self.encodes.setdefault((layer, require_choice("role", role, ROLES)), [0, 0, 0])
        row[0] += int(counts.elements)
        row[1] += int(counts.saturated)
        row[2] += int(counts.underflowed)

    def add_gemm(
        self,
        layer: str,
        phase: str,
        datapath: AnyDatapath,
        a_fmt: AnyFormat,
        b_fmt: AnyFormat,
        m: int,
        n: int,
        k: int,
        overflowed: int,
    ) -> None:
        """Count one GEMM (m, k) x (k, n); overflowed: outputs whose accumulator left its range."""
        if not self.enabled:
            return
        self._ask(phase, gemm_events, datapath, a_fmt, b_fmt, m, n, k)
        row = self.accumulators.setdefault((layer, phase), [0, 0, 0])
        row[0] += m * n
        row[1] += int(overflowed)
        row[2] += m * n * k

    def add_update(self, rule: str, elements: int, fmt: Format | None, tensors: int = 0) -> None:
        """Count one optimiser step; the arguments of `update_events`."""
        if self.enabled and elements:
            self._ask("update", update_events, rule, elements, fmt, FP32, tensors)

    def add_events(self, phase: str, events: Mapping[Event, int]) -> None:
        """Add `events` to a phase."""
        if self.enabled:
            add_events(self._added[require_choice("phase", phase, self.phases)], events)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values; keys are sorted, so equal counts are equal text."""
        return {
            "encodes": [
                {"layer": layer, "role": role, **dict(zip(_ENCODED, row, strict=True))}
                for (layer, role), row in sorted(self.encodes.items())
            ],
            "accumulators": [
                {"layer": layer, "phase": phase, **dict(zip(_SUMMED, row, strict=True))}
                for (layer, phase), row in sorted(self.accumulators.items())
            ],
            "events": {phase: event_rows(events) for phase, events in self.events.items()},
        }

    def load_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the counts by those of `as_dict`."""
        self.encodes = {
            (row["layer"], row["role"]): [row[name] for name in _ENCODED]
            for row in state["encodes"]
        }
        self.accumulators = {
            (row["layer"], row["phase"]): [row[name] for name in _SUMMED]
            for row in state["accumulators"]
        }
        self._asked.clear()
        self._added = {
            phase: {Event(kind, bits, detail): n for kind, bits, detail, n in rows}
            for phase, rows in state["events"].items()
        }
