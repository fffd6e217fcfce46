"""Bit-exact kernels on Numba: the GEMM of codes, encoding, decoding."""

from .cpu.runtime.cache import FOLDER, announce_compilation, drop_stale, keep_plain_apart

drop_stale(FOLDER)  # before the first kernel is loaded
keep_plain_apart(FOLDER)
announce_compilation()

from .backends import BACKENDS, Backend, EncodeCounts, get_backend
from .cpu.codes.decode import to_float32
from .cpu.codes.madam import move_codes
from .cpu.codes.quantise import quantise
from .cpu.codes.requantise import requantise_fast
from .cpu.gemm.gather import Pattern
from .matmul import matmul, matmul_counted, matmul_log, matmul_real
from .operands import Gathered, Matrix, Place, evenly, plain_array, with_code

__all__ = [
    "BACKENDS",
    "Backend",
    "EncodeCounts",
    "Gathered",
    "Matrix",
    "Pattern",
    "Place",
    "evenly",
    "get_backend",
    "matmul",
    "matmul_counted",
    "matmul_log",
    "matmul_real",
    "move_codes",
    "plain_array",
    "quantise",
    "requantise_fast",
    "to_float32",
    "with_code",
]
