"""Who may run parallel kernels, and on how many threads.

One lock keeps parallel kernels of different Python threads apart (`matmul.py` says why). Work that
is over in the time it takes to wake a thread stays on the caller's: at a barrier on a busy machine
a kernel of 50 microseconds waits for the scheduler, thousands of microseconds.
"""

from functools import cache
from threading import RLock

import numba

_LOCK = RLock()


@cache
def _start_threads() -> None:
    """Have Numba load its threads, once: a kernel from the cache is linked to them even where it
    runs on one, and Numba does not see that where its loop came from the cache as well."""
    numba.get_num_threads()


class tasks:  # noqa: N801  # read as `with tasks(work, grain) as alone:`
    """Hold the lock; use a thread per `grain` units of `work`, at most Numba's thread count.

    For kernels that take what it gives, True where there is work for one thread only: Numba's
    thread count is then left as it is, since to change it and back takes as long as a small kernel.
    """

    __slots__ = ("_before", "_most")

    def __init__(self, work: int, grain: int) -> None:
        self._most = work // grain
        self._before = 0

    def __enter__(self) -> bool:
        _LOCK.acquire()
        if self._most <= 1:
            _start_threads()
            return True
        threads = numba.get_num_threads()
        if self._most < threads:
            numba.set_num_threads(self._most)
            self._before = threads
        return bool(threads == 1)

    def __exit__(self, *_: object) -> None:
        if self._before:
            numba.set_num_threads(self._before)
        _LOCK.release()


class parallel(tasks):  # noqa: N801  # read as `with parallel(work, grain):`
    """`tasks` for kernels that are not told: for little work Numba's thread count is set to 1."""

    __slots__ = ()

    def __enter__(self) -> bool:
        alone = super().__enter__()
        threads = numba.get_num_threads() if alone else 1
        if threads > 1:
            numba.set_num_threads(1)
            self._before = threads
        return alone
