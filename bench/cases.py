"""Named products to time: formats, datapaths and shapes."""

from dataclasses import dataclass

from lnsim.lns.datapath import (
    Accumulator,
    Antilog,
    AnyDatapath,
    Datapath,
    FloatDatapath,
    IntDatapath,
)
from lnsim.lns.format import BF16, FP8_E4M3, FP16, FP32, INT8, LNS8, Format, LNSFormat


@dataclass(frozen=True, slots=True)
class Case:
    """One product a (M, K) times b (K, N), both operands in `fmt`."""

    name: str
    fmt: Format
    datapath: AnyDatapath
    shape: tuple[int, int, int]  #: M, K, N
    real: bool = False  #: float32 values, as a layer takes them; else the int64 accumulators


CUBE = (1024, 1024, 1024)
LARGE = (2048, 2048, 2048)
SMALL = (256, 256, 256)  # for the paths of a GMAC/s or so
TINY = (64, 64, 64)
LAYER = (128, 784, 256)  # forward pass of a 784-256 layer, batch 128
IMAGE = (8192, 576, 64)  # a 3x3 convolution of 64 channels on eight images of 32 x 32
GRADIENT = (576, 8192, 64)  # its weight gradient

_LNS = Datapath()  # T = 8, W = 24, guard 4, saturate, floor


def _with(**changes: object) -> Datapath:
    """The default datapath with another accumulator."""
    return Datapath(accumulator=Accumulator(**changes))  # type: ignore[arg-type]


def _fits(gamma: int) -> LNSFormat:
    """A format of `gamma` steps an octave that covers about sixteen octaves."""
    return LNSFormat(min(15, 4 + gamma.bit_length() - 1), gamma)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("lns8", LNS8, _LNS, CUBE),
        Case("lns8-2048", LNS8, _LNS, LARGE),
        Case("lns8-real", LNS8, _LNS, CUBE, real=True),
        Case("lns8-2048-real", LNS8, _LNS, LARGE, real=True),
        Case("lns8-64", LNS8, _LNS, TINY),
        Case("lns8-layer", LNS8, _LNS, LAYER),
        Case("lns8-image", LNS8, _LNS, IMAGE),
        Case("lns8-gradient", LNS8, _LNS, GRADIENT),
        *(Case(f"g{g}", _fits(g), _LNS, CUBE) for g in (1, 2, 4, 16, 32, 64, 128)),
        *(Case(f"g{g}", _fits(g), _LNS, SMALL) for g in (256, 512, 1024, 2048)),
        Case("lns8-wrap", LNS8, _with(overflow="wrap"), CUBE),
        Case("lns8-lanes16", LNS8, _with(lanes=16), CUBE),
        Case("lns8-toward-zero", LNS8, _with(rounding="toward_zero"), CUBE),
        Case("lns8-narrow", LNS8, _with(bits=16, guard=0), CUBE),
        Case("lns8-w32", LNS8, _with(bits=32), CUBE),
        Case("lns8-w48", LNS8, _with(bits=48, guard=8), CUBE),
        Case("lns8-w62", LNS8, _with(bits=62, guard=8), CUBE),
        Case("lns8-bins", LNS8, Datapath(Antilog(entries=8), Accumulator(style="bins")), CUBE),
        Case("fp32", FP32, FloatDatapath(FP32), CUBE),
        Case("bf16-fp32", BF16, FloatDatapath(FP32), CUBE),
        Case("fp16-fp32", FP16, FloatDatapath(FP32), CUBE),
        Case("fp8-fp32", FP8_E4M3, FloatDatapath(FP32), CUBE),
        Case("fp8-fixed", FP8_E4M3, FloatDatapath(Accumulator()), CUBE),
        Case("fp16-fp16", FP16, FloatDatapath(FP16), SMALL),
        Case("bf16-bf16", BF16, FloatDatapath(BF16), SMALL),
        Case("fp8-fp16", FP8_E4M3, FloatDatapath(FP16), SMALL),
        Case("int8", INT8, IntDatapath(), CUBE),
    )
}
