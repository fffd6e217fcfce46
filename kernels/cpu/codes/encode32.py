"""float32 to logarithmic codes in 32-bit integers: the common case, an element a lane.

The thresholds are those of `encoders.py`, cut to float32's 23 fraction bits: a float32 passes a
threshold exactly when it passes the threshold cut. They are compared one after the other, which for
the few of a small gamma is faster than any table on vectors. Subnormals, and the one rounding with
ties, are left to `encoders.py`; so are offsets per element and gammas above MAX_GAMMA.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..ir.emit import I32, I64, element, load, splat, vector
from ..runtime.inner import inner
from ..runtime.which import PLAIN, for_each
from .encoders import CHUNK, step_table

MAX_OFFSET = 1 << 24  # of offset + 127 gamma: far from int32's limits
MAX_GAMMA = 32  # 32 comparisons an element still beat the table
_FRACTION = 23
INFINITE = 0x7F800000
_LANES, _STRIP = 16, 32  # elements of a vector, and of a turn of the loop
_V = ir.VectorType(I32, _LANES)
_COUNTS = 4  #: saturated, underflowed, largest |x|, smallest |x| - 1, as vectors


@lru_cache(maxsize=32)
def fractions(gamma: int, rounding: str) -> npt.NDArray[np.int32]:
    """Return the fraction bits above which a float32 has one, two, ... steps of its octave."""
    table = step_table(gamma, rounding).thresholds[:-1]
    return ((table >> (52 - _FRACTION)) - (1 << _FRACTION)).astype(np.int32)


def _constant(value: int) -> Any:
    return ir.Constant(_V, [value] * _LANES)


def _encode_strips(
    _typing: Any, bits: Any, at: Any, fraction: Any, rule: Any, out: Any, count: Any, counts: Any
) -> Any:
    """out[at + i] = code of the float32 with bits[at + i], i < count, a multiple of _STRIP.

    rule: int32s (log2 gamma, offset + 127 gamma, top e, lowest magnitude e, sign bit). counts:
    int32 (4 * _LANES,), see _COUNTS; the results of its lanes are added up, or compared.
    """
    signature = types.void(bits, types.intp, fraction, rule, out, types.intp, counts)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        steps = element(context, builder, sig.args[2], args[2], I64(0))
        number = context.make_array(sig.args[2])(context, builder, args[2]).nitems
        target = element(context, builder, sig.args[4], args[4], args[1])
        found = element(context, builder, sig.args[6], args[6], I64(0))
        narrow = ir.VectorType(target.type.pointee, _LANES)
        fields = [splat(builder, builder.extract_value(args[3], i), _V) for i in range(5)]
        octave_bits, offset, top, low, sign_bit = fields
        keep_all = builder.icmp_signed("==", low, _constant(0))
        places = [vector(builder, found, I64(i * _LANES), _V) for i in range(_COUNTS)]
        with cgutils.for_range_slice(builder, I64(0), args[5], I64(_STRIP)) as (i, _):
            tallies = [load(builder, place) for place in places]
            words, fracs, es = [], [], []
            for v in range(0, _STRIP, _LANES):
                word = load(builder, vector(builder, source, builder.add(i, I64(v)), _V))
                size = builder.and_(word, _constant(0x7FFFFFFF))
                octave = builder.lshr(size, _constant(_FRACTION))
                words.append((word, size))
                fracs.append(builder.and_(size, _constant((1 << _FRACTION) - 1)))
                es.append(builder.sub(builder.shl(octave, octave_bits), offset))
            slots = [cgutils.alloca_once_value(builder, e) for e in es]
            with cgutils.for_range(builder, number) as inner:
                limit = splat(builder, builder.load(builder.gep(steps, [inner.index])), _V)
                for slot, frac in zip(slots, fracs, strict=True):
                    above = builder.sext(builder.icmp_signed(">", frac, limit), _V)
                    builder.store(builder.sub(builder.load(slot), above), slot)
            for v, (slot, (word, size)) in enumerate(zip(slots, words, strict=True)):
                e = builder.load(slot)
                nonzero = builder.icmp_signed("!=", size, _constant(0))
                small = builder.icmp_signed("<", e, low)
                large = builder.icmp_signed(">", e, top)
                held = builder.select(large, top, e)
                negative = builder.icmp_signed("<", e, _constant(0))
                held = builder.select(negative, _constant(0), held)
                sign = builder.and_(builder.ashr(word, _constant(31)), sign_bit)
                kept = builder.and_(nonzero, builder.or_(keep_all, builder.not_(small)))
                code = builder.select(kept, builder.or_(held, sign), _constant(0))
                place = vector(builder, target, builder.add(i, I64(v * _LANES)), narrow)
                builder.store(builder.trunc(code, narrow), place, align=1)
                for j, lost in enumerate((large, small)):
                    one = builder.sext(builder.and_(nonzero, lost), _V)
                    tallies[j] = builder.sub(tallies[j], one)
                more = builder.icmp_signed(">", size, tallies[2])
                tallies[2] = builder.select(more, size, tallies[2])
                less = builder.sub(size, _constant(1))  # of zero: the largest there is, unsigned
                fewer = builder.icmp_unsigned("<", less, tallies[3])
                tallies[3] = builder.select(fewer, less, tallies[3])
            for place, tally in zip(places, tallies, strict=True):
                builder.store(tally, place, align=4)
        return context.get_dummy_value()

    return signature, codegen


encode_strips: Any
if PLAIN:

    @njit(cache=True, nogil=True)
    def _plain_strips(bits, at, fraction, rule, out, count, counts):  # type: ignore[no-untyped-def]
        """As the intrinsic."""
        octave_bits, offset, top, low, sign_bit = rule
        for i in range(at, at + count):
            size = np.int64(bits[i]) & 0x7FFFFFFF
            e = ((size >> 23) << octave_bits) - offset
            for limit in fraction:
                e += (size & 0x7FFFFF) > limit
            kept = size != 0 and (e >= low or low == 0)
            out[i] = (min(max(e, 0), top) | (sign_bit if bits[i] < 0 else 0)) if kept else 0
            counts[0] += size != 0 and e > top
            counts[_LANES] += size != 0 and e < low
            counts[2 * _LANES] = max(counts[2 * _LANES], size)
            counts[3 * _LANES] = min(np.uint32(counts[3 * _LANES]), np.uint32(size - 1))

    encode_strips = _plain_strips
else:
    encode_strips = intrinsic(_encode_strips)


@inner
def _encode_task(task, bits, fraction, rule, out, found):  # type: ignore[no-untyped-def]
    """The elements of one task; found[task]: saturated, underflowed, largest |x|, smallest - 1."""
    first = task * CHUNK
    last = min(bits.size, first + CHUNK)
    counts = np.zeros(_COUNTS * _LANES, np.int32)
    counts[3 * _LANES :] = -1
    whole = (last - first) // _STRIP * _STRIP
    if whole:
        encode_strips(bits, first, fraction, rule, out, whole, counts)
    if first + whole < last:
        rest, codes = np.zeros(_STRIP, np.int32), np.empty(_STRIP, out.dtype)
        rest[: last - first - whole] = bits[first + whole : last]
        encode_strips(rest, 0, fraction, rule, codes, _STRIP, counts)
        out[first + whole : last] = codes[: last - first - whole]
    smallest = np.uint32(0xFFFFFFFF)
    for j in range(_LANES):
        found[task, 0] += counts[j]
        found[task, 1] += counts[_LANES + j]
        found[task, 2] = max(found[task, 2], counts[2 * _LANES + j])
        smallest = min(smallest, np.uint32(counts[3 * _LANES + j]))
    found[task, 3] = smallest


@njit(cache=True, nogil=True)
def encode_log32(bits, fraction, rule, out, alone):  # type: ignore[no-untyped-def]
    """Codes of the float32 whose bits (int32) are given; out: uint8 or uint16.

    rule: as `encode_strips` has it. Returns how many saturated and underflowed, whether something
    is not finite, whether something is subnormal (then the codes are not valid).
    """
    found = np.zeros((max(1, -(-bits.size // CHUNK)), 4), np.int64)
    for_each(_encode_task, found.shape[0], (bits, fraction, rule, out, found), alone)
    subnormal = found[:, 3].min() < (1 << _FRACTION) - 1
    return found[:, 0].sum(), found[:, 1].sum(), found[:, 2].max() >= INFINITE, subnormal


@inner
def _largest_task(task, bits, most):  # type: ignore[no-untyped-def]
    here, part = np.int32(0), bits[task * CHUNK : (task + 1) * CHUNK]
    for i in range(part.size):  # a place that is known not to be negative: several at once
        here = max(here, part[i] & np.int32(0x7FFFFFFF))
    most[task] = here


@njit(cache=True, nogil=True)
def largest32(bits, alone):  # type: ignore[no-untyped-def]
    """Bits of the largest |x| (an infinity or NaN is larger than any number)."""
    most = np.zeros(max(1, -(-bits.size // CHUNK)), np.int32)
    for_each(_largest_task, most.size, (bits, most), alone)
    return most.max()
