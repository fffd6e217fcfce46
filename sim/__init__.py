"""Training on simulated hardware: recipes, layers, optimisers, runs and their cost.

A name is imported when it is first used: `lnsim --help` needs neither torch nor Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..kernels.mx import matmul_mx
    from .cost.energy import compare, price_step
    from .cost.step import StepCost, cost_step
    from .machine.machine import Machine, get_machine
    from .machine.systolic import GemmCost, gemm_cost
    from .prices.table import PriceTable
    from .recipes.catalog import RECIPES
    from .recipes.names import get_recipe
    from .recipes.recipe import Recipe, lns_recipe
    from .rules.madam_optimisers import IntegerMadam, LNSMadam, Madam
    from .rules.rule import Rule, get_rule
    from .runs.record import Record
    from .runs.run_config import RunConfig
    from .runs.sweep import run_sweep
    from .runs.sweep_config import SweepConfig
    from .runs.train import train
    from .training.conv import Conv2d
    from .training.convert import convert
    from .training.linear import Linear
    from .training.make_optimiser import make_optimiser
    from .training.tally import Tally
    from .workload.trace import trace_step
    from .workload.workload import Workload

__all__ = [
    "RECIPES",
    "Conv2d",
    "GemmCost",
    "IntegerMadam",
    "LNSMadam",
    "Linear",
    "Machine",
    "Madam",
    "PriceTable",
    "Recipe",
    "Record",
    "Rule",
    "RunConfig",
    "StepCost",
    "SweepConfig",
    "Tally",
    "Workload",
    "compare",
    "convert",
    "cost_step",
    "gemm_cost",
    "get_machine",
    "get_recipe",
    "get_rule",
    "lns_recipe",
    "make_optimiser",
    "matmul_mx",
    "price_step",
    "run_sweep",
    "trace_step",
    "train",
]
_HOMES = {
    ".kernels.mx": ("matmul_mx",),
    "training.conv": ("Conv2d",),
    "training.convert": ("convert",),
    "training.linear": ("Linear",),
    "machine.machine": ("Machine", "get_machine"),
    "training.make_optimiser": ("make_optimiser",),
    "rules.madam_optimisers": ("IntegerMadam", "LNSMadam", "Madam"),
    "recipes.catalog": ("RECIPES",),
    "recipes.names": ("get_recipe",),
    "recipes.recipe": ("Recipe", "lns_recipe"),
    "cost.energy": ("compare", "price_step"),
    "cost.step": ("StepCost", "cost_step"),
    "prices.table": ("PriceTable",),
    "rules.rule": ("Rule", "get_rule"),
    "runs.record": ("Record",),
    "runs.run_config": ("RunConfig",),
    "runs.sweep": ("run_sweep",),
    "runs.sweep_config": ("SweepConfig",),
    "runs.train": ("train",),
    "machine.systolic": ("GemmCost", "gemm_cost"),
    "training.tally": ("Tally",),
    "workload.trace": ("trace_step",),
    "workload.workload": ("Workload",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f".{home}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
