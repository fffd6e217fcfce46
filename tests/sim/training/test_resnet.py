"""ResNet-18, CIFAR form, runs a few steps on the datapath; sampled outputs equal the oracle."""

import random

import torch
from lnsim.lns.oracle import dot
from lnsim.sim import convert, lns_recipe
from lnsim.sim.training.convert import mapped_layers
from lnsim.sim.training.make_optimiser import make_optimiser
from lnsim.sim.training.tally import GemmRecord
from lnsim.sim.workload.models import make_model
from torch.nn.functional import cross_entropy

SAMPLES = 2  # outputs of each GEMM: the longest k is 4608 and the oracle is slow


def test_sampled_outputs_of_two_steps_equal_the_oracle() -> None:
    """Every layer, forward, dx and dw, two steps of integer Madam on two images."""
    torch.manual_seed(0)
    recipe = lns_recipe()
    model = convert(make_model("resnet18", (3, 32, 32), 10, seed=0), recipe, strict=True)
    optimiser = make_optimiser(model, recipe)
    pick = random.Random(0)
    checked: dict[tuple[str, str], int] = {}

    def check(gemm: GemmRecord) -> None:
        for _ in range(SAMPLES):
            i, j = pick.randrange(gemm.acc.shape[0]), pick.randrange(gemm.acc.shape[1])
            row, column = gemm.a.code[i].tolist(), gemm.b.code[:, j].tolist()
            expected, _ = dot(row, gemm.a.fmt, column, gemm.b.fmt, gemm.datapath)  # type: ignore[arg-type]
            assert gemm.acc[i, j] == expected, (gemm.layer, gemm.phase, i, j)
            key = (gemm.layer, gemm.phase)
            checked[key] = checked.get(key, 0) + 1

    model.tally.on_gemm = check  # type: ignore[union-attr]
    before = [layer.weight_code.clone() for layer in mapped_layers(model)]
    for _ in range(2):
        optimiser.zero_grad()
        images = torch.randn(2, 3, 32, 32)
        loss = cross_entropy(model(images), torch.tensor([1, 2]))
        assert bool(torch.isfinite(loss))
        loss.backward()
        optimiser.step()
    layers = mapped_layers(model)
    assert len(layers) == 21
    assert len(checked) == 3 * 21 - 1  # the stem's input needs no gradient
    assert all(count == 2 * SAMPLES for count in checked.values())
    moved = [not torch.equal(a, b.weight_code) for a, b in zip(before, layers, strict=True)]
    assert all(moved)
