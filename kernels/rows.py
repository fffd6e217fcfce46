"""Rows of products in registers: the loops that `vector.py` and `weighted.py` make intrinsics of.

A word of a holds a factor and where the row of the panel begins that it multiplies.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .emit import (
    I8,
    I16,
    I32,
    I64,
    QUAD,
    STRAIGHT,
    SUMS,
    ZERO,
    Lane,
    function,
    load,
    splat,
    vector,
)


def add_term(builder: Any, lane: Lane, truncate: bool, total: Any, factor: Any, row: Any) -> Any:
    """The running sum `total` after the product factor * row, rounded."""
    suffix = f"v{lane.lanes}f{8 * lane.item_bytes}"
    if truncate:
        trunc = function(builder, f"llvm.trunc.{suffix}", lane.real, [lane.real])
        return builder.fadd(total, builder.call(trunc, [builder.fmul(factor, row)]))
    fma = function(builder, f"llvm.fma.{suffix}", lane.real, [lane.real] * 3)
    return builder.call(fma, [factor, row, total])


def several(builder: Any, lane: Lane, place: Any, low: Any, words: int) -> list[tuple[Any, Any]]:
    """[(factor in every lane, offset of the panel's row in units of 8 bytes)] of some QUADs."""
    found: list[tuple[Any, Any]] = []
    for at in range(0, words, QUAD):
        found += _four(builder, lane, builder.gep(place, [I64(at)]), low)
    return found


def _four(builder: Any, lane: Lane, place: Any, low: Any) -> list[tuple[Any, Any]]:
    """`several` of QUAD words."""
    # Offsets are loaded before the vector, else LLVM takes them out of it, which is slower.
    long_low, halves = builder.zext(low, I64), builder.bitcast(place, I16.as_pointer())
    offsets = []
    for j in range(QUAD):
        half = builder.load(builder.gep(halves, [I64(2 * j)]), align=2)
        offsets.append(builder.and_(builder.zext(half, I64), long_low))
    words = load(builder, builder.bitcast(place, ir.VectorType(I32, QUAD).as_pointer()))
    wide = lane.item_bytes == 8
    if not wide:  # every QUAD lanes hold the four: a factor is then spread by a shuffle within
        words = builder.shuffle_vector(words, words, _lanes([i % QUAD for i in range(lane.lanes)]))
    bits = builder.and_(words, splat(builder, builder.not_(low), words.type))
    factors = builder.bitcast(bits, ir.VectorType(ir.FloatType(), words.type.count))
    if wide:
        factors = builder.fpext(factors, ir.VectorType(lane.scalar, QUAD))
    found = []
    for j, offset in enumerate(offsets):
        within = [j if wide else i - i % QUAD + j for i in range(lane.lanes)]
        found.append((builder.shuffle_vector(factors, factors, _lanes(within)), offset))
    return found


def _lanes(numbers: list[int]) -> Any:
    """Which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(I32, len(numbers)), numbers)


def single(builder: Any, lane: Lane, place: Any, low: Any) -> tuple[Any, Any]:
    """(factor in every lane, offset of the panel's row in units of 8 bytes) of one word."""
    word = builder.load(place)
    factor = builder.bitcast(builder.and_(word, builder.not_(low)), ir.FloatType())
    factor = factor if lane.item_bytes == 4 else builder.fpext(factor, lane.scalar)
    return splat(builder, factor, lane.real), builder.zext(builder.and_(word, low), I64)


class Rows:
    """Emits the products of some neighbouring rows, whose sums stay in registers.

    place: acc and skip (pointers), rows, panel and word (pointers), step, low, count: see
    `vector.add_terms_floor`.
    """

    def __init__(
        self,
        builder: Any,
        lane: Lane,
        truncate: bool,
        place: dict[str, Any],
        vectors: int,
        together: int,
    ) -> None:
        self.builder, self.lane, self.truncate = builder, lane, truncate
        self.place, self.vectors, self.together = place, vectors, together

    def starts(self) -> list[Any]:
        """The sums of `together` rows before their first product."""
        raise NotImplementedError

    def grown(self, sums: list[Any], codes: list[tuple[Any, Any]]) -> list[Any]:
        """The sums after one product of each row."""
        raise NotImplementedError

    def store(self, row: Any, number: int, sums: list[Any]) -> None:
        """Put away the sums of `row`, which is `number` of the rows together."""
        raise NotImplementedError

    def row_of(self, panel: str, offset: Any) -> list[Any]:
        """The vectors of the panel's row that starts after `offset` * 8 bytes."""
        builder = self.builder
        data = builder.bitcast(self.place[panel], I8.as_pointer())
        data = builder.gep(data, [builder.shl(offset, I64(3))])
        source = builder.bitcast(data, self.lane.real.as_pointer())
        return [load(builder, builder.gep(source, [I64(v)])) for v in range(self.vectors)]

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
        following = builder.add(phis[0], I64(step))
        builder.cbranch(builder.icmp_signed("<=", following, last), body, done)
        builder.position_at_end(body)
        words, sums = phis[1 : 1 + self.together], phis[1 + self.together :]
        if step == 1:
            codes = [[single(builder, self.lane, word, place["low"])] for word in words]
        else:
            codes = [several(builder, self.lane, word, place["low"], step) for word in words]
        for one in zip(*codes, strict=True):
            sums = self.grown(sums, list(one))
        words = [builder.gep(word, [I64(step)]) for word in words]
        for phi, value in zip(phis, [following, *words, *sums], strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return phis

    def add(self) -> None:
        """All products of all rows."""
        builder, place = self.builder, self.place
        each = I64(self.together)
        with cgutils.for_range_slice(builder, ZERO, place["rows"], each, I64) as (i, _):
            rows = [builder.add(i, I64(r)) for r in range(self.together)]
            words = [builder.gep(place["word"], [builder.mul(row, place["step"])]) for row in rows]
            state = [ZERO, *words, *self.starts()]
            for step in (STRAIGHT, QUAD, 1):
                state = self._loop(step, state, place["count"])
            for number, row in enumerate(rows):
                skipped = builder.load(builder.gep(place["skip"], [row]))
                with builder.if_then(builder.icmp_unsigned("==", skipped, I8(0))):
                    self.store(row, number, state[1 + self.together :])


class TermRows(Rows):
    """Sums of rounded terms: SUMS vectors, for as many rows as that makes."""

    def __init__(
        self, builder: Any, lane: Lane, truncate: bool, place: dict[str, Any], vectors: int
    ) -> None:
        super().__init__(builder, lane, truncate, place, vectors, SUMS // vectors)

    def starts(self) -> list[Any]:
        """Where a sum has steps of 1."""
        return [self.lane.start] * SUMS

    def grown(self, sums: list[Any], codes: list[tuple[Any, Any]]) -> list[Any]:
        """One rounded multiply-add a vector."""
        grown = list(sums)
        for r, (factor, offset) in enumerate(codes):
            for v, other in enumerate(self.row_of("panel", offset)):
                at = r * self.vectors + v
                grown[at] = add_term(
                    self.builder, self.lane, self.truncate, sums[at], factor, other
                )
        return grown

    def store(self, row: Any, number: int, sums: list[Any]) -> None:
        """Add the sums' integers to the accumulators."""
        builder, lane = self.builder, self.lane
        block = builder.mul(row, I64(self.vectors * lane.lanes))
        accumulators = builder.gep(self.place["acc"], [block])
        for v in range(self.vectors):
            bits = builder.bitcast(sums[number * self.vectors + v], lane.whole)
            target = vector(builder, accumulators, I64(v * lane.lanes), lane.whole)
            more = builder.sub(bits, lane.start_bits)
            more = builder.add(load(builder, target), more)
            builder.store(more, target, align=4)
