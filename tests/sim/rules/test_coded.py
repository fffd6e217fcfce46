"""Coded tensors carry their own format: layers of several formats move as each would alone."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lnsim.lns import LNSFormat
from lnsim.sim import IntegerMadam, Linear, Recipe, Tally, convert, get_recipe, lns_recipe
from lnsim.sim.events.event import Event, Events, add_events
from lnsim.sim.events.update import update_events
from lnsim.sim.rules.coded import trained_codes
from lnsim.sim.rules.madam import integer_madam_update, madam_direction
from lnsim.sim.training.backprop import step
from lnsim.sim.training.make_optimiser import make_optimiser, set_lr_scale
from torch import nn
from torch.optim import Optimizer

PAIRS = [
    ((15, 2048), (11, 128)), ((11, 128), (15, 2048)), ((15, 2048), (15, 1)),
    ((9, 64), (13, 64)), ((5, 2), (12, 512)), ((15, 4096), (4, 1)),
]  # fmt: skip
SAVED = Path(__file__).with_name("integer_madam_0_1.pt")


def stored_as(exponent_bits: int, gamma: int, **changes: object) -> Recipe:
    """LNS8 with integer Madam on codes of this format."""
    recipe = lns_recipe(update=LNSFormat(exponent_bits, gamma, zero=False))
    return replace(recipe, **changes)  # type: ignore[arg-type]


def two_layers(first: Recipe, second: Recipe) -> nn.Sequential:
    """Layers of a recipe each, on one tally."""
    torch.manual_seed(1)
    a, b = Linear(6, 5, recipe=first), Linear(5, 3, recipe=second)
    a.layer_name, b.layer_name, b.tally = "a", "b", a.tally
    return nn.Sequential(a, nn.ReLU(), b)


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Seeded inputs and classes."""
    generator = torch.Generator().manual_seed(9)
    return [
        (
            torch.randn(16, 6, generator=generator),
            torch.randint(0, 3, (16,), generator=generator),
        )
        for _ in range(count)
    ]


def judged(
    code: torch.Tensor, fmt: LNSFormat, gradients: list[torch.Tensor], factors: list[float]
) -> torch.Tensor:
    """The codes after these steps, by the formulas of `madam` alone."""
    v = torch.zeros_like(gradients[0])
    for t, (gradient, factor) in enumerate(zip(gradients, factors, strict=True), start=1):
        u, v = madam_direction(gradient, v, t)
        code = integer_madam_update(code, u, factor, fmt.exponent_bits)
    return code


Make = Callable[[nn.Module, Recipe], Optimizer]
MAKES: dict[str, tuple[Make, Callable[[int], float]]] = {
    # how an optimiser is made, and lattice steps per unit of u on a lattice of this gamma
    "lr": (lambda m, _: IntegerMadam(m, lr=0.02), lambda g: 0.02 * g / math.log(2)),
    "lr_factor": (lambda m, _: IntegerMadam(m, lr_factor=3.0), lambda _: 3.0),
    "make_optimiser": (
        lambda m, recipe: make_optimiser(m, recipe, lr=0.02), lambda g: 0.02 * g / math.log(2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", sorted(MAKES))
@pytest.mark.parametrize("formats", PAIRS, ids=str)
def test_each_layer_moves_as_it_would_alone(
    formats: tuple[tuple[int, int], tuple[int, int]], make: str
) -> None:
    """Weights of both signs, over steps of a falling rate: as in a model of that layer alone, and
    as the formulas say; signs stay."""
    recipes = [stored_as(*fmt) for fmt in formats]
    model = two_layers(recipes[0], recipes[1])
    made, factor_of = MAKES[make]
    alone = [nn.Sequential(copy.deepcopy(model[index])) for index in (0, 2)]
    optimisers = [made(part, recipe) for part, recipe in zip(alone, recipes, strict=True)]
    together = made(model, recipes[0])
    tensors, twins = trained_codes(model), [trained_codes(part) for part in alone]
    flat = [twin for part in twins for twin in part]
    start = [tensor.code.clone() for tensor in tensors]
    seen: list[list[torch.Tensor]] = [[] for _ in tensors]
    scales = [1.0, 0.5, 0.5, 0.1]
    for (x, y), scale in zip(batches(4), scales, strict=True):
        for optimiser in (together, *optimisers):
            set_lr_scale(optimiser, scale)
            optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        for tensor, twin, gradients in zip(tensors, flat, seen, strict=True):
            assert tensor.gradient is not None
            gradients.append(tensor.gradient.clone())
            twin.deliver(tensor.gradient.clone())
        for optimiser in (together, *optimisers):
            optimiser.step()
    signs = set()
    for tensor, twin, before, gradients in zip(tensors, flat, start, seen, strict=True):
        fmt = tensor.fmt
        factors = [factor_of(fmt.gamma) * scale for scale in scales]
        assert torch.equal(tensor.code, twin.code), tensor.name
        assert torch.equal(tensor.code, judged(before, fmt, gradients, factors)), tensor.name
        assert torch.equal(tensor.code >> fmt.exponent_bits, before >> fmt.exponent_bits)
        signs |= set((before >> fmt.exponent_bits).flatten().tolist())
    assert signs == {0, 1}


def test_the_step_that_was_wrong() -> None:
    """E=15 G=2048 before E=11 G=128: u = 1 at lr 0.01 moves 30 and 2 steps of a lattice, against
    the gradient for either sign of weight."""
    model = two_layers(stored_as(15, 2048), stored_as(11, 128))
    optimiser = make_optimiser(model, stored_as(15, 2048), lr=0.01)
    tensors = trained_codes(model)
    before = [tensor.code.clone() for tensor in tensors]
    for tensor in tensors:
        tensor.deliver(torch.ones(tensor.code.shape))
    optimiser.step()
    for tensor, old, steps in zip(tensors, before, (30, 30, 2, 2), strict=True):
        top = tensor.fmt.max_exponent
        sign = 1 - 2 * (old >> tensor.fmt.exponent_bits)
        assert torch.equal(tensor.code & top, ((old & top) - steps * sign).clamp(0, top))


def test_a_parameter_group_for_each_format() -> None:
    """One format has the groups of 0.1; several have one each, which a schedule scales."""
    one = IntegerMadam(two_layers(stored_as(11, 128), stored_as(11, 128)), lr=0.01)
    (group,) = one.param_groups
    assert list(group) == ["params", "lr", "p_scale", "g_bound", "beta2"]
    assert len(group["params"]) == 4
    several = IntegerMadam(two_layers(stored_as(11, 128), stored_as(15, 2048)), lr=0.01)
    rates = [0.01 * gamma / math.log(2) for gamma in (128, 2048)]
    assert [group["lr"] for group in several.param_groups] == rates
    assert several.lr_factor == rates[0]
    set_lr_scale(several, 0.25)
    assert [group["lr"] for group in several.param_groups] == [rate / 4 for rate in rates]


def test_events_are_counted_by_format() -> None:
    """Exponents are added at their own width."""
    first, second = stored_as(15, 2048), stored_as(11, 128)
    model = two_layers(first, second)
    optimiser = make_optimiser(model, first)
    (x, y), *_ = batches(1)
    step(model, optimiser, x, y, nn.functional.cross_entropy)
    events = model[0].tally.events["update"]
    sizes = (6 * 5 + 5, 5 * 3 + 3)
    assert sum(each.gradient.numel() for each in optimiser.coded) == sum(sizes)
    assert (events[Event("exponent_add", 16)], events[Event("exponent_add", 12)]) == sizes
    wanted: Events = {}
    for size, recipe in zip(sizes, (first, second), strict=True):
        add_events(wanted, update_events("integer-madam", size, recipe.update))
    assert events == wanted


@pytest.mark.parametrize("formats", [PAIRS[0], PAIRS[1], PAIRS[3]], ids=str)
def test_mixed_formats_learn(formats: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The loss of one batch falls step by step, well below its start."""
    recipes = [stored_as(*fmt) for fmt in formats]
    model = two_layers(recipes[0], recipes[1])
    optimiser = make_optimiser(model, recipes[0], lr=0.05)
    (x, y), *_ = batches(1)
    losses = [step(model, optimiser, x, y, nn.functional.cross_entropy) for _ in range(30)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("optimiser", ["integer-madam", "madam"])
def test_each_layer_has_its_own_bound(optimiser: str) -> None:
    """w_max = p_scale RMS(w_0) with each layer's own p_scale."""
    scales = (1.5, 6.0)
    recipes = [replace(lns_recipe(optimiser=optimiser), p_scale=scale) for scale in scales]
    torch.manual_seed(1)
    plain = [nn.Linear(6, 5), nn.Linear(5, 3)]
    layers = [convert(layer, recipe) for layer, recipe in zip(plain, recipes, strict=True)]
    model = nn.Sequential(*layers)
    made = make_optimiser(model, recipes[0])
    (x, y), *_ = batches(1)
    step(model, made, x, y, nn.functional.cross_entropy)
    for layer, old, scale in zip(layers, plain, scales, strict=True):
        wanted = scale * old.weight.detach().square().mean().sqrt().item()
        if optimiser == "madam":
            assert made.state[layer.weight]["w_max"].item() == pytest.approx(wanted, rel=1e-6)
        else:
            tensor = layer.codes["weight"]
            top = (tensor.fmt.max_exponent + tensor.offset) / tensor.fmt.gamma
            assert abs(top - math.log2(wanted)) <= 0.5 / tensor.fmt.gamma + 1e-6


def test_float_weights_are_stored_in_their_own_layers_format() -> None:
    """Under a float rule too: each layer's weights lie on its own lattice after a step."""
    formats = [LNSFormat(8, 4, zero=False), LNSFormat(8, 16, zero=False)]
    recipes = [lns_recipe(optimiser="lns-madam", update=fmt) for fmt in formats]
    model = two_layers(recipes[0], recipes[1])
    optimiser = make_optimiser(model, recipes[0])
    (x, y), *_ = batches(1)
    step(model, optimiser, x, y, nn.functional.cross_entropy)
    octaves = [model[index].weight.detach().abs().double().log2() for index in (0, 2)]
    on = [[bool(((o * g).round() / g - o).abs().max() < 1e-6) for g in (4, 16)] for o in octaves]
    assert on == [[True, True], [False, True]]


def test_a_rule_of_floats_does_not_pass_over_codes() -> None:
    """Codes that no optimiser would move are refused, not left as they are."""
    model = two_layers(stored_as(15, 2048), get_recipe("fp32"))
    message = (
        r"^recipe must have an optimiser that moves codes, which a\.bias is made of, got adamw$"
    )
    with pytest.raises(ValueError, match=message):
        make_optimiser(model, get_recipe("fp32"))


def test_codes_live_in_the_buffers() -> None:
    """Copies, loaded states and replaced buffers are what the coded tensor reads."""
    model = convert(nn.Sequential(nn.Linear(4, 3)), lns_recipe())
    assert list(model.state_dict()) == [
        "0.weight_code", "0.weight_offset", "0.bias_code", "0.bias_offset",
    ]  # fmt: skip
    twin = copy.deepcopy(model)
    (bias, weight), (_, other) = trained_codes(model), trained_codes(twin)
    assert (bias.name, weight.name) == ("0.bias", "0.weight")
    assert isinstance(other.tally, Tally)
    assert other.tally is twin.tally
    assert other.holder is twin[0]
    weight.code.zero_()
    assert not torch.equal(other.code, weight.code)
    for assign in (False, True):
        weight.code.add_(1)
        twin.load_state_dict(model.state_dict(), assign=assign)
        assert torch.equal(other.code, weight.code)
        assert other.code is twin[0].weight_code


def test_a_state_saved_by_0_1_goes_on_with_the_same_bits() -> None:
    """A model and an optimiser of 0.1 after two steps at half rate, and what its next two made of
    the gradients kept with them; LayerNorm's Parameters took float Madam."""
    saved = torch.load(SAVED, weights_only=True)
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3))
    model = convert(plain, lns_recipe())
    optimiser = make_optimiser(model, lns_recipe())
    own = optimiser.state_dict()
    assert [list(group) for group in own["param_groups"]] == [
        list(group) for group in saved["optimiser"]["param_groups"]
    ]
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    for gradients in saved["gradients"]:
        for tensor in trained_codes(model):
            tensor.gradient = gradients["codes"][tensor.name]
        for name, parameter in model.named_parameters():
            parameter.grad = gradients["floats"][name]
        optimiser.step()
    for name, value in model.state_dict().items():
        after = saved["after"][name]
        if value.is_floating_point():  # torch's exp has not the same last bit everywhere
            torch.testing.assert_close(value, after)
        else:
            assert torch.equal(value, after), name
    states = optimiser.state_dict()["state"]
    assert states.keys() == saved["optimiser_after"]["state"].keys()
    for index, state in states.items():
        for key, value in saved["optimiser_after"]["state"][index].items():
            assert (
                state[key] == value
                if not torch.is_tensor(value)
                else torch.equal(state[key], value)
            )
