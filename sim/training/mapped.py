"""What every mapped layer shares: its weight operand, its codes, its products, its gradients.

A mapped layer trains its weight in one of two ways. With a float optimiser it owns the usual
Parameters `weight` and `bias` and encodes them for every GEMM. With integer Madam it owns codes
alone: the buffers `weight_code`, `bias_code` (int32, since torch's uint16 lacks the arithmetic)
and their integer `weight_offset`, `bias_offset`; the float32 gradients wait in `gradients` for the
optimiser and are in no state_dict.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...kernels import Matrix, Place
from ...kernels.backends import Backend, get_backend
from ...lns.array import CodeArray, LNSArray
from ...lns.checks import require_bool, require_kind
from ...lns.codec import encode
from ...lns.format import FP32, LNSFormat
from ..recipes.recipe import Recipe
from ..rules.madam import rms
from .operands import decoded, encode_operand, encode_tensor, in_blocks, multiply
from .products import DW, DX, FORWARD, Product
from .tally import Tally


class Mapped(nn.Module):
    """A layer whose GEMMs run on a datapath."""

    recipe: Recipe
    tally: Tally
    layer_name: str
    backend_name: str
    anchor: Tensor
    gradients: dict[str, Tensor]
    trained: frozenset[str]  #: coded tensors the optimiser moves

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
        """Give a freshly built float layer its recipe; with integer Madam code its tensors."""
        require_kind("recipe", recipe, Recipe)
        get_backend(backend)
        for tensor in self.parameters(recurse=False):
            if tensor.dtype != torch.float32:
                raise TypeError(f"{name} must hold float32 tensors, got {tensor.dtype}")
        self.recipe = recipe
        self.tally = Tally() if tally is None else tally
        self.layer_name = name
        self.backend_name = backend
        self.gradients = {}
        self.trained = frozenset()
        if recipe.optimiser == "integer-madam":
            for tensor_name in ("weight", "bias"):
                self._code_tensor(tensor_name)
        # Backward must run even where no input needs a gradient; plain attribute, not in any state.
        self.anchor = torch.zeros((), requires_grad=bool(self.trained))

    @property
    def backend(self) -> Backend:
        """Who encodes and multiplies; kept by name, so that a layer can be copied and pickled."""
        return get_backend(self.backend_name)

    @property
    def coded(self) -> bool:
        """Are the codes the only copy of the weights?"""
        return self.recipe.optimiser == "integer-madam"

    def _code_tensor(self, name: str) -> None:
        """Replace a Parameter by its codes; the top code stands at w_max = p_scale * RMS(w_0).

        Codes without zero cannot hold an all-zero tensor: a bias is dropped (and stays zero), a
        weight is refused. A Parameter that needs no gradient is coded and never moves.
        """
        value = getattr(self, name)
        if value is None:
            return
        if name == "weight" and not bool(value.detach().any()):
            raise ValueError(
                f"weight of {self.layer_name} must not be all zero under integer-madam, got zeros; "
                "a recipe with zero_start='normal' draws it"
            )
        self.register_parameter(name, None)
        if not bool(value.detach().any()):
            return
        if value.requires_grad:
            self.trained |= {name}
        fmt = self.update_format
        w_max = self.recipe.p_scale * float(rms(value.double()))
        offset = round(fmt.gamma * math.log2(w_max)) - fmt.max_exponent
        array = encode(value.detach().numpy(), fmt, offset)
        code = torch.from_numpy(array.code.astype(np.int32))
        if self.recipe.initial_exponents == "uniform":
            drawn = torch.randint(0, fmt.max_exponent + 1, value.shape, dtype=torch.int32)
            code = drawn | (torch.signbit(value.detach()).int() << fmt.exponent_bits)
        self.register_buffer(f"{name}_code", code)
        self.register_buffer(f"{name}_offset", torch.tensor(offset, dtype=torch.int64))

    @property
    def update_format(self) -> LNSFormat:
        """Format of the stored codes."""
        assert isinstance(self.recipe.update, LNSFormat)
        return self.recipe.update

    def stored(self, name: str) -> LNSArray | None:
        """The stored codes of "weight" or "bias"; None where the layer has none."""
        code = getattr(self, f"{name}_code", None)
        if code is None:
            return None
        fmt = self.update_format
        offset = int(getattr(self, f"{name}_offset"))
        return LNSArray(code.numpy().astype(fmt.code_dtype), offset, fmt)

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
        array, counts = self.backend.requantise(codes, fmt)
        self.tally.add_encode(self.layer_name, "weight", "forward", fmt, counts, source=codes.fmt)
        return array

    def bias_value(self) -> Tensor | None:
        """The bias as the vector unit adds it (a transient float32 of stored codes)."""
        if not self.coded:
            return getattr(self, "bias", None)
        codes = self.stored("bias")
        return None if codes is None else decoded(self.backend, codes)

    def weight_source(self) -> Tensor:
        """What autograd sees as the weight: the Parameter, or the anchor of a coded layer."""
        return self.anchor if self.coded else self.weight  # type: ignore[return-value]

    def encode_activation(self, x: Tensor) -> CodeArray:
        """Encode the layer's input."""
        return encode_operand(self, "activation", FORWARD, "forward", x)

    def gemm(self, product: Product, a: Matrix, b: Matrix, out: Place | None = None) -> Tensor:
        """Run one GEMM of a product; out: where its result goes."""
        return multiply(self, product, a, b, out)

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
        return name in self.trained if self.coded else needed

    def deliver(self, name: str, gradient: Tensor) -> Tensor | None:
        """Hand a gradient to autograd, or keep it for the optimiser of a coded layer."""
        if not self.coded:
            return gradient
        earlier = self.gradients.get(name)
        self.gradients[name] = gradient if earlier is None else earlier + gradient
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
