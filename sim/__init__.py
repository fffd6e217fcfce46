"""Training on simulated hardware: recipes, layers, optimisers, runs and their cost.

A name is imported when it is first used: `lnsim --help` needs neither torch nor Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocks import matmul_mx
    from .conv import Conv2d
    from .conversion import convert
    from .layers import Linear
    from .machine import Machine, get_machine
    from .optim import make_optimiser
    from .optimisers import IntegerMadam, LNSMadam, Madam
    from .recipe import RECIPES, Recipe, get_recipe, lns_recipe
    from .step_cost import StepCost, cost_step
    from .systolic import GemmCost, gemm_cost
    from .tally import Tally
    from .trace import trace_step
    from .workload import Workload

__all__ = [
    "RECIPES",
    "Conv2d",
    "GemmCost",
    "IntegerMadam",
    "LNSMadam",
    "Linear",
    "Machine",
    "Madam",
    "Recipe",
    "StepCost",
    "Tally",
    "Workload",
    "convert",
    "cost_step",
    "gemm_cost",
    "get_machine",
    "get_recipe",
    "lns_recipe",
    "make_optimiser",
    "matmul_mx",
    "trace_step",
]
_HOMES = {
    "blocks": ("matmul_mx",),
    "conv": ("Conv2d",),
    "conversion": ("convert",),
    "layers": ("Linear",),
    "machine": ("Machine", "get_machine"),
    "optim": ("make_optimiser",),
    "optimisers": ("IntegerMadam", "LNSMadam", "Madam"),
    "recipe": ("RECIPES", "Recipe", "get_recipe", "lns_recipe"),
    "step_cost": ("StepCost", "cost_step"),
    "systolic": ("GemmCost", "gemm_cost"),
    "tally": ("Tally",),
    "trace": ("trace_step",),
    "workload": ("Workload",),
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
