"""Tasks on Numba's threads: one parallel loop, compiled once, for all kernels of a product.

A parallel loop of Numba's is expensive to compile, and compiles its body again at every level of
calls. Here the body is called by its address, with its arguments in a struct.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I8, I64, ZERO, element

_ENTRY = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I64])
_BATCHES = 256  # at least, where there are many tasks: few to claim, enough for many threads


def _call(_typing: Any, _entry: Any, _frame: Any, _task: Any) -> Any:
    """Call the function at address `entry` with the address `frame` and the number `task`."""

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        entry = builder.inttoptr(args[0], _ENTRY.as_pointer())
        builder.call(entry, [builder.inttoptr(args[1], I8.as_pointer()), args[2]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), codegen


_call_at: Any = intrinsic(_call)


def _claim(_typing: Any, counter: Any) -> Any:
    """The number at `counter`, an int64, which is one more afterwards: no other thread gets it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = element(context, builder, sig.args[0], args[0], ZERO)
        return builder.atomic_rmw("add", place, I64(1), "monotonic")

    return types.int64(counter), codegen


_claim_next: Any = intrinsic(_claim)


@njit(cache=True, nogil=True, parallel=True)
def _each(entry, frame, tasks, alone):  # type: ignore[no-untyped-def]
    """Call `entry` for every task; a thread that is done takes the next few, whoever's turn it is.

    alone: on this thread, since to hand out tasks takes longer than small ones do.
    """
    if alone or tasks == 1:
        for task in range(tasks):
            _call_at(entry, frame, task)
        return
    # tasks of a microsecond would take turns at the counter for as long as they last
    batch = max(1, tasks // _BATCHES)
    counter = np.zeros(1, np.int64)
    for _ in prange(-(-tasks // batch)):  # a thread's first turn does all; nothing is left after it
        first = _claim_next(counter) * batch
        while first < tasks:
            for task in range(first, min(tasks, first + batch)):
                _call_at(entry, frame, task)
            first = _claim_next(counter) * batch


def _for_each(typing: Any, function: Any, tasks: Any, arguments: Any, _alone: Any) -> Any:
    """function(task, *arguments) for each task < tasks, in any order, on Numba's threads.

    alone: on the caller's only (see `threads.tasks`). function: compiled, int64 and the arguments
    to nothing. RuntimeError after all, if one raised (no memory left for its own arrays, say).
    """
    inner = function.get_call_type(typing, (types.int64, *arguments.types), {})
    loop = typing.resolve_value_type(_each)
    outer = loop.get_call_type(typing, (types.intp, types.intp, types.intp, types.boolean), {})

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        body = function.dispatcher.get_compile_result(inner)
        around = loop.dispatcher.get_compile_result(outer)
        context.add_linking_libs((body.library, around.library))
        failed = cgutils.alloca_once_value(builder, I8(0))
        held = cgutils.pack_struct(builder, [args[2], failed])
        frame = cgutils.alloca_once_value(builder, held)
        name = builder.module.get_unique_name(f"{builder.function.name}.task")
        entry = ir.Function(builder.module, _ENTRY, name)
        entry.linkage = "internal"
        inside = ir.IRBuilder(entry.append_basic_block())
        given = inside.load(inside.bitcast(entry.args[0], frame.type))
        values, failed_at = (inside.extract_value(given, i) for i in range(2))
        passed = [entry.args[1], *cgutils.unpack_tuple(inside, values)]
        status, _ = context.call_internal_no_propagate(inside, body.fndesc, inner, passed)
        with inside.if_then(status.is_error):
            inside.store(I8(1), failed_at)
        inside.ret_void()
        places = [builder.ptrtoint(place, I64) for place in (entry, frame)]
        context.call_internal(builder, around.fndesc, outer, [*places, args[1], args[3]])
        wrong = builder.icmp_unsigned("!=", builder.load(failed), I8(0))
        with builder.if_then(wrong):
            message = ("a task of a kernel failed",)
            context.call_conv.return_user_exc(builder, RuntimeError, message)
        return context.get_dummy_value()

    return types.void(function, types.intp, arguments, types.boolean), codegen


for_each: Any = intrinsic(_for_each)
