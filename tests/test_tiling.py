"""Tiles: they fit, they lose to no other, and every word is where it should be."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.sim import Machine, gemm_cost, get_machine, get_recipe
from lnsim.sim.gemm_traffic import cost_gemm
from lnsim.sim.machine import Buffer
from lnsim.sim.tiling import ORDERS, Tiling, Widths, find_tiling, footprint
from lnsim.sim.workload import Gemm

WIDTHS = Widths(8, 8, 24)


def small(dataflow: str, objective: str = "traffic", kilobits: int = 1) -> Machine:
    """A 2x3 array with buffers of a few dozen words."""
    buffer = Buffer(128 * kilobits, 8)
    return replace(
        get_machine("edge-16"), rows=2, cols=3, lanes=2, dataflow=dataflow, ifmap=buffer,
        filter=buffer, ofmap=replace(buffer, capacity_bytes=96 * kilobits), objective=objective,
    )  # fmt: skip


def walk_loops(M: int, N: int, K: int, tile: tuple[int, int, int], order: str) -> Tiling:
    """Traffic by visiting every tile in order and holding the last one of each operand."""
    sizes, steps = {"m": M, "n": N, "k": K}, dict(zip("mnk", tile, strict=True))
    ranges = [
        [(start, min(steps[x], sizes[x] - start)) for start in range(0, sizes[x], steps[x])]
        for x in order
    ]
    held: dict[str, object] = {"a": None, "b": None, "c": None}
    words = {"a": 0, "b": 0, "out": 0, "back": 0}
    visited: set[object] = set()
    for place in product(*ranges):
        at = dict(zip(order, place, strict=True))
        for name, dims in (("a", "mk"), ("b", "kn"), ("c", "mn")):
            key = tuple(at[x][0] for x in dims)
            if held[name] == key:
                continue
            size = at[dims[0]][1] * at[dims[1]][1]
            if name != "c":
                words[name] += size
            elif key in visited:  # its partial sums were sent out when it was left
                words["out"] += size
                words["back"] += size
            held[name] = key
            visited.add((name, key) if name != "c" else key)
    trips = tuple(-(-sizes[x] // steps[x]) for x in "mnk")
    return Tiling(tile, trips, order, words["a"], words["b"], words["out"], words["back"])


sizes = st.integers(1, 14)


@settings(max_examples=80, deadline=None)
@given(
    M=sizes, N=sizes, K=sizes, dataflow=st.sampled_from(("os", "ws", "is")),
    objective=st.sampled_from(("traffic", "latency")),
)  # fmt: skip
def test_no_tiling_beats_the_one_found(
    M: int, N: int, K: int, dataflow: str, objective: str
) -> None:
    """Every tile size and order that fits, its loops walked: none is better; this one's are right.

    This is the proof that taking the tallest tile loses nothing.
    """
    machine = small(dataflow, objective)
    gemm = Gemm("x", "forward", M, N, K)
    found = find_tiling(gemm, machine, WIDTHS)

    def score(tiling: Tiling) -> tuple[int, int]:
        passes = tiling.streamed_passes[dataflow]
        elapsed = gemm_cost(
            M, N, K, rows=2, cols=3, lanes=2, dataflow=dataflow, streamed_passes=passes
        ).elapsed_cycles
        bits = tiling.dram_bits(WIDTHS)
        overlapped = max(elapsed, -int(-bits // machine.dram_bits_per_cycle))
        return (bits, elapsed) if objective == "traffic" else (overlapped, bits)

    def fits(m: int, n: int, k: int) -> bool:
        m, n, k = min(m, M), min(n, N), min(k, K)
        into = 2 * m * k * 8 <= machine.ifmap.bits and 2 * k * n * 8 <= machine.filter.bits
        return into and m * n * 24 <= machine.ofmap.bits

    steps = footprint(machine)
    grid = [range(s, size + s, s) for s, size in zip(steps, (M, N, K), strict=True)]
    others = [
        walk_loops(M, N, K, tile, order)
        for tile in product(*grid)
        if fits(*tile)
        for order in ORDERS
    ]
    assert fits(*found.tile)
    walked = walk_loops(M, N, K, found.tile, found.order)
    assert replace(walked, tile=found.tile, trips=found.trips) == found
    assert score(found) == min(score(other) for other in others)


@settings(max_examples=60, deadline=None)
@given(M=st.integers(1, 60), N=st.integers(1, 60), K=st.integers(1, 60),
       dataflow=st.sampled_from(("os", "ws", "is")), depth=st.integers(1, 2),
       name=st.sampled_from(("lns8", "fp8", "fp32", "int8")))  # fmt: skip
def test_words_are_conserved(M: int, N: int, K: int, dataflow: str, depth: int, name: str) -> None:
    """What enters a buffer leaves it: operands are filled as DRAM gives them and read at least as
    often; every partial sum written is read once more; DRAM gives each word at least once."""
    machine = replace(small(dataflow, kilobits=8), depth=depth)
    layer = cost_gemm(Gemm("x", "forward", M, N, K), machine, get_recipe(name))
    moved = layer.moved
    assert moved.ifmap_writes == moved.dram_a >= M * K
    assert moved.filter_writes == moved.dram_b >= K * N
    assert moved.ifmap_reads >= moved.ifmap_writes
    assert moved.filter_reads >= moved.filter_writes
    assert moved.ofmap_writes == moved.ofmap_reads >= M * N
    assert layer.limited_cycles >= layer.elapsed_cycles == layer.array.elapsed_cycles


def test_patches_are_fetched_as_the_images_they_repeat() -> None:
    """A 3x3 convolution reads its input once, not nine times; its buffer holds nine times more."""
    machine = get_machine("edge-16")
    gemm = Gemm("conv", "forward", 1024, 64, 576, a_words=65536)
    plain = Gemm("matmul", "forward", 1024, 64, 576)
    conv, flat = (find_tiling(g, machine, WIDTHS) for g in (gemm, plain))
    assert conv.a_words % 65536 == 0
    assert conv.dram_bits(WIDTHS) < flat.dram_bits(WIDTHS) / 4


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        ("ifmap", r"^ifmap\.capacity_bytes must be at least 1024 for two tiles of 16 x 32 words of "
         r"8 bits, got 64$"),
        ("filter", r"^filter\.capacity_bytes must be at least 2048 for two tiles of 32 x 32 words"),
        ("ofmap", r"^ofmap\.capacity_bytes must be at least 1536 for a tile of 16 x 32 sums of 24"),
    ],
)  # fmt: skip
def test_a_buffer_too_small_for_one_tile(buffer: str, message: str) -> None:
    """It is named with what it would have to hold, for the formats in use."""
    machine = get_machine("lns-madam-like").with_changes(**{buffer: Buffer(64, 8)})
    with pytest.raises(ValueError, match=message):
        cost_gemm(Gemm("x", "forward", 4, 4, 4), machine, get_recipe("lns8"))
