"""The networks that come with lnsim, in plain PyTorch, initialised from a seed."""

import math
from collections.abc import Callable

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


class ResNet18(nn.Module):
    """ResNet-18 in its CIFAR form: a 3x3 stem, no first pooling, four stages of two blocks.

    Batch norms carry no gain or shift, as in the CIFAR recipe of Madam (arXiv 2006.14560): a
    multiplicative update cannot move a shift that starts at zero.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(64, affine=False)
        blocks, width = [], 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks.append(BasicBlock(width, outputs, stride, affine=False))
            blocks.append(BasicBlock(outputs, outputs, 1, affine=False))
            width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of images (N, C, H, W)."""
        y = self.blocks(relu(self.norm(self.stem(x))))
        return self.head(y.mean((2, 3)))


def resnet18(input_shape: Shape, classes: int) -> nn.Module:
    """ResNet-18, CIFAR form."""
    return ResNet18(input_shape[0], classes)


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
