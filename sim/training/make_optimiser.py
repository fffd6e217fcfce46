"""The choice of an optimiser by recipe, and what a training loop asks of any of them."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from ...kernels import to_float32
from ...lns.checks import require_kind
from ..checks import require_positive
from ..recipes.recipe import Recipe
from ..rules.coded import CodedTensor, trained_codes
from ..rules.rule import named
from .convert import mapped_layers
from .linear import Mapped
from .operands import encode_tensor


def make_optimiser(model: nn.Module, recipe: Recipe, lr: float | None = None) -> Optimizer:
    """Return the optimiser of the recipe's rule over a converted `model`.

    lr None: the rule's own; for "integer-madam" lr is the effective learning rate, lr_factor =
    lr * gamma / ln 2 of each tensor's own format. Layers whose recipe has an update format for
    floats have their weights put into it now and after every step (counted). Every step adds its
    events to the model's tally. Raises ValueError where layers hold codes and the rule moves none.
    """
    require_kind("model", model, nn.Module)
    require_kind("recipe", recipe, Recipe)
    rule, codes = recipe.rule, trained_codes(model)
    if codes and rule.stores != "code":
        raise ValueError(
            f"recipe must have an optimiser that moves codes, which {codes[0].name} is made of, "
            f"got {rule.name}"
        )
    rate = rule.lr if lr is None else require_positive("lr", lr)
    optimiser: Optimizer = named(rule.make)(model, recipe, rate)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    stored = [layer for layer in mapped_layers(model) if layer.recipe.update and not layer.coded]
    if stored:
        _store(stored)
        optimiser.register_step_post_hook(lambda *_: _store(stored))
    if rule.stores != "code":  # whose optimiser counts its own steps
        optimiser.register_step_post_hook(lambda self, *_: _count_step(self, model, recipe))
    return optimiser


def _count_step(optimiser: Optimizer, model: nn.Module, recipe: Recipe) -> None:
    """Add the events of the step just taken to the tally of a converted model."""
    for layer in mapped_layers(model)[:1]:
        elements = [weight.numel() for weight in _moved(optimiser)]
        layer.tally.add_update(recipe.optimiser, sum(elements), recipe.update, len(elements))


@torch.no_grad()
def _store(layers: Sequence[Mapped]) -> None:
    """Round the weights of mapped layers to their update formats, in place."""
    for layer in layers:
        fmt = layer.recipe.update
        assert fmt is not None
        for tensor in layer.parameters(recurse=False):
            real = tensor.detach().numpy()
            if not real.any():
                continue  # zero stays zero: a format without it would store its smallest magnitude
            array = encode_tensor(
                layer.tally, layer.layer_name, "update", "update", real, fmt, layer.recipe.scaling
            )
            tensor.copy_(torch.from_numpy(to_float32(array)))


def set_lr_scale(optimiser: Optimizer, scale: float) -> None:
    """Set every learning rate to `scale` times its start (integer Madam: lowers lr_factor)."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * scale


def undefined_directions(optimiser: Optimizer) -> int:
    """Number of 0/0 directions Madam has taken as 0 since the start, over all weights and steps."""
    return sum(int(state.get("undefined", 0)) for state in optimiser.state.values())


def updated_elements(optimiser: Optimizer) -> int:
    """Number of weights the gradients at hand move in a step."""
    coded: Sequence[CodedTensor] = getattr(optimiser, "coded", ())
    delivered = sum(each.gradient.numel() for each in coded if each.gradient is not None)
    return delivered + sum(weight.numel() for weight in _moved(optimiser))


def _moved(optimiser: Optimizer) -> list[torch.Tensor]:
    """The float Parameters that have a gradient."""
    groups = optimiser.param_groups
    return [weight for group in groups for weight in group["params"] if weight.grad is not None]
