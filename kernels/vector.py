"""Inner loops as Numba intrinsics that emit portable LLVM vector IR.

LLVM's loop vectoriser reloads the accumulators and guards every pass with alias checks; written as
vectors of VECTOR_BYTES the same loops keep them in registers. Nothing here names an instruction
set: a machine with shorter vectors gets the same operations in pieces. Every intrinsic serves both
lanes of the kernel: float32 terms with int32 sums, and float64 terms with int64 sums.

`add_terms_floor` rounds with the floating-point unit: a sum that starts at 1.5 * 2^m (m the stored
significand bits) has steps of exactly 1 while it stays in its octave, so a fused multiply-add that
rounds down adds floor(factor * row). It must run between `set_rounding(DOWN)` and
`set_rounding(NEAREST)`, in a function that calls `keep_apart()`: LLVM does not know that the mode
changes what the operation gives, and must not move it past the call.

A block is BLOCK_BYTES of neighbouring columns. `plain.py` has the same functions without
intrinsics.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .emit import I8 as _I8
from .emit import I32 as _I32
from .emit import I64 as _I64
from .emit import Lane, element, function, lane_of, load, splat, vector

DOWN, NEAREST = 3, 1  # LLVM's names of the rounding modes


def _set_rounding(_typing: Any, mode: Any) -> Any:
    """Set this thread's floating-point rounding to DOWN or NEAREST."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.call(function(builder, "llvm.set.rounding", ir.VoidType(), [_I32]), [args[0]])
        return context.get_dummy_value()

    return types.void(types.int32), codegen


set_rounding: Any = intrinsic(_set_rounding)


def _keep_apart(_typing: Any) -> Any:
    """Never inline the function that calls this into another."""

    def codegen(context: Any, builder: Any, _sig: Any, _args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


keep_apart: Any = intrinsic(_keep_apart)


def add_term(builder: Any, lane: Lane, truncate: bool, total: Any, factor: Any, row: Any) -> Any:
    """The running sum `total` after the product factor * row, rounded."""
    suffix = f"v{lane.lanes}f{8 * lane.item_bytes}"
    if truncate:
        trunc = function(builder, f"llvm.trunc.{suffix}", lane.real, [lane.real])
        return builder.fadd(total, builder.call(trunc, [builder.fmul(factor, row)]))
    fma = function(builder, f"llvm.fma.{suffix}", lane.real, [lane.real] * 3)
    return builder.call(fma, [factor, row, total])


def _sum_terms(builder: Any, lane: Lane, place: dict[str, Any], truncate: bool) -> list[Any]:
    """Emit the loop over the products of one row; return the floating-point sums' bits."""

    def look_up(word: Any) -> tuple[Any, Any]:
        """(factor in every lane, where the row starts) of the code at `word`."""
        code = builder.zext(builder.load(word), _I64)
        factor = builder.load(builder.gep(place["factor"], [code]))
        start = builder.load(builder.gep(place["row"], [code]))
        return splat(builder, factor, lane.real), builder.zext(start, _I64)

    entry, ahead = builder.block, look_up(place["word"])
    loop, done = (builder.append_basic_block(name) for name in ("terms", "added"))
    builder.branch(loop)
    builder.position_at_end(loop)
    firsts = [_I64(0), place["panel"], place["word"], *ahead]
    firsts += [lane.start] * (lane.block // lane.lanes)
    phis = [builder.phi(first.type) for first in firsts]
    for phi, first in zip(phis, firsts, strict=True):
        phi.add_incoming(first, entry)
    k, slot, word, value, start, *totals = phis
    following = builder.add(k, _I64(1))
    more = builder.icmp_signed("<", following, place["count"])
    next_word = builder.select(more, builder.gep(word, [place["step"]]), word)
    ahead = look_up(next_word)  # a product early: the panel's loads wait for it
    source = builder.gep(slot, [start])
    grown = []
    for v, total in enumerate(totals):
        other = load(builder, vector(builder, source, _I64(v * lane.lanes), lane.real))
        grown.append(add_term(builder, lane, truncate, total, value, other))
    next_slot = builder.gep(slot, [place["stride"]])
    lasts = [following, next_slot, next_word, *ahead, *grown]
    for phi, last in zip(phis, lasts, strict=True):
        phi.add_incoming(last, loop)
    builder.cbranch(more, loop, done)
    builder.position_at_end(done)
    return [builder.bitcast(total, lane.whole) for total in grown]


def _make_add_terms(truncate: bool) -> Any:
    """Build the intrinsic that adds some products to the rows of a block."""

    def add_terms(
        _typing: Any,
        acc: Any,
        skip: Any,
        panel: Any,
        panel_at: Any,
        stride: Any,
        words: Any,
        words_at: Any,
        step: Any,
        factor: Any,
        row: Any,
        count: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(acc, skip, panel, at, at, words, at, at, factor, row, at)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])
            zero = _I64(0)
            begin = {
                i: element(context, builder, sig.args[i], args[i], at)
                for i, at in (
                    (0, zero),
                    (1, zero),
                    (2, args[3]),
                    (5, args[6]),
                    (8, zero),
                    (9, zero),
                )
            }
            rows = context.make_array(sig.args[1])(context, builder, args[1]).nitems
            entry = builder.block
            names = ("row", "sum", "next", "rows_done")
            loop, add, after, done = (builder.append_basic_block(name) for name in names)
            builder.cbranch(builder.icmp_signed(">", rows, zero), loop, done)
            builder.position_at_end(loop)
            i, sums, word = (
                builder.phi(_I64),
                builder.phi(begin[0].type),
                builder.phi(begin[5].type),
            )
            for phi, first in ((i, zero), (sums, begin[0]), (word, begin[5])):
                phi.add_incoming(first, entry)
            skipped = builder.load(builder.gep(begin[1], [i]))
            builder.cbranch(builder.icmp_unsigned("==", skipped, _I8(0)), add, after)
            builder.position_at_end(add)
            place = {
                "panel": begin[2],
                "stride": args[4],
                "word": word,
                "step": args[7],
                "factor": begin[8],
                "row": begin[9],
                "count": args[10],
            }
            for v, bits in enumerate(_sum_terms(builder, lane, place, truncate)):
                target = vector(builder, sums, _I64(v * lane.lanes), lane.whole)
                total = builder.add(load(builder, target), builder.sub(bits, lane.start_bits))
                builder.store(total, target, align=4)
            builder.branch(after)
            builder.position_at_end(after)
            following = builder.add(i, _I64(1))
            i.add_incoming(following, after)
            sums.add_incoming(builder.gep(sums, [_I64(lane.block)]), after)
            word.add_incoming(builder.gep(word, [_I64(1)]), after)
            builder.cbranch(builder.icmp_signed("<", following, rows), loop, done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(add_terms)


#: add_terms_*(acc, skip, panel, panel_at, stride, words, words_at, step, factor, row, count):
#: for each row i where skip[i] is 0 and each u < count (at least 1), with code =
#: words[words_at + i + u * step], adds to the block acc[i * block:] the integers
#: floor (or truncation) of factor[code] * panel[panel_at + u * stride + row[code]:].
#: acc: int32 or int64; skip: uint8; panel, factor: float32 or float64; words: uint8 or uint16; row:
#: uint32; 1-D C-contiguous. Exact while the partial sums of a call stay within +-2^22 (2^51).
add_terms_floor = _make_add_terms(truncate=False)
add_terms_toward_zero = _make_add_terms(truncate=True)


def _peak(_typing: Any, acc: Any, acc_at: Any, rows: Any) -> Any:
    """Integer P with P <= max |acc| <= P + 1 over `rows` (at least 1) blocks from acc[acc_at:].

    It is the largest x ^ (x >> top bit).
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sums = element(context, builder, sig.args[0], args[0], args[1])
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("rows", "peak"))
        builder.branch(loop)
        builder.position_at_end(loop)
        i, place = builder.phi(_I64), builder.phi(sums.type)
        most = builder.phi(lane.whole)
        for phi, first in ((i, _I64(0)), (place, sums), (most, lane.constant(0))):
            phi.add_incoming(first, entry)
        most_now = most
        for v in range(0, lane.block, lane.lanes):
            value = load(builder, vector(builder, place, _I64(v), lane.whole))
            size = builder.xor(value, builder.ashr(value, lane.constant(8 * lane.item_bytes - 1)))
            most_now = _larger(builder, most_now, size)
        following = builder.add(i, _I64(1))
        i.add_incoming(following, loop)
        place.add_incoming(builder.gep(place, [_I64(lane.block)]), loop)
        most.add_incoming(most_now, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, done)
        builder.position_at_end(done)
        most = most_now
        half = lane.lanes // 2
        while half:  # fold the upper half of the lanes onto the lower
            mask = ir.Constant(
                ir.VectorType(_I32, lane.lanes), [i ^ half for i in range(lane.lanes)]
            )
            most = _larger(builder, most, builder.shuffle_vector(most, most, mask))
            half //= 2
        return builder.extract_element(most, _I32(0))

    return acc.dtype(acc, types.intp, types.intp), codegen


peak: Any = intrinsic(_peak)


def _larger(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed(">", x, y), x, y)
