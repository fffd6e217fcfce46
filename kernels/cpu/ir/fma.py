"""Fused multiply-adds over a block of columns, as Numba intrinsics (see `add_terms.py`)."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .emit import BLOCK, LANES, element, load, splat, vector

FMA_STEPS = 16  # k steps of one pass

_I64 = ir.IntType(64)
_VF32 = ir.VectorType(ir.FloatType(), LANES)


def _make_fma_row(steps: int) -> Callable[..., Any]:
    """Build the intrinsic that takes `steps` k steps of one row of a float block."""

    @intrinsic
    def fma_row(
        _typing: Any, acc: Any, acc_at: Any, left: Any, left_at: Any, right: Any, right_at: Any
    ) -> Any:
        signature = types.void(acc, types.intp, left, types.intp, right, types.intp)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            sums = element(context, builder, sig.args[0], args[0], args[1])
            factor = element(context, builder, sig.args[2], args[2], args[3])
            columns = element(context, builder, sig.args[4], args[4], args[5])
            kind = ir.FunctionType(_VF32, [_VF32] * 3)
            name = f"llvm.fma.v{LANES}f32"
            fma = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            places = [vector(builder, sums, _I64(v), _VF32) for v in range(0, BLOCK, LANES)]
            totals = [load(builder, place) for place in places]
            for k in range(steps):
                scalar = builder.load(builder.gep(factor, [_I64(k)]))
                value = splat(builder, scalar, _VF32)
                for v in range(len(totals)):
                    at = _I64(k * BLOCK + v * LANES)
                    other = load(builder, vector(builder, columns, at, _VF32))
                    totals[v] = builder.call(fma, [value, other, totals[v]])
            for place, total in zip(places, totals, strict=True):
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return fma_row


#: fma_row(acc, acc_at, left, left_at, right, right_at): for k ascending,
#: acc[acc_at + j] = fma(left[left_at + k], right[right_at + k * BLOCK + j], acc[acc_at + j]).
#: float32 arrays, 1-D C-contiguous; FMA_STEPS values of k, or one.
fma_row_many = _make_fma_row(FMA_STEPS)
fma_row_one = _make_fma_row(1)
