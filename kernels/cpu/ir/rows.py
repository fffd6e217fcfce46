"""Rows of products in registers: the loops of `add_terms.py` and `add_weighted.py`.

A word of a holds a factor and where the row of the panel begins that it multiplies.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .emit import (
    EARLY,
    I8,
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


def _factors(builder: Any, lane: Lane, place: Any, low: Any) -> list[Any]:
    """The factors of QUAD words, each in every lane."""
    words = load(builder, builder.bitcast(place, ir.VectorType(I32, QUAD).as_pointer()))
    # every 16 bytes hold the four: a factor is then spread by a shuffle within
    fours = [i % QUAD for i in range(lane.lanes * lane.item_bytes // 4)]
    words = builder.bitcast(builder.shuffle_vector(words, words, _lanes(fours)), lane.whole)
    mask = builder.not_(low)
    if lane.item_bytes == 4:
        parts = [words]
    else:  # upper halves of float64: of the words 0 and 2, and of 1 and 3
        parts = [builder.shl(words, lane.constant(32)), words]
        mask = builder.shl(builder.zext(mask, I64), I64(32))
    mask = splat(builder, mask, lane.whole)
    spans = [builder.bitcast(builder.and_(part, mask), lane.real) for part in parts]
    among = QUAD // len(spans)
    found = []
    for j in range(QUAD):
        number, span = divmod(j, len(spans))
        within = [i - i % among + number for i in range(lane.lanes)]
        found.append(builder.shuffle_vector(spans[span], spans[span], _lanes(within)))
    return found


def _offset(builder: Any, place: Any, number: int, low: Any) -> Any:
    """The offset of the panel's row, in units, of the word that is `number` further on.

    The load is atomic, which costs nothing, so that LLVM leaves it where it is: early, see `Rows`.
    """
    word = builder.load_atomic(builder.gep(place, [I64(number)]), "monotonic", 4)
    return builder.zext(builder.and_(word, low), I64)


def _lanes(numbers: list[int]) -> Any:
    """Which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(I32, len(numbers)), numbers)


def single(builder: Any, lane: Lane, place: Any, low: Any) -> tuple[Any, Any]:
    """(factor in every lane, offset of the panel's row in units) of one word."""
    word = builder.load(place)
    factor = lane.factor(builder, builder.and_(word, builder.not_(low)))
    return splat(builder, factor, lane.real), builder.zext(builder.and_(word, low), I64)


class Rows:
    """Emits the products of some neighbouring rows, whose sums stay in registers.

    place: sums, panel and word (pointers), rows, step, low, count: see `add_terms.add_terms_floor`.

    The offset of a product is loaded some products before its row of the panel is read: a load that
    waits for its address, behind those of the products before it, leaves the load ports idle.
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

    def starts(self, row: Any) -> list[Any]:
        """The sums of the `together` rows from `row` on, before their first product."""
        raise NotImplementedError

    def grown(self, sums: list[Any], number: int, factor: Any, offset: Any) -> list[Any]:
        """The sums after one product of the row that is `number` of the rows together."""
        raise NotImplementedError

    def store(self, row: Any, sums: list[Any]) -> None:
        """Put away the sums of the `together` rows from `row` on."""
        raise NotImplementedError

    def row_of(self, panel: str, offset: Any) -> list[Any]:
        """The vectors of the panel's row that starts after `offset` units."""
        builder = self.builder
        data = builder.bitcast(self.place[panel], I8.as_pointer())
        data = builder.gep(data, [builder.shl(offset, I64(self.lane.unit_bits))])
        source = builder.bitcast(data, self.lane.real.as_pointer())
        return [load(builder, builder.gep(source, [I64(v)])) for v in range(self.vectors)]

    def _loop(self, step: int, state: list[Any]) -> list[Any]:
        """The products from state[0] on, `step` at a time, while another `step` are left.

        state: number of the product, a word pointer for each row, the sums.
        """
        builder = self.builder
        entry = builder.block
        head, body, done = (builder.append_basic_block(n) for n in ("head", "terms", "added"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(first.type) for first in state]
        for phi, first in zip(phis, state, strict=True):
            phi.add_incoming(first, entry)
        following = builder.add(phis[0], I64(step))
        left = builder.icmp_signed("<=", following, self.place["count"])
        builder.cbranch(left, body, done)
        builder.position_at_end(body)
        words, sums = phis[1 : 1 + self.together], phis[1 + self.together :]
        if step == 1:
            for number, word in enumerate(words):
                factor, offset = single(builder, self.lane, word, self.place["low"])
                sums = self.grown(sums, number, factor, offset)
        else:
            sums, _ = self._several(step, words, [], None, sums)
        words = [builder.gep(word, [I64(step)]) for word in words]
        for phi, value in zip(phis, [following, *words, *sums], strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return phis

    def _several(
        self, step: int, words: list[Any], early: list[Any], then: list[Any] | None, sums: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """(sums after `step` products of each row, the first offsets of the products at `then`).

        early: the first offsets of these products, as many as are known; then: where the words of
        the rows are that follow, None: no offsets of theirs.
        """
        builder, low = self.builder, self.place["low"]
        waiting, ahead = list(early), EARLY[self.together]
        for j in range(step):
            if j % QUAD == 0:
                quads = [builder.gep(word, [I64(j)]) for word in words]
                factors = [_factors(builder, self.lane, quad, low) for quad in quads]
            for number in range(self.together):
                at = j * self.together + number
                known = at + len(waiting)
                for other in range(known, at + ahead + 1):
                    u, row = divmod(other, self.together)
                    if u < step:
                        waiting.append(_offset(builder, words[row], u, low))
                    elif then is not None:
                        waiting.append(_offset(builder, then[row], u - step, low))
                sums = self.grown(sums, number, factors[number][j % QUAD], waiting.pop(0))
        return sums, waiting

    def add(self) -> None:
        """All products of all rows."""
        builder, place = self.builder, self.place
        whole = builder.icmp_signed("==", place["count"], I64(STRAIGHT))
        with builder.if_else(whole) as (straight, otherwise):
            with straight:
                self._add_straight()
            with otherwise:
                self._add_any()

    def _add_any(self) -> None:
        """`add`, however many products there are."""
        builder, place = self.builder, self.place
        each = I64(self.together)
        with cgutils.for_range_slice(builder, ZERO, place["rows"], each, I64) as (i, _):
            rows = [builder.add(i, I64(r)) for r in range(self.together)]
            words = [builder.gep(place["word"], [builder.mul(row, place["step"])]) for row in rows]
            state = [ZERO, *words, *self.starts(i)]
            for step in (STRAIGHT, QUAD, 1):
                state = self._loop(step, state)
            self.store(i, state[1 + self.together :])

    def _early(self, words: list[Any]) -> list[Any]:
        """The offsets that are loaded ahead, of the products at `words`."""
        numbers = [divmod(number, self.together) for number in range(EARLY[self.together])]
        return [_offset(self.builder, words[row], u, self.place["low"]) for u, row in numbers]

    def _add_straight(self) -> None:
        """`add` of STRAIGHT products: no loop within a row, offsets ahead from row to row."""
        builder, place, count = self.builder, self.place, self.together
        word, step = place["word"], place["step"]
        first = [builder.gep(word, [builder.mul(step, I64(r))]) for r in range(count)]
        further = builder.mul(step, I64(count))
        begin, row, done = (builder.append_basic_block(n) for n in ("begin", "row", "done"))
        builder.cbranch(builder.icmp_signed(">", place["rows"], ZERO), begin, done)
        builder.position_at_end(begin)
        starts = [ZERO, *first, *self._early(first)]
        builder.branch(row)
        builder.position_at_end(row)
        phis = [builder.phi(value.type) for value in starts]
        for phi, value in zip(phis, starts, strict=True):
            phi.add_incoming(value, begin)
        i, words, offsets = phis[0], phis[1 : 1 + count], phis[1 + count :]
        following = builder.add(i, I64(count))
        more = builder.icmp_signed("<", following, place["rows"])
        # of the last rows: they themselves
        then = [builder.select(more, builder.gep(at, [further]), at) for at in words]
        sums, offsets = self._several(STRAIGHT, words, offsets, then, self.starts(i))
        self.store(i, sums)
        for phi, value in zip(phis, [following, *then, *offsets], strict=True):
            phi.add_incoming(value, builder.block)
        builder.cbranch(more, row, done)
        builder.position_at_end(done)


class TermRows(Rows):
    """Sums of rounded terms: SUMS vectors, for as many rows as that makes."""

    def __init__(
        self, builder: Any, lane: Lane, truncate: bool, place: dict[str, Any], vectors: int
    ) -> None:
        super().__init__(builder, lane, truncate, place, vectors, SUMS // vectors)

    def _places(self, row: Any) -> list[Any]:
        """Where the vectors of the rows from `row` on are, SUMS of them, side by side."""
        builder, lane = self.builder, self.lane
        sums = builder.bitcast(self.place["sums"], lane.scalar.as_pointer())
        block = builder.mul(row, I64(self.vectors * lane.lanes))
        sums = builder.gep(sums, [block])
        return [vector(builder, sums, I64(v * lane.lanes), lane.real) for v in range(SUMS)]

    def starts(self, row: Any) -> list[Any]:
        """The sums so far."""
        return [load(self.builder, place) for place in self._places(row)]

    def grown(self, sums: list[Any], number: int, factor: Any, offset: Any) -> list[Any]:
        """One rounded multiply-add a vector."""
        grown = list(sums)
        for at, other in enumerate(self.row_of("panel", offset), number * self.vectors):
            grown[at] = add_term(self.builder, self.lane, self.truncate, sums[at], factor, other)
        return grown

    def store(self, row: Any, sums: list[Any]) -> None:
        """The sums where they came from."""
        for place, total in zip(self._places(row), sums, strict=True):
            self.builder.store(total, place, align=4)
