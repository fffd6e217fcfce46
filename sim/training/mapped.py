"""What every mapped layer shares: its weight operand, its codes, its products, its gradients.

A mapped layer trains its weight in one of two ways. Under a rule that moves floats it owns the
usual Parameters `weight` and `bias` and encodes them for every GEMM. Under one that moves codes it
owns codes alone (rules/coded.py), whose gradients wait there for the optimiser.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels.backends import get_backend
from ...lns.array import CodeArray, LNSArray
from ...lns.checks import require_bool, require_kind
from ...lns.format import FP32, LNSFormat
from ..recipes.recipe import Recipe
from ..rules.coded import CodeHolder
from .operands import decoded, encode_operand, encode_tensor, in_blocks, requantised
from .products import DW, DX, FORWARD
from .tally import Tally


class Mapped(CodeHolder):
    """A layer whose GEMMs run on a datapath."""

    recipe: Recipe
    tally: Tally
    anchor: Tensor
    coded: bool  #: are the codes the only copy of the weights?

    @classmethod
    def maps(cls, module: nn.Module) -> bool:
        """Can `module`, of a type that `convert.LAYERS` has for this class, be mapped?

        Its weight must be a Parameter of its own: spectral or weight norm computes the weight from
        other tensors; such a layer stays as it is.
        """
        return isinstance(module._parameters.get("weight"), nn.Parameter)

    def attach(
        self,
        recipe: Recipe,
        tally: Tally | None = None,
        name: str = "layer",
        backend: str = "cpu",
    ) -> None:
        """Give a freshly built float layer its recipe; code its tensors if its rule moves codes."""
        require_kind("recipe", recipe, Recipe)
        get_backend(backend)
        for tensor in self.parameters(recurse=False):
            if tensor.dtype != torch.float32:
                raise TypeError(f"{name} must hold float32 tensors, got {tensor.dtype}")
        self.recipe = recipe
        self.tally = Tally() if tally is None else tally
        self.layer_name = name
        self.backend_name = backend
        self.codes = {}
        self.coded = recipe.rule.stores == "code"
        if self.coded:
            assert isinstance(recipe.update, LNSFormat)
            for key in ("weight", "bias"):
                self.hold_code(key, recipe.update)
        # Backward must run even where no input needs a gradient; plain attribute, not in any state.
        trained = any(tensor.trained for tensor in self.codes.values())
        self.anchor = torch.zeros((), requires_grad=trained)

    def stored(self, name: str) -> LNSArray | None:
        """The stored codes of "weight" or "bias"; None where the layer has none."""
        return self.codes[name].array() if name in self.codes else None

    def weight_operand(self, weight: Tensor) -> CodeArray:
        """The weight's codes in the GEMM format, with the weight's own shape.

        From stored codes by requantisation (integers only), else encoded from the Parameter.
        """
        fmt = self.recipe.weight
        if not self.coded:
            source = self.recipe.update or FP32
            return encode_operand(self, "weight", FORWARD, "forward", weight, source)
        codes = self.stored("weight")
        assert codes is not None
        assert isinstance(fmt, LNSFormat)
        return requantised(self, codes, fmt)

    def bias_value(self) -> Tensor | None:
        """The bias as the vector unit adds it (a transient float32 of stored codes)."""
        if not self.coded:
            return getattr(self, "bias", None)
        codes = self.stored("bias")
        return None if codes is None else decoded(self.backend, codes)

    def weight_source(self) -> Tensor:
        """What autograd sees as the weight: the Parameter, or the anchor of a coded layer."""
        return self.anchor if self.coded else self.weight  # type: ignore[return-value]

    def round_gradient(self, dw: Tensor) -> Tensor:
        """The weight gradient after its own format, if the recipe has one."""
        fmt = self.recipe.gradient
        if fmt is None:
            return dw
        place = self.tally, self.layer_name, "gradient", "dw"
        codes = encode_tensor(self.backend, *place, dw, fmt, self.recipe.scaling)
        return decoded(self.backend, codes)

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


Gradient = Callable[[Any, CodeArray], Tensor]


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
        first = DX if needs_dx else DW
        error = encode_operand(layer, "error", first, first.phase, dy)
        if needs_dx:
            dx = input_gradient(ctx, error)
        if needs_dw:
            if needs_dx and in_blocks(layer):
                error = encode_operand(layer, "error", DW, first.phase, dy)
            dw = layer.deliver("weight", layer.round_gradient(weight_gradient(ctx, error)))
    if ctx.has_bias and layer.wants("bias", needs_db):
        db = layer.deliver("bias", dy.sum(batch_axes))
    return dx, dw, db, None


def build(
    layer: nn.Module,
    kind: Any,
    sizes: tuple[Any, ...],
    bias: object,
    device: object,
    dtype: object,
    recipe: object,
) -> None:
    """Build torch's own layer `kind` of `sizes` in `layer`, after checks of the rest."""
    require_kind("recipe", recipe, Recipe)
    require_bool("bias", bias)
    place = device.type if isinstance(device, torch.device) else device
    if place is not None and not (isinstance(place, str) and place == "cpu"):
        raise ValueError(f"device must be the CPU, got {device!r}")
    if dtype is not None and dtype is not torch.float32:
        raise TypeError(f"dtype must be torch.float32, got {dtype!r}")
    try:
        kind.__init__(layer, *sizes, bias=bias, device=device, dtype=dtype)
    except RuntimeError as error:  # torch's allocator
        raise ValueError(f"weight must fit in memory, got sizes {sizes}") from error


def require_float32(layer: str, x: Tensor) -> None:
    """Raise TypeError unless `x` is a dense float32 tensor on the CPU."""
    if not isinstance(x, Tensor):
        raise TypeError(f"input of {layer} must be a tensor, got {type(x).__name__}")
    if x.dtype != torch.float32 or x.device.type != "cpu":
        raise TypeError(f"input of {layer} must be float32 on the CPU, got {x.dtype} {x.device}")
    if x.layout != torch.strided:
        raise TypeError(f"input of {layer} must be dense, got {x.layout}")
