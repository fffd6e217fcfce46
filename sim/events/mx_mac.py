"""What a multiply-accumulate of MX blocks does, and what their scales add to words.

The unit is that of a small float with a float accumulator. Each operand's scale comes with its
elements; the two are added and the sum is added to the product's exponent, both for every product:
the k of a convolution walks from block to block, so that nothing is kept for a block. An integer
element has no exponent: its product enters the accumulator's alignment with the scales' sum alone.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...lns.format import FloatFormat, IntFormat
from ...lns.mx_format import SCALE_BITS, AnyFormat, MXFormat
from .event import Event, Events, float_multiply

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from ..workload.workload import Tensor, Workload

_SCALES_BITS = SCALE_BITS + 1  # the sum of two scales
_EXPONENT_BITS = SCALE_BITS + 2  # with the elements' own exponents, which are far smaller


def mx_events(accumulator: FloatFormat, a: MXFormat, b: MXFormat, outputs: int, k: int) -> Events:
    """Return the events of `outputs` sums of k products of MX elements in a float accumulator.

    Per product: float_multiply of the elements (integers: int_multiply), exponent_add of the two
    scales and of their sum to the product's exponent, float_add (accumulator's format).
    register_bits: operands, product with its exponent and sign, accumulator for every product; the
    two scales once a block. Raises ValueError for a float element beside an integer one.
    """
    products, element_a, element_b = outputs * k, a.element, b.element
    if isinstance(element_a, IntFormat) and isinstance(element_b, IntFormat):
        significand = a.bits + b.bits
        multiply = Event("int_multiply", max(a.bits, b.bits), f"{a.bits}x{b.bits}")
    elif isinstance(element_a, FloatFormat) and isinstance(element_b, FloatFormat):
        significand = element_a.mantissa_bits + element_b.mantissa_bits + 3  # and the sign
        multiply = float_multiply(element_a, element_b)
    else:
        raise ValueError(
            f"elements must be both floats or both integers, got {a.name} and {b.name}"
        )
    clocked = a.bits + b.bits + significand + _EXPONENT_BITS + accumulator.bits
    scales = SCALE_BITS * (-(-k // a.block) - (-k // b.block))
    return {
        multiply: products,
        Event("exponent_add", _SCALES_BITS): products,
        Event("exponent_add", _EXPONENT_BITS): products,
        Event("float_add", accumulator.bits, accumulator.name): products,
        Event("register_bits"): products * clocked + outputs * scales,
    }


def word_bits(fmt: AnyFormat) -> float:
    """Bits a number takes in memory: of MX with its share of a full block's scale, 8.25 for 8."""
    return fmt.stored_bits if isinstance(fmt, MXFormat) else fmt.bits


def whole_bits(words: int, bits: float) -> int:
    """Bits of so many words, up to a whole one."""
    return math.ceil(words * bits)


def code_copies(workload: "Workload", recipe: "Recipe") -> Mapping["Tensor", int]:
    """Return how often each encoded tensor's codes are made: once, but for MX formats.

    Those take a copy for each axis the GEMMs contract the tensor along. Blocks lie along the
    contracted axis, and an activation that is kept for the backward pass is contracted along
    another one there, a weight in its input gradient, an error in one product for the input and one
    for the weight.
    """
    found = dict.fromkeys(workload.tensors, 1)
    if not isinstance(recipe.weight, MXFormat):  # operands are all in blocks or none is
        return found
    phases: dict[tuple[str, str], list[str]] = {}
    for gemm in workload.gemms:
        for role in {gemm.a_role, gemm.b_role}:
            phases.setdefault((gemm.layer, role), []).append(gemm.phase)
    for tensor in workload.tensors:
        own = phases.get((tensor.layer, tensor.role), [])
        if tensor.role == "activation":
            found[tensor] = 1 + tensor.kept
        elif tensor.role == "weight":
            found[tensor] = max(len(set(own)), 1)
        elif tensor.role == "error":  # between two activations (attention): two of one phase
            found[tensor] = min(max(len(own), 1), 2)
    return found
