"""The networks that come with lnsim, in plain PyTorch, initialised from a seed."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from .catalog import trained_name

Shape = tuple[int, ...]


def mlp(input_shape: Shape, classes: int) -> nn.Module:
    """Two hidden layers: 256 and 128 for 784 inputs and more, 64 and 32 below."""
    inputs = math.prod(input_shape)
    first, second = (256, 128) if inputs >= 784 else (64, 32)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, classes),
    )


def cnn(input_shape: Shape, classes: int) -> nn.Module:
    """Two 3x3 convolutions (16 and 32 channels), each halved by pooling, and one linear layer."""
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), classes),
    )


def shortcut(inputs: int, outputs: int, stride: int, affine: bool = True) -> nn.Module:
    """A residual block's way around its convolutions."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, affine=affine)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; affine: do the batch norms have gain and shift?"""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int, affine: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, affine=affine)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, affine=affine)
        self.shortcut = shortcut(inputs, outputs, stride, affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual + shortcut); x (N, C, H, W)."""
        y = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Four stages of residual blocks, for 224x224 colour images or, `small`, in their CIFAR form.

    small: a 3x3 stem, no first pooling, and batch norms without gain or shift, as in the CIFAR
    recipe of Madam (arXiv 2006.14560): a multiplicative update cannot move a shift that starts at
    zero.
    """

    def __init__(
        self, block: Any, depths: Shape, channels: int = 3, classes: int = 1000, small: bool = False
    ) -> None:
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.stem = nn.Conv2d(channels, 64, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(64, affine=not small)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        own = {"affine": False} if small else {}
        blocks: list[nn.Module] = []
        inputs = 64
        for stage, depth in enumerate(depths):
            for index in range(depth):
                width = 64 << stage
                blocks.append(block(inputs, width, 2 if stage and not index else 1, **own))
                inputs = width * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of images (N, C, H, W)."""
        y = self.blocks(self.pool(relu(self.norm(self.stem(x)))))
        return self.head(y.mean((2, 3)))


def resnet18(input_shape: Shape, classes: int) -> nn.Module:
    """ResNet-18, CIFAR form."""
    return ResNet(BasicBlock, (2, 2, 2, 2), input_shape[0], classes, small=True)


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet18-cifar": resnet18,
}


def make_model(name: str, input_shape: Shape, classes: int, seed: int) -> nn.Module:
    """Return the network `name` for images of `input_shape` (C, H, W), initialised from `seed`.

    PyTorch's own initialisation; the global generator is left as it was. An unknown name raises
    ValueError listing the known ones.
    """
    build = MODELS[trained_name(name)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(input_shape, classes)
