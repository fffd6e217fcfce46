"""LLVM vector IR for the intrinsics: types, places, and the few operations they share.

A lane is the element type of a kernel: float32 terms with int32 sums, or float64 with int64.
"""

from typing import Any

from llvmlite import ir

VECTOR_BYTES = 64
VECTORS = (4, 2, 1)  # of a block: 64, 32 or 16 columns of 32 bits
SUMS = 4  # vectors of running sums in registers: eight of AVX2, four of AVX-512
UNITS = {4: 8, 8: 64}  # bytes, of an offset in a word, by item size: half a float64 has few bits
QUAD = 4  # words that are read at once
EARLY = {1: 2, 2: 3, 4: 4}  # products that offsets are ahead, by rows together
STRAIGHT = 12  # words in a row without a branch: a chunk at gamma 8
LANES = VECTOR_BYTES // 4  # elements of 32 bits in a vector
BLOCK = 64  # columns of a task of the kernels that work without tables
SIZE = 0x7FFFFFFF  # bits of a word, or of a float32: all but the sign

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
ZERO = I64(0)
_START = {4: 1.5 * 2.0**23, 8: 1.5 * 2.0**52}  # by item size: where a running sum begins
START_BITS = {4: 0x4B400000, 8: 0x4338000000000000}


class Lane:
    """The vector types of one kind of lane."""

    def __init__(self, item_bytes: int) -> None:
        self.item_bytes = item_bytes
        self.lanes = VECTOR_BYTES // item_bytes
        self.unit_bits = UNITS[item_bytes].bit_length() - 1
        self.scalar = ir.FloatType() if item_bytes == 4 else ir.DoubleType()
        self.integer = ir.IntType(8 * item_bytes)
        self.real = ir.VectorType(self.scalar, self.lanes)
        self.whole = ir.VectorType(self.integer, self.lanes)
        self.flags = ir.VectorType(I8, self.lanes)
        self.start = ir.Constant(self.real, [_START[item_bytes]] * self.lanes)
        self.start_bits = self.constant(START_BITS[item_bytes])

    def halves(self, builder: Any, whole: Any) -> list[Any]:
        """The lower and the upper half of a vector of this lane's integers."""
        half = self.lanes // 2
        kind = ir.VectorType(I32, half)
        masks = [ir.Constant(kind, list(range(at, at + half))) for at in (0, half)]
        return [builder.shuffle_vector(whole, whole, mask) for mask in masks]

    def factor(self, builder: Any, bits: Any) -> Any:
        """The scalar whose bits are the 32 given, of a float64 the upper half."""
        if self.item_bytes == 8:
            bits = builder.shl(builder.zext(bits, I64), I64(32))
        return builder.bitcast(bits, self.scalar)

    def constant(self, value: int) -> Any:
        """`value` in every integer lane."""
        return ir.Constant(self.whole, [value] * self.lanes)


def lane_of(array_type: Any) -> Lane:
    """The lane of an array's element type."""
    return Lane(array_type.dtype.bitwidth // 8)


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
    first = builder.insert_element(empty, scalar, I32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(I32, kind.count), None))


def function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """An LLVM intrinsic, declared once per module."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def not_unrolled(back: Any) -> None:
    """Ask LLVM not to unroll the loop whose last branch this is: its pointers fill the registers
    as it is."""
    module = back.function.module
    loop = module.add_metadata([ir.Constant(I32, 0)])
    loop.operands = (loop, module.add_metadata(["llvm.loop.unroll.disable"]))  # names itself first
    back.set_metadata("llvm.loop", loop)
