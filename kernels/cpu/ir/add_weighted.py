"""The inner loop of style "bins" where no bin can overflow, as a Numba intrinsic.

Then the result, the sum over bins of constant * bin, is the sum over products of constant * term,
whatever the order, and one accumulator an output does the work of L. See `bins.py`.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from .emit import I64, VECTORS, ZERO, Lane, element, lane_of, load, vector
from .rows import Rows, add_term

WEIGHTED_VECTORS = VECTORS[1]  # of a block: two sums for each of its vectors stay in registers


class WeightedRows(Rows):
    """Sums of weight * term and of its magnitude, one row at a time."""

    def __init__(self, builder: Any, lane: Lane, truncate: bool, place: dict[str, Any]) -> None:
        super().__init__(builder, lane, truncate, place, WEIGHTED_VECTORS, 1)

    def starts(self, _row: Any) -> list[Any]:
        """Zeros."""
        return [self.lane.constant(0)] * (2 * self.vectors)

    def grown(self, sums: list[Any], _number: int, factor: Any, offset: Any) -> list[Any]:
        """One rounded product, weighted, and its magnitude, a vector."""
        builder, lane, grown = self.builder, self.lane, list(sums)
        weights = self.row_of("weights", offset)
        for v, other in enumerate(self.row_of("panel", offset)):
            total = add_term(builder, lane, self.truncate, lane.start, factor, other)
            term = builder.sub(builder.bitcast(total, lane.whole), lane.start_bits)
            term = builder.mul(term, builder.bitcast(weights[v], lane.whole))
            negative = builder.icmp_signed("<", term, lane.constant(0))
            size = builder.select(negative, builder.neg(term), term)
            grown[v] = builder.add(sums[v], term)
            grown[self.vectors + v] = builder.add(sums[self.vectors + v], size)
        return grown

    def store(self, row: Any, sums: list[Any]) -> None:
        """Add both kinds of sums to theirs in memory, 64 bits wide."""
        builder, lane = self.builder, self.lane
        wide = Lane(8).whole
        block = builder.mul(row, I64(self.vectors * lane.lanes))
        for kind, name in enumerate(("acc", "size")):
            base = builder.gep(self.place[name], [block])
            for v in range(self.vectors):
                total = sums[kind * self.vectors + v]
                for half, part in enumerate(lane.halves(builder, total)):
                    target = vector(builder, base, I64(v * lane.lanes + half * wide.count), wide)
                    more = builder.add(load(builder, target), builder.sext(part, wide))
                    builder.store(more, target, align=8)


def _make_add_weighted(truncate: bool) -> Any:
    """Build the intrinsic that adds some weighted products to the rows of a block."""

    def add_weighted(
        _typing: Any,
        acc: Any,
        size: Any,
        rows: Any,
        panel: Any,
        weights: Any,
        words: Any,
        words_at: Any,
        step: Any,
        low: Any,
        count: Any,
    ) -> Any:
        at = types.intp
        signature = types.void(acc, size, at, panel, weights, words, at, at, types.uint32, at)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            arrays = {"acc": 0, "size": 1, "panel": 3, "weights": 4, "word": 5}
            place = {
                name: element(context, builder, sig.args[i], args[i], args[6] if i == 5 else ZERO)
                for name, i in arrays.items()
            }
            place |= {"rows": args[2], "step": args[7], "low": args[8], "count": args[9]}
            WeightedRows(builder, lane_of(sig.args[3]), truncate, place).add()
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(add_weighted)


#: add_weighted_*(acc, size, rows, panel, weights, words, words_at, step, low, count): for each row
#: i < rows and each u < count, adds weight * term to the block acc[i * width:] and |weight * term|
#: to size[i * width:], width = WEIGHTED_VECTORS vectors of the panel's lanes; term as for
#: `add_terms.add_terms_floor`, weight the int32 at its entry's place in `weights`.
#: acc, size: int64; panel: float32; weights: float32 with the bits of int32; words:
#: uint32; 1-D C-contiguous. Exact while a call's sums of either kind stay below 2^31.
add_weighted_floor = _make_add_weighted(truncate=False)
add_weighted_toward_zero = _make_add_weighted(truncate=True)
