"""Images of codes as the matrices that a convolution multiplies, read where they lie."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...kernels import Matrix, Pattern, Place
from ...lns.array import CodeArray
from .operands import Layer

Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
Pair = tuple[int, int]
Shape = tuple[Pair, Pair, Pair]  # kernel, stride, dilation
Places = npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def positions(images: int, image_step: int, out: Pair, row_step: int, step: int) -> Places:
    """Offsets of (image, row, column): image * image_step + row * row_step + column * step."""
    n, y, x = np.ogrid[:images, : out[0], : out[1]]
    at: Places = (n * image_step + y * row_step + x * step).reshape(-1).astype(np.int64)
    return at


def _plane(sizes: tuple[int, ...]) -> int:
    """Elements of one channel of one image of (N, C, H, W)."""
    return sizes[2] * sizes[3]


@lru_cache(maxsize=64)
def _patch_pattern(sizes: tuple[int, ...], shape: Shape, count: int) -> Pattern:
    """Where the patches of the first channels of (N, C, H, W) lie: see `patches`."""
    n, c, height, width = sizes
    (kernel, stride, dilation) = shape
    out = tuple(
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    )
    plane = height * width
    rows = positions(n, c * plane, (out[0], out[1]), stride[0] * width, stride[1])
    k_at = positions(count, plane, kernel, dilation[0] * width, dilation[1])
    return Pattern(rows, k_at)


@lru_cache(maxsize=64)
def _channel_pattern(sizes: tuple[int, ...], count: int) -> Pattern:
    """Where the first channels of (N, C, H, W) lie: see `channels`."""
    n, c, height, width = sizes
    plane = height * width
    rows = np.arange(count) * plane
    return Pattern(rows, positions(n, c * plane, (height, width), width, 1))


def padded(layer: Layer, codes: CodeArray, pads: Pads) -> CodeArray:
    """Codes (N, C, H, W) with zero codes around them; a negative pad crops."""
    wide: CodeArray = layer.backend.pad(codes, pads)
    return wide


def spread(layer: Layer, codes: CodeArray, stride: Pair, extra: Pair) -> CodeArray:
    """Errors (N, C, OH, OW) with stride - 1 zero codes between them and `extra` at the end."""
    wide: CodeArray = layer.backend.spread(codes, stride, extra)
    return wide


def kernels(layer: Layer, weight: CodeArray, first: int, count: int) -> CodeArray:
    """The matrix (count, I KH KW) of weights (O, I, KH, KW), from output channel `first`."""
    rows: CodeArray = layer.backend.matrix(weight, first, count)
    return rows


def turned_kernels(layer: Layer, weight: CodeArray, first: int, count: int) -> CodeArray:
    """The matrix (count KH KW, I) of the same weights, each kernel turned by 180 degrees."""
    rows: CodeArray = layer.backend.turned_kernel(weight, first, count)
    return rows


def patches(layer: Layer, wide: CodeArray, shape: Shape, first: int, count: int) -> Matrix:
    """The matrix (N * OH * OW, count * KH * KW) of padded codes, from channel `first`."""
    pattern = _patch_pattern(wide.shape, shape, count)
    return layer.backend.patches(wide, pattern.shifted(first * _plane(wide.shape)))


def channels(layer: Layer, codes: CodeArray, first: int, count: int) -> Matrix:
    """The matrix (count, N * H * W) of codes (N, C, H, W), from channel `first`."""
    pattern = _channel_pattern(codes.shape, count)
    return layer.backend.patches(codes, pattern.shifted(first * _plane(codes.shape)))


def image_place(layer: Layer, images: Tensor, first: int, count: int) -> Place:
    """Where (N * H * W, count) goes in images (N, C, H, W), contiguous, from channel `first`."""
    n, c, height, width = images.shape
    rows = positions(n, c * height * width, (height, width), width, 1)
    columns = (first + np.arange(count)) * (height * width)
    return Place(layer.backend.asarray(images).reshape(-1), rows, columns, False)
