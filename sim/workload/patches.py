"""How many different words of an image a convolution's tile needs.

The patch matrix has a row per output place (images, rows, columns) and a column per channel and
tap. A tile of it is cut from the image with its halo: neighbouring tiles fetch the rows they share
twice. Padding is not stored. What is counted is a whole number of image rows where a tile has more
than one output row, and whole channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Patch:
    """Geometry of a patch matrix. `spread`: words of the image are one in so many (errors spread by
    a stride have zeros between them, which are not fetched)."""

    out_width: int
    in_width: int
    kernel: tuple[int, int]  #: rows and columns a patch extends over, dilation included
    stride: tuple[int, int]
    taps: int  #: elements of a patch per channel
    spread: int = 1

    def words(self, places: Any, elements: Any) -> Any:
        """Return the words of a tile of `places` rows and `elements` columns (ints or arrays)."""
        places, elements = np.asarray(places, np.int64), np.asarray(elements, np.int64)
        (high, wide), (down, along) = self.kernel, self.stride
        rows = (-(-places // self.out_width) - 1) * down + high
        part = high * np.minimum((places - 1) * along + wide, self.in_width)
        area = np.where(places >= self.out_width, rows * self.in_width, part)
        channels = -(-elements // self.taps)
        return np.minimum(channels * -(-area // self.spread), places * elements)

    def tallest(self, words: int, elements: Any) -> Any:
        """Return the most places whose tile of `elements` columns has at most so many words."""
        elements = np.asarray(elements, np.int64)
        (high, wide), (down, along) = self.kernel, self.stride
        area = words // -(-elements // self.taps) * self.spread
        rows = (area // self.in_width - high) // down + 1
        part = np.minimum((area // high - wide) // along + 1, self.out_width - 1)
        both = np.maximum(np.maximum(rows, 0) * self.out_width, np.maximum(part, 0))
        return np.maximum(both, words // elements)


Sizes = Sequence[int]


def _pair(values: Sizes) -> tuple[int, int]:
    """(rows, columns) of one or two numbers."""
    return (1, values[0]) if len(values) == 1 else (values[-2], values[-1])


def plain_patch(out: Any, image: Any, weight: Any, stride: Sizes, dilation: Sizes) -> Patch | None:
    """Return the geometry of patches of `image` at the places of `out`; None in three dimensions.

    Arguments are anything with a shape: (N, C, H, W) or (N, C, L); weight (., ., kernel...).
    """
    if len(weight.shape) > 4:
        return None
    taps = _pair(weight.shape[2:]) if len(weight.shape) > 3 else (1, weight.shape[2])
    apart, (down, along) = _pair(dilation), _pair(stride)
    if len(weight.shape) == 3:
        apart, down = (1, apart[1]), 1
    kernel = ((taps[0] - 1) * apart[0] + 1, (taps[1] - 1) * apart[1] + 1)
    return Patch(out.shape[-1], image.shape[-1], kernel, (down, along), taps[0] * taps[1])


def spread_patch(out: Any, image: Any, weight: Any, stride: Sizes, dilation: Sizes) -> Patch | None:
    """Return the geometry where `image` is spread by `stride` first: a transposed convolution."""
    plain = plain_patch(out, image, weight, stride, dilation)
    if plain is None:
        return None
    down, along = plain.stride
    width = (image.shape[-1] - 1) * along + 1
    return replace(plain, in_width=width, stride=(1, 1), spread=down * along)
