"""The one door between tensors and the simulated hardware: codes of operands, products of codes.

Layers hand in tensors and get codes, or float32 tensors, back; what codes are and where they lie is
their backend's matter (`kernels.backends`). Everything that passes is counted in a tally.

Operands in MX blocks: the blocks lie in the tensor, not in the matrix of patches that a convolution
reads from it, along the axis the product contracts (`products`): along the channels in forward and
dx, along the images of the batch in dw. Both operands of a product are cut along the same axis, so
that it meets one scale of each. A tensor therefore has other codes in each of its two products:
forward and dw read two encodings of an activation, forward and dx two of a weight, dx and dw two of
an error. The kernels get the values of the blocks as fp32 codes. That changes no bit: such a value
is exact in float32 (subnormals included), a product of two is rounded nowhere before it is added,
and the accumulator rounds once a step as it does for any float format; beyond float32's range it
goes to infinity, below its subnormals a sum is rounded to them.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from ...kernels import Matrix, Place, plain_array
from ...kernels.backends import Backend
from ...lns.array import CodeArray, LNSArray
from ...lns.format import FP32, Format, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from ..recipes.recipe import Recipe
from .products import Product
from .tally import GemmRecord, Tally


class Layer(Protocol):
    """What is asked of a layer here."""

    recipe: Recipe
    tally: Tally
    layer_name: str

    @property
    def backend(self) -> Backend:
        """Who computes."""


def encode_tensor(
    backend: Backend,
    tally: Tally,
    layer: str,
    role: str,
    phase: str,
    x: Tensor,
    fmt: Format,
    scaling: str,
    source: Format = FP32,
) -> CodeArray:
    """Return the codes of `x`, float32, in `fmt`, counted under the layer, role and phase.

    scaling: the recipe's; LNS formats always take a scale per tensor. source: the format the
    hardware holds `x` in; no event is counted where it is `fmt` itself.
    """
    rule = "none" if isinstance(fmt, LNSFormat) else scaling
    real = backend.asarray(x.detach().contiguous())
    codes, counts = backend.quantise(real, fmt, scaling=rule)
    tally.add_encode(layer, role, phase, fmt, counts, source)
    return codes


def encode_operand(
    layer: Layer, role: str, product: Product, phase: str, x: Tensor, source: Format = FP32
) -> CodeArray:
    """Return the codes of a layer's operand for one of its products, counted in `phase`.

    Of an MX format: the values of its blocks as an FP32 array, exact.
    """
    fmt = getattr(layer.recipe, role)
    if isinstance(fmt, MXFormat):
        return _encode_blocks(layer, role, product, phase, x, fmt, source)
    tally, name, scaling = layer.tally, layer.layer_name, layer.recipe.scaling
    return encode_tensor(layer.backend, tally, name, role, phase, x, fmt, scaling, source)


def _encode_blocks(
    layer: Layer, role: str, product: Product, phase: str, x: Tensor, fmt: MXFormat, source: Format
) -> CodeArray:
    operand, backend = product.operand(role), layer.backend
    groups = getattr(layer, "groups", 1) if operand.grouped else 1
    codes, counts = backend.quantise_blocks(backend.asarray(x.detach()), fmt, operand.axis, groups)
    layer.tally.add_encode(layer.layer_name, role, phase, fmt, counts, source)
    blocks: CodeArray = codes
    return blocks


def requantised(layer: Layer, codes: LNSArray, fmt: LNSFormat) -> CodeArray:
    """Return a weight's stored codes in the GEMM format, counted; integers only."""
    array, counts = layer.backend.requantise(codes, fmt)
    layer.tally.add_encode(layer.layer_name, "weight", "forward", fmt, counts, source=codes.fmt)
    weight: CodeArray = array
    return weight


def in_blocks(layer: Layer) -> bool:
    """Are the operands of a layer in MX blocks, so that each product reads codes of its own?"""
    return isinstance(layer.recipe.weight, MXFormat)


def keep(ctx: Any, **tensors: Tensor) -> None:
    """Keep the numbers of operands that another product will read in other blocks."""
    ctx.kept = (
        {role: x.detach().clone() for role, x in tensors.items()} if in_blocks(ctx.layer) else {}
    )


def turned(ctx: Any, role: str, product: Product) -> CodeArray:
    """Return a kept operand as a product of the backward pass reads it."""
    if not ctx.kept:
        codes: CodeArray = getattr(ctx, role)
        return codes
    return encode_operand(ctx.layer, role, product, "forward", ctx.kept[role])


def multiply(
    layer: Layer, product: Product, a: Matrix, b: Matrix, out: Place | None = None
) -> Tensor:
    """Return the float32 values (M, N) of one GEMM of a product, a (M, K) times b (K, N), counted.

    The accumulator's value is rounded once to the nearest float32, as the conversion unit does
    (offsets are multiples of gamma here, so the scale is a power of two); a value beyond float32's
    range is infinite and counted as an overflow. out: where to write the values, whose memory is
    then returned. `tally.on_gemm` sees every GEMM, counted or not.
    """
    (m, k), n = a.shape, b.shape[1]
    tally, name, datapath = layer.tally, layer.layer_name, layer.recipe.datapath
    if tally.on_gemm is not None:
        acc, _ = layer.backend.product(a, b, datapath)
        codes = plain_array(a), plain_array(b)
        tally.on_gemm(GemmRecord(name, product.phase, *codes, acc, datapath))
    real, overflowed = layer.backend.product_real(a, b, datapath, out)
    formats: tuple[AnyFormat, AnyFormat] = a.fmt, b.fmt
    if in_blocks(layer):  # whose codes are in fp32
        formats = getattr(layer.recipe, product.a.role), getattr(layer.recipe, product.b.role)
    tally.add_gemm(name, product.phase, datapath, *formats, m, n, k, overflowed)
    return torch.as_tensor(real)


def decoded(backend: Backend, codes: CodeArray) -> Tensor:
    """Return the values of codes, each rounded once to the nearest float32."""
    return torch.as_tensor(backend.decode(codes))
