"""Codes read where they lie: in place, or copied in runs of neighbours, as a Numba intrinsic."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .bounds import PACKED
from .cache import PLAIN
from .emit import I64, ZERO, element, vector
from .operands import Codes

SPAN = 16  # codes that are copied at once
IN_PLACE, ALONG_K, ALONG_ROWS = 0, 1, 2

Int64 = npt.NDArray[np.int64]


# How an operand is read: IN_PLACE with steps from row to row and from product to product, or copied
# along runs of k or of rows (ALONG_K, ALONG_ROWS; the steps are then 0).
Reading = tuple[int, int, int]


def _read_spans(
    _typing: Any,
    memory: Any,
    base: Any,
    at: Any,
    runs: Any,
    first: Any,
    out: Any,
    out_at: Any,
    count: Any,
) -> Any:
    """out[out_at + i] = memory[base + at[first + i]] for i < count, in any order of places.

    runs[first + i]: how many offsets from there on are neighbours, itself included. Up to SPAN - 1
    elements of `out` beyond those may be written. memory, out: of one type.
    """
    place = types.intp
    signature = types.void(memory, place, at, runs, place, out, place, place)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = element(context, builder, sig.args[0], args[0], args[1])
        room = context.make_array(sig.args[0])(context, builder, args[0]).nitems
        room = builder.sub(builder.sub(room, args[1]), I64(SPAN))
        offsets = element(context, builder, sig.args[2], args[2], args[4])
        lengths = element(context, builder, sig.args[3], args[3], args[4])
        target = element(context, builder, sig.args[5], args[5], args[6])
        kind = ir.VectorType(source.type.pointee, SPAN)
        entry = builder.block
        names = ("head", "codes", "whole", "one", "next", "read")
        head, body, whole, one, following, done = map(builder.append_basic_block, names)
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(I64)
        i.add_incoming(ZERO, entry)
        builder.cbranch(builder.icmp_signed("<", i, args[7]), body, done)
        builder.position_at_end(body)
        where, length = (builder.load(builder.gep(of, [i])) for of in (offsets, lengths))
        builder.cbranch(builder.icmp_signed("<=", where, room), whole, one)
        builder.position_at_end(whole)
        codes = builder.load(vector(builder, source, where, kind), align=1)
        builder.store(codes, vector(builder, target, i, kind), align=1)
        several = builder.icmp_signed("<", length, I64(SPAN))
        length = builder.select(several, length, I64(SPAN))
        builder.branch(following)
        builder.position_at_end(one)  # near the memory's end
        code = builder.load(builder.gep(source, [where]))
        builder.store(code, builder.gep(target, [i]))
        builder.branch(following)
        builder.position_at_end(following)
        step = builder.phi(I64)
        step.add_incoming(length, whole)
        step.add_incoming(I64(1), one)
        i.add_incoming(builder.add(i, step), following)
        builder.branch(head)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


read_spans: Any
if PLAIN:

    @njit(cache=True, nogil=True)
    def _plain_spans(memory, base, at, runs, first, out, out_at, count):  # type: ignore[no-untyped-def]
        """As the intrinsic, one by one."""
        for i in range(count):
            out[out_at + i] = memory[base + at[first + i]]

    read_spans = _plain_spans
else:
    read_spans = intrinsic(_read_spans)


@njit(cache=True, nogil=True)
def _runs_of(at):  # type: ignore[no-untyped-def]
    """(for every offset how many from there on are neighbours, how many runs there are)."""
    runs, found = np.ones(at.size, np.int64), min(at.size, 1)
    for i in range(at.size - 2, -1, -1):
        if at[i + 1] == at[i] + 1:
            runs[i] = runs[i + 1] + 1
        else:
            found += 1
    return runs, found


def reading_of(codes: Codes) -> tuple[Reading, Int64]:
    """Return (how to read the codes, the runs along which they are copied)."""
    row_step, k_step = codes.steps
    if row_step is not None and k_step is not None:
        return (IN_PLACE, row_step, k_step), codes.row_at[:0]
    (along_k, parts), (along_rows, pieces) = _runs_of(codes.k_at), _runs_of(codes.row_at)
    if parts * codes.row_at.size < pieces * codes.k_at.size:
        return (ALONG_K, 0, 0), along_k
    return (ALONG_ROWS, 0, 0), along_rows


@njit(cache=True, nogil=True)
def line_up(memory, row_at, k_at, reading, runs, first, rows):  # type: ignore[no-untyped-def]
    """Where the codes of rows first..first + rows - 1 are, at most PACKED: (codes, place of the
    first one, steps from row to row and from product to product)."""
    way, row_step, k_step = reading
    base = np.int64(0)
    if way == IN_PLACE:
        return memory, row_at[first] + k_at[0], row_step, k_step
    if way == ALONG_K:
        line = k_at.size + SPAN
        codes = np.empty(rows * line, memory.dtype)
        for i in range(rows):
            read_spans(memory, row_at[first + i], k_at, runs, 0, codes, i * line, k_at.size)
        return codes, base, line, 1
    codes = np.empty(k_at.size * PACKED + SPAN, memory.dtype)
    for k in range(k_at.size):
        read_spans(memory, k_at[k], row_at, runs, first, codes, k * PACKED, rows)
    return codes, base, 1, PACKED
