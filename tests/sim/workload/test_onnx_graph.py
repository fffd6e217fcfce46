"""ONNX graphs: the products of every matrix operation, what is a weight, and every refusal."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lnsim.sim.workload.onnx_graph import conv_gemm, matmul_gemm, read_onnx, training_gemms
from lnsim.sim.workload.workload import Gemm, Tensor, Workload

onnx = pytest.importorskip("onnx")
helper = onnx.helper

Shape = Sequence[int | str | None] | None
Weights = dict[str, Any]


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """A node named after its output; inputs are separated by blanks."""
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def value(name: str, shape: Shape, kind: int = 1) -> Any:
    """What a graph says of a tensor; 1 is float32."""
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path, nodes: Sequence[Any], inputs: dict[str, Shape], weights: Weights, **model: Any
) -> Path:
    """Write a model whose result is y; weights are arrays, or shapes of float32 ones."""
    made = {n: np.zeros(w, np.float32) if isinstance(w, tuple) else w for n, w in weights.items()}
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in made.items()]
    given = [value(name, shape, 7 if name == "ids" else 1) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "graph", given, [value("y", None)], tensors)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8, **model), path)
    return path


def forward(work: Workload) -> list[tuple[int, ...]]:
    """The forward products: M, N, K, how many, distinct words of both operands."""
    return [(g.M, g.N, g.K, g.count, g.a_words, g.b_words) for g in work.of_phase("forward")]


X = (2, 6, 11, 9)


@pytest.mark.parametrize(
    ("attributes", "places"),
    [
        ({}, 9 * 8),
        ({"strides": [2, 3]}, 5 * 3),
        ({"pads": [1, 0, 2, 1]}, 12 * 9),
        ({"dilations": [2, 4], "pads": [1, 1, 1, 1]}, 9 * 7),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 6 * 5),
        ({"auto_pad": "SAME_LOWER", "strides": [4, 1]}, 3 * 9),
        ({"auto_pad": "VALID", "strides": [4, 1]}, 3 * 8),
    ],
)
def test_convolution(tmp_path: Path, attributes: dict[str, Any], places: int) -> None:
    nodes = [node("Conv", "x w b", **attributes)]
    path = save(tmp_path / "net.onnx", nodes, {"x": X}, {"w": (4, 6, 3, 2), "b": (4,)})
    work = read_onnx(path)
    words = min(2 * 6 * 11 * 9, 2 * places * 36)
    assert forward(work) == [(2 * places, 4, 36, 1, words, 144)]
    assert (work.name, work.parameters, work.uncounted) == ("net", 148, ())
    assert [gemm.phase for gemm in work.gemms] == ["forward", "dw"]  # nothing to train before it
    assert work.tensors == (
        Tensor("y", "forward", "activation", 2 * 6 * 11 * 9, far=True, kept=True),
        Tensor("y", "forward", "weight", 144),
        Tensor("y", "dw", "gradient", 144),
        Tensor("y", "dw", "error", 2 * places * 4),
    )


@pytest.mark.parametrize(
    ("group", "w", "shape"),
    [(2, (4, 3, 3, 3), (126, 2, 27, 2, 594, 54)), (6, (12, 1, 3, 3), (126, 2, 9, 6, 198, 18))],
)
def test_groups_are_products_of_their_own(
    tmp_path: Path, group: int, w: Sequence[int], shape: tuple[int, ...]
) -> None:
    nodes = [node("Conv", "x w", group=group)]
    work = read_onnx(save(tmp_path / "net.onnx", nodes, {"x": X}, {"w": w}))
    assert forward(work) == [shape]
    assert work.parameters == shape[-1] * group


def test_convolutions_of_one_and_three_dimensions() -> None:
    line = conv_gemm("a", (2, 3, 10), (5, 3, 4), (2, 5, 7))
    assert (line.M, line.N, line.K, line.a_words) == (14, 5, 12, 60)
    solid = conv_gemm("a", (1, 4, 5, 5, 5), (8, 2, 3, 3, 3), (1, 8, 3, 3, 3), 2)
    assert (solid.M, solid.N, solid.K, solid.count, solid.a_words) == (27, 4, 54, 2, 250)
    for x, w, y, group in (
        ((2, 3, 10), (5, 2, 4), (2, 5, 7), 1),
        ((2, 3, 10), (5, 3, 4), (3, 5, 7), 1),
        ((2, 3, 10), (5, 3, 4), (2, 6, 7), 1),
        ((2, 4, 10), (5, 2, 4), (2, 5, 7), 2),
        ((2, 3, 10), (5, 3, 4), (2, 5, 7, 1), 1),
        ((2, 3), (5, 3), (2, 5), 1),
    ):
        expected = f"shapes of convolution a must fit, got {x}, {w}, {y}, {group} groups"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            conv_gemm("a", x, w, y, group)


@pytest.mark.parametrize(
    ("a", "b", "shape"),
    [
        ((4, 5), (5, 6), (4, 6, 5, 1)), ((5,), (5, 6), (1, 6, 5, 1)),
        ((4, 5), (5,), (4, 1, 5, 1)), ((5,), (5,), (1, 1, 5, 1)),
        ((2, 3, 4, 5), (2, 3, 5, 6), (4, 6, 5, 6)), ((2, 3, 4, 5), (5, 6), (24, 6, 5, 1)),
        ((4, 5), (2, 3, 5, 6), (4, 36, 5, 1)), ((7, 1, 4, 5), (3, 5, 6), (28, 18, 5, 1)),
        ((2, 8, 4, 5), (2, 1, 5, 6), (32, 6, 5, 2)),  # heads share their keys
    ],
)  # fmt: skip
def test_matmul_follows_numpy(a: Sequence[int], b: Sequence[int], shape: tuple[int, ...]) -> None:
    gemm = matmul_gemm("a", a, b)
    assert (gemm.M, gemm.N, gemm.K, gemm.count) == shape
    result = np.zeros(a) @ np.zeros(b)
    assert gemm.M * gemm.N * gemm.count == result.size


@pytest.mark.parametrize("shapes", [((4, 5), (4, 6)), ((2, 4, 5), (3, 5, 6)), ((), (5, 6))])
def test_matmul_refuses_what_does_not_fit(shapes: tuple[Sequence[int], Sequence[int]]) -> None:
    expected = re.escape(f"shapes of product a must fit, got {shapes[0]}, {shapes[1]}")
    with pytest.raises(ValueError, match=f"^{expected}$"):
        matmul_gemm("a", *shapes)


def test_gemm_with_both_operands_transposed(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w b", transA=1, transB=1)]
    path = save(tmp_path / "net.onnx", nodes, {"x": (5, 4)}, {"w": (6, 5), "b": (6,)})
    assert forward(read_onnx(path)) == [(4, 6, 5, 1, 20, 30)]
    assert read_onnx(path).parameters == 36
    nodes = [node("Gemm", "x w")]
    path = save(tmp_path / "net.onnx", nodes, {"x": (4, 5)}, {"w": (5, 6)})
    assert forward(read_onnx(path)) == [(4, 6, 5, 1, 20, 30)]


GRADIENTS = {
    ("activation", "weight"): [
        ("dx", "error", "weight", 4, 5, 6, 24, 30),
        ("dw", "error", "activation", 6, 5, 4, 24, 17),
    ],
    ("weight", "activation"): [
        ("dx", "weight", "error", 5, 6, 4, 17, 24),
        ("dw", "error", "activation", 4, 5, 6, 24, 29),
    ],
    ("activation", "activation"): [
        ("dx", "error", "activation", 4, 5, 6, 24, 29),
        ("dx", "activation", "error", 5, 6, 4, 17, 24),
    ],
}


@pytest.mark.parametrize("roles", GRADIENTS)
def test_gradients_of_a_product(roles: tuple[str, str]) -> None:
    gemm = Gemm("l", "forward", 4, 6, 5, *roles, count=3, a_words=17, b_words=29)
    found = training_gemms(gemm, True, True)
    assert found[0] == gemm
    assert {(each.layer, each.macs) for each in found} == {("l", 360)}
    assert [
        (g.phase, g.a_role, g.b_role, g.M, g.N, g.K, g.a_words, g.b_words) for g in found[1:]
    ] == GRADIENTS[roles]
    fewer = [each.phase for each in training_gemms(gemm, False, False)]
    assert fewer == ["forward"] + ["dw"] * roles.count("weight")


def attention(path: Path) -> Path:
    """A projection that makes queries, keys and values alike, their products, a last projection."""
    nodes = [
        node("MatMul", "x wqk", "qk"), node("MatMul", "x wv", "v"),
        node("Reshape", "qk heads", "h"), node("Reshape", "v heads", "g"),
        node("Transpose", "h", "q", perm=[0, 2, 1, 3]),
        node("Transpose", "h", "k", perm=[0, 2, 3, 1]),
        node("Transpose", "g", "u", perm=[0, 2, 1, 3]),
        node("MatMul", "q k", "scores"), node("Softmax", "scores", "p"),
        node("MatMul", "p u", "mix"), node("Transpose", "mix", "t", perm=[0, 2, 1, 3]),
        node("Flatten", "t", "f", axis=2), node("MatMul", "f wo", "o"), node("Add", "o bias", "y"),
    ]  # fmt: skip
    weights: Weights = {"wqk": (32, 32), "wv": (32, 32), "wo": (32, 3), "bias": (3,)}
    weights["heads"] = np.array([2, 7, 4, 8])
    return save(path, nodes, {"x": (2, 7, 32)}, weights)


def test_attention_products_have_two_input_gradients(tmp_path: Path) -> None:
    work = read_onnx(attention(tmp_path / "net.onnx"))
    found = [
        (g.layer, g.phase, g.M, g.N, g.K, g.count, g.a_role, g.b_role)
        for g in work.gemms
        if g.layer in ("scores", "mix")
    ]
    assert found == [
        ("scores", "forward", 7, 7, 8, 8, "activation", "activation"),
        ("scores", "dx", 7, 8, 7, 8, "error", "activation"),
        ("scores", "dx", 8, 7, 7, 8, "activation", "error"),
        ("mix", "forward", 7, 8, 7, 8, "activation", "activation"),
        ("mix", "dx", 7, 7, 8, 8, "error", "activation"),
        ("mix", "dx", 7, 8, 7, 8, "activation", "error"),
    ]
    assert [gemm.layer for gemm in work.of_phase("dw")] == ["qk", "v", "o"]
    assert [gemm.layer for gemm in work.of_phase("dx")][-1] == "o"
    assert work.parameters == 2 * 32 * 32 + 32 * 3 + 3
    assert work.uncounted == ("Add", "Softmax")
    encoded = [(t.layer, t.elements) for t in work.tensors if t.role == "activation"]
    # x and the common queries and keys once, through their views
    assert encoded == [("qk", 448), ("scores", 448), ("mix", 392), ("mix", 448), ("o", 448)]
    assert [t.layer for t in work.tensors if t.far] == ["qk"]
    errors = [(t.layer, t.phase, t.elements) for t in work.tensors if t.role == "error"]
    assert errors == [
        ("qk", "dw", 448), ("v", "dw", 448), ("scores", "dx", 392), ("mix", "dx", 448),
        ("o", "dx", 14 * 3),
    ]  # fmt: skip


def test_without_parameters_upstream_there_is_no_gradient(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x z", "a"), node("Relu", "a", "b"), node("MatMul", "b w", "h"),
        node("MatMul", "b v", "r"), node("MatMul", "h s", "y"),
    ]  # fmt: skip
    inputs = {"x": (4, 5), "z": (5, 6), "v": (6, 7), "s": (3, 2)}
    work = read_onnx(save(tmp_path / "net.onnx", nodes, inputs, {"w": (6, 3)}))
    assert [(g.layer, g.phase) for g in work.gemms] == [
        ("a", "forward"), ("h", "forward"), ("h", "dw"), ("r", "forward"), ("y", "forward"),
        ("y", "dx"),
    ]  # fmt: skip
    activations = [t for t in work.tensors if t.role == "activation"]
    kept = {(t.layer, t.elements): t.kept for t in activations}
    assert kept == {
        ("a", 20): False, ("a", 30): False, ("h", 24): True, ("r", 42): False,
        ("y", 12): False, ("y", 6): True,
    }  # fmt: skip
    assert [t.layer for t in activations if t.far] == ["a", "a", "r", "y"]


def test_a_weight_on_the_left(tmp_path: Path) -> None:
    nodes = [node("MatMul", "w x", "a"), node("MatMul", "w2 a")]
    path = save(tmp_path / "net.onnx", nodes, {"x": (5, 3)}, {"w": (4, 5), "w2": (2, 4)})
    found = [(g.layer, g.phase, g.M, g.N, g.K, g.a_role, g.b_role) for g in read_onnx(path).gemms]
    assert found == [
        ("a", "forward", 4, 3, 5, "weight", "activation"),
        ("a", "dw", 4, 5, 3, "error", "activation"),
        ("y", "forward", 2, 3, 4, "weight", "activation"),
        ("y", "dx", 4, 3, 2, "weight", "error"),
        ("y", "dw", 2, 4, 3, "error", "activation"),
    ]


def test_a_shared_weight_counts_once_and_through_constant_nodes(tmp_path: Path) -> None:
    """An embedding table that is also, transposed, the last layer; a weight in a Constant node."""
    nodes = [
        node("Add", "ids offset", "i"),  # whole numbers are no parameters
        node("Gather", "table i", "e"),
        node("Constant", "", "c", value=onnx.numpy_helper.from_array(np.zeros((8, 8), np.float32))),
        node("MatMul", "e c", "h"),
        node("LayerNormalization", "h scale shift", "n"),
        node("Transpose", "table", "t", perm=[1, 0]),
        node("MatMul", "n t", "y"),
    ]
    weights = {"table": (50, 8), "scale": (8,), "shift": (8,), "offset": np.zeros(4, np.int64)}
    path = save(tmp_path / "net.onnx", nodes, {"ids": ("N", 4)}, weights)
    work = read_onnx(path, batch=3)
    assert work.parameters == 400 + 64 + 16
    assert work.uncounted == ("Add", "Gather", "LayerNormalization")
    # the table is trained, so that even the first product has an input gradient
    shapes = [(g.layer, g.phase, g.M, g.N, g.K) for g in work.gemms]
    assert shapes == [
        ("h", "forward", 12, 8, 8), ("h", "dx", 12, 8, 8), ("h", "dw", 8, 8, 12),
        ("y", "forward", 12, 50, 8), ("y", "dx", 12, 8, 50), ("y", "dw", 50, 8, 12),
    ]  # fmt: skip
    weights = [(t.role, t.elements) for t in work.tensors if t.role in ("weight", "gradient")]
    assert weights == [("weight", 64), ("gradient", 64), ("weight", 400), ("gradient", 400)]


def test_sizes_computed_from_shapes_are_constant(tmp_path: Path) -> None:
    """The flattening that exporters write: the batch of the tensor at hand, and -1."""
    nodes = [
        node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Shape", "r", "s"),
        node("Gather", "s zero", "n"), node("Unsqueeze", "n axis", "u"),
        node("Concat", "u rest", "size", axis=0), node("Reshape", "r size", "f"),
        node("MatMul", "f v", "y"),
    ]  # fmt: skip
    weights: Weights = {"w": (4, 3, 3, 3), "v": (144, 10), "zero": np.array(0)}
    weights |= {"rest": np.array([-1]), "axis": np.array([0])}
    path = save(tmp_path / "net.onnx", nodes, {"x": ("N", 3, 8, 8)}, weights)
    work = read_onnx(path, batch=5)
    assert forward(work) == [(180, 4, 27, 1, 960, 108), (5, 10, 144, 1, 720, 1440)]
    assert work.uncounted == ("Relu",)


def test_normalisations_have_parameters_and_statistics_have_not(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c"), node("BatchNormalization", "c scale shift mean var", "n"),
        node("Mul", "n mask", "m"), node("Add", "m half", "y"),  # a table and a number
    ]  # fmt: skip
    weights: Weights = {"w": (4, 6, 1, 1), "mask": (11, 9), "half": ()}
    weights |= dict.fromkeys(("scale", "shift", "mean", "var"), (4,))
    work = read_onnx(save(tmp_path / "net.onnx", nodes, {"x": X}, weights))
    assert work.parameters == 24 + 8
    assert work.uncounted == ("Add", "BatchNormalization", "Mul")


def test_quantised_products_are_read_as_products(tmp_path: Path) -> None:
    """Both styles: quantised operators, and float ones between Quantize- and DequantizeLinear."""
    weights: Weights = {"s": (), "rows": (4,), "z": np.array(0, np.uint8)}
    weights |= {"zs": np.zeros(4, np.int8), "w": np.zeros((4, 6, 3, 3), np.int8)}
    weights["v"] = np.zeros((63, 4), np.int8)
    inner = [
        node("QuantizeLinear", "x s z", "q"), node("QLinearConv", "q s z w s zs s z", "c"),
        node("Flatten", "c", "f", axis=2), node("QLinearMatMul", "f s z v s zs s z", "m"),
        node("DequantizeLinear", "m s z"),
    ]  # fmt: skip
    outer = [
        node("DequantizeLinear", "w rows zs", "d", axis=0), node("Conv", "x d", "c"),
        node("DequantizeLinear", "v rows zs", "e", axis=1), node("Flatten", "c", "f", axis=2),
        node("MatMul", "f e"),
    ]  # fmt: skip
    for nodes in (inner, outer):
        work = read_onnx(save(tmp_path / "net.onnx", nodes, {"x": X}, weights))
        assert [(g.M, g.N, g.K) for g in work.of_phase("forward")] == [(126, 4, 54), (8, 4, 63)]
        assert work.parameters == 216 + 252


def choice(op: str) -> list[Any]:
    """A product, then one operation in both branches of an If."""
    operands = ["h", "w"] if op == "MatMul" else ["h"]
    inner = helper.make_node(op, operands, ["o"])
    branch = helper.make_graph([inner], "branch", [], [value("o", None)])
    return [node("MatMul", "x w", "h"), node("If", "c", then_branch=branch, else_branch=branch)]


def test_functions_and_branches_are_looked_into(tmp_path: Path) -> None:
    body = [helper.make_node("MatMul", ["a", "b"], ["h"]), helper.make_node("Relu", ["h"], ["c"])]
    layer = helper.make_function(
        "own", "Dense", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)]
    )
    call = helper.make_node("Dense", ["x", "w"], ["y"], domain="own")
    path = tmp_path / "net.onnx"
    save(path, [call], {"x": (4, 5)}, {"w": (5, 6)}, functions=[layer])
    assert forward(read_onnx(path)) == [(4, 6, 5, 1, 20, 30)]
    assert read_onnx(path).uncounted == ("Relu",)
    save(path, choice("Relu"), {"x": (4, 4), "c": (1,)}, {"w": (4, 4)})
    assert read_onnx(path).uncounted == ("If",)


KNOWN = "Conv, ConvInteger, Gemm, MatMul, MatMulInteger, QLinearConv, QLinearMatMul or free of"
PRODUCT = [node("MatMul", "x w")]
FIXED = "tensor x must have fixed sizes, got "
BAD = [
    (PRODUCT, ("N", 4, "h"), None, FIXED + "(N, 4, h): give the batch where an input's first size "
     "is open, fix others in the file"),
    (PRODUCT, ("N", 4, "h"), 2, FIXED + "(2, 4, h): give the batch"),
    (PRODUCT, (None, 4), None, FIXED + "(?, 4): "),
    (PRODUCT, (4, 0), None, FIXED + "(4, ?): "),
    (PRODUCT, None, None, "tensor x must have a known shape, got none"),
    (PRODUCT, (4, 4), 3, "batch must be left out where first sizes are fixed, got 3"),
    (PRODUCT, (4, 5), None, "shapes of product y must fit, got (4, 5), (4, 4)"),
    ([node("Strange", "x", "h"), node("MatMul", "h w")], (4, 4), None,
     "tensor h must have a known shape, got none"),
    ([node("ConvTranspose", "x k")], (1, 4, 5, 5), None,
     f"node y must be one of {KNOWN} products, got ConvTranspose"),
    ([node("Attention", "x x x", domain="own")], (2, 4, 4), None,
     f"node y must be one of {KNOWN} products, got own.Attention"),
    (choice("MatMul"), (4, 4), None,
     f"node y must be one of {KNOWN} products, got MatMul inside If"),
    ([node("Relu", "x")], (4, 4), None, "graph must have a Conv, Gemm or MatMul, got none"),
    ([node("MatMul", "x")], (4, 4), None, "node y must have two operands, got x"),
    ([node("MatMul", "", "")], (4, 4), None, "shapes must be consistent, got "),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "x", "batch", "message"), BAD)
def test_what_cannot_be_counted_is_refused(
    tmp_path: Path, nodes: list[Any], x: Shape, batch: int | None, message: str
) -> None:
    weights = {"w": (4, 4), "k": (4, 4, 3, 3)}
    path = save(tmp_path / "net.onnx", nodes, {"x": x, "c": (1,)}, weights)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_onnx(path, batch)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: file must be an ONNX model, ')}"):
        read_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: graph must have a Conv')}"):
        read_onnx(path)
    with pytest.raises(FileNotFoundError):
        read_onnx(tmp_path / "none.onnx")


def test_batch_is_checked_and_fills_open_first_sizes_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", PRODUCT, {"x": ("N", 7, 4)}, {"w": (4, 4)})
    assert forward(read_onnx(path, batch=3)) == [(21, 4, 4, 1, 84, 16)]
    with pytest.raises(ValueError, match=r"^batch must be in 1\.\.1099511627776, got 0$"):
        read_onnx(path, batch=0)
    path = save(tmp_path / "net.onnx", PRODUCT, {"x": (3, 7, 4)}, {"w": (4, 4)})
    assert forward(read_onnx(path, batch=3)) == [(21, 4, 4, 1, 84, 16)]


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    expected = "reading ONNX needs the extra lnsim[onnx], got no package onnx"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        read_onnx(tmp_path / "net.onnx")


STALE = {
    "an inner tensor": ("t", [1, 4], "(8, 4)", "(1, 4)"),
    "behind a point-wise operation": ("r", [8, 5], "(8, 4)", "(8, 5)"),
    "the result": ("y", [1, 2], "(8, 2)", "(1, 2)"),
    "another rank": ("t", [8, 4, 1], "(8, 4)", "(8, 4, 1)"),
    "one size of an open shape": ("t", ["n", 3], "(8, 4)", "(n, 3)"),
}


def chain(told: dict[str, Shape], first: int | str = 8, middle: str = "Relu") -> Any:
    """x (first, 8) w1 (8, 4) -> t -> r, r w2 (4, 2) -> y, with what the file says of tensors."""
    nodes = [node("MatMul", "x w1", "t"), node("MatMul", "r w2", "y")]
    nodes.insert(
        1, helper.make_node(middle, ["t"], ["r"], domain="" if middle == "Relu" else "own")
    )
    weights = {"w1": np.ones((8, 4), np.float32), "w2": np.ones((4, 2), np.float32)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", [first, 8])],
        [value("y", told.get("y"))],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        value_info=[value(name, shape) for name, shape in told.items() if name != "y"],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@pytest.mark.parametrize("case", STALE)
def test_stale_shapes_of_a_file_are_refused(tmp_path: Path, case: str) -> None:
    """The file says one shape, inference from its inputs another: both are named."""
    name, shape, right, wrong = STALE[case]
    path = tmp_path / "net.onnx"
    onnx.save(chain({name: shape}), path)
    message = f"tensor {name} must have the shape {right} that follows from the inputs, got {wrong}"
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_onnx(path)


def test_right_shapes_of_a_file_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(chain({}), path)
    plain = read_onnx(path)
    onnx.save(chain({"t": [8, 4], "r": ["n", 4], "y": [8, 2]}), path)
    assert read_onnx(path) == plain
    assert forward(plain) == [(8, 4, 8, 1, 64, 32), (8, 2, 4, 1, 32, 8)]


def test_a_stale_batch_is_refused(tmp_path: Path) -> None:
    """The input's first size is open and the batch is given, but a tensor keeps an old one."""
    path = tmp_path / "net.onnx"
    onnx.save(chain({"t": [1, 4]}, first="n"), path)
    with pytest.raises(ValueError, match=r"tensor t must have the shape \(8, 4\)"):
        read_onnx(path, batch=8)
    onnx.save(chain({"t": ["n", 4]}, first="n"), path)
    assert [gemm.M for gemm in read_onnx(path, batch=8).of_phase("forward")] == [8, 8]


def test_shapes_of_a_file_are_taken_where_nothing_follows(tmp_path: Path) -> None:
    """Behind an operation of another domain the file's word stands, and is checked further on."""
    path = tmp_path / "net.onnx"
    onnx.save(chain({"r": [6, 4]}, middle="Shrink"), path)
    assert [gemm.M for gemm in read_onnx(path).of_phase("forward")] == [8, 6]
    onnx.save(chain({"r": [6, 4], "y": [8, 2]}, middle="Shrink"), path)
    with pytest.raises(ValueError, match=r"tensor y must have the shape \(6, 2\)"):
        read_onnx(path)
