"""Time the fully logarithmic GEMM beside torch.matmul in fp32, after a check against the oracle."""

import random
from typing import Any

import numpy as np
import torch
from lnsim.kernels import matmul
from lnsim.lns import LNS8, Accumulator, Datapath, LNSFormat
from lnsim.lns.oracle import log_dot

from .harness import compare, random_codes, set_threads

SIDE = 512
CHECKED = 64  # outputs
LANES = {"log-sequential-512": 1, "log-lanes-8-512": 8}


def run_log(name: str, threads: int, repeats: int, seed: int) -> dict[str, Any]:
    """Check sampled outputs, then time one case."""
    set_threads(threads)
    generator = np.random.default_rng(seed)
    a, b = (random_codes(LNS8, (SIDE, SIDE), generator) for _ in range(2))
    x, y = (
        torch.from_numpy(generator.standard_normal((SIDE, SIDE)).astype(np.float32))
        for _ in range(2)
    )
    lanes, pick = LANES[name], random.Random(seed)
    datapath = Datapath(accumulator=Accumulator(bits=9, lanes=lanes, style="log"))
    got = matmul(a, b, datapath)
    for _ in range(CHECKED):
        i, j = pick.randrange(SIDE), pick.randrange(SIDE)
        row, column = a.code[i].tolist(), b.code[:, j].tolist()
        if got.code[i, j] != log_dot(row, column, LNS8, LNSFormat(9, 8), f"lanes:{lanes}"):
            raise AssertionError(f"{name}: output ({i}, {j}) differs from the oracle")
    found = compare(lambda: matmul(a, b, datapath), lambda: x @ y, repeats)
    return {
        "case": name,
        "threads": threads,
        "outputs_equal_to_oracle": CHECKED,
        "gmac_per_s": SIDE**3 / found["ours_s"]["median"] / 1e9,
        **{key: found[key] for key in ("ours_s", "torch_fp32_s", "ratio")},
    }
