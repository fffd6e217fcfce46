"""All GEMMs of a network's training step, as one figure.

Every product is timed by itself (ours and torch.matmul in fp32 in turn, same shapes, same threads)
and counted as often as the step has it; the ratio is of the two sums. Convolutions are the GEMMs
that `lnsim.sim.Conv2d` runs, with their patches already gathered on both sides.
"""

from collections import Counter
from typing import Any

import numpy as np
import torch
from lnsim.kernels import matmul_counted
from lnsim.lns.array import LNSArray
from lnsim.lns.datapath import Datapath
from lnsim.lns.format import LNS8

from .cases import Case
from .harness import check, compare, random_codes, set_threads, spread

Shape = tuple[int, int, int, int]  # batch, M, K, N


def resnet18(images: int = 16) -> Counter[Shape]:
    """ResNet-18, CIFAR form: forward, dx and dw of every convolution and of the last layer."""
    layers = [(3, 64, 32, 1, 3)]  # channels in, out, output side, stride, kernel
    width, side = 64, 32
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        side //= stride
        layers += [(width, outputs, side, stride, 3), *[(outputs, outputs, side, 1, 3)] * 3]
        if stride > 1:
            layers.append((width, outputs, side, stride, 1))
        width = outputs
    gemms: Counter[Shape] = Counter()
    for i, (inputs, outputs, side, stride, kernel) in enumerate(layers):
        places, taps = images * side * side, kernel * kernel
        gemms[1, places, inputs * taps, outputs] += 1
        gemms[1, outputs, places, inputs * taps] += 1
        if i:
            gemms[1, places * stride * stride, outputs * taps, inputs] += 1
    for shape in ((images, 512, 10), (images, 10, 512), (10, images, 512)):
        gemms[1, *shape] += 1
    return gemms


def transformer(
    sequences: int = 8, length: int = 256, d: int = 512, heads: int = 8
) -> Counter[Shape]:
    """A transformer block: four projections and two MLP layers, attention head by head."""
    tokens, pairs, part = sequences * length, sequences * heads, d // heads
    gemms: Counter[Shape] = Counter()
    for inputs, outputs, times in ((d, d, 4), (d, 4 * d, 1), (4 * d, d, 1)):
        gemms[1, tokens, inputs, outputs] += times
        gemms[1, tokens, outputs, inputs] += times
        gemms[1, outputs, tokens, inputs] += times
    gemms[pairs, length, part, length] += 3  # q k^T, and what its transpose has in backward
    gemms[pairs, length, length, part] += 3  # p v, dq and dk
    return gemms


NETWORKS = {"resnet18-gemms": resnet18, "transformer-gemms": transformer}


def run_network(name: str, threads: int, repeats: int, seed: int) -> dict[str, Any]:
    """Check and time every GEMM of a network; the ratio is of the sums."""
    set_threads(threads)
    generator = np.random.default_rng(seed)
    gemms = NETWORKS[name]()
    ours, theirs, macs, checked = [0.0] * repeats, [0.0] * repeats, 0, 0
    for (batch, m, k, n), times in gemms.items():
        a, b = random_codes(LNS8, (m, k), generator), random_codes(LNS8, (k, n), generator)
        x, y = torch.rand(m, k), torch.rand(k, n)
        acc = matmul_counted(a, b, Datapath())[0]
        checked += check(Case(name, LNS8, Datapath(), (m, k, n)), a, b, acc, generator, 4)
        if batch > 1:
            a, b = (LNSArray(np.stack([o.code] * batch), 0, LNS8) for o in (a, b))
            x, y = x.expand(batch, -1, -1).contiguous(), y.expand(batch, -1, -1).contiguous()
        found = compare(
            lambda a=a, b=b: matmul_counted(a, b, Datapath()),
            lambda x=x, y=y: torch.matmul(x, y),
            repeats,
        )
        for i in range(repeats):
            ours[i] += times * found["ours"][i]
            theirs[i] += times * found["theirs"][i]
        macs += times * batch * m * k * n
    middle = sorted(ours)[repeats // 2]
    return {
        "case": name,
        "threads": threads,
        "gemms": sum(gemms.values()),
        "outputs_equal_to_oracle": checked,
        "ours_s": spread(ours),
        "torch_fp32_s": spread(theirs),
        "ratio": spread([x / y for x, y in zip(ours, theirs, strict=True)]),
        "gmac_per_s": macs / middle / 1e9,
    }
