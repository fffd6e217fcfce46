"""Counts of what a run did: conversions by layer and role, accumulators by layer, events by phase.

Layers hold a reference to one `Tally` and add to it while they work; nothing is estimated
afterwards. `enabled = False` (evaluation) makes every add a no-op.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from ..kernels import EncodeCounts
from ..lns.array import CodeArray
from ..lns.checks import require_choice
from ..lns.datapath import AnyDatapath
from ..lns.format import FP32, Format
from ..lns.mx_format import AnyFormat
from .events import (
    PHASES,
    Event,
    Events,
    add_events,
    encode_events,
    gemm_events,
)

# A run asks for the events of the same few tensors again and again; the answers are only read.
_gemm_events = lru_cache(maxsize=4096)(gemm_events)
_encode_events = lru_cache(maxsize=4096)(encode_events)

ROLES = ("weight", "activation", "error", "gradient", "update")


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

    def __init__(self) -> None:
        self.enabled = True
        self.on_gemm: Callable[[GemmRecord], None] | None = None  #: called by the GEMM, if set
        self.encodes: dict[tuple[str, str], list[int]] = {}
        self.accumulators: dict[tuple[str, str], list[int]] = {}
        self.events: dict[str, Events] = {phase: {} for phase in PHASES}

    def reset(self) -> None:
        """Forget every count; `enabled` and `on_gemm` stay."""
        self.encodes.clear()
        self.accumulators.clear()
        self.events = {phase: {} for phase in PHASES}

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
            self.add_events(phase, _encode_events(fmt, int(counts.elements), source))

    def add_counts(self, layer: str, role: str, counts: EncodeCounts) -> None:
        """Count a rounding that was no conversion: integer Madam's clamp of stored exponents."""
        if not self.enabled:
            return
        row = self.encodes.setdefault((layer, require_choice("role", role, ROLES)), [0, 0, 0])
        for i, count in enumerate((counts.elements, counts.saturated, counts.underflowed)):
            row[i] += int(count)

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
        self.add_events(phase, _gemm_events(datapath, a_fmt, b_fmt, m, n, k))
        row = self.accumulators.setdefault((layer, phase), [0, 0, 0])
        for i, count in enumerate((m * n, int(overflowed), m * n * k)):
            row[i] += count

    def add_events(self, phase: str, events: Mapping[Event, int]) -> None:
        """Add `events` to a phase."""
        if self.enabled:
            add_events(self.events[require_choice("phase", phase, PHASES)], events)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values; keys are sorted, so equal counts are equal text."""
        return {
            "encodes": [
                {
                    "layer": layer,
                    "role": role,
                    "elements": row[0],
                    "saturated": row[1],
                    "underflowed": row[2],
                }
                for (layer, role), row in sorted(self.encodes.items())
            ],
            "accumulators": [
                {
                    "layer": layer,
                    "phase": phase,
                    "outputs": row[0],
                    "overflowed": row[1],
                    "products": row[2],
                }
                for (layer, phase), row in sorted(self.accumulators.items())
            ],
            "events": {
                phase: [[e.kind, e.bits, e.detail, n] for e, n in sorted(events.items())]
                for phase, events in self.events.items()
            },
        }

    def load_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the counts by those of `as_dict`."""
        self.encodes = {
            (row["layer"], row["role"]): [row["elements"], row["saturated"], row["underflowed"]]
            for row in state["encodes"]
        }
        self.accumulators = {
            (row["layer"], row["phase"]): [row["outputs"], row["overflowed"], row["products"]]
            for row in state["accumulators"]
        }
        self.events = {
            phase: {Event(kind, bits, detail): n for kind, bits, detail, n in rows}
            for phase, rows in state["events"].items()
        }
