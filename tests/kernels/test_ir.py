"""Every intrinsic of kernels/cpu/ir does, bit for bit, what its twin in plain_loops.py says."""

import inspect
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import numpy.typing as npt
import plain_loops as plain
import pytest
from lnsim.kernels.cpu import ir
from lnsim.kernels.cpu.codes.encode32 import fractions
from lnsim.kernels.cpu.ir import (
    add_terms,
    add_weighted,
    elementwise,
    fma,
    moves,
    pack_words,
    results,
    step_terms,
)
from lnsim.kernels.cpu.ir import tasks as tasks_ir
from lnsim.kernels.cpu.ir.add_terms import DOWN, NEAREST, keep_apart, set_rounding
from lnsim.kernels.cpu.ir.emit import BLOCK, LANES, START_BITS, SUMS, UNITS, VECTOR_BYTES, VECTORS
from numba import njit
from numba.core.extending import _Intrinsic

Array = npt.NDArray[Any]
LANE = {np.float32: np.int32, np.float64: np.int64}  # terms and their sums


def compiled(intrinsic: Any) -> Callable[..., Any]:
    """The intrinsic as a function; not cached, since it is compiled into it."""

    @njit
    def call(*given):  # type: ignore[no-untyped-def]
        return intrinsic(*given)

    return call  # type: ignore[no-any-return]


def rounded_down(intrinsic: Any) -> Callable[..., Any]:
    """The intrinsic as a function that rounds floats down meanwhile, as tile.py calls it."""

    @njit
    def apart(*given):  # type: ignore[no-untyped-def]
        keep_apart()
        intrinsic(*given)

    @njit
    def call(*given):  # type: ignore[no-untyped-def]
        set_rounding(DOWN)
        apart(*given)
        set_rounding(NEAREST)

    return call  # type: ignore[no-any-return]


def same(call: Callable[..., Any], twin: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call both on copies of the arguments; what they return and leave in arrays is the same."""
    mine, theirs = (
        [x.copy() if isinstance(x, np.ndarray) else x for x in arguments] for _ in range(2)
    )
    got, wanted = call(*mine), twin(*theirs)
    assert got == wanted
    for ours, judged in zip(mine, theirs, strict=True):
        if isinstance(ours, np.ndarray):
            assert ours.tobytes() == judged.tobytes(), (ours, judged)
    return mine


class Terms:
    """Random words of a, and a panel of `rows` rows of `width` columns whose products are exact."""

    def __init__(self, seed: int, item: Any, width: int, rows: int, words: int) -> None:
        rng, size = np.random.default_rng(seed), np.dtype(item).itemsize
        self.low = np.uint32(0xFFFF if size == 4 else 0x7FFF)
        factor = rng.integers(-15, 16, words) * np.exp2(-rng.integers(0, 20, words))
        factor[rng.random(words) < 0.1] = 0.0
        if size == 4:
            bits = factor.astype(np.float32).view(np.uint32)
        else:
            bits = (factor.view(np.uint64) >> np.uint64(32)).astype(np.uint32)
        assert not (bits & self.low).any()
        offset = rng.integers(0, rows, words) * (width * size // UNITS[size])
        self.words = bits | offset.astype(np.uint32)
        panel = rng.integers(-511, 512, rows * width) * np.exp2(-rng.integers(-4, 40, rows * width))
        panel[rng.random(panel.size) < 0.1] = 0.0
        panel[rng.random(panel.size) < 0.1] = -(2.0**-60)
        self.panel = panel.astype(item)
        self.weights = rng.integers(1, 64, panel.size).astype(np.int32).view(np.float32)


COUNTS = (0, 1, 3, 4, 11, 12, 13, 24)  # products: 12 take a loop of their own, four go together


@pytest.mark.parametrize("item", LANE)
@pytest.mark.parametrize("name", ["add_terms_floor", "add_terms_toward_zero"])
def test_terms_are_added(name: str, item: type) -> None:
    """Floored and towards zero, in blocks of every width; between rows of words there is room."""
    call = rounded_down(getattr(add_terms, name))
    for vectors in VECTORS:
        width = vectors * VECTOR_BYTES // np.dtype(item).itemsize
        for count in COUNTS:
            rows, step, at = 3 * SUMS // vectors, count + 2, 5
            terms = Terms(count, item, width, 9, at + rows * step)
            start = np.full(rows * width, START_BITS[np.dtype(item).itemsize], LANE[item])
            given = width, terms.panel, terms.words, at, step, terms.low, count
            found = same(call, getattr(plain, name), start, *given)[0]
            assert (found != start).any() == (count > 0)


@pytest.mark.parametrize("item", LANE)
@pytest.mark.parametrize("name", ["step_terms_floor", "step_terms_toward_zero"])
def test_terms_are_folded_group_by_group(name: str, item: type) -> None:
    """Saturating and wrapping, for some rows of a block."""
    call = rounded_down(getattr(step_terms, name))
    bits = np.iinfo(LANE[item]).bits
    left = set()
    for vectors, group, wrap in ((1, 1, 0), (2, 3, -1), (4, 7, 0), (1, 1, -1), (2, 24, 0)):
        width = vectors * VECTOR_BYTES // np.dtype(item).itemsize
        for count in COUNTS:
            terms = Terms(count, item, width, 9, 7 * (count + 1) + 3)
            chosen = np.array([1, 0, 1, 1, 0, 0, 1], np.uint8)
            rng = np.random.default_rng(count)
            acc = rng.integers(-512, 512, 7 * width).astype(LANE[item])
            rule = tuple(map(LANE[item], (-512, 511, bits - 10, wrap)))
            given = width, terms.panel, terms.words, 3, count + 1, terms.low, count, group, rule
            flags = rng.integers(0, 2, acc.size).astype(np.uint8)
            found = same(call, getattr(plain, name), acc, flags, chosen, *given)
            left.add(bool((found[1] != flags).any()))
    assert left == {False, True}


@pytest.mark.parametrize("dtype", LANE.values())
def test_sums_are_folded(dtype: type) -> None:
    """Both ends, the values beside them, and the middle, from any place on."""
    call, bits = compiled(step_terms.fold_terms), np.iinfo(dtype).bits
    for width in (2, 9, bits - 1):
        half = 1 << (width - 1)
        edges = [-half - 1, -half, -half + 1, -1, 0, 1, half - 1, half]
        acc = np.resize(np.array(edges, dtype), 6 * LANES)
        for wrap in (0, -1):
            rule = tuple(map(dtype, (-half, half - 1, bits - width, wrap)))
            flags = (np.arange(acc.size) % 3 == 0).astype(np.uint8)
            same(call, plain.fold_terms, acc, LANES, 3 * LANES, flags, rule)


@pytest.mark.parametrize("name", ["add_weighted_floor", "add_weighted_toward_zero"])
def test_weighted_terms_are_added(name: str) -> None:
    """To both kinds of sums; see add_weighted.py."""
    call, width = rounded_down(getattr(add_weighted, name)), add_weighted.WEIGHTED_VECTORS * LANES
    for count in COUNTS:
        terms = Terms(count, np.float32, width, 9, 5 * (count + 2) + 1)
        acc, size = np.random.default_rng(count).integers(-(1 << 50), 1 << 50, (2, 5 * width))
        given = terms.panel, terms.weights, terms.words, 1, count + 2, terms.low, count
        same(call, getattr(plain, name), acc, size, 5, *given)


@pytest.mark.parametrize("dtype", LANE.values())
def test_sums_are_measured_carried_and_sized(dtype: type) -> None:
    """`peak`, `move`, `factor_size`, where near sums start at 1.5 * 2^m."""
    rng, size = np.random.default_rng(3), np.dtype(dtype).itemsize
    peak, move = compiled(add_terms.peak), compiled(add_terms.move)
    factor_size, zero = compiled(add_terms.factor_size), START_BITS[size]
    for bits in (1, 8, 22):
        held = rng.integers(-(1 << bits), 1 << bits, 6 * LANES)
        near, far = (held + zero).astype(dtype), held[::-1].astype(dtype)
        for most in ((1 << bits), (1 << 31) - 1, (1 << 8 * size - 2)):
            same(peak, plain.peak, near, LANES, 3 * LANES, zero, most)
            same(peak, plain.peak, far, LANES, 4 * LANES, 0, most)
        for fresh in (False, True):
            same(move, plain.move, near, far, LANES, 3 * LANES, zero, fresh)
    words = Terms(1, np.float32 if size == 4 else np.float64, 16, 4, 40).words
    for at in range(words.size):
        same(factor_size, plain.factor_size, words, at, far)


@pytest.mark.parametrize("item", LANE)
@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_table_rows_are_expanded(rows: int, item: type) -> None:
    """Of tables with as many columns and with more."""
    rng = np.random.default_rng(rows)
    call = compiled(getattr(moves, f"expand_{rows}"))
    table = rng.standard_normal(31 * 2 * rows).astype(item)
    index = rng.integers(0, 31, 20).astype(np.uint16)
    panel = np.zeros(rows * 40, item)
    for at, stride in ((0, rows), (rows, 2 * rows)):
        given = table, at, stride, index, 3, panel, 5, 33
        same(call, getattr(plain, f"expand_{rows}"), *given)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_codes_are_read_turned_and_compared(dtype: type) -> None:
    """`read_spans` to the end of the memory, `turn_8` (into wider codes too), `largest_code`."""
    rng = np.random.default_rng(4)
    memory = rng.integers(0, np.iinfo(dtype).max, 400, dtype, endpoint=True)
    read, largest = compiled(moves.read_spans), compiled(moves.largest_code)
    for run in (1, 2, 15, 16, 17, 40):
        at = (np.arange(90) // run * 3 + np.arange(90)) % 360
        at = np.sort(at) if run == 40 else at
        runs = np.ones(90, np.int64)
        for i in range(88, -1, -1):
            runs[i] = runs[i + 1] + 1 if at[i + 1] == at[i] + 1 else 1
        base = 399 - int(at.max())
        given = memory, base, at, runs, 4, np.zeros(86 + moves.SPAN, dtype), 0, 86
        mine, theirs = (given[5].copy() for _ in range(2))
        read(*given[:5], mine, *given[6:])
        plain.read_spans(*given[:5], theirs, *given[6:])
        np.testing.assert_array_equal(mine[:86], theirs[:86])
    for mask in (0, 1, 0x7F, np.iinfo(dtype).max):
        for count in (1, 2, 31, 380):
            same(largest, plain.largest_code, memory, 7, dtype(mask), count)
    for out in {dtype, np.uint16}:
        same(compiled(moves.turn_8), plain.turn_8, memory, 3, 21, np.zeros(200, out), 5, 11)


def test_tables_are_looked_up() -> None:
    """`look_up` and `spread`: by both kinds of codes, in rows and in columns."""
    rng = np.random.default_rng(5)
    look_up, spread = compiled(moves.look_up), compiled(pack_words.spread)
    for dtype in (np.uint8, np.uint16):
        codes = rng.integers(0, 200, 300).astype(dtype)
        for table in (rng.integers(-99, 99, 200).astype(np.int32),):
            same(look_up, plain.look_up, table, codes, 11, np.zeros(300, np.int32), 200)
        words = rng.integers(0, 1 << 32, 200).astype(np.uint32)
        for row_step, step in ((30, 1), (1, 9)):
            for count in (0, 1, 4, 7, 12, 24):
                given = codes, 2, row_step, step, np.zeros(400, np.uint32), 3, 9, count
                same(spread, plain.spread, words, *given, np.uint32(40))


@pytest.mark.parametrize("item", LANE)
def test_the_reach_of_rows(item: type) -> None:
    """The largest sum of a row's |factors|, of sums that a float32 holds."""
    call = compiled(pack_words.reach)
    for count in (1, 3, 4, 5, 12, 24):
        terms = Terms(count, item, 64, 9, 12 * count + 3)
        bits = np.random.default_rng(count).choice([0.0, 1.0, -1.25, 0.125, -6.0], terms.words.size)
        if item is np.float32:
            words = bits.astype(item).view(np.uint32)
        else:
            words = (bits.view(np.uint64) >> np.uint64(32)).astype(np.uint32)
        words |= terms.words & terms.low
        for rows in (SUMS, 3 * SUMS):
            same(call, plain.reach, words, 3, rows, count, terms.low, np.zeros(1, item))


@pytest.mark.parametrize("dtype", LANE.values())
def test_accumulators_are_written_as_results(dtype: type) -> None:
    """As integers and as float32, in rows, columns and tiles."""
    rng = np.random.default_rng(6)
    bits = np.iinfo(dtype).bits - 1
    acc = (rng.integers(-(1 << bits), 1 << bits, 400) >> rng.integers(0, bits, 400)).astype(dtype)
    for name in ("put_row", "put_column"):
        call = compiled(getattr(results, name))
        for out in (np.zeros(40, np.int64), np.zeros(40, np.float32)):
            scale = 2.0**-11 if out.dtype == np.float32 else 0.0
            for count in (0, 1, 17):
                same(call, getattr(plain, name), acc, 9, 13, out, 3, count, scale)
    if dtype is np.int32:
        out, column_at = np.zeros(300, np.float32), np.arange(20) * 13
        given = acc, 5, 23, out, column_at, 4, 7, np.float32(2.0**-20)
        same(compiled(results.put_tile), plain.put_tile, *given)


@pytest.mark.parametrize("name", ["fma_row_many", "fma_row_one"])
def test_rows_of_fused_multiply_adds(name: str) -> None:
    """One rounding to float32 a product."""
    rng = np.random.default_rng(7)
    acc, left, right = (
        (rng.integers(-(1 << 20), 1 << 20, size) * 2.0**-20).astype(np.float32)
        for size in (3 * BLOCK, 40, 20 * BLOCK)
    )
    same(compiled(getattr(fma, name)), getattr(plain, name), acc, BLOCK, left, 9, right, BLOCK)


def lanes_together(counts: Array, largest: int | None = None) -> list[int]:
    """The counts of all lanes: added up, but for the largest and the smallest of an encoding."""
    lines = counts.reshape(-1, LANES).astype(np.int64)
    found = lines.sum(axis=1).tolist()
    if largest is not None:
        found[2:] = lines[2].max(), lines[3].view(np.uint64).astype(np.uint32).min()
    return [int(count) for count in found]


def test_float32_are_encoded() -> None:
    """Thresholds and their neighbours, both zeros, infinities, values beyond both ends."""
    call, rng = compiled(elementwise.encode_strips), np.random.default_rng(8)
    for gamma, rounding in ((1, "floor"), (8, "nearest"), (8, "nearest_value"), (32, "nearest")):
        limits = fractions(gamma, rounding)
        edges = np.concatenate([limits - 1, limits, limits + 1, [0, (1 << 23) - 1]])
        bits = np.concatenate([edges | np.int32(e << 23) for e in (0, 1, 126, 127, 128, 254)])
        special = np.array([0, 1, 0x7F800000, 0x7FC00000, 0x7F7FFFFF], np.int32)
        bits = np.concatenate([bits, special, rng.integers(0, 1 << 31, 200)]).astype(np.int32)
        bits = np.resize(np.concatenate([bits, bits | np.int32(-(1 << 31))]), 40 * LANES)
        for dtype, top in ((np.uint8, 127), (np.uint16, 2047)):
            for offset, low in ((-20, 1), (0, 0), (-top * 3 // 4, 1)):
                whole = offset + 127 * gamma
                rule = tuple(map(np.int32, (gamma.bit_length() - 1, whole, top, low, top + 1)))
                given = bits, 2 * LANES, limits, rule, np.zeros(bits.size, dtype), 36 * LANES
                counts = np.zeros(elementwise.ENCODED * LANES, np.int32)
                counts[3 * LANES :] = -1
                mine, theirs = given[4].copy(), given[4].copy()
                own, judged = counts.copy(), counts.copy()
                call(*given[:4], mine, given[5], own)
                plain.encode_strips(*given[:4], theirs, given[5], judged)
                np.testing.assert_array_equal(mine, theirs)
                assert lanes_together(own, 2) == lanes_together(judged, 2)


@pytest.mark.parametrize("name", ["shift_one", "shift_several"])
def test_codes_are_requantised(name: str) -> None:
    """Finer and coarser, with ties; into and out of formats with a zero and without."""
    call, rng = compiled(getattr(elementwise, name)), np.random.default_rng(9)
    for source, target, up, down in ((7, 7, 0, 0), (7, 11, 3, 0), (11, 7, 0, 3), (11, 15, 0, 1)):
        kinds = [np.uint8 if bits < 8 else np.uint16 for bits in (source, target)]
        code = rng.integers(0, 2 << source, 9 * LANES).astype(kinds[0])
        code[::7] &= 1 << source  # both zeros
        for low, zero, around in ((1, 1, 0), (0, 0, -(1 << target)), (1, 0, 1 << target)):
            fields = up, down, (1 << source) - 1, source, (1 << target) - 1, low, zero, target
            rule = tuple(map(np.int32, fields))
            start = (rng.integers(-99, 99, code.size) + around).astype(np.int32)
            start = start if name == "shift_several" else start[:1].copy()
            out, own, judged = np.zeros(code.size, kinds[1]), *np.zeros((2, 2 * LANES), np.int32)
            mine, theirs = out.copy(), out.copy()
            call(code, LANES, start, rule, mine, 7 * LANES, own)
            plain.shift_one(code, LANES, start, rule, theirs, 7 * LANES, judged)
            np.testing.assert_array_equal(mine, theirs)
            assert lanes_together(own) == lanes_together(judged)


def test_codes_are_moved() -> None:
    """Integer Madam's step: zero gradients and moments, both ends, both signs, halves of a step."""
    call, rng = compiled(elementwise.move_strips), np.random.default_rng(10)
    seen = np.zeros(3, np.int64)
    for exponent_bits in (2, 7, 15):
        for factor in (0.0, 0.5, 2.5, 1e9):
            code = rng.integers(0, 2 << exponent_bits, 9 * LANES).astype(np.int32)
            code[::5] = rng.choice([0, (1 << exponent_bits) - 1], code[::5].size)
            g = rng.standard_normal(code.size).astype(np.float32)
            v = (rng.random(code.size) ** 2).astype(np.float32)
            g[::3], v[::4], v[1::9] = 0.0, 0.0, g[1::9] ** 2
            given = tuple(map(np.float32, (0.5, 0.5, 0.5, 10.0, factor)))  # u = 1 where v = 0
            mine, theirs = ([code.copy(), g, v.copy()] for _ in range(2))
            own, judged = np.zeros((2, 3 * LANES), np.int32)
            call(*mine, LANES, given, np.int32(exponent_bits), 7 * LANES, own)
            plain.move_strips(*theirs, LANES, given, exponent_bits, 7 * LANES, judged)
            for ours, judge in zip(mine, theirs, strict=True):
                assert ours.tobytes() == judge.tobytes()
            assert lanes_together(own) == lanes_together(judged)
            seen += lanes_together(own)
    assert (seen > 0).all()


def test_the_rounding_mode_lasts_as_long_as_it_is_asked_for() -> None:
    """A quotient is rounded down within, and to the nearest afterwards."""

    @njit
    def quotient(x: float, y: float, out: Array) -> None:
        keep_apart()
        out[0] = x / y

    @njit
    def both(x: float, y: float, out: Array) -> None:
        set_rounding(DOWN)
        quotient(x, y, out[:1])
        set_rounding(NEAREST)
        quotient(x, y, out[1:])

    lower = 0
    for x in range(1, 40):
        out = np.zeros(2)
        both(float(x), 7.0, out)
        down, nearest = (Fraction(value) for value in out.tolist())
        assert nearest == Fraction(x / 7)
        assert down <= Fraction(x, 7) < Fraction(np.nextafter(out[0], 99.0).item())
        lower += down != nearest
    assert 5 < lower < 35


def test_tasks_are_run_once_each() -> None:
    """On one thread and on several, as one after the other does."""

    @njit
    def add(task: int, out: Array, by: int) -> None:
        out[task] += task * by

    @njit
    def every(tasks: int, out: Array, by: int, alone: bool) -> None:
        tasks_ir_for_each(add, tasks, (out, by), alone)

    tasks_ir_for_each = tasks_ir.for_each
    for tasks in (0, 1, 7, 1000):
        for alone in (True, False):
            mine, theirs = np.zeros((2, 1000), np.int64)
            every(tasks, mine, 3, alone)
            plain.for_each(add.py_func, tasks, (theirs, 3), alone)
            np.testing.assert_array_equal(mine, theirs)


def test_no_intrinsic_is_without_a_twin() -> None:
    """But for the two that set the rounding mode and keep calls within it."""
    names = {
        name
        for module in iter_modules(ir.__path__)
        for name, value in inspect.getmembers(import_module(f"{ir.__name__}.{module.name}"))
        if isinstance(value, _Intrinsic) and not name.startswith("_")
    }
    assert len(names) > 30
    assert {name for name in names if not hasattr(plain, name)} == {"set_rounding", "keep_apart"}
