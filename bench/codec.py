"""Encoder and decoder beside `torch.mul(x, 2)`, which reads and writes as many floats."""

from typing import Any

import numpy as np
import torch
from lnsim.kernels import decode, quantise
from lnsim.lns import codec
from lnsim.lns.format import LNS8

from .harness import compare, set_threads

ELEMENTS = 1 << 24
CHECKED = 1 << 16


def run_codec(name: str, threads: int, repeats: int, seed: int) -> dict[str, Any]:
    """Compare `name`, "encode" or "decode", with `lns` on CHECKED elements, then time it."""
    set_threads(threads)
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(ELEMENTS).astype(np.float32))
    codes, _ = quantise(x.numpy(), LNS8)
    assert isinstance(codes.offset, int)
    part = codec.encode(x[:CHECKED].numpy(), LNS8, codes.offset)
    if not np.array_equal(part.code, codes.code[:CHECKED]):
        raise AssertionError("encode differs from lns.encode")
    if not np.array_equal(codec.decode(part).astype(np.float32), decode(codes)[:CHECKED]):
        raise AssertionError("decode differs from lns.decode")
    call = {"encode": lambda: quantise(x.numpy(), LNS8), "decode": lambda: decode(codes)}[name]
    found = compare(call, lambda: torch.mul(x, 2), repeats)
    return {
        "case": f"{name}-lns8",
        "threads": threads,
        "elements": ELEMENTS,
        "elements_equal_to_lns": CHECKED,
        **{key: found[key] for key in ("ours_s", "torch_fp32_s", "ratio")},
    }
