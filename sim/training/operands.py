"""The two doors between tensors and the simulated hardware: encoding, and the GEMM of codes."""

import numpy as np
import numpy.typing as npt

from ...kernels import Matrix, Place, matmul_counted, matmul_real, plain_array, quantise
from ...lns.array import CodeArray
from ...lns.datapath import AnyDatapath
from ...lns.format import FP32, Format, LNSFormat
from ...lns.mx_format import AnyFormat
from .tally import GemmRecord, Tally


def encode_tensor(
    tally: Tally,
    layer: str,
    role: str,
    phase: str,
    x: npt.NDArray[np.float32],
    fmt: Format,
    scaling: str,
    source: Format = FP32,
) -> CodeArray:
    """Return the codes of `x` in `fmt`, counted under the layer, role and phase.

    scaling: the recipe's; LNS formats always take a scale per tensor. source: the format the
    hardware holds `x` in; no event is counted where it is `fmt` itself.
    """
    rule = "none" if isinstance(fmt, LNSFormat) else scaling
    array, counts = quantise(np.ascontiguousarray(x), fmt, scaling=rule)
    tally.add_encode(layer, role, phase, fmt, counts, source)
    return array


def run_gemm(
    tally: Tally,
    layer: str,
    phase: str,
    a: Matrix,
    b: Matrix,
    datapath: AnyDatapath,
    place: Place | None = None,
    formats: tuple[AnyFormat, AnyFormat] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the float32 values (M, N) of a (M, K) times b (K, N) on the datapath, counted.

    The accumulator's value is rounded once to the nearest float32, as the conversion unit does
    (offsets are multiples of gamma here, so the scale is a power of two); a value beyond float32's
    range is infinite and counted as an overflow. place: where to write the values, whose memory is
    then returned. formats: of the operands in hardware, where not those of their codes (blocks).
    `tally.on_gemm` sees every GEMM, counted or not.
    """
    (m, k), n = a.shape, b.shape[1]
    if tally.on_gemm is not None:
        acc, _ = matmul_counted(a, b, datapath)
        record = GemmRecord(layer, phase, plain_array(a), plain_array(b), acc, datapath)
        tally.on_gemm(record)
    real, overflowed = matmul_real(a, b, datapath, place)
    a_fmt, b_fmt = (a.fmt, b.fmt) if formats is None else formats
    tally.add_gemm(layer, phase, datapath, a_fmt, b_fmt, m, n, k, overflowed)
    return real
