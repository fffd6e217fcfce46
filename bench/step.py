"""Time a whole training step beside plain fp32 AdamW in eager PyTorch.

Forward, loss, backward and update of the same network on the same batch: as LNS-8 with integer
Madam on the bit-exact datapath, and as an ordinary model with `torch.optim.AdamW`, in turn, in one
process, with the same number of threads. Before the timing, sampled outputs of every GEMM of a step
are compared with the oracle.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lnsim.kernels import matmul_counted
from lnsim.sim import convert, get_recipe
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.training.tally import GemmRecord
from lnsim.sim.workload.models import make_model
from torch import nn
from torch.nn.functional import cross_entropy

from .harness import compare, set_threads

BATCH = 128
MODELS = {"mlp": (1, 28, 28), "cnn": (1, 28, 28), "resnet18": (3, 32, 32)}
CHECKED = 2  # outputs of every GEMM


def _check(model: nn.Module, step: Callable[[], None], seed: int) -> int:
    """Run a step and compare sampled accumulators of all its GEMMs with the oracle."""
    pick, checked = random.Random(seed), 0

    def look(gemm: GemmRecord) -> None:
        nonlocal checked
        for _ in range(CHECKED):
            i, j = (pick.randrange(n) for n in gemm.acc.shape)
            kinds: Any = type(gemm.a), type(gemm.b)
            row = kinds[0](gemm.a.code[i : i + 1], 0, gemm.a.fmt)
            column = kinds[1](gemm.b.code[:, j : j + 1], 0, gemm.b.fmt)
            wanted, _ = matmul_counted(row, column, gemm.datapath, backend="oracle")
            if gemm.acc[i, j] != wanted[0, 0]:
                raise AssertionError(f"{gemm.layer} {gemm.phase}: output ({i}, {j}) differs")
            checked += 1

    model.tally.on_gemm = look  # type: ignore[union-attr]
    step()
    model.tally.on_gemm = None  # type: ignore[union-attr]
    return checked


def _stepper(model: nn.Module, optimiser: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
    def step() -> None:
        optimiser.zero_grad()
        cross_entropy(model(x), y).backward()
        optimiser.step()

    return step


def run_step(name: str, recipe_name: str, threads: int, repeats: int, seed: int) -> dict[str, Any]:
    """Check a network's step, then time it beside eager AdamW."""
    set_threads(threads)
    generator = np.random.default_rng(seed)
    shape = MODELS[name]
    x = torch.from_numpy(generator.standard_normal((BATCH, *shape)).astype(np.float32))
    y = torch.from_numpy(generator.integers(0, 10, BATCH))
    plain = make_model(name, shape, 10, seed)
    theirs = _stepper(plain, torch.optim.AdamW(plain.parameters(), 1e-3), x, y)
    recipe = get_recipe(recipe_name)
    model = convert(make_model(name, shape, 10, seed), recipe)
    ours = _stepper(model, make_optimiser(model, recipe), x, y)
    few = _stepper(model, make_optimiser(model, recipe), x[:2], y[:2])
    checked = _check(model, few, seed)
    # steps of milliseconds on two threads differ most from one to the next
    found = compare(ours, theirs, 3 * repeats if name != "resnet18" else min(repeats, 5))
    return {
        "case": f"step-{name}-{recipe_name}",
        "batch": BATCH,
        "threads": threads,
        "outputs_equal_to_oracle": checked,
        **{key: found[key] for key in ("ours_s", "torch_fp32_s", "ratio")},
    }
