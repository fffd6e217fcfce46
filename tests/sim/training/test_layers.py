"""Linear and Conv2d: against torch on the fp32 datapath, against the oracle on the LNS one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lnsim.lns import LNSFormat, decode, encode
from lnsim.lns.oracle import dot
from lnsim.sim import Conv2d, Linear, get_recipe, lns_recipe
from lnsim.sim.training.tally import GemmRecord
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

FP32 = get_recipe("fp32")
LNS = lns_recipe(optimiser="madam")


def close(mine: Tensor, theirs: Tensor, magnitude: Tensor, k: int) -> None:
    """Two fp32 sums of k products differ by at most 2 k 2^-24 of the sum of magnitudes."""
    assert mine.shape == theirs.shape
    assert bool(((mine - theirs).abs() <= 2 * k * 2.0**-24 * magnitude + 1e-30).all())


def gradients(function, *tensors: Tensor):  # type: ignore[no-untyped-def]
    """Output and gradients of sum(output * ramp) for leaf copies of the tensors."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    ramp = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    (out * ramp).sum().backward()
    return out.detach(), [leaf.grad for leaf in leaves]


def with_parameters(layer: nn.Module, x: Tensor, *values: Tensor) -> Tensor:
    """Run a layer on given leaf Parameters, so that their gradients can be read."""
    return torch.func.functional_call(
        layer, dict(zip(("weight", "bias"), values, strict=False)), (x,)
    )


def test_linear_on_fp32_agrees_with_torch() -> None:
    """Forward and all three gradients, inputs of three axes."""
    torch.manual_seed(0)
    x, w, b = torch.randn(3, 4, 10), torch.randn(6, 10), torch.randn(6)
    layer = Linear(10, 6, recipe=FP32)
    mine, mine_grads = gradients(lambda *t: with_parameters(layer, *t), x, w, b)
    theirs, their_grads = gradients(linear, x, w, b)
    sizes, _ = gradients(linear, x.abs(), w.abs(), b.abs())
    close(mine, theirs, sizes, 11)
    for a, c in zip(mine_grads, their_grads, strict=True):
        close(a, c, torch.full_like(c, 60.0), 12)


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ((7, 7), {"kernel_size": 3}),
        ((8, 6), {"kernel_size": 3, "padding": 1}),
        ((9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((8, 9), {"kernel_size": (2, 3), "stride": (2, 3), "padding": (0, 1)}),
        ((9, 9), {"kernel_size": 3, "dilation": 2, "padding": 2}),
        ((7, 7), {"kernel_size": 2, "padding": "same"}),
        ((7, 7), {"kernel_size": 3, "padding": "valid"}),
        ((6, 6), {"kernel_size": 1, "padding": 2}),
        ((8, 8), {"kernel_size": 3, "groups": 2, "padding": 1, "stride": 2}),
        ((7, 8), {"kernel_size": 1, "stride": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_conv_on_fp32_agrees_with_torch(size: tuple[int, int], arguments: dict) -> None:  # type: ignore[type-arg]
    """Forward and all gradients for strides, paddings, dilations and groups."""
    torch.manual_seed(1)
    layer = Conv2d(4, 6, **arguments, recipe=FP32)
    x, w, b = torch.randn(2, 4, *size), torch.randn(layer.weight.shape), torch.randn(6)
    extra = {k: v for k, v in arguments.items() if k != "kernel_size"}
    mine, mine_grads = gradients(lambda *t: with_parameters(layer, *t), x, w, b)
    theirs, their_grads = gradients(lambda *t: conv2d(*t, **extra), x, w, b)
    sizes, _ = gradients(lambda *t: conv2d(*t, **extra), x.abs(), w.abs(), b.abs())
    close(mine, theirs, sizes, 40)
    for a, c in zip(mine_grads, their_grads, strict=True):
        close(a, c, torch.full_like(c, 400.0), 200)


def record(layer: nn.Module) -> list[GemmRecord]:
    """Keep every GEMM a layer runs."""
    kept: list[GemmRecord] = []
    layer.tally.on_gemm = kept.append  # type: ignore[union-attr]
    return kept


def check_every_output(gemm: GemmRecord) -> None:
    """All accumulators of one GEMM equal the oracle's."""
    for i, row in enumerate(gemm.a.code.tolist()):
        for j, column in enumerate(gemm.b.code.T.tolist()):
            expected, _ = dot(row, gemm.a.fmt, column, gemm.b.fmt, gemm.datapath)  # type: ignore[arg-type]
            assert gemm.acc[i, j] == expected


def test_linear_on_lns_equals_the_oracle_bit_for_bit() -> None:
    """Operands are the codes of x, w and dy; y, dx and dw are the accumulators' values."""
    torch.manual_seed(2)
    layer = Linear(9, 5, recipe=LNS)
    gemms = record(layer)
    x = torch.randn(4, 9, requires_grad=True)
    y = layer(x)
    dy = torch.randn(4, 5)
    y.backward(dy)
    forward, dx, dw = gemms
    assert [g.phase for g in gemms] == ["forward", "dx", "dw"]
    fmt = LNS.weight
    for codes, real in (
        (forward.a, x), (forward.b, layer.weight.T), (dx.a, dy), (dx.b, layer.weight), (dw.a, dy.T)
    ):  # fmt: skip
        expected = encode(real.detach().numpy(), fmt)
        assert np.array_equal(codes.code, expected.code)
        assert codes.offset == expected.offset
    for gemm in gemms:
        check_every_output(gemm)
    values = [g.datapath.to_real(g.acc, g.a, g.b).astype(np.float32) for g in gemms]  # type: ignore[arg-type]
    bias = layer.bias.detach().numpy()
    assert np.array_equal(y.detach().numpy(), values[0] + bias)
    assert np.array_equal(x.grad.numpy(), values[1])  # type: ignore[union-attr]
    gradient = decode(encode(values[2], LNS.gradient)).astype(np.float32)  # type: ignore[arg-type]
    assert np.array_equal(layer.weight.grad.numpy(), gradient)  # type: ignore[union-attr]


@pytest.mark.parametrize("optimiser", ["madam", "integer-madam"])
def test_conv_on_lns_equals_the_oracle_bit_for_bit(optimiser: str) -> None:
    """Three GEMMs; the input gradient is one of K = out channels * kernel, not a sum of parts."""
    torch.manual_seed(3)
    layer = Conv2d(2, 3, 3, stride=2, padding=1, recipe=lns_recipe(optimiser=optimiser))
    gemms = record(layer)
    x = torch.randn(2, 2, 5, 5, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    shapes = {g.phase: (g.a.shape, g.b.shape) for g in gemms}
    assert shapes["forward"] == ((18, 18), (18, 3))
    assert shapes["dx"] == ((50, 27), (27, 2))
    assert shapes["dw"] == ((3, 18), (18, 18))
    for gemm in gemms:
        check_every_output(gemm)
    assert x.grad is not None
    assert bool(x.grad.any())


def test_backward_reaches_a_coded_first_layer() -> None:
    """The input needs no gradient, the weights are no Parameters: dw is delivered all the same."""
    layer = Linear(4, 3, recipe=lns_recipe())
    gemms = record(layer)
    layer(torch.randn(2, 4)).sum().backward()
    assert [g.phase for g in gemms] == ["forward", "dw"]
    assert layer.codes["weight"].gradient.shape == (3, 4)
    assert layer.codes["bias"].gradient.shape == (3,)


def test_what_is_lost_is_counted() -> None:
    """Elements per role, zeros made by underflow, outputs whose accumulator overflowed."""
    layer = Linear(64, 2, recipe=lns_recipe(optimiser="madam"))
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.ones(3, 64)
    x[0, 0] = 1e-30
    layer(x)
    counts = {row["role"]: row for row in layer.tally.as_dict()["encodes"]}
    assert counts["activation"]["elements"] == 192
    assert counts["activation"]["underflowed"] == 1
    assert counts["weight"]["elements"] == 128
    (row,) = layer.tally.as_dict()["accumulators"]
    assert row["outputs"] == 6
    # 1.0 * 1.0 is a term of 2^17, so the 64th reaches 2^23; row 0 has only 63.
    assert row["overflowed"] == 4


def test_padding_needs_a_zero_code() -> None:
    """A format without zero cannot pad or spread a convolution."""
    recipe = replace(LNS, activation=LNSFormat(7, 8, zero=False))
    with pytest.raises(ValueError, match=r"^activation must have a zero code \(zero=True\) in the"):
        Conv2d(1, 1, 3, padding=1, recipe=recipe)


def test_inputs_must_be_float32() -> None:
    """The vector unit is fp32; anything else is refused by name."""
    message = r"^input of layer must be float32 on the CPU, got torch\.float64 cpu$"
    with pytest.raises(TypeError, match=message):
        Linear(2, 2, recipe=LNS)(torch.zeros(1, 2, dtype=torch.float64))


def test_a_frozen_weight_costs_no_gemm() -> None:
    """What needs no gradient is neither computed nor counted."""
    layer = Linear(4, 3, recipe=LNS)
    layer.weight.requires_grad_(False)
    gemms = record(layer)
    layer(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert [g.phase for g in gemms] == ["forward", "dx"]
    assert layer.bias.grad is not None
    assert "gradient" not in {row["role"] for row in layer.tally.as_dict()["encodes"]}


def test_every_gemm_is_seen_counted_or_not() -> None:
    """Evaluation switches the counts off, not the observer."""
    layer = Linear(4, 3, recipe=LNS)
    gemms = record(layer)
    layer.tally.enabled = False
    layer(torch.randn(2, 4))
    assert len(gemms) == 1
    assert layer.tally.as_dict()["accumulators"] == []


def test_convolutions_take_one_image_or_none() -> None:
    """(C, H, W) as in torch; an empty batch has gradients of zero; wrong channels are named."""
    layer = Conv2d(2, 3, 3, groups=1, recipe=LNS)
    image = torch.randn(2, 6, 5)
    assert torch.equal(layer(image), layer(image.unsqueeze(0))[0])
    out = layer(torch.zeros(0, 2, 6, 5))
    assert out.shape == (0, 3, 4, 3)
    out.sum().backward()
    assert not layer.weight.grad.any()
    with pytest.raises(ValueError, match=r"must be \(N, 2, H, W\), got \(1, 3, 6, 5\)$"):
        layer(torch.zeros(1, 3, 6, 5))
