"""A panel: the table rows of a chunk's products, expanded for a block of columns."""

import numpy as np

from ..ir.moves import TILE
from ..runtime.inner import inner
from ..runtime.which import expand_1, expand_2, expand_4, expand_8


@inner
def aligned(size, like):  # type: ignore[no-untyped-def]
    """Room for `like`'s type that starts on a 64-byte line; a vector across two costs twice."""
    room = np.empty(size + 64 // like.itemsize, like.dtype)
    start = (-room.ctypes.data % 64) // like.itemsize
    return room[start : start + size]


@inner
def fill_panel(table, rows, index, index_at, slots, block, panel):  # type: ignore[no-untyped-def]
    """Fill panel (slots, rows, block) for the codes index[index_at:]; rows: 1, 2, 4 or 8 n."""
    for slot in range(slots):
        here, target = index_at + slot * block, slot * rows * block
        for at in range(0, block, TILE):
            # a stride that the compiler knows is a shift
            if rows == 8:
                expand_8(table, 0, 8, index, here + at, panel, target + at, block)
            elif rows == 1:
                expand_1(table, 0, 1, index, here + at, panel, target + at, block)
            elif rows == 2:
                expand_2(table, 0, 2, index, here + at, panel, target + at, block)
            elif rows == 4:
                expand_4(table, 0, 4, index, here + at, panel, target + at, block)
            else:
                for row in range(0, rows, TILE):
                    place = target + row * block + at
                    expand_8(table, row, rows, index, here + at, panel, place, block)
