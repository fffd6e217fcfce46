"""The decorator of functions that only other kernels call."""

from typing import Any

from numba import njit

_OPTIONS: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: As `njit`, less the two wrappers that Python or C would call the function by: with a dozen arrays
#: they take longer to compile than the function. Python must not call it: there is nothing to call.
inner: Any = njit(cache=True, nogil=True, **_OPTIONS)
