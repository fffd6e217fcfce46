"""Conv2d as three GEMMs of codes.

Codes are gathered into patches (im2col); padding is code 0, which is zero. The order of k is part
of the result's bits:
forward: input channel, kernel row, kernel column; dw: image, output row, output column;
dx, the transposed convolution as one GEMM, so that every product meets the accumulator: output
channel, kernel row, kernel column of the flipped kernel, over the errors spread by the stride with
zero codes between them.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..lns.array import CodeArray
from ..lns.format import LNSFormat
from .gemm import with_code
from .layers import Mapped, require_float32, run_backward
from .recipe import Recipe

Codes = npt.NDArray[Any]
Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
Pair = tuple[int, int]


def padded(code: Codes, pads: Pads) -> Codes:
    """Return codes (N, C, H, W) with zero codes added; a negative pad crops."""
    (top, bottom), (left, right) = pads
    height, width = code.shape[2:]
    code = code[
        :, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)
    ]
    widths = ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
    return np.ascontiguousarray(np.pad(code, widths))


def patches(code: Codes, kernel: Pair, stride: Pair, dilation: Pair) -> Codes:
    """Return (N * OH * OW, C * KH * KW) codes from (N, C, H, W), already padded."""
    n, c, height, width = code.shape
    out = tuple(
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    )
    sn, sc, sh, sw = code.strides
    view = as_strided(
        code,
        (n, *out, c, *kernel),
        (sn, sh * stride[0], sw * stride[1], sc, sh * dilation[0], sw * dilation[1]),
        writeable=False,
    )
    return view.reshape(n * out[0] * out[1], c * kernel[0] * kernel[1])


def spread(code: Codes, stride: Pair, extra: Pair) -> Codes:
    """Return errors (N, C, OH, OW) with stride - 1 zero codes between and `extra` at the end."""
    n, c, height, width = code.shape
    if stride == (1, 1) and extra == (0, 0):
        return code
    wide = np.zeros(
        (n, c, (height - 1) * stride[0] + 1 + extra[0], (width - 1) * stride[1] + 1 + extra[1]),
        code.dtype,
    )
    wide[
        :, :, : (height - 1) * stride[0] + 1 : stride[0], : (width - 1) * stride[1] + 1 : stride[1]
    ] = code
    return wide


class ConvFunction(torch.autograd.Function):
    """y = conv2d(x, w) + b; x (N, C, H, W) float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: "Conv2d"
    ) -> Tensor:
        """Encode x and w once; the same codes serve backward."""
        ctx.layer, ctx.size, ctx.has_bias = layer, tuple(x.shape[2:]), bias is not None
        activation = layer.encode_activation(x.detach().numpy())
        ctx.activation = activation
        ctx.weight = layer.weight_operand(weight)
        code = padded(activation.code, layer.pads())
        ctx.out_size = layer.out_size(ctx.size)
        parts = []
        for a, w in zip(layer.split(code, 1), layer.split(ctx.weight.code, 0), strict=True):
            columns = with_code(activation, layer.patches(a))
            kernel = with_code(ctx.weight, w.reshape(w.shape[0], columns.shape[1]).T)
            parts.append(layer.gemm("forward", columns, kernel))
        y = torch.from_numpy(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0])
        y = y.reshape(x.shape[0], *ctx.out_size, layer.out_channels)
        y = y.permute(0, 3, 1, 2).contiguous()
        return y if bias is None else y + bias.reshape(-1, 1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        """dx: transposed convolution; dw: errors times patches over images and positions."""
        return run_backward(ctx, dy, (0, 2, 3), _input_gradient, _weight_gradient)


def _weight_gradient(ctx: Any, error: CodeArray) -> npt.NDArray[np.float32]:
    layer: Conv2d = ctx.layer
    code = padded(ctx.activation.code, layer.pads())
    parts = []
    for a, e in zip(layer.split(code, 1), layer.split(error.code, 1), strict=True):
        rows = e.transpose(1, 0, 2, 3).reshape(e.shape[1], e.size // e.shape[1])
        columns = with_code(ctx.activation, layer.patches(a))
        parts.append(layer.gemm("dw", with_code(error, rows), columns))
    return np.concatenate(parts).reshape(ctx.weight.shape)


def _input_gradient(ctx: Any, error: CodeArray) -> npt.NDArray[np.float32]:
    layer: Conv2d = ctx.layer
    reach = [d * (k - 1) for k, d in zip(layer.kernel, layer.dilations, strict=True)]
    pads = layer.pads()
    full = [size + sum(pad) for size, pad in zip(ctx.size, pads, strict=True)]
    extra = tuple(
        size - r - 1 - (out - 1) * s
        for size, r, out, s in zip(full, reach, ctx.out_size, layer.strides, strict=True)
    )
    around = tuple((r - top, r - bottom) for r, (top, bottom) in zip(reach, pads, strict=True))
    parts = []
    for e, w in zip(layer.split(error.code, 1), layer.split(ctx.weight.code, 0), strict=True):
        wide = padded(spread(e, layer.strides, (extra[0], extra[1])), (around[0], around[1]))
        columns = patches(wide, layer.kernel, (1, 1), layer.dilations)
        flipped = w[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, w.shape[1])
        flipped = np.ascontiguousarray(flipped)
        dx = layer.gemm("dx", with_code(error, columns), with_code(ctx.weight, flipped))
        parts.append(dx.reshape(e.shape[0], *ctx.size, w.shape[1]))
    joined = np.concatenate(parts, axis=3) if len(parts) > 1 else parts[0]
    return np.ascontiguousarray(joined.transpose(0, 3, 1, 2))


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
        nn.Conv2d.__init__(
            self,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.attach(recipe)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return self.described(nn.Conv2d.extra_repr(self))

    def attach(self, recipe: Recipe, tally: Any = None, name: str = "layer") -> None:
        """As `Mapped.attach`; refuses what has no zero code to pad or spread with."""
        if self.padding_mode != "zeros":
            raise ValueError(f"padding_mode must be zeros in {name}, got {self.padding_mode!r}")
        for role in ("activation", "error"):
            fmt = getattr(recipe, role)
            if isinstance(fmt, LNSFormat) and not fmt.zero:
                raise ValueError(
                    f"{role} must have a zero code (zero=True) in the convolution {name}: padding "
                    f"and stride insert zeros, got {fmt.name}"
                )
        super().attach(recipe, tally, name)

    @property
    def kernel(self) -> Pair:
        """(rows, columns) of the kernel."""
        return (self.kernel_size[0], self.kernel_size[1])

    @property
    def strides(self) -> Pair:
        """(vertical, horizontal) stride."""
        return (self.stride[0], self.stride[1])

    @property
    def dilations(self) -> Pair:
        """(vertical, horizontal) dilation."""
        return (self.dilation[0], self.dilation[1])

    def pads(self) -> Pads:
        """Zeros added on each side."""
        if isinstance(self.padding, str):
            reach = [d * (k - 1) for k, d in zip(self.kernel, self.dilations, strict=True)]
            if self.padding == "valid":
                reach = [0, 0]
            return ((reach[0] // 2, reach[0] - reach[0] // 2),
                    (reach[1] // 2, reach[1] - reach[1] // 2))  # fmt: skip
        vertical, horizontal = self.padding
        return ((vertical, vertical), (horizontal, horizontal))

    def out_size(self, size: Pair) -> Pair:
        """(rows, columns) of the output for an input of `size`."""
        rows, columns = (
            (length + sum(pad) - d * (k - 1) - 1) // s + 1
            for length, pad, k, s, d in zip(
                size, self.pads(), self.kernel, self.strides, self.dilations, strict=True
            )
        )
        return rows, columns

    def patches(self, code: Codes) -> Codes:
        """im2col of already padded codes with this layer's kernel."""
        return patches(code, self.kernel, self.strides, self.dilations)

    def split(self, code: Codes, axis: int) -> list[Codes]:
        """One part per group along `axis`."""
        return np.split(code, self.groups, axis=axis)

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
        y: Tensor = ConvFunction.apply(input, self.weight_source(), self.bias_value(), self)
        return y
