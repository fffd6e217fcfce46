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
    """Per element, and per row (all elements but those along the last axis), of the first input."""
    return _with_groups(per_element, per_row, lambda s: prod(s) // max(s[-1] if s else 1, 1))


def _channels(per_element: Counts, per_channel: Counts) -> Rule:
    """Per element, and per channel (axis 1), of the first input."""
    return _with_groups(per_element, per_channel, lambda shape: shape[1])


def _with_groups(per_element: Counts, per_group: Counts, groups: Callable[[Shape], int]) -> Rule:
    """Per element of the first input, and per group of them; groups: how many a shape has."""

    def rule(_: Shape, ins: Sequence[Shape]) -> Counts:
        total = {kind: count * prod(ins[0]) for kind, count in per_element.items()}
        for kind, count in per_group.items():
            total[kind] = total.get(kind, 0) + count * groups(ins[0])
        return total

    return rule


def _reduce(out: Shape, ins: Sequence[Shape]) -> Counts:
    return {"add": max(prod(ins[0]) - prod(out), 0)}


def _mean(out: Shape, ins: Sequence[Shape]) -> Counts:
    return {"add": max(prod(ins[0]) - prod(out), 0), "multiply": prod(out)}


def _pool(out: Shape, ins: Sequence[Shape]) -> Counts:
    """Comparisons of a window, counted as the input's elements (strides as large as the window)."""
    return {"compare": max(prod(ins[0]), prod(out))}


def _all(names: str, rule: Rule) -> dict[str, Rule]:
    """One rule for several operators."""
    return dict.fromkeys(names.split(), rule)


ARITHMETIC_OF: dict[str, Rule] = (
    _all("neg abs where masked_fill cat stack constant_pad_nd", _each())
    | _all("logical_not logical_and bitwise_and bitwise_not bitwise_or", _each())
    | _all("relu relu_ threshold_backward maximum minimum", _each(compare=1))
    | _all("eq ne lt le gt ge", _each(compare=1))
    | _all("hardtanh clamp", _each(compare=2))
    | _all("leaky_relu leaky_relu_backward", _each(compare=1, multiply=1))
    | _all("silu silu_", _each(multiply=1, add=1, exp=1, divide=1))  # x / (1 + exp(-x))
    | _all("sigmoid_backward tanh_backward", _each(multiply=2, add=1))
    | _all("add add_ sub rsub cumsum", _each(add=1))
    | _all("mul mul_ avg_pool2d_backward _adaptive_avg_pool2d_backward", _each(multiply=1))
    | _all("native_dropout native_dropout_backward", _each(multiply=1))  # random numbers aside
    | _all("div div_ reciprocal", _each(divide=1))
    | _all("mean avg_pool2d _adaptive_avg_pool2d", _mean)
    | _all("amax max", _input(compare=1))
    # max, x - max, exp, sum, times 1 / sum
    | _all(
        "_softmax _safe_softmax",
        _rows({"compare": 1, "add": 2, "exp": 1, "multiply": 1}, {"divide": 1}),
    )
    | _all(
        "native_layer_norm_backward native_group_norm_backward",
        _rows({"add": 7, "multiply": 6}, {"multiply": 3}),
    )
    | _all("nll_loss2d_backward nll_loss_backward", lambda _, ins: {"multiply": 1})
    | {
        # x/2 (1 + tanh(a x + b x^3)), and its derivative, times dy
        "gelu": _each(multiply=6, add=4, exp=1, divide=1),
        "gelu_backward": _each(multiply=12, add=6, exp=1, divide=1),
        "silu_backward": _each(multiply=3, add=3, exp=1, divide=1),
        "sigmoid": _each(add=1, exp=1, divide=1),
        "tanh": _each(add=2, exp=1, divide=1),
        "exp": _each(exp=1),
        "log": _each(log=1),
        "sqrt": _each(sqrt=1),
        "rsqrt": _each(sqrt=1, divide=1),
        "pow": _each(multiply=1),  # a square
        "addcmul": _each(multiply=2, add=1),
        "sum": _reduce,
        "var_mean": _input(multiply=1, add=3),
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
        "native_group_norm": _rows({"add": 5, "multiply": 3}, {"multiply": 2}),
        "_softmax_backward_data": _rows({"multiply": 2, "add": 2}, {}),  # p (dp - sum(p dp))
        "_log_softmax": _rows({"compare": 1, "add": 3, "exp": 1}, {"log": 1}),
        "_log_softmax_backward_data": _rows({"exp": 1, "multiply": 1, "add": 2}, {}),
        "nll_loss_forward": lambda _, ins: {"add": ins[0][0] if ins[0] else 1, "multiply": 1},
        "nll_loss2d_forward": lambda _, ins: {"add": ins[0][0], "multiply": 1},
        "mse_loss": _input(add=2, multiply=1),
        "mse_loss_backward": _each(add=1, multiply=2),
        "embedding": _each(),  # rows copied
        "embedding_dense_backward": _input(add=1),
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
