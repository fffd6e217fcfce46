"""Words of a: a factor, and where the panel's row begins that it multiplies, in 32 bits.

The factor is a float32; its low bits, which are zeros in every factor of a format, hold the offset.
"""

import numpy as np
import numpy.typing as npt

from .emit import VECTOR_BYTES, VECTORS

UNIT = 8  # bytes, of an offset in a word


def words_of(
    factor: npt.NDArray[np.float64], row: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[np.uint32]]:
    """The words of a's codes for every width of a block; see TermTable."""
    bits = factor.astype(np.float32).view(np.uint32)
    offset = row * (VECTOR_BYTES // UNIT)
    return {vectors: (bits | offset * vectors).astype(np.uint32) for vectors in VECTORS}


def low_bits(factor: npt.NDArray[np.float64]) -> np.uint32:
    """The low bits that no factor has as a float32: 24 bits of significand, 16 at most."""
    bits = int(np.bitwise_or.reduce(factor.astype(np.float32).view(np.uint32)))
    return np.uint32(min((bits & -bits) - 1, 0xFFFF) if bits else 0xFFFF)
