"""`Workload`: what one training step computes, as shapes; no values, no formats, no machine.

A GEMM names the roles of its operands, so that a recipe gives it formats. A `VectorOp` is work of
the vector unit: arithmetic by kind and the words it moves. A `Tensor` is something that is encoded
for the GEMMs or kept for the backward pass. trace.py makes workloads from PyTorch models,
topology.py and onnx_graph.py from files, networks.py the published ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ...lns.checks import require_choice, require_int
from ..checks import require_text
from ..machine.systolic import LONGEST
from .patches import Patch

PHASES = ("forward", "dx", "dw", "update")
GEMM_PHASES = PHASES[:3]
GEMM_ROLES = ("weight", "activation", "error")
ARITHMETIC = ("multiply", "add", "compare", "divide", "sqrt", "exp", "log")


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` products (M, K) x (K, N) of one layer in one phase, on different data.

    a_words, b_words: distinct elements of an operand in memory. A convolution's patches repeat
    theirs: a_words < M K. Default: M K and K N. a_patch, b_patch: how tiles of patches overlap.
    """

    layer: str
    phase: str  #: "forward", "dx" or "dw"
    M: int
    N: int
    K: int
    a_role: str = "activation"
    b_role: str = "weight"
    count: int = 1
    a_words: int = 0
    b_words: int = 0
    a_patch: Patch | None = None  #: places along M, elements along K
    b_patch: Patch | None = None  #: places along K, elements along N

    def __post_init__(self) -> None:
        require_choice("phase", self.phase, GEMM_PHASES)
        for name in ("a_role", "b_role"):
            require_choice(name, getattr(self, name), GEMM_ROLES)
        for name in ("M", "N", "K", "count"):
            require_int(name, getattr(self, name), 1, LONGEST)
        for name, size in (("a_words", self.M * self.K), ("b_words", self.K * self.N)):
            object.__setattr__(self, name, getattr(self, name) or size)
            require_int(name, getattr(self, name), 1, size)

    @property
    def macs(self) -> int:
        """Products, those by zero included."""
        return self.M * self.N * self.K * self.count


@dataclass(frozen=True, slots=True)
class VectorOp:
    """Work of the vector unit on tensors of its own format.

    arithmetic: how often each of ARITHMETIC is done. reads, writes: words moved to and from DRAM.
    near_reads, near_writes: words handed on without DRAM, from the array's results or from the
    operation before. again: words read a second time directly after they were made (the second
    pass of a normalisation), on chip where they fit; again_writes: of these, words that no other
    reader has written to DRAM.
    """

    layer: str
    phase: str
    name: str
    elements: int
    arithmetic: tuple[tuple[str, int], ...] = ()
    reads: int = 0
    writes: int = 0
    near_reads: int = 0
    near_writes: int = 0
    again: int = 0
    again_writes: int = 0

    @property
    def operations(self) -> int:
        """Arithmetic operations of every kind."""
        return sum(count for _, count in self.arithmetic)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Elements encoded once as GEMM operands of a role, in a phase.

    far: the vector unit's words are not made in this step (a network's input): they are read from
    DRAM. stored: the vector unit's words are written to DRAM for another reader in any case. kept:
    the codes are read again in the backward pass, as saved activations. readers: layers that
    take an activation or an error; the machine encodes it once for all, training in each of them
    (runs/run_cost.py).
    """

    layer: str
    phase: str
    role: str
    elements: int
    far: bool = False
    stored: bool = False
    kept: bool = False
    readers: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        require_choice("role", self.role, (*GEMM_ROLES, "gradient"))
        require_int("elements", self.elements, 1, LONGEST)


@dataclass(frozen=True, slots=True)
class Workload:
    """One training step.

    saved_words: elements of the vector unit's tensors that the backward pass reads again, bool
    masks aside; they are part of `vector`'s words and stated for the report. uncounted: names of
    operations whose arithmetic is unknown here; their words are counted.
    """

    name: str
    gemms: tuple[Gemm, ...]
    tensors: tuple[Tensor, ...]
    vector: tuple[VectorOp, ...] = ()
    parameters: int = 0  #: trainable elements the optimiser moves
    saved_words: int = 0
    uncounted: tuple[str, ...] = ()
    note: str = ""
    parameter_tensors: int = 0  #: among how many tensors the parameters are

    def __post_init__(self) -> None:
        require_text("name", self.name)
        require_text("note", self.note)
        for name, kind in (("gemms", Gemm), ("tensors", Tensor), ("vector", VectorOp)):
            _require_tuple(name, getattr(self, name), kind)
        _require_tuple("uncounted", self.uncounted, str)
        if not self.gemms:
            raise ValueError(f"gemms must not be empty, got none in {self.name}")
        require_int("parameters", self.parameters, 0, LONGEST)
        require_int("saved_words", self.saved_words, 0, LONGEST)
        require_int("parameter_tensors", self.parameter_tensors, 0, LONGEST)

    @property
    def macs(self) -> int:
        """Products of all GEMMs."""
        return sum(gemm.macs for gemm in self.gemms)

    @property
    def forward_macs(self) -> int:
        """Products of the forward pass."""
        return sum(gemm.macs for gemm in self.gemms if gemm.phase == "forward")

    def of_phase(self, phase: str) -> Iterator[Gemm]:
        """Yield the GEMMs of a phase, in order."""
        return (gemm for gemm in self.gemms if gemm.phase == phase)

    def as_dict(self) -> dict[str, Any]:
        """Return what a report says of the workload, as JSON values."""
        return {
            "name": self.name,
            "gemms": len(self.gemms),
            "macs": self.macs,
            "forward_macs": self.forward_macs,
            "parameters": self.parameters,
            "saved_words": self.saved_words,
            "uncounted": list(self.uncounted),
            "note": self.note,
        }


def _require_tuple(name: str, values: object, kind: type) -> None:
    """Raise TypeError unless `values` is a tuple of `kind` alone."""
    wrong = None if isinstance(values, tuple) else values
    if isinstance(values, tuple):
        wrong = next((value for value in values if not isinstance(value, kind)), None)
    if not isinstance(values, tuple) or wrong is not None:
        raise TypeError(
            f"{name} must be a tuple of {kind.__name__} values, got {type(wrong).__name__}"
        )


def training_triple(forward: Gemm, first: bool = False) -> list[Gemm]:
    """Return forward, input-gradient and weight-gradient GEMM of a layer y (M, N) = x (M, K) w.

    dx = dy w^T is (M, K), contraction over N; the weight gradient dy^T x is (N, K), contraction
    over M. first: no input gradient is needed. Distinct words carry over: x's in dw, the result's
    in dx. Of a convolution this is its input gradient as a product that is then summed into places,
    as many products as forward; a traced model has the one `Conv2d` runs, which for a stride walks
    more.
    """
    M, N, K = forward.M, forward.N, forward.K
    out = [forward]
    if not first:
        out.append(
            replace(
                forward, phase="dx", M=M, N=K, K=N, a_role="error", b_role="weight", a_patch=None,
                a_words=M * N, b_words=N * K,
            )
        )  # fmt: skip
    out.append(
        replace(
            forward, phase="dw", M=N, N=K, K=M, a_role="error", b_role="activation",
            a_words=M * N, b_words=forward.a_words, a_patch=None, b_patch=forward.a_patch,
        )
    )  # fmt: skip
    return out


def workload_of_layers(name: str, layers: Iterable[Gemm], note: str = "") -> Workload:
    """Return the training step of layers known by their forward GEMM alone.

    Each layer's input is encoded as an activation, its result's gradient as an error, its weight
    once, its weight gradient handed to the update. What lies between the layers is not known, so
    the workload has no vector operations.
    """
    gemms: list[Gemm] = []
    tensors: list[Tensor] = []
    parameters = 0
    for index, layer in enumerate(layers):
        gemms += training_triple(layer, first=index == 0)
        name_, times = layer.layer, layer.count
        weights = layer.b_words * times
        tensors += [
            Tensor(name_, "forward", "weight", weights),
            Tensor(name_, "forward", "activation", layer.a_words * times, index == 0, kept=True),
            Tensor(name_, "dw" if index == 0 else "dx", "error", layer.M * layer.N * times),
            Tensor(name_, "dw", "gradient", weights),
        ]
        parameters += weights
    return Workload(
        name,
        tuple(gemms),
        tuple(tensors),
        parameters=parameters,
        note=note,
        parameter_tensors=sum(tensor.role == "weight" for tensor in tensors),
    )
