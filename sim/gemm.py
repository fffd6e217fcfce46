"""The two doors between tensors and the simulated hardware: encoding, and the GEMM of codes."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels import matmul_counted, quantise
from ..lns.array import CodeArray, FloatArray, IntArray, LNSArray
from ..lns.datapath import AnyDatapath, Datapath, FloatDatapath, IntDatapath
from ..lns.format import Format, LNSFormat
from .tally import GemmRecord, Tally


def encode_tensor(
    tally: Tally,
    layer: str,
    role: str,
    phase: str,
    x: npt.NDArray[np.float32],
    fmt: Format,
    scaling: str,
) -> CodeArray:
    """Return the codes of `x` in `fmt`, counted under the layer, role and phase.

    scaling: the recipe's; LNS formats always take a scale per tensor.
    """
    rule = "none" if isinstance(fmt, LNSFormat) else scaling
    array, counts = quantise(np.ascontiguousarray(x), fmt, scaling=rule)
    tally.add_encode(layer, role, phase, fmt, counts)
    return array


def run_gemm(
    tally: Tally, layer: str, phase: str, a: CodeArray, b: CodeArray, datapath: AnyDatapath
) -> npt.NDArray[np.float32]:
    """Return the float32 values (M, N) of a (M, K) times b (K, N) on the datapath, counted.

    The accumulator's value is rounded once to the nearest float32, as the conversion unit does
    (offsets are multiples of gamma here, so the scale is a power of two); a value beyond float32's
    range is infinite and counted as an overflow. `tally.on_gemm` sees
    every GEMM, counted or not.
    """
    acc, overflowed = matmul_counted(a, b, datapath)
    (m, k), n = a.shape, b.shape[1]
    if tally.on_gemm is not None:
        tally.on_gemm(GemmRecord(layer, phase, a, b, acc, datapath))
    with np.errstate(over="ignore"):  # beyond float32's range the conversion gives infinity
        real = _to_real(datapath, acc, a, b).astype(np.float32)
    if not np.isfinite(real).all():  # float accumulators count their own
        overflowed = max(overflowed, int(np.count_nonzero(~np.isfinite(real))))
    tally.add_gemm(layer, phase, datapath, a.fmt, b.fmt, m, n, k, overflowed)
    return real


def _to_real(
    datapath: AnyDatapath, acc: npt.NDArray[Any], a: CodeArray, b: CodeArray
) -> npt.NDArray[np.float64]:
    if isinstance(datapath, FloatDatapath):
        return datapath.to_real(acc, a, b)
    if isinstance(datapath, IntDatapath):
        assert isinstance(a, IntArray)
        assert isinstance(b, IntArray)
        return datapath.to_real(acc, a, b)
    assert isinstance(datapath, Datapath)
    assert isinstance(a, LNSArray)
    assert isinstance(b, LNSArray)
    return datapath.to_real(acc, a, b)


def with_code(array: CodeArray, code: npt.NDArray[Any]) -> CodeArray:
    """Return other codes under the same format and (per tensor) scale."""
    assert isinstance(array.offset, int)
    if isinstance(array, FloatArray):
        return replace(array, code=code)
    if isinstance(array, IntArray):
        return replace(array, code=code)
    return replace(array, code=code)
