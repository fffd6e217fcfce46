"""Tiles of a GEMM that fit a machine's buffers, and the words they move to and from DRAM.

A GEMM (M, K) x (K, N) is cut into tiles (m, n, k), multiples of what the array takes at once. The
buffers hold a tile of a and of b twice (one is read while the next is loaded) and a tile of partial
sums once. Tiles are visited in one of six loop orders; an operand's tile is loaded again whenever a
loop it depends on has advanced. The search over tile sizes and orders is exhaustive but for one
step that cannot lose: of all tile heights m that need equally many tiles the smallest is taken,
and for given n and k the tallest that fits, which no other beats in traffic or in cycles.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations

import numpy as np
import numpy.typing as npt

from ..machine.machine import Machine
from ..machine.systolic import GemmCost, gemm_cost
from ..workload.patches import Patch
from ..workload.workload import Gemm

Ints = npt.NDArray[np.int64]
ORDERS = tuple("".join(order) for order in permutations("mnk"))  #: outermost loop first
_MOST_PRODUCTS = 1 << 54  # times 64 bits and a few reloads stays inside int64
_ABSENT = {"a": "n", "b": "m", "c": "k"}  # the loop an operand does not depend on


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits of a word of each operand, a share of its block's scale included, and of a sum."""

    a: float
    b: float
    partial: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """A choice of tiles and what follows from it, for one product of a Gemm."""

    tile: tuple[int, int, int]  #: m, n, k
    trips: tuple[int, int, int]  #: tiles along M, N, K
    order: str  #: outermost loop first, such as "mnk"
    a_words: int  #: read from DRAM
    b_words: int
    first_words: tuple[int, int]  #: of a and b in the first tile, or in any whole one
    partial_writes: int  #: words of partial sums that leave the chip
    partial_reads: int

    @property
    def streamed_passes(self) -> dict[str, int]:
        """Pieces of the streamed dimension, by dataflow."""
        return {"os": self.trips[2], "ws": self.trips[0], "is": self.trips[1]}

    def dram_bits(self, widths: Widths) -> int:
        """Bits to and from DRAM, the result's own way apart."""
        sums = self.partial_reads + self.partial_writes
        bits = self.a_words * widths.a + self.b_words * widths.b + sums * widths.partial
        return math.ceil(bits)


def footprint(machine: Machine) -> tuple[int, int, int]:
    """Return the (m, n, k) the array takes at once: what tiles are multiples of."""
    rows, cols, lanes, depth = machine.rows, machine.cols, machine.lanes, machine.depth
    return {
        "os": (rows * depth, cols, lanes),
        "ws": (1, cols * depth, rows * lanes),
        "is": (cols * depth, 1, rows * lanes),
    }[machine.dataflow]


def check_buffers(machine: Machine, widths: Widths) -> None:
    """Raise ValueError where a buffer cannot hold the smallest tile of words so wide."""
    m, n, k = footprint(machine)
    needs = (
        ("ifmap", 2 * m * k * widths.a, f"two tiles of {m} x {k} words of {widths.a:g} bits"),
        ("filter", 2 * k * n * widths.b, f"two tiles of {k} x {n} words of {widths.b:g} bits"),
        ("ofmap", m * n * widths.partial, f"a tile of {m} x {n} sums of {widths.partial} bits"),
    )
    for name, bits, what in needs:
        have = getattr(machine, name).bits
        if have < bits:
            raise ValueError(
                f"{name}.capacity_bytes must be at least {math.ceil(bits / 8)} for {what}, "
                f"got {have // 8}"
            )


@lru_cache(maxsize=4096)
def _sizes(extent: int, step: int) -> Ints:
    """Return the tile sizes worth trying, ascending: the smallest for each number of tiles."""
    blocks = -(-extent // step)
    few = np.arange(1, int(blocks**0.5) + 2, dtype=np.int64)
    trips = np.unique(np.concatenate([few, -(-blocks // few)]))
    return np.unique(-(-blocks // trips)) * step


def _traffic(trips: dict[str, Ints], order: str, operand: str) -> Ints:
    """How often an operand's words pass the chip's edge: loads of each tile, per tile."""
    absent = _ABSENT[operand]
    inside = [trips[name] for name in order[order.index(absent) + 1 :]]
    if not inside:
        return np.ones_like(trips[absent])
    # The operand's tile stays only while every loop inside the absent one makes a single trip.
    moving = inside[0] if len(inside) == 1 else np.maximum(*inside)
    return np.where(moving > 1, trips[absent], 1)


def find_tiling(gemm: Gemm, machine: Machine, widths: Widths) -> Tiling:
    """Return the best tiling of one product of `gemm`.

    machine.objective "traffic": the fewest DRAM bits, then the fewest cycles; "latency": the fewest
    cycles with DRAM at its bandwidth and everything overlapped, then the fewest bits. Ties go to
    fewer tiles, then to the first order of ORDERS: the same input gives the same tiling.
    Raises ValueError where a buffer cannot hold the smallest tile.
    """
    check_buffers(machine, widths)
    if gemm.M * gemm.N * gemm.K > _MOST_PRODUCTS:
        raise ValueError(
            f"M * N * K must be at most 2^{_MOST_PRODUCTS.bit_length() - 1} for a tile search, got "
            f"{gemm.M} * {gemm.N} * {gemm.K}"
        )
    return _find(replace(gemm, layer="", phase="forward", count=1), machine, widths)


def forget_tilings() -> None:
    """Forget what earlier searches found."""
    _find.cache_clear()


@lru_cache(maxsize=65536)
def _find(gemm: Gemm, machine: Machine, widths: Widths) -> Tiling:
    M, N, K = gemm.M, gemm.N, gemm.K
    sm, sn, sk = footprint(machine)
    n, k = (grid.ravel() for grid in np.meshgrid(_sizes(N, sn), _sizes(K, sk), indexing="ij"))
    wide_k, wide_n = np.minimum(k, K), np.minimum(n, N)
    of_a, of_b = (gemm.a_words, M * K, gemm.a_patch), (gemm.b_words, K * N, gemm.b_patch)
    fits = 2 * _tile(*of_b, wide_k, wide_n) * widths.b <= machine.filter.bits
    n, k, wide_n, wide_k = n[fits], k[fits], wide_n[fits], wide_k[fits]
    rows = np.minimum(
        _tallest(gemm, int(machine.ifmap.bits // (2 * widths.a)), wide_k),
        machine.ofmap.bits // (wide_n * widths.partial),
    ).astype(np.int64)
    all_blocks = -(-M // sm)
    blocks = np.where(rows >= M, all_blocks, np.minimum(rows // sm, all_blocks))
    fits = blocks > 0
    n, k, blocks = n[fits], k[fits], blocks[fits]
    tiles_m = -(-all_blocks // blocks)
    m = -(-all_blocks // tiles_m) * sm
    trips = {"m": tiles_m, "n": -(-N // n), "k": -(-K // k)}
    tile = {"m": np.minimum(m, M), "n": np.minimum(n, N), "k": np.minimum(k, K)}
    tile_a, tile_b = _tile(*of_a, tile["m"], tile["k"]), _tile(*of_b, tile["k"], tile["n"])
    once_a = _once(gemm.a_words, gemm.a_patch, tile_a, trips["m"] * trips["k"])
    once_b = _once(gemm.b_words, gemm.b_patch, tile_b, trips["k"] * trips["n"])
    elapsed = _cycles(machine, M, N, K, trips)
    count = trips["m"] * trips["n"] * trips["k"]
    best: tuple[tuple[float, ...], Tiling] | None = None
    for rank, order in enumerate(ORDERS):
        a = once_a * _traffic(trips, order, "a")
        b = once_b * _traffic(trips, order, "b")
        sums = _traffic(trips, order, "c")  # times each sum leaves; back once less
        spilled = np.where(sums > 1, sums - 1, 0) * (M * N)
        bits = a * widths.a + b * widths.b + 2 * spilled * widths.partial
        overlapped = np.maximum(elapsed, np.ceil(bits / machine.dram_bits_per_cycle))
        first, second = (bits, elapsed) if machine.objective == "traffic" else (overlapped, bits)
        at = _least(first, second, count)
        score = (float(first[at]), float(second[at]), float(count[at]), rank)
        if best is None or score < best[0]:
            tiling = Tiling(
                tile=(int(tile["m"][at]), int(tile["n"][at]), int(tile["k"][at])),
                trips=(int(trips["m"][at]), int(trips["n"][at]), int(trips["k"][at])),
                order=order,
                a_words=int(a[at]),
                b_words=int(b[at]),
                first_words=(int(tile_a[at]), int(tile_b[at])),
                partial_writes=int(spilled[at]),
                partial_reads=int(spilled[at]),
            )
            best = score, tiling
    assert best is not None, "check_buffers has found room for the smallest tile"
    return best[1]


def _tile(words: int, size: int, patch: Patch | None, rows: Ints, columns: Ints) -> Ints:
    """Words of a tile of an operand, which has so many in `size` places of its matrix."""
    if patch is not None:
        return np.asarray(np.minimum(patch.words(rows, columns), words))
    return np.ceil(rows * columns * (words / size)).astype(np.int64)


def _tallest(gemm: Gemm, words: int, k: Ints) -> Ints:
    """The most rows of a for which a tile has at most so many words."""
    if gemm.a_words <= words:
        return np.full_like(k, gemm.M)
    if gemm.a_patch is not None:
        return np.asarray(gemm.a_patch.tallest(words, k))
    share = gemm.a_words / (gemm.M * gemm.K)
    return np.asarray(words // np.maximum(np.ceil(k * share).astype(np.int64), 1))


def _once(words: int, patch: Patch | None, tile: Ints, tiles: Ints) -> Ints:
    """Words of all tiles of an operand, each fetched once: more than it has where tiles overlap."""
    if patch is None:
        return np.full_like(tile, words)
    return np.where(tiles == 1, words, np.maximum(words, tile * tiles))


def _least(*keys: Ints) -> int:
    """Index of the smallest by the first key, among those by the second, and so on; then first."""
    places = np.arange(len(keys[0]))
    for key in keys:
        own = key[places]
        places = places[own == own.min()]
    return int(places[0])


def _cycles(machine: Machine, M: int, N: int, K: int, trips: dict[str, Ints]) -> Ints:
    """Elapsed cycles for each candidate; linear in the passes of the streamed dimension."""
    passes = trips[{"os": "k", "ws": "m", "is": "n"}[machine.dataflow]]
    one = array_cost(machine, M, N, K, 1).elapsed_cycles
    if int(passes.max()) == 1:
        return np.full_like(passes, one)
    return one + (passes - 1) * (array_cost(machine, M, N, K, 2).elapsed_cycles - one)


def array_cost(machine: Machine, M: int, N: int, K: int, streamed_passes: int) -> GemmCost:
    """Return the stall-free cost of a GEMM on a machine's array."""
    return gemm_cost(
        M, N, K, rows=machine.rows, cols=machine.cols, dataflow=machine.dataflow,
        recurrence=machine.recurrence, lanes=machine.lanes, depth=machine.depth,
        streamed_passes=streamed_passes,
    )  # fmt: skip
