"""Operands laid out for the fast kernel: every product gets a slot, every slot its words."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .vector import BLOCK, SHIFT_BITS, SLOTS


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Where the products sit: chunks of `passes` * SLOTS slots, empty slots add nothing.

    Groups of `lanes` products never straddle a chunk: a chunk holds `groups` whole groups of
    `group_slots` slots each.
    """

    chunks: int
    passes: int  #: per chunk
    groups: int  #: per chunk
    group_slots: int
    product: npt.NDArray[
        np.int64
    ]  #: (chunks * passes * SLOTS,) k of each slot, -1 for an empty one


def place_products(products: int, lanes: int) -> Slots:
    """Give each of `products` consecutive k a slot (see Slots)."""
    k = np.arange(products, dtype=np.int64)
    passes = -(-lanes // SLOTS)
    groups = max(1, SLOTS // lanes)
    chunks = -(-products // (groups * lanes))
    slot = k // (groups * lanes) * (passes * SLOTS) + k % (groups * lanes)
    product = np.full(chunks * passes * SLOTS, -1, np.int64)
    product[slot] = k
    return Slots(chunks, passes, groups, lanes if passes == 1 else passes * SLOTS, product)


@njit(cache=True, nogil=True, parallel=True)
def pack_left(code, words, empty, product, task_rows, out, shifts):  # type: ignore[no-untyped-def]
    """out[pass, i, slot] = words[code[i, k]]; shifts[task, every slot]: the least shift."""
    rows = code.shape[0]
    for task in prange(shifts.shape[0]):
        last = min(rows, (task + 1) * task_rows)
        for p in range(out.shape[0]):
            for u in range(SLOTS):
                k = product[p * SLOTS + u]
                least = (1 << SHIFT_BITS) - 1
                for i in range(task * task_rows, last):
                    word = words[code[i, k]] if k >= 0 else empty
                    out[p, i, u] = word
                    least = min(least, word & ((1 << SHIFT_BITS) - 1))
                shifts[task, p * SLOTS + u] = least


@njit(cache=True, nogil=True, parallel=True)
def pack_right(code, peak, product, out, peaks):  # type: ignore[no-untyped-def]
    """out[block, slot, j] = code[k, column]; peaks[block, slot]: the largest term there."""
    columns = code.shape[1]
    padding = np.uint16(peak.size - 1)
    for block in prange(out.shape[0]):
        start = block * BLOCK
        width = min(BLOCK, columns - start)
        for slot in range(product.size):
            k = product[slot]
            most = np.int64(0)
            for j in range(BLOCK):
                index = np.uint16(code[k, start + j]) if k >= 0 and j < width else padding
                out[block, slot, j] = index
                most = max(most, peak[index])
            peaks[block, slot] = most
