"""Images of codes as the matrices that a convolution multiplies, read where they lie."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...kernels import Gathered, Pattern, Place, with_code
from ...lns.array import CodeArray

Codes = npt.NDArray[Any]
Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
Pair = tuple[int, int]
Shape = tuple[Pair, Pair, Pair]  # kernel, stride, dilation
Places = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]


def padded(code: Codes, pads: Pads) -> Codes:
    """Return codes (N, C, H, W), contiguous, with zero codes added; a negative pad crops."""
    (top, bottom), (left, right) = pads
    height, width = code.shape[2:]
    code = code[
        :, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)
    ]
    top, bottom, left, right = (max(side, 0) for side in (top, bottom, left, right))
    if not (top or bottom or left or right):
        return np.ascontiguousarray(code)
    n, c, height, width = code.shape
    wide = np.zeros((n, c, top + height + bottom, left + width + right), code.dtype)
    wide[:, :, top : top + height, left : left + width] = code
    return wide


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


def patches(code: Codes, array: CodeArray, shape: Shape, first: int, count: int) -> Gathered:
    """The matrix (N * OH * OW, count * KH * KW) of padded codes (N, C, H, W), from channel `first`.

    array: the codes' format and scale.
    """
    pattern = _patch_pattern(code.shape, shape, count)
    return Gathered.of(with_code(array, code), pattern.shifted(first * _plane(code.shape)))


def channels(array: CodeArray, first: int, count: int) -> Gathered:
    """The matrix (count, N * H * W) of codes (N, C, H, W), from channel `first`."""
    pattern = _channel_pattern(array.shape, count)
    return Gathered.of(array, pattern.shifted(first * _plane(array.shape)))


def image_place(memory: Array, first: int, count: int) -> Place:
    """Where (N * H * W, count) goes in images (N, C, H, W), from channel `first`."""
    n, c, height, width = memory.shape
    rows = positions(n, c * height * width, (height, width), width, 1)
    columns = (first + np.arange(count)) * (height * width)
    return Place(memory.reshape(-1), rows, columns, False)


def spread(code: Codes, stride: Pair, extra: Pair) -> Codes:
    """Return errors (N, C, OH, OW) with stride - 1 zero codes between and `extra` at the end."""
    n, c, height, width = code.shape
    if stride == (1, 1) and extra == (0, 0):
        return code
    wide = np.zeros(
        (n, c, (height - 1) * stride[0] + 1 + extra[0], (width - 1) * stride[1] + 1 + extra[1]),
        code.dtype,
    )
    wide[
        :, :, : (height - 1) * stride[0] + 1 : stride[0], : (width - 1) * stride[1] + 1 : stride[1]
    ] = code
    return wide
