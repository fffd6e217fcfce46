"""Training on simulated hardware: recipes, layers, optimisers, runs and their cost.

A name is imported when it is first used: `lnsim --help` needs neither torch nor Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..kernels.mx import matmul_mx as matmul_mx
    from .cost.energy import compare as compare
    from .cost.energy import price_step as price_step
    from .cost.step import StepCost as StepCost
    from .cost.step import cost_step as cost_step
    from .machine.machine import Machine as Machine
    from .machine.machine import get_machine as get_machine
    from .machine.systolic import GemmCost as GemmCost
    from .machine.systolic import gemm_cost as gemm_cost
    from .prices.table import PriceTable as PriceTable
    from .recipes.catalog import RECIPES as RECIPES
    from .recipes.names import get_recipe as get_recipe
    from .recipes.recipe import Recipe as Recipe
    from .recipes.recipe import lns_recipe as lns_recipe
    from .rules.madam_optimisers import IntegerMadam as IntegerMadam
    from .rules.madam_optimisers import LNSMadam as LNSMadam
    from .rules.madam_optimisers import Madam as Madam
    from .rules.rule import Rule as Rule
    from .rules.rule import get_rule as get_rule
    from .runs.record import Record as Record
    from .runs.run_config import RunConfig as RunConfig
    from .runs.sweep import run_sweep as run_sweep
    from .runs.sweep_config import SweepConfig as SweepConfig
    from .runs.train import train as train
    from .training.conv import Conv2d as Conv2d
    from .training.convert import convert as convert
    from .training.linear import Linear as Linear
    from .training.make_optimiser import make_optimiser as make_optimiser
    from .training.tally import Tally as Tally
    from .workload.trace import trace_step as trace_step
    from .workload.workload import Workload as Workload

#: module -> the names it lends
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
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f".{home}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
