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

from ....lns.accumulator import sum_offset
from ....lns.array import LNSArray
from ....lns.datapath import Datapath
from ....lns.gauss import gauss_table
from ..runtime.inner import inner
from ..runtime.threads import parallel

_ZERO = np.int32(-(1 << 20))  # exponent of zero; two of them and a sum stay inside int32
_BLOCK = 512  # columns whose running sums stay in the first-level cache
_GRAIN = 1 << 18  # products worth a thread

Words = npt.NDArray[np.int32]


@inner
def _far(e, s, line, exponent, sign, length, place, large, negative):  # type: ignore[no-untyped-def]
    """Where in the table each sum's change stands, the larger exponent and its sign."""
    for j in range(e.shape[0]):
        word = line[j]
        x, xs = exponent + (word >> np.int32(1)), sign ^ (word & np.int32(1))
        d = e[j] - x
        place[j] = min(abs(d), length - np.int32(1)) + (s[j] ^ xs) * length
        large[j] = max(e[j], x)
        negative[j] = s[j] if d >= np.int32(0) else xs


@inner
def _changes(table, place, change):  # type: ignore[no-untyped-def]
    """change[j] = table[place[j]]; alone in its loop, so that its neighbours stay vectors."""
    for j in range(place.shape[0]):
        change[j] = table[np.uint32(place[j])]


@inner
def _settle(e, s, large, change, negative, top):  # type: ignore[no-untyped-def]
    """The sums: saturated above, zero below the smallest magnitude; the largest before that."""
    peak = _ZERO
    for j in range(e.shape[0]):
        total = large[j] + change[j]
        peak = max(peak, total)
        e[j] = _ZERO if total < np.int32(1) else min(total, top)
        s[j] = negative[j]
    return peak


@inner
def _add_line(e, s, line, exponent, sign, table, length, top, room):  # type: ignore[no-untyped-def]
    """e, s += the numbers of `line` (words e << 1 | sign) times that of exponent and sign."""
    width = e.shape[0]
    place, large = room[0, :width], room[1, :width]
    change, negative, above = room[2, :width], room[3, :width], room[4, :width]
    _far(e, s, line, exponent, sign, length, place, large, negative)
    _changes(table, place, change)
    if _settle(e, s, large, change, negative, top) > top:  # seldom: note which
        for j in range(width):
            above[j] |= large[j] + change[j] > top


@inner
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
    """a (M, K), b (K, N) words e << 1 | sign; out (M, N) uint16 codes; how many ever saturated."""
    blocks = -(-b.shape[1] // _BLOCK)
    above = 0
    for task in prange(a.shape[0] * blocks):
        i, start = task // blocks, task % blocks * _BLOCK
        width = min(_BLOCK, b.shape[1] - start)
        own = min(lanes, max(a.shape[1], 1))
        e, s = np.empty((own, width), np.int32), np.empty((own, width), np.int32)
        room, line = np.empty((5, _BLOCK), np.int32), np.empty(width, np.int32)
        room[4] = 0
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
        count = 0
        for j in range(width):
            count += room[4, j]
        above += count
    return above


@lru_cache(maxsize=64)
def _table(gamma: int, variant: str) -> tuple[Words, int]:
    """S then -D, each as long as the longer of them does anything, and one entry of 0.

    That entry stands for every larger distance, a zero's among them; at the finest gamma S still
    does something at the largest distance of two numbers, and the entry comes after it.
    """
    steps = [np.append(gauss_table(gamma, kind, variant), 0) for kind in (False, True)]
    length = 2 + max(int(np.flatnonzero(table)[-1]) if table.any() else 0 for table in steps)
    whole = np.concatenate([steps[0][:length], -steps[1][:length]]).astype(np.int32)
    whole[length] = _ZERO  # equal magnitudes of opposite signs
    return whole, length


def _words(array: LNSArray, ratio: int) -> Words:
    """e * ratio << 1 | sign of every code, C-contiguous."""
    e = (array.code & array.fmt.max_exponent).astype(np.int32)
    zero = (e == 0) & array.fmt.zero
    e = np.where(zero, _ZERO, e * np.int32(ratio)).astype(np.int32)
    sign = np.where(zero, 0, array.code >> array.fmt.exponent_bits).astype(np.int32)
    return np.ascontiguousarray((e << 1) | sign)


def log_product(a: LNSArray, b: LNSArray, datapath: Datapath) -> tuple[LNSArray, int]:
    """Return (a times b in style "log", outputs of which a sum saturated); arguments are checked.

    The offset is one number where both operands' are, else broadcastable to (M, N); ValueError
    where it leaves int32.
    """
    target, mac = datapath.sum_format(a.fmt, b.fmt), datapath.resolve(a.fmt, b.fmt)
    table, length = _table(mac.gamma, datapath.variant)
    out, above = np.zeros((a.shape[0], b.shape[1]), np.uint16), 0
    if out.size:
        left, right = _words(a, mac.ratio_a), _words(b, mac.ratio_b)
        with parallel(out.size * max(a.shape[1], 1), _GRAIN):
            above = _gemm_log(  # scalars as int32, so that the loop stays in 32-bit lanes
                left, right, datapath.accumulator.lanes, table, np.int32(length),
                np.int32(target.max_exponent), np.int32(target.exponent_bits), out,
            )  # fmt: skip
    offset: Any = sum_offset(a, b, mac.gamma)  # checked as an int32
    return LNSArray(out.astype(target.code_dtype), offset, target), int(above)
