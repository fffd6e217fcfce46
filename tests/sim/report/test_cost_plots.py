"""Pictures of step costs: right bytes for any costs, and losses that explain the utilisation."""

import io
import math
from dataclasses import replace

import pytest
from lnsim.sim.cost.components import COMPONENTS
from lnsim.sim.cost.energy import StepEnergy, price_step
from lnsim.sim.cost.step import StepCost, cost_gemm, cost_step
from lnsim.sim.machine.machine import Machine, get_machine, machine_names
from lnsim.sim.prices.sources import table_of_node
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.recipes.names import get_recipe
from lnsim.sim.report.cost_plots import (
    _COMPONENTS,
    _GROUPS,
    energy_png,
    largest_loss,
    losses,
    roofline_png,
)
from lnsim.sim.workload.workload import Gemm, Workload, workload_of_layers
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LAYERS = (
    Gemm("stem", "forward", 4096, 64, 27, a_words=4096 * 3),
    Gemm("blocks.0", "forward", 1024, 128, 576),
    Gemm("blocks.1", "forward", 1024, 128, 576),
    Gemm("attention", "forward", 33, 65, 17, count=12),
    Gemm("head", "forward", 128, 10, 512),
)
TOY = workload_of_layers("toy $x_1", LAYERS)  # a $ must not start mathematics
SIX = ("lns8", "fp8", "bf16", "fp16", "fp32", "int8")


def costs_of(
    *recipes: str, machine: str = "edge-16", workload: Workload = TOY, prices: str = "components"
) -> list[StepCost]:
    """Return the costs of a workload in some recipes."""
    where = get_machine(machine)
    return [cost_step(workload, where, get_recipe(name), prices) for name in recipes]


def energies_of(*recipes: str) -> list[StepEnergy]:
    """Return the energies of a step in some recipes at the shipped prices."""
    return [price_step(cost, PriceTable.default()) for cost in costs_of(*recipes)]


def with_bandwidth(machine: Machine, factor: float) -> Machine:
    """Return the machine with a DRAM, and ports of its buffers, so many times faster."""
    dram = replace(machine.dram, gbytes_per_s=machine.dram.gbytes_per_s * factor)
    names = ("ifmap", "filter", "ofmap")
    wide = {name: replace(getattr(machine, name), word_bits=1024) for name in names}
    return machine.with_changes(dram=dram, **(wide if factor > 1 else {}))


def check_png(data: bytes) -> tuple[int, int]:
    """Check that it is a PNG without a stamp of its maker; return its size."""
    assert data.startswith(SIGNATURE)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert "Software" not in image.info
    return image.size


@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize("recipe", ["lns8", "fp8", "fp32"])
def test_losses_multiply_to_the_utilisation(machine: str, recipe: str) -> None:
    """Each factor is in 0..1 and nothing is lost between the peak and what is reached."""
    for layer in costs_of(recipe, machine=machine)[0].layers:
        found = losses(layer)
        assert list(found) == ["mapping", "fill and drain", "memory"]
        assert all(0 < factor <= 1 + 1e-12 for factor in found.values())
        assert math.prod(found.values()) == pytest.approx(layer.utilisation, rel=1e-12)
        assert found["mapping"] == layer.array.mapping_efficiency


def test_the_largest_loss_is_named() -> None:
    """One clear case each: few columns, few lanes, a short stream, a slow memory."""
    machine, recipe = get_machine("lns-madam-like"), get_recipe("lns8")
    wide = with_bandwidth(machine, 1e4)
    cases = (
        (Gemm("narrow", "forward", 4096, 2, 4096), wide, "mapping", 2 / 32),
        (Gemm("short", "forward", 4096, 320, 4), wide, "idle lanes", 4 / 32),
        (Gemm("filling", "forward", 16, 32, 64), wide, "fill and drain", None),
        (Gemm("big", "forward", 512, 512, 512), with_bandwidth(machine, 1e-3), "memory", None),
    )
    for gemm, where, name, factor in cases:
        layer = cost_gemm(gemm, where, recipe)
        found = largest_loss(layer)
        assert found[0] == name, gemm.layer
        assert factor is None or found[1] == pytest.approx(factor)
        assert 0 < found[1] <= 1


@pytest.mark.parametrize("recipes", [("lns8",), SIX], ids=["one", "six"])
def test_pictures_are_the_same_each_time(recipes: tuple[str, ...]) -> None:
    """One cost or six: a PNG, with equal bytes from equal input made anew."""
    energy, roofline = energy_png(energies_of(*recipes)), roofline_png(costs_of(*recipes))
    check_png(energy)
    check_png(roofline)
    assert energy == energy_png(energies_of(*recipes))
    assert roofline == roofline_png(costs_of(*recipes))
    assert energy != energy_png(energies_of(*reversed(recipes), "fp8-fixed"))


def test_more_costs_need_more_room_and_dots_more_pixels() -> None:
    """A bar keeps its height; dpi scales both pictures."""
    one, six = (check_png(energy_png(energies_of(*names))) for names in (("lns8",), SIX))
    assert six[1] > one[1]
    assert six[0] == one[0]
    assert check_png(energy_png(energies_of("lns8"), dpi=80)) == (one[0] // 2, one[1] // 2)
    assert check_png(roofline_png(costs_of("lns8"), dpi=50)) == (480, 300)


def test_pictures_price_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture shows the energies it is given: twice the parts are another picture, by no table.

    Its caption names the prices, so a table of another node is another picture of the same parts.
    """
    one = energies_of("lns8", "fp8")
    twice = [
        replace(energy, parts={part: pj.scaled(2) for part, pj in energy.parts.items()})
        for energy in one
    ]
    elsewhere = [replace(energy, prices=table_of_node("32 nm")) for energy in one]
    monkeypatch.setattr(PriceTable, "weights", None)
    monkeypatch.setattr(PriceTable, "value", None)
    assert len({energy_png(energies) for energies in (one, twice, elsewhere)}) == 3


def test_every_component_has_a_colour() -> None:
    """No part of the energy is left out of the bars."""
    assert {_GROUPS.get(name, name) for name in COMPONENTS} == set(_COMPONENTS)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_a_roof_without_its_ridge(factor: float) -> None:
    """Bandwidth so large that nothing stalls, or so small that everything does."""
    machine = with_bandwidth(get_machine("edge-16"), factor)
    cost = cost_step(TOY, machine, get_recipe("lns8"))
    if factor > 1:
        assert all(losses(layer)["memory"] > 0.95 for layer in cost.layers)
    check_png(roofline_png([cost]))


def test_gemms_without_dram_traffic_have_no_place() -> None:
    """They are left out, even if nothing is left."""
    cost = costs_of("fp16")[0]
    silent = [
        replace(layer, tiling=replace(layer.tiling, a_words=0, b_words=0, partial_reads=0,
                                      partial_writes=0))
        for layer in cost.layers
    ]  # fmt: skip
    assert not any(layer.dram_bits for layer in silent)
    some = replace(cost, layers=(*silent[:3], *cost.layers[3:]))
    pictures = {roofline_png([c]) for c in (cost, some, replace(cost, layers=tuple(silent)))}
    assert len(pictures) == 3
    for picture in pictures:
        check_png(picture)


def test_costs_are_told_apart() -> None:
    """Energy takes different workloads, machines and MAC prices; a roofline only one machine."""
    other = workload_of_layers("other", LAYERS[:2])
    mixed = costs_of("lns8") + costs_of("lns8", machine="tpu-128", workload=other)
    mixed += costs_of("lns8", prices="published-pe")
    check_png(energy_png([price_step(cost, PriceTable.default()) for cost in mixed]))
    check_png(roofline_png([mixed[0], mixed[2]]))
    with pytest.raises(ValueError, match="costs must be of one machine"):
        roofline_png(mixed)


def test_no_costs_are_refused() -> None:
    """There is nothing to draw."""
    for draw in (roofline_png, energy_png):
        with pytest.raises(ValueError, match="costs must not be empty"):
            draw([])
