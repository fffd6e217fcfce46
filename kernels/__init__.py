"""Bit-exact kernels on Numba: the GEMM of codes, encoding, decoding."""

from .cpu.runtime.cache import FOLDER, announce_compilation, drop_stale

drop_stale(FOLDER)  # before the first kernel is loaded
announce_compilation()

from .backends import BACKENDS, Backend, EncodeCounts, get_backend
from .codes import decode, move_codes, quantise, requantise
from .matmul import matmul, matmul_counted, matmul_real
from .mx import matmul_mx
from .operands import Gathered, Matrix, Pattern, Place, evenly, plain_array, with_code

__all__ = [
    "BACKENDS",
    "Backend",
    "EncodeCounts",
    "Gathered",
    "Matrix",
    "Pattern",
    "Place",
    "decode",
    "evenly",
    "get_backend",
    "matmul",
    "matmul_counted",
    "matmul_mx",
    "matmul_real",
    "move_codes",
    "plain_array",
    "quantise",
    "requantise",
    "with_code",
]
