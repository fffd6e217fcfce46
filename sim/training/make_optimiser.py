"""The choice of an optimiser by recipe, and what a training loop asks of any of them."""

import torch
from torch import nn
from torch.optim import Optimizer

from ...lns.checks import require_kind
from ..checks import require_positive
from ..recipes.recipe import DEFAULT_LR, Recipe
from ..rules.madam_optimisers import IntegerMadam, LNSMadam, Madam
from .convert import mapped_layers
from .operands import decoded, encode_tensor


def make_optimiser(model: nn.Module, recipe: Recipe, lr: float | None = None) -> Optimizer:
    """Return the recipe's optimiser over a converted `model`.

    lr None: DEFAULT_LR; for "integer-madam" lr is the effective learning rate, lr_factor =
    lr * gamma / ln 2. Where the recipe stores weights in an update format and the optimiser works
    on floats, the weights of mapped layers are put into it now and after every step (counted).
    Every step adds its events to the model's tally.
    """
    require_kind("model", model, nn.Module)
    require_kind("recipe", recipe, Recipe)
    rate = DEFAULT_LR[recipe.optimiser] if lr is None else require_positive("lr", lr)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser: Optimizer
    if recipe.optimiser == "integer-madam":
        optimiser = IntegerMadam(model, lr=rate)
    elif recipe.optimiser == "madam":
        optimiser = Madam(parameters, rate, p_scale=recipe.p_scale)
    elif recipe.optimiser == "lns-madam":
        optimiser = LNSMadam(parameters, rate, p_scale=recipe.p_scale)
    elif recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(parameters, rate)
    else:
        optimiser = torch.optim.SGD(parameters, rate, momentum=0.9)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    if recipe.update is not None and recipe.optimiser != "integer-madam":
        _store(model, recipe)
        optimiser.register_step_post_hook(lambda *_: _store(model, recipe))
    if recipe.optimiser != "integer-madam":  # which counts its own steps
        optimiser.register_step_post_hook(lambda self, *_: _count_step(self, model, recipe))
    return optimiser


def _count_step(optimiser: Optimizer, model: nn.Module, recipe: Recipe) -> None:
    """Add the events of the step just taken to the tally of a converted model."""
    for layer in mapped_layers(model)[:1]:
        moved = updated_elements(optimiser)
        layer.tally.add_update(recipe.optimiser, moved, recipe.update)


@torch.no_grad()
def _store(model: nn.Module, recipe: Recipe) -> None:
    """Round the weights of mapped layers to the update format, in place."""
    assert recipe.update is not None
    for layer in mapped_layers(model):
        for tensor in layer.parameters(recurse=False):
            if not bool(tensor.any()):
                continue  # zero stays zero: a format without it would store its smallest magnitude
            codes = encode_tensor(
                layer.backend,
                layer.tally,
                layer.layer_name,
                "update",
                "update",
                tensor,
                recipe.update,
                recipe.scaling,
            )
            tensor.copy_(decoded(layer.backend, codes))


def set_lr_scale(optimiser: Optimizer, scale: float) -> None:
    """Set every learning rate to `scale` times its start (integer Madam: lowers lr_factor)."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * scale


def undefined_directions(optimiser: Optimizer) -> int:
    """Number of 0/0 directions Madam has taken as 0 since the start, over all weights and steps."""
    return sum(int(state.get("undefined", 0)) for state in optimiser.state.values())


def updated_elements(optimiser: Optimizer) -> int:
    """Number of weights the gradients at hand move in a step."""
    count = sum(
        weight.numel()
        for group in optimiser.param_groups
        for weight in group["params"]
        if weight.grad is not None
    )
    return count + (optimiser.delivered() if isinstance(optimiser, IntegerMadam) else 0)
