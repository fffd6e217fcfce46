"""Conv2d as three GEMMs of codes.

The patches (im2col) are read where they lie, in the padded codes; padding is code 0, which is zero.
The order of k is part of the result's bits:
forward: input channel, kernel row, kernel column; dw: image, output row, output column;
dx, the transposed convolution as one GEMM, so that every product meets the accumulator: output
channel, kernel row, kernel column of the flipped kernel, over the errors spread by the stride with
zero codes between them.
"""

from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...lns.array import CodeArray
from ...lns.checks import require_kind
from ...lns.format import LNSFormat
from ..checks import conv_sizes
from ..recipes.recipe import Recipe
from .images import (
    Pads,
    Pair,
    Shape,
    channels,
    image_place,
    kernels,
    padded,
    patches,
    spread,
    turned_kernels,
)
from .mapped import Mapped, build, require_float32, run_backward
from .operands import encode_operand, keep, multiply, turned
from .products import DW, DX, FORWARD

SIZES = tuple(signature(conv_sizes).parameters)  #: of a convolution, attributes of torch's layer


class ConvFunction(torch.autograd.Function):
    """y = conv2d(x, w) + b; x (N, C, H, W) float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: "Conv2d"
    ) -> Tensor:
        """Encode x and w once; the same codes serve backward."""
        ctx.layer, ctx.size, ctx.has_bias = layer, tuple(x.shape[2:]), bias is not None
        ctx.activation = encode_operand(layer, "activation", FORWARD, "forward", x)
        ctx.weight = layer.weight_operand(weight)
        keep(ctx, activation=x, weight=weight)
        ctx.padded = padded(layer, ctx.activation, layer.pads())
        ctx.out_size = layer.out_size(ctx.size)
        y = x.new_empty((x.shape[0], layer.out_channels, *ctx.out_size))
        outputs, inputs = layer.group
        for g in range(layer.groups):
            a = patches(layer, ctx.padded, layer.shape, g * inputs, inputs)
            kernel = kernels(layer, ctx.weight, g * outputs, outputs).T
            multiply(layer, FORWARD, a, kernel, image_place(layer, y, g * outputs, outputs))
        return y if bias is None else y.add_(bias.reshape(-1, 1, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        """dx: transposed convolution; dw: errors times patches over images and positions."""
        return run_backward(ctx, dy, (0, 2, 3), _input_gradient, _weight_gradient)


def _weight_gradient(ctx: Any, error: CodeArray) -> Tensor:
    """Errors (C_out, N * OH * OW) times patches (N * OH * OW, C * KH * KW), group by group."""
    layer: Conv2d = ctx.layer
    activation, wide = turned(ctx, "activation", DW), ctx.padded
    if activation is not ctx.activation:
        wide = padded(layer, activation, layer.pads())
    parts = []
    outputs, inputs = layer.group
    for g in range(layer.groups):
        errors = channels(layer, error, g * outputs, outputs)
        columns = patches(layer, wide, layer.shape, g * inputs, inputs)
        parts.append(multiply(layer, DW, errors, columns))
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole.reshape(ctx.weight.shape)


def _input_gradient(ctx: Any, error: CodeArray) -> Tensor:
    layer: Conv2d = ctx.layer
    (kernel_size, strides, dilations), pads = layer.shape, layer.pads()
    reach = [d * (k - 1) for k, d in zip(kernel_size, dilations, strict=True)]
    full = [size + sum(pad) for size, pad in zip(ctx.size, pads, strict=True)]
    extra = tuple(
        size - r - 1 - (out - 1) * s
        for size, r, out, s in zip(full, reach, ctx.out_size, strides, strict=True)
    )
    around = tuple((r - top, r - bottom) for r, (top, bottom) in zip(reach, pads, strict=True))
    spaced = spread(layer, error, strides, (extra[0], extra[1]))
    wide = padded(layer, spaced, (around[0], around[1]))
    dx = torch.empty((error.shape[0], layer.in_channels, *ctx.size))
    weight, (outputs, inputs) = turned(ctx, "weight", DX), layer.group
    shape = kernel_size, (1, 1), dilations
    for g in range(layer.groups):
        columns = patches(layer, wide, shape, g * outputs, outputs)
        kernel = turned_kernels(layer, weight, g * outputs, outputs)
        multiply(layer, DX, columns, kernel, image_place(layer, dx, g * inputs, inputs))
    return dx


class Conv2d(Mapped, nn.Conv2d):
    """`torch.nn.Conv2d` on a datapath; padding_mode "zeros" only.

    Input (N, C, H, W) or (C, H, W), float32.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros"] = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        recipe: Recipe,
    ):
        if padding_mode != "zeros":
            raise ValueError(f"padding_mode must be zeros in layer, got {padding_mode!r}")
        sizes = conv_sizes(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        )
        build(self, nn.Conv2d, sizes, bias, device, dtype, recipe)
        self.attach(recipe)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return self.described(nn.Conv2d.extra_repr(self))

    @classmethod
    def maps(cls, module: nn.Module) -> bool:
        """Zero padding only: codes have a zero, and no other value to pad with."""
        return super().maps(module) and getattr(module, "padding_mode", None) == "zeros"

    def attach(
        self, recipe: Recipe, tally: Any = None, name: str = "layer", backend: str = "cpu"
    ) -> None:
        """As `Mapped.attach`; refuses what has no zero code to pad or spread with."""
        if self.padding_mode != "zeros":
            raise ValueError(f"padding_mode must be zeros in {name}, got {self.padding_mode!r}")
        conv_sizes(*(getattr(self, name) for name in SIZES))
        require_kind("recipe", recipe, Recipe)
        for role in ("activation", "error"):
            fmt = getattr(recipe, role)
            if isinstance(fmt, LNSFormat) and not fmt.zero:
                raise ValueError(
                    f"{role} must have a zero code (zero=True) in the convolution {name}: padding "
                    f"and stride insert zeros, got {fmt.name}"
                )
        super().attach(recipe, tally, name, backend)

    def pads(self) -> Pads:
        """Zeros added on each side."""
        if isinstance(self.padding, str):
            reach = [0, 0]
            if self.padding == "same":
                reach = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            return ((reach[0] // 2, reach[0] - reach[0] // 2),
                    (reach[1] // 2, reach[1] - reach[1] // 2))  # fmt: skip
        vertical, horizontal = self.padding
        return ((vertical, vertical), (horizontal, horizontal))

    def out_size(self, size: Pair) -> Pair:
        """(rows, columns) of the output for an input of `size`."""
        rows, columns = (
            (length + sum(pad) - d * (k - 1) - 1) // s + 1
            for length, pad, k, s, d in zip(size, self.pads(), *self.shape, strict=True)
        )
        return rows, columns

    @property
    def shape(self) -> Shape:
        """(kernel, stride, dilation), each (vertical, horizontal)."""
        own = self.kernel_size, self.stride, self.dilation
        kernel, stride, dilation = ((each[0], each[1]) for each in own)
        return kernel, stride, dilation

    @property
    def group(self) -> Pair:
        """Output and input channels of one group."""
        return self.out_channels // self.groups, self.in_channels // self.groups

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out_channels, OH, OW) float32, without N where the input has none."""
        require_float32(self.layer_name, input)
        if input.dim() == 3:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        if input.dim() != 4 or input.shape[1] != self.in_channels:
            raise ValueError(
                f"input of {self.layer_name} must be (N, {self.in_channels}, H, W), "
                f"got {tuple(input.shape)}"
            )
        if min(self.out_size((input.shape[2], input.shape[3]))) < 1:
            least = [
                d * (k - 1) + 1 - sum(pad)
                for d, k, pad in zip(self.dilation, self.kernel_size, self.pads(), strict=True)
            ]
            raise ValueError(
                f"input of {self.layer_name} must have at least {max(least[0], 1)} x "
                f"{max(least[1], 1)} places, got {input.shape[2]} x {input.shape[3]}"
            )
        y: Tensor = ConvFunction.apply(input, self.weight_source(), self.bias_value(), self)
        return y
