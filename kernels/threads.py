"""Who may run parallel kernels, and on how many threads.

One lock keeps parallel kernels of different Python threads apart (`matmul.py` says why). Work that
is over in the time it takes to wake a thread stays on the caller's: at a barrier on a busy machine
a kernel of 50 microseconds waits for the scheduler, thousands of microseconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numba

_LOCK = RLock()


@contextmanager
def parallel(work: int, grain: int) -> Iterator[None]:
    """Hold the lock; use a thread per `grain` units of `work`, at most Numba's thread count."""
    with _LOCK:
        threads = numba.get_num_threads()
        wanted = max(1, min(threads, work // grain))
        if wanted == threads:
            yield
            return
        numba.set_num_threads(wanted)
        try:
            yield
        finally:
            numba.set_num_threads(threads)
