"""Codes of a turned into the words of the inner loops, as a Numba intrinsic (see `vector.py`)."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I32 as _I32
from .emit import I64 as _I64
from .emit import QUAD, ZERO, element, not_unrolled, vector


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
