"""Memory that products use one after the other.

A product of a few milliseconds otherwise spends a tenth of them on pages that the system hands out
zeroed and gets back at its end. What is kept is at most what the largest slab takes: 44 MiB, and 8
more for style "bins".
Products hold the lock of `threads.parallel`, so only one uses it at a time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .inner import inner

LINE = 64  # bytes of a cache line: a vector that lies across two costs twice

_kept: dict[str, npt.NDArray[np.uint8]] = {}
_views: dict[tuple[str, int, Any], npt.NDArray[Any]] = {}  # of the memory kept, as last asked for
_MOST_VIEWS = 512


def scratch(name: str, count: int, dtype: Any) -> npt.NDArray[Any]:
    """`count` items from the start of a cache line, kept under `name` for the next product.

    They hold whatever the last one left there.
    """
    asked = name, count, dtype
    view = _views.get(asked)
    if view is not None:
        return view
    size = count * np.dtype(dtype).itemsize
    room = _kept.get(name)
    if room is None or room.size < size or len(_views) >= _MOST_VIEWS:
        _views.clear()
    if room is None or room.size < size:
        raw = np.empty(size + LINE, np.uint8)
        start = -raw.ctypes.data % LINE
        room = _kept[name] = raw[start : start + size]
    view = _views[asked] = room[:size].view(dtype)
    return view


@inner
def aligned(size, like):  # type: ignore[no-untyped-def]
    """Room of a task's own for `size` items of `like`'s type, from the start of a cache line."""
    room = np.empty(size + LINE // like.itemsize, like.dtype)
    start = (-room.ctypes.data % LINE) // like.itemsize
    return room[start : start + size]
