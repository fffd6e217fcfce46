"""The cost of a step: what training counts and what the model says are one; energies add up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lnsim.lns import Accumulator, Datapath
from lnsim.sim import Tally, convert, cost_step, get_machine, get_recipe, make_optimiser, trace_step
from lnsim.sim.cost.energy import compare, price_step
from lnsim.sim.cost.mac_source import MAC_SOURCES
from lnsim.sim.cost.step import StepCost
from lnsim.sim.events.event import Event, Events, add_events
from lnsim.sim.machine.machine import machine_names
from lnsim.sim.prices.table import ZERO, PriceTable
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.run_cost import counted_events
from lnsim.sim.runs.train import train
from lnsim.sim.training import backprop
from lnsim.sim.training.make_optimiser import update_of_a_step
from lnsim.sim.workload.networks import network_workload, run_workload
from lnsim.sim.workload.workload import PHASES, Gemm, workload_of_layers
from torch import nn
from torch.nn.functional import cross_entropy

TABLE = PriceTable.default()
TOY = workload_of_layers(
    "toy", [Gemm("a", "forward", 32, 16, 24), Gemm("b", "forward", 32, 10, 16)]
)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize(
    "name",
    ["lns", "fp8", "fp32", "int8", "fp8-fixed", "fp8-no-master", "bf16", "mxfp6-e3m2", "mxint8"],
)
def test_the_model_is_what_training_counts(
    model: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every arithmetic event of two real steps, counted as they ran, is twice the model's step.

    Two independent ways to the same numbers: layers that count what they do, and shapes traced on
    meta tensors.
    """
    run = RunConfig(
        data="digits", model=model, format=name, batch=8, limit_train=16, limit_test=4, epochs=1
    )
    path = tmp_path / "run.pt"
    monkeypatch.setattr("lnsim.sim.runs.train.COUNT_EVENTS", True)
    record = train(run, checkpoint=path)
    counts = json.loads(torch.load(path, weights_only=True)["tally"])["events"]
    assert counts == record.to_json()["counted_events"]
    plan = run.resolve()
    step = cost_step(plan.workload, plan.machine, plan.recipe)
    for phase in PHASES:
        components = ["array", "conversion"] + ["vector unit"] * (phase == "update")
        modelled: Events = {}
        for component in components:
            add_events(modelled, step.parts.get((phase, component), {}))
        counted = {Event(k, b, d): n for k, b, d, n in counts[phase]}
        assert counted == {event: 2 * count for event, count in modelled.items()}, phase
    per_step = price_step(step, TABLE).total
    assert record.energy is not None
    assert record.step is not None
    assert record.energy.per_step_pj.mid == pytest.approx(per_step.mid, rel=1e-12)
    assert record.step.overlapped_cycles == step.overlapped_cycles


def cost(
    machine: str = "edge-16", recipe: str = "lns8", mac_prices: str = "components"
) -> StepCost:
    """The toy's step."""
    return cost_step(TOY, get_machine(machine), get_recipe(recipe), mac_prices)


def bits(step: StepCost, phase: str, kind: str) -> int:
    """Bits of DRAM of a phase."""
    events = step.parts[phase, "dram"]
    return sum(count for event, count in events.items() if event.kind == kind)


def test_dram_of_a_step_by_hand() -> None:
    """The toy on edge-16 in LNS8: all of it fits, so each word passes once; weights are stored with
    16 bits, gradients of 8 bits and a 32-bit second moment go to the update."""
    step, weights = cost(), 24 * 16 + 16 * 10
    inputs, hidden, errors = 32 * 24, 32 * 16, 32 * 16 + 32 * 10
    # forward: weights' stored form, input twice for its scale, operands' codes; hidden on chip
    read = weights * 16 + 2 * inputs * 32 + (inputs + hidden + weights) * 8
    assert bits(step, "forward", "dram_read_bits") == read
    written = weights * 8 + (inputs + hidden) * 8
    assert bits(step, "forward", "dram_write_bits") == written
    # dx of the second layer alone; the first layer's error is encoded in phase dw
    assert bits(step, "dx", "dram_read_bits") == (32 * 10 + 16 * 10) * 8
    assert bits(step, "dx", "dram_write_bits") == 32 * 10 * 8
    assert bits(step, "dw", "dram_read_bits") == (errors + inputs + hidden) * 8
    assert bits(step, "dw", "dram_write_bits") == (32 * 16 + weights) * 8
    assert bits(step, "update", "dram_read_bits") == weights * (8 + 16 + 32)
    assert bits(step, "update", "dram_write_bits") == weights * (16 + 32)


def test_scales_that_are_known_save_a_pass() -> None:
    """delayed: the input is read once; formats without a scale never needed the second."""
    machine = get_machine("edge-16")
    delayed = machine.from_mapping(
        machine.as_dict() | {"vector": {"width": 16, "scale": "delayed"}}
    )
    both = [
        bits(cost_step(TOY, m, get_recipe("lns8")), "forward", "dram_read_bits")
        for m in (machine, delayed)
    ]
    assert both[0] - both[1] == 32 * 24 * 32
    bf16 = [
        bits(cost_step(TOY, m, get_recipe("bf16")), "forward", "dram_read_bits")
        for m in (machine, delayed)
    ]
    assert bf16[0] == bf16[1]


def test_multiply_free_is_counted() -> None:
    """No multiplication in the LNS array; one a product in a float one; the rest is named."""
    lns, fp8 = cost(), cost(recipe="fp8")
    in_array = {k: v for k, v in lns.multiplications.items() if k[1] == "array"}
    assert in_array == {("forward", "array"): {}, ("dx", "array"): {}, ("dw", "array"): {}}
    assert sum(sum(v.values()) for k, v in fp8.multiplications.items() if k[1] == "array") == (
        TOY.macs
    )
    update = lns.multiplications["update", "vector unit"]
    assert update == {"integer-madam": 5 * TOY.parameters}
    bins = replace(get_recipe("lns8"), datapath=Datapath(accumulator=Accumulator(style="bins")))
    counts = cost_step(TOY, get_machine("edge-16"), bins).multiplications["forward", "array"]
    assert counts == {"constant_multiply": 8 * (32 * 16 + 32 * 10)}


@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize("recipe", ["lns8", "fp8", "bf16", "fp16", "fp32", "int8", "mxfp4"])
def test_every_machine_in_every_format(machine: str, recipe: str) -> None:
    """Parts add up to the total in every way of adding; the same input gives the same figures."""
    energy = price_step(cost(machine, recipe), TABLE)
    total = energy.total
    assert 0 < total.low < total.mid < total.high
    assert sum((energy.of_phase(p) for p in PHASES), ZERO).mid == pytest.approx(total.mid)
    names = {name for _, name in energy.parts}
    assert sum((energy.of_component(n) for n in names), ZERO).mid == pytest.approx(total.mid)
    assert energy.as_dict() == price_step(cost(machine, recipe), TABLE).as_dict()
    assert 0 < energy.utilisation <= 1
    assert energy.seconds[0] <= energy.seconds[1]


def test_formats_that_overlap_cannot_be_ranked() -> None:
    """fp8 with LNS's own accumulator: the report says so; fp32 is beyond doubt higher."""
    lns, fixed, fp32 = (price_step(cost(recipe=r), TABLE) for r in ("lns8", "fp8-fixed", "fp32"))
    assert compare(lns, lns, TABLE).by_shared_prices == "cannot be ranked"
    near = compare(lns, fixed, TABLE)
    assert near.by_intervals == "cannot be ranked"
    assert "cannot be ranked" in near.text()
    far = compare(lns, fp32, TABLE)
    assert far.by_shared_prices == "lower"
    assert far.ratio.low < far.ratio.mid < far.ratio.high


# mJ per iteration, read off the author's chart (arXiv 2106.13914, blog; error below 1 %).
PUBLISHED = {
    "resnet50": {"lns8": 0.992, "fp16": 4.605, "fp32": 11.06},
    "bert-base": {"lns8": 8.03, "fp16": 37.35, "fp32": 89.8},
    "bert-large": {"lns8": 27.9, "fp16": 130.3, "fp32": 313.5},
    "resnet18": {"lns8": 0.541, "fp16": 2.507, "fp32": 6.01},
    "gpt-1.7b": {"lns8": 939.0, "fp16": 5104.0, "fp32": 9268.0},
}


def iteration_mj(name: str, fmt: str) -> float:
    """The paper's accounting as reconstructed: a constant per MAC, three passes, no memories."""
    (row,) = (row for row in TABLE.rows.values() if (row.kind, row.detail) == ("mac", fmt))
    return 3 * network_workload(name).forward_macs * row.price.mid / 1e9


@pytest.mark.parametrize("name", ["resnet50", "bert-base", "bert-large"])
def test_the_published_iterations(name: str) -> None:
    """One sample, three GEMM passes, the reconstructed constants: within 10 % of the chart."""
    for fmt, published in PUBLISHED[name].items():
        assert iteration_mj(name, fmt) == pytest.approx(published, rel=0.1), fmt


def test_the_published_iterations_that_do_not_follow() -> None:
    """ResNet-18 lies 20 % above the constants and GPT's formats on either side: not tuned away."""
    off = {
        (name, fmt): iteration_mj(name, fmt) / published
        for name in ("resnet18", "gpt-1.7b")
        for fmt, published in PUBLISHED[name].items()
    }
    assert {fmt: round(off["resnet18", fmt], 2) for fmt in ("lns8", "fp16", "fp32")} == {
        "lns8": 0.80, "fp16": 0.80, "fp32": 0.81,
    }  # fmt: skip
    assert {fmt: round(off["gpt-1.7b", fmt], 2) for fmt in ("lns8", "fp16", "fp32")} == {
        "lns8": 0.98, "fp16": 0.83, "fp32": 1.12,
    }  # fmt: skip


def test_sources_of_mac_prices() -> None:
    """The published constants replace array and buffers, and exist for the paper's formats only."""
    parts, whole = (price_step(cost(mac_prices=name), TABLE) for name in MAC_SOURCES)
    assert whole.of_component("array").mid == pytest.approx(0.08 * TOY.macs)
    assert whole.of_component("wires", "ifmap buffer", "filter buffer") == ZERO
    assert parts.of_component("dram") == whole.of_component("dram")
    assert [parts.cost.layers, parts.cost.cycles] == [whole.cost.layers, whole.cost.cycles]
    with pytest.raises(ValueError, match=r"^mac_prices must not be published-pe for bf16"):
        cost(recipe="bf16", mac_prices="published-pe")
    with pytest.raises(ValueError, match=r"^mac_prices must be one of components, published-pe"):
        cost(mac_prices="horowitz")


def test_a_thousand_points_are_distinct_and_repeatable() -> None:
    """A design sweep: other arrays and buffers cost otherwise; twice the same is the same."""
    workload = network_workload("cnn", 8)
    seen = []
    for rows in (4, 8, 16):
        for kib in (16, 64):
            machine = get_machine("edge-16").with_changes(
                rows=rows,
                ifmap=get_machine("edge-16").ifmap.__class__(1024 * kib, 64, 8),
            )
            energy = price_step(cost_step(workload, machine, get_recipe("lns8")), TABLE)
            again = price_step(cost_step(workload, machine, get_recipe("lns8")), TABLE)
            assert energy.as_dict() == again.as_dict()
            seen.append((energy.cost.sequential_cycles, energy.total.mid))
    assert len(set(seen)) == 6


def test_the_cifar_step_has_every_phase() -> None:
    """ResNet-18: 21 layers forward, 20 input gradients, 21 weight gradients, and an update."""
    step = cost_step(
        run_workload("resnet18", (3, 32, 32), 10, 128), get_machine("tpu-128"), get_recipe("lns8")
    )
    phases = [layer.gemm.phase for layer in step.layers]
    assert {phase: phases.count(phase) for phase in PHASES[:3]} == {
        "forward": 21, "dx": 20, "dw": 21,
    }  # fmt: skip
    assert all(step.cycles[phase].vector > 0 for phase in PHASES)


def test_time_is_never_shorter_than_the_dram_needs() -> None:
    """Array and vector unit share one DRAM, overlapped or not."""
    workload = network_workload("mlp", 16)
    for rate in (0.01, 1.0, 100.0):
        machine = get_machine("edge-16")
        machine = machine.with_changes(dram=replace(machine.dram, gbytes_per_s=rate))
        step = cost_step(workload, machine, get_recipe("fp32"))
        moved = sum(n for e, n in step.events().items() if e.kind.startswith("dram_"))
        least = moved / machine.dram_bits_per_cycle
        assert least <= step.overlapped_cycles + 8 <= step.sequential_cycles + 16


def test_a_vector_unit_of_another_format() -> None:
    """bf16: update, activations and state in 16 bits, cheaper arithmetic."""
    base = get_machine("edge-16")
    narrow = base.with_changes(vector=replace(base.vector, format="bf16"))
    wide, half = (cost_step(TOY, m, get_recipe("fp8")) for m in (base, narrow))
    assert bits(half, "update", "dram_write_bits") * 2 == bits(wide, "update", "dram_write_bits")
    kinds = set(half.parts["update", "vector unit"])
    assert Event("float_add", 16, "bf16") in kinds
    assert Event("float_add", 32, "fp32") not in kinds
    assert price_step(half, TABLE).total.mid < price_step(wide, TABLE).total.mid


def test_a_register_file_has_a_price() -> None:
    """Words held longer are read less often, and one of `depth` has to be selected."""
    base = get_machine("tpu-128")
    deep = base.with_changes(depth=4)
    shallow, held = (
        cost_step(network_workload("cnn", 8), m, get_recipe("lns8")) for m in (base, deep)
    )
    chosen = Event("register_select", 8, "4x8")
    array = {phase: held.parts[phase, "array"] for phase in PHASES[:3]}
    assert sum(events[chosen] for events in array.values()) == held.workload.macs
    assert not any(e.kind == "register_select" for e in shallow.events())


def test_missing_prices_are_named() -> None:
    """A table of one's own that lacks a kind says which, and for what."""
    few = PriceTable({k: r for k, r in TABLE.rows.items() if k[0] != "antilog_lookup"})
    with pytest.raises(ValueError, match=r"^prices must have rows of kind antilog_lookup for "):
        price_step(cost(), few)


class Fork(nn.Module):
    """Two layers share an activation and an error; a norm has a float gain, and a zero bias that
    Madam cannot move."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.left, self.right, self.last = (nn.Linear(8, n) for n in (8, 8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(self.left(x) + self.right(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "optimiser"),
    [
        ("lns8", "integer-madam"), ("lns8", "lns-madam"), ("fp8-no-master", "adamw"),
        ("fp8-no-master", "madam"), ("mxfp4", "adamw"), ("fp32-madam", "madam"),
    ],
)  # fmt: skip
def test_what_a_run_counts_is_known_beforehand(name: str, optimiser: str) -> None:
    """A step's events, the update of what really moves and what is encoded in two layers among
    them, are those that layers and optimiser count as they go."""
    torch.manual_seed(0)
    recipe = get_recipe(name, optimiser)
    model, x = Fork(), torch.randn(16, 6)
    workload = trace_step(model, x.to("meta"))
    own = convert(model, recipe)
    rule = make_optimiser(own, recipe)
    tally = own.tally
    assert isinstance(tally, Tally)
    tally.reset()
    update = update_of_a_step(own, rule, recipe)
    for _ in range(3):
        backprop.step(own, rule, x, torch.arange(16) % 3, cross_entropy)
    step = cost_step(workload, get_machine("edge-16"), recipe)
    assert tally.events == counted_events(step, update, begun=3, done=3)
    assert max(tensor.readers for tensor in workload.tensors) == 2
