"""Networks by name as workloads: published architectures without weights, and lnsim's own.

The layers are built on PyTorch's meta device, which holds shapes only, and traced like any model.
Dropout is left out. Sources: ResNet, He et al., CVPR 2016, as torchvision lays it out (stride in
the 3x3 convolution); BERT, Devlin et al., NAACL 2019, with a question-answering head; GPT with 1.7
billion parameters: 24 layers, width 2304, 24 heads, vocabulary 51200, a configuration recalled from
Narayanan et al., SC 2021, and not confirmed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, relu, scaled_dot_product_attention

from ...lns.checks import require_int
from . import catalog
from .catalog import costed_name
from .models import BasicBlock, ResNet, make_model, mlp, resnet18, shortcut
from .models import cnn as small_cnn
from .trace import trace_step
from .workload import Workload


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with batch norms and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual + shortcut); x (N, C, H, W)."""
        y = relu(self.norm1(self.conv1(x)))
        y = relu(self.norm2(self.conv2(y)))
        return relu(self.norm3(self.conv3(y)) + self.shortcut(x))


class Block(nn.Module):
    """Self-attention and a two-layer perceptron; norms before ("pre") or after each."""

    def __init__(self, width: int, heads: int, pre: bool) -> None:
        super().__init__()
        self.heads, self.pre = heads, pre
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def attend(self, x: Tensor) -> Tensor:
        """Return the attention's output; x (N, L, width)."""
        n, length, width = x.shape
        parts = (
            layer(x).view(n, length, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        y = scaled_dot_product_attention(*parts)
        return self.out(y.transpose(1, 2).reshape(n, length, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, L, width)."""
        if self.pre:
            x = x + self.attend(self.norm1(x))
            return x + self.down(gelu(self.up(self.norm2(x))))
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.down(gelu(self.up(x))))


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a head of `outputs` per token.

    A causal mask changes no shape and is left out: the products of masked pairs are counted, as a
    dense array computes them.
    """

    def __init__(
        self, layers: int, width: int, heads: int, words: int, places: int, outputs: int, pre: bool
    ) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(places, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, pre) for _ in range(layers)))
        self.head = nn.Linear(width, outputs)
        self.pre = pre

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return (N, L, outputs); tokens and places (N, L)."""
        x = self.words(tokens) + self.places(places)
        if self.pre:
            return self.head(self.norm(self.blocks(x)))
        return self.head(self.blocks(self.norm(x)))


def _spans(scores: Tensor) -> Tensor:
    """Cross-entropy of the first and the last token of an answer, over the sequence."""
    places = torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device)
    return cross_entropy(scores[..., 0], places) + cross_entropy(scores[..., 1], places)


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], list[Tensor]]  #: batch -> tensors
    loss: Callable[[Tensor], Tensor] | None = None


def _images(side: int, channels: int = 3) -> Callable[[int], list[Tensor]]:
    return lambda batch: [torch.empty(batch, channels, side, side)]


def _tokens(length: int) -> Callable[[int], list[Tensor]]:
    return lambda batch: [torch.zeros(batch, length, dtype=torch.long) for _ in range(2)]


def _bert(layers: int, width: int, heads: int) -> Callable[[], nn.Module]:
    return lambda: Transformer(layers, width, heads, 30522, 512, 2, pre=False)


#: built by name; catalog.NETWORKS says what they are
NETWORKS: dict[str, Network] = {
    "resnet18-imagenet": Network(lambda: ResNet(BasicBlock, (2, 2, 2, 2)), _images(224)),
    "resnet50": Network(lambda: ResNet(Bottleneck, (3, 4, 6, 3)), _images(224)),
    "bert-base": Network(_bert(12, 768, 12), _tokens(384), _spans),
    "bert-large": Network(_bert(24, 1024, 16), _tokens(384), _spans),
    "gpt-1.7b": Network(
        lambda: Transformer(24, 2304, 24, 51200, 2048, 51200, pre=True), _tokens(2048)
    ),
    "resnet18-cifar": Network(lambda: resnet18((3, 32, 32), 10), _images(32)),
    "mlp": Network(lambda: mlp((1, 28, 28), 10), _images(28, 1)),
    "cnn": Network(lambda: small_cnn((1, 28, 28), 10), _images(28, 1)),
}


def network_workload(name: str, batch: int = 1) -> Workload:
    """Return the training step of a network in NETWORKS on `batch` samples.

    An unknown name raises ValueError listing the known ones.
    """
    name = costed_name(name)
    network = NETWORKS[name]
    require_int("batch", batch, 1, 1 << 20)
    with torch.device("meta"):
        model = network.build()
        inputs = network.inputs(batch)
    workload = trace_step(model, inputs, network.loss, name=name)
    samples = "one sample" if batch == 1 else f"{batch} samples"
    return replace(workload, note=f"{catalog.NETWORKS[name]}, {samples}")


@lru_cache(maxsize=32)
def run_workload(model: str, image: tuple[int, ...], classes: int, batch: int) -> Workload:
    """Return the training step of a network in models.MODELS on a batch of images (C, H, W)."""
    images = torch.empty(batch, *image, device="meta")
    return trace_step(make_model(model, image, classes, seed=0), images, name=model)
