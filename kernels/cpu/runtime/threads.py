"""Who may run parallel kernels, and on how many threads.

One lock keeps parallel kernels of different Python threads apart (`matmul.py` says why). Work that
is over in the time it takes to wake a thread stays on the caller's: at a barrier on a busy machine
a kernel of 50 microseconds waits for the scheduler, thousands of microseconds.

GNU OpenMP, which Numba takes on Linux, ends a process that was forked after its threads had started
and enters a parallel loop. Such a child works on its own thread where a kernel can do without a
loop of Numba's, and gets an error where it cannot.
"""

import os
import sys
from functools import cache
from threading import RLock

import numba

# Turns that a thread of GNU OpenMP's spins at a barrier before it sleeps; unset, 300,000. On two
# cores a product 256 x 256 x 256 takes 0.3 ms with either while the machine is idle, and 48 ms or
# 1.0 ms (1024: 76 or 25 ms) while another process computes on both (measured 2026-12).
_SPINS = "3000"
_SPIN_NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # who set one of them has chosen
_LOCK = RLock()
_forked = False  # from a process whose threads do not outlive a fork


def _after_fork() -> None:
    """In the child: the lock may be held by a thread that is not here."""
    global _LOCK, _forked
    _LOCK = RLock()
    try:
        _forked = sys.platform == "linux" and numba.threading_layer() == "omp"
    except ValueError:  # no threads had started, neither for these kernels nor for others
        _forked = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _start_threads() -> None:
    """Have Numba load its threads, once: a kernel from the cache is linked to them even where it
    runs on one, and Numba does not see that where its loop came from the cache as well."""
    chosen = any(name in os.environ for name in _SPIN_NAMES)
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        numba.get_num_threads()
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]


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
        _start_threads()
        if self._most <= 1 or _forked:
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
        if _forked:
            raise RuntimeError(
                "this kernel must run in a process with threads of its own, got one that was "
                "forked after the first product: start processes by spawn or forkserver, or set "
                "NUMBA_THREADING_LAYER=workqueue"
            )
        alone = super().__enter__()
        threads = numba.get_num_threads() if alone else 1
        if threads > 1:
            numba.set_num_threads(1)
            self._before = threads
        return alone
