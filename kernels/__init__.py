"""Bit-exact kernels on Numba: the GEMM of codes, encoding, decoding."""

from .cache import FOLDER, drop_stale

drop_stale(FOLDER)  # before the first kernel is loaded

from .codec import EncodeCounts, quantise
from .matmul import matmul, matmul_counted
from .requantise import requantise_fast
from .values import to_float32

__all__ = [
    "EncodeCounts",
    "matmul",
    "matmul_counted",
    "quantise",
    "requantise_fast",
    "to_float32",
]
