"""Every public function and class of lnsim.sim under wild arguments.

Layers that are built run forward and backward, optimisers take a step, recipes cost a step: what is
accepted works. A kernel is compiled when it is first met, so the limit of an input is longer.
"""

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import wild
from fuzzing import Answer, attempt, fuzz
from hypothesis import given
from hypothesis import strategies as st
from lnsim import lns, sim
from lnsim.sim.recipes.recipe import INITIAL_EXPONENTS, SCALINGS, ZERO_STARTS
from lnsim.sim.rules.rule import RULES
from lnsim.sim.workload.workload import Gemm, Workload
from torch import nn

Spec = dict[str, Any]
COMPILING = 240.0  # seconds
LARGE = 1 << 20  # numbers a layer may have for its input to be run
RECIPES = {name: sim.get_recipe(name) for name in ("lns8", "fp8", "int8", "mxfp4", "fp32-madam")}
RECIPES["adamw"] = sim.lns_recipe(optimiser="adamw")
STEP = Workload("small", (Gemm("a", "forward", 8, 4, 2), Gemm("a", "dw", 4, 2, 8)), ())


def tensors() -> st.SearchStrategy[Any]:
    """Small tensors of the right dtype and others, leaves and results of operations."""
    made = (
        torch.ones(2, 3), torch.zeros(0, 3), torch.ones(1, 2, 5, 5), torch.ones(2, 5, 5),
        torch.tensor(1.0), torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3, device="meta"),
        torch.full((2, 3), torch.nan), torch.ones(3, dtype=torch.int32), torch.ones(6, 6)[::2, ::2],
        nn.Parameter(torch.ones(3)) * 2, torch.ones(2, 3).to_sparse(), torch.ones(0, 2, 5, 5),
        torch.ones(2, 3, dtype=torch.complex64),
    )  # fmt: skip
    return st.sampled_from(range(len(made))).map(lambda i: made[i])


def anything() -> st.SearchStrategy[Any]:
    """What `wild` has, and what a simulator is given in the wrong place."""
    others = (nn.Linear, nn.Linear(3, 2), nn.ReLU(), STEP, RECIPES["fp8"], sim.Tally(), [nn.ReLU()])
    own = st.sampled_from(range(len(others))).map(lambda i: others[i])
    return st.one_of(wild.anything(), wild.anything(), own, tensors())


def spoilt(draw: st.DrawFn, right: Spec) -> Spec:
    """Right arguments with none, one or all of them replaced by anything, often one."""
    how = draw(st.integers(0, 7))
    if how <= 2:
        return right
    names = list(right) if how == 7 else [draw(st.sampled_from(list(right)))]
    return right | {name: draw(anything()) for name in names}


def recipes() -> st.SearchStrategy[Any]:
    """A recipe of each family."""
    return st.sampled_from(sorted(RECIPES)).map(RECIPES.__getitem__)


def for_linear(draw: st.DrawFn) -> Spec:
    """Arguments of Linear, and what is given to it."""
    return {
        "in_features": 3,
        "out_features": draw(st.integers(1, 4)),
        "bias": draw(st.booleans()),
        "device": draw(st.sampled_from((None, "cpu", torch.device("cpu")))),
        "dtype": draw(st.sampled_from((None, torch.float32))),
        "recipe": draw(recipes()),
        "input": torch.ones(draw(st.integers(0, 3)), 3),
    }


def for_conv(draw: st.DrawFn) -> Spec:
    """Arguments of Conv2d, and what is given to it."""
    one = st.sampled_from((1, 1, 2, 3, 1, 2, 3, 0))
    size = st.one_of(one, st.tuples(one, one))
    return {
        "in_channels": 2,
        "out_channels": 2,
        "kernel_size": draw(size),
        "stride": draw(size),
        "padding": draw(st.one_of(size, st.sampled_from(("same", "valid")))),
        "dilation": draw(size),
        "groups": draw(st.sampled_from((1, 1, 2, 3))),
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(("zeros",) * 9 + ("reflect",))),
        "recipe": draw(recipes()),
        "input": torch.ones(1, 2, draw(st.integers(1, 6)), 5),
    }


def for_recipe(draw: st.DrawFn) -> Spec:
    """Fields of a Recipe: a good one, some from another."""
    first, second = draw(recipes()), draw(recipes())
    mixed = {"optimiser": draw(st.sampled_from(sorted(RULES)))}
    mixed["scaling"] = draw(st.sampled_from(SCALINGS))
    mixed["zero_start"] = draw(st.sampled_from(ZERO_STARTS))
    mixed["initial_exponents"] = draw(st.sampled_from(INITIAL_EXPONENTS))
    mixed["update"] = second.update
    names = draw(st.sets(st.sampled_from(sorted(mixed))))
    values = {field.name: getattr(first, field.name) for field in fields(first)}
    return values | {name: mixed[name] for name in names}


def for_lns_recipe(draw: st.DrawFn) -> Spec:
    """Arguments of lns_recipe."""
    gamma = 2 ** draw(st.integers(0, 5))
    path = draw(wild.datapaths(gamma))
    update = draw(st.one_of(st.none(), st.just(lns.LNS16_UPDATE), wild.formats()))
    return {
        "exponent_bits": draw(st.integers(2, 15)),
        "gamma": gamma,
        "antilog": path.antilog,
        "accumulator": path.accumulator,
        "optimiser": draw(st.sampled_from(sorted(RULES))),
        "update": update,
        "variant": path.variant,
    }


def for_madam(draw: st.DrawFn) -> Spec:
    """Arguments of Madam and LNSMadam."""
    weight = nn.Parameter(torch.ones(3))
    group = {"params": [weight], "lr": draw(st.sampled_from((0.1, -1.0, "x", None)))}
    return {
        "params": draw(st.sampled_from(([weight], (weight,), [group], [("w", weight)], [], [{}]))),
        **for_options(draw),
        "p_scale": draw(st.floats(0, 5)),
    }


def for_options(draw: st.DrawFn) -> Spec:
    """What every Madam takes."""
    return {
        "lr": draw(st.floats(0, 2)),
        "g_bound": draw(st.floats(0, 20)),
        "beta2": draw(st.floats(0, 1)),
    }


def for_integer(draw: st.DrawFn) -> Spec:
    """Arguments of IntegerMadam."""
    model: Any = sim.convert(nn.Sequential(nn.Linear(3, 2)), RECIPES["lns8"])
    if draw(st.integers(0, 4)) == 0:
        model = nn.Linear(3, 2)
    factor = draw(st.one_of(st.none(), st.floats(0, 64)))
    return {"model": model, "lr_factor": factor} | for_options(draw)


def for_gemm_cost(draw: st.DrawFn) -> Spec:
    """Arguments of gemm_cost."""
    size = st.integers(0, 1 << 12)
    names = ("M", "N", "K", "rows", "cols", "lanes", "depth")
    return {name: draw(size) for name in names} | {
        "dataflow": draw(st.sampled_from(("os", "ws", "is", "rs"))),
        "recurrence": draw(st.sampled_from(("scalesim", "paper"))),
        "streamed_passes": draw(st.integers(0, 4)),
    }


def for_trace(draw: st.DrawFn) -> Spec:
    """Arguments of trace_step."""
    x = torch.ones(2, 3)
    given: tuple[Any, ...] = (x, [x], (x,), {"input": x}, [x, x], {"x": x}, [], {}, {3: x}, [[x]])
    losses: tuple[Any, ...] = (None, torch.sum, lambda y: y, lambda y: 3, len)
    models = (nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.ReLU())
    return {
        "model": models[draw(st.integers(0, 2))],
        "inputs": given[draw(st.integers(0, len(given) - 1))],
        "loss": losses[draw(st.integers(0, len(losses) - 1))],
        "name": "model",
    }


def for_cost(draw: st.DrawFn) -> Spec:
    """Arguments of cost_step."""
    return {
        "workload": STEP,
        "machine": sim.get_machine(draw(st.sampled_from(("edge-16", "tpu-128")))),
        "recipe": draw(recipes()),
        "mac_prices": draw(st.sampled_from(("components", "published-pe", "free"))),
    }


def for_convert(draw: st.DrawFn) -> Spec:
    """Arguments of convert."""
    sizes: Spec = {"stride": draw(st.integers(0, 2)), "padding": draw(st.integers(-1, 1))}
    models = (nn.Linear(3, 2), nn.Sequential(nn.Conv2d(2, 2, 1, **sizes)), nn.GRU(3, 2))
    model = models[draw(st.integers(0, 2))]
    return {"model": model, "recipe": draw(recipes()), "strict": draw(st.booleans())}


def for_optimiser(draw: st.DrawFn) -> Spec:
    """Arguments of make_optimiser."""
    recipe = draw(recipes())
    model = sim.convert(nn.Sequential(nn.Linear(3, 2)), recipe)
    return {"model": model, "recipe": recipe, "lr": draw(st.one_of(st.none(), st.floats(-1, 1)))}


def for_workload(draw: st.DrawFn) -> Spec:
    """Fields of a Workload."""
    values = {field.name: getattr(STEP, field.name) for field in fields(STEP)}
    return values | {"parameters": draw(st.integers(-1, 9))}


def for_name(draw: st.DrawFn) -> Spec:
    """A name of something; files are fuzzed by their reader."""
    names = ("lns8", "fp8", "edge-16", "tpu-128", "", "/etc", "..", "\0")
    return {"name": draw(st.sampled_from(names))}


def for_price(draw: st.DrawFn) -> Spec:
    """Arguments of price_step."""
    cost = sim.cost_step(STEP, sim.get_machine("edge-16"), draw(recipes()))
    return {"cost": cost, "table": sim.PriceTable.default()}


def for_compare(draw: st.DrawFn) -> Spec:
    """Arguments of compare."""
    energies = [sim.price_step(**for_price(draw)) for _ in range(2)]
    return {"this": energies[0], "other": energies[1], "table": sim.PriceTable.default()}


def for_run(draw: st.DrawFn) -> Spec:
    """Fields of a RunConfig; files are fuzzed by their readers."""
    names = ("lns", "lns8", "e5g4-log-mitchell", "e5g4-w20", "fp8", "fp8-fixed", "mxfp4", "fp9")
    right = {
        "format": draw(st.sampled_from(names)),
        "exponent_bits": draw(st.one_of(st.none(), st.integers(1, 16))),
        "gamma": draw(st.one_of(st.none(), st.sampled_from((1, 4, 6, 8)))),
        "accumulator_bits": draw(st.one_of(st.none(), st.integers(3, 64))),
        "style": draw(st.sampled_from((None, None, "direct", "bins", "log"))),
        "optimiser": draw(st.sampled_from((None, None, *RULES))),
        "model": draw(st.sampled_from(("mlp", "cnn", "resnet18", "resnet50"))),
        "lr": draw(st.one_of(st.none(), st.floats(0, 2))),
    }
    plain = {"data": "digits", "epochs": 1, "batch": 8, "seed": 0, "threads": 1, "variant": None}
    return right | plain


CALLS: dict[str, Callable[[st.DrawFn], Spec]] = {
    "Linear": for_linear,
    "Conv2d": for_conv,
    "Recipe": for_recipe,
    "lns_recipe": for_lns_recipe,
    "Madam": for_madam,
    "LNSMadam": for_madam,
    "IntegerMadam": for_integer,
    "gemm_cost": for_gemm_cost,
    "trace_step": for_trace,
    "cost_step": for_cost,
    "convert": for_convert,
    "make_optimiser": for_optimiser,
    "Workload": for_workload,
    "price_step": for_price,
    "compare": for_compare,
    "RunConfig": for_run,
    "get_recipe": for_name,
    "get_machine": for_name,
    "get_rule": for_name,
}
# values that functions return, a table, files' values (test_fuzz_readers), codes' own fuzzing, and
# what takes one value that is checked when it is made
NOT_CALLED = {
    "GemmCost", "StepCost", "Tally", "RECIPES", "Record", "Rule", "Machine", "PriceTable",
    "SweepConfig", "matmul_mx", "train", "run_sweep",
}  # fmt: skip


def test_every_public_name_is_a_target() -> None:
    """A new public name must be fuzzed."""
    missing = set(sim.__all__) - set(CALLS) - NOT_CALLED
    assert not missing, f"not fuzzed: {missing}"


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile what the layers run before any clock is set."""
    for recipe in RECIPES.values():
        layer = sim.Linear(3, 2, recipe=recipe)
        layer(torch.ones(2, 3, requires_grad=True)).sum().backward()


@pytest.mark.parametrize("name", CALLS)
@fuzz(ordinary=4, weight=0.3)
@given(data=st.data())
def test_a_call_answers_or_refuses(name: str, data: st.DataObject) -> None:
    """What is accepted does its work or refuses its input; nothing ends in an error of Python's."""
    case = spoilt(data.draw, CALLS[name](data.draw))
    x = case.pop("input", None)
    refusals, target = (ValueError, TypeError), getattr(sim, name)
    answer = attempt(f"sim.{name}", lambda: target(**case), case, refusals, seconds=COMPILING)
    if answer is not None and name in CHECKS:
        CHECKS[name](case, answer, x)


def check_layer(case: Spec, answer: Answer, x: Any) -> None:
    """Forward and backward, on any input, as torch's layer of the same sizes in shape."""
    layer = answer.value
    sizes = [layer.weight_source().numel(), *_each(case.get("padding", 0))]
    sizes += [*_each(case.get("dilation", 1)), *_each(case.get("stride", 1))]
    if max(sizes) > LARGE:
        return

    def run() -> torch.Tensor:
        y: torch.Tensor = layer(x)
        y.sum().backward()
        return y

    result = attempt(f"run {type(layer).__name__}", run, seconds=COMPILING)
    if result is not None:
        own = {name: value for name, value in case.items() if name != "recipe"}
        plain = getattr(nn, type(layer).__name__)(**own)
        with warnings.catch_warnings(action="ignore"):  # torch's copies for an uneven "same"
            assert result.value.shape == plain(x).shape


def _each(sizes: Any) -> list[int]:
    if isinstance(sizes, str):
        return [0]
    return list(sizes) if isinstance(sizes, tuple | list) else [int(sizes.__index__())]


def check_recipe(case: Spec, answer: Answer, x: Any) -> None:
    """It costs a step and describes itself."""
    machine = sim.get_machine("edge-16")
    attempt("cost a recipe", lambda: sim.cost_step(STEP, machine, answer.value))
    assert isinstance(answer.value.overflow_rule, str)
    assert replace(answer.value) == answer.value


def check_optimiser(case: Spec, answer: Answer, x: Any) -> None:
    """A step with gradients of one; integer Madam without any."""
    optimiser = answer.value
    for group in optimiser.param_groups:
        for weight in group["params"]:
            if weight.is_floating_point():
                weight.grad = torch.ones_like(weight)
    attempt(f"step {type(optimiser).__name__}", optimiser.step)


def check_machine_cost(case: Spec, answer: Answer, x: Any) -> None:
    """Cycles are whole numbers above 0."""
    assert type(answer.value.overlapped_cycles) is int
    assert answer.value.overlapped_cycles > 0


CHECKS: dict[str, Callable[[Spec, Answer, Any], None]] = {
    "Linear": check_layer,
    "Conv2d": check_layer,
    "Recipe": check_recipe,
    "lns_recipe": check_recipe,
    "Madam": check_optimiser,
    "LNSMadam": check_optimiser,
    "IntegerMadam": check_optimiser,
    "make_optimiser": check_optimiser,
    "cost_step": check_machine_cost,
}
