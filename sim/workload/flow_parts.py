"""What a flow keeps of tensors and operators."""

from dataclasses import dataclass, field

from .workload import Gemm, VectorOp

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """An operator's look at a tensor."""

    tensor: int
    shape: Shape
    words: int  #: distinct elements it sees


@dataclass(slots=True)
class Made:
    """A tensor: where it comes from and what is done with it."""

    kind: str  #: "weight", "constant", "outside" or "made"
    words: int
    layer: str = ""
    phase: str = "forward"
    step: int = -1  #: the operator that made it
    roles: dict[str, str] = field(default_factory=dict)  #: GEMM role -> layer of its first use
    input_gradient: bool = False  #: a GEMM of phase "dx" reads it
    late_gemm: bool = False  #: a GEMM of the backward pass reads a tensor of the forward pass
    far_words: int = 0  #: words to be written because somebody reads them from DRAM
    mask_words: int = 0
    late_words: int = 0  #: of these, read in the backward pass


@dataclass(slots=True)
class Step:
    """An operator that computes."""

    op: VectorOp | None
    gemm: Gemm | None
    made: list[int]
    again: list[tuple[int, int]] = field(default_factory=list)  #: (tensor, words) read twice, near
