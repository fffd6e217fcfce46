"""The sections of the conformance suite, and what must be refused."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf, nan
from random import Random

import numpy as np

from ...lns.array import FloatArray, LNSArray
from ...lns.checks import require_choice
from ...lns.datapath import Accumulator, Datapath, FloatDatapath
from ...lns.format import FP8_E4M3, FloatFormat, IntFormat, LNSFormat
from .ask_codes import (
    add_batches,
    compare_batches,
    multiply_batches,
    requantise_batches,
    root_batches,
    sum_batches,
)
from .ask_gemms import (
    float_gemm_batches,
    int_gemm_batches,
    linear_batches,
    log_batches,
    scale_batches,
)
from .ask_reals import (
    decode_batches,
    default_offset_batches,
    encode_batches,
    float_batches,
    int_batches,
    stochastic_batches,
)
from .batch import Batch, codes
from .levels import Level

Maker = Callable[[Level, Random], Iterator[Batch]]


def refusal_batches(level: Level, rng: Random) -> Iterator[Batch]:
    """Invalid operands, one among valid ones: an error is the right answer, a result is not."""
    refused = partial(Batch.call, "refusals", refused=True)
    for fmt in (LNSFormat(4, 2), LNSFormat(7, 8, zero=False)):
        for dtype, bad in ((d, b) for d in (np.float32, np.float64) for b in (nan, inf, -inf)):
            x = np.array([1.0, 0.0, -3.0, 2.0, 5.0], dtype)
            x[rng.randrange(5)] = bad
            what = "NaN or infinity"
            yield refused("encode", what, x, fmt, 0, "nearest")
            yield refused("encode_int", what, x, IntFormat(8), 0)
            yield refused("encode_stochastic", what, x, np.zeros(5, np.int64), fmt, 0, 4)
        yield refused("decode", "a value beyond 2^1024", codes(fmt, [0, 1, 2], 1024 * fmt.gamma))
        near, other = codes(fmt, [1, 2, 3], 0), codes(fmt, [1, 2, 3], 1)
        for name in ("add", "sub"):
            yield refused(name, "different offsets", near, other, "exact")
        negative = codes(fmt, [1, 2, 3 | 1 << fmt.exponent_bits])
        yield refused("sqrt", "a negative number", negative, fmt, 0)
        varying = LNSArray(np.ones((2, 3), fmt.code_dtype), np.array([[0, 0, 1]], np.int32), fmt)
        b = LNSArray(np.ones((3, 2), fmt.code_dtype), 0, fmt)
        yield refused("matmul", "an offset that varies along k", varying, b, Datapath())
    fmt = LNSFormat(4, 2)
    for zero in (0, 1 << fmt.exponent_bits):
        a, b = codes(fmt, [1, 2, 0]), codes(fmt, [3, zero, 5])
        yield refused("div", "division by zero", a, b, fmt, 0)
    finite = FloatFormat(2, 1, "finite")
    yield refused("encode_float", "a NaN without a code", np.array([1.0, nan]), finite, 0)
    row, column = np.array([[1, 0x7F]], np.uint8), np.array([[1], [0]], np.uint8)
    floats = FloatArray(row, 0, FP8_E4M3), FloatArray(column, 0, FP8_E4M3)
    what = "a NaN in a fixed-point sum"
    yield refused("matmul_float", what, *floats, FloatDatapath(Accumulator()))


SECTIONS: dict[str, tuple[Maker, ...]] = {
    "encode": (encode_batches, stochastic_batches, default_offset_batches),
    "decode": (decode_batches,),
    "requantise": (requantise_batches,),
    "multiply": (multiply_batches, root_batches),
    "order": (compare_batches, root_batches),
    "add": (add_batches,),
    "sums": (sum_batches,),
    "direct": (partial(linear_batches, style="direct"),),
    "bins": (partial(linear_batches, style="bins"),),
    "log": (log_batches,),
    "scales": (scale_batches,),
    "float": (float_batches,),
    "float-gemm": (float_gemm_batches,),
    "integer": (int_batches,),
    "integer-gemm": (int_gemm_batches,),
    "refusals": (refusal_batches,),
}


def batches(level: Level, seed: int, only: Sequence[str] = ()) -> Iterator[Batch]:
    """Yield the questions of the sections in `only` (none: all), in order.

    Each section draws from a generator of its own, so that it is asked the same whichever others
    are. Raises ValueError for an unknown section.
    """
    for name in only:
        require_choice("section", name, SECTIONS)
    for name, makers in SECTIONS.items():
        if only and name not in only:
            continue
        rng = Random(f"lnsim conformance {seed} {name}")
        for make in makers:
            yield from (batch for batch in make(level, rng) if batch.section == name)
