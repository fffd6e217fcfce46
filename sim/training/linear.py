"""Linear, and what every mapped layer shares: its weight operand, its codes, its gradient.

A mapped layer trains its weight in one of two ways. Under a rule that moves floats it owns the
usual Parameters `weight` and `bias` and encodes them for every GEMM. Under one that moves codes it
owns codes alone (rules/coded.py), whose gradients wait there for the optimiser.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...kernels import Matrix, Place, requantise_fast, to_float32
from ...lns.array import CodeArray, LNSArray
from ...lns.checks import require_int, require_kind
from ...lns.format import FP32, LNSFormat
from ..checks import MOST
from ..recipes.recipe import Recipe
from ..rules.coded import CodeHolder
from .blocks import encode_operand, in_blocks, keep, operand_formats, turned
from .layer_checks import build, require_float32
from .operands import encode_tensor, run_gemm
from .tally import Tally

Array = npt.NDArray[np.float32]


class Mapped(CodeHolder):
    """A layer whose GEMMs run on a datapath."""

    recipe: Recipe
    tally: Tally
    anchor: Tensor

    def attach(self, recipe: Recipe, tally: Tally | None = None, name: str = "layer") -> None:
        """Give a freshly built float layer its recipe; code its tensors if its rule moves codes."""
        require_kind("recipe", recipe, Recipe)
        for tensor in self.parameters(recurse=False):
            if tensor.dtype != torch.float32:
                raise TypeError(f"{name} must hold float32 tensors, got {tensor.dtype}")
        self.recipe = recipe
        self.tally = Tally() if tally is None else tally
        self.layer_name = name
        self.codes = {}
        if self.coded:
            assert isinstance(recipe.update, LNSFormat)
            for key in ("weight", "bias"):
                self.hold_code(key, recipe.update)
        # Backward must run even where no input needs a gradient; plain attribute, not in any state.
        trained = any(tensor.trained for tensor in self.codes.values())
        self.anchor = torch.zeros((), requires_grad=trained)

    @property
    def coded(self) -> bool:
        """Are the codes the only copy of the weights?"""
        return self.recipe.rule.stores == "code"

    def stored(self, name: str) -> LNSArray | None:
        """The stored codes of "weight" or "bias"; None where the layer has none."""
        return self.codes[name].array() if name in self.codes else None

    def weight_operand(self, weight: Tensor) -> CodeArray:
        """The weight's codes in the GEMM format, with the weight's own shape.

        From stored codes by requantisation (integers only), else encoded from the Parameter.
        """
        fmt, recipe = self.recipe.weight, self.recipe
        if not self.coded:
            real, stored = weight.detach().numpy(), recipe.update or FP32
            return encode_operand(self, "weight", "forward", "forward", real, stored)
        codes = self.stored("weight")
        assert codes is not None
        assert isinstance(fmt, LNSFormat)
        array, counts = requantise_fast(codes, fmt)
        self.tally.add_encode(self.layer_name, "weight", "forward", fmt, counts, source=codes.fmt)
        return array

    def bias_value(self) -> Tensor | None:
        """The bias as the vector unit adds it (a transient float32 of stored codes)."""
        if not self.coded:
            return getattr(self, "bias", None)
        codes = self.stored("bias")
        return None if codes is None else torch.from_numpy(to_float32(codes))

    def weight_source(self) -> Tensor:
        """What autograd sees as the weight: the Parameter, or the anchor of a coded layer."""
        return self.anchor if self.coded else self.weight  # type: ignore[return-value]

    def encode_activation(self, x: Array) -> CodeArray:
        """Encode the layer's input."""
        return encode_operand(self, "activation", "forward", "forward", x)

    def encode_error(self, dy: Array, product: str, phase: str) -> CodeArray:
        """Encode the gradient of the layer's output for a product; counted in `phase`."""
        return encode_operand(self, "error", product, phase, dy)

    def gemm(self, phase: str, a: Matrix, b: Matrix, place: Place | None = None) -> Array:
        """Run one GEMM of this layer; place: where its result goes."""
        formats, datapath = operand_formats(self, phase), self.recipe.datapath
        return run_gemm(self.tally, self.layer_name, phase, a, b, datapath, place, formats)

    def round_gradient(self, dw: Array) -> Array:
        """The weight gradient after its own format, if the recipe has one."""
        fmt = self.recipe.gradient
        if fmt is None:
            return dw
        array = encode_tensor(
            self.tally, self.layer_name, "gradient", "dw", dw, fmt, self.recipe.scaling
        )
        return to_float32(array)

    def wants(self, name: str, needed: bool) -> bool:
        """Does "weight" or "bias" need its gradient? needed: what autograd says of a Parameter."""
        return name in self.codes and self.codes[name].trained if self.coded else needed

    def deliver(self, name: str, gradient: Tensor) -> Tensor | None:
        """Hand a gradient to autograd, or keep it for the optimiser of a coded layer."""
        if not self.coded:
            return gradient
        self.codes[name].deliver(gradient)
        return None

    def described(self, shape: str) -> str:
        """The text inside `repr`'s brackets: torch's own, the recipe, whether codes are kept."""
        if not self.coded:
            return f"{shape}, recipe={self.recipe.name}"
        shape = shape.replace(", bias=False", "")
        return f"{shape}, bias={self.stored('bias') is not None}, recipe={self.recipe.name}, codes"


Gradient = Callable[[Any, CodeArray], Array]


def run_backward(
    ctx: Any,
    dy: Tensor,
    batch_axes: tuple[int, ...],
    input_gradient: Gradient,
    weight_gradient: Gradient,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    """Return (dx, dw, db, None) of a mapped layer, each only where it is needed.

    dy is encoded once for both GEMMs, in blocks for each; db is its fp32 sum over `batch_axes`.
    """
    layer: Mapped = ctx.layer
    needs_dx, needs_dw, needs_db, _ = ctx.needs_input_grad
    needs_dw = layer.wants("weight", needs_dw)
    dx = dw = db = None
    if needs_dx or needs_dw:
        real, first = dy.contiguous().numpy(), "dx" if needs_dx else "dw"
        error = layer.encode_error(real, first, first)
        if needs_dx:
            dx = torch.from_numpy(input_gradient(ctx, error))
        if needs_dw:
            if needs_dx and in_blocks(layer):
                error = layer.encode_error(real, "dw", first)
            gradient = layer.round_gradient(weight_gradient(ctx, error))
            dw = layer.deliver("weight", torch.from_numpy(gradient))
    if ctx.has_bias and layer.wants("bias", needs_db):
        db = layer.deliver("bias", dy.sum(batch_axes))
    return dx, dw, db, None


class LinearFunction(torch.autograd.Function):
    """y = x w^T + b with its three GEMMs; x (B, in) float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: "Linear"
    ) -> Tensor:
        """Encode x and w once; the same codes serve backward."""
        ctx.layer = layer
        ctx.activation = layer.encode_activation(x.detach().numpy())
        ctx.weight = layer.weight_operand(weight)
        keep(ctx, activation=x.detach().numpy(), weight=weight.detach().numpy())
        ctx.has_bias = bias is not None
        y = torch.from_numpy(layer.gemm("forward", ctx.activation, ctx.weight.T))
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        """dx = dy w (contraction over outputs), dw = dy^T x (over the batch)."""
        return run_backward(ctx, dy, (0,), _input_gradient, _weight_gradient)


def _input_gradient(ctx: Any, error: CodeArray) -> Array:
    return ctx.layer.gemm("dx", error, turned(ctx, "weight", "dx"))


def _weight_gradient(ctx: Any, error: CodeArray) -> Array:
    return ctx.layer.gemm("dw", error.T, turned(ctx, "activation", "dw"))


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
