"""From the operators of a step, in order, to its GEMMs, encoded tensors and words moved.

Rules of the accounting. A tensor is identified through its views and copies. A tensor that a GEMM
reads is encoded once, in the phase that made it; weights once a step. The vector unit's own words:
an element-wise or row-wise operator can be run together with whatever made the latest of its inputs
and gets that one without a way through memory (`near`); every other reader reads DRAM, and whoever
made such a tensor writes it there. A ReLU's backward pass needs one bit per element, a maximum
pooling's one byte per window. An operator that needs its whole input before its first result reads
it a second time (`again`). What the backward pass reads is thereby written in the forward pass:
saved activations need no rule of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .vector_ops import SHAPE_ONLY, STREAMING, TWO_PASSES
from .workload import ARITHMETIC, Gemm, Tensor, VectorOp, Workload

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
    readers: int = 0  #: forward GEMMs of an activation, weight gradients of an error
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


class Flow:
    """Collects a step operator by operator."""

    def __init__(self) -> None:
        self.phase = "forward"  #: then "backward"
        self.layer = ""
        self.tensors: list[Made] = []
        self.steps: list[Step] = []
        self.uncounted: dict[str, None] = {}
        # forward products with a weight: (tensor, weight's words) -> layers, first to last
        self.trained: dict[tuple[int, int], list[str]] = {}
        self.used_by: dict[int, str] = {}  # a forward GEMM's operand without weight -> its layer

    def weight(self, layer: str, words: int) -> int:
        """A parameter of a layer."""
        return self._new(Made("weight", words, layer))

    def constant(self) -> int:
        """A tensor of constants, which costs nothing."""
        return self._new(Made("constant", 0, phase=self.phase))

    def outside(self, words: int) -> int:
        """A tensor that is given: the batch."""
        return self._new(Made("outside", words, phase=self.phase))

    def _new(self, made: Made) -> int:
        self.tensors.append(made)
        return len(self.tensors) - 1

    def _product(self, words: int) -> int:
        made = Made("made", words, self.layer, self.phase, step=len(self.steps))
        return self._new(made)

    def gemm(
        self,
        gemm: Gemm,
        a: Use,
        b: Use,
        words: tuple[int, int],
        out_words: int,
        gradient: bool = False,
    ) -> int:
        """Note a GEMM; its phase, layer and roles follow from its operands. Return its result.

        gradient: the result is known to be that of a weight (a convolution's).
        """
        roles = [self._role(use.tensor) for use in (a, b)]
        phase, layer = self._place(a, b, roles, out_words, gradient)
        self.layer = layer
        for use, role in zip((a, b), roles, strict=True):
            tensor = self.tensors[use.tensor]
            tensor.roles.setdefault(role, layer)
            tensor.readers += (role, phase) in (("activation", "forward"), ("error", "dw"))
            if tensor.kind == "constant":  # as an operand it has codes like any other
                tensor.words = max(tensor.words, use.words)
            tensor.input_gradient |= phase == "dx"
            if role != "weight" and self.phase == "backward" and tensor.phase == "forward":
                tensor.late_gemm = True
        if self.phase == "forward":
            self._remember(a, b, roles, layer)
        m, k, n = gemm.M, gemm.K, gemm.N
        done = replace(
            gemm,
            layer=layer,
            phase=phase,
            a_role=roles[0],
            b_role=roles[1],
            a_words=min(words[0], m * k),
            b_words=min(words[1], k * n),
        )
        result = self._product(out_words)
        if phase == "dw":
            self.tensors[result].roles["gradient"] = layer
        self._derive((a, b), [result])
        self.steps.append(Step(None, done, [result]))
        return result

    def _role(self, tensor: int) -> str:
        made = self.tensors[tensor]
        if made.kind == "weight":
            return "weight"
        return "error" if self.phase == "backward" and made.phase == "backward" else "activation"

    def _place(
        self, a: Use, b: Use, roles: list[str], out_words: int, gradient: bool
    ) -> tuple[str, str]:
        """Phase and layer of a GEMM."""
        owners = [u.tensor for u, r in zip((a, b), roles, strict=True) if r == "weight"]
        if self.phase == "forward":
            return "forward", self.tensors[owners[0]].layer if owners else self.layer
        if owners:
            return "dx", self.tensors[owners[0]].layer
        for use in (b, a):
            layers = self.trained.get((use.tensor, out_words))
            if layers:
                return "dw", layers.pop()
        for use in (a, b):
            if use.tensor in self.used_by:
                return "dw" if gradient else "dx", self.used_by[use.tensor]
        return "dw" if gradient else "dx", self.layer

    def _remember(self, a: Use, b: Use, roles: list[str], layer: str) -> None:
        for use, other, role in ((a, b, roles[1]), (b, a, roles[0])):
            if role == "weight":
                key = (use.tensor, self.tensors[other.tensor].words)
                self.trained.setdefault(key, []).append(layer)
            else:
                self.used_by.setdefault(use.tensor, layer)

    def vector(
        self,
        name: str,
        uses: Sequence[Use],
        out_words: Sequence[int],
        counts: dict[str, int] | None,
    ) -> list[int]:
        """Note an operator of the vector unit; return its results. counts None: unknown."""
        if counts is None:
            self.uncounted[name] = None
            counts = {}
        passes, unread = TWO_PASSES.get(name, ()), SHAPE_ONLY.get(name, ())
        latest = max((self.tensors[use.tensor].step for use in uses), default=-1)
        reads = near = again = 0
        kept: list[tuple[int, int]] = []
        for index, use in enumerate(uses):
            tensor = self.tensors[use.tensor]
            if tensor.kind == "constant" or index in unread:
                continue
            words = min(use.words, tensor.words)
            if name == "embedding" and index == 0:
                words = min(words, sum(out_words))  # the rows looked up, not the table
            if name == "threshold_backward" and index == 1:
                words = -(-words // 32)
                tensor.mask_words = max(tensor.mask_words, words)
                self._late(tensor, words)
                reads += words
            elif tensor.step == latest >= 0 and self._is_near(name, tensor):
                near += words
                if index in passes:
                    kept.append((use.tensor, words))
            else:
                tensor.far_words = max(tensor.far_words, words)
                self._late(tensor, words)
                reads += words
            if index in passes:
                again += words
        if name == "embedding_dense_backward":
            out_words = [uses[0].words, *out_words[1:]]
        if name == "max_pool2d_with_indices":
            out_words = [out_words[0], -(-out_words[1] // 4)]  # an index is a byte
        made = [self._product(words) for words in out_words]
        self._derive(uses, made)
        op = VectorOp(
            layer=self.layer if self.phase == "forward" else self._backward_layer(uses),
            phase="forward" if self.phase == "forward" else "dx",
            name=name,
            elements=out_words[0] if out_words else 0,
            arithmetic=tuple((kind, counts[kind]) for kind in ARITHMETIC if counts.get(kind)),
            reads=reads,
            near_reads=near,
            again=again,
        )
        self.steps.append(Step(op, None, made, kept))
        return made

    def _derive(self, uses: Sequence[Use], made: Sequence[int]) -> None:
        """What is computed from weights alone, such as a masked weight, is a weight."""
        sources = [self.tensors[use.tensor] for use in uses]
        weights = [source for source in sources if source.kind == "weight"]
        alone = all(source.kind in ("weight", "constant") for source in sources)
        if weights and alone and self.phase == "forward":
            for index in made:
                self.tensors[index].kind = "weight"
                self.tensors[index].layer = weights[0].layer

    def _late(self, tensor: Made, words: int) -> None:
        if self.phase == "backward" and tensor.phase == "forward" and tensor.kind == "made":
            tensor.late_words = max(tensor.late_words, words)

    def _is_near(self, name: str, tensor: Made) -> bool:
        backward = tensor.phase == "backward"
        return name in STREAMING and backward == (self.phase == "backward")

    def _backward_layer(self, uses: Sequence[Use]) -> str:
        """The layer of the first tensor of the forward pass that is read, else the last one."""
        for use in uses:
            made = self.tensors[use.tensor]
            if made.kind == "made" and made.phase == "forward" and made.layer:
                self.layer = made.layer
                break
        return self.layer

    def _settle_gradients(self, gradients: Sequence[tuple[int, int]]) -> set[int]:
        """Say which tensors are handed to the update; return them.

        gradients: (parameter, its gradient). That of a GEMM's weight is encoded, once, however many
        products it is a sum of; any other is written as it is.
        """
        final = {gradient for _, gradient in gradients}
        for index, made in enumerate(self.tensors):
            if index not in final:
                made.roles.pop("gradient", None)
        for parameter, gradient in gradients:
            made = self.tensors[gradient]
            if "weight" in self.tensors[parameter].roles:
                made.roles.setdefault("gradient", self.tensors[parameter].layer)
            else:
                made.far_words = made.words
        return final

    def workload(
        self, name: str, parameters: Sequence[int], gradients: Sequence[tuple[int, int]]
    ) -> Workload:
        """Return what was collected; gradients: tensors (parameter, its gradient).

        parameters: elements of each tensor the update moves.
        """
        final = self._settle_gradients(gradients)
        gemms: list[Gemm] = []
        vector: list[VectorOp] = []
        for step in self.steps:
            made = [self.tensors[index] for index in step.made]
            writes = sum(m.far_words + m.mask_words for m in made)
            whole = sum(m.words for m in made)
            if step.gemm is not None:
                gemms.append(step.gemm)
                layer, phase, elements = step.gemm.layer, step.gemm.phase, whole
                op = VectorOp(layer, phase, "result", elements)
            else:
                assert step.op is not None
                op = step.op
                if step.made and step.made[0] in final:
                    op = replace(op, phase="dw")
            near = sum(m.words for m in made if not m.far_words)
            alone = sum(words for index, words in step.again if not self.tensors[index].far_words)
            vector.append(replace(op, writes=writes, near_writes=near, again_writes=alone))
        return Workload(
            name=name,
            gemms=tuple(gemms),
            tensors=tuple(self._encoded()),
            vector=tuple(vector),
            parameters=sum(parameters),
            parameter_tensors=len(parameters),
            saved_words=sum(t.late_words for t in self.tensors),
            uncounted=tuple(self.uncounted),
        )

    def _encoded(self) -> list[Tensor]:
        found = []
        for made in self.tensors:
            for role, layer in made.roles.items():
                late = "dx" if made.input_gradient and role != "gradient" else "dw"
                phase = "forward" if made.phase == "forward" else late
                found.append(
                    Tensor(
                        layer,
                        phase,
                        role,
                        made.words,
                        far=made.kind == "outside",
                        stored=bool(made.far_words),
                        kept=made.late_gemm and role == "activation",
                        readers=made.readers if role in ("activation", "error") else 1,
                    )
                )
        return found
