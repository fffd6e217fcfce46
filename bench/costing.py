"""Time the accelerator model: one step of a network, and a sweep of a thousand designs.

There is nothing in torch to compare with; absolute times are given. The tile search remembers what
it has found, so it is made to forget before each repetition. A step is first costed twice, which
must give the same figures.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

from lnsim.sim import Machine, Workload, cost_step, get_machine, get_recipe
from lnsim.sim.cost.energy import price_step
from lnsim.sim.cost.tiling import forget_tilings
from lnsim.sim.machine.machine import Buffer
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.workload.networks import network_workload

from .harness import seconds, spread

ROWS, COLS = (4, 8, 16, 32, 64), (4, 8, 16, 32, 64)
KIBIBYTES, DATAFLOWS, RECIPES = (16, 32, 64, 128, 256), ("os", "ws", "is"), ("lns8", "fp8", "fp32")


def designs() -> list[tuple[Machine, str]]:
    """1,000 different points: array, buffers, dataflow, format."""
    base = get_machine("edge-16")
    found = [
        (
            replace(
                base, rows=rows, cols=cols, dataflow=dataflow,
                ifmap=Buffer(1024 * kib, 64, 8), filter=Buffer(1024 * kib, 64, 8),
                ofmap=Buffer(1024 * max(kib, 64), 64, 8),
            ),
            recipe,
        )
        for rows, cols, kib, dataflow, recipe in product(ROWS, COLS, KIBIBYTES, DATAFLOWS, RECIPES)
    ]  # fmt: skip
    return found[:1000]


def _cost(workload: Workload, machine: Machine, recipe: str) -> dict[str, Any]:
    cost = cost_step(workload, machine, get_recipe(recipe))
    return price_step(cost, PriceTable.default()).as_dict()


def _step(name: str, batch: int) -> Callable[[], None]:
    workload, machine = network_workload(name, batch), get_machine("tpu-128")
    first = _cost(workload, machine, "lns8")
    forget_tilings()
    if _cost(workload, machine, "lns8") != first:
        raise AssertionError(f"{name} costs differently the second time")

    def run() -> None:
        forget_tilings()
        cost = cost_step(workload, machine, get_recipe("lns8"))
        price_step(cost, PriceTable.default())

    return run


def _designs() -> Callable[[], None]:
    workload = network_workload("resnet18-cifar", 128)

    def run() -> None:
        forget_tilings()
        for machine, recipe in designs():
            cost = cost_step(workload, machine, get_recipe(recipe))
            price_step(cost, PriceTable.default())

    return run


COSTS: dict[str, Callable[[], Callable[[], None]]] = {
    "cost-resnet18-224": lambda: _step("resnet18", 1),
    "cost-resnet18-cifar-128": lambda: _step("resnet18-cifar", 128),
    "cost-bert-large": lambda: _step("bert-large", 1),
    "designs-1000-resnet18": _designs,
}


def run_costing(name: str, threads: int, repeats: int, seed: int) -> dict[str, Any] | None:
    """Time one case; it runs on one thread whatever is asked, so once is enough."""
    if threads != 1:
        return {}
    run = COSTS[name]()
    run()
    times = [seconds(run) for _ in range(repeats if "designs" not in name else 2)]
    return {"case": name, "threads": 1, "ours_s": spread(times)}
