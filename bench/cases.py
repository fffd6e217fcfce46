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
from lnsim.lns.format import BF16, FP8_E4M3, FP16, FP32, INT8, LNS8, Format


@dataclass(frozen=True, slots=True)
class Case:
    """One product a (M, K) times b (K, N), both operands in `fmt`."""

    name: str
    fmt: Format
    datapath: AnyDatapath
    shape: tuple[int, int, int]  #: M, K, N


CUBE = (1024, 1024, 1024)
SMALL = (256, 256, 256)  # for the paths of a GMAC/s or so
LAYER = (128, 784, 256)  # forward pass of a 784-256 layer, batch 128

_LNS = Datapath()  # T = 8, W = 24, guard 4, saturate, floor

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("lns8", LNS8, _LNS, CUBE),
        Case("lns8-layer", LNS8, _LNS, LAYER),
        Case("lns8-wrap", LNS8, Datapath(accumulator=Accumulator(overflow="wrap")), CUBE),
        Case("lns8-lanes16", LNS8, Datapath(accumulator=Accumulator(lanes=16)), CUBE),
        Case(
            "lns8-toward-zero",
            LNS8,
            Datapath(accumulator=Accumulator(rounding="toward_zero")),
            CUBE,
        ),
        Case("lns8-narrow", LNS8, Datapath(accumulator=Accumulator(bits=16, guard=0)), CUBE),
        Case("lns8-wide", LNS8, Datapath(accumulator=Accumulator(bits=48, guard=8)), SMALL),
        Case(
            "lns8-bins",
            LNS8,
            Datapath(Antilog(entries=8), Accumulator(style="bins")),
            SMALL,
        ),
        Case("fp32", FP32, FloatDatapath(FP32), CUBE),
        Case("bf16-fp32", BF16, FloatDatapath(FP32), CUBE),
        Case("fp16-fp16", FP16, FloatDatapath(FP16), SMALL),
        Case("fp8-fp32", FP8_E4M3, FloatDatapath(FP32), CUBE),
        Case("fp8-fixed", FP8_E4M3, FloatDatapath(Accumulator()), CUBE),
        Case("int8", INT8, IntDatapath(), SMALL),
    )
}
