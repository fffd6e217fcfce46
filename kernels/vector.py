"""Inner loops as Numba intrinsics that emit portable LLVM vector IR.

LLVM's loop vectoriser reloads the accumulators and guards every pass with alias checks; written as
vectors of LANES elements the same loops keep them in registers (measured: 2.5 times faster).
Nothing here names an instruction set: a machine without 512-bit vectors gets the same operations
on narrower ones. Integer adds wrap; the float steps are in `fma.py`.

Numba's on-disk cache watches the file of the jitted function only; `cache.py` drops it when any
file of the package has changed.

A block is BLOCK neighbouring columns of the result; a pass is SLOTS neighbouring products.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
BLOCK = 64
SLOTS = 8
SHIFT_BITS = 5  # a packed word is `row << SHIFT_BITS | shift`

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_VI32 = ir.VectorType(_I32, LANES)
_VI8 = ir.VectorType(ir.IntType(8), LANES)
_VI1 = ir.VectorType(ir.IntType(1), LANES)


def element(context: Any, builder: Any, array_type: Any, value: Any, index: Any) -> Any:
    """Pointer to element `index` of a 1-D C-contiguous array."""
    data = context.make_array(array_type)(context, builder, value).data
    return builder.gep(data, [index])


def vector(builder: Any, pointer: Any, number: Any, kind: Any) -> Any:
    """`pointer` moved by `number` elements, as a pointer to a vector of `kind`."""
    return builder.bitcast(builder.gep(pointer, [number]), kind.as_pointer())


def load(builder: Any, pointer: Any) -> Any:
    """The vector at `pointer`, which is aligned to its elements only."""
    return builder.load(pointer, align=4)


def splat(builder: Any, scalar: Any, kind: Any) -> Any:
    """A vector of `kind` with `scalar` in every lane."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, scalar, _I32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, LANES), None))


def _below(builder: Any, shift: Any) -> Any:
    """2^shift - 1 in every lane."""
    one = ir.Constant(_VI32, [1] * LANES)
    return builder.sub(builder.shl(one, shift), one)


def _rounded(builder: Any, term: Any, shift: Any, toward_zero: bool) -> Any:
    """`term` shifted right by `shift`: floor, or magnitude first when `toward_zero`.

    Toward zero adds 2^shift - 1 to the negative terms and then floors.
    """
    if toward_zero:
        sign = builder.ashr(term, ir.Constant(_VI32, [31] * LANES))
        term = builder.add(term, builder.and_(sign, _below(builder, shift)))
    return builder.ashr(term, shift)


def _locate(builder: Any, word: Any, slot: int, slot_stride: Any) -> tuple[Any, Any]:
    """(panel element where a slot's row starts, its shift in every lane)."""
    packed = builder.zext(builder.load(builder.gep(word, [_I64(slot)])), _I64)
    amount = builder.and_(packed, _I64((1 << SHIFT_BITS) - 1))
    row = builder.mul(builder.lshr(packed, _I64(SHIFT_BITS)), _I64(BLOCK))
    start = builder.add(builder.mul(slot_stride, _I64(slot)), row)
    return start, splat(builder, builder.trunc(amount, _I32), _VI32)


def _make_add_terms(toward_zero: bool) -> Callable[..., Any]:
    """Build the intrinsic that adds one pass of products to one row of the block."""

    @intrinsic
    def add_terms(
        _typing: Any,
        acc: Any,
        acc_at: Any,
        panel: Any,
        panel_at: Any,
        slot_stride: Any,
        words: Any,
        words_at: Any,
    ) -> Any:
        signature = types.void(acc, types.intp, panel, types.intp, types.intp, words, types.intp)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            sums = element(context, builder, sig.args[0], args[0], args[1])
            rows = element(context, builder, sig.args[2], args[2], args[3])
            word = element(context, builder, sig.args[5], args[5], args[6])
            places = [vector(builder, sums, _I64(v), _VI32) for v in range(0, BLOCK, LANES)]
            totals = [load(builder, place) for place in places]
            for slot in range(SLOTS):
                start, shift = _locate(builder, word, slot, args[4])
                for v in range(len(totals)):
                    at = builder.add(start, _I64(v * LANES))
                    term = load(builder, vector(builder, rows, at, _VI32))
                    totals[v] = builder.add(totals[v], _rounded(builder, term, shift, toward_zero))
            for place, total in zip(places, totals, strict=True):
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return add_terms


#: add_terms(acc, acc_at, panel, panel_at, slot_stride, words, words_at): for each of SLOTS words
#: add panel row `word >> SHIFT_BITS` shifted right by the word's low bits to acc[acc_at:][:BLOCK].
#: int32, int32 and uint16 arrays, 1-D C-contiguous; slot_stride: int32 elements between slots.
add_terms_floor = _make_add_terms(toward_zero=False)
add_terms_toward_zero = _make_add_terms(toward_zero=True)


def _step_exactly(builder: Any, total: Any, term: Any, rule: Any) -> tuple[Any, Any]:
    """(accumulator after one product, lanes that left the range)."""
    low, high, spare, wrap = rule
    total = builder.add(total, term)
    clamped = builder.select(builder.icmp_signed("<", total, low), low, total)
    clamped = builder.select(builder.icmp_signed(">", clamped, high), high, clamped)
    wrapped = builder.ashr(builder.shl(total, spare), spare)
    kept = builder.select(wrap, wrapped, clamped)
    return kept, builder.icmp_signed("!=", kept, total)


def _add_terms_exactly(
    _typing: Any,
    acc: Any,
    left_range: Any,
    at: Any,
    panel: Any,
    slot_stride: Any,
    words: Any,
    words_at: Any,
    rule: Any,
) -> Any:
    """`add_terms` with every product saturated or wrapped on its own, for at most 31 bits.

    Sets left_range[at + j] (uint8) to 1 where acc[at + j] left the range. rule: int32s (lowest,
    highest accumulator, 32 - bits, -1 to wrap or 0, -1 for toward zero or 0).
    """
    signature = types.void(acc, left_range, types.intp, panel, types.intp, words, types.intp, rule)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = element(context, builder, sig.args[0], args[0], args[2])
        flags = element(context, builder, sig.args[1], args[1], args[2])
        rows = element(context, builder, sig.args[3], args[3], _I64(0))
        word = element(context, builder, sig.args[5], args[5], args[6])
        fields = [builder.extract_value(args[7], i) for i in range(5)]
        low, high, spare, wraps, zeroward = (splat(builder, field, _VI32) for field in fields)
        limits = (low, high, spare, builder.icmp_signed("<", wraps, ir.Constant(_VI32, None)))
        for v in range(0, BLOCK, LANES):
            place = vector(builder, sums, _I64(v), _VI32)
            total, left = load(builder, place), ir.Constant(_VI1, None)
            for slot in range(SLOTS):
                start, shift = _locate(builder, word, slot, args[4])
                at = builder.add(start, _I64(v))
                term = load(builder, vector(builder, rows, at, _VI32))
                up = builder.and_(_below(builder, shift), zeroward)
                up = builder.and_(up, builder.ashr(term, ir.Constant(_VI32, [31] * LANES)))
                term = builder.ashr(builder.add(term, up), shift)
                total, out = _step_exactly(builder, total, term, limits)
                left = builder.or_(left, out)
            builder.store(total, place, align=4)
            flag = vector(builder, flags, _I64(v), _VI8)
            seen = builder.or_(builder.load(flag, align=1), builder.zext(left, _VI8))
            builder.store(seen, flag, align=1)
        return context.get_dummy_value()

    return signature, codegen


add_terms_exactly: Any = intrinsic(_add_terms_exactly)


def _row_peak(_typing: Any, acc: Any, acc_at: Any) -> Any:
    """int32 P with P <= max |acc[acc_at:][:BLOCK]| <= P + 1: the largest x ^ (x >> 31)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = element(context, builder, sig.args[0], args[0], args[1])
        most = None
        for v in range(0, BLOCK, LANES):
            value = load(builder, vector(builder, sums, _I64(v), _VI32))
            sign = builder.ashr(value, ir.Constant(_VI32, [31] * LANES))
            size = builder.xor(value, sign)
            most = size if most is None else _larger(builder, most, size)
        half = LANES // 2
        while half:  # fold the upper half of the lanes onto the lower
            mask = [lane ^ half for lane in range(LANES)]
            turned = builder.shuffle_vector(most, most, ir.Constant(_VI32, mask))
            most = _larger(builder, most, turned)
            half //= 2
        return builder.extract_element(most, _I32(0))

    return types.int32(acc, types.intp), codegen


row_peak: Any = intrinsic(_row_peak)


def _larger(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed(">", x, y), x, y)


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose LANES vectors of LANES elements: swap the off-diagonal blocks of each size."""
    for size in (1, 2, 4, 8):
        low = [i if not i & size else LANES + i - size for i in range(LANES)]
        high = [i + size if not i & size else LANES + i for i in range(LANES)]
        masks = [ir.Constant(ir.VectorType(_I32, LANES), mask) for mask in (low, high)]
        for i in (i for i in range(LANES) if not i & size):
            pair = rows[i], rows[i + size]
            rows[i], rows[i + size] = (builder.shuffle_vector(*pair, mask) for mask in masks)
    return rows


def _expand_columns(
    _typing: Any,
    table: Any,
    table_at: Any,
    table_stride: Any,
    index: Any,
    index_at: Any,
    panel: Any,
    panel_at: Any,
) -> Any:
    """Write LANES rows of LANES columns of a panel from a table with one row per code.

    panel[panel_at + r * BLOCK + j] = table[table_at + index[index_at + j] * table_stride + r];
    table, panel: int32, index: uint16, all 1-D C-contiguous.
    """
    signature = types.void(table, types.intp, types.intp, index, types.intp, panel, types.intp)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        codes = element(context, builder, sig.args[3], args[3], args[4])
        target = element(context, builder, sig.args[5], args[5], args[6])
        rows = []
        for j in range(LANES):
            code = builder.zext(builder.load(builder.gep(codes, [_I64(j)])), _I64)
            at = builder.mul(code, args[2])
            rows.append(load(builder, vector(builder, source, at, _VI32)))
        for r, row in enumerate(_transpose(builder, rows)):
            builder.store(row, vector(builder, target, _I64(r * BLOCK), _VI32), align=4)
        return context.get_dummy_value()

    return signature, codegen


expand_columns: Any = intrinsic(_expand_columns)
