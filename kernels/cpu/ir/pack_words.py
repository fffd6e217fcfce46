"""Codes of a turned into the words of the inner loops, as Numba intrinsics (see `add_terms.py`)."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I32 as _I32
from .emit import I64 as _I64
from .emit import QUAD, SIZE, SUMS, ZERO, Lane, element, lane_of, load, not_unrolled, splat, vector

_REBIAS = (1023 - 127) << 23 & 0xFFFFFFFF  # of an exponent, from a float64's to a float32's


def _spread(
    _typing: Any,
    table: Any,
    codes: Any,
    at: Any,
    row_step: Any,
    step: Any,
    out: Any,
    out_at: Any,
    rows: Any,
    count: Any,
    stride: Any,
) -> Any:
    """out[out_at + i * count + u] = table[codes[at + i * row_step + u * step]] + u * stride.

    For i < rows and u < count; table, out: uint32.
    """
    place = types.intp
    signature = types.void(
        table, codes, place, place, place, out, place, place, place, types.uint32
    )

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        entries = element(context, builder, sig.args[0], args[0], _I64(0))
        source = element(context, builder, sig.args[1], args[1], args[2])
        target = element(context, builder, sig.args[5], args[5], args[6])
        step, rows, count, stride = args[4], args[7], args[8], args[9]

        def spread_products(first: Any, together: int) -> None:
            """Products first, first + 1, ... of all rows, `together` at a time."""
            kind = ir.VectorType(_I32, together)
            moved = ir.Constant(kind, ir.Undefined)
            for u in range(together):
                number = builder.trunc(builder.add(first, _I64(u)), _I32)
                moved = builder.insert_element(moved, builder.mul(number, stride), _I32(u))
            lines = [builder.mul(step, _I64(u)) for u in range(together)]
            begin = builder.gep(source, [builder.mul(first, step)])
            start = builder.gep(target, [first])
            entry = builder.block
            names = ("row", "words", "done")
            head, body, done = (builder.append_basic_block(name) for name in names)
            builder.branch(head)
            builder.position_at_end(head)
            row, here, there = (builder.phi(v.type) for v in (ZERO, begin, start))
            for phi, first_value in ((row, ZERO), (here, begin), (there, start)):
                phi.add_incoming(first_value, entry)
            builder.cbranch(builder.icmp_signed("<", row, rows), body, done)
            builder.position_at_end(body)
            words = ir.Constant(kind, ir.Undefined)
            for u in range(together):
                code = builder.load(builder.gep(here, [lines[u]]))
                word = builder.load(builder.gep(entries, [builder.zext(code, _I64)]))
                words = builder.insert_element(words, word, _I32(u))
            builder.store(builder.add(words, moved), vector(builder, there, ZERO, kind), align=4)
            following = builder.add(row, _I64(1))
            row.add_incoming(following, body)
            here.add_incoming(builder.gep(here, [args[3]]), body)
            there.add_incoming(builder.gep(there, [count]), body)
            not_unrolled(builder.branch(head))
            builder.position_at_end(done)

        rest = builder.srem(count, _I64(QUAD))
        even = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, ZERO, even, _I64(QUAD), _I64) as (u, _):
            spread_products(u, QUAD)
        with cgutils.for_range(builder, count, even) as last:
            spread_products(last.index, 1)
        return context.get_dummy_value()

    return signature, codegen


spread: Any = intrinsic(_spread)


def _sizes(builder: Any, lane: Lane, words: Any, low: Any) -> Any:
    """float32 |factor| of QUAD words, see `tables.py`."""
    kind = words.type
    bits = builder.and_(words, splat(builder, builder.and_(builder.not_(low), _I32(SIZE)), kind))
    if lane.item_bytes == 8:  # from a float64's upper half: three places up, but for a 0
        bias = ir.Constant(kind, [_REBIAS] * QUAD)
        moved = builder.sub(builder.shl(bits, ir.Constant(kind, [3] * QUAD)), bias)
        none = ir.Constant(kind, [0] * QUAD)
        bits = builder.select(builder.icmp_unsigned("==", bits, none), none, moved)
    return builder.bitcast(bits, ir.VectorType(ir.FloatType(), QUAD))


def _reach(_typing: Any, words: Any, at: Any, rows: Any, count: Any, low: Any, table: Any) -> Any:
    """float32: of some rows of words the largest sum of a row's |factors|, rounded to nearest.

    Row i < rows, a multiple of SUMS: words[at + i * count:][:count]. table: of the panel's type.
    """
    place = types.intp
    signature = types.float32(words, place, place, place, types.uint32, table)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[5])
        source = element(context, builder, sig.args[0], args[0], args[1])
        count, low = args[3], args[4]
        kind = ir.VectorType(_I32, QUAD)
        real = ir.VectorType(ir.FloatType(), QUAD)
        zero = ir.Constant(real, [0.0] * QUAD)
        most_at = cgutils.alloca_once_value(builder, zero)
        sums_at = [cgutils.alloca_once(builder, real) for _ in range(SUMS)]
        even = builder.sub(count, builder.srem(count, _I64(QUAD)))
        with cgutils.for_range_slice(builder, ZERO, args[2], _I64(SUMS), _I64) as (i, _):
            first = builder.gep(source, [builder.mul(i, count)])
            rows = [builder.gep(first, [builder.mul(count, _I64(r))]) for r in range(SUMS)]
            for sum_at in sums_at:
                builder.store(zero, sum_at)
            with cgutils.for_range_slice(builder, ZERO, even, _I64(QUAD), _I64) as (u, _):
                for row, sum_at in zip(rows, sums_at, strict=True):
                    size = _sizes(builder, lane, load(builder, vector(builder, row, u, kind)), low)
                    builder.store(builder.fadd(builder.load(sum_at), size), sum_at)
            total = _across(builder, [builder.load(sum_at) for sum_at in sums_at])
            total_at = cgutils.alloca_once_value(builder, total)
            with cgutils.for_range(builder, count, even) as last:
                words = ir.Constant(kind, ir.Undefined)
                for r, row in enumerate(rows):
                    word = builder.load(builder.gep(row, [last.index]))
                    words = builder.insert_element(words, word, _I32(r))
                size = _sizes(builder, lane, words, low)
                builder.store(builder.fadd(builder.load(total_at), size), total_at)
            total, most = builder.load(total_at), builder.load(most_at)
            larger = builder.fcmp_ordered(">", total, most)
            builder.store(builder.select(larger, total, most), most_at)
        most = builder.extract_element(builder.load(most_at), _I32(0))
        for r in range(1, SUMS):
            other = builder.extract_element(builder.load(most_at), _I32(r))
            most = builder.select(builder.fcmp_ordered(">", other, most), other, most)
        return most

    return signature, codegen


def _across(builder: Any, lines: list[Any]) -> Any:
    """The sums across each of four vectors of four."""
    even, odd = (ir.Constant(ir.VectorType(_I32, 4), [i, i + 2, i + 4, i + 6]) for i in range(2))
    while len(lines) > 1:
        pairs = zip(lines[::2], lines[1::2], strict=True)
        lines = [
            builder.fadd(builder.shuffle_vector(x, y, even), builder.shuffle_vector(x, y, odd))
            for x, y in pairs
        ]
    return lines[0]


reach: Any = intrinsic(_reach)
