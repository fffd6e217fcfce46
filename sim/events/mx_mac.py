"""What a multiply-accumulate of MX blocks does.

The unit is that of a small float with a float accumulator. Each operand's scale comes with its
elements; the two are added and the sum is added to the product's exponent, both for every product:
the k of a convolution walks from block to block, so that nothing is kept for a block. An integer
element has no exponent: its product enters the accumulator's alignment with the scales' sum alone.
"""

from ...lns.format import FloatFormat, IntFormat
from ...lns.mx_format import SCALE_BITS, MXFormat
from .event import Event, Events, float_multiply

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
