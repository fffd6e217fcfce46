"""Operands in MX blocks: which axis of a tensor each product contracts, and codes along it.

Blocks lie in the tensor, not in the matrix of patches that a convolution reads from it: along the
channels in forward and dx (of one group, since no product reaches across groups), along the images
of the batch in dw. Both operands of a product are cut along the same axis, so that it meets one
scale of each. A tensor therefore has other codes in each of its two products: forward and dw read
two encodings of an activation, forward and dx two of a weight, dx and dw two of an error.

The kernels get the values of the blocks as fp32 codes. That changes no bit: such a value is exact
in float32 (subnormals included), a product of two is rounded nowhere before it is added, and the
accumulator rounds once a step as it does for any float format; beyond float32's range it goes to
infinity, below its subnormals a sum is rounded to them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...kernels import EncodeCounts, Matrix, matmul
from ...lns.array import CodeArray, FloatArray
from ...lns.datapath import FloatDatapath
from ...lns.format import FP32, FloatFormat, Format
from ...lns.mx import MXArray, decode_mx, round_mx
from ...lns.mx_format import AnyFormat, MXFormat
from .operands import encode_tensor

Array = npt.NDArray[np.float32]

# (role, product) -> (the axis it contracts, is that axis cut into groups?); x (images, channels,
# ...), w (outputs, inputs of a group, ...), dy (images, outputs, ...)
_AXES = {
    ("activation", "forward"): (1, True),
    ("weight", "forward"): (1, False),
    ("error", "dx"): (1, True),
    ("weight", "dx"): (0, True),
    ("error", "dw"): (0, False),
    ("activation", "dw"): (0, False),
}
_OPERANDS = {
    "forward": ("activation", "weight"),
    "dx": ("error", "weight"),
    "dw": ("error", "activation"),
}


def in_blocks(layer: Any) -> bool:
    """Are the operands of a mapped layer in blocks?"""
    return isinstance(layer.recipe.weight, MXFormat)


def operand_formats(layer: Any, product: str) -> tuple[AnyFormat, AnyFormat] | None:
    """The formats of a product's operands where they are not those of the codes: in blocks."""
    if not in_blocks(layer):
        return None
    a, b = (getattr(layer.recipe, role) for role in _OPERANDS[product])
    return a, b


def encode_operand(
    layer: Any, role: str, product: str, phase: str, real: Array, source: Format = FP32
) -> CodeArray:
    """Return the codes of a mapped layer's operand for one product, counted in `phase`.

    Of an MX format: the values of its blocks as an FP32 array, exact.
    """
    recipe, fmt = layer.recipe, getattr(layer.recipe, role)
    if not isinstance(fmt, MXFormat):
        return encode_tensor(
            layer.tally, layer.layer_name, role, phase, real, fmt, recipe.scaling, source
        )
    axis, cut = _AXES[role, product]
    groups = getattr(layer, "groups", 1) if cut else 1
    shape = real.shape
    parts = real.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    value, saturated, underflowed = round_mx(parts, fmt, axis + 1)
    counts = EncodeCounts(value.size, saturated, underflowed)
    layer.tally.add_encode(layer.layer_name, role, phase, fmt, counts, source)
    return FloatArray(np.ascontiguousarray(value).reshape(shape).view(np.uint32), 0, FP32)


def keep(ctx: Any, **operands: Array) -> None:
    """Keep the numbers of operands that another product will read in other blocks."""
    ctx.kept = (
        {role: real.copy() for role, real in operands.items()} if in_blocks(ctx.layer) else {}
    )


def turned(ctx: Any, role: str, product: str) -> CodeArray:
    """Return a kept operand as a product of the backward pass reads it."""
    if not ctx.kept:
        codes: CodeArray = getattr(ctx, role)
        return codes
    return encode_operand(ctx.layer, role, product, "forward", ctx.kept[role])


def matmul_mx(a: MXArray, b: MXArray, datapath: FloatDatapath) -> Array:
    """Return float32 (M, N): a (M, K) in blocks along K times b (K, N) in blocks along K.

    Exact products, scales included, in ascending k; the accumulator, a FloatFormat, rounds once a
    step. Raises TypeError for arguments of other kinds, ValueError for shapes that do not fit,
    blocks along another axis, or a value beyond float32's range, which no block encoded from
    float32 has.
    """
    if not isinstance(datapath, FloatDatapath) or not isinstance(datapath.accumulator, FloatFormat):
        raise TypeError(f"datapath must have a float accumulator, got {datapath!r}")
    for name, array, axis in (("a", a, 1), ("b", b, 0)):
        if not isinstance(array, MXArray):
            raise TypeError(f"{name} must be an MXArray, got {type(array).__name__}")
        if array.ndim != 2 or array.axis != axis:
            raise ValueError(
                f"{name} must be a matrix in blocks along axis {axis}, got shape {array.shape} "
                f"along axis {array.axis}"
            )
    left, right = (_values(name, array) for name, array in (("a", a), ("b", b)))
    return matmul(left, right, datapath)


def _values(name: str, array: MXArray) -> Matrix:
    """The values as an FP32 array."""
    value = decode_mx(array)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(value.astype(np.float32))
    beyond = np.isinf(single) & np.isfinite(value)
    if beyond.any():
        index = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise ValueError(f"{name} must be within float32's range, got {value[index]} at {index}")
    return FloatArray(single.view(np.uint32), 0, FP32)
