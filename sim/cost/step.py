"""The cost of a training step on a machine in a recipe's formats: cycles, words moved, events.

Every word is counted at every level, reads and writes. For one GEMM (M, K) x (K, N):

    DRAM     operands as its tiling fetches them, partial sums that leave the chip and come back
    buffers  ifmap, filter: filled from DRAM, read by the array; ofmap: partial sums written and
             read by the array, those spilled to DRAM, each result read once by the vector unit
    wires    everything between buffers and array
    array    the events of its multiply-accumulates

Around the GEMMs: a tensor is encoded once for all of them and its codes are written to DRAM, from
where they are fetched; a weight's codes are made once a step from its stored form, whose largest
magnitude the update has noted while it wrote it. Where a scale has to be found first ("two-pass")
the vector unit's words are written and read back, in the ofmap buffer if half of it holds them,
else in DRAM. The update reads gradient, stored weight and state and writes the latter two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...lns.checks import require_kind
from ...lns.datapath import AnyDatapath
from ...lns.format import FloatFormat, Format, LNSFormat
from ...lns.mx_format import AnyFormat
from ..events.encode import encode_events
from ..events.event import Event, Events, add_events
from ..events.update import update_events
from ..events.vector import vector_events
from ..machine.machine import Machine
from ..recipes.recipe import Recipe
from ..workload.workload import Tensor, VectorOp, Workload
from .components import (
    Part,
    add,
    add_again,
    add_dram,
    code_copies,
    in_order,
    sram_events,
    whole_bits,
    word_bits,
)
from .gemm import LayerCost, ceil_div, cost_gemm
from .mac_source import MacSource, get_mac_source
from .multiplications import count_multiplications

BUFFERS = ("ifmap", "filter", "ofmap")


@dataclass(frozen=True, slots=True)
class Cycles:
    """Of one phase."""

    array: int = 0  #: stall-free
    limited: int = 0  #: the array with its memories' bandwidth
    vector: int = 0  #: vector unit with DRAM at its bandwidth
    dram: int = 0  #: all traffic of the phase at DRAM's bandwidth


@dataclass(frozen=True, eq=False)
class StepCost:
    """What a step takes. Events are exact counts; prices come later (cost/energy.py)."""

    workload: Workload
    machine: Machine
    recipe: Recipe
    mac_prices: str
    layers: tuple[LayerCost, ...]
    parts: Mapping[Part, Events]
    cycles: Mapping[str, Cycles]  #: by phase
    multiplications: Mapping[Part, Mapping[str, int]]  #: (phase, unit) -> cause -> count

    def events(self) -> Events:
        """Return the events of the whole step."""
        total: Events = {}
        for events in self.parts.values():
            add_events(total, events)
        return total

    @property
    def sequential_cycles(self) -> int:
        """The step if array and vector unit take turns."""
        return sum(c.limited + c.vector for c in self.cycles.values())

    @property
    def overlapped_cycles(self) -> int:
        """The step if the vector unit works while the array does, phase by phase."""
        return sum(max(c.limited, c.vector, c.dram) for c in self.cycles.values())

    @property
    def seconds(self) -> tuple[float, float]:
        """Time of a step: vector unit beside the array, and after it."""
        clock = self.machine.clock_ghz * 1e9
        return self.overlapped_cycles / clock, self.sequential_cycles / clock

    @property
    def unit_multiplications(self) -> dict[str, int]:
        """Multiplications by unit; none in the array is what "multiply-free" means."""
        units: dict[str, int] = {}
        for (_, unit), causes in self.multiplications.items():
            units[unit] = units.get(unit, 0) + sum(causes.values())
        return units


def cost_step(
    workload: Workload, machine: Machine, recipe: Recipe, mac_prices: str = "components"
) -> StepCost:
    """Return what one step of `workload` takes on `machine` in `recipe`'s formats.

    The recipe's fixed-point accumulators add `machine.lanes` products at a time. The same input
    gives the same result. Raises ValueError where a buffer cannot hold the smallest tile, or
    `mac_prices` has no price for a format.
    """
    require_kind("workload", workload, Workload)
    require_kind("machine", machine, Machine)
    require_kind("recipe", recipe, Recipe)
    recipe = replace(recipe, datapath=with_lanes(recipe.datapath, machine.lanes))
    source = get_mac_source(mac_prices)
    parts: dict[Part, Events] = {}
    layers = tuple(cost_gemm(gemm, machine, recipe) for gemm in workload.gemms)
    for layer in layers:
        _add_gemm(parts, layer, machine, recipe, source)
    copies = code_copies(workload, recipe)
    for tensor in workload.tensors:
        _add_tensor(parts, tensor, machine, recipe, copies[tensor])
    for op in workload.vector:
        _add_vector(parts, op, machine)
    _add_update(parts, workload, machine, recipe)
    return StepCost(
        workload=workload,
        machine=machine,
        recipe=recipe,
        mac_prices=mac_prices,
        layers=layers,
        parts=in_order(parts, recipe.rule.phases),
        cycles=_cycles(layers, parts, workload, machine, recipe, copies),
        multiplications=count_multiplications(layers, workload, recipe),
    )


def with_lanes(datapath: AnyDatapath, lanes: int) -> AnyDatapath:
    """Return the datapath with so many lanes in its accumulator; a float one as it is."""
    accumulator = datapath.accumulator
    if isinstance(accumulator, FloatFormat) or accumulator.lanes == lanes:
        return datapath
    return replace(datapath, accumulator=replace(accumulator, lanes=lanes))


def _add_gemm(
    parts: dict[Part, Events], layer: LayerCost, machine: Machine, recipe: Recipe, source: MacSource
) -> None:
    gemm, tiling, widths, times = layer.gemm, layer.tiling, layer.widths, layer.gemm.count
    a, b = getattr(recipe, gemm.a_role), getattr(recipe, gemm.b_role)
    for event, count in source.events(recipe.datapath, a, b, gemm.M, gemm.N, gemm.K).items():
        component = "conversion" if event.kind == "convert" else "array"
        add(parts, gemm.phase, component, {event: count * times})
    if machine.depth > 1 and not source.covers_buffers:
        width = {"os": widths.partial, "ws": b.bits, "is": a.bits}[machine.dataflow]
        used = gemm.macs // (machine.lanes if machine.dataflow == "os" else 1)
        select = Event("register_select", width, f"{machine.depth}x{width}")
        add(parts, gemm.phase, "array", {select: used})
    spilled = tiling.partial_writes * widths.partial
    reads = whole_bits(tiling.a_words, widths.a) + whole_bits(tiling.b_words, widths.b) + spilled
    add_dram(parts, gemm.phase, machine, reads * times, spilled * times)
    if source.covers_buffers:
        return
    for name, width in (("ifmap", widths.a), ("filter", widths.b), ("ofmap", widths.partial)):
        out = whole_bits(getattr(layer.moved, f"{name}_reads"), width) * times
        into = whole_bits(getattr(layer.moved, f"{name}_writes"), width) * times
        events = sram_events(getattr(machine, name), out, into)
        add(parts, gemm.phase, f"{name} buffer", events)
    if machine.wire_mm:
        array = layer.array
        bits = whole_bits(array.sram_ifmap_reads, widths.a)
        bits += whole_bits(array.sram_filter_reads, widths.b)
        bits += (array.sram_ofmap_writes + array.sram_ofmap_reads) * widths.partial
        way = Event("wire_bits", 0, f"{machine.wire_mm:g}mm")
        add(parts, gemm.phase, "wires", {way: bits * times})


def stored_format(recipe: Recipe, machine: Machine) -> Format:
    """Return the format a weight is stored in between steps."""
    return machine.vector.fmt if recipe.update is None else recipe.update


def _needs_scale(fmt: AnyFormat, recipe: Recipe, machine: Machine) -> bool:
    scaled = isinstance(fmt, LNSFormat) or recipe.scaling == "amax"
    return scaled and machine.vector.scale == "two-pass"


def _add_tensor(
    parts: dict[Part, Events], tensor: Tensor, machine: Machine, recipe: Recipe, copies: int
) -> None:
    """Encoding a tensor and writing so many copies of its codes.

    A block's scale needs no second pass: the vector unit holds a block.
    """
    fmt: AnyFormat | None = getattr(recipe, tensor.role)  # None: it stays as it is
    vector, n = machine.vector.fmt, tensor.elements
    phase = tensor.phase
    if tensor.role == "weight":
        assert fmt is not None
        _add_weight(parts, n, fmt, machine, recipe, copies)
        return
    if fmt is None or fmt == vector:  # nothing to convert: the words themselves are written
        if not (tensor.far or tensor.stored):
            add_dram(parts, phase, machine, 0, n * vector.bits)
        return
    add(parts, phase, "conversion", encode_events(fmt, n * copies))
    if _needs_scale(fmt, recipe, machine):
        if tensor.far:
            add_dram(parts, phase, machine, 2 * n * vector.bits, 0)
        else:
            add_again(parts, phase, machine, n, 0 if tensor.stored else n)
    elif tensor.far:
        add_dram(parts, phase, machine, n * vector.bits, 0)
    add_dram(parts, phase, machine, 0, whole_bits(n, word_bits(fmt)) * copies)


def _add_weight(
    parts: dict[Part, Events], n: int, fmt: AnyFormat, machine: Machine, recipe: Recipe, copies: int
) -> None:
    """A weight's codes, made once a step from the stored form unless that is what is stored."""
    stored = stored_format(recipe, machine)
    if stored != fmt:
        codes = whole_bits(n, word_bits(fmt)) * copies
        add(parts, "forward", "conversion", encode_events(fmt, n * copies, stored))
        add_dram(parts, "forward", machine, n * stored.bits, codes)


def _add_vector(parts: dict[Part, Events], op: VectorOp, machine: Machine) -> None:
    bits = machine.vector.fmt.bits
    add(parts, op.phase, "vector unit", vector_events(dict(op.arithmetic), machine.vector.fmt))
    add_dram(parts, op.phase, machine, op.reads * bits, op.writes * bits)
    if op.again:
        add_again(parts, op.phase, machine, op.again, op.again_writes)


def _add_update(
    parts: dict[Part, Events], workload: Workload, machine: Machine, recipe: Recipe
) -> None:
    n, rule = workload.parameters, recipe.rule
    if not n:
        return
    unit, tensors = machine.vector.fmt, workload.parameter_tensors
    events = update_events(rule.name, n, recipe.update, unit, tensors)
    add(parts, "update", "vector unit", events)
    if recipe.update is not None and rule.stores != "code":  # which works on the codes
        add(parts, "update", "conversion", encode_events(recipe.update, n))
    gradient, vector = recipe.gradient or machine.vector.fmt, machine.vector.fmt
    coded = sum(tensor.elements for tensor in workload.tensors if tensor.role == "gradient")
    gradients = min(coded, n) * gradient.bits + max(n - coded, 0) * vector.bits
    moved = rule.state_words * machine.vector.fmt.bits + stored_format(recipe, machine).bits
    add_dram(parts, "update", machine, n * moved + gradients, n * moved)


def _cycles(
    layers: tuple[LayerCost, ...],
    parts: Mapping[Part, Events],
    workload: Workload,
    machine: Machine,
    recipe: Recipe,
    copies: Mapping[Tensor, int],
) -> dict[str, Cycles]:
    """Cycles by phase. DRAM traffic that no GEMM waits for is the vector unit's."""
    phases = recipe.rule.phases
    work = dict.fromkeys(phases, 0)
    for op in workload.vector:
        work[op.phase] += op.operations
    for tensor in workload.tensors:
        fmt = getattr(recipe, tensor.role)
        if fmt not in (None, machine.vector.fmt):
            work[tensor.phase] += tensor.elements * copies[tensor]
    update = parts.get(("update", "vector unit"), {})
    work["update"] += sum(update.values())
    found = {}
    for phase in phases:
        own = [layer for layer in layers if layer.gemm.phase == phase]
        dram = parts.get((phase, "dram"), {})
        bits = sum(dram.values()) - sum(layer.dram_bits for layer in own)
        found[phase] = Cycles(
            array=sum(layer.elapsed_cycles for layer in own),
            limited=sum(layer.limited_cycles for layer in own),
            vector=max(
                ceil_div(work[phase], machine.vector.width),
                ceil_div(bits, machine.dram_bits_per_cycle),
            ),
            dram=ceil_div(sum(dram.values()), machine.dram_bits_per_cycle),
        )
    return found
