"""A model trains on any backend to the same bits; a layer of one's own takes a line of a table."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from lnsim.kernels import BACKENDS, oracle
from lnsim.lns import Accumulator
from lnsim.sim import Recipe, convert, get_recipe, lns_recipe, make_optimiser
from lnsim.sim.training import convert as convert_module
from lnsim.sim.training.mapped import Mapped
from lnsim.sim.training.operands import encode_operand, multiply
from lnsim.sim.training.products import Operand, Product
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

RECIPES = {
    "lns8": lns_recipe(),
    "lns8-madam": lns_recipe(optimiser="madam"),
    "lns-log": lns_recipe(accumulator=Accumulator(bits=10, style="log")),
    "lns-narrow": lns_recipe(6, 4, accumulator=Accumulator(bits=12, guard=1)),
    **{name: get_recipe(name) for name in ("fp8-no-master", "fp8-fixed", "int8", "mxfp8-e4m3")},
}


def trained(recipe: Recipe, backend: str, steps: int = 2) -> tuple[nn.Module, list[float]]:
    """A small network after some steps: a strided convolution in groups, a padded one, a Linear."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(4, 2, 2, padding="same", dilation=2, bias=False),
        nn.Flatten(),
        nn.Linear(18, 3),
    )
    model = convert(model, recipe, backend=backend)
    optimiser = make_optimiser(model, recipe)
    losses = []
    for step in range(steps):
        x = torch.randn(3, 2, 5, 6 - step).requires_grad_()
        x = torch.nn.functional.pad(x, (0, step)) if step else x
        loss = cross_entropy(model(x), torch.tensor([0, 1, 2]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("name", RECIPES)
def test_the_oracle_trains_to_the_same_bits(name: str) -> None:
    """Weights, losses, overflow counts and events after two steps."""
    (cpu, losses), (slow, wanted) = (trained(RECIPES[name], each) for each in ("cpu", "oracle"))
    assert losses == wanted
    assert cpu.tally.as_dict() == slow.tally.as_dict()  # type: ignore[union-attr]
    mine, theirs = cpu.state_dict(), slow.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_every_product_and_code_comes_from_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that counts its calls sees all a step needs; cpu is not asked."""
    asked: dict[str, int] = {}
    double: Any = ModuleType("counting")

    def counted(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            asked[name] = asked.get(name, 0) + 1
            return getattr(oracle, name)(*arguments, **options)

        return call

    for name in oracle.__all__:
        setattr(double, name, counted(name))
    monkeypatch.setitem(sys.modules, "counting", double)
    monkeypatch.setitem(BACKENDS, "counting", "counting")
    monkeypatch.setitem(BACKENDS, "cpu", "no_such_module")
    trained(lns_recipe(), "counting", steps=1)
    assert asked["product_real"] == 3 * 3 + 3  # the grouped layer has two of each product
    assert asked["move"] == 5
    assert asked["requantise"] == 3
    assert {"quantise", "decode", "patches", "pad", "spread", "turned_kernel"} <= set(asked)


def test_an_unknown_backend_is_refused() -> None:
    """By name, before anything is changed."""
    with pytest.raises(ValueError, match=r"^backend must be one of cpu, cuda, oracle, got 'gpu'"):
        convert(nn.Linear(2, 2), lns_recipe(), backend="gpu")
    with pytest.raises(
        NotImplementedError, match=r"^backend must be one of cpu, oracle, got 'cuda'"
    ):
        convert(nn.Linear(2, 2), lns_recipe(), backend="cuda")


class Scores(nn.Module):
    """y = (x q) x^T: a product of two activations behind one of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight @ x.T


QUERY = Product("forward", Operand("activation", 1), Operand("weight", 0))
SCORES = Product("forward", Operand("activation", 1), Operand("activation", 1))


class MappedScores(Mapped, Scores):
    """Both products on the datapath, in inference."""

    def forward(self, x: Tensor) -> Tensor:
        key = encode_operand(self, "activation", SCORES, "forward", x)
        weight = encode_operand(self, "weight", QUERY, "forward", self.weight)
        query = multiply(self, QUERY, key, weight)
        return multiply(
            self, SCORES, encode_operand(self, "activation", SCORES, "forward", query), key.T
        )


@pytest.mark.parametrize("name", ["lns8-madam", "mxfp8-e4m3", "int8"])
def test_a_layer_of_ones_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in the table: converted where it stands, its products counted as declared."""
    home: Any = ModuleType("own_layers")
    home.MappedScores = MappedScores
    monkeypatch.setitem(sys.modules, "own_layers", home)
    torch.manual_seed(1)
    model = nn.Sequential(Scores())
    x = torch.randn(3, 4)
    assert type(convert(model, RECIPES[name])[0]) is Scores  # type: ignore[index]
    monkeypatch.setitem(convert_module.LAYERS, Scores, "own_layers:MappedScores")
    converted = convert(model, RECIPES[name], strict=True)
    assert type(converted[0]) is MappedScores  # type: ignore[index]
    with torch.no_grad():
        y = converted(x)
    wanted = model(x)
    assert bool((y - wanted).norm() < 0.2 * wanted.norm())
    counts = converted.tally.as_dict()  # type: ignore[union-attr]
    (row,) = counts["accumulators"]
    assert (row["layer"], row["phase"], row["products"]) == ("0", "forward", 3 * 4 * 4 + 3 * 3 * 4)
    assert {each["role"]: each["elements"] for each in counts["encodes"]} == {
        "activation": 24,
        "weight": 16,
    }
