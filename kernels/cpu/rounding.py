"""Whether the machine's floating-point rounding does what `vector.py` needs of it."""

import numpy as np
from numba import njit

from .gemm.bounds import start_of
from .ir.add_terms import DOWN, NEAREST
from .runtime.inner import inner
from .runtime.which import add_terms_floor, keep_apart, set_rounding


@inner
def _half(acc, panel, words):  # type: ignore[no-untyped-def]
    """Add the words' factor times the panel, floored, to a block of sums."""
    keep_apart()
    add_terms_floor(acc, acc.size, panel, words, 0, 1, np.uint32(0), 1)


@njit(cache=True, nogil=True)
def floors_downward(acc, panel, words):  # type: ignore[no-untyped-def]
    """Does this machine's rounding mode floor as the kernel needs it?

    acc: int32, panel: ones, both a block of 4 vectors; words: the bits of -0.5.
    """
    zero = start_of(acc)
    acc[:] = zero
    set_rounding(DOWN)
    _half(acc, panel, words)
    set_rounding(NEAREST)
    return (acc == zero - 1).all()
