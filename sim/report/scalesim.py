"""A step's GEMMs in the columns of SCALE-Sim 3.0.0's three reports, one line a GEMM.

Headers, blanks after commas and the trailing comma are that tool's. A GEMM of several products has
one line with their sum. Total cycles include stalls, here the wait for the first tiles too; the
column "incl. prefetch" is one more, the number and not the index. Bandwidths are words per cycle
over those cycles; first and last cycles are not modelled and are given as 0 and the last cycle.
Results are given as DRAM writes though the vector unit takes them. Compute utilisation is products
over the array's in stall-free time (SCALE-Sim's own window is another for ws and is).
"""

from collections.abc import Callable, Sequence

from ..cost.gemm import LayerCost

COMPUTE = (
    "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, "
    "Mapping Efficiency %, Compute Util %,"
)
BANDWIDTH = (
    "LayerID, Avg IFMAP SRAM BW, Avg FILTER SRAM BW, Avg OFMAP SRAM BW, Avg IFMAP DRAM BW, "
    "Avg FILTER DRAM BW, Avg OFMAP DRAM BW,"
)
ACCESS = "LayerID, " + ", ".join(
    f"{level} {name} Start Cycle, {level} {name} Stop Cycle, {level} {name} {way}"
    for level in ("SRAM", "DRAM")
    for name, way in (("IFMAP", "Reads"), ("Filter", "Reads"), ("OFMAP", "Writes"))
)


def reports(layers: Sequence[LayerCost]) -> dict[str, str]:
    """Return file name -> text."""
    return {
        "COMPUTE_REPORT.csv": _text(COMPUTE, layers, _compute),
        "BANDWIDTH_REPORT.csv": _text(BANDWIDTH, layers, _bandwidth),
        "DETAILED_ACCESS_REPORT.csv": _text(f"{ACCESS},", layers, _access),
    }


def _text(header: str, layers: Sequence[LayerCost], row: Callable[[LayerCost], list[float]]) -> str:
    lines = [header]
    for index, layer in enumerate(layers):
        lines.append(f"{index}, " + ", ".join(f"{value!r}" for value in row(layer)) + ",")
    return "\n".join(lines) + "\n"


def _compute(layer: LayerCost) -> list[float]:
    times, cost = layer.gemm.count, layer.array
    total = cost.cycles * times + layer.stall_cycles
    return [
        layer.limited_cycles,
        total,
        layer.stall_cycles,
        100.0 * cost.macs * times / (cost.rows * cost.cols * cost.lanes * max(total, 1)),
        100.0 * cost.mapping_efficiency,
        100.0 * cost.macs / (cost.rows * cost.cols * cost.lanes * cost.elapsed_cycles),
    ]


def _words(layer: LayerCost) -> tuple[list[int], list[int]]:
    """SRAM and DRAM words: ifmap and filter reads, ofmap writes with each result once."""
    cost, tiling, times = layer.array, layer.tiling, layer.gemm.count
    sram = [cost.sram_ifmap_reads, cost.sram_filter_reads, cost.sram_ofmap_writes]
    dram = [tiling.a_words, tiling.b_words, tiling.partial_writes + cost.M * cost.N]
    return [n * times for n in sram], [n * times for n in dram]


def _bandwidth(layer: LayerCost) -> list[float]:
    sram, dram = _words(layer)
    return [n / layer.limited_cycles for n in (*sram, *dram)]


def _access(layer: LayerCost) -> list[float]:
    sram, dram = _words(layer)
    last = layer.limited_cycles - 1
    return [value for count in (*sram, *dram) for value in (0, last, count)]
