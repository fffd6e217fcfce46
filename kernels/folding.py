"""Accumulators that saturate or wrap, as Numba intrinsics (see `vector.py`)."""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I8 as _I8
from .emit import I64 as _I64
from .emit import ZERO, Lane, element, lane_of, load, splat, vector
from .vector import add_term


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
    """Build the intrinsic that folds some rows' products into their accumulators one by one."""

    def step_terms(
        _typing: Any,
        acc: Any,
        left_range: Any,
        chosen: Any,
        panel: Any,
        stride: Any,
        words: Any,
        words_at: Any,
        step: Any,
        factor: Any,
        row: Any,
        count: Any,
        rule: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(
            acc, left_range, chosen, panel, at, words, at, at, factor, row, at, rule
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])
            begun = {
                i: element(context, builder, sig.args[i], args[i], at)
                for i, at in (
                    (0, ZERO),
                    (1, ZERO),
                    (2, ZERO),
                    (3, ZERO),
                    (5, args[6]),
                    (8, ZERO),
                    (9, ZERO),
                )
            }
            limits = _limits(builder, lane, args[11])
            half = lane.start
            rows = context.make_array(sig.args[2])(context, builder, args[2]).nitems
            with cgutils.for_range(builder, rows) as outer:
                i = outer.index
                picked = builder.load(builder.gep(begun[2], [i]))
                base = builder.mul(i, _I64(lane.block))
                with builder.if_then(builder.icmp_unsigned("!=", picked, _I8(0))):
                    for v in range(0, lane.block, lane.lanes):
                        here = builder.add(base, _I64(v))
                        place = vector(builder, begun[0], here, lane.whole)
                        flag = vector(builder, begun[1], here, lane.flags)
                        firsts = ZERO, load(builder, place), builder.load(flag, align=1)
                        before = builder.block
                        loop, done = (builder.append_basic_block(n) for n in ("step", "stepped"))
                        builder.branch(loop)
                        builder.position_at_end(loop)
                        phis = [builder.phi(first.type) for first in firsts]
                        for phi, first in zip(phis, firsts, strict=True):
                            phi.add_incoming(first, before)
                        k, total, left = phis
                        word = builder.gep(begun[5], [builder.add(i, builder.mul(k, args[7]))])
                        code = builder.zext(builder.load(word), _I64)
                        factor = builder.load(builder.gep(begun[8], [code]))
                        start = builder.zext(builder.load(builder.gep(begun[9], [code])), _I64)
                        start = builder.add(start, builder.mul(k, args[4]))
                        other = vector(builder, begun[3], builder.add(start, _I64(v)), lane.real)
                        value = splat(builder, factor, lane.real)
                        term = add_term(builder, lane, truncate, half, value, load(builder, other))
                        moved = builder.sub(builder.bitcast(term, lane.whole), lane.start_bits)
                        kept, changed = _folded(builder, lane, builder.add(total, moved), limits)
                        now = builder.or_(left, builder.zext(changed, lane.flags))
                        following = builder.add(k, _I64(1))
                        for phi, last in zip(phis, (following, kept, now), strict=True):
                            phi.add_incoming(last, loop)
                        more = builder.icmp_signed("<", following, args[10])
                        builder.cbranch(more, loop, done)
                        builder.position_at_end(done)
                        builder.store(kept, place, align=4)
                        builder.store(now, flag, align=1)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(step_terms)


#: step_terms_*(acc, left_range, chosen, panel, stride, words, words_at, step, factor, row, count,
#: rule): `fold_terms` of every single product of the rows where chosen[i] is not 0, ascending u;
#: the other arguments as for add_terms_* and fold_terms.
step_terms_floor = _make_step_terms(truncate=False)
step_terms_toward_zero = _make_step_terms(truncate=True)


def _fold_terms(_typing: Any, acc: Any, acc_at: Any, group: Any, left_range: Any, rule: Any) -> Any:
    """Block acc[acc_at:] <- saturate or wrap(acc + group); left_range[acc_at + j] |= it changed.

    acc, group: int32 or int64, left_range: uint8; rule: acc's integers (lowest, highest, item bits
    - accumulator bits, -1 to wrap or 0). No sum may leave the item.
    """
    signature = types.void(acc, types.intp, group, left_range, rule)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sums = element(context, builder, sig.args[0], args[0], args[1])
        terms = element(context, builder, sig.args[2], args[2], _I64(0))
        flags = element(context, builder, sig.args[3], args[3], args[1])
        limits = _limits(builder, lane, args[4])
        bytes_kind = lane.flags
        for v in range(0, lane.block, lane.lanes):
            place = vector(builder, sums, _I64(v), lane.whole)
            term = load(builder, vector(builder, terms, _I64(v), lane.whole))
            total = builder.add(load(builder, place), term)
            kept, changed = _folded(builder, lane, total, limits)
            builder.store(kept, place, align=4)
            flag = vector(builder, flags, _I64(v), bytes_kind)
            changed = builder.zext(changed, bytes_kind)
            seen = builder.or_(builder.load(flag, align=1), changed)
            builder.store(seen, flag, align=1)
        return context.get_dummy_value()

    return signature, codegen


fold_terms: Any = intrinsic(_fold_terms)
