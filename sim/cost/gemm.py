"""One GEMM on a machine: its tiling, its words at every level, its cycles with real memories."""

from dataclasses import dataclass

from ...lns.accumulator import Accumulator
from ...lns.datapath import AnyDatapath, Datapath
from ...lns.format import LNSFormat
from ...lns.mx_format import AnyFormat
from ..machine.machine import Machine
from ..machine.systolic import GemmCost
from ..recipes.recipe import Recipe
from ..workload.workload import Gemm
from .components import word_bits
from .tiling import Tiling, Widths, array_cost, find_tiling


@dataclass(frozen=True, slots=True)
class Moved:
    """Words of one product of a GEMM in and out of the buffers; DRAM's are its tiling's."""

    ifmap_writes: int
    ifmap_reads: int
    filter_writes: int
    filter_reads: int
    ofmap_writes: int
    ofmap_reads: int


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One GEMM of a step; cycles and words are of all its `count` products."""

    gemm: Gemm
    array: GemmCost  #: of one product
    tiling: Tiling  #: of one product
    moved: Moved  #: of one product
    widths: Widths
    elapsed_cycles: int  #: stall-free
    limited_cycles: int  #: with DRAM and buffers at their bandwidth

    @property
    def stall_cycles(self) -> int:
        """Cycles the array waits for memory."""
        return self.limited_cycles - self.elapsed_cycles

    @property
    def dram_bits(self) -> int:
        """Bits to and from DRAM, the result's own way apart."""
        return self.tiling.dram_bits(self.widths) * self.gemm.count

    @property
    def utilisation(self) -> float:
        """Products per product the array could have done in the limited cycles, 0..1."""
        peak = self.array.rows * self.array.cols * self.array.lanes
        return self.gemm.macs / (peak * self.limited_cycles)


def partial_bits(datapath: AnyDatapath, a: AnyFormat, b: AnyFormat) -> int:
    """Bits of a partial sum: the accumulator's, or those of all bins."""
    if isinstance(datapath, Datapath) and datapath.accumulator.style == "bins":
        assert isinstance(a, LNSFormat)
        assert isinstance(b, LNSFormat)
        return datapath.accumulator.bits * datapath.resolve(a, b).entries
    if isinstance(datapath.accumulator, Accumulator):
        return datapath.accumulator.stored_bits
    return datapath.accumulator.bits


def cost_gemm(gemm: Gemm, machine: Machine, recipe: Recipe) -> LayerCost:
    """Return cycles and words of one GEMM."""
    a, b = getattr(recipe, gemm.a_role), getattr(recipe, gemm.b_role)
    widths = Widths(word_bits(a), word_bits(b), partial_bits(recipe.datapath, a, b))
    tiling = find_tiling(gemm, machine, widths)
    passes = tiling.streamed_passes[machine.dataflow]
    array = array_cost(machine, gemm.M, gemm.N, gemm.K, passes)
    results = gemm.M * gemm.N
    moved = Moved(
        ifmap_writes=tiling.a_words,
        ifmap_reads=array.sram_ifmap_reads,
        filter_writes=tiling.b_words,
        filter_reads=array.sram_filter_reads,
        ofmap_writes=array.sram_ofmap_writes + tiling.partial_reads,
        ofmap_reads=array.sram_ofmap_reads + tiling.partial_writes + results,
    )
    return LayerCost(
        gemm=gemm,
        array=array,
        tiling=tiling,
        moved=moved,
        widths=widths,
        elapsed_cycles=array.elapsed_cycles * gemm.count,
        limited_cycles=_limited(array, tiling, moved, widths, machine) * gemm.count,
    )


def _limited(
    array: GemmCost, tiling: Tiling, moved: Moved, widths: Widths, machine: Machine
) -> int:
    """Cycles of one product: the first tiles' load, then the slowest of array and memories."""
    first = tiling.first_words[0] * widths.a + tiling.first_words[1] * widths.b
    dram = ceil_div(tiling.dram_bits(widths), machine.dram_bits_per_cycle)
    ports = (
        (moved.ifmap_writes + moved.ifmap_reads) * widths.a / machine.ifmap.bits_per_cycle,
        (moved.filter_writes + moved.filter_reads) * widths.b / machine.filter.bits_per_cycle,
        (moved.ofmap_writes + moved.ofmap_reads) * widths.partial / machine.ofmap.bits_per_cycle,
    )
    load = ceil_div(first, machine.dram_bits_per_cycle)
    busiest = max(array.elapsed_cycles, dram - load, *(ceil_div(port, 1) for port in ports))
    return busiest + load


def ceil_div(amount: float, rate: float) -> int:
    """Whole cycles that `amount` takes at `rate` a cycle."""
    return -int(-amount // rate)
