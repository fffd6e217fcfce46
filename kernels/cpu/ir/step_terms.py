"""Accumulators that saturate or wrap, as Numba intrinsics (see `add_terms.py`)."""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I8 as _I8
from .emit import I64 as _I64
from .emit import ZERO, Lane, element, lane_of, load, splat, vector
from .rows import add_term, single


def _folded(builder: Any, lane: Lane, total: Any, limits: list[Any]) -> tuple[Any, Any]:
    """(total saturated or wrapped, lanes where that changed it)."""
    low, high, spare, wrap = limits
    clamped = builder.select(builder.icmp_signed("<", total, low), low, total)
    clamped = builder.select(builder.icmp_signed(">", clamped, high), high, clamped)
    wrapped = builder.ashr(builder.shl(total, spare), spare)
    wraps = builder.icmp_signed("<", wrap, lane.constant(0))
    kept = builder.select(wraps, wrapped, clamped)
    return kept, builder.icmp_signed("!=", kept, total)


def _limits(builder: Any, lane: Lane, rule: Any) -> list[Any]:
    """A rule's four integers, each in every lane."""
    return [splat(builder, builder.extract_value(rule, i), lane.whole) for i in range(4)]


def _make_step_terms(truncate: bool) -> Any:
    """Build the intrinsic that folds products into accumulators, group by group."""

    def step_terms(
        _typing: Any,
        acc: Any,
        left_range: Any,
        chosen: Any,
        width: Any,
        panel: Any,
        words: Any,
        words_at: Any,
        step: Any,
        low: Any,
        count: Any,
        group: Any,
        rule: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(
            acc, left_range, chosen, at, panel, words, at, at, types.uint32, at, at, rule
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])
            begun = {
                i: element(context, builder, sig.args[i], args[i], at)
                for i, at in ((0, ZERO), (1, ZERO), (2, ZERO), (4, ZERO), (5, args[6]))
            }
            width, step, low, count, group = args[3], args[7], args[8], args[9], args[10]
            limits = _limits(builder, lane, args[11])
            rows = context.make_array(sig.args[2])(context, builder, args[2]).nitems
            sum_at = cgutils.alloca_once(builder, lane.whole)
            left_at = cgutils.alloca_once(builder, lane.flags)
            term_at = cgutils.alloca_once(builder, lane.whole)

            def product(i: Any, u: Any, v: Any) -> Any:
                word = builder.gep(begun[5], [builder.add(builder.mul(i, step), u)])
                factor, offset = single(builder, lane, word, low)
                start = builder.mul(offset, _I64((1 << lane.unit_bits) // lane.item_bytes))
                other = builder.add(start, v)
                other = load(builder, vector(builder, begun[4], other, lane.real))
                term = add_term(builder, lane, truncate, lane.start, factor, other)
                return builder.sub(builder.bitcast(term, lane.whole), lane.start_bits)

            def fold() -> None:
                total = builder.add(builder.load(sum_at), builder.load(term_at))
                kept, changed = _folded(builder, lane, total, limits)
                builder.store(kept, sum_at)
                seen = builder.or_(builder.load(left_at), builder.zext(changed, lane.flags))
                builder.store(seen, left_at)

            def fold_groups(i: Any, v: Any) -> None:
                with cgutils.for_range_slice(builder, ZERO, count, group, _I64) as (first, _):
                    builder.store(product(i, first, v), term_at)
                    second, end = builder.add(first, _I64(1)), builder.add(first, group)
                    last = builder.select(builder.icmp_signed("<", count, end), count, end)
                    with cgutils.for_range(builder, last, second) as inner:
                        more = product(i, inner.index, v)
                        builder.store(builder.add(builder.load(term_at), more), term_at)
                    fold()

            def fold_vector(i: Any, v: Any) -> None:
                here = builder.add(builder.mul(i, width), v)
                place = vector(builder, begun[0], here, lane.whole)
                flag = vector(builder, begun[1], here, lane.flags)
                builder.store(load(builder, place), sum_at)
                builder.store(builder.load(flag, align=1), left_at)
                one_by_one = builder.icmp_signed("==", group, _I64(1))
                with builder.if_else(one_by_one) as (single_products, groups):
                    with single_products, cgutils.for_range(builder, count) as each:
                        builder.store(product(i, each.index, v), term_at)
                        fold()
                    with groups:
                        fold_groups(i, v)
                builder.store(builder.load(sum_at), place, align=4)
                builder.store(builder.load(left_at), flag, align=1)

            with cgutils.for_range(builder, rows) as outer:
                picked = builder.load(builder.gep(begun[2], [outer.index]))
                picked = builder.icmp_unsigned("!=", picked, _I8(0))
                vectors = builder.select(picked, width, ZERO)
                step_of = _I64(lane.lanes)
                with cgutils.for_range_slice(builder, ZERO, vectors, step_of, _I64) as (v, _):
                    fold_vector(outer.index, v)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(step_terms)


#: step_terms_*(acc, left_range, chosen, width, panel, words, words_at, step, low, count, group,
#: rule): `fold_terms` of every `group` consecutive products (the last may be fewer) of the rows
#: where chosen[i] is not 0, ascending u; the other arguments as for add_terms_* and fold_terms.
step_terms_floor = _make_step_terms(truncate=False)
step_terms_toward_zero = _make_step_terms(truncate=True)


def _fold_terms(_typing: Any, acc: Any, acc_at: Any, count: Any, left_range: Any, rule: Any) -> Any:
    """acc[acc_at:][:count] <- saturated or wrapped, some whole vectors; left_range |= it changed.

    acc: int32 or int64, left_range: uint8; rule: acc's integers (lowest, highest, item bits -
    accumulator bits, -1 to wrap or 0). No sum may have left the item.
    """
    signature = types.void(acc, types.intp, types.intp, left_range, rule)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sums = element(context, builder, sig.args[0], args[0], args[1])
        flags = element(context, builder, sig.args[3], args[3], args[1])
        limits = _limits(builder, lane, args[4])
        with cgutils.for_range_slice(builder, ZERO, args[2], _I64(lane.lanes), _I64) as (v, _):
            place = vector(builder, sums, v, lane.whole)
            kept, changed = _folded(builder, lane, load(builder, place), limits)
            builder.store(kept, place, align=4)
            flag = vector(builder, flags, v, lane.flags)
            seen = builder.or_(builder.load(flag, align=1), builder.zext(changed, lane.flags))
            builder.store(seen, flag, align=1)
        return context.get_dummy_value()

    return signature, codegen


fold_terms: Any = intrinsic(_fold_terms)
