"""`requantise_fast`: LNS codes to LNS codes of another format, by a table of codes.

e' = RN_even((e + offset) * G' / G - offset'), saturated or flushed as in encoding; bit for bit what
`lns.requantise` gives.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..lns.array import LNSArray, Offset, require_offset
from ..lns.codec import default_offset
from ..lns.format import LNSFormat
from .codec import EncodeCounts
from .threads import parallel
from .which import largest_code

_CHUNK = 1 << 14  # elements per task
_FAR = 1 << 29  # e * 2^up stays below 2^28
_SATURATED, _UNDERFLOWED = 1 << 16, 1 << 17  # flags above the code in a table entry


@njit(cache=True, nogil=True)
def _map_chunk(table, code, out):  # type: ignore[no-untyped-def]
    saturated, underflowed = 0, 0
    for i in range(code.size):
        entry = table[code[i]]
        out[i] = entry & (_SATURATED - 1)
        saturated += entry & _SATURATED
        underflowed += entry & _UNDERFLOWED
    return saturated // _SATURATED, underflowed // _UNDERFLOWED


@njit(cache=True, nogil=True)
def _shift_chunk(code, start, up, down, source_top, sign_shift, rule, out):  # type: ignore[no-untyped-def]
    """Shifts by less than 32 and sums kept in int32 stay vectors of int32. RN_even(x / 2^down) is
    (x + half - 1 + the last bit kept) >> down."""
    top, low, zero, sign_place = rule
    up, down = np.int32(up & np.int32(31)), np.int32(down & np.int32(31))
    sign_shift, place = np.int32(sign_shift & np.int32(31)), np.int32(sign_place & np.int32(31))
    saturated, underflowed = np.int32(0), np.int32(0)
    ties = np.int32(down > 0)
    bias = np.int32((np.int32(1 << down) >> np.int32(1)) - ties)
    magnitudes, keep_all = np.int32(zero == 0), np.int32(low == 0)
    several = start.size > 1
    first = start[0] if start.size else np.int32(0)
    for i in range(code.size):
        word = np.int32(code[i])
        stored = np.int32(word & source_top)
        exact = np.int32(np.int32(stored << up) + (start[i] if several else first))
        odd = np.int32(np.int32(exact >> down) & ties)
        kept = np.int32(np.int32(exact + bias + odd) >> down)
        nonzero = np.int32(np.int32(stored > 0) | magnitudes)
        large, small = np.int32(kept > top), np.int32(kept < low)
        held = np.int32(nonzero & ((small ^ np.int32(1)) | keep_all))
        sign = np.int32(np.int32(word >> sign_shift) << place)
        out[i] = (min(max(kept, np.int32(0)), top) | sign) & np.int32(-held)
        saturated = np.int32(saturated + (nonzero & large))
        underflowed = np.int32(underflowed + (nonzero & small))
    return saturated, underflowed


@njit(cache=True, nogil=True, parallel=True)
def _shift(code, start, up, down, source_top, sign_shift, top, low, zero, sign_place, out):  # type: ignore[no-untyped-def]
    """out = RN_even((e * 2^up + start) / 2^down) of every code; counts as `_map`'s.

    start: int32, one, or one per element.
    """
    counts = np.zeros((-(-code.size // _CHUNK), 2), np.int64)
    rule = np.int32(top), np.int32(low), np.int32(zero), np.int32(sign_place)
    for task in prange(counts.shape[0]):
        part = slice(task * _CHUNK, min(code.size, (task + 1) * _CHUNK))
        counts[task] = _shift_chunk(
            code[part],
            start[part] if start.size > 1 else start,
            np.int32(up),
            np.int32(down),
            np.int32(source_top),
            np.int32(sign_shift),
            rule,
            out[part],
        )
    return counts


@njit(cache=True, nogil=True, parallel=True)
def _map(table, code, out):  # type: ignore[no-untyped-def]
    """out = the table's codes; returns (saturated, underflowed) per task."""
    counts = np.zeros((-(-code.size // _CHUNK), 2), np.int64)
    for task in prange(counts.shape[0]):
        part = slice(task * _CHUNK, min(code.size, (task + 1) * _CHUNK))
        counts[task] = _map_chunk(table, code[part], out[part])
    return counts


@njit(cache=True, nogil=True)
def _largest(code, mask):  # type: ignore[no-untyped-def]
    """The largest code & mask of at least one."""
    return largest_code(code, 0, mask, code.size)


def _rounded(steps: Any, ratio: int) -> Any:
    """RN_even(steps / ratio) of integers, elementwise; ratio a power of two."""
    kept, rest = np.divmod(steps, ratio)
    return kept + ((2 * rest > ratio) | ((2 * rest == ratio) & (kept & 1 == 1)))


@lru_cache(maxsize=64)
def _table(
    source: LNSFormat, offset: int, target: LNSFormat, new_offset: int
) -> npt.NDArray[np.int64]:
    """For every source code its target code, with a flag where it saturated or underflowed."""
    code = np.arange(1 << source.bits)
    stored = code & source.max_exponent
    ratio = max(1, source.gamma // target.gamma)
    exact = (stored + offset) * max(1, target.gamma // source.gamma) - new_offset * ratio
    e = _rounded(exact, ratio)
    zero = (stored == 0) & source.zero
    sign = (code > source.max_exponent).astype(np.int64) << target.exponent_bits
    small = e < target.min_exponent
    gone = zero | (small & target.zero)
    table = np.where(gone, 0, np.clip(e, 0, target.max_exponent) | sign)
    table |= np.where(~zero & (e > target.max_exponent), _SATURATED, 0)
    table |= np.where(~zero & small, _UNDERFLOWED, 0)
    table.setflags(write=False)
    return table


def _default_offset(array: LNSArray, fmt: LNSFormat) -> int:
    """Smallest multiple of the target's gamma for which nothing saturates; 0 if all is zero."""
    source = array.fmt
    if not array.size:
        return 0
    if isinstance(array.offset, int):
        top = int(_largest(_plain(array.code), source.code_dtype.type(source.max_exponent)))
        if source.zero and top == 0:
            return 0
        largest = top + array.offset
    else:
        stored = array.code & source.code_dtype.type(source.max_exponent)
        if source.zero and not stored.any():
            return 0
        whole = stored.astype(np.int64) + array.offset
        largest = int((whole[stored > 0] if source.zero else whole).max())
    exact = largest * max(1, fmt.gamma // source.gamma)
    ratio = max(1, source.gamma // fmt.gamma)
    # With gamma = 1 a tie goes to the even stored exponent; the top one is odd: round it up.
    up = fmt.gamma == 1 and 2 * (exact % ratio) == ratio
    return default_offset(exact // ratio + 1 if up else int(_rounded(exact, ratio)), fmt)


def requantise_fast(
    array: LNSArray, fmt: LNSFormat, offset: Offset | None = None
) -> tuple[LNSArray, EncodeCounts]:
    """Return (`lns.requantise(array, fmt, offset)`, its counts).

    offset None: the smallest multiple of fmt.gamma for which nothing saturates, 0 for all zero.
    """
    if not isinstance(array, LNSArray):
        raise TypeError(f"array must be an LNSArray, got {type(array).__name__}")
    if not isinstance(fmt, LNSFormat):
        raise TypeError(f"fmt must be an LNSFormat, got {fmt!r}")
    settled = _default_offset(array, fmt) if offset is None else require_offset(offset, array.shape)
    pair = np.asarray(array.offset, np.int64), np.asarray(settled, np.int64)
    if all(scale.ndim == 0 for scale in pair):
        code, counts = _one(array.code, array.fmt, int(pair[0]), fmt, int(pair[1]))
        return LNSArray(code, settled, fmt), counts
    up, down = _places(array.fmt, fmt)
    start = (pair[0] << up) - (pair[1] << down)
    if np.abs(start).max(initial=0) < _FAR:
        flat = _plain(array.code)
        starts = np.broadcast_to(start, array.shape).astype(np.int32).reshape(-1)
        code, counts = _shifted(flat, starts, array.fmt, fmt)
        return LNSArray(code.reshape(array.shape), settled, fmt), counts
    out, counts = np.empty(array.shape, fmt.code_dtype), EncodeCounts(0, 0, 0)
    old, new = (np.broadcast_to(scale, array.shape) for scale in pair)
    for before, after in np.unique(np.stack([old.ravel(), new.ravel()]), axis=1).T.tolist():
        where = (old == before) & (new == after)
        out[where], part = _one(array.code[where], array.fmt, before, fmt, after)
        counts = counts + part
    return LNSArray(out, settled, fmt), counts


def _plain(code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes in a row, in memory of the kind that Numba has compiled for."""
    return np.require(code, None, ("C", "W", "A")).reshape(-1)


def _places(source: LNSFormat, target: LNSFormat) -> tuple[int, int]:
    """(up, down): a source step is 2^up / 2^down target steps."""
    finer = target.gamma.bit_length() - source.gamma.bit_length()
    return max(0, finer), max(0, -finer)


def _shifted(
    flat: npt.NDArray[Any], start: npt.NDArray[np.int32], source: LNSFormat, target: LNSFormat
) -> tuple[npt.NDArray[Any], EncodeCounts]:
    """Requantise by arithmetic in 32 bits; start: one, or one per element, below _FAR."""
    out = np.empty(flat.size, target.code_dtype)
    rule = target.max_exponent, target.min_exponent, int(source.zero), target.exponent_bits
    fields = source.max_exponent, source.exponent_bits
    with parallel(flat.size, 16 * _CHUNK):
        tasks = _shift(flat, start, *_places(source, target), *fields, *rule, out)
    saturated, underflowed = (int(count) for count in tasks.sum(axis=0))
    return out, EncodeCounts(flat.size, saturated, underflowed)


def _one(
    code: npt.NDArray[Any], source: LNSFormat, offset: int, target: LNSFormat, new_offset: int
) -> tuple[npt.NDArray[Any], EncodeCounts]:
    """Requantise codes that share one pair of offsets.

    By arithmetic in 32 bits, or by table where the offsets are too far apart for it.
    """
    flat = _plain(code)
    up, down = _places(source, target)
    start = (offset << up) - (new_offset << down)
    if abs(start) < _FAR:
        out, counts = _shifted(flat, np.array([start], np.int32), source, target)
        return out.reshape(code.shape), counts
    found = np.empty(code.size, np.uint16)
    with parallel(flat.size, 16 * _CHUNK):
        tasks = _map(_table(source, offset, target, new_offset), flat, found)
    saturated, underflowed = (int(count) for count in tasks.sum(axis=0))
    stored = found.astype(target.code_dtype, copy=False).reshape(code.shape)
    return stored, EncodeCounts(code.size, saturated, underflowed)
