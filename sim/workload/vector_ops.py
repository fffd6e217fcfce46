"""Arithmetic of the vector unit's operations, per call of a PyTorch operator.

Keys are names of ATen operators without their overload. Every rule takes the elements of the
operator's output and of its inputs and returns counts of ARITHMETIC: the textbook formula in the
comment, one operation per symbol, with constants folded. A division by a constant or by one number
for many elements is a multiplication by its reciprocal. sigmoid and tanh are an exponential, two
additions and a division; erf is taken as tanh of a cubic (Hendrycks and Gimpel, arXiv 1606.08415).
"""

from collections.abc import Callable, Sequence
from math import prod

Counts = dict[str, int]
Shape = tuple[int, ...]
# (shape of the main output, shapes of the tensor inputs) -> counts
Rule = Callable[[Shape, Sequence[Shape]], Counts]


def _each(**per_element: int) -> Rule:
    """So many operations per element of the output."""
    return lambda out, _: {kind: count * prod(out) for kind, count in per_element.items()}


def _input(**per_element: int) -> Rule:
    """So many operations per element of the first input."""
    return lambda _, ins: {kind: count * prod(ins[0]) for kind, count in per_element.items()}


def _rows(per_element: Counts, per_row: Counts) -> Rule:
    """Per element, and per row (all elements but those along the last axis)."""

    def rule(out: Shape, ins: Sequence[Shape]) -> Counts:
        n = prod(ins[0])
        rows = n // max(ins[0][-1] if ins[0] else 1, 1)
        total = {kind: count * n for kind, count in per_element.items()}
        for kind, count in per_row.items():
            total[kind] = total.get(kind, 0) + count * rows
        return total

    return rule


def _channels(per_element: Counts, per_channel: Counts) -> Rule:
    """Per element, and per channel (axis 1), of the first input."""

    def rule(_: Shape, ins: Sequence[Shape]) -> Counts:
        n, channels = prod(ins[0]), ins[0][1]
        total = {kind: count * n for kind, count in per_element.items()}
        for kind, count in per_channel.items():
            total[kind] = total.get(kind, 0) + count * channels
        return total

    return rule


def _reduce(out: Shape, ins: Sequence[Shape]) -> Counts:
    return {"add": max(prod(ins[0]) - prod(out), 0)}


def _mean(out: Shape, ins: Sequence[Shape]) -> Counts:
    return {"add": max(prod(ins[0]) - prod(out), 0), "multiply": prod(out)}


def _pool(out: Shape, ins: Sequence[Shape]) -> Counts:
    """Comparisons of a window, counted as the input's elements (strides as large as the window)."""
    return {"compare": max(prod(ins[0]), prod(out))}


_GELU = {"multiply": 6, "add": 4, "exp": 1, "divide": 1}  # x/2 (1 + tanh(a x + b x^3))

ARITHMETIC_OF: dict[str, Rule] = (
    {
        "relu": _each(compare=1),
        "relu_": _each(compare=1),
        "threshold_backward": _each(compare=1),
        "hardtanh": _each(compare=2),
        "leaky_relu": _each(compare=1, multiply=1),
        "leaky_relu_backward": _each(compare=1, multiply=1),
        "gelu": _each(**_GELU),
        "gelu_backward": _each(multiply=12, add=6, exp=1, divide=1),  # its derivative, times dy
        "silu": _each(multiply=1, add=1, exp=1, divide=1),  # x / (1 + exp(-x))
        "silu_": _each(multiply=1, add=1, exp=1, divide=1),
        "silu_backward": _each(multiply=3, add=3, exp=1, divide=1),
        "sigmoid": _each(add=1, exp=1, divide=1),
        "sigmoid_backward": _each(multiply=2, add=1),
        "tanh": _each(add=2, exp=1, divide=1),
        "tanh_backward": _each(multiply=2, add=1),
        "exp": _each(exp=1),
        "log": _each(log=1),
        "sqrt": _each(sqrt=1),
        "rsqrt": _each(sqrt=1, divide=1),
        "reciprocal": _each(divide=1),
        "neg": _each(),
        "abs": _each(),
        "add": _each(add=1),
        "add_": _each(add=1),
        "sub": _each(add=1),
        "rsub": _each(add=1),
        "mul": _each(multiply=1),
        "mul_": _each(multiply=1),
        "div": _each(divide=1),
        "div_": _each(divide=1),
        "pow": _each(multiply=1),  # a square
        "addcmul": _each(multiply=2, add=1),
        "maximum": _each(compare=1),
        "minimum": _each(compare=1),
        "clamp": _each(compare=2),
        "where": _each(),
        "masked_fill": _each(),
        "sum": _reduce,
        "mean": _mean,
        "amax": _input(compare=1),
        "max": _input(compare=1),
        "var_mean": _input(multiply=1, add=3),
        "avg_pool2d": _mean,
        "avg_pool2d_backward": _each(multiply=1),
        "_adaptive_avg_pool2d": _mean,
        "_adaptive_avg_pool2d_backward": _each(multiply=1),
        "max_pool2d_with_indices": _pool,
        "max_pool2d_with_indices_backward": lambda _, ins: {"add": prod(ins[0])},
        # mean: 1 add; variance: x - mean, square, add; y = (x - mean) rstd; gain and shift: affine
        "native_batch_norm": _channels(
            {"add": 4, "multiply": 2}, {"multiply": 6, "add": 4, "sqrt": 1, "divide": 1}
        ),
        # sums of dy and dy xhat; dx = rstd gain (dy - mean(dy) - xhat mean(dy xhat))
        "native_batch_norm_backward": _channels({"add": 5, "multiply": 4}, {"multiply": 4}),
        "native_layer_norm": _rows(
            {"add": 5, "multiply": 3}, {"multiply": 2, "add": 1, "sqrt": 1, "divide": 1}
        ),
        "native_layer_norm_backward": _rows({"add": 7, "multiply": 6}, {"multiply": 3}),
        "native_group_norm": _rows({"add": 5, "multiply": 3}, {"multiply": 2}),
        "native_group_norm_backward": _rows({"add": 7, "multiply": 6}, {"multiply": 3}),
        # max, x - max, exp, sum, times 1 / sum
        "_softmax": _rows({"compare": 1, "add": 2, "exp": 1, "multiply": 1}, {"divide": 1}),
        "_safe_softmax": _rows({"compare": 1, "add": 2, "exp": 1, "multiply": 1}, {"divide": 1}),
        "_softmax_backward_data": _rows({"multiply": 2, "add": 2}, {}),  # p (dp - sum(p dp))
        "_log_softmax": _rows({"compare": 1, "add": 3, "exp": 1}, {"log": 1}),
        "_log_softmax_backward_data": _rows({"exp": 1, "multiply": 1, "add": 2}, {}),
        "nll_loss_forward": lambda _, ins: {"add": ins[0][0] if ins[0] else 1, "multiply": 1},
        "nll_loss_backward": lambda _, ins: {"multiply": 1},
        "nll_loss2d_forward": lambda _, ins: {"add": ins[0][0], "multiply": 1},
        "nll_loss2d_backward": lambda _, ins: {"multiply": 1},
        "mse_loss": _input(add=2, multiply=1),
        "mse_loss_backward": _each(add=1, multiply=2),
        "native_dropout": _each(multiply=1),  # its random numbers are not counted
        "native_dropout_backward": _each(multiply=1),
        "embedding": _each(),  # rows copied
        "embedding_dense_backward": _input(add=1),
        "cumsum": _each(add=1),
        "cat": _each(),
        "stack": _each(),
        "constant_pad_nd": _each(),
    }
    | {name: _each(compare=1) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
    | {
        name: _each()
        for name in ("logical_not", "logical_and", "bitwise_and", "bitwise_not", "bitwise_or")
    }
)

# These need their whole input before they give their first result: two passes.
TWO_PASSES = {"native_batch_norm": (0,), "native_batch_norm_backward": (0, 1)}

# Inputs of which only the shape is read.
SHAPE_ONLY = {
    "max_pool2d_with_indices_backward": (1,),
    "avg_pool2d_backward": (1,),
    "_adaptive_avg_pool2d_backward": (1,),
    "nll_loss_backward": (1, 2, 4),
}

# Only these may be joined to what made their input without a way through DRAM. Row-wise ones hold
# a row on chip.
STREAMING = frozenset(ARITHMETIC_OF) - {
    "embedding",
    "embedding_dense_backward",
    "max_pool2d_with_indices_backward",
}

# Layout only: an address generator's work, no words moved.
LAYOUT = frozenset((
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "squeeze",
    "unsqueeze", "select", "slice", "detach", "alias", "as_strided", "unbind", "split",
    "split_with_sizes", "chunk", "unfold", "clone", "contiguous", "_to_copy", "_reshape_alias",
    "lift_fresh", "select_backward", "slice_backward", "copy_", "empty", "empty_like",
    "new_empty", "empty_strided", "zeros", "zeros_like", "new_zeros", "ones", "ones_like",
    "new_ones", "full", "full_like", "arange", "scalar_tensor", "zero_", "fill_",
    "_local_scalar_dense", "is_same_size", "eye", "tril", "triu", "resolve_conj", "resolve_neg",
    "expand_as", "broadcast_to", "_has_compatible_shallow_copy_type", "new_empty_strided",
    "set_", "result_type", "sym_size", "sym_stride", "sym_numel",
))  # fmt: skip


def affine_extra(name: str, ins: Sequence[Shape], affine: bool) -> Counts:
    """Return what gain and shift add to a batch norm, per element."""
    if affine and name == "native_batch_norm":
        return {"multiply": prod(ins[0]), "add": prod(ins[0])}
    return {}
