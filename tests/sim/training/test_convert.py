"""`convert`: weights are kept, structure is kept, what cannot be mapped is said."""

import copy
import logging

import pytest
import torch
from lnsim.sim import Conv2d, Linear, convert, get_recipe, lns_recipe
from lnsim.sim.training.convert import mapped_layers
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.workload.models import MODELS, make_model
from torch import nn

FLOAT = lns_recipe(optimiser="madam")


class Net(nn.Module):
    """Nested, with a shared layer, a norm and a bare Parameter-free branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.shared = nn.Linear(16, 16)
        self.again = self.shared
        self.head = nn.ModuleDict({"out": nn.Linear(16, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(self.conv(x)).reshape(x.shape[0], 16, -1).mean(2)
        return self.head["out"](self.again(self.shared(y)))  # type: ignore[no-any-return]


def test_weights_and_structure_are_kept() -> None:
    """Same state_dict, same bits, shared stays shared, the original is untouched."""
    model = Net()
    before = copy.deepcopy(model.state_dict())
    converted = convert(model, FLOAT)
    assert type(converted.conv) is Conv2d
    assert type(converted.head["out"]) is Linear
    assert converted.shared is converted.again
    assert len(mapped_layers(converted)) == 3
    assert list(converted.state_dict()) == list(before)
    assert all(torch.equal(converted.state_dict()[k], v) for k, v in before.items())
    assert type(model.conv) is nn.Conv2d
    assert converted.shared.weight is not model.shared.weight
    converted.load_state_dict(before)
    converted(torch.randn(2, 1, 4, 4)).sum().backward()
    assert converted.conv.weight.grad is not None


def test_hooks_flags_and_mode_survive() -> None:
    """A frozen Parameter, eval mode and a forward hook are the user's and stay."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval()
    model[0].weight.requires_grad_(False)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    converted = convert(model, FLOAT)
    converted(torch.randn(1, 3))
    assert not converted.training
    assert not converted[0].weight.requires_grad
    assert calls == [1]


def test_a_bare_layer_is_converted() -> None:
    """The root itself may be the layer."""
    converted = convert(nn.Linear(3, 2), lns_recipe())
    assert type(converted) is Linear
    assert converted(torch.randn(4, 3)).shape == (4, 2)


class OddLinear(nn.Linear):
    """A subclass may compute something else: it is not mapped."""


def unmappable() -> nn.Module:
    """One of each kind that has no place on the array."""
    return nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(4, 2),
            "rnn": nn.LSTM(3, 3),
            "up": nn.ConvTranspose2d(1, 1, 2),
            "odd": OddLinear(2, 2),
            "reflect": nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
            "table": nn.Embedding(3, 2),
            "fine": nn.Linear(2, 2),
            "norm": nn.LayerNorm(2),
        }
    )


def test_layers_without_a_mapping_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """One line each on the logger; they keep working; norms are no news."""
    with caplog.at_level(logging.WARNING, logger="lnsim"):
        converted = convert(unmappable(), get_recipe("fp32"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"layer {name} stays on the vector unit"
        for name in (
            "attention (MultiheadAttention)",
            "rnn (LSTM)",
            "up (ConvTranspose2d)",
            "odd (OddLinear)",
            "reflect (Conv2d)",
            "table (Embedding)",
        )
    ]
    x = torch.randn(5, 1, 4)
    assert converted["attention"](x, x, x)[0].shape == x.shape
    assert type(converted["fine"]) is Linear


def test_strict_mode_refuses_them() -> None:
    """One error that names them all."""
    with pytest.raises(ValueError, match=r"^model must hold only layers that map, got attention"):
        convert(unmappable(), FLOAT, strict=True)
    convert(Net(), FLOAT, strict=True)


def test_tied_weights() -> None:
    """Tied Parameters stay tied; as codes they would part ways, so integer Madam refuses."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    converted = convert(model, FLOAT)
    assert converted[0].weight is converted[1].weight
    with pytest.raises(
        ValueError,
        match=r"^weights must not be tied under integer-madam, got 0\.weight and 1\.weight$",
    ):
        convert(model, lns_recipe())


def test_only_float32_models() -> None:
    """Half or double Parameters are refused by layer."""
    with pytest.raises(TypeError, match=r"^root must hold float32 tensors, got torch\.float64$"):
        convert(nn.Linear(2, 2).double(), FLOAT)
    with pytest.raises(TypeError, match=r"^model must be a torch\.nn\.Module, got int$"):
        convert(3, FLOAT)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cnn", "mlp"])
@pytest.mark.parametrize("recipe", ["fp8", "fp16", "int8", "fp8-fixed", "lns8"])
def test_models_train_a_step_on_every_recipe(name: str, recipe: str) -> None:
    """Forward and backward run and give finite gradients."""
    model = make_model(name, (1, 8, 8), 4, seed=0)
    converted = convert(model, get_recipe(recipe), strict=True)
    out = converted(torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (3, 4)
    out.square().sum().backward()
    for layer in mapped_layers(converted):
        grad = layer.codes["weight"].gradient if layer.coded else layer.weight.grad
        assert bool(torch.isfinite(grad).all())
        assert bool(grad.any())


def test_models_come_from_their_seed() -> None:
    """The same seed gives the same weights and leaves torch's generator alone."""
    state = torch.get_rng_state()
    for name in MODELS:
        a, b, c = (make_model(name, (3, 8, 8), 4, seed=s) for s in (1, 1, 2))
        same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
        other = [torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True)]
        assert all(same)
        assert not any(other)
    assert torch.equal(state, torch.get_rng_state())


class ListHeld(nn.Module):
    """Runs its layer through a plain list, which `named_modules` does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.order = [self.layer]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.order:
            x = layer(x)
        return x


@pytest.mark.parametrize("optimiser", ["madam", "integer-madam"])
def test_every_reference_to_a_layer_is_mapped(optimiser: str) -> None:
    """A layer that is also held outside the module tree runs on the datapath there too."""
    converted = convert(ListHeld(), lns_recipe(optimiser=optimiser))
    assert converted.order[0] is converted.layer
    converted(torch.randn(2, 4))
    assert converted.tally.as_dict()["accumulators"]


@pytest.mark.parametrize("optimiser", ["madam", "integer-madam"])
def test_inference_of_a_transformer_layer_stays_on_the_datapath(optimiser: str) -> None:
    """torch's fused path, which reads the weights directly, is not taken."""
    recipe = lns_recipe(optimiser=optimiser)
    converted = convert(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), recipe).eval()
    with torch.no_grad():
        converted(torch.randn(2, 3, 8))
    layers = {row["layer"] for row in converted.tally.as_dict()["accumulators"]}
    assert layers == {"linear1", "linear2"}


def test_a_frozen_layer_keeps_its_codes() -> None:
    """requires_grad=False means the same under integer Madam as in torch."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    converted = convert(model, lns_recipe())
    before = converted[0].weight_code.clone(), converted[1].weight_code.clone()
    optimiser = make_optimiser(converted, lns_recipe())
    converted(torch.randn(8, 4)).square().sum().backward()
    optimiser.step()
    assert torch.equal(converted[0].weight_code, before[0])
    assert not torch.equal(converted[1].weight_code, before[1])
    phases = {(r["layer"], r["phase"]) for r in converted.tally.as_dict()["accumulators"]}
    assert phases == {("0", "forward"), ("1", "forward"), ("1", "dw")}


def test_ties_between_layers_that_stay_float_are_fine() -> None:
    """Only a Parameter that becomes codes must have one owner."""
    model = nn.ModuleDict(
        {"a": nn.Embedding(3, 2), "b": nn.Embedding(3, 2), "out": nn.Linear(2, 3, bias=False)}
    )
    model["b"].weight = model["a"].weight
    converted = convert(model, lns_recipe())
    assert converted["a"].weight is converted["b"].weight
    model["out"].weight = model["a"].weight
    with pytest.raises(ValueError, match=r"got a\.weight and b\.weight and out\.weight$"):
        convert(model, lns_recipe())


def test_models_that_cannot_be_converted_are_refused() -> None:
    """Converted already; a name of ours in use; a weight that no code can hold."""
    with pytest.raises(ValueError, match=r"^model must not be converted already, got 0$"):
        convert(convert(nn.Sequential(nn.Linear(2, 2)), FLOAT), FLOAT)
    model = nn.Sequential(nn.Linear(2, 2))
    model.tally = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"^model must leave the attribute 'tally' to convert"):
        convert(model, FLOAT)
    empty = nn.Linear(2, 2)
    nn.init.zeros_(empty.weight)
    with pytest.raises(ValueError, match=r"^weight of root must not be all zero under integer-mad"):
        convert(empty, lns_recipe())
