"""Accumulators written as results, as Numba intrinsics (see `add_terms.py`)."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I32, I64, element, load, splat, vector
from .moves import TILE, swap_blocks


def _make_put(unit: bool) -> Any:
    """Build the intrinsic that writes accumulators as results; unit: side by side."""

    def put(
        _typing: Any,
        acc: Any,
        at: Any,
        acc_step: Any,
        out: Any,
        out_at: Any,
        count: Any,
        scale: Any,
    ) -> Any:
        signature = types.void(
            acc, types.intp, types.intp, out, types.intp, types.intp, types.float64
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            source = element(context, builder, sig.args[0], args[0], args[1])
            target = element(context, builder, sig.args[3], args[3], args[4])
            real = isinstance(sig.args[3].dtype, types.Float)
            with cgutils.for_range(builder, args[5]) as loop:
                step = loop.index if unit else builder.mul(loop.index, args[2])
                value = builder.load(builder.gep(source, [step]))
                if real:
                    wide = builder.fmul(builder.sitofp(value, ir.DoubleType()), args[6])
                    value = builder.fptrunc(wide, ir.FloatType())
                elif value.type != I64:
                    value = builder.sext(value, I64)
                builder.store(value, builder.gep(target, [loop.index]))
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(put)


#: put_row(acc, at, acc_step, out, out_at, count, scale): out[out_at + i] = acc[at + i], as int64 or
#: as float32(float64(acc) * scale). `put_column` reads acc[at + i * acc_step].
put_row, put_column = _make_put(unit=True), _make_put(unit=False)


def _put_tile(
    _typing: Any,
    acc: Any,
    at: Any,
    acc_step: Any,
    out: Any,
    column_at: Any,
    column: Any,
    row_at: Any,
    scale: Any,
) -> Any:
    """out[row_at + column_at[column + j] + i] = float32(acc[at + i * acc_step + j]) * scale.

    For i, j < TILE; acc: int32, out: float32, scale: float32. Where scale is a power of two and no
    value is subnormal, float32(float64(acc) * scale) are the same numbers.
    """
    place = types.intp
    signature = types.void(acc, place, place, out, column_at, place, place, types.float32)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        target = element(context, builder, sig.args[3], args[3], args[6])
        columns = element(context, builder, sig.args[4], args[4], args[5])
        whole, real = (ir.VectorType(kind, TILE) for kind in (I32, ir.FloatType()))
        lines = []
        for i in range(TILE):
            here = vector(builder, source, builder.mul(args[2], I64(i)), whole)
            value = builder.sitofp(load(builder, here), real)
            lines.append(builder.fmul(value, splat(builder, args[7], real)))
        for j, line in enumerate(swap_blocks(builder, lines)):
            column = builder.load(builder.gep(columns, [I64(j)]))
            builder.store(line, vector(builder, target, column, real), align=4)
        return context.get_dummy_value()

    return signature, codegen


put_tile: Any = intrinsic(_put_tile)
