"""Numbers to codes, codes to codes, codes to numbers, and the step of stored ones: by any backend.

The functions here are those of `backends.Backend`, with the backend named as in `matmul`; they add
the name and nothing else, and each says what every backend gives.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray, LNSArray, Offset
from ..lns.format import Format, LNSFormat
from .backends import EncodeCounts, get_backend


def quantise(
    x: npt.ArrayLike,
    fmt: Format,
    offset: Offset | None = None,
    rounding: str = "nearest",
    generator: np.random.Generator | None = None,
    scaling: str = "none",
    random_bits: int = 8,
    backend: str = "cpu",
) -> tuple[Any, EncodeCounts]:
    """Return (`lns.encode(x, fmt, offset, rounding, generator, random_bits)`, its counts).

    x: float32 or float64, any shape; C-contiguous is fastest. scaling "amax" (float and integer
    formats, no offset given): the offset is `lns.amax_offset`, the smallest power of two for which
    nothing saturates; "none": `offset`, or `lns.encode`'s default. backend: as `matmul`. Raises
    what `lns.encode` raises: NonFiniteError for a NaN or infinity in an LNS or integer format (and
    wherever a scale is sought), ValueError and TypeError for other arguments.
    """
    how = rounding, generator, scaling, random_bits
    return get_backend(backend).quantise(x, fmt, offset, *how)


def requantise(
    array: LNSArray, fmt: LNSFormat, offset: Offset | None = None, backend: str = "cpu"
) -> tuple[LNSArray, EncodeCounts]:
    """Return (`lns.requantise(array, fmt, offset)`, its counts).

    offset None: the smallest multiple of fmt.gamma for which nothing saturates, 0 for all zero.
    backend: as `matmul`. Raises TypeError for another kind of array or format, and what
    `lns.requantise` raises for an offset.
    """
    return get_backend(backend).requantise(array, fmt, offset)


def decode(array: CodeArray, backend: str = "cpu") -> npt.NDArray[np.float32]:
    """Return the float32 nearest to each value (ties to even), in the array's shape.

    Too small gives zero; infinities and NaNs of a FloatFormat stay. backend: as `matmul`. A finite
    value beyond float32's range raises OverflowError naming the first index.
    """
    value: npt.NDArray[np.float32] = get_backend(backend).decode(array)
    return value


def move_codes(
    code: npt.NDArray[np.int32],
    gradient: npt.NDArray[np.float32],
    v: npt.NDArray[np.float32],
    step: int,
    lr_factor: float,
    exponent_bits: int,
    beta2: float = 0.999,
    g_bound: float = 10.0,
    backend: str = "cpu",
) -> tuple[int, int, int] | None:
    """One step of integer Madam on `code` and `v`, in place; C-contiguous, of one shape.

    code: LNS codes without zero, `sign << E | e`; step counts from 1. Returns how many elements had
    the undefined direction 0/0, passed the top exponent and passed the lowest (both are clamped);
    None, with nothing written, if the gradient is not finite everywhere. backend: as `matmul`.
    Raises TypeError for arrays of another dtype, ValueError for other shapes and layouts, memory
    that cannot be written, and numbers out of range: step below 1, exponent_bits outside 2..15,
    beta2 outside 0..1, g_bound not above 0, lr_factor negative, either beyond float32.
    """
    numbers = step, lr_factor, exponent_bits, beta2, g_bound
    return get_backend(backend).move(code, gradient, v, *numbers)
