"""The GEMM of codes: tables, packing, tiles, bounds, results."""
