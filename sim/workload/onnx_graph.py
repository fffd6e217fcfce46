"""`read_onnx`: a `Workload` of an ONNX graph; needs the extra lnsim[onnx].

Counted are the products of Conv, Gemm and MatMul and of their quantised forms, which are read as if
they were not quantised, and the products of their backward pass. Everything else is not counted,
neither arithmetic nor words; its operations are listed in `uncounted`.

What follows from initialisers, Constant nodes and shapes alone is constant; such an operand is a
weight. A tensor has a gradient where a parameter lies upstream of it.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

from ...lns.checks import require_int
from ..files.paths import readable
from ..machine.systolic import LONGEST
from .workload import Gemm, Tensor, Workload, training_triple

#: position of the second operand; the first one's is 0
OPERANDS = dict.fromkeys(("Conv", "ConvInteger", "Gemm", "MatMul", "MatMulInteger"), 1)
OPERANDS |= {"QLinearConv": 3, "QLinearMatMul": 3}
#: positions of further inputs that training would change, where they are constant
PARAMETERS: dict[str, tuple[int, ...]] = {"Conv": (2,), "Gather": (0,), "Gemm": (2,)}
PARAMETERS |= {"Add": (0, 1), "Mul": (0, 1), "PRelu": (1,), "RMSNormalization": (1,)}
PARAMETERS |= {f"{kind}Normalization": (1, 2) for kind in ("Batch", "Group", "Instance", "Layer")}
SHAPE_ONLY = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
WITHOUT_GRADIENT = ("ArgMax", "ArgMin")
NOTE = (
    "From an ONNX graph: the products of its matrix operations alone are counted, not what the "
    "operations between them compute and move."
)
_HOLDS_PRODUCTS = re.compile("Conv|MatMul|Gemm|Attention|Einsum|LSTM|GRU|RNN")
_FLOAT_TYPES = (1, 10, 11, 16)  # TensorProto's float32, float16, float64, bfloat16
_LONG_VALUES = 1 << 16  # bytes; shape inference reads the values of short tensors alone

Shape = Sequence[int]
Dims = tuple[int | str, ...]  # an open size as text


def read_onnx(path: Path, batch: int | None = None) -> Workload:
    """Return the training step of the graph of an ONNX file, named after the file.

    batch: replaces an open first size of the graph's inputs. ValueError names the file where it is
    no ONNX model, a size needed is open, or an operation hides products (ConvTranspose, Einsum, a
    recurrent or fused one), and says what to install where the package onnx is missing; OSError
    where the file cannot be read.
    """
    onnx = _package("onnx")
    if batch is not None:
        require_int("batch", batch, 1, LONGEST)
    try:
        model = onnx.load_model_from_string(readable(path).read_bytes())
    except _package("google.protobuf.message").DecodeError as error:
        raise ValueError(f"{path}: file must be an ONNX model, got {error}") from error
    try:
        if model.functions:
            model = _package("onnx.inliner").inline_local_functions(model)
        graph = _Graph(_inferred(onnx, model, batch))
        return graph.workload(path.stem)
    except (ValueError, LookupError, RuntimeError, TypeError) as error:
        rule = "" if " must " in str(error) else "file must be a whole ONNX graph, got "
        raise ValueError(f"{path}: {rule}{' '.join(str(error).split())}") from error


def conv_gemm(layer: str, x: Shape, w: Shape, y: Shape, group: int = 1) -> Gemm:
    """Return the forward GEMM of a convolution, one product a group.

    x is (B, C, ...), w (F, C / group, ...), y (B, F, ...). Shapes that do not fit raise ValueError.
    """
    fits = len(x) == len(w) == len(y) > 2 and x[0] == y[0] and w[0] == y[1] and group > 0
    if not fits or x[1] != w[1] * group or w[0] % group:
        shapes = f"{tuple(x)}, {tuple(w)}, {tuple(y)}, {group} groups"
        raise ValueError(f"shapes of convolution {layer} must fit, got {shapes}")
    m, k = x[0] * prod(y[2:]), prod(w[1:])
    words = min(prod(x) // group, m * k)
    return Gemm(layer, "forward", m, w[0] // group, k, count=group, a_words=words)


def matmul_gemm(layer: str, a: Shape, b: Shape) -> Gemm:
    """Return the forward GEMM of a product with NumPy's rules for vectors and for leading axes.

    An axis of both operands counts products; one of a single operand adds rows or columns. Shapes
    that do not fit raise ValueError.
    """
    left = (1, *a) if len(a) == 1 else tuple(a)
    right = (*b, 1) if len(b) == 1 else tuple(b)
    pairs = list(zip_longest(left[-3::-1], right[-3::-1], fillvalue=1))
    fits = left and right and left[-1] == right[-2]
    if not fits or any(i != j and 1 not in (i, j) for i, j in pairs):
        raise ValueError(f"shapes of product {layer} must fit, got {tuple(a)}, {tuple(b)}")
    rows = left[-2] * prod(i for i, j in pairs if i != j)
    columns = right[-1] * prod(j for i, j in pairs if i != j)
    count = prod(i for i, j in pairs if i == j)
    return Gemm(layer, "forward", rows, columns, left[-1], count=count)


def training_gemms(forward: Gemm, a_gradient: bool, b_gradient: bool) -> list[Gemm]:
    """Return a product c (M, N) = a b and those of its backward pass.

    A weight's gradient is of phase "dw" and always computed, an activation's of phase "dx" and
    where asked for.
    """
    if forward.b_role == "weight":
        return training_triple(forward, first=not a_gradient)
    m, n, k, outputs = forward.M, forward.N, forward.K, forward.M * forward.N
    da = replace(forward, phase="dx", N=k, K=n, a_role="error", a_words=outputs)
    db = replace(forward, phase="dx", M=k, K=m, b_role="error", b_words=outputs)
    if forward.a_role == "weight":
        return [forward] + [db] * b_gradient + [replace(da, phase="dw")]
    return [forward] + [da] * a_gradient + [db] * b_gradient


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError("reading ONNX needs the extra lnsim[onnx], got no package onnx") from error


def _dims(value: Any) -> Dims | None:
    """A tensor's sizes, an open one as text; None where the shape is not known."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in dims)


def _text(dims: Dims) -> str:
    """A shape as messages show it."""
    return f"({', '.join(map(str, dims))})"


def _given(graph: Any) -> list[Any]:
    """The graph's inputs; old files list initialisers among them."""
    constant = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constant]


def _inferred(onnx: Any, model: Any, batch: int | None) -> Any:
    """The graph with every shape that follows from its inputs'."""
    graph = model.graph
    for tensor in graph.initializer:
        if len(tensor.raw_data) > _LONG_VALUES:
            tensor.ClearField("raw_data")
    if batch is not None:
        first = [(value, dims[0]) for value in _given(graph) if (dims := _dims(value))]
        for value, size in first:
            if isinstance(size, str):
                value.type.tensor_type.shape.dim[0].dim_value = batch
        if not any(isinstance(size, str) or size == batch for _, size in first):
            raise ValueError(f"batch must be left out where first sizes are fixed, got {batch}")
    try:
        return _checked(onnx, model)
    except onnx.shape_inference.InferenceError as error:
        raise ValueError(f"shapes must be consistent, got {error}") from error


def _checked(onnx: Any, model: Any) -> Any:
    """The graph with the shapes that follow from its inputs and nodes.

    What the file itself says of a tensor between them is taken only where nothing more exact
    follows (an operation of another domain, sizes that are computed); where it contradicts what
    follows, it is stale (the inputs were edited), and ValueError names both.
    """
    graph = model.graph
    told = {value.name: deepcopy(value) for value in (*graph.value_info, *graph.output)}
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    given: set[str] = set()  # what the file's word was taken for
    while True:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        shown = {value.name: value for value in (*inferred.value_info, *inferred.output)}
        vague: set[str] = set()
        fresh: list[str] = []
        for node in graph.node:
            known = vague.isdisjoint(node.input)  # else it may follow once those are known
            for name in node.output:
                dims = _dims(told[name]) if name in told else None
                found = _dims(shown[name]) if name in shown else None
                if dims is None or not _adds(name, dims, found) or name in given:
                    continue
                vague.add(name)
                if known:
                    fresh.append(name)
        if not fresh:
            return inferred
        given.update(fresh)
        outputs = {value.name: value for value in graph.output}
        for name in fresh:
            if name in outputs:
                outputs[name].CopyFrom(told[name])
            else:
                graph.value_info.append(told[name])


def _adds(name: str, told: Dims, found: Dims | None) -> bool:
    """Whether a shape told by the file fixes more than the one found; refused where they differ."""
    if found is None:
        return True
    pairs = list(zip_longest(told, found))
    if len(told) != len(found) or any(
        a != b for a, b in pairs if isinstance(a, int) and isinstance(b, int)
    ):
        raise ValueError(
            f"tensor {name} must have the shape {_text(found)} that follows from the inputs, got "
            f"{_text(told)} in the file: shapes kept there are stale"
        )
    return any(isinstance(a, int) and not isinstance(b, int) for a, b in pairs)


class _Graph:
    """Follows the nodes of a graph in order, which ONNX demands to be one of computation."""

    def __init__(self, graph: Any) -> None:
        shown, constants = (*graph.value_info, *graph.output, *graph.input), graph.initializer
        self.dims: dict[str, Dims | None] = {v.name: _dims(v) for v in shown}
        self.dims |= {tensor.name: tuple(tensor.dims) for tensor in constants}
        types = [(value.name, value.type.tensor_type.elem_type) for value in shown]
        types += [(tensor.name, tensor.data_type) for tensor in constants]
        self.floats = {name for name, kind in types if kind in _FLOAT_TYPES}
        self.constant = {tensor.name for tensor in constants}
        self.given = {value.name for value in _given(graph)}
        self.trained: set[str] = set()  # tensors that have a gradient
        self.root: dict[str, str] = {}  # a tensor -> the one whose elements it holds
        self.parameters: dict[str, int] = {}
        self.gemms: list[Gemm] = []
        self.tensors: dict[tuple[str, str], Tensor] = {}
        self.uncounted: set[str] = set()
        for name in sorted(self.given):
            self.sizes(name)
        for node in graph.node:
            self._visit(node)

    def workload(self, name: str) -> Workload:
        """Return what was found."""
        if not self.gemms:
            raise ValueError("graph must have a Conv, Gemm or MatMul, got none")
        gemms, tensors = tuple(self.gemms), tuple(self.tensors.values())
        return Workload(
            name,
            gemms,
            tensors,
            parameters=sum(self.parameters.values()),
            uncounted=tuple(sorted(self.uncounted)),
            note=NOTE,
            parameter_tensors=len(self.parameters),
        )

    def sizes(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; ValueError where it is not known or a size is open."""
        dims = self.dims.get(name)
        if dims is None:
            raise ValueError(f"tensor {name} must have a known shape, got none")
        sizes = tuple(size for size in dims if isinstance(size, int) and size > 0)
        if len(sizes) < len(dims):
            raise ValueError(
                f"tensor {name} must have fixed sizes, got {_text(dims)}: give the "
                "batch where an input's first size is open, fix others in the file"
            )
        return sizes

    def _visit(self, node: Any) -> None:
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        label = node.name or ", ".join(node.output)
        inner = list(_inner_nodes(node))
        read = [name for each in (node, *inner) for name in each.input if name]
        hidden = [each.op_type for each in inner if _HOLDS_PRODUCTS.search(each.op_type)]
        read = [] if op in ("Shape", "Size") else read  # known, whatever the values are
        if not inner and self.constant.issuperset(read):
            return self._fold(node, read)
        learns = self._learn(node, op) or not self.trained.isdisjoint(read)
        if op in OPERANDS:
            learns = self._product(node, op, label) or learns
        elif hidden or _HOLDS_PRODUCTS.search(op):
            what = f"{hidden[0]} inside {op}" if hidden else op
            raise ValueError(
                f"node {label} must be one of {', '.join(sorted(OPERANDS))} or free of products, "
                f"got {what}"
            )
        elif op in SHAPE_ONLY:
            self.root |= {name: self._root(node.input[0]) for name in node.output}
        else:
            self.uncounted.add(op)
        if learns and op not in WITHOUT_GRADIENT:
            self.trained.update(node.output)

    def _root(self, name: str) -> str:
        return self.root.get(name, name)

    def _fold(self, node: Any, read: Sequence[str]) -> None:
        """A node of constants: its result holds the elements of the input of its own size."""
        for name in node.output:
            self.constant.add(name)
            words = self._words(name)
            same = [other for other in read if words and self._words(other) == words]
            self.root[name] = self._root(same[0]) if same else name

    def _words(self, name: str) -> int:
        """Elements, 0 where they are not known."""
        dims = self.dims.get(name)
        return prod(d if isinstance(d, int) else 0 for d in dims) if dims is not None else 0

    def _learn(self, node: Any, op: str) -> bool:
        """Count the node's parameters that are no operands of products; say whether it has any."""
        # an added or multiplied matrix is as likely a mask or a table as a parameter
        ranks = (1,) if op in ("Add", "Mul") else range(1, 9)
        found = [node.input[i] for i in PARAMETERS.get(op, ()) if i < len(node.input)]
        found = [name for name in found if name in self.constant and name in self.floats]
        found = [name for name in found if len(self.dims.get(name) or ()) in ranks]
        self.parameters |= {self._root(name): self._words(name) for name in found}
        return bool(found)

    def _product(self, node: Any, op: str, label: str) -> bool:
        """Note a product and those of its backward pass; say whether its result has a gradient."""
        if len(node.input) <= OPERANDS[op]:
            raise ValueError(f"node {label} must have two operands, got {', '.join(node.input)}")
        left, right = node.input[0], node.input[OPERANDS[op]]
        a, b = self.sizes(left), self.sizes(right)
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        if "Conv" in op:
            gemm = conv_gemm(label, a, b, self.sizes(node.output[0]), flags.get("group", 1))
        else:
            a, b = (x[::-1] if flags.get(f) else x for x, f in ((a, "transA"), (b, "transB")))
            gemm = matmul_gemm(label, a, b)
        b_role = "weight" if right in self.constant else "activation"
        a_role = "weight" if left in self.constant and b_role != "weight" else "activation"
        gemm = replace(gemm, a_role=a_role, b_role=b_role)
        a_gradient = a_role == "weight" or left in self.trained
        b_gradient = b_role == "weight" or right in self.trained
        gemms = training_gemms(gemm, a_gradient, b_gradient)
        self.gemms += gemms
        self._encode(label, left, a_role, kept=b_gradient)
        self._encode(label, right, b_role, kept=a_gradient)
        if a_gradient or b_gradient:
            phase = "dx" if any(each.phase == "dx" for each in gemms) else "dw"
            elements = gemm.M * gemm.N * gemm.count
            self.tensors["error", node.output[0]] = Tensor(label, phase, "error", elements)
        return a_gradient or b_gradient

    def _encode(self, label: str, name: str, role: str, kept: bool) -> None:
        """Note an operand, once for all GEMMs that read it."""
        root, words = self._root(name), prod(self.sizes(name))
        if role == "weight":
            self.parameters[root] = words
            self.tensors.setdefault((role, root), Tensor(label, "forward", role, words))
            self.tensors.setdefault(("gradient", root), Tensor(label, "dw", "gradient", words))
            return
        first = Tensor(label, "forward", role, words, far=root in self.given)
        known = self.tensors.get((role, root), first)
        self.tensors[role, root] = replace(known, kept=known.kept or kept)


def _inner_nodes(node: Any) -> Iterable[Any]:
    """Yield the nodes of the graphs inside a node, at any depth."""
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for graph in graphs:
            for inner in graph.node:
                yield inner
                yield from _inner_nodes(inner)
