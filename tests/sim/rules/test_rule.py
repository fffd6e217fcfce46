"""The table of learning rules, and that it is open: one defined here trains, counts and costs."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lnsim.sim import convert, cost_step, get_machine, get_recipe, lns_recipe, trace_step
from lnsim.sim.events.event import Event, Events, add_events
from lnsim.sim.events.update import update_events
from lnsim.sim.rules.rule import RULES, Rule, get_rule, named
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.train import train
from lnsim.sim.training import backprop
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.workload.workload import PHASES, VectorOp
from torch import Tensor, nn
from torch.optim import Optimizer

Loss = backprop.Loss
stepped: list[float] = []  # losses of the steps that the rule below ran


class SignSGD(Optimizer):
    """w -= lr RMS(w) sign g, with the root mean square of each tensor."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    scale = weight.square().mean().sqrt() * group["lr"]
                    weight.sub_(scale * weight.grad.sign())


def make(model: nn.Module, recipe: object, lr: float) -> Optimizer:
    """What the rule's `make` names."""
    return SignSGD([p for p in model.parameters() if p.requires_grad], lr)


def run(model: nn.Module, optimiser: Optimizer, x: Tensor, y: Tensor, loss: Loss) -> float:
    """What the rule's `step` names: back-propagation, written down."""
    stepped.append(backprop.step(model, optimiser, x, y, loss))
    return stepped[-1]


SIGN = Rule(
    "sign-sgd",
    per_element={"multiply": 2, "add": 2, "compare": 1},  # w^2, its sum; scale sign g, w -= it
    per_tensor={"sqrt": 1, "multiply": 2},  # 1/n, lr
    lr=0.02,
    make=f"{__name__}:make",
    step=f"{__name__}:run",
)


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """The table with one rule more."""
    monkeypatch.setitem(RULES, SIGN.name, SIGN)
    stepped.clear()
    return SIGN


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("name", ["lns", "fp32"])
def test_a_rule_of_ones_own_trains_and_costs(
    sign: Rule, name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name alone a run trains with it through its own step, and what two steps counted is twice
    the cost model's, the work once a tensor too."""
    config = RunConfig(
        data="digits", model=model, format=name, optimiser=sign.name, batch=8, limit_train=16,
        limit_test=4, epochs=1,
    )  # fmt: skip
    assert config.lr == sign.lr
    path = tmp_path / "run.pt"
    monkeypatch.setattr("lnsim.sim.runs.train.COUNT_EVENTS", True)
    record = train(config, checkpoint=path)
    counts = json.loads(torch.load(path, weights_only=True)["tally"])["events"]
    assert counts == record.to_json()["counted_events"]
    assert len(stepped) == 2
    plan = config.resolve()
    workload = plan.workload
    step = cost_step(workload, plan.machine, plan.recipe)
    for phase in PHASES:
        modelled: Events = {}
        for component in ["array", "conversion"] + ["vector unit"] * (phase == "update"):
            add_events(modelled, step.parts.get((phase, component), {}))
        counted = {Event(k, b, d): n for k, b, d, n in counts[phase]}
        assert counted == {event: 2 * count for event, count in modelled.items()}, phase
    update = step.parts["update", "vector unit"]
    tensors = workload.parameter_tensors
    assert tensors == 6  # weight and bias of three layers
    assert update[Event("float_div_sqrt", 32, "sqrt")] == tensors
    multiplies = 2 * workload.parameters + 2 * tensors
    assert update[Event("float_multiply", 32, "24x24e8")] == multiplies
    assert step.multiplications["update", "vector unit"] == {sign.name: multiplies}
    written = {e.kind: n for e, n in step.parts["update", "dram"].items()}["dram_write_bits"]
    assert written == 32 * workload.parameters  # the weights: the rule keeps no state


def test_a_rule_of_ones_own_moves_as_it_says(sign: Rule) -> None:
    """Through convert, make_optimiser and its step: each weight by lr RMS(w), against its
    gradient."""
    torch.manual_seed(0)
    recipe = replace(get_recipe("fp32"), optimiser=sign.name)
    model = convert(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), recipe)
    optimiser = make_optimiser(model, recipe)
    x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
    losses = []
    for _ in range(5):
        before = [p.detach().clone() for p in model.parameters()]
        losses.append(named(sign.step)(model, optimiser, x, y, nn.functional.cross_entropy))
        for old, parameter in zip(before, model.parameters(), strict=True):
            assert parameter.grad is not None
            moved = 0.02 * float(old.square().mean().sqrt()) * parameter.grad.sign()
            torch.testing.assert_close(parameter.detach(), old - moved)
    assert losses == stepped
    assert losses[-1] < losses[0]


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    """The step of back-propagation returns it, and no optimiser sees its gradients."""
    recipe = lns_recipe(optimiser="sgd")
    model = convert(nn.Sequential(nn.Linear(3, 2)), recipe)
    optimiser = make_optimiser(model, recipe)
    before = [p.detach().clone() for p in model.parameters()]
    infinite = lambda out, _: out.sum() * math.inf  # noqa: E731
    value = backprop.step(model, optimiser, torch.ones(4, 3), torch.zeros(4), infinite)
    assert not math.isfinite(value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not model.tally.events["update"]  # type: ignore[union-attr]


def test_a_rule_names_its_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase of its own is counted by a converted model and has parts and cycles in a step."""
    phases = ("forward", "probe", "dx", "dw", "update")
    monkeypatch.setitem(RULES, "probing", replace(SIGN, name="probing", phases=phases))
    recipe = replace(get_recipe("fp32"), optimiser="probing")
    model = convert(nn.Sequential(nn.Linear(3, 2)), recipe)
    model.tally.add_events("probe", {Event("compare", 32): 4})  # type: ignore[union-attr]
    assert list(model.tally.events) == list(phases)  # type: ignore[union-attr]
    assert model.tally.events["probe"] == {Event("compare", 32): 4}  # type: ignore[union-attr]
    plain = convert(nn.Sequential(nn.Linear(3, 2)), get_recipe("fp32"))
    with pytest.raises(ValueError, match=r"^phase must be one of dw, dx, forward, update, got"):
        plain.tally.add_events("probe", {})  # type: ignore[union-attr]
    workload = trace_step(nn.Sequential(nn.Linear(3, 2)), torch.empty(8, 3))
    op = VectorOp("0", "probe", "sign", 16, (("compare", 16), ("multiply", 16)))
    step = cost_step(
        replace(workload, vector=(*workload.vector, op)), get_machine("edge-16"), recipe
    )
    assert list(step.cycles) == list(phases)
    assert step.cycles["probe"].vector == 2
    assert step.parts["probe", "vector unit"][Event("compare", 32)] == 16
    assert step.multiplications["probe", "vector unit"] == {"sign": 16}
    assert [phase for phase, _ in step.parts] == sorted(
        [phase for phase, _ in step.parts], key=phases.index
    )


def test_the_table() -> None:
    """Every rule is found by its name, and what it names can be called."""
    for name, rule in RULES.items():
        assert get_rule(name) is rule
        assert rule.name == name
        assert callable(named(rule.make))
        assert named(rule.step) is backprop.step
    with pytest.raises(ValueError, match=r"^rule must be one of adamw, .*, sgd, got 'adam'$"):
        get_rule("adam")


def test_defaults_are_those_that_were_measured() -> None:
    """Rates and state words of the published tables."""
    found = {rule.name: (rule.lr, rule.state_words) for rule in RULES.values()}
    assert found == {
        "sgd": (0.1, 1), "adamw": (0.004, 2), "madam": (0.06, 1), "integer-madam": (0.06, 1),
        "lns-madam": (1 / 16, 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stores": "codes"}, "^stores must be one of code, float, got 'codes'$"),
        ({"lr": 0.0}, r"^lr must be positive and finite, got 0\.0$"),
        ({"state_words": -1}, r"^state_words must be in 0\.\.64, got -1$"),
        ({"per_tensor": {"sqrt": -1}}, r"^sqrt must be in 0\.\."),
        ({"phases": ("forward",)}, r"^phases must end with update, got \('forward',\)$"),
    ],
)
def test_what_is_no_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    """Each message names the field, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        replace(SIGN, **changes)


def test_work_once_a_tensor_is_counted_by_tensors(sign: Rule) -> None:
    """Per element and per tensor add up; none of either is no event."""
    events = update_events(sign.name, 10, None, tensors=3)
    assert events[Event("float_multiply", 32, "24x24e8")] == 2 * 10 + 2 * 3
    assert events[Event("float_div_sqrt", 32, "sqrt")] == 3
    assert update_events(sign.name, 0, None, tensors=0) == {}
    with pytest.raises(ValueError, match=r"^tensors must be in 0\.\."):
        update_events(sign.name, 1, None, tensors=-1)
