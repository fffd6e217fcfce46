"""The choice of an optimiser by recipe, and what a training loop asks of any of them."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from ...lns.checks import require_kind
from ...lns.format import FP32, Format
from ..checks import require_positive
from ..events.encode import encode_events
from ..events.event import Events, add_events
from ..events.update import update_events
from ..recipes.recipe import Recipe
from ..rules.coded import CodedTensor, trained_codes
from ..rules.rule import named
from .convert import mapped_layers
from .mapped import Mapped
from .operands import decoded, encode_tensor


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
    stored = _stored(model)
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


def _stored(model: nn.Module) -> list[Mapped]:
    """The layers whose floats are kept in an update format."""
    return [layer for layer in mapped_layers(model) if layer.recipe.update and not layer.coded]


@torch.no_grad()
def _store(layers: Sequence[Mapped]) -> None:
    """Round the weights of mapped layers to their update formats, in place."""
    for layer in layers:
        fmt = layer.recipe.update
        assert fmt is not None
        for tensor in layer.parameters(recurse=False):
            if not bool(tensor.any()):
                continue  # zero stays zero: a format without it would store its smallest magnitude
            place = layer.tally, layer.layer_name, "update", "update"
            codes = encode_tensor(layer.backend, *place, tensor, fmt, layer.recipe.scaling)
            tensor.copy_(decoded(layer.backend, codes))


def set_lr_scale(optimiser: Optimizer, scale: float) -> None:
    """Set every learning rate to `scale` times its start (integer Madam: lowers lr_factor)."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * scale


def undefined_directions(optimiser: Optimizer) -> int:
    """Number of 0/0 directions Madam has taken as 0 since the start, over all weights and steps."""
    return sum(int(state.get("undefined", 0)) for state in optimiser.state.values())


def update_of_a_step(model: nn.Module, optimiser: Optimizer, recipe: Recipe) -> Events:
    """Return the events of a step in which every weight of `optimiser` has a gradient.

    They are those the step counts, known beforehand: what `make_optimiser` moves and stores.
    """
    rule, total = recipe.rule, Events()
    coded: Sequence[CodedTensor] = getattr(optimiser, "coded", ())
    own = {id(tensor.code) for tensor in coded}
    floats = [w for group in optimiser.param_groups for w in group["params"] if id(w) not in own]
    sizes: dict[Format | None, list[int]] = {}
    for tensor in coded:
        sizes.setdefault(tensor.fmt, []).append(tensor.code.numel())
    moves = [(rule.name, fmt, elements) for fmt, elements in sizes.items()]
    name, fmt = (rule.beside, None) if coded else (rule.name, recipe.update)
    moves.append((name, fmt, [weight.numel() for weight in floats]))
    for name, fmt, elements in moves:
        add_events(total, update_events(name, sum(elements), fmt, FP32, len(elements)))
    for layer in _stored(model):
        assert layer.recipe.update is not None
        for weight in layer.parameters(recurse=False):
            if weight.any() or not rule.multiplicative:  # else it stays zero and is not stored
                add_events(total, encode_events(layer.recipe.update, weight.numel()))
    return total


def _moved(optimiser: Optimizer) -> list[torch.Tensor]:
    """The float Parameters that have a gradient."""
    groups = optimiser.param_groups
    return [weight for group in groups for weight in group["params"] if weight.grad is not None]
