"""What an integer rule moves: tensors that are codes, each with the format and scale of its own.

A `CodeHolder` is a layer whose tensors may be codes. Under a rule that stores codes it has, for
each of them, the buffers `<name>_code` (int32, since torch's uint16 lacks the arithmetic) and
`<name>_offset`, and a `CodedTensor` that knows how to read and move them; under any other rule it
has the usual Parameters and no codes.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ...kernels import Backend, EncodeCounts, get_backend
from ...lns.array import LNSArray
from ...lns.format import Format, LNSFormat
from .madam import rms


class Sink(Protocol):
    """Where a step is counted: the run's Tally."""

    def add_counts(self, layer: str, role: str, counts: EncodeCounts) -> None:
        """Count the codes that a move clamped."""

    def add_update(self, rule: str, elements: int, fmt: Format | None, tensors: int = 0) -> None:
        """Count a step over so many elements in so many tensors."""


class Settings(Protocol):
    """What a rule reads from a recipe."""

    @property
    def optimiser(self) -> str:
        """The rule's name."""

    @property
    def p_scale(self) -> float:
        """w_max = p_scale * RMS(w_0)."""

    @property
    def initial_exponents(self) -> str:
        """The weights' own ("network"), or drawn ("uniform")."""


@dataclass(eq=False, slots=True)
class CodedTensor:
    """The codes of one tensor, with everything a step needs of it.

    The codes live in the holder's buffers, where a state_dict finds them, and nowhere else; the
    gradient is in no state. `trained`: a step moves it.
    """

    holder: "CodeHolder"
    key: str  #: "weight" or "bias"
    fmt: LNSFormat
    trained: bool
    gradient: Tensor | None = None  #: float32, since the last zero_grad

    @property
    def name(self) -> str:
        """The layer's name and the tensor's, for messages."""
        return f"{self.holder.layer_name}.{self.key}"

    @property
    def code(self) -> Tensor:
        """The codes, int32 `sign << E | e`, moved in place."""
        return self.holder.get_buffer(f"{self.key}_code")

    @property
    def offset(self) -> int:
        """Scale of the codes: the value is 2^((e + offset) / gamma)."""
        return int(self.holder.get_buffer(f"{self.key}_offset"))

    @property
    def tally(self) -> Sink:
        """Where its steps are counted."""
        return self.holder.tally

    def array(self) -> LNSArray:
        """Return a copy of the codes as an LNSArray."""
        codes: LNSArray = self.holder.backend.codes(self.code, self.offset, self.fmt)
        return codes

    def deliver(self, gradient: Tensor) -> None:
        """Add a gradient to those since the last zero_grad."""
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def clamped(self, counts: EncodeCounts) -> None:
        """Count the codes that a move took to an end of their range."""
        self.tally.add_counts(self.holder.layer_name, "update", counts)


class CodeHolder(nn.Module):
    """A layer whose tensors may be codes; `codes`: those it has, by name."""

    layer_name: str
    backend_name: str
    tally: Sink
    recipe: Settings
    codes: dict[str, CodedTensor]

    @property
    def backend(self) -> Backend:
        """Who computes; kept by name, so that a layer can be copied and pickled."""
        return get_backend(self.backend_name)

    def hold_code(self, key: str, fmt: LNSFormat) -> None:
        """Replace a Parameter by its codes; the top code stands at w_max = p_scale * RMS(w_0).

        Codes without zero cannot hold an all-zero tensor: a bias is dropped (and stays zero), a
        weight is refused. A Parameter that needs no gradient is coded and never moves.
        """
        value: Tensor | None = getattr(self, key)
        if value is None:
            return
        real = value.detach()
        if key == "weight" and not bool(real.any()):
            raise ValueError(
                f"weight of {self.layer_name} must not be all zero under "
                f"{self.recipe.optimiser}, got zeros; a recipe with zero_start='normal' draws it"
            )
        self.register_parameter(key, None)
        if not bool(real.any()):
            return
        w_max = self.recipe.p_scale * float(rms(real.double()))
        offset = round(fmt.gamma * math.log2(w_max)) - fmt.max_exponent
        backend = self.backend
        codes, _ = backend.quantise(backend.asarray(real.contiguous()), fmt, offset)
        code = torch.as_tensor(backend.integers(codes))
        if self.recipe.initial_exponents == "uniform":
            drawn = torch.randint(0, fmt.max_exponent + 1, value.shape, dtype=torch.int32)
            code = drawn | (torch.signbit(real).int() << fmt.exponent_bits)
        self.register_buffer(f"{key}_code", code)
        self.register_buffer(f"{key}_offset", torch.tensor(offset, dtype=torch.int64))
        self.codes[key] = CodedTensor(self, key, fmt, value.requires_grad)


def trained_codes(model: nn.Module) -> list[CodedTensor]:
    """Return the coded tensors of a model that a step moves, layer by layer, names in order."""
    holders = [module for module in model.modules() if isinstance(module, CodeHolder)]
    return [
        tensor for holder in holders for _, tensor in sorted(holder.codes.items()) if tensor.trained
    ]
