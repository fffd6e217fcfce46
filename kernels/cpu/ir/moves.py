"""Codes and table rows moved into place, as Numba intrinsics (see `add_terms.py`)."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I32 as _I32
from .emit import I64 as _I64
from .emit import ZERO, element, lane_of, load, vector

SPAN = 16  # codes that `read_spans` copies at once
TILE = 8  # rows of a table that `expand_8` transposes at a time


def _transpose(builder: Any, columns: list[Any], rows: int) -> list[Any]:
    """Turn TILE vectors of `rows` elements into `rows` vectors of TILE, rows a power of two."""
    if rows < TILE:  # one long vector, then every rows-th element of it
        while len(columns) > 1:
            mask = ir.Constant(
                ir.VectorType(_I32, 2 * columns[0].type.count),
                list(range(2 * columns[0].type.count)),
            )
            pairs = zip(columns[::2], columns[1::2], strict=True)
            columns = [builder.shuffle_vector(*pair, mask) for pair in pairs]
        kind = ir.VectorType(_I32, TILE)
        masks = [ir.Constant(kind, list(range(r, rows * TILE, rows))) for r in range(rows)]
        return [builder.shuffle_vector(columns[0], columns[0], mask) for mask in masks]
    return swap_blocks(builder, columns)


def swap_blocks(builder: Any, lines: list[Any]) -> list[Any]:
    """Transpose n vectors of n elements: swap the off-diagonal blocks of each size."""
    n, size = len(lines), 1
    while size < n:
        low = [i if not i & size else n + i - size for i in range(n)]
        high = [i + size if not i & size else n + i for i in range(n)]
        masks = [ir.Constant(ir.VectorType(_I32, n), mask) for mask in (low, high)]
        for i in (i for i in range(n) if not i & size):
            pair = lines[i], lines[i + size]
            lines[i], lines[i + size] = (builder.shuffle_vector(*pair, m) for m in masks)
        size *= 2
    return lines


def _make_expand(rows: int) -> Any:
    """Build the intrinsic that writes `rows` rows of TILE columns of a panel."""

    def expand_columns(
        _typing: Any,
        table: Any,
        table_at: Any,
        table_stride: Any,
        index: Any,
        index_at: Any,
        panel: Any,
        panel_at: Any,
        width: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(table, at, at, index, at, panel, at, at)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])
            source = element(context, builder, sig.args[0], args[0], args[1])
            codes = element(context, builder, sig.args[3], args[3], args[4])
            target = element(context, builder, sig.args[5], args[5], args[6])
            columns = []
            for j in range(TILE):
                code = builder.zext(builder.load(builder.gep(codes, [_I64(j)])), _I64)
                at = vector(
                    builder, source, builder.mul(code, args[2]), ir.VectorType(lane.scalar, rows)
                )
                columns.append(load(builder, at))
            kind = ir.VectorType(lane.scalar, TILE)
            for r, row in enumerate(_transpose(builder, columns, rows)):
                place = vector(builder, target, builder.mul(args[7], _I64(r)), kind)
                builder.store(row, place, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(expand_columns)


#: expand_R(table, table_at, table_stride, index, index_at, panel, panel_at, width): R rows and TILE
#: columns of a panel from a table with one row per code,
#: panel[panel_at + r * width + j] = table[table_at + index[index_at + j] * table_stride + r];
#: table, panel: float32 or float64, index: uint16, all 1-D C-contiguous.
expand_1, expand_2, expand_4, expand_8 = (_make_expand(rows) for rows in (1, 2, 4, 8))


def _read_spans(
    _typing: Any,
    memory: Any,
    base: Any,
    at: Any,
    runs: Any,
    first: Any,
    out: Any,
    out_at: Any,
    count: Any,
) -> Any:
    """out[out_at + i] = memory[base + at[first + i]] for i < count, in any order of places.

    runs[first + i]: how many offsets from there on are neighbours, itself included. Up to SPAN - 1
    elements of `out` beyond those may be written. memory, out: of one type.
    """
    place = types.intp
    signature = types.void(memory, place, at, runs, place, out, place, place)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        room = context.make_array(sig.args[0])(context, builder, args[0]).nitems
        room = builder.sub(builder.sub(room, args[1]), _I64(SPAN))
        offsets = element(context, builder, sig.args[2], args[2], args[4])
        lengths = element(context, builder, sig.args[3], args[3], args[4])
        target = element(context, builder, sig.args[5], args[5], args[6])
        kind = ir.VectorType(source.type.pointee, SPAN)
        entry = builder.block
        names = ("head", "codes", "whole", "one", "next", "read")
        head, body, whole, one, following, done = map(builder.append_basic_block, names)
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(_I64)
        i.add_incoming(ZERO, entry)
        builder.cbranch(builder.icmp_signed("<", i, args[7]), body, done)
        builder.position_at_end(body)
        where, length = (builder.load(builder.gep(of, [i])) for of in (offsets, lengths))
        builder.cbranch(builder.icmp_signed("<=", where, room), whole, one)
        builder.position_at_end(whole)
        codes = builder.load(vector(builder, source, where, kind), align=1)
        builder.store(codes, vector(builder, target, i, kind), align=1)
        several = builder.icmp_signed("<", length, _I64(SPAN))
        length = builder.select(several, length, _I64(SPAN))
        builder.branch(following)
        builder.position_at_end(one)  # near the memory's end
        code = builder.load(builder.gep(source, [where]))
        builder.store(code, builder.gep(target, [i]))
        builder.branch(following)
        builder.position_at_end(following)
        step = builder.phi(_I64)
        step.add_incoming(length, whole)
        step.add_incoming(_I64(1), one)
        i.add_incoming(builder.add(i, step), following)
        builder.branch(head)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


read_spans: Any = intrinsic(_read_spans)


def _largest_code(_typing: Any, memory: Any, at: Any, mask: Any, count: Any) -> Any:
    """The largest memory[at + i] & mask over i < count (at least 1)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("codes", "found"))
        builder.branch(loop)
        builder.position_at_end(loop)
        i, most = builder.phi(_I64), builder.phi(source.type.pointee)
        i.add_incoming(_I64(0), entry)
        most.add_incoming(source.type.pointee(0), entry)
        size = builder.and_(builder.load(builder.gep(source, [i])), args[2])
        larger = builder.select(builder.icmp_unsigned(">", size, most), size, most)
        following = builder.add(i, _I64(1))
        i.add_incoming(following, loop)
        most.add_incoming(larger, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, done)
        builder.position_at_end(done)
        return larger

    return memory.dtype(memory, types.intp, memory.dtype, types.intp), codegen


largest_code: Any = intrinsic(_largest_code)


def _make_turn(size: int) -> Any:
    """Build the intrinsic that transposes `size` x `size` codes."""

    def turn(
        _typing: Any, memory: Any, at: Any, step: Any, out: Any, out_at: Any, out_step: Any
    ) -> Any:
        place = types.intp
        signature = types.void(memory, place, place, out, place, place)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            source = element(context, builder, sig.args[0], args[0], args[1])
            target = element(context, builder, sig.args[3], args[3], args[4])
            kind = ir.VectorType(source.type.pointee, size)
            wide = ir.VectorType(target.type.pointee, size)
            lines = []
            for i in range(size):
                where = builder.mul(args[2], _I64(i))
                lines.append(builder.load(vector(builder, source, where, kind), align=1))
            for u, line in enumerate(swap_blocks(builder, lines)):
                where = builder.mul(args[5], _I64(u))
                line = line if kind == wide else builder.zext(line, wide)
                builder.store(line, vector(builder, target, where, wide), align=1)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(turn)


#: turn_8(memory, at, step, out, out_at, out_step): for i, u < 8:
#: out[out_at + u * out_step + i] = memory[at + i * step + u]; out may be the wider.
turn_8 = _make_turn(8)


def _look_up(_typing: Any, table: Any, codes: Any, at: Any, out: Any, count: Any) -> Any:
    """out[at + i] = table[codes[at + i]] for i < count; codes: unsigned."""
    signature = types.void(table, codes, types.intp, out, types.intp)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        entries = element(context, builder, sig.args[0], args[0], _I64(0))
        source = element(context, builder, sig.args[1], args[1], args[2])
        target = element(context, builder, sig.args[3], args[3], args[2])
        with cgutils.for_range(builder, args[4]) as loop:
            code = builder.zext(builder.load(builder.gep(source, [loop.index])), _I64)
            value = builder.load(builder.gep(entries, [code]))
            builder.store(value, builder.gep(target, [loop.index]))
        return context.get_dummy_value()

    return signature, codegen


look_up: Any = intrinsic(_look_up)
