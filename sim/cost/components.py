"""Events of a step by phase and component, and the words of its memories among them."""

import math
from collections.abc import Mapping, Sequence

from ...lns.mx_format import AnyFormat, MXFormat
from ..events.event import Event, Events, add_events
from ..machine.machine import Buffer, Machine
from ..recipes.recipe import Recipe
from ..workload.workload import Tensor, Workload

Part = tuple[str, str]  # phase, component
COMPONENTS = (
    "array",
    "conversion",
    "vector unit",
    "ifmap buffer",
    "filter buffer",
    "ofmap buffer",
    "wires",
    "dram",
)


def add(parts: dict[Part, Events], phase: str, component: str, events: Mapping[Event, int]) -> None:
    """Add events to a part."""
    add_events(parts.setdefault((phase, component), {}), events)


def in_order(parts: Mapping[Part, Events], phases: Sequence[str]) -> dict[Part, Events]:
    """Return the parts that have events, phase by phase and in the order of COMPONENTS."""
    keys = [(phase, component) for phase in phases for component in COMPONENTS]
    return {key: parts[key] for key in keys if parts.get(key)}


def sram_events(buffer: Buffer, reads: int, writes: int) -> Events:
    """Return the events of so many bits read and written: word width, bytes of a bank."""
    detail = f"{buffer.bank_bytes}B"
    events = {
        Event("sram_read_bits", buffer.word_bits, detail): reads,
        Event("sram_write_bits", buffer.word_bits, detail): writes,
    }
    return {event: count for event, count in events.items() if count}


def add_dram(
    parts: dict[Part, Events], phase: str, machine: Machine, reads: int, writes: int
) -> None:
    """Add so many bits read from and written to DRAM."""
    kind = machine.dram.price_name
    events = {
        Event("dram_read_bits", 0, kind): reads,
        Event("dram_write_bits", 0, kind): writes,
    }
    add(parts, phase, "dram", {event: count for event, count in events.items() if count})


def add_again(
    parts: dict[Part, Events], phase: str, machine: Machine, reads: int, writes: int
) -> None:
    """Words of the vector unit read a second time, and written for that: on chip if half fits."""
    bits = machine.vector.fmt.bits
    if 2 * reads * bits <= machine.ofmap.bits:
        events = sram_events(machine.ofmap, reads * bits, reads * bits)
        add(parts, phase, "ofmap buffer", events)
    else:
        add_dram(parts, phase, machine, reads * bits, writes * bits)


def word_bits(fmt: AnyFormat) -> float:
    """Bits a number takes in memory: of MX with its share of a full block's scale, 8.25 for 8."""
    return fmt.stored_bits if isinstance(fmt, MXFormat) else fmt.bits


def whole_bits(words: int, bits: float) -> int:
    """Bits of so many words, up to a whole one."""
    return math.ceil(words * bits)


def code_copies(workload: Workload, recipe: Recipe) -> Mapping[Tensor, int]:
    """Return how often each encoded tensor's codes are made: once, but for MX formats.

    Those take a copy for each axis the GEMMs contract the tensor along. Blocks lie along the
    contracted axis, and an activation that is kept for the backward pass is contracted along
    another one there, a weight in its input gradient, an error in one product for the input and one
    for the weight.
    """
    found = dict.fromkeys(workload.tensors, 1)
    if not isinstance(recipe.weight, MXFormat):  # operands are all in blocks or none is
        return found
    phases: dict[tuple[str, str], list[str]] = {}
    for gemm in workload.gemms:
        for role in {gemm.a_role, gemm.b_role}:
            phases.setdefault((gemm.layer, role), []).append(gemm.phase)
    for tensor in workload.tensors:
        own = phases.get((tensor.layer, tensor.role), [])
        if tensor.role == "activation":
            found[tensor] = 1 + tensor.kept
        elif tensor.role == "weight":
            found[tensor] = max(len(set(own)), 1)
        elif tensor.role == "error":  # between two activations (attention): two of one phase
            found[tensor] = min(max(len(own), 1), 2)
    return found
