"""Codes an element a lane, as Numba intrinsics: encoding, requantising, integer Madam's step.

All take whole strips of LANES elements; callers fill up the last one of an array.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..runtime.inner import inner
from .emit import I32, I64, LANES, SIZE, ZERO, element, function, load, splat, vector

PAIR = 2 * LANES  # elements of a turn of `encode_strips`
FRACTION = 23  # stored significand bits of a float32
ENCODED = 4  # counts of `encode_strips`
_WHOLE, _REAL = ir.VectorType(I32, LANES), ir.VectorType(ir.FloatType(), LANES)


@inner
def add_lanes(lanes, used, counts):  # type: ignore[no-untyped-def]
    """Add to every count the first `used` of the LANES numbers that are its own in `lanes`."""
    for m in range(counts.size):
        for j in range(m * LANES, m * LANES + used):
            counts[m] += lanes[j]


def _number(value: int) -> Any:
    return ir.Constant(_WHOLE, [value] * LANES)


def _clamped(builder: Any, value: Any, low: Any, high: Any, compare: Any) -> Any:
    """`value` between `low` and `high`; a NaN becomes `low`."""
    value = builder.select(compare(">", value, low), value, low)
    return builder.select(compare("<", value, high), value, high)


def _mask(builder: Any, truth: Any) -> Any:
    """All bits of the lanes where `truth` holds."""
    return builder.sext(truth, _WHOLE)


def _below(builder: Any, value: Any, limit: Any) -> Any:
    """All bits of the lanes where value < limit, of integers below 2^30 in size.

    LLVM packs truths that it has to combine, which is slower than this.
    """
    return builder.ashr(builder.sub(value, limit), _number(31))


def _count(builder: Any, tallies: list[Any], masks: list[Any]) -> None:
    """Add 1 to the lanes of each tally where its mask is set."""
    for tally, mask in zip(tallies, masks, strict=True):
        builder.store(builder.sub(load(builder, tally), mask), tally, align=4)


def _make_shift(several: bool) -> Any:
    """Build the intrinsic that requantises; several: a start per element, else one."""

    def shift(
        _typing: Any, code: Any, at: Any, start: Any, rule: Any, out: Any, count: Any, counts: Any
    ) -> Any:
        signature = types.void(code, types.intp, start, rule, out, types.intp, counts)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            source = element(context, builder, sig.args[0], args[0], args[1])
            starts = element(context, builder, sig.args[2], args[2], args[1] if several else ZERO)
            target = element(context, builder, sig.args[4], args[4], args[1])
            found = element(context, builder, sig.args[6], args[6], ZERO)
            fields = [splat(builder, builder.extract_value(args[3], i), _WHOLE) for i in range(8)]
            up, down, source_top, sign_shift, top, low, zero, place = fields
            none, one = _number(0), _number(1)
            ties = builder.zext(builder.icmp_signed(">", down, none), _WHOLE)
            bias = builder.sub(builder.lshr(builder.shl(one, down), one), ties)
            has_zero, flushes = builder.sub(none, zero), builder.sub(none, low)
            tallies = [vector(builder, found, I64(i * LANES), _WHOLE) for i in range(2)]
            wide = ir.VectorType(source.type.pointee, LANES)
            narrow = ir.VectorType(target.type.pointee, LANES)
            first = None if several else splat(builder, builder.load(starts), _WHOLE)
            with cgutils.for_range_slice(builder, ZERO, args[5], I64(LANES), I64) as (i, _):
                word = builder.load(vector(builder, source, i, wide), align=1)
                word = builder.zext(word, _WHOLE)
                stored = builder.and_(word, source_top)
                begin = load(builder, vector(builder, starts, i, _WHOLE)) if several else first
                exact = builder.add(builder.shl(stored, up), begin)
                odd = builder.and_(builder.ashr(exact, down), ties)
                kept = builder.ashr(builder.add(exact, builder.add(bias, odd)), down)
                left = builder.not_(builder.and_(_below(builder, stored, one), has_zero))
                small, large = _below(builder, kept, low), _below(builder, top, kept)
                held = _clamped(builder, kept, none, top, builder.icmp_signed)
                sign = builder.shl(builder.lshr(word, sign_shift), place)
                stays = builder.and_(left, builder.not_(builder.and_(small, flushes)))
                code = builder.and_(builder.or_(held, sign), stays)
                where = vector(builder, target, i, narrow)
                builder.store(builder.trunc(code, narrow), where, align=1)
                _count(builder, tallies, [builder.and_(mask, left) for mask in (large, small)])
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(shift)


#: shift_one(code, at, start, rule, out, count, counts): out[at + i] = the target's code of
#: code[at + i], i < count, a multiple of LANES, for (e * 2^up + start) / 2^down rounded to even.
#: start: int32, one, in `shift_several` one per element. rule: int32s (up, down, top e of the
#: source, its exponent bits, top e of the target, its lowest magnitude, has the source a zero,
#: exponent bits of the target). counts: int32 (2 * LANES,), lanes to be added up: saturated,
#: underflowed.
shift_one, shift_several = _make_shift(several=False), _make_shift(several=True)


def _move_strips(
    _typing: Any,
    code: Any,
    gradient: Any,
    v: Any,
    at: Any,
    scalars: Any,
    exponent_bits: Any,
    count: Any,
    counts: Any,
) -> Any:
    """One step of integer Madam on code and v from `at` on; count: a multiple of LANES.

    scalars: float32s (beta2, 1 - beta2, correction, bound, factor); exponent_bits: int32. counts:
    int32 (3 * LANES,), lanes to be added up: undefined, above, below.
    """
    place = types.intp
    signature = types.void(code, gradient, v, place, scalars, types.int32, place, counts)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        codes, gradients, moments, found = (
            element(context, builder, sig.args[i], args[i], at)
            for i, at in ((0, args[3]), (1, args[3]), (2, args[3]), (7, ZERO))
        )
        fields = [splat(builder, builder.extract_value(args[4], i), _REAL) for i in range(5)]
        beta2, rest, correction, bound, factor = fields
        root_of, nearest = (
            function(builder, f"llvm.{name}.v{LANES}f32", _REAL, [_REAL])
            for name in ("sqrt", "rint")
        )
        least = builder.fsub(ir.Constant(_REAL, [-0.0] * LANES), bound)
        places = splat(builder, args[5], _WHOLE)
        power = builder.shl(_number(1), places)
        top, span = builder.sub(power, _number(1)), builder.sitofp(power, _REAL)
        lowest = builder.fsub(ir.Constant(_REAL, [-0.0] * LANES), span)
        zero, none = ir.Constant(_REAL, [0.0] * LANES), _number(0)
        tallies = [vector(builder, found, I64(i * LANES), _WHOLE) for i in range(3)]
        ordered, signed = builder.fcmp_ordered, builder.icmp_signed
        with cgutils.for_range_slice(builder, ZERO, args[6], I64(LANES), I64) as (i, _):
            g = load(builder, vector(builder, gradients, i, _REAL))
            where = vector(builder, moments, i, _REAL)
            moment = builder.fmul(beta2, load(builder, where))
            moment = builder.fadd(moment, builder.fmul(builder.fmul(rest, g), g))
            builder.store(moment, where, align=4)
            root = builder.call(root_of, [builder.fdiv(moment, correction)])
            still = _mask(builder, ordered("==", g, zero))
            idle = builder.and_(_mask(builder, ordered("==", root, zero)), still)
            u = builder.bitcast(builder.fdiv(g, root), _WHOLE)
            u = builder.bitcast(builder.and_(u, builder.not_(idle)), _REAL)
            steps = builder.fmul(factor, _clamped(builder, u, least, bound, ordered))
            steps = builder.call(nearest, [steps])
            steps = _clamped(builder, steps, lowest, span, ordered)
            move = builder.fptosi(steps, _WHOLE)
            here = vector(builder, codes, i, _WHOLE)
            word = load(builder, here)
            sign = builder.ashr(word, places)
            away = builder.add(builder.xor(move, builder.sub(none, sign)), sign)  # move * sign w
            e = builder.sub(builder.and_(word, top), away)
            held = _clamped(builder, e, none, top, signed)
            builder.store(builder.or_(held, builder.shl(sign, places)), here, align=4)
            undefined = builder.and_(_mask(builder, ordered("==", moment, zero)), still)
            beyond = [_mask(builder, signed(">", e, top)), _mask(builder, signed("<", e, none))]
            _count(builder, tallies, [undefined, *beyond])
        return context.get_dummy_value()

    return signature, codegen


move_strips: Any = intrinsic(_move_strips)


def _encode_strips(
    _typing: Any, bits: Any, at: Any, fraction: Any, rule: Any, out: Any, count: Any, counts: Any
) -> Any:
    """out[at + i] = code of the float32 with bits[at + i], i < count, a multiple of PAIR.

    rule: int32s (log2 gamma, offset + 127 gamma, top e, lowest magnitude e, sign bit). counts:
    int32 (ENCODED * LANES,): saturated, underflowed, largest |x|, smallest |x| - 1,
    whose lanes are to be added up, or compared.
    """
    signature = types.void(bits, types.intp, fraction, rule, out, types.intp, counts)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        steps = element(context, builder, sig.args[2], args[2], ZERO)
        number = context.make_array(sig.args[2])(context, builder, args[2]).nitems
        target = element(context, builder, sig.args[4], args[4], args[1])
        found = element(context, builder, sig.args[6], args[6], ZERO)
        narrow = ir.VectorType(target.type.pointee, LANES)
        fields = [splat(builder, builder.extract_value(args[3], i), _WHOLE) for i in range(5)]
        octave_bits, offset, top, low, sign_bit = fields
        keep_all = builder.icmp_signed("==", low, _number(0))
        places = [vector(builder, found, I64(i * LANES), _WHOLE) for i in range(ENCODED)]
        with cgutils.for_range_slice(builder, ZERO, args[5], I64(PAIR)) as (i, _):
            tallies = [load(builder, place) for place in places]
            words, fracs, es = [], [], []
            for v in range(0, PAIR, LANES):
                word = load(builder, vector(builder, source, builder.add(i, I64(v)), _WHOLE))
                size = builder.and_(word, _number(SIZE))
                octave = builder.lshr(size, _number(FRACTION))
                words.append((word, size))
                fracs.append(builder.and_(size, _number((1 << FRACTION) - 1)))
                es.append(builder.sub(builder.shl(octave, octave_bits), offset))
            slots = [cgutils.alloca_once_value(builder, e) for e in es]
            with cgutils.for_range(builder, number) as inner:
                limit = splat(builder, builder.load(builder.gep(steps, [inner.index])), _WHOLE)
                for slot, frac in zip(slots, fracs, strict=True):
                    above = builder.sext(builder.icmp_signed(">", frac, limit), _WHOLE)
                    builder.store(builder.sub(builder.load(slot), above), slot)
            for v, (slot, (word, size)) in enumerate(zip(slots, words, strict=True)):
                e = builder.load(slot)
                nonzero = builder.icmp_signed("!=", size, _number(0))
                small = builder.icmp_signed("<", e, low)
                large = builder.icmp_signed(">", e, top)
                held = builder.select(large, top, e)
                negative = builder.icmp_signed("<", e, _number(0))
                held = builder.select(negative, _number(0), held)
                sign = builder.and_(builder.ashr(word, _number(31)), sign_bit)
                kept = builder.and_(nonzero, builder.or_(keep_all, builder.not_(small)))
                code = builder.select(kept, builder.or_(held, sign), _number(0))
                place = vector(builder, target, builder.add(i, I64(v * LANES)), narrow)
                builder.store(builder.trunc(code, narrow), place, align=1)
                for j, lost in enumerate((large, small)):
                    one = builder.sext(builder.and_(nonzero, lost), _WHOLE)
                    tallies[j] = builder.sub(tallies[j], one)
                more = builder.icmp_signed(">", size, tallies[2])
                tallies[2] = builder.select(more, size, tallies[2])
                less = builder.sub(size, _number(1))  # of zero: the largest there is, unsigned
                fewer = builder.icmp_unsigned("<", less, tallies[3])
                tallies[3] = builder.select(fewer, less, tallies[3])
            for place, tally in zip(places, tallies, strict=True):
                builder.store(tally, place, align=4)
        return context.get_dummy_value()

    return signature, codegen


encode_strips: Any = intrinsic(_encode_strips)
