"""`requantise`: LNS codes to LNS codes of another format, by a table of codes.

e' = RN_even((e + offset) * G' / G - offset'), saturated or flushed as in encoding; bit for bit what
`lns.requantise` gives.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ....lns.array import LNSArray, Offset, require_offset
from ....lns.format import LNSFormat
from ....lns.log_codec import default_offset
from ...backends import EncodeCounts
from ..ir.elementwise import add_lanes, shift_one, shift_several
from ..ir.emit import LANES
from ..ir.moves import largest_code
from ..ir.tasks import for_each
from ..runtime.inner import inner
from ..runtime.threads import tasks

_CHUNK = 1 << 14  # elements per task
_FAR = 1 << 29  # e * 2^up stays below 2^28
_SATURATED, _UNDERFLOWED = 1 << 16, 1 << 17  # flags above the code in a table entry


@inner
def _shift_strips(code, start, first, count, rule, out, used, counts):  # type: ignore[no-untyped-def]
    """`shift_one` or `shift_several`; of every strip the first `used` elements are counted."""
    lanes = np.zeros(2 * LANES, np.int32)
    if start.size > 1:
        shift_several(code, first, start, rule, out, count, lanes)
    else:
        shift_one(code, first, start, rule, out, count, lanes)
    add_lanes(lanes, used, counts)


@inner
def _shift_task(task, code, start, rule, out, counts):  # type: ignore[no-untyped-def]
    """The elements of one task; counts[task]: saturated, underflowed."""
    first = task * _CHUNK
    last = min(code.size, first + _CHUNK)
    rest = (last - first) % LANES
    whole = last - first - rest
    if whole:
        _shift_strips(code, start, first, whole, rule, out, LANES, counts[task])
    if rest:
        at = last - rest
        codes, found = np.zeros(LANES, code.dtype), np.empty(LANES, out.dtype)
        codes[:rest], starts = code[at:last], start
        if start.size > 1:
            starts = np.zeros(LANES, np.int32)
            starts[:rest] = start[at:last]
        _shift_strips(codes, starts, 0, LANES, rule, found, rest, counts[task])
        out[at:last] = found[:rest]


@njit(cache=True, nogil=True)
def _shift(code, start, rule, out, alone):  # type: ignore[no-untyped-def]
    """Requantise every code by arithmetic, see `elementwise.py`; returns (saturated, underflowed).

    start: int32, one, or one per element.
    """
    counts = np.zeros((-(-code.size // _CHUNK), 2), np.int64)
    for_each(_shift_task, counts.shape[0], (code, start, rule, out, counts), alone)
    return counts[:, 0].sum(), counts[:, 1].sum()


@inner
def _map_task(task, table, code, out, counts):  # type: ignore[no-untyped-def]
    for i in range(task * _CHUNK, min(code.size, (task + 1) * _CHUNK)):
        entry = table[code[i]]
        out[i] = entry & (_SATURATED - 1)
        counts[task, 0] += entry & _SATURATED
        counts[task, 1] += entry & _UNDERFLOWED


@njit(cache=True, nogil=True)
def _map(table, code, out, alone):  # type: ignore[no-untyped-def]
    """out = the table's codes; returns (saturated, underflowed)."""
    counts = np.zeros((-(-code.size // _CHUNK), 2), np.int64)
    for_each(_map_task, counts.shape[0], (table, code, out, counts), alone)
    return counts[:, 0].sum() // _SATURATED, counts[:, 1].sum() // _UNDERFLOWED


@njit(cache=True, nogil=True)
def _largest(code, mask):  # type: ignore[no-untyped-def]
    """The largest code & mask of at least one."""
    return largest_code(code, 0, mask, code.size)


def _rounded(steps: Any, ratio: int) -> Any:
    """RN_even(steps / ratio) of integers, elementwise; ratio a power of two."""
    kept, rest = divmod(steps, ratio)
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


def requantise(
    array: LNSArray, fmt: LNSFormat, offset: Offset | None = None
) -> tuple[LNSArray, EncodeCounts]:
    """`kernels.codes.requantise`."""
    if not isinstance(array, LNSArray):
        raise TypeError(f"array must be an LNSArray, got {type(array).__name__}")
    if not isinstance(fmt, LNSFormat):
        raise TypeError(f"fmt must be an LNSFormat, got {fmt!r}")
    settled = _default_offset(array, fmt) if offset is None else require_offset(offset, array.shape)
    if isinstance(array.offset, int) and isinstance(settled, int):
        code, counts = _one(array.code, array.fmt, array.offset, fmt, settled)
        return LNSArray(code, settled, fmt), counts
    pair = np.asarray(array.offset, np.int64), np.asarray(settled, np.int64)
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
    return (code if code.flags.carray else np.require(code, None, ("C", "W", "A"))).reshape(-1)


def _places(source: LNSFormat, target: LNSFormat) -> tuple[int, int]:
    """(up, down): a source step is 2^up / 2^down target steps."""
    finer = target.gamma.bit_length() - source.gamma.bit_length()
    return max(0, finer), max(0, -finer)


def _shifted(
    flat: npt.NDArray[Any], start: npt.NDArray[np.int32], source: LNSFormat, target: LNSFormat
) -> tuple[npt.NDArray[Any], EncodeCounts]:
    """Requantise by arithmetic in 32 bits; start: one, or one per element, below _FAR."""
    out = np.empty(flat.size, target.code_dtype)
    with tasks(flat.size, 16 * _CHUNK) as alone:
        saturated, underflowed = _shift(flat, start, _rule(source, target), out, alone)
    return out, EncodeCounts(flat.size, saturated, underflowed)


@lru_cache(maxsize=64)
def _rule(source: LNSFormat, target: LNSFormat) -> tuple[np.int32, ...]:
    """The rule of `elementwise.shift_one`."""
    fields = *_places(source, target), source.max_exponent, source.exponent_bits
    kept = target.max_exponent, target.min_exponent, source.zero, target.exponent_bits
    return tuple(np.int32(field) for field in (*fields, *kept))


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
    with tasks(flat.size, 16 * _CHUNK) as alone:
        table = _table(source, offset, target, new_offset)
        saturated, underflowed = _map(table, flat, found, alone)
    stored = found.astype(target.code_dtype, copy=False).reshape(code.shape)
    return stored, EncodeCounts(code.size, saturated, underflowed)
