"""The GEMM of fully logarithmic hardware: products and sums are exponents, nothing is linear.

A product is an addition of exponents; it is added to a running sum, which is a logarithmic number
too, by section "add" of lns.arith: the larger exponent changes by S(d) or D(d) of the distance. The
inner loop has no branch. A zero is an exponent far below every other, so that its distance to any
number is where both functions are 0; a sum below the smallest magnitude becomes such a zero.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..lns.array import LNSArray
from ..lns.checks import require_int
from ..lns.format import LNSFormat
from ..lns.gauss import gauss_table, split_variant
from ..lns.sums import MAX_LANES, accumulator_format
from .threads import parallel

_ZERO = np.int32(-(1 << 20))  # exponent of zero; two of them and a sum stay inside int32
_BLOCK = 512  # columns whose running sums stay in the first-level cache
_GRAIN = 1 << 18  # products worth a thread

Words = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def _far(e, s, line, exponent, sign, length, place, large, negative):  # type: ignore[no-untyped-def]
    """Where in the table each sum's change stands, the larger exponent and its sign."""
    for j in range(e.shape[0]):
        word = line[j]
        x, xs = exponent + (word >> np.int32(1)), sign ^ (word & np.int32(1))
        d = e[j] - x
        place[j] = min(abs(d), length - np.int32(1)) + (s[j] ^ xs) * length
        large[j] = max(e[j], x)
        negative[j] = s[j] if d >= np.int32(0) else xs


@njit(cache=True, nogil=True)
def _changes(table, place, change):  # type: ignore[no-untyped-def]
    """change[j] = table[place[j]]; alone in its loop, so that its neighbours stay vectors."""
    for j in range(place.shape[0]):
        change[j] = table[np.uint32(place[j])]


@njit(cache=True, nogil=True)
def _settle(e, s, large, change, negative, top):  # type: ignore[no-untyped-def]
    """The sums: saturated above, zero below the smallest magnitude."""
    for j in range(e.shape[0]):
        total = large[j] + change[j]
        e[j] = _ZERO if total < np.int32(1) else min(total, top)
        s[j] = negative[j]


@njit(cache=True, nogil=True)
def _add_line(e, s, line, exponent, sign, table, length, top, room):  # type: ignore[no-untyped-def]
    """e, s += the numbers of `line` (words e << 1 | sign) times that of exponent and sign."""
    width = e.shape[0]
    place, large = room[0, :width], room[1, :width]
    change, negative = room[2, :width], room[3, :width]
    _far(e, s, line, exponent, sign, length, place, large, negative)
    _changes(table, place, change)
    _settle(e, s, large, change, negative, top)


@njit(cache=True, nogil=True)
def _run_lane(own, b, first, lanes, start, table, length, top, e, s, room):  # type: ignore[no-untyped-def]
    """e, s[j] += own[k] * b[k, start + j] for k = first, first + lanes, ..."""
    width = e.shape[0]
    e[:], s[:] = _ZERO, np.int32(0)
    for k in range(first, own.shape[0], lanes):
        exponent = (own[k] >> np.int32(1)) + np.int32(1)
        line = b[k, start : start + width]
        _add_line(e, s, line, exponent, own[k] & np.int32(1), table, length, top, room)


@njit(cache=True, nogil=True, parallel=True)
def _gemm_log(a, b, lanes, table, length, top, sign_bit, out):  # type: ignore[no-untyped-def]
    """a (M, K), b (K, N) words e << 1 | sign; out (M, N) uint16 codes."""
    blocks = -(-b.shape[1] // _BLOCK)
    for task in prange(a.shape[0] * blocks):
        i, start = task // blocks, task % blocks * _BLOCK
        width = min(_BLOCK, b.shape[1] - start)
        own = min(lanes, max(a.shape[1], 1))
        e, s = np.empty((own, width), np.int32), np.empty((own, width), np.int32)
        room, line = np.empty((4, _BLOCK), np.int32), np.empty(width, np.int32)
        for lane in range(own):
            _run_lane(a[i], b, lane, lanes, start, table, length, top, e[lane], s[lane], room)
        left = own
        while left > 1:  # 0 + 1, 2 + 3, ...; an odd one passes through
            for pair in range(left // 2):
                e[pair], s[pair] = e[2 * pair], s[2 * pair]
                for j in range(width):
                    line[j] = (e[2 * pair + 1, j] << np.int32(1)) | s[2 * pair + 1, j]
                _add_line(
                    e[pair], s[pair], line, np.int32(0), np.int32(0), table, length, top, room
                )
            if left % 2:
                e[left // 2], s[left // 2] = e[left - 1], s[left - 1]
            left = (left + 1) // 2
        for j in range(width):
            code = e[0, j] | (s[0, j] << sign_bit)
            out[i, start + j] = 0 if e[0, j] < 1 else code


@lru_cache(maxsize=64)
def _table(gamma: int, variant: str) -> tuple[Words, int]:
    """S then -D, each as long as the longer of them does anything, and one entry of 0."""
    sums, differences = (gauss_table(gamma, kind, variant) for kind in (False, True))
    last = max(
        int(np.flatnonzero(table)[-1]) if table.any() else 0 for table in (sums, differences)
    )
    length = min(last + 2, len(sums))
    table = np.concatenate([sums[:length], -differences[:length]]).astype(np.int32)
    table[length] = _ZERO  # equal magnitudes of opposite signs
    if length == last + 2:
        table[[length - 1, 2 * length - 1]] = 0
    return table, length


def _words(array: LNSArray) -> Words:
    """e << 1 | sign of every code, C-contiguous."""
    e = (array.code & array.fmt.max_exponent).astype(np.int32)
    zero = (e == 0) & array.fmt.zero
    e = np.where(zero, _ZERO, e).astype(np.int32)
    sign = np.where(zero, 0, array.code >> array.fmt.exponent_bits).astype(np.int32)
    return np.ascontiguousarray((e << 1) | sign)


def matmul_log(
    a: LNSArray,
    b: LNSArray,
    accumulator_bits: int | None = None,
    lanes: int = 1,
    variant: str = "exact",
) -> LNSArray:
    """Return a (M, K) times b (K, N) as fully logarithmic hardware has it, bit for bit.

    The accumulator is a number of LNSFormat(accumulator_bits, gamma, zero=True), by default of two
    more exponent bits than the operands', starting at zero. A product enters it exactly, as
    exponent e_a + e_b + 1 at offset_a + offset_b - 1; the sum is lns.add's with `variant`. lanes 1:
    ascending k; V: V running sums of k mod V each, then added pairwise. The same as lns.dot, fast;
    the same bits on any number of threads.
    Raises ValueError where formats or inner sizes differ, an offset is not one number, the
    accumulator is narrower than E + 2 or wider than 15 bits, or a name is unknown.
    """
    for name, array in (("a", a), ("b", b)):
        if not isinstance(array, LNSArray):
            raise TypeError(f"{name} must be an LNSArray, got {type(array).__name__}")
        if array.ndim != 2:
            raise ValueError(f"{name} must have two axes, got shape {array.shape}")
        if not isinstance(array.offset, int):
            raise ValueError(f"offset of {name} must be one number, got {array.offset.shape}")
    if a.fmt != b.fmt:
        raise ValueError(f"b must have a's format {a.fmt.name}, got {b.fmt.name}")
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"b must have {a.shape[1]} rows, as a has columns, got {b.shape[0]}")
    split_variant(variant)
    require_int("lanes", lanes, 1, MAX_LANES)
    target = accumulator_format(a.fmt, accumulator_bits)
    table, length = _table(a.fmt.gamma, variant)
    out = np.zeros((a.shape[0], b.shape[1]), np.uint16)
    if out.size:
        with parallel(out.size * max(a.shape[1], 1), _GRAIN):
            _run(_words(a), _words(b), lanes, table, length, target, out)
    assert isinstance(a.offset, int)
    assert isinstance(b.offset, int)
    return LNSArray(out.astype(target.code_dtype), a.offset + b.offset - 1, target)


def _run(
    a: Words, b: Words, lanes: int, table: Words, length: int, target: LNSFormat, out: Any
) -> None:
    """Scalars of the loop as int32, so that it stays in 32-bit lanes."""
    _gemm_log(
        a, b, lanes, table, np.int32(length), np.int32(target.max_exponent),
        np.int32(target.exponent_bits), out,
    )  # fmt: skip
