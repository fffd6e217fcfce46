"""Words of a: a factor, and where the panel's row begins that it multiplies, in 32 bits.

The factor is a float32 or the upper half of a float64, whichever the panel holds, so that it takes
no conversion; its low bits, which are zeros in every factor of a format, hold the offset.
"""

import numpy as np
import numpy.typing as npt

from ..ir.emit import UNITS, VECTOR_BYTES, VECTORS

_FEW = 0xFFFF  # offsets take no more bits than these


def words_of(
    factor: npt.NDArray[np.float64], row: npt.NDArray[np.int64], item_bytes: int
) -> dict[int, npt.NDArray[np.uint32]]:
    """The words of a's codes for every width of a block; see TermTable."""
    offset = row * (VECTOR_BYTES // UNITS[item_bytes])
    bits = _bits(factor, item_bytes)
    return {vectors: (bits | offset * vectors).astype(np.uint32) for vectors in VECTORS}


def low_bits(factor: npt.NDArray[np.float64], item_bytes: int) -> np.uint32:
    """The low bits that no factor has: its significand takes 16 bits of 24 or 21 at most."""
    bits = int(np.bitwise_or.reduce(_bits(factor, item_bytes)))
    return np.uint32(min((bits & -bits) - 1, _FEW) if bits else _FEW)


def _bits(factor: npt.NDArray[np.float64], item_bytes: int) -> npt.NDArray[np.uint32]:
    """The bits of a word that are the factor's."""
    if item_bytes == 4:
        return factor.astype(np.float32).view(np.uint32)
    return (factor.view(np.uint64) >> np.uint64(32)).astype(np.uint32)
