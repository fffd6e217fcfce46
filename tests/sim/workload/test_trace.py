"""Workloads from PyTorch models: every GEMM by hand, roles, names, words that move."""

import pytest
import torch
from lnsim.sim import trace_step
from lnsim.sim.workload.networks import NETWORKS, network_workload
from lnsim.sim.workload.workload import (
    Gemm,
    Tensor,
    VectorOp,
    Workload,
    training_triple,
    workload_of_layers,
)
from torch import nn


def shapes(workload: Workload) -> list[tuple[str, str, int, int, int, int, str, str]]:
    """What tells GEMMs apart."""
    return [
        (g.layer, g.phase, g.M, g.N, g.K, g.count, g.a_role[0], g.b_role[0]) for g in workload.gemms
    ]


def ops(workload: Workload, name: str, phase: str) -> list[VectorOp]:
    """Operations of the vector unit."""
    return [op for op in workload.vector if op.name == name and op.phase == phase]


def test_a_perceptron_by_hand() -> None:
    """Two layers on a batch of 4: the first needs no input gradient."""
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    workload = trace_step(model, torch.zeros(4, 6))
    assert shapes(workload) == [
        ("0", "forward", 4, 5, 6, 1, "a", "w"),
        ("2", "forward", 4, 3, 5, 1, "a", "w"),
        ("2", "dx", 4, 5, 3, 1, "e", "w"),
        ("2", "dw", 3, 5, 4, 1, "e", "a"),
        ("0", "dw", 5, 6, 4, 1, "e", "a"),
    ]
    assert workload.parameters == 6 * 5 + 5 + 5 * 3 + 3
    assert set(workload.tensors) == {
        Tensor("0", "forward", "weight", 30),
        Tensor("2", "forward", "weight", 15),
        Tensor("0", "forward", "activation", 24, far=True, kept=True),
        Tensor("2", "forward", "activation", 20, kept=True),
        Tensor("2", "dx", "error", 12),
        Tensor("0", "dw", "error", 20),
        Tensor("2", "dw", "gradient", 15),
        Tensor("0", "dw", "gradient", 30),
    }
    (relu,) = ops(workload, "relu", "forward")
    assert relu.arithmetic == (("compare", 20),)
    assert (relu.reads, relu.near_reads, relu.writes) == (0, 20, 1)  # 20 bits in one word
    (back,) = ops(workload, "threshold_backward", "dx")
    assert (back.reads, back.near_reads) == (1, 20)
    assert workload.uncounted == ()


def test_a_convolution_by_hand() -> None:
    """Stride 2, groups, a bias: M counts places, K taps; dx walks the spread errors."""
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Conv2d(6, 2, 1, stride=2)
    )
    workload = trace_step(
        model, torch.zeros(2, 4, 8, 8), loss=lambda y: y.square().sum(), name="convs"
    )
    assert shapes(workload) == [
        ("0", "forward", 32, 3, 18, 2, "a", "w"),
        ("1", "forward", 8, 2, 6, 1, "a", "w"),
        ("1", "dx", 32, 6, 2, 1, "e", "w"),
        ("1", "dw", 2, 6, 8, 1, "e", "a"),
        ("0", "dw", 3, 18, 32, 2, "e", "a"),
    ]
    first, last = workload.gemms[0], workload.gemms[-1]
    assert first.a_words == 2 * 2 * 8 * 8  # a group's channels, each element once
    assert last.b_words == first.a_words
    assert workload.gemms[1].a_words == 8 * 6  # a 1x1 kernel with stride skips the rest


class Attention(nn.Module):
    """One head, no scaling: q k^T v."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, L, 4)."""
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return nn.functional.softmax(scores, -1) @ self.v(x)


def test_attention_products_have_no_weight() -> None:
    """Both operands are activations; backward has two input gradients for each, and the shared
    input is encoded once."""
    workload = trace_step(Attention(), torch.zeros(2, 3, 4), loss=lambda y: y.sum())
    inner = [row for row in shapes(workload) if row[5] == 2]
    assert [row[1] for row in inner] == ["forward"] * 2 + ["dx"] * 4
    assert {row[6] + row[7] for row in inner[:2]} == {"aa"}
    assert {"".join(sorted(row[6] + row[7])) for row in inner[2:]} == {"ae"}
    assert sorted(row[0] for row in shapes(workload) if row[1] == "dw") == ["k", "q", "v"]
    inputs = [t for t in workload.tensors if t.far]
    assert [(t.role, t.elements) for t in inputs] == [("activation", 24)]


def test_normalisation_reads_twice_and_saves_its_input() -> None:
    """A batch norm's input comes by way of the array, is written for backward, read again."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    workload = trace_step(model, torch.zeros(2, 1, 4, 4), loss=lambda y: y.sum())
    (norm,) = ops(workload, "native_batch_norm", "forward")
    assert (norm.near_reads, norm.again, norm.again_writes) == (64, 64, 0)
    (result,) = ops(workload, "result", "forward")
    assert result.writes == 64
    assert dict(norm.arithmetic)["multiply"] == 2 * 64 + 64 + 6 * 2  # with its gain
    assert dict(norm.arithmetic)["sqrt"] == 2
    plain = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, affine=False))
    (bare,) = ops(
        trace_step(plain, torch.zeros(2, 1, 4, 4), loss=lambda y: y.sum()),
        "native_batch_norm", "forward",
    )  # fmt: skip
    assert dict(bare.arithmetic)["multiply"] == 2 * 64 + 6 * 2


def test_a_residual_is_read_back() -> None:
    """The second operand of the sum was made earlier: it takes the way through DRAM."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return y + self.b(nn.functional.relu(y))

    workload = trace_step(Residual(), torch.zeros(2, 4), loss=lambda y: y.sum())
    (add,) = ops(workload, "add", "forward")
    assert (add.reads, add.near_reads) == (8, 8)


def test_unknown_operators_are_named() -> None:
    """Their words are counted, their arithmetic is listed as missing."""
    workload = trace_step(
        nn.Linear(4, 4), torch.zeros(2, 4), loss=lambda y: torch.special.bessel_j0(y.detach()).sum()
        + y.sum(),
    )  # fmt: skip
    assert workload.uncounted == ("special_bessel_j0",)


def test_the_model_is_left_alone() -> None:
    """Weights, gradients, hooks and mode are as before, and nothing is computed."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trace_step(model, torch.full((2, 4), float("nan")))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
    assert not model.training
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_what_cannot_be_traced() -> None:
    """A step without a GEMM, and a model that looks at values."""
    with pytest.raises(ValueError, match=r"^gemms must not be empty, got none in model$"):
        trace_step(nn.BatchNorm1d(3), torch.zeros(2, 3))

    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises((ValueError, RuntimeError), match="meta"):
        trace_step(nn.Sequential(nn.Linear(3, 3), Looks()), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("name", "gmacs", "millions"),
    [("resnet18", 1.814, 11.690), ("resnet50", 4.089, 25.557), ("bert-base", 35.333, 108.892),
     ("bert-large", 123.213, 334.092), ("gpt-1.7b", 3836.480, 1770.247)],
)  # fmt: skip
def test_published_networks(name: str, gmacs: float, millions: float) -> None:
    """MACs of the forward pass of one sample and parameters; torchvision states 1.814 and 4.089
    GMAC, 11.69 and 25.56 M parameters for the two ResNets."""
    workload = network_workload(name)
    assert workload.forward_macs / 1e9 == pytest.approx(gmacs, abs=5e-4)
    assert workload.parameters / 1e6 == pytest.approx(millions, abs=5e-4)
    assert workload.uncounted == ()
    assert 2.9 * workload.forward_macs < workload.macs < 3.6 * workload.forward_macs


def test_a_batch_scales_the_gemms() -> None:
    """Twice the samples, twice the products; an unknown network lists the known ones."""
    assert network_workload("cnn", 6).macs == 2 * network_workload("cnn", 3).macs
    with pytest.raises(ValueError, match=r"^model must be one of bert-base, .+, got 'vgg'$"):
        network_workload("vgg")
    assert len(NETWORKS) == 8


def test_layers_known_by_shape_alone() -> None:
    """The triple of a layer transposes as Linear does; every tensor is encoded once."""
    forward = Gemm("fc", "forward", 4, 5, 6, a_words=20)
    assert [(g.phase, g.M, g.N, g.K, g.a_words, g.b_words) for g in training_triple(forward)] == [
        ("forward", 4, 5, 6, 20, 30),
        ("dx", 4, 6, 5, 20, 30),
        ("dw", 5, 6, 4, 20, 20),
    ]
    workload = workload_of_layers("two", [forward, Gemm("out", "forward", 4, 2, 5)])
    assert [g.phase for g in workload.gemms] == ["forward", "dw", "forward", "dx", "dw"]
    assert workload.parameters == 30 + 10
    assert workload.macs == 2 * 120 + 3 * 40


def test_masked_and_merged_weights_are_weights() -> None:
    """What is computed from weights alone is one; its gradient product is a weight gradient."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3, bias=False)
            self.a, self.b = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2, 4))
            self.register_buffer("mask", torch.ones(3, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.inner.weight * self.mask + self.a @ self.b
            return nn.functional.linear(x, weight)

    workload = trace_step(Masked(), torch.zeros(5, 4))
    main = [row for row in shapes(workload) if {row[2], row[3], row[4]} == {3, 4, 5}]
    assert [(row[1], row[6] + row[7]) for row in main] == [("forward", "aw"), ("dw", "ea")]
    assert workload.parameters == 12 + 6 + 8


def test_every_gradient_is_written_once() -> None:
    """A weight shared by two layers has one gradient; biases and gains write theirs as words."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.inner(nn.functional.relu(self.inner(x))))

    workload = trace_step(Twice(), torch.zeros(3, 4))
    assert [t.elements for t in workload.tensors if t.role == "gradient"] == [16]
    assert workload.parameters == 16 + 4 + 8
    written = sum(op.writes for op in workload.vector if op.phase == "dw")
    assert written >= 4 + 8


def test_tied_weights_are_one() -> None:
    """An embedding that is the head's weight too is stored, encoded and moved once."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
            self.head.weight = self.words.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.words(tokens))

    workload = trace_step(Tied(), torch.zeros(2, 3, dtype=torch.long))
    assert workload.parameters == 40
    assert [t.elements for t in workload.tensors if t.role == "weight"] == [40]


def test_inputs_by_name() -> None:
    """A mapping gives keyword arguments."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * scale

    batch = {"scale": torch.zeros(1), "x": torch.zeros(2, 4)}
    assert len(trace_step(Named(), batch).gemms) == 2


@pytest.mark.parametrize(
    "loss",
    [
        lambda y: nn.functional.cross_entropy(y, torch.zeros(2, dtype=torch.long, device="cpu")),
        lambda y: y,
        lambda y: (y.sum(), 1),
        lambda y: y.sum().item(),
        lambda y: y["scores"].sum(),
        lambda y: y.detach().sum(),
    ],
)
def test_a_loss_that_cannot_be_traced(loss: object) -> None:
    """Targets on the CPU, no scalar, a tuple, a value, another output, no gradient: one line."""
    with pytest.raises(ValueError, match=r"^model and loss must run on meta tensors, .+, got \w+:"):
        trace_step(nn.Linear(3, 3), torch.zeros(2, 3), loss=loss)  # type: ignore[arg-type]


def test_checkpointing_is_refused() -> None:
    """Layers that run again in the backward pass would be taken for something else."""
    from torch.utils.checkpoint import checkpoint

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.inner, x, use_reentrant=False)

    with pytest.raises(ValueError, match=r"^model must not run layers again in the backward pass"):
        trace_step(Again(), torch.zeros(2, 4))
