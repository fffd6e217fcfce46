"""Multiplications of a training step: "multiply-free" as a number that is counted."""

from collections.abc import Sequence

from ..events.update import update_events
from ..recipes.recipe import Recipe
from ..workload.workload import Workload
from .gemm import LayerCost
from .mac_source import get_mac_source

_MULTIPLIERS = ("float_multiply", "significand_multiply", "int_multiply", "constant_multiply")


def count_multiplications(
    layers: Sequence[LayerCost], workload: Workload, recipe: Recipe
) -> dict[tuple[str, str], dict[str, int]]:
    """Return (phase, unit) -> cause -> multiplications of a step; unit "array" or "vector unit".

    Divisions, roots and exponentials are not among them: the events of a step list those.
    """
    phases = recipe.rule.phases
    found: dict[tuple[str, str], dict[str, int]] = {(phase, "array"): {} for phase in phases[:-1]}
    found |= {(phase, "vector unit"): {} for phase in phases}
    count_macs = get_mac_source("components").events
    for layer in layers:
        gemm = layer.gemm
        a, b = getattr(recipe, gemm.a_role), getattr(recipe, gemm.b_role)
        for event, n in count_macs(recipe.datapath, a, b, gemm.M, gemm.N, gemm.K).items():
            if event.kind in _MULTIPLIERS:
                causes = found[gemm.phase, "array"]
                causes[event.kind] = causes.get(event.kind, 0) + n * gemm.count
    for op in workload.vector:
        n = dict(op.arithmetic).get("multiply", 0)
        if n:
            causes = found[op.phase, "vector unit"]
            causes[op.name] = causes.get(op.name, 0) + n
    update = update_events(
        recipe.optimiser,
        workload.parameters,
        recipe.update,
        tensors=workload.parameter_tensors,
    )
    n = sum(count for event, count in update.items() if event.kind == "float_multiply")
    if n:
        found["update", "vector unit"][recipe.optimiser] = n
    return found
