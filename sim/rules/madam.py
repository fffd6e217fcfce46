"""Madam, written from its formulae: float (arXiv 2006.14560), integer, and LNS-Madam (2106.13914).

One direction serves all three. Per weight, with g the gradient and t the step::

    v <- beta2 v + (1 - beta2) g^2,   vhat = v / (1 - beta2^t),   u = clamp(g / sqrt(vhat))

Float: w <- clamp(w exp(-lr u sign w), +-w_max). LNS-Madam: w <- w 2^(-lr round(u) sign w), then
stored in the update format. Integer: e <- clamp(e - round_half_even(lr_factor u) sign w) on the
stored exponents themselves. Signs never change and a float weight that is zero never moves.
"""

import torch
from torch import Tensor


def madam_direction(
    grad: Tensor, v: Tensor, step: int, beta2: float = 0.999, g_bound: float = 10.0
) -> tuple[Tensor, Tensor]:
    """Return (u, new v): the gradient over its running root mean square, within +-g_bound.

    grad, v: float tensors of one shape; step counts from 1. 0/0, a gradient that has been zero (or
    too small to square) at every step and is zero now, gives u = 0; `undefined_directions` counts
    it. A nonzero gradient over a v that underflowed gives +-g_bound, as the formula does. A
    gradient that is not finite gives NaN.
    """
    v = beta2 * v + (1.0 - beta2) * grad * grad
    # torch's own float32 root is not the nearest one everywhere; a float64 one, rounded again, is
    root = torch.sqrt((v / (1.0 - beta2**step)).double()).to(v.dtype)
    u = torch.where((root == 0) & (grad == 0), 0.0, grad / root)
    return u.clamp(-g_bound, g_bound), v


def undefined_directions(grad: Tensor, v: Tensor) -> int:
    """Return how many elements of `madam_direction` were 0/0; v: the new one."""
    return int(((v == 0) & (grad == 0)).sum())


def madam_update(weight: Tensor, u: Tensor, lr: float, w_max: Tensor | float) -> Tensor:
    """Return clamp(w * exp(-lr * u * sign w), +-w_max)."""
    moved = weight * torch.exp(-lr * u * torch.sign(weight))
    return torch.minimum(torch.maximum(moved, -torch.as_tensor(w_max)), torch.as_tensor(w_max))


def lns_madam_update(weight: Tensor, u: Tensor, lr: float, w_max: Tensor | float) -> Tensor:
    """Return clamp(w * 2^(-lr * round(u) * sign w), +-w_max), before it is stored."""
    moved = weight * torch.exp2(-lr * torch.round(u) * torch.sign(weight))
    return torch.minimum(torch.maximum(moved, -torch.as_tensor(w_max)), torch.as_tensor(w_max))


def moved_exponents(code: Tensor, u: Tensor, lr_factor: float, exponent_bits: int) -> Tensor:
    """Return e - round_half_even(lr_factor * u) * sign w before the clamp, int32.

    A move is cut to the whole range, which clamps the same and cannot leave the integer type.
    """
    top = (1 << exponent_bits) - 1
    move = torch.round(lr_factor * u).clamp_(-top - 1, top + 1).to(code.dtype)
    return (code & top) - move * (1 - 2 * (code >> exponent_bits))


def clamped_codes(code: Tensor, e: Tensor, exponent_bits: int) -> Tensor:
    """Return the codes with the signs of `code` and the exponents `e` clamped to 0..2^E - 1."""
    top = (1 << exponent_bits) - 1
    return e.clamp(0, top) | (code >> exponent_bits << exponent_bits)


def integer_madam_update(code: Tensor, u: Tensor, lr_factor: float, exponent_bits: int) -> Tensor:
    """Return the new codes: e <- clamp(e - round_half_even(lr_factor * u) * sign w, 0, 2^E - 1).

    code: int32 LNS codes `sign << E | e` of a format without zero. u: finite.
    """
    return clamped_codes(code, moved_exponents(code, u, lr_factor, exponent_bits), exponent_bits)


def rms(tensor: Tensor) -> Tensor:
    """Root mean square over the whole tensor, a scalar."""
    return tensor.detach().square().mean().sqrt()
