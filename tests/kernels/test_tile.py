"""The fast kernel's own promises: replays, operands and results in place, memory, fallback."""

import dataclasses
import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.kernels import (
    Gathered,
    Pattern,
    Place,
    matmul_counted,
    matmul_real,
    move_codes,
    quantise,
)
from lnsim.kernels.cpu import backend as cpu
from lnsim.kernels.cpu.backend import wide_product
from lnsim.kernels.cpu.gemm import bins, product, slab
from lnsim.kernels.cpu.gemm.bounds import largest_of
from lnsim.kernels.cpu.gemm.tables import term_table
from lnsim.kernels.cpu.ir.add_terms import move, peak
from lnsim.kernels.cpu.ir.emit import START_BITS
from lnsim.kernels.cpu.ir.pack_words import reach
from lnsim.kernels.cpu.ir.tasks import for_each
from lnsim.kernels.cpu.runtime.threads import tasks
from lnsim.kernels.operands import ALONG_K, ALONG_ROWS
from lnsim.lns import encode
from lnsim.lns.array import FloatArray, IntArray, LNSArray
from lnsim.lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from lnsim.lns.format import (
    BF16,
    FP8_E4M3,
    FP16,
    INT8,
    LNS8,
    FloatFormat,
    IntFormat,
    LNSFormat,
)
from lnsim.sim.rules.madam import integer_madam_update, madam_direction, undefined_directions


@numba.njit
def add_task(task: int, done: Any, step: int) -> None:
    """A task that leaves a trace."""
    done[task] += step * task + 1


@numba.njit
def refuse_task(task: int, done: Any) -> None:
    """A task that may fail."""
    if task == 3:
        raise ValueError("not this one")
    done[task] = 1


@numba.njit
def refuse_all(count: int, arguments: Any) -> None:
    """The tasks of `test_a_task_that_fails_is_told`."""
    for_each(refuse_task, count, arguments, False)


@numba.njit
def measure(sums: Any, first: int, count: int, zero: int, most: int) -> int:
    """The bound of `test_a_measured_bound_is_true_and_close`."""
    return peak(sums, first, count, zero, most)  # type: ignore[no-any-return]


@numba.njit
def reach_of(words: Any, at: int, rows: int, count: int, low: int, table: Any) -> float:
    """The sum of `test_a_reach_is_the_largest_sum_of_a_row`."""
    return reach(words, at, rows, count, low, table)  # type: ignore[no-any-return]


@numba.njit
def carry_sums(near: Any, far: Any, at: int, count: int, zero: int, fresh: bool) -> None:
    """The integers of `test_carried_sums_are_added_or_copied`."""
    move(near, far, at, count, zero, fresh)


@numba.njit
def run_all(count: int, arguments: Any, alone: bool) -> None:
    """The tasks of `test_every_task_runs_once`."""
    for_each(add_task, count, arguments, alone)


def replays(a: LNSArray, b: LNSArray, datapath: Datapath) -> tuple[int, int]:
    """(rows of chunks replayed, outputs that left the range); equal to the general kernel."""
    before = product.replayed_rows
    acc, overflowed = matmul_counted(a, b, datapath)
    wanted = wide_product(a, b, datapath)
    np.testing.assert_array_equal(acc, wanted[0])
    assert overflowed == wanted[1]
    return product.replayed_rows - before, overflowed


def encoded(x: np.ndarray[Any, Any]) -> LNSArray:
    """LNS8 codes of numbers, scaled to their largest."""
    return quantise(x.astype(np.float32), LNS8)[0]


@pytest.mark.parametrize("lanes", [1, 3, 40])
def test_replays_run_where_sums_can_leave_the_range_and_only_there(lanes: int) -> None:
    """Normal data at guard 4 needs none; large positive data saturates and is replayed."""
    rng = np.random.default_rng(0)
    a, b = encoded(rng.standard_normal((70, 300))), encoded(rng.standard_normal((300, 70)))
    assert replays(a, b, Datapath(accumulator=Accumulator(lanes=lanes))) == (0, 0)
    a, b = encoded(rng.random((70, 300))), encoded(rng.random((300, 70)) - 0.1)
    replayed, overflowed = replays(a, b, Datapath(accumulator=Accumulator(lanes=lanes)))
    assert replayed > 0
    assert overflowed > 70 * 70 // 4


def test_a_product_inherits_nothing_from_the_one_before() -> None:
    """Products share their memory: neither sums nor overflows of a saturated one are left in it."""
    rng = np.random.default_rng(2)
    large = encoded(rng.random((70, 300))), encoded(rng.random((300, 70)))
    small = encoded(rng.standard_normal((40, 50))), encoded(rng.standard_normal((50, 90)))
    for datapath in (Datapath(), Datapath(Antilog(4), Accumulator(style="bins", guard=0))):
        first = matmul_counted(*large, datapath)
        kept = first[0].copy()
        assert first[1] > 0
        replays(*small, datapath)  # equal to the general kernel, overflows too
        np.testing.assert_array_equal(first[0], kept)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_every_task_runs_once(count: int) -> None:
    """On however many threads."""
    before = numba.get_num_threads()
    for threads in (1, 2, before, 2 * before):
        with tasks(threads, 1) as alone:
            assert alone == (min(threads, before) == 1)
            assert alone or numba.get_num_threads() == min(threads, before)
            done = np.zeros(count, np.int64)
            run_all(count, (done, np.int64(3)), alone)
        assert numba.get_num_threads() == before
        np.testing.assert_array_equal(done, 3 * np.arange(count) + 1)


def test_what_only_kernels_call_refuses_python() -> None:
    """It has no wrapper that Python could call it by: an error, not a crash."""
    with pytest.raises(TypeError, match=r"^largest_of is for other kernels only, it cannot be"):
        largest_of(np.arange(3), 0, 3)


def test_threads_are_there_before_a_kernel_is_loaded() -> None:
    """A cached kernel on one thread is linked to the threads too; without them it crashes."""
    script = (
        "from numba.np.ufunc import parallel\n"
        "from lnsim.kernels.cpu.runtime.threads import tasks\n"
        "before = parallel._is_initialized\n"
        "with tasks(0, 1) as alone: print(before, alone, parallel._is_initialized)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_task_that_fails_is_told() -> None:
    """The others run; the caller hears of it, once, and not of tasks that do not fail."""
    done = np.zeros(10, np.int64)
    with pytest.raises(RuntimeError, match="a task of a kernel failed"):
        refuse_all(10, (done,))
    assert done.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    refuse_all(3, (done,))


@pytest.mark.parametrize("gamma", [2, 8, 16])
@pytest.mark.parametrize("columns", [10, 40, 70])
@pytest.mark.parametrize("products", [11, 12, 13, 24, 36, 47])
def test_chunks_of_any_length_with_some_rows_to_replay(
    products: int, columns: int, gamma: int
) -> None:
    """Rows that may saturate beside rows that may not, in blocks of 16, 32 and 64 columns."""
    rng = np.random.default_rng(products)
    x = rng.standard_normal((75, products)) * (rng.random((75, 1)) > 0.3)
    x[::7] = 1.0
    fmt = LNSFormat(7, gamma)
    a = quantise(x.astype(np.float32), fmt)[0]
    b = quantise(rng.random((products, columns)).astype(np.float32) + 0.2, fmt)[0]
    replayed, overflowed = replays(a, b, Datapath(accumulator=Accumulator(20, guard=0)))
    assert replayed > 0
    assert overflowed < 75 * columns
    assert overflowed > 0 or products == 11
    replays(b.T, a.T, Datapath(accumulator=Accumulator(40, guard=0)))


@pytest.mark.parametrize("bits", [2, 20, 31, 32, 33, 48, 62, 63])
def test_a_measured_bound_is_true_and_close(bits: int) -> None:
    """At least the largest magnitude, and off by one, or in 64 bits by what was known / 2^30."""
    rng = np.random.default_rng(bits)
    for dtype in (np.int32, np.int64) if bits <= 32 else (np.int64,):
        for _ in range(200):
            most = int(rng.integers(1 << (bits - 2), 1 << (bits - 1)))
            count = 16 * int(rng.integers(1, 5))
            sums = rng.integers(-most - 1, most, count + 32, endpoint=True)
            sums >>= int(rng.integers(0, bits))
            if rng.integers(2):
                sums[16 + rng.integers(count)] = rng.choice([-most - 1, -most, most, 0])
            largest = max(abs(int(value)) for value in sums[16 : 16 + count])
            for zero in (0, START_BITS[dtype().itemsize] if bits <= 23 else 0):
                found = measure((sums + zero).astype(dtype), 16, count, zero, most)
                assert largest <= found <= largest + 1 + (most >> 30)


@pytest.mark.parametrize("item", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 3, 4, 11, 12, 24])
def test_a_reach_is_the_largest_sum_of_a_row(count: int, item: type) -> None:
    """Over the words' factors without sign, whatever the offsets below them; zeros count as 0."""
    rng = np.random.default_rng(count)
    low = np.uint32(0xFFFF if item is np.float32 else 0x7FFF)
    for rows in (4, 12, 64):
        size = np.exp2(-rng.integers(0, 60, (rows, count)).astype(np.float64))
        size *= rng.choice([0.0, 1.0, 1.25], size.shape)
        factor = np.where(rng.integers(2, size=size.shape), -size, size)
        if item is np.float32:
            bits = factor.astype(np.float32).view(np.uint32)
        else:
            bits = (factor.view(np.uint64) >> np.uint64(32)).astype(np.uint32)
        words = np.zeros(rows * count + 9, np.uint32)
        words[7:-2] = (bits | rng.integers(0, int(low) + 1, bits.shape)).reshape(-1)
        found = reach_of(words, 7, rows, count, low, np.zeros(1, item))
        assert found == pytest.approx(size.sum(axis=1).max(), rel=2**-20)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_carried_sums_are_added_or_copied(dtype: type) -> None:
    """far takes near, less its zero, and near is zero again; nothing beside them changes."""
    rng, zero = np.random.default_rng(5), START_BITS[np.dtype(dtype).itemsize]
    held, before = rng.integers(-(1 << 22), 1 << 22, (2, 96))
    for fresh in (True, False):
        near, far = (held + zero).astype(dtype), before.astype(dtype)
        carry_sums(near, far, 16, 64, zero, fresh)
        inside = np.zeros(96, np.bool_)
        inside[16:80] = True
        np.testing.assert_array_equal(near, np.where(inside, 0, held) + zero)
        total = held if fresh else before + held
        np.testing.assert_array_equal(far, np.where(inside, total, before))


NEAR_RULES = [
    Accumulator(24, guard=2),  # a chunk may pass what a float has room for
    Accumulator(24, guard=2, overflow="wrap"),
    Accumulator(24, guard=4, rounding="toward_zero"),
    Accumulator(24, guard=2, lanes=40),
    Accumulator(31, guard=9),
    Accumulator(30, guard=9, lanes=3, overflow="wrap"),
    Accumulator(31, guard=9, rounding="toward_zero"),
    Accumulator(62, guard=11),
    Accumulator(60, guard=10, overflow="wrap"),
]


@pytest.mark.parametrize("rule", NEAR_RULES, ids=str)
@pytest.mark.parametrize("products", [100, 2500])
def test_sums_beyond_what_a_float_holds_are_carried(
    products: int, rule: Accumulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner loop's sums have 2^22, in 64-bit lanes 2^51, either way; here they pass it.

    By as much as the bounds allow, since b's numbers are all alike. Rows of large and of small
    numbers side by side; some saturate and are replayed, some do not. 2500 products: two slabs.
    """
    monkeypatch.setattr(product, "WORDS_BYTES", 1)  # no more than LEAST_PRODUCTS in a slab
    rng = np.random.default_rng(products)
    x = rng.random((150, products)) * np.exp2(-rng.integers(0, 9, (150, 1)))
    x[::5] *= rng.choice([-1.0, 1.0], (30, products))
    y = (0.8 + 0.2 * rng.random((products, 70))) * np.where(np.arange(70) % 3, 1, -1)
    fmt = LNS8 if rule.bits < 32 else LNSFormat(7, 4)  # whose products have more than 51 bits
    a, b = (quantise(values.astype(np.float32), fmt)[0] for values in (x, y))
    datapath = Datapath(accumulator=rule)
    table = term_table(datapath, fmt, fmt)
    assert table is not None
    acc = matmul_counted(a, b, datapath)[0]
    assert np.abs(acc).max() > 1.2 * table.chain
    replays(a, b, datapath)
    replays(b.T, a.T, datapath)


@pytest.mark.parametrize(("bits", "rounding"), [(40, "floor"), (52, "toward_zero")])
@pytest.mark.parametrize("fmt", [IntFormat(16), FP16, BF16], ids=str)
def test_factors_of_many_bits_are_whole_in_64_bit_lanes(
    fmt: IntFormat | FloatFormat, bits: int, rounding: str
) -> None:
    """A word has half a float64 for the factor: 21 bits, and below them the place of a row."""
    rng, shape = np.random.default_rng(3), (9, 41)
    code = rng.integers(0, 1 << fmt.bits, shape).astype(f"u{fmt.code_dtype.itemsize}")
    rule = Accumulator(bits, guard=4, rounding=rounding)
    if isinstance(fmt, IntFormat):
        a: Any = IntArray(code.view(fmt.code_dtype), 0, fmt)
        datapath: Any = IntDatapath(rule)
    else:
        code[(code & ((1 << (fmt.bits - 1)) - 1)) > fmt.max_code] = 0
        a, datapath = FloatArray(code.astype(fmt.code_dtype), 0, fmt), FloatDatapath(rule)
    table = term_table(datapath, fmt, fmt)
    assert table is not None
    assert table.table.dtype == np.float64
    for left, right in ((a, a.T), (a.T, a)):
        acc, overflowed = matmul_counted(left, right, datapath)
        wanted = matmul_counted(left, right, datapath, backend="oracle")
        np.testing.assert_array_equal(acc, wanted[0])
        assert overflowed == wanted[1]


def test_a_first_layer_where_a_norm_bound_fails_needs_hardly_a_replay() -> None:
    """Non-negative inputs, 784 of them: sums of magnitudes pass the range, running sums do not."""
    rng = np.random.default_rng(1)
    x, w = rng.random((128, 784)), rng.standard_normal((784, 64))
    a, b = encoded(x), encoded(w)
    datapath = Datapath()
    acc = matmul_counted(a, b, datapath)[0]
    sizes = [LNSArray(array.code & 127, 0, LNS8) for array in (a, b)]
    norms = matmul_counted(*sizes, Datapath(accumulator=Accumulator(bits=40, guard=20)))[0]
    assert (norms > 2**23).mean() > 0.9  # of the sums of magnitudes
    assert np.abs(acc).max() < 2**23
    replayed, overflowed = replays(a, b, datapath)
    assert overflowed == 0
    assert replayed < 128 * (784 // 12) // 100


@pytest.mark.parametrize("entries", [2, 8])
@pytest.mark.parametrize("columns", [8, 32, 64, 96])
def test_bins_of_whole_runs_of_columns_equal_the_general_kernel(columns: int, entries: int) -> None:
    """Columns that are read in runs, and spread over several blocks of bins."""
    rng = np.random.default_rng(columns)
    a, b = encoded(rng.standard_normal((70, 90))), encoded(rng.standard_normal((90, columns)))
    for guard in (0, 4):
        rule = Accumulator(style="bins", guard=guard)
        replays(a, b, Datapath(Antilog(entries), rule))


def weighted_parts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """From now on, whether each part that was tried as weighted sums could stand."""
    found: list[bool] = []
    run = bins._part

    def look(*args: Any) -> bool:
        found.append(run(*args))
        return found[-1]

    monkeypatch.setattr(bins, "_part", look)
    return found


@pytest.mark.parametrize("rounding", ["floor", "toward_zero"])
@pytest.mark.parametrize("entries", [2, 4, 8])
def test_bins_that_cannot_overflow_are_weighted_sums(
    entries: int, rounding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normal data needs no bins, in any number of parts; results equal the general kernel."""
    found = weighted_parts(monkeypatch)
    rng = np.random.default_rng(entries)
    a, b = encoded(rng.standard_normal((70, 330))), encoded(rng.standard_normal((330, 70)))
    datapath = Datapath(Antilog(entries), Accumulator(style="bins", rounding=rounding))
    for rows, columns, products in ((2048, 512, 1024), (64, 32, 100)):
        for name, value in (("ROWS", rows), ("COLUMNS", columns), ("PRODUCTS", products)):
            monkeypatch.setattr(bins, f"PART_{name}", value)
        assert replays(a, b, datapath) == (0, 0)
        replays(b.T, a.T, datapath)
    assert found
    assert all(found)


@pytest.mark.parametrize("sign", [0, 128])
def test_a_bin_that_is_full_to_the_unit_is_told_from_one_that_overflows(
    sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All products in bin 0, whose constant is the least: the proof holds up to the last unit."""
    monkeypatch.setattr(bins, "_guess", lambda *_: 0.0)
    found = weighted_parts(monkeypatch)
    datapath = Datapath(accumulator=Accumulator(bits=10, guard=3, style="bins"))
    outcomes = set()
    for products in range(1, 80):
        code = np.full((3, products), 120, np.uint8)  # remainder 0
        code[:, ::3] = 112
        a, b = LNSArray(code, 0, LNS8), LNSArray(code.T ^ np.uint8(sign), 0, LNS8)
        _, overflowed = replays(a, b, datapath)
        full = found[-1]
        assert not (full and overflowed)
        outcomes.add((full, bool(overflowed)))
    assert {(True, False), (False, True)} <= outcomes


@pytest.mark.parametrize("shape", [(0, 5, 3), (3, 0, 5), (3, 5, 0), (1, 1, 1)], ids=str)
def test_bins_of_nothing_are_zeros(shape: tuple[int, int, int]) -> None:
    """No rows, no products, no columns."""
    m, k, n = shape
    a, b = encoded(np.ones((m, k))), encoded(np.ones((k, n)))
    acc, overflowed = matmul_counted(a, b, Datapath(accumulator=Accumulator(style="bins")))
    assert acc.shape == (m, n)
    assert not overflowed
    assert acc.any() == (shape == (1, 1, 1))


def test_bins_that_are_likely_to_overflow_are_not_tried_as_weighted_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Long sums go straight to a column a bin."""
    found = weighted_parts(monkeypatch)
    rng = np.random.default_rng(1)
    a, b = encoded(rng.standard_normal((16, 9000))), encoded(rng.standard_normal((9000, 16)))
    replays(a, b, Datapath(accumulator=Accumulator(style="bins")))
    assert not found


def test_read_only_operands_are_taken_without_compiling_again() -> None:
    """Codes and numbers that may not be written give the same result."""
    a = random_array("lns", (20, 30), 1)
    wanted = matmul_counted(a, a.T, Datapath())[0]
    codes = a.code.copy()
    codes.setflags(write=False)
    frozen = LNSArray(codes, 0, LNS8)
    compiled = len(slab.run_slab.signatures)
    np.testing.assert_array_equal(matmul_counted(frozen, frozen.T, Datapath())[0], wanted)
    assert len(slab.run_slab.signatures) == compiled
    x = np.linspace(-1, 1, 50, dtype=np.float32)
    same = quantise(x, LNS8)[0]
    x.setflags(write=False)
    np.testing.assert_array_equal(quantise(x, LNS8)[0].code, same.code)


def test_a_machine_that_does_not_floor_gets_the_general_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fast kernel is tried once; where it would be wrong the result comes from elsewhere."""
    assert cpu.trusted()
    rng = np.random.default_rng(2)
    a, b = encoded(rng.standard_normal((5, 40))), encoded(rng.standard_normal((40, 7)))
    wanted = matmul_counted(a, b, Datapath())
    monkeypatch.setattr(cpu, "trusted", lambda: False)
    monkeypatch.setattr(cpu, "gemm_terms", None)
    got = matmul_counted(a, b, Datapath())
    np.testing.assert_array_equal(got[0], wanted[0])
    assert got[1] == wanted[1]


CASES: dict[str, Any] = {
    "lns": (LNSArray, LNS8, Datapath()),
    "lns-wide": (LNSArray, LNS8, Datapath(accumulator=Accumulator(bits=40, guard=3))),
    "lns-bins": (LNSArray, LNS8, Datapath(Antilog(4), Accumulator(style="bins", guard=0))),
    "lns-general": (LNSArray, LNSFormat(7, 256), Datapath()),
    "float": (FloatArray, FP8_E4M3, FloatDatapath()),
    "float-fixed": (FloatArray, FP8_E4M3, FloatDatapath(Accumulator())),
    "int": (IntArray, INT8, IntDatapath()),
}


def random_array(name: str, shape: tuple[int, ...], seed: int, offset: Any = 0) -> Any:
    """Finite codes of a case's format."""
    kind, fmt, _ = CASES[name]
    code = np.random.default_rng(seed).integers(0, 256, shape)
    if kind is FloatArray:
        code = np.where((code & 127) == 127, 0, code)
    if kind is IntArray:
        code = code - 128
    return kind(code.astype(fmt.code_dtype), offset, fmt)  # type: ignore[attr-defined]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (40, 70), (17, 64)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_gathered_operands_equal_their_copies(
    name: str, size: tuple[int, int], turned: bool
) -> None:
    """Patches read in place, on either side and transposed, give what the gathered matrix gives."""
    whole = random_array(name, (3, 5, 40), 1, offset=8)
    rows = np.sort(np.random.default_rng(2).integers(0, 300, size[0])).astype(np.int64)
    rows[size[0] // 2 :] = rows[0] + np.arange(size[0] - size[0] // 2)  # a run among them
    k_at = (np.arange(size[1]) * 3 % 256).astype(np.int64)
    gathered = Gathered(whole, rows, k_at)
    matrix = gathered.gathered()
    assert matrix.shape == gathered.shape == size
    datapath = CASES[name][2]
    other = random_array(name, (9, size[0]) if turned else (size[1], 9), 3)
    pairs = [(other, one) if turned else (one, other) for one in (gathered, matrix)]
    (got, got_count), (wanted, count) = (matmul_counted(*pair, datapath) for pair in pairs)
    np.testing.assert_array_equal(got, wanted)
    assert got_count == count
    flipped = matmul_counted(pairs[1][1].T, pairs[1][0].T, datapath)[0]
    again = matmul_counted(pairs[0][1].T, pairs[0][0].T, datapath)[0]
    np.testing.assert_array_equal(again, flipped)


@pytest.mark.parametrize("along_k", [False, True])
@pytest.mark.parametrize("run", [1, 2, 3, 7, 14, 15, 16, 17, 40, 64, 70])
def test_runs_of_any_length_are_read_to_the_end_of_the_memory(run: int, along_k: bool) -> None:
    """Neighbours in runs along rows or along k, the last one up to the last code."""
    starts = np.arange(0, 140, run)
    one = np.concatenate([np.arange(run) + start // run * (run + 3) for start in starts])[:140]
    other = np.arange(50) * (one.max() + 5)
    row_at, k_at = (other, one) if along_k else (one, other)
    whole = random_array("lns", (int(row_at.max() + k_at.max()) + 1,), run)
    gathered = Gathered(whole, row_at.astype(np.int64), k_at.astype(np.int64))
    copied = LNSArray(whole.code[row_at[:, None] + k_at], 0, LNS8)
    b = random_array("lns", (k_at.size, 37), 1)
    np.testing.assert_array_equal(
        matmul_counted(gathered, b, Datapath())[0], wide_product(copied, b, Datapath())[0]
    )
    np.testing.assert_array_equal(
        matmul_counted(b.T, gathered.T, Datapath())[0],
        wide_product(b.T, copied.T, Datapath())[0],
    )


@pytest.mark.parametrize(
    ("rows", "k_at", "message"),
    [
        ([0, 9], [0, 8], r"^row_at \+ k_at must lie within the 16 codes, got 0 to 17$"),
        ([0, -1], [0, 8], r"^row_at \+ k_at must lie within the 16 codes, got -1 to 8$"),
    ],
)
def test_gathered_operands_stay_within_their_codes(
    rows: list[int], k_at: list[int], message: str
) -> None:
    """No offset may leave the memory."""
    array = LNSArray(np.zeros((4, 4), np.uint8), 0, LNS8)
    with pytest.raises(ValueError, match=message):
        Gathered(array, np.array(rows, np.int64), np.array(k_at, np.int64))


def test_a_pattern_serves_several_matrices() -> None:
    """With the same result as offsets of each one's own, shifted or not."""
    row_at, k_at = np.arange(12, dtype=np.int64) * 3, np.arange(30, dtype=np.int64)
    pattern = Pattern(row_at, k_at)
    assert pattern.ends == (0, 62)
    for seed in (1, 2):
        whole, b = random_array("lns", (81,), seed), random_array("lns", (30, 9), 3)
        for by in (0, 17):
            shared = Gathered.of(whole, pattern.shifted(by))
            own = Gathered(whole, row_at + by, k_at)
            assert dataclasses.replace(own, k_at=k_at + 1).pattern.ends == (by + 1, by + 63)
            for one, other in ((shared, own), (shared.T.T, own.T.T)):
                np.testing.assert_array_equal(
                    matmul_counted(one, b, Datapath())[0], matmul_counted(other, b, Datapath())[0]
                )
                np.testing.assert_array_equal(
                    matmul_counted(b.T, one.T, Datapath())[0],
                    matmul_counted(b.T, other.T, Datapath())[0],
                )
    with pytest.raises(ValueError, match=r"must lie within the 81 codes, got 19 to 81$"):
        Gathered.of(whole, pattern.shifted(19))
    with pytest.raises(AttributeError):
        pattern.k_at = k_at * 1000  # type: ignore[misc]
    with pytest.raises(TypeError, match="pattern must be of type Pattern, got tuple"):
        Gathered.of(whole, (row_at, k_at))  # type: ignore[arg-type]


def test_offsets_are_contiguous_integers() -> None:
    """Kernels read them as they lie in memory."""
    at = np.arange(20, dtype=np.int64)
    with pytest.raises(ValueError, match=r"^row_at must be C-contiguous, got strides \(16,\)$"):
        Pattern(at[::2], at)
    with pytest.raises(ValueError, match=r"^k_at must be C-contiguous, got strides \(-8,\)$"):
        Pattern(at, at[::-1])
    with pytest.raises(TypeError, match=r"^k_at must be 1-dimensional int64, got 1-d int32$"):
        Pattern(at, at.astype(np.int32))
    with pytest.raises(TypeError, match=r"^row_at must be 1-dimensional int64, got 3$"):
        Pattern(3, at)  # type: ignore[arg-type]


@pytest.mark.parametrize("products", [1023, 1025, 2100])
@pytest.mark.parametrize("along_k", [False, True])
def test_long_gathered_operands_are_packed_in_pieces(products: int, along_k: bool) -> None:
    """More products than a packing task takes, on either side, in runs along rows or along k."""
    steps = np.where(np.random.default_rng(products).random(products - 1) < 0.8, 1, 3)
    k_at = np.concatenate(([0], np.cumsum(steps))).astype(np.int64)
    row_at = np.arange(70, dtype=np.int64) * int(k_at[-1] + 5)
    if not along_k:
        k_at, row_at = np.arange(products, dtype=np.int64) * 83, np.arange(70, dtype=np.int64)
    pattern = Pattern(row_at, k_at)
    assert pattern.reading[0][0] == (ALONG_K if along_k else ALONG_ROWS)
    gathered = Gathered.of(random_array("lns", (pattern.ends[1] + 1,), 1), pattern)
    copied, b = gathered.gathered(), random_array("lns", (products, 33), 2)
    for parts in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            in_parts(parts, patch)
            for pair, known in (((gathered, b), (copied, b)), ((b.T, gathered.T), (b.T, copied.T))):
                got, wanted = matmul_counted(*pair, Datapath()), wide_product(*known, Datapath())
                np.testing.assert_array_equal(got[0], wanted[0])
                assert got[1] == wanted[1]


@pytest.mark.parametrize("offsets", [(0, 0), (-24, 40), (3, 0), (2000, 2000), "rows"], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_real_results_are_the_accumulators_values_rounded_once(name: str, offsets: Any) -> None:
    """float32 of `to_real`, wherever it is put; beyond float32's range infinite and counted."""
    first, second = offsets if offsets != "rows" else (np.array([[1], [2], [3]] * 7, np.int32), 5)
    a, b = random_array(name, (21, 33), 5, first), random_array(name, (33, 70), 6, second)
    datapath = CASES[name][2]
    acc, overflowed = matmul_counted(a, b, datapath)
    with np.errstate(over="ignore"):
        wanted = datapath.to_real(acc, a, b).astype(np.float32)
    real, count = matmul_real(a, b, datapath)
    np.testing.assert_array_equal(real, wanted)
    assert count == max(overflowed, int((~np.isfinite(wanted)).sum()))
    memory = np.full(70 * 21, np.nan, np.float32)
    rows, columns = np.arange(21, dtype=np.int64), np.arange(70, dtype=np.int64) * 21
    same, _ = matmul_real(a, b, datapath, Place(memory, rows, columns, False))
    assert same is memory
    np.testing.assert_array_equal(memory.reshape(70, 21), wanted.T)


def test_a_place_of_another_shape_is_refused() -> None:
    """The message names both shapes."""
    a = random_array("lns", (2, 3), 0)
    at = np.arange(2, dtype=np.int64)
    with pytest.raises(ValueError, match=r"^place must be for a result of shape \(2, 2\), got"):
        matmul_real(a, a.T, Datapath(), Place(np.zeros(4, np.float32), at, at[:1], True))


@pytest.mark.parametrize("shape", [(3000, 300, 3000), (40, 200_000, 70)], ids=str)
def test_a_product_takes_little_memory_beside_its_operands_and_result(
    shape: tuple[int, int, int],
) -> None:
    """At most the output, operands packed in 16 bits and 64 MiB, transposed operands included."""
    m, k, n = shape
    a, b = random_array("lns", (k, m), 1).T, random_array("lns", (n, k), 2).T
    small = random_array("lns", (2, 2), 1)
    matmul_counted(small, small, Datapath())  # compiled
    tracemalloc.start()
    matmul_counted(a, b, Datapath())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8 * m * n + 2 * (m * k + k * n) + (64 << 20)


@pytest.mark.parametrize("lanes", [1, 3, 700])
@pytest.mark.parametrize("name", ["lns", "lns-wide", "lns-bins"])
def test_slabs_change_nothing(name: str, lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slabs of rows, of columns and of k, groups that end with them, results in place."""
    for limit in ("STATE_BYTES", "WORDS_BYTES", "INDEX_BYTES"):
        monkeypatch.setattr(product, limit, 1)
    for least, value in (("LEAST_ROWS", 64), ("LEAST_BLOCKS", 1), ("LEAST_PRODUCTS", 1)):
        monkeypatch.setattr(product, least, value)
    before = CASES[name][2]
    rule = dataclasses.replace(before.accumulator, lanes=lanes)
    datapath = Datapath(before.antilog, rule)
    rng = np.random.default_rng(lanes)
    a, b = encoded(rng.standard_normal((130, 2500))), encoded(rng.random((2500, 90)) - 0.4)
    replays(a, b, datapath)
    replays(b.T, a.T, datapath)


def test_slabs_of_gathered_rows_read_their_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in runs of many lengths, cut anywhere by slabs, on either side."""
    for limit in ("STATE_BYTES", "WORDS_BYTES", "INDEX_BYTES"):
        monkeypatch.setattr(product, limit, 1)
    for least, value in (("LEAST_ROWS", 64), ("LEAST_BLOCKS", 1), ("LEAST_PRODUCTS", 16)):
        monkeypatch.setattr(product, least, value)
    steps = np.where(np.random.default_rng(1).random(299) < 0.8, 1, 4)
    row_at = np.concatenate(([0], np.cumsum(steps))).astype(np.int64)
    k_at = np.arange(40) * 3
    whole = random_array("lns", (int(row_at[-1] + k_at[-1]) + 1,), 2)
    gathered = Gathered(whole, row_at, k_at)
    copied, b = gathered.gathered(), random_array("lns", (40, 70), 3)
    for name in ("lns", "lns-bins"):
        datapath = CASES[name][2]
        for pair, known in (((gathered, b), (copied, b)), ((b.T, gathered.T), (b.T, copied.T))):
            wanted = wide_product(*known, datapath)[0]
            np.testing.assert_array_equal(matmul_counted(*pair, datapath)[0], wanted)


@pytest.mark.parametrize(
    ("rows", "blocks", "products", "threads", "cut"),
    [
        (60, 1, 2000, 1, (64, 1)),
        (60, 1, 400, 2, (64, 1)),  # parts of 200 products would be too short
        (60, 1, 2000, 2, (64, 2)),
        (144, 1, 7000, 2, (192, 2)),
        (256, 1, 7000, 2, (128, 1)),
        (60, 2, 7000, 16, (64, 8)),
        (60, 3, 7000, 4, (64, 4)),  # two parts of three blocks would be two rounds
        (128, 4, 2000, 1, (128, 1)),
        (5000, 1, 2000, 1, (1024, 1)),
        (5000, 1, 2000, 2, (640, 1)),
        (3000, 3, 2000, 4, (768, 1)),
    ],
)
def test_every_thread_gets_as_much_to_do(
    rows: int, blocks: int, products: int, threads: int, cut: tuple[int, int]
) -> None:
    """Five tasks of 1024 rows would leave the second thread idle at the end: eight smaller ones.

    Few rows are not cut, since the columns' terms are made for every task: k is.
    """
    assert product.cut_tasks(rows, blocks, products, threads, 32) == cut


def in_parts(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have products be computed in so many parts of k, of tasks of 64 rows."""
    monkeypatch.setattr(product, "cut_tasks", lambda *_: (64, parts))


PARTED = {
    "saturate": Accumulator(),
    "toward-zero": Accumulator(rounding="toward_zero"),
    "groups": Accumulator(lanes=5),
    "long-groups": Accumulator(lanes=40),
    "wrap": Accumulator(overflow="wrap"),
    "narrow": Accumulator(bits=12, guard=2),
    "wide": Accumulator(bits=40, guard=2),
    "wider": Accumulator(bits=44, guard=2),
    "bins": Accumulator(style="bins", guard=2),
}


def repeats(a: LNSArray, b: LNSArray, rule: Accumulator) -> tuple[int, int]:
    """(parts of k done again, outputs that left the range); equal to the general kernel."""
    before = product.repeated_parts
    overflowed = replays(a, b, Datapath(Antilog(4), rule))[1]
    return product.repeated_parts - before, overflowed


@pytest.mark.parametrize("several_slabs", [False, True])
@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize("name", PARTED)
def test_parts_of_k_give_the_same_sums(
    name: str, parts: int, several_slabs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added up where no sum can have left its range, else done again one product after the other:
    for sums that never do, that may, that do at once, that do late and come back, and that do
    soon. On all threads; in slabs of k where sums go on from one to the next."""
    in_parts(parts, monkeypatch)
    monkeypatch.setattr(cpu, "_FAST_GRAIN", 1)
    monkeypatch.setattr(bins, "_guess", lambda *_: math.inf)  # a column a bin at once
    if several_slabs:
        for limit in ("STATE_BYTES", "WORDS_BYTES", "INDEX_BYTES"):
            monkeypatch.setattr(product, limit, 1)
        monkeypatch.setattr(product, "LEAST_PRODUCTS", 150)
    rng, rule = np.random.default_rng(parts), PARTED[name]
    a, normal = encoded(rng.standard_normal((70, 400))), rng.standard_normal((400, 70))
    b = encoded(normal)
    size = b.code & 127
    low = LNSArray(np.where(size > 61, b.code - 60, 0).astype(np.uint8), 0, LNS8)
    assert repeats(a, low, rule) == (0, 0)
    repeats(a, b, rule)
    positive, rising = encoded(rng.random((70, 400))), encoded(rng.random((400, 70)))
    again, left = repeats(positive, rising, rule)
    assert again > 0
    assert left > 0
    late, soon = normal * 0.1, normal * 0.1
    late[200:300], late[300:] = np.abs(late[200:300]) * 10, -np.abs(late[300:]) * 10
    soon[:60], soon[60:120] = np.abs(soon[:60]) * 20, -np.abs(soon[60:120]) * 20
    repeats(positive, encoded(late), rule)
    repeats(a, encoded(soon), rule)


@pytest.mark.parametrize("lanes", [1, 5, 40])
def test_parts_without_products_add_nothing(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts than chunks of k, or than groups: the first one may be empty too."""
    in_parts(7, monkeypatch)
    monkeypatch.setattr(cpu, "_FAST_GRAIN", 1)
    rng = np.random.default_rng(lanes)
    for products in (1, 30, 95):
        a, b = rng.standard_normal((9, products)), rng.standard_normal((products, 70))
        repeats(encoded(a), encoded(b), Accumulator(lanes=lanes))
        repeats(encoded(np.abs(a)), encoded(np.abs(b)), Accumulator(lanes=lanes, guard=0))


@pytest.mark.parametrize("name", ["float-fixed", "int", "lns-wide", "lns-bins"])
def test_parts_of_k_of_other_operands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms of one panel row, 32-bit sums that so few products cannot fill, bins as they come."""
    in_parts(3, monkeypatch)
    monkeypatch.setattr(cpu, "_FAST_GRAIN", 1)
    a, b = random_array(name, (70, 700), 1), random_array(name, (700, 40), 2)
    got, wanted = (run(a, b, CASES[name][2]) for run in (matmul_counted, wide_product))
    np.testing.assert_array_equal(got[0], wanted[0])
    assert got[1] == wanted[1]


def test_parts_of_k_are_done_again_where_they_cannot_be_added_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Terms of 2^14 under a top of 2^23, the second part from term 360 on: it is added where it
    begins at most half way up (256 terms) and itself moves by less than that."""
    in_parts(2, monkeypatch)

    def again(*runs: int) -> tuple[int, int]:
        """(parts done again, outputs that left the range): 720 terms up or down, rest in turns."""
        signs = np.tile([1, -1], 360)
        for part, run in zip((0, 360), runs, strict=True):
            signs[part : part + abs(run)] = np.sign(run)
        code = np.where(signs < 0, 128 + 108, 108).astype(np.uint8)
        ones = LNSArray(np.full((5, 720), 108, np.uint8), 0, LNS8)
        assert matmul_counted(ones[:, :1], ones[:1].T[:1], Datapath())[0][0, 0] == 2**14
        before = product.repeated_parts
        overflowed = replays(ones, LNSArray(code[:, None], 0, LNS8), Datapath())[1]
        return product.repeated_parts - before, overflowed

    assert again(0, 0) == (0, 0)
    assert again(250, 220) == (0, 0)
    assert again(-250, -220) == (0, 0)
    assert again(260, 0) == (1, 0)
    assert again(-260, 0) == (1, 0)
    assert again(0, 260) == (1, 0)
    assert again(250, 262) == (1, 5)
    monkeypatch.setattr(product, "PARTS_BYTES", 1)  # no room for the sums of a second part
    assert again(260, 0) == (0, 0)
    assert again(250, 262) == (0, 5)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70) | st.integers(1, 9000),
    st.integers(0, 2**32),
    st.sampled_from((7, 11, 15)),
    st.sampled_from((0.0, 1e-30, 1.0, 1e25)),
    st.floats(0.01, 500),
)
def test_madam_in_one_pass_has_the_bits_of_the_formulas(
    size: int, seed: int, exponent_bits: int, scale: float, lr_factor: float
) -> None:
    """Codes, second moments and counts over three steps, zero and tiny gradients included."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 2 << exponent_bits, size).astype(np.int32)
    theirs, v_theirs = torch.from_numpy(code.copy()), torch.zeros(size)
    v = np.zeros(size, np.float32)
    for step in (1, 2, 3):
        gradient = (rng.standard_normal(size) * scale * (rng.random(size) > 0.3)).astype(np.float32)
        g = torch.from_numpy(gradient)
        u, v_theirs = madam_direction(g, v_theirs, step)
        undefined = undefined_directions(g, v_theirs)
        counts = move_codes(code, gradient, v, step, lr_factor, exponent_bits)
        theirs = integer_madam_update(theirs, u, lr_factor, exponent_bits)
        np.testing.assert_array_equal(code, theirs.numpy())
        np.testing.assert_array_equal(v, v_theirs.numpy())
        assert counts is not None
        assert counts[0] == undefined
        top = (1 << exponent_bits) - 1
        assert counts[1] <= int((theirs & top == top).sum())
        assert counts[2] <= int((theirs & top == 0).sum())


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    """Neither codes nor moments are written."""
    code, v = np.arange(5, dtype=np.int32), np.ones(5, np.float32)
    gradient = np.array([1, 2, np.inf, 3, 4], np.float32)
    assert move_codes(code, gradient, v, 1, 1.0, 7) is None
    np.testing.assert_array_equal(code, np.arange(5))
    np.testing.assert_array_equal(v, np.ones(5))


@pytest.mark.parametrize("offset", [None, -2400, 0])
@pytest.mark.parametrize("fmt", [LNS8, LNSFormat(8, 16, zero=False), LNSFormat(11, 1)], ids=str)
def test_the_quick_encoder_leaves_subnormals_to_the_general_one(
    fmt: LNSFormat, offset: int | None
) -> None:
    """Subnormals, zeros and lone elements at every position of a vector: as `lns.encode`."""
    rng = np.random.default_rng(9)
    for size in (1, 31, 32, 33, 4097):
        x = rng.standard_normal(size).astype(np.float32)
        for scale in (1.0, 1e-38, 1e-44):
            tiny = np.where(rng.random(size) < 0.5, x * np.float32(scale), 0).astype(np.float32)
            got, counts = quantise(tiny, fmt, offset)
            wanted = encode(tiny, fmt, offset)
            np.testing.assert_array_equal(got.code, wanted.code)
            assert got.offset == wanted.offset
            assert counts.elements == size


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


MESSAGE = "lnsim: compiling kernels for this machine, once (up to half a minute)\n"
DECODE = """
import numpy as np
from lnsim.kernels import decode
from lnsim.lns.array import LNSArray
from lnsim.lns.format import LNS8
decode(LNSArray(np.zeros(3, np.uint8), 0, LNS8))
"""


def test_compiling_is_announced_once_and_not_again(tmp_path: Path) -> None:
    """A process with an empty cache says one line on stderr; the next has nothing to compile."""
    first, second = (run_script(DECODE, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stderr == MESSAGE
    assert second.stderr == ""
