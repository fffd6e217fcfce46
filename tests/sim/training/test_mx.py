"""MX blocks in layers: bit for bit the oracle's, along each product's own axis, and what they cost.

The oracle cuts and rounds the blocks and sums the products; a convolution's blocks are judged by
putting the oracle's values into an fp32 layer, whose own arithmetic is judged elsewhere.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from lnsim.lns import (
    BF16,
    FP8_E4M3,
    FP32,
    INT8,
    MX_FORMATS,
    Accumulator,
    FloatDatapath,
    FloatFormat,
    IntDatapath,
    MXArray,
    MXFormat,
    encode_mx,
)
from lnsim.lns import oracle_mx as oracle
from lnsim.sim import Conv2d, Linear, Recipe, cost_step, get_machine, get_recipe, matmul_mx
from lnsim.sim.cost.energy import price_step
from lnsim.sim.events.event import Event
from lnsim.sim.events.mac import gemm_events
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.train import train
from lnsim.sim.workload.workload import Gemm, workload_of_layers

Array = npt.NDArray[np.float32]
FP32_PATH = FloatDatapath(FP32)


def rounded(x: Array, fmt: MXFormat, axis: int, groups: int = 1) -> list[Any]:
    """The oracle's values of blocks along `axis`, nested as x is with that axis last."""
    moved = np.moveaxis(x, axis, -1)
    lines = []
    for line in moved.reshape(-1, moved.shape[-1]):
        values: list[Any] = []
        for part in np.split(line, groups):
            for start in range(0, part.size, fmt.block):
                block = part[start : start + fmt.block].tolist()
                values += oracle.decode_block(*oracle.encode_block(block, fmt), fmt)
        lines.append(values)
    return lines


def rounded_array(x: Array, fmt: MXFormat, axis: int, groups: int = 1) -> Array:
    """`rounded` as float32 in x's shape."""
    lines = [[float(v) for v in line] for line in rounded(x, fmt, axis, groups)]
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(np.array(lines).reshape(moved.shape), -1, axis).astype(np.float32)


def product(rows: Sequence[Any], columns: Sequence[Any], accumulator: FloatFormat) -> Array:
    """The oracle's (M, N) of M rows and N columns of values."""
    out = [[oracle.dot_mx(row, column, accumulator)[0] for column in columns] for row in rows]
    return np.array(out).astype(np.float32)


def same(got: Array, wanted: Array) -> None:
    """Bit for bit."""
    np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("name", MX_FORMATS)
def test_linear_equals_the_oracle_bit_for_bit(name: str) -> None:
    """y, dx and dw: inputs, outputs and images are each more than a block and no multiple."""
    torch.manual_seed(3)
    fmt = MX_FORMATS[name]
    layer = Linear(35, 33, bias=False, recipe=get_recipe(name))
    x = (torch.randn(34, 35) * torch.logspace(-3, 2, 35)).requires_grad_()
    dy = torch.randn(34, 33) * torch.logspace(-6, 0, 34)[:, None]
    y = layer(x)
    y.backward(dy)
    weight, real = layer.weight.detach().numpy(), x.detach().numpy()
    assert x.grad is not None
    assert layer.weight.grad is not None
    some, error = slice(0, 33, 16), dy.numpy()
    left, right = rounded(real[some], fmt, 1), rounded(weight[some], fmt, 1)
    same(y.detach().numpy()[some, some], product(left, right, FP32))
    left, right = rounded(error[some], fmt, 1), rounded(weight[:, some], fmt, 0)
    same(x.grad.numpy()[some, some], product(left, right, FP32))
    left, right = rounded(error[:, some], fmt, 0), rounded(real[:, some], fmt, 0)
    same(layer.weight.grad.numpy()[some, some], product(left, right, FP32))


def conv_gradients(
    recipe: Recipe, x: Array, w: Array, dy: Array, **arguments: Any
) -> tuple[Array, Array, Array]:
    """y, dx and dw of a convolution."""
    groups = arguments.get("groups", 1)
    layer = Conv2d(x.shape[1], w.shape[0], w.shape[2], bias=False, **arguments, recipe=recipe)
    assert groups == layer.groups
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w))
    images = torch.from_numpy(x.copy()).requires_grad_()
    y = layer(images)
    y.backward(torch.from_numpy(dy))
    assert images.grad is not None
    assert layer.weight.grad is not None
    return y.detach().numpy(), images.grad.numpy(), layer.weight.grad.numpy()


@pytest.mark.parametrize("name", ["mxfp8-e4m3", "mxfp4", "mxint8"])
@pytest.mark.parametrize(
    ("images", "channels", "arguments"),
    [
        (2, (34, 33), {}),
        (33, (4, 6), {"padding": 1, "stride": 2, "groups": 2}),
        (2, (66, 3), {"groups": 3, "dilation": 2, "padding": 1}),
    ],
)
def test_a_convolution_is_cut_along_channels_and_images(
    name: str, images: int, channels: tuple[int, int], arguments: dict[str, Any]
) -> None:
    """Channels of a group in forward and dx, images in dw; padding stays zero."""
    rng = np.random.default_rng(5)
    fmt, recipe, fp32 = MX_FORMATS[name], get_recipe(name), get_recipe("fp32")
    groups = arguments.get("groups", 1)
    w = rng.standard_normal((channels[1], channels[0] // groups, 2, 2)).astype(np.float32)
    x = rng.standard_normal((images, channels[0], 3, 4)).astype(np.float32)
    x *= np.exp2(rng.integers(-9, 9, x.shape)).astype(np.float32)
    like = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), **arguments)
    dy = rng.standard_normal(like.shape).astype(np.float32)
    y, dx, dw = conv_gradients(recipe, x, w, dy, **arguments)
    forward = rounded_array(x, fmt, 1, groups), rounded_array(w, fmt, 1)
    same(y, conv_gradients(fp32, *forward, dy, **arguments)[0])
    back = rounded_array(w, fmt, 0, groups), rounded_array(dy, fmt, 1, groups)
    same(dx, conv_gradients(fp32, x, *back, **arguments)[1])
    batch = rounded_array(x, fmt, 0), rounded_array(dy, fmt, 0)
    same(dw, conv_gradients(fp32, batch[0], w, batch[1], **arguments)[2])


def drawn(
    rng: np.random.Generator, fmt: MXFormat, shape: tuple[int, int], axis: int, low: int
) -> MXArray:
    """Element codes of every size, and scales from `low` on whose values float32 holds."""
    blocks = tuple(-(-n // fmt.block) if i == axis else n for i, n in enumerate(shape))
    real = rng.standard_normal(shape) * np.exp2(rng.uniform(-12, 0, shape))
    code = encode_mx(real, MXFormat(fmt.element, 1024), axis).code
    scale = rng.integers(low, low + 16, blocks)
    return MXArray(code, np.minimum(scale, 254 - fmt.max_exponent).astype(np.uint8), axis, fmt)


@pytest.mark.parametrize("name", MX_FORMATS)
@pytest.mark.parametrize("accumulator", [FP32, BF16, FP8_E4M3], ids=lambda f: f.name)
def test_a_product_of_codes_equals_the_oracle(name: str, accumulator: FloatFormat) -> None:
    """Scales from the smallest to the largest: sums that underflow and sums that overflow."""
    fmt = MX_FORMATS[name]
    rng = np.random.default_rng(11)
    seen = []
    for low in ((0, 0), (50, 40), (120, 110), (70, 180), (220, 230), (180, 190)):
        a, b = (
            drawn(rng, fmt, shape, axis, low[axis]) for shape, axis in (((3, 37), 1), ((37, 2), 0))
        )
        got = matmul_mx(a, b, FloatDatapath(accumulator))
        rows = [blockwise(a.code[i], a.scale[i], fmt) for i in range(3)]
        columns = [blockwise(b.code[:, j], b.scale[:, j], fmt) for j in range(2)]
        same(got, product(rows, columns, accumulator))
        seen.append(got)
    sizes = np.abs(np.concatenate(seen))
    assert (sizes == 0).any()
    assert sizes.max() == (448 if accumulator == FP8_E4M3 else np.inf)


def blockwise(code: npt.NDArray[Any], scale: npt.NDArray[Any], fmt: MXFormat) -> list[Any]:
    """The oracle's values of one line of codes."""
    parts = [
        oracle.decode_block(s, code[i * fmt.block : (i + 1) * fmt.block].tolist(), fmt)
        for i, s in enumerate(scale.tolist())
    ]
    return [value for part in parts for value in part]


def test_what_a_sum_does_at_the_ends_of_fp32() -> None:
    """2^127 * 2^127 goes to infinity; 2^-127 * 2^-127 is rounded to zero, with its sign; the two
    smallest elements of a subnormal block keep their bits."""
    fmt = MX_FORMATS["mxfp8-e4m3"]
    for size, wanted in ((2.0**127, np.inf), (2.0**-127, 0.0)):
        a = encode_mx(np.array([[size, 0.0]]), fmt, 1)
        b = encode_mx(np.array([[-size], [0.0]]), fmt, 0)
        assert matmul_mx(a, b, FP32_PATH).tolist() == [[-wanted]]
        assert np.signbit(matmul_mx(a, b, FP32_PATH)).all() == (wanted != 0)
    tiny = encode_mx(np.array([[2.0**-136, 2.0**-135]], np.float32), fmt, 1)
    one = encode_mx(np.array([[1.0], [1.0]]), fmt, 0)
    assert matmul_mx(tiny, one, FP32_PATH).tolist() == [[3 * 2.0**-136]]


def test_the_events_of_a_product_by_hand() -> None:
    """(2, 3) outputs of k = 40: 240 products, two blocks a sum, of each operand."""
    e3m2, integer = MX_FORMATS["mxfp6-e3m2"], MX_FORMATS["mxint8"]
    assert gemm_events(FP32_PATH, e3m2, e3m2, 2, 3, 40) == {
        Event("float_multiply", 6, "3x3e3"): 240,
        Event("exponent_add", 9): 240,
        Event("exponent_add", 10): 240,
        Event("float_add", 32, "fp32"): 240,
        Event("register_bits"): 240 * (6 + 6 + (3 + 3 + 1 + 10) + 32) + 6 * (2 + 2) * 8,
    }
    assert gemm_events(FP32_PATH, integer, integer, 2, 3, 40) == {
        Event("int_multiply", 8, "8x8"): 240,
        Event("exponent_add", 9): 240,
        Event("exponent_add", 10): 240,
        Event("float_add", 32, "fp32"): 240,
        Event("register_bits"): 240 * (8 + 8 + (16 + 10) + 32) + 6 * (2 + 2) * 8,
    }


def test_the_words_of_a_step_by_hand() -> None:
    """The toy of two layers: a quarter of a bit more an element, a copy of codes for each axis, no
    second pass for a scale."""
    toy = workload_of_layers(
        "toy", [Gemm("a", "forward", 32, 16, 24), Gemm("b", "forward", 32, 10, 16)]
    )
    step = cost_step(toy, get_machine("edge-16"), get_recipe("mxfp8-e4m3"))
    inputs, hidden, first, second = 32 * 24, 32 * 16, 24 * 16, 16 * 10

    def bits(phase: str, kind: str) -> int:
        return sum(n for e, n in step.parts[phase, "dram"].items() if e.kind == kind)

    weights = first + second
    codes = inputs + hidden + weights
    assert bits("forward", "dram_read_bits") == (weights + inputs) * 32 + codes * 8.25
    # the first layer's weight has no input gradient, so one encoding; all else has two
    written = (2 * (inputs + hidden) + first + 2 * second) * 8.25
    assert bits("forward", "dram_write_bits") == written
    assert bits("dx", "dram_write_bits") == 2 * 32 * 10 * 8.25
    assert bits("dw", "dram_write_bits") == 32 * 16 * 8.25 + weights * 32
    assert step.parts["forward", "conversion"] == {
        Event("encode", 8, "float"): 2 * (inputs + hidden) + first + 2 * second
    }


@pytest.mark.parametrize("name", MX_FORMATS)
def test_a_step_has_a_price(name: str) -> None:
    """From rows of the shipped table; beside fp8 the array has two more additions a product."""
    toy = workload_of_layers("toy", [Gemm("a", "forward", 32, 16, 24)])
    steps = [cost_step(toy, get_machine("edge-16"), get_recipe(n)) for n in (name, "fp8")]
    table = PriceTable.default()
    mine, fp8 = (price_step(step, table) for step in steps)
    assert 0 < mine.total.low < mine.total.mid < mine.total.high
    if name == "mxfp8-e4m3":
        assert mine.of_component("array").mid > fp8.of_component("array").mid
    with pytest.raises(ValueError, match=f"^mac_prices must not be published-pe for {name}: "):
        cost_step(toy, get_machine("edge-16"), get_recipe(name), "published-pe")


def test_training_is_reproducible_and_counts_blocks() -> None:
    """Two runs of one seed are the same bytes; saturated and lost elements are counted."""
    run = RunConfig(format="mxfp4", model="cnn", batch=16, limit_train=32, limit_test=8, epochs=1)
    records = [train(run) for _ in range(2)]
    for record in records:
        assert record.status == "ok"
        assert "fp4-e2m1 saturates" not in record.overflow_rule
        assert record.overflow_rule == "mxfp4 saturates; fp32 accumulator goes to infinity"
    assert records[0].history == records[1].history
    assert records[0].counted_events == records[1].counted_events


E4M3 = MX_FORMATS["mxfp8-e4m3"]
RECIPE = get_recipe("mxfp8-e4m3")
ONES = encode_mx(np.ones((2, 2)), E4M3, 1)
HUGE = MXArray(ONES.code, np.full((2, 1), 254, np.uint8), 1, E4M3)
REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: replace(RECIPE, weight=FP8_E4M3),
        ValueError,
        "weight, activation and error must all be in blocks or none, got fp8-e4m3, mxfp8-e4m3, "
        "mxfp8-e4m3",
    ),
    (
        lambda: replace(RECIPE, error=MXFormat(INT8)),
        ValueError,
        "elements must be all floats or all integers, got mxfp8-e4m3, mxfp8-e4m3, mxint8",
    ),
    (
        lambda: replace(RECIPE, gradient=E4M3),  # type: ignore[arg-type]
        ValueError,
        "gradient must not be in blocks, which need a product, got mxfp8-e4m3",
    ),
    (
        lambda: replace(RECIPE, datapath=FloatDatapath(Accumulator())),
        ValueError,
        "datapath must be a FloatDatapath with a float accumulator for blocks, whose scales change "
        "along a sum, got FloatDatapath",
    ),
    (
        lambda: replace(RECIPE, datapath=IntDatapath()),
        ValueError,
        "datapath must be a FloatDatapath with a float accumulator for blocks",
    ),
    (
        lambda: replace(RECIPE, scaling="amax"),
        ValueError,
        "scaling must be none for blocks, which have their own, got 'amax'",
    ),
    (
        lambda: RunConfig(format="mxfp4", format_overflow="infinity"),
        ValueError,
        "format_overflow must be left out for mxfp4, got 'infinity'",
    ),
    (
        lambda: gemm_events(FP32_PATH, E4M3, MXFormat(INT8), 1, 1, 1),
        ValueError,
        "elements must be both floats or both integers, got mxfp8-e4m3 and mxint8",
    ),
    (
        lambda: gemm_events(FP32_PATH, E4M3, FP8_E4M3, 1, 1, 1),
        TypeError,
        "formats must be of the datapath's family, got mxfp8-e4m3 and fp8-e4m3",
    ),
    (
        lambda: matmul_mx(ONES, ONES, FP32_PATH),
        ValueError,
        "b must be a matrix in blocks along axis 0, got shape (2, 2) along axis 1",
    ),
    (
        lambda: matmul_mx(HUGE, encode_mx(np.ones((2, 2)), E4M3, 0), FP32_PATH),
        ValueError,
        "a must be within float32's range, got ",
    ),
    (
        lambda: matmul_mx(ONES, np.ones((2, 2)), FP32_PATH),  # type: ignore[arg-type]
        TypeError,
        "b must be an MXArray, got ndarray",
    ),
    (
        lambda: matmul_mx(ONES, ONES, FloatDatapath(Accumulator())),
        TypeError,
        "datapath must have a float accumulator, got FloatDatapath",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()
