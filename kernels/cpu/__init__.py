"""The CPU backend: Numba kernels for the GEMM of codes, encoding, decoding and Madam's step."""
