"""Tiles: they fit, they lose to no other, and every word is where it should be."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.sim import Machine, gemm_cost, get_machine, get_recipe
from lnsim.sim.cost.gemm import cost_gemm
from lnsim.sim.cost.tiling import ORDERS, Tiling, Widths, find_tiling, footprint
from lnsim.sim.machine.machine import Buffer
from lnsim.sim.workload.patches import Patch
from lnsim.sim.workload.workload import Gemm

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
    first = (min(tile[0], M) * min(tile[2], K), min(tile[2], K) * min(tile[1], N))
    return Tiling(tile, trips, order, words["a"], words["b"], first, words["out"], words["back"])


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
    assert moved.ifmap_writes == layer.tiling.a_words >= M * K
    assert moved.filter_writes == layer.tiling.b_words >= K * N
    assert moved.ifmap_reads >= moved.ifmap_writes
    assert moved.filter_reads >= moved.filter_writes
    assert moved.ofmap_writes == moved.ofmap_reads >= M * N
    assert layer.limited_cycles >= layer.elapsed_cycles == layer.array.elapsed_cycles


def covered(patch: Patch, places: int, elements: int, images: int = 1) -> int:
    """Words a tile of patches touches, by walking them; places from the first, no padding."""
    (high, wide), (down, along) = patch.kernel, patch.stride
    seen = set()
    for place in range(places):
        row, column = divmod(place, patch.out_width)
        for channel in range(-(-elements // patch.taps)):
            for y in range(high):
                for x in range(wide):
                    seen.add((channel, row * down + y, min(column * along + x, patch.in_width - 1)))
    return len(seen)


@given(
    out=st.integers(1, 6), kernel=st.integers(1, 3), stride=st.integers(1, 2),
    places=st.integers(1, 20), channels=st.integers(1, 3), cap=st.integers(1, 400),
)  # fmt: skip
def test_a_tile_of_patches_covers_what_it_says(
    out: int, kernel: int, stride: int, places: int, channels: int, cap: int
) -> None:
    """Whole rows of the image are counted where a tile has more than one row of places, so the
    count is never below a walk and equals it for whole rows; tallest() is the largest that fits."""
    taps = kernel * kernel
    patch = Patch(out, (out - 1) * stride + kernel, (kernel, kernel), (stride, stride), taps)
    elements = channels * taps
    words = int(patch.words(places, elements))
    walked = covered(patch, places, elements)
    assert min(walked, places * elements) <= words <= places * elements
    if places % out == 0 and stride <= kernel and words < places * elements:
        assert words == walked
    tall = int(patch.tallest(cap, elements))
    if tall:
        assert int(patch.words(tall, elements)) <= cap


def test_patches_are_fetched_with_their_halo() -> None:
    """A 3x3 convolution of 64 channels on 32x32: in one tile its input once; in small tiles the
    rows that neighbours share again, but less than nine times; always in the buffer."""
    patch = Patch(32, 32, (3, 3), (1, 1), 9)
    gemm = Gemm("conv", "forward", 1024, 64, 576, a_words=65536, a_patch=patch)
    flat = Gemm("matmul", "forward", 1024, 64, 576)
    large = get_machine("tpu-128")
    assert find_tiling(gemm, large, WIDTHS).a_words == 65536
    small_machine = replace(get_machine("lns-madam-like"), objective="traffic")
    tiling, plain = (find_tiling(g, small_machine, WIDTHS) for g in (gemm, flat))
    assert 65536 < tiling.a_words < plain.a_words
    m, _, k = tiling.tile
    assert 2 * 8 * int(patch.words(m, k)) <= small_machine.ifmap.bits
    assert covered(patch, m, k) <= small_machine.ifmap.capacity_bytes // 2


def test_products_too_large_for_64_bits_are_refused() -> None:
    """Traffic of more than 2^54 products could leave int64: an error, never a wrong number."""
    side = 1 << 18
    assert find_tiling(Gemm("x", "forward", side, side, side), get_machine("tpu-128"), WIDTHS)
    with pytest.raises(ValueError, match=r"^M \* N \* K must be at most 2\^54 for a tile search"):
        find_tiling(Gemm("x", "forward", side, side, 2 * side), get_machine("tpu-128"), WIDTHS)


def test_a_product_never_takes_longer_than_loading_and_then_computing() -> None:
    """Whatever the buffers: at least array and DRAM each alone, at most one after the other."""
    base = get_machine("edge-16")
    for kib in (64, 1024, 131072):
        machine = replace(base, filter=Buffer(1024 * kib, 64, 1024))  # ports that keep up
        layer = cost_gemm(Gemm("x", "forward", 1, 4096, 4096), machine, get_recipe("fp32"))
        dram = layer.dram_bits / machine.dram_bits_per_cycle
        assert max(layer.elapsed_cycles, dram) <= layer.limited_cycles + 1
        assert layer.limited_cycles <= layer.elapsed_cycles + dram + 2


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
