"""Bad arguments of the simulator's public names: one error with argument, rule and value."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lnsim.lns import FP32, LNS8
from lnsim.sim import (
    Conv2d,
    IntegerMadam,
    Linear,
    LNSMadam,
    Madam,
    PriceTable,
    Workload,
    compare,
    convert,
    cost_step,
    gemm_cost,
    get_machine,
    get_recipe,
    lns_recipe,
    make_optimiser,
    price_step,
    trace_step,
)
from lnsim.sim.data.datasets import load_data
from lnsim.sim.workload.networks import network_workload
from torch import nn

RECIPE = lns_recipe(optimiser="adamw")
INTEGER = lns_recipe()


def conv(*sizes: Any, **options: Any) -> Conv2d:
    """A layer of 3 channels to 4."""
    return Conv2d(3, 4, *(sizes or (3,)), **({"recipe": RECIPE} | options))


def recipe(**fields: Any) -> Any:
    """The default recipe with some fields replaced."""
    return replace(RECIPE, **fields)


def weights() -> list[nn.Parameter]:
    """What an optimiser moves."""
    return [nn.Parameter(torch.ones(3))]


def integer(**options: Any) -> IntegerMadam:
    """Integer Madam of a small converted model."""
    return IntegerMadam(convert(nn.Sequential(nn.Linear(3, 2)), INTEGER), **options)


def strided() -> Any:
    """What convert makes of a layer that torch builds and cannot run."""
    return convert(nn.Sequential(nn.Conv2d(3, 4, 3, stride=0)), RECIPE)


CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: conv(stride=0), ValueError, "stride must be in 1..2147483647, got 0"),
    (lambda: conv(stride=(1, 0)), ValueError, "stride must be in 1..2147483647, got 0"),
    (lambda: conv(padding=-1), ValueError, "padding must be in 0..2147483647, got -1"),
    (lambda: conv(padding="full"), ValueError, "padding must be one of same, valid, got 'full'"),
    (lambda: conv(padding="same", stride=2), ValueError,
     "stride must be 1 with padding 'same', got (2, 2)"),
    (lambda: conv(dilation=0), ValueError, "dilation must be in 1..2147483647, got 0"),
    (lambda: conv((3, 3, 3)), TypeError,
     "kernel_size must be an integer or a pair of them, got (3, 3, 3)"),
    (lambda: conv("3"), TypeError, "kernel_size must be an integer or a pair of them, got '3'"),
    (lambda: conv(groups=2), ValueError, "in_channels must be a multiple of groups = 2, got 3"),
    (lambda: conv(groups=3), ValueError, "out_channels must be a multiple of groups = 3, got 4"),
    (lambda: conv(bias=3), TypeError, "bias must be True or False, got 3"),
    (lambda: conv(padding_mode="reflect"), ValueError,
     "padding_mode must be zeros in layer, got 'reflect'"),
    (lambda: conv(recipe=3), TypeError, "recipe must be of type Recipe, got int"),
    (lambda: conv(device="meta"), ValueError, "device must be the CPU, got 'meta'"),
    (lambda: conv(dtype=torch.float64), TypeError,
     "dtype must be torch.float32, got torch.float64"),
    (strided, ValueError, "stride must be in 1..2147483647, got 0"),
    (lambda: conv()(torch.ones(1, 3, 2, 5)), ValueError,
     "input of layer must have at least 3 x 3 places, got 2 x 5"),
    (lambda: conv()(3), TypeError, "input of layer must be a tensor, got int"),
    (lambda: Linear(3, -1, recipe=RECIPE), ValueError,
     "out_features must be in 1..2147483647, got -1"),
    (lambda: Linear(2.5, 1, recipe=RECIPE), TypeError, "in_features must be an integer, got 2.5"),
    (lambda: Linear(3, 2, recipe=None), TypeError, "recipe must be of type Recipe, got NoneType"),
    (lambda: Linear(3, 2, recipe=RECIPE)(torch.ones(4, 5)), ValueError,
     "input of layer must be (..., 3), got (4, 5)"),
    (lambda: Linear(3, 2, recipe=RECIPE)(torch.tensor(1.0)), ValueError,
     "input of layer must be (..., 3), got ()"),
    (lambda: Linear(3, 2, recipe=RECIPE)(torch.ones(4, 3).to_sparse()), TypeError,
     "input of layer must be dense, got torch.sparse_coo"),
    (lambda: Linear(3, 2, recipe=INTEGER)(None), TypeError,
     "input of layer must be a tensor, got NoneType"),
    (lambda: convert(nn.Linear(3, 2), None), TypeError,
     "recipe must be of type Recipe, got NoneType"),
    (lambda: convert(nn.Linear(3, 2), RECIPE, strict=1), TypeError,
     "strict must be True or False, got 1"),
    (lambda: make_optimiser(nn.Linear(3, 2), 3), TypeError,
     "recipe must be of type Recipe, got int"),
    (lambda: make_optimiser(3, RECIPE), TypeError, "model must be of type Module, got int"),
    (lambda: make_optimiser(nn.Linear(3, 2), RECIPE, lr=-1), ValueError,
     "lr must be positive and finite, got -1"),
    (lambda: lns_recipe(update=3), TypeError, "update must be a number format or None, got 3"),
    (lambda: lns_recipe(antilog=0), TypeError, "antilog must be an Antilog, got 0"),
    (lambda: lns_recipe(accumulator=0), TypeError, "accumulator must be an Accumulator, got 0"),
    (lambda: recipe(gradient=3), TypeError, "gradient must be a number format or None, got 3"),
    (lambda: recipe(weight=3), TypeError, "weight must be a number format, got 3"),
    (lambda: recipe(weight=FP32), ValueError, "weight must be of type LNSFormat for Datapath, got "
     + repr(FP32)),
    (lambda: recipe(name=3), TypeError, "name must be text, got 3"),
    (lambda: recipe(description=b"x"), TypeError, "description must be text, got b'x'"),
    (lambda: recipe(datapath=3), TypeError,
     "datapath must be a Datapath, FloatDatapath or IntDatapath, got 3"),
    (lambda: recipe(p_scale="x"), TypeError, "p_scale must be a number, got 'x'"),
    (lambda: recipe(p_scale=float("inf")), ValueError,
     "p_scale must be positive and finite, got inf"),
    (lambda: Madam(weights(), lr="x"), TypeError, "lr must be a number, got 'x'"),
    (lambda: Madam(weights(), lr=10**400), ValueError,
     "lr must be positive and finite, got a number of 1329 bits"),
    (lambda: Madam(weights(), beta2=None), TypeError, "beta2 must be a number, got None"),
    (lambda: Madam(weights(), g_bound=float("nan")), ValueError,
     "g_bound must be positive and finite, got nan"),
    (lambda: Madam([]), ValueError, "params must not be empty, got none"),
    (lambda: Madam(3), TypeError, "params must be tensors or groups of them, got int"),
    (lambda: Madam(np.ones(())), TypeError, "params must be tensors or groups of them, got "
     "ndarray"),
    (lambda: Madam(torch.ones(3)), TypeError, "params must be tensors or groups of them, got one "
     "tensor"),
    (lambda: LNSMadam([3]), TypeError, "params must be tensors or groups of them, got int"),
    (lambda: LNSMadam([{"params": weights(), "lr": -1.0}]), ValueError,
     "lr must be positive and finite, got -1.0"),
    (lambda: LNSMadam([{"lr": 1.0}]), ValueError, "params must be given in each group, got none"),
    (lambda: Madam([torch.ones(3, dtype=torch.int32)]), TypeError,
     "params must be of a float dtype, got torch.int32"),
    (lambda: Madam([weights()[0] * 2]), ValueError,
     "params must be leaf tensors, got the result of an operation"),
    (lambda: Madam(weights() * 2), ValueError, "params must name each tensor once, got one again"),
    (lambda: IntegerMadam([]), TypeError, "model must be of type Module, got list"),
    (lambda: integer(lr_factor=-1), ValueError, "lr_factor must be positive and finite, got -1"),
    (lambda: integer(lr_factor="1"), TypeError, "lr_factor must be a number, got '1'"),
    (lambda: integer(lr=0), ValueError, "lr must be positive and finite, got 0"),
    (lambda: gemm_cost("1", 2, 3, rows=4, cols=4), TypeError, "M must be an integer, got '1'"),
    (lambda: trace_step(None, None), TypeError, "model must be of type Module, got NoneType"),
    (lambda: trace_step(nn.Linear(3, 2), None), TypeError,
     "inputs must be a tensor, a sequence of tensors or tensors by name, got NoneType"),
    (lambda: trace_step(nn.Linear(3, 2), "x"), TypeError,
     "inputs must be a tensor, a sequence of tensors or tensors by name, got str"),
    (lambda: trace_step(nn.Linear(3, 2), [3]), TypeError, "inputs must hold tensors, got int"),
    (lambda: trace_step(nn.Linear(3, 2), torch.ones(1, 3), loss=3), TypeError,
     "loss must be a function of the output or None, got 3"),
    (lambda: trace_step(nn.Linear(3, 2), torch.ones(1, 3), name=3), TypeError,
     "name must be text, got 3"),
    (lambda: cost_step(3, get_machine("edge-16"), RECIPE), TypeError,
     "workload must be of type Workload, got int"),
    (lambda: cost_step(step(), "edge-16", RECIPE), TypeError,
     "machine must be of type Machine, got str"),
    (lambda: cost_step(step(), get_machine("edge-16"), "lns8"), TypeError,
     "recipe must be of type Recipe, got str"),
    (lambda: price_step(step(), PriceTable.default()), TypeError,
     "cost must be of type StepCost, got Workload"),
    (lambda: price_step(cost_step(step(), get_machine("edge-16"), RECIPE), "45 nm"), TypeError,
     "table must be of type PriceTable, got str"),
    (lambda: compare(3, 4, PriceTable.default()), TypeError,
     "this must be of type StepEnergy, got int"),
    (lambda: get_recipe("fp9"), ValueError, "format must be one of bf16, eEgG, fp16, fp32, "
     "fp32-madam, fp8, fp8-fixed, fp8-no-master, int8, lns, lns8, mxfp4, mxfp6-e2m3, mxfp6-e3m2, "
     "mxfp8-e4m3, mxfp8-e5m2, mxint8, got 'fp9'; did you mean fp8?"),
    (lambda: get_machine("edge16"), ValueError, "machine must be one of edge-16, lns-madam-like, "
     "tpu-128, got 'edge16'; did you mean edge-16?"),
    (lambda: lns_recipe(optimiser="adam_w"), ValueError, "optimiser must be one of adamw, "
     "integer-madam, lns-madam, madam, sgd, got 'adam_w'; did you mean adamw?"),
    (lambda: load_data("mnits"), ValueError, "data must be one of cifar10, digits, fashion-mnist, "
     "mnist, got 'mnits'; did you mean mnist?"),
    (lambda: network_workload("bert_base"), ValueError, "model must be one of bert-base, "
     "bert-large, cnn, gpt-1.7b, mlp, resnet18-cifar, resnet18-imagenet, resnet50, got 'bert_base'"
     "; did you mean bert-base?"),
    (lambda: Workload("x", 3, ()), TypeError, "gemms must be a tuple of Gemm values, got int"),
    (lambda: Workload("x", step().gemms, (3,)), TypeError,
     "tensors must be a tuple of Tensor values, got int"),
]  # fmt: skip


def step() -> Workload:
    """One linear layer."""
    return trace_step(nn.Linear(3, 2), torch.ones(1, 3))


@pytest.mark.parametrize("case", CASES, ids=[message for _, _, message in CASES])
def test_bad_arguments(case: tuple[Callable[[], Any], type[Exception], str]) -> None:
    """The whole message, and the documented exception."""
    call, kind, message = case
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
    assert type(error.value) is kind


def test_numbers_of_numpy_are_numbers() -> None:
    """They are settled to Python's: a product of int8 sizes does not wrap."""
    small = np.int8(100)
    assert gemm_cost(small, small, small, rows=small, cols=4) == gemm_cost(
        100, 100, 100, rows=100, cols=4
    )
    assert Linear(np.int64(3), np.int16(2), recipe=RECIPE).weight.shape == (2, 3)
    assert conv(np.int64(2), stride=[1, np.int8(2)]).stride == (1, 2)
    assert replace(get_recipe("fp32-madam"), p_scale=np.float32(2)).p_scale == 2.0
    assert type(Madam(weights(), lr=np.float32(0.5)).param_groups[0]["lr"]) is float
    assert lns_recipe(update=LNS8, optimiser="adamw").update == LNS8
