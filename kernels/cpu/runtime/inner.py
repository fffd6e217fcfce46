"""The decorator of functions that only other kernels call."""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher

_OPTIONS: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _Inner(CPUDispatcher):
    """A compiled function without a wrapper: there is nothing that Python could call."""

    def __call__(self, *_: Any) -> None:
        raise TypeError(f"{self.py_func.__name__} is for other kernels only, it cannot be called")


def inner(function: Callable[..., Any]) -> Any:
    """As `njit`, less the two wrappers that Python or C would call the function by.

    With a dozen arrays they take longer to compile than the function.
    """
    compiled: Any = njit(cache=True, nogil=True, **_OPTIONS)(function)
    if isinstance(compiled, CPUDispatcher):  # not with NUMBA_DISABLE_JIT
        compiled.__class__ = _Inner
    return compiled
