"""Closed forms of a GEMM on a systolic array: cycles, folds, words in and out of its buffers.

The array has `rows` x `cols` processing elements; each multiplies `lanes` pairs a cycle and keeps
`depth` stationary words. a is the ifmap (M, K), b the filter (K, N). Which dimension lies where,
and which streams for how long:

    dataflow  stationary   rows hold  columns hold  streams
    "os"      outputs      M          N             K, `lanes` at a time
    "ws"      filter       K          N             M
    "is"      ifmap        K          M             N

Per fold, with T streamed steps, SCALE-Sim 3.0.0 takes T + R + C - 2 cycles (os) and T + 2R + C - 2
(ws, is): filling the skewed array, and for ws and is loading R rows of stationary words. The paper
on SCALE-Sim (Samajdar et al., ISPASS 2020) has T + 2R + C - 2 for all three: outputs are drained
through the rows too.
"""

from dataclasses import dataclass

from ...lns.checks import require_choice, require_int

DATAFLOWS = ("os", "ws", "is")
RECURRENCES = ("scalesim", "paper")
LONGEST = 1 << 40  #: of any dimension of a GEMM


@dataclass(frozen=True, slots=True)
class GemmCost:
    """Stall-free cost of one GEMM (M, K) x (K, N); counts are words unless they say otherwise."""

    M: int
    N: int
    K: int
    rows: int
    cols: int
    lanes: int
    depth: int
    dataflow: str
    recurrence: str
    macs: int
    folds: int
    cycles: int  #: "scalesim": the index of the last cycle, as that tool prints; "paper": a number
    elapsed_cycles: int  #: how many cycles pass
    utilisation: float  #: macs / (rows * cols * lanes * cycles), at most 1
    mapping_efficiency: float  #: processing elements in use, mean over folds, 0..1
    sram_ifmap_reads: int
    sram_filter_reads: int
    sram_ofmap_writes: int  #: every partial sum
    sram_ofmap_reads: int  #: partial sums read back to be added to; SCALE-Sim counts none


def gemm_cost(
    M: int,
    N: int,
    K: int,
    *,
    rows: int,
    cols: int,
    dataflow: str = "os",
    recurrence: str = "scalesim",
    lanes: int = 1,
    depth: int = 1,
    streamed_passes: int = 1,
) -> GemmCost:
    """Return the stall-free cost of ifmap (M, K) times filter (K, N).

    cycles, recurrence "scalesim": folds * (T + R + C - 2) - 1 for "os", folds * (T + 2R + C - 2) -
    1 for "ws" and "is" (the -1: SCALE-Sim prints the index of the last cycle); "paper": folds *
    (T + 2R + C - 2). SRAM words: ifmap M K ceil(N/C) (os, ws), M K (is); filter K N ceil(M/R) (os),
    K N (ws), K N ceil(M/C) (is); ofmap writes M N (os), M N ceil(K/R) (ws, is). (SCALE-Sim 3.0.0
    adds rows + columns per fold to the writes of "os", an artefact that is left out.)

    lanes V: K is streamed (os) or laid out (ws, is) V at a time. depth d: a processing element
    keeps d stationary words, in d blocks of M (os), N (ws) or M (is), and uses an operand it is
    sent for each in turn, so that the operand is read d times less often. streamed_passes: the
    streamed dimension is cut in so many pieces (K: os, M: ws, N: is), each a pass of its own.
    Raises ValueError for sizes below 1, unknown names, and more passes than there are steps.
    """
    M, N, K = (require_int(n, v, 1, LONGEST) for n, v in (("M", M), ("N", N), ("K", K)))
    parts = (("rows", rows), ("cols", cols), ("lanes", lanes), ("depth", depth))
    rows, cols, lanes, depth = (require_int(name, size, 1, 1 << 20) for name, size in parts)
    require_choice("dataflow", dataflow, DATAFLOWS)
    require_choice("recurrence", recurrence, RECURRENCES)
    groups = _ceil(K, lanes)
    # Blocks: pieces of a stationary dimension as wide as the array; `held` share one fold.
    stream, fixed, held, used = {
        "os": (groups, _ceil(N, cols), _ceil(M, rows), M * N),
        "ws": (M, _ceil(groups, rows), _ceil(N, cols), groups * N),
        "is": (N, _ceil(groups, rows), _ceil(M, cols), groups * M),
    }[dataflow]
    streamed_passes = require_int("streamed_passes", streamed_passes, 1, stream)
    row_folds = _ceil(held, depth)
    extra_rows = rows if dataflow != "os" or recurrence == "paper" else 0
    # per pass: each held block streams and is loaded (or drained); each fold is filled once
    elapsed = fixed * (
        held * (stream + streamed_passes * extra_rows)
        + streamed_passes * row_folds * (rows + cols - 2)
    )
    cycles = elapsed - 1 if recurrence == "scalesim" else elapsed
    macs = M * N * K
    ifmap, filters, writes = {
        "os": (M * K * fixed, K * N * row_folds, M * N * streamed_passes),
        "ws": (M * K * row_folds, K * N * streamed_passes, M * N * fixed),
        "is": (M * K * streamed_passes, K * N * row_folds, M * N * fixed),
    }[dataflow]
    return GemmCost(
        M=M,
        N=N,
        K=K,
        rows=rows,
        cols=cols,
        lanes=lanes,
        depth=depth,
        dataflow=dataflow,
        recurrence=recurrence,
        macs=macs,
        folds=fixed * row_folds * streamed_passes,
        cycles=cycles,
        elapsed_cycles=elapsed,
        utilisation=min(1.0, macs / (rows * cols * lanes * max(cycles, 1))),
        mapping_efficiency=used / (rows * cols * fixed * held),
        sram_ifmap_reads=ifmap,
        sram_filter_reads=filters,
        sram_ofmap_writes=writes,
        sram_ofmap_reads=writes - M * N,
    )


def _ceil(size: int, step: int) -> int:
    return -(-size // step)
