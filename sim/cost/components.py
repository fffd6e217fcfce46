"""Events of a step by phase and component, and the words of its memories among them."""

from collections.abc import Mapping

from ..events.mac import Event, Events, add_events
from ..machine.machine import Buffer, Machine
from ..workload.workload import PHASES

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


def in_order(parts: Mapping[Part, Events]) -> dict[Part, Events]:
    """Return the parts that have events, phase by phase and in the order of COMPONENTS."""
    keys = [(phase, component) for phase in PHASES for component in COMPONENTS]
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
