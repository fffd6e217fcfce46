"""What a multiply-accumulate of MX blocks does, and what their scales add to words.

The unit is that of a small float with a float accumulator. Each operand's scale comes with its
elements; the two are added and the sum is added to the product's exponent, both for every product:
the k of a convolution walks from block to block, so that nothing is kept for a block. An integer
element has no exponent: its product enters the accumulator's alignment with the scales' sum alone.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..lns.format import FloatFormat, IntFormat
from ..lns.mx_format import SCALE_BITS, AnyFormat, MXFormat
from .event import Event, Events

if TYPE_CHECKING:
    from .workload import Tensor, Workload

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
        first, second = element_a.mantissa_bits + 1, element_b.mantissa_bits + 1
        exponent = max(element_a.exponent_bits, element_b.exponent_bits)
        significand = first + second + 1  # and the sign
        detail = f"{first}x{second}e{exponent}"
        multiply = Event("float_multiply", max(a.bits, b.bits), detail)
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


def reading_axes(workload: "Workload") -> Mapping["Tensor", int]:
    """Return how many axes the GEMMs contract a tensor along, for each encoded tensor.

    Blocks lie along the contracted axis, so a tensor has a copy of codes for each: an activation
    that is kept for the backward pass is contracted along another axis there, a weight in its input
    gradient, an error in one product for the input and one for the weight.
    """
    phases: dict[tuple[str, str], list[str]] = {}
    for gemm in workload.gemms:
        for role in {gemm.a_role, gemm.b_role}:
            phases.setdefault((gemm.layer, role), []).append(gemm.phase)
    found = {}
    for tensor in workload.tensors:
        own = phases.get((tensor.layer, tensor.role), [])
        if tensor.role == "activation":
            found[tensor] = 1 + tensor.kept
        elif tensor.role == "weight":
            found[tensor] = max(len(set(own)), 1)
        else:  # an error between two activations (attention) has two products of one phase
            found[tensor] = min(max(len(own), 1), 2) if tensor.role == "error" else 1
    return found
