"""Inner loops as Numba intrinsics that emit portable LLVM vector IR.

LLVM's loop vectoriser reloads the accumulators and guards every pass with alias checks; written as
vectors of VECTOR_BYTES the same loops keep them in registers. Nothing here names an instruction
set: a machine with shorter vectors gets the same operations in pieces. Every intrinsic serves both
lanes of the kernel: float32 terms with int32 sums, and float64 terms with int64 sums.

`add_terms_floor` rounds with the floating-point unit: a sum that starts at 1.5 * 2^m (m the stored
significand bits) has steps of exactly 1 while it stays in its octave, so a fused multiply-add that
rounds down adds floor(factor * row). As integers, the bits of two such sums differ by as much as
the sums. It must run between `set_rounding(DOWN)` and `set_rounding(NEAREST)`, in a function that
calls `keep_apart()`: LLVM does not know that the mode changes what the operation gives, and must
not move it past the call.

A block is 1, 2 or 4 vectors of neighbouring columns. What each intrinsic does is said in plain
Python by tests/judges/plain_loops.py, and the tests hold them to it.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I32 as _I32
from .emit import I64 as _I64
from .emit import SIZE, VECTOR_BYTES, VECTORS, ZERO, element, function, lane_of, load, splat, vector
from .rows import TermRows

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


def _make_add_terms(truncate: bool) -> Any:
    """Build the intrinsic that adds some products to the rows of a block."""

    def add_terms(
        _typing: Any,
        sums: Any,
        width: Any,
        panel: Any,
        words: Any,
        words_at: Any,
        step: Any,
        low: Any,
        count: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(sums, at, panel, words, at, at, types.uint32, at)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])

            def begin(i: int, at: Any) -> Any:
                return element(context, builder, sig.args[i], args[i], at)

            place = {
                "sums": begin(0, ZERO),
                "panel": begin(2, ZERO),
                "word": begin(3, args[4]),
                "step": args[5],
                "low": args[6],
                "count": args[7],
            }
            size = context.make_array(sig.args[0])(context, builder, args[0]).nitems
            for vectors in VECTORS:
                width = _I64(vectors * lane.lanes)
                with builder.if_then(builder.icmp_signed("==", args[1], width)):
                    here = place | {"rows": builder.udiv(size, width)}
                    TermRows(builder, lane, truncate, here, vectors).add()
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(add_terms)


#: add_terms_*(sums, width, panel, words, words_at, step, low, count): for each row i and each
#: u < count, with word = words[words_at + i * step + u], adds to the block sums[i * width:] the
#: integers floor (or truncation) of factor * row, where factor is the float32 with the bits word &
#: ~low, and row starts (word & low) * 8 bytes into the panel; of a float64 panel word & ~low is the
#: upper half of the factor, and units have 64 bytes.
#: sums: int32 or int64, each START_BITS + the sum, of a multiple of SUMS / vectors rows; width:
#: columns of a block, 1, 2 or 4 vectors; panel: float32 or float64; words: uint32; 1-D
#: C-contiguous. Exact while no sum leaves +-2^22 (2^51).
add_terms_floor = _make_add_terms(truncate=False)
add_terms_toward_zero = _make_add_terms(truncate=True)


def _peak(_typing: Any, acc: Any, acc_at: Any, count: Any, zero: Any, most: Any) -> Any:
    """int64 P >= max |x| over the integers acc[acc_at:][:count] - zero, some whole vectors.

    P <= max |x| + 1, in 64-bit lanes + most / 2^30. Every x is in -most - 1..most. Of 64 bits the
    upper halves are compared, shifted up as far as `most` allows: few machines compare more.
    """
    signature = types.int64(acc, types.intp, types.intp, types.int64, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sums = element(context, builder, sig.args[0], args[0], args[1])
        leading = function(builder, "llvm.ctlz.i64", _I64, [_I64, ir.IntType(1)])
        spare = builder.sub(builder.call(leading, [args[4], ir.IntType(1)(0)]), _I64(1))
        zero = splat(builder, builder.trunc(args[3], lane.integer), lane.whole)
        every, count = lane.item_bytes // 4, VECTOR_BYTES // 4  # words of a lane, of a vector
        compared = ir.VectorType(_I32, count)
        first = zero if every == 1 else ir.Constant(compared, [0] * count)
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("sums", "peak"))
        builder.branch(loop)
        builder.position_at_end(loop)
        i, least, largest = (builder.phi(kind) for kind in (_I64, compared, compared))
        i.add_incoming(ZERO, entry)
        value = load(builder, vector(builder, sums, i, lane.whole))
        if every == 2:
            value = builder.shl(builder.sub(value, zero), splat(builder, spare, lane.whole))
        value = builder.bitcast(value, compared)
        following = builder.add(i, _I64(lane.lanes))
        i.add_incoming(following, loop)
        extremes = []
        for extreme, by in ((least, "<"), (largest, ">")):
            further = _further(builder, by, value, extreme)
            extreme.add_incoming(first, entry)
            extreme.add_incoming(further, loop)
            extremes.append(further)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, done)
        builder.position_at_end(done)
        if every == 1:
            extremes = [builder.sub(extreme, zero) for extreme in extremes]
        found = _further(builder, ">", builder.not_(extremes[0]), extremes[1])
        half = count // 2
        while half >= every:  # fold the upper half of the lanes onto the lower
            mask = ir.Constant(compared, [j ^ half for j in range(count)])
            found = _further(builder, ">", found, builder.shuffle_vector(found, found, mask))
            half //= 2
        peak = builder.extract_element(found, _I32(every - 1))  # of 64 bits, the upper half
        peak = builder.add(builder.zext(peak, _I64), _I64(1))
        return peak if every == 1 else builder.lshr(builder.shl(peak, _I64(32)), spare)

    return signature, codegen


peak: Any = intrinsic(_peak)


def _move(_typing: Any, near: Any, far: Any, at: Any, count: Any, zero: Any, fresh: Any) -> Any:
    """far[at:][:count] += near[at:][:count] - zero; near <- zero; some whole vectors.

    near, far: int32 or int64; fresh: far counts as zeros.
    """
    place = types.intp
    signature = types.void(near, far, place, place, types.int64, types.boolean)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sources = element(context, builder, sig.args[0], args[0], args[2])
        targets = element(context, builder, sig.args[1], args[1], args[2])
        zero = splat(builder, builder.trunc(args[4], lane.integer), lane.whole)

        def move(fresh: bool) -> None:
            with cgutils.for_range_slice(builder, ZERO, args[3], _I64(lane.lanes), _I64) as (v, _):
                source = vector(builder, sources, v, lane.whole)
                target = vector(builder, targets, v, lane.whole)
                total = builder.sub(load(builder, source), zero)
                if not fresh:
                    total = builder.add(load(builder, target), total)
                builder.store(total, target, align=4)
                builder.store(zero, source, align=4)

        with builder.if_else(args[5]) as (first, later):
            with first:
                move(True)
            with later:
                move(False)
        return context.get_dummy_value()

    return signature, codegen


move: Any = intrinsic(_move)


def _factor_size(_typing: Any, words: Any, at: Any, acc: Any) -> Any:
    """float64 |factor| of words[at] or a little more, where acc has the sums; see `tables.py`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[2])
        word = builder.load(element(context, builder, sig.args[0], args[0], args[1]))
        bits = builder.and_(word, _I32(SIZE))  # with the low ones, which make it no smaller
        size = lane.factor(builder, bits)
        return size if lane.item_bytes == 8 else builder.fpext(size, ir.DoubleType())

    return types.float64(words, types.intp, acc), codegen


factor_size: Any = intrinsic(_factor_size)


def _further(builder: Any, by: str, x: Any, y: Any) -> Any:
    """The smaller (<) or larger (>) of x and y."""
    return builder.select(builder.icmp_signed(by, x, y), x, y)
