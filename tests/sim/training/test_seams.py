"""A model trains on any backend to the same bits; a layer of one's own takes a line of a table."""

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from lnsim.kernels import BACKENDS, Backend, Gathered, oracle
from lnsim.lns import Accumulator, CodeArray, NonFiniteError
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


class Own:
    """Codes that lie somewhere else: nothing but what the protocol says can be asked of them."""

    __slots__ = ("_inside",)

    def __init__(self, inside: Any) -> None:
        self._inside = inside

    fmt = property(lambda self: self._inside.fmt)
    offset = property(lambda self: self._inside.offset)
    shape = property(lambda self: self._inside.shape)
    T = property(lambda self: Own(self._inside.T))


def opened(value: Any) -> Any:
    """What a backend of `Own` codes works on."""
    return value._inside if isinstance(value, Own) else value


def closed(value: Any) -> Any:
    """A backend's answer, its codes shut away."""
    if isinstance(value, tuple):
        return tuple(closed(each) for each in value)
    return Own(value) if isinstance(value, CodeArray | Gathered) else value


@pytest.mark.parametrize("name", ["lns8", "fp8-no-master", "mxfp8-e4m3"])
def test_every_product_and_code_comes_from_the_backend(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend with codes of its own, which counts its calls, sees all a step needs; the bits are
    the oracle's, and cpu is not asked."""
    wanted, losses = trained(RECIPES[name], "oracle", steps=1)
    asked: dict[str, int] = {}
    double: Any = ModuleType(f"counting_{name}")  # a module is imported once

    def counted(method: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            asked[method] = asked.get(method, 0) + 1
            given = [opened(each) for each in arguments]
            return closed(getattr(oracle, method)(*given, **options))

        return call

    for method in (name for name in vars(Backend) if not name.startswith("_")):
        setattr(double, method, counted(method))
    monkeypatch.setitem(sys.modules, double.__name__, double)
    monkeypatch.setitem(BACKENDS, "counting", double.__name__)
    monkeypatch.setitem(BACKENDS, "cpu", "no_such_module")
    model, found = trained(RECIPES[name], "counting", steps=1)
    assert found == losses
    mine, theirs = model.state_dict(), wanted.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert asked["product_real"] == 3 * 3 + 3  # the grouped layer has two of each product
    assert {"patches", "pad", "spread", "matrix", "turned_kernel"} <= set(asked)
    if name == "lns8":
        assert (asked["move"], asked["requantise"]) == (5, 3)
        assert {"codes", "integers", "quantise", "decode"} <= set(asked)
    else:
        blocks = asked.get("quantise_blocks", 0)
        assert bool(blocks) == name.startswith("mx")


@pytest.mark.parametrize("backend", ["cpu", "oracle"])
@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_nan_that_meets_a_fixed_accumulator_is_refused(backend: str, phase: str) -> None:
    """Not summed as a number: fp8 without a scale holds NaN, the 24-bit accumulator cannot."""
    model = convert(nn.Linear(4, 2), replace(RECIPES["fp8-fixed"], scaling="none"), backend=backend)
    x = torch.randn(3, 4)
    dy = torch.ones(3, 2)
    (x if phase == "forward" else dy)[1, 1] = float("nan")
    with pytest.raises(NonFiniteError, match=r"^[ab] must be finite for a fixed-point accumulator"):
        model(x.requires_grad_()).backward(dy)


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
