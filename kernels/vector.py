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

A block is 1, 2 or 4 vectors of neighbouring columns. `plain.py` has the same functions without
intrinsics.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import (
    I8,
    QUAD,
    SUMS,
    VECTORS,
    ZERO,
    Lane,
    element,
    function,
    lane_of,
    load,
    splat,
    vector,
)
from .emit import I32 as _I32
from .emit import I64 as _I64

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


def _four(builder: Any, lane: Lane, place: Any, low: Any) -> list[tuple[Any, Any]]:
    """[(factor in every lane, offset of the panel's row in units of 8 bytes)] of QUAD words."""
    # Offsets are loaded before the vector, else LLVM takes them out of it, which is slower.
    long_low, pairs = builder.zext(low, _I64), builder.bitcast(place, _I64.as_pointer())
    offsets = []
    for j in range(0, QUAD, 2):
        pair = builder.load(builder.gep(pairs, [_I64(j // 2)]), align=4)
        offsets += [builder.and_(at, long_low) for at in (pair, builder.lshr(pair, _I64(32)))]
    kind = ir.VectorType(_I32, lane.lanes)
    words = load(builder, builder.bitcast(place, ir.VectorType(_I32, QUAD).as_pointer()))
    # Every QUAD lanes hold the four words, so that a factor is spread by a shuffle within those.
    around = ir.Constant(kind, [i % QUAD for i in range(lane.lanes)])
    words = builder.shuffle_vector(words, words, around)
    bits = builder.and_(words, splat(builder, builder.not_(low), kind))
    factors = builder.bitcast(bits, ir.VectorType(ir.FloatType(), lane.lanes))
    if lane.item_bytes == 8:
        factors = builder.fpext(factors, lane.real)
    found = []
    for j, offset in enumerate(offsets):
        spread = ir.Constant(kind, [i - i % QUAD + j for i in range(lane.lanes)])
        found.append((builder.shuffle_vector(factors, factors, spread), offset))
    return found


def single(builder: Any, lane: Lane, place: Any, low: Any) -> tuple[Any, Any]:
    """(factor in every lane, offset of the panel's row in units of 8 bytes) of one word."""
    word = builder.load(place)
    factor = builder.bitcast(builder.and_(word, builder.not_(low)), ir.FloatType())
    factor = factor if lane.item_bytes == 4 else builder.fpext(factor, lane.scalar)
    return splat(builder, factor, lane.real), builder.zext(builder.and_(word, low), _I64)


class _Rows:
    """Emits the products of some neighbouring rows: rows * vectors sums stay in registers."""

    def __init__(self, builder: Any, lane: Lane, truncate: bool, place: dict[str, Any]) -> None:
        self.builder, self.lane, self.truncate = builder, lane, truncate
        self.place, self.vectors = place, place["vectors"]

    def _row(self, offset: Any) -> list[Any]:
        """The vectors of the panel's row that starts after `offset` * 8 bytes."""
        builder = self.builder
        data = builder.bitcast(self.place["panel"], I8.as_pointer())
        data = builder.gep(data, [builder.shl(offset, _I64(3))])
        source = builder.bitcast(data, self.lane.real.as_pointer())
        return [load(builder, builder.gep(source, [_I64(v)])) for v in range(self.vectors)]

    def _grown(self, totals: list[Any], codes: list[tuple[Any, Any]]) -> list[Any]:
        """The running sums after one product of each row."""
        grown = list(totals)
        for r, (factor, offset) in enumerate(codes):
            for v, other in enumerate(self._row(offset)):
                at = r * self.vectors + v
                grown[at] = add_term(
                    self.builder, self.lane, self.truncate, totals[at], factor, other
                )
        return grown

    def _loop(self, step: int, state: list[Any], last: Any) -> list[Any]:
        """The products from state[0] on, `step` at a time, while another `step` are left.

        state: number of the product, a word pointer for each row, the sums.
        """
        builder, place = self.builder, self.place
        entry = builder.block
        head, body, done = (builder.append_basic_block(n) for n in ("head", "terms", "added"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(first.type) for first in state]
        for phi, first in zip(phis, state, strict=True):
            phi.add_incoming(first, entry)
        following = builder.add(phis[0], _I64(step))
        builder.cbranch(builder.icmp_signed("<=", following, last), body, done)
        builder.position_at_end(body)
        rows = SUMS // self.vectors
        words, totals = phis[1 : 1 + rows], phis[1 + rows :]
        for first in range(0, step, QUAD):
            at = [builder.gep(word, [_I64(first)]) for word in words]
            if step == 1:
                codes = [[single(builder, self.lane, word, place["low"])] for word in at]
            else:
                codes = [_four(builder, self.lane, word, place["low"]) for word in at]
            for one in zip(*codes, strict=True):
                totals = self._grown(totals, list(one))
        words = [builder.gep(word, [_I64(step)]) for word in words]
        for phi, value in zip(phis, [following, *words, *totals], strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return phis

    def add(self) -> None:
        """All rows, `SUMS // vectors` at a time."""
        builder, lane, place = self.builder, self.lane, self.place
        together, block = SUMS // self.vectors, self.vectors * lane.lanes
        with cgutils.for_range_slice(builder, ZERO, place["rows"], _I64(together), _I64) as (i, _):
            words = [
                builder.gep(place["word"], [builder.mul(builder.add(i, _I64(r)), place["step"])])
                for r in range(together)
            ]
            state = [ZERO, *words, *[lane.start] * SUMS]
            for step in (QUAD, 1):
                state = self._loop(step, state, place["count"])
            for r in range(together):
                row = builder.add(i, _I64(r))
                skipped = builder.load(builder.gep(place["skip"], [row]))
                with builder.if_then(builder.icmp_unsigned("==", skipped, I8(0))):
                    sums = builder.gep(place["acc"], [builder.mul(row, _I64(block))])
                    for v in range(self.vectors):
                        total = state[1 + together + r * self.vectors + v]
                        bits = builder.bitcast(total, lane.whole)
                        target = vector(builder, sums, _I64(v * lane.lanes), lane.whole)
                        more = builder.sub(bits, lane.start_bits)
                        more = builder.add(load(builder, target), more)
                        builder.store(more, target, align=4)


def _make_add_terms(truncate: bool) -> Any:
    """Build the intrinsic that adds some products to the rows of a block."""

    def add_terms(
        _typing: Any,
        acc: Any,
        skip: Any,
        width: Any,
        panel: Any,
        words: Any,
        words_at: Any,
        step: Any,
        low: Any,
        count: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(acc, skip, at, panel, words, at, at, types.uint32, at)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lane = lane_of(sig.args[0])

            def begin(i: int, at: Any) -> Any:
                return element(context, builder, sig.args[i], args[i], at)

            place = {
                "acc": begin(0, ZERO),
                "skip": begin(1, ZERO),
                "rows": context.make_array(sig.args[1])(context, builder, args[1]).nitems,
                "panel": begin(3, ZERO),
                "word": begin(4, args[5]),
                "step": args[6],
                "low": args[7],
                "count": args[8],
            }
            for vectors in VECTORS:
                wanted = builder.icmp_signed("==", args[2], _I64(vectors * lane.lanes))
                with builder.if_then(wanted):
                    _Rows(builder, lane, truncate, place | {"vectors": vectors}).add()
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(add_terms)


#: add_terms_*(acc, skip, width, panel, words, words_at, step, low, count):
#: for each row i where skip[i] is 0 and each u < count, with word = words[words_at + i * step + u],
#: adds to the block acc[i * width:] the integers floor (or truncation) of factor * row, where
#: factor is the float32 with the bits word & ~low, and row starts (word & low) * 8 bytes into the
#: panel.
#: acc: int32 or int64; skip: uint8, as many as rows, a multiple of SUMS / vectors of a block;
#: width: columns of a block, 1, 2 or 4 vectors; panel: float32 or float64; words: uint32; 1-D
#: C-contiguous. Exact while the partial sums of a call stay within +-2^22 (2^51).
add_terms_floor = _make_add_terms(truncate=False)
add_terms_toward_zero = _make_add_terms(truncate=True)


def _peak(_typing: Any, acc: Any, acc_at: Any, count: Any) -> Any:
    """Integer P with P <= max |x| <= P + 1 over acc[acc_at:][:count], some whole vectors.

    It is the largest x ^ (x >> top bit).
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = lane_of(sig.args[0])
        sums = element(context, builder, sig.args[0], args[0], args[1])
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("sums", "peak"))
        builder.branch(loop)
        builder.position_at_end(loop)
        i, most = builder.phi(_I64), builder.phi(lane.whole)
        i.add_incoming(ZERO, entry)
        most.add_incoming(lane.constant(0), entry)
        value = load(builder, vector(builder, sums, i, lane.whole))
        size = builder.xor(value, builder.ashr(value, lane.constant(8 * lane.item_bytes - 1)))
        most_now = _larger(builder, most, size)
        following = builder.add(i, _I64(lane.lanes))
        i.add_incoming(following, loop)
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
