"""Linear as three GEMMs of codes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...lns.array import CodeArray
from ...lns.checks import require_int
from ..checks import MOST
from ..recipes.recipe import Recipe
from .mapped import Mapped, build, require_float32, run_backward
from .operands import encode_operand, keep, multiply, turned
from .products import DW, DX, FORWARD


class LinearFunction(torch.autograd.Function):
    """y = x w^T + b with its three GEMMs; x (B, in) float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: "Linear"
    ) -> Tensor:
        """Encode x and w once; the same codes serve backward."""
        ctx.layer = layer
        ctx.activation = encode_operand(layer, "activation", FORWARD, "forward", x)
        ctx.weight = layer.weight_operand(weight)
        keep(ctx, activation=x, weight=weight)
        ctx.has_bias = bias is not None
        y = multiply(layer, FORWARD, ctx.activation, ctx.weight.T)
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        """dx = dy w (contraction over outputs), dw = dy^T x (over the batch)."""
        return run_backward(ctx, dy, (0,), _input_gradient, _weight_gradient)


def _input_gradient(ctx: Any, error: CodeArray) -> Tensor:
    return multiply(ctx.layer, DX, error, turned(ctx, "weight", DX))


def _weight_gradient(ctx: Any, error: CodeArray) -> Tensor:
    return multiply(ctx.layer, DW, error.T, turned(ctx, "activation", DW))


class Linear(Mapped, nn.Linear):
    """`torch.nn.Linear` on a datapath; input (..., in_features) float32.

    k runs over in_features in forward, out_features in dx, rows of the batch in dw, ascending.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        recipe: Recipe,
    ):
        sizes = [
            require_int(name, value, 1, MOST)
            for name, value in (("in_features", in_features), ("out_features", out_features))
        ]
        build(self, nn.Linear, tuple(sizes), bias, device, dtype, recipe)
        self.attach(recipe)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return self.described(nn.Linear.extra_repr(self))

    def forward(self, input: Tensor) -> Tensor:
        """Return (..., out_features) float32."""
        require_float32(self.layer_name, input)
        if input.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"input of {self.layer_name} must be (..., {self.in_features}), "
                f"got {tuple(input.shape)}"
            )
        flat = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
        y: Tensor = LinearFunction.apply(flat, self.weight_source(), self.bias_value(), self)
        return y if flat is input else y.reshape(*input.shape[:-1], self.out_features)
