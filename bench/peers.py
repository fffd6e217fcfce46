"""Other emulators on the same work, where they are installed (`pip install lnsim[bench]`).

Every peer multiplies two SIZE x SIZE matrices; the ratio is to torch.matmul in fp32 in the same
run, as everywhere here. What each one rounds differs, and its line says what it is.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from .harness import compare, set_threads

SIZE = 128
Make = Callable[[Any, Any], Callable[[], Any]]


def _apytypes(x: Any, y: Any) -> Callable[[], Any]:
    import apytypes

    a, b = (apytypes.APyFloatArray.from_float(m.tolist(), 4, 3) for m in (x, y))

    def product() -> Any:
        with apytypes.APyFloatAccumulatorContext(exp_bits=5, man_bits=10):
            return a @ b

    return product


def _ml_dtypes_steps(x: Any, y: Any) -> Callable[[], Any]:
    import ml_dtypes

    a, b = (m.astype(ml_dtypes.bfloat16) for m in (x, y))

    def product() -> Any:
        acc = np.zeros((SIZE, SIZE), ml_dtypes.bfloat16)
        for k in range(SIZE):
            acc = acc + a[:, k : k + 1] * b[k]
        return acc

    return product


def _ml_dtypes_operands(x: Any, y: Any) -> Callable[[], Any]:
    import ml_dtypes

    def product() -> Any:
        a, b = (m.astype(ml_dtypes.float8_e4m3fn).astype(np.float32) for m in (x, y))
        return a @ b

    return product


def _gfloat(x: Any, y: Any) -> Callable[[], Any]:
    import gfloat
    from gfloat.formats import format_info_ocp_e4m3

    def product() -> Any:
        a, b = (gfloat.round_ndarray(format_info_ocp_e4m3, m.astype(np.float64)) for m in (x, y))
        return a @ b

    return product


def _xlns(x: Any, y: Any) -> Callable[[], Any]:
    import xlns

    xlns.xlnssetF(10)
    a, b = xlns.xlnsnp(x.astype(np.float64)), xlns.xlnsnp(y.astype(np.float64))

    def product() -> Any:
        acc = a[:, 0:1] * b[0:1, :]
        for k in range(1, SIZE):
            acc = acc + a[:, k : k + 1] * b[k : k + 1, :]
        return acc

    return product


PEERS: dict[str, tuple[str, str, Make]] = {
    "apytypes-e4m3-fp16": ("apytypes", "E4M3 products, fp16 accumulator each step", _apytypes),
    "ml_dtypes-bf16-steps": ("ml_dtypes", "product and sum rounded to bf16", _ml_dtypes_steps),
    "ml_dtypes-e4m3-operands": ("ml_dtypes", "operands alone rounded", _ml_dtypes_operands),
    "gfloat-e4m3-operands": ("gfloat", "operands alone rounded", _gfloat),
    "xlns-f10": ("xlns", "logarithmic sums, ideal adder, 10 fraction bits", _xlns),
}


def run_peer(name: str, threads: int, repeats: int, seed: int) -> dict[str, Any] | None:
    """Time a peer; None where it is not installed."""
    package, what, make = PEERS[name]
    if find_spec(package) is None:
        return None
    set_threads(threads)
    generator = np.random.default_rng(seed)
    x, y = (generator.standard_normal((SIZE, SIZE)).astype(np.float32) for _ in range(2))
    left, right = torch.from_numpy(x), torch.from_numpy(y)
    found = compare(make(x, y), lambda: torch.matmul(left, right), repeats, least=0.005)
    return {
        "case": f"peer-{name}",
        "what": what,
        "threads": threads,
        "shape": [SIZE] * 3,
        **{key: found[key] for key in ("ours_s", "torch_fp32_s", "ratio")},
        "gmac_per_s": SIZE**3 / found["ours_s"]["median"] / 1e9,
    }
