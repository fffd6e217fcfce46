"""The implementations that the conformance suite knows by name, and how a user's own is found."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ...lns import arith, codec, sums
from ...lns.array import CodeArray, LNSArray, Offset
from ...lns.datapath import AnyDatapath
from ...lns.format import Format, LNSFormat
from .operations import Integers, Real, log_datapath


class Drawn(np.random.Generator):
    """A generator whose next integers are given."""

    def __init__(self, draws: Integers) -> None:
        super().__init__(np.random.PCG64(0))
        self._draws = draws

    def integers(self, *_: Any, size: Any = None, **__: Any) -> Any:
        """Return the draws; `size` must be their shape."""
        assert tuple(size) == self._draws.shape
        return self._draws


class NumpyBackend:
    """The package `lns`, most of it as it is; it has no linear GEMM."""

    encode = encode_float = encode_int = staticmethod(codec.encode)
    decode = decode_float = decode_int = staticmethod(codec.decode)
    requantise = staticmethod(arith.requantise)
    mul = staticmethod(arith.mul)
    div = staticmethod(arith.div)
    square = staticmethod(arith.square)
    sqrt = staticmethod(arith.sqrt)
    neg = staticmethod(arith.neg)
    absolute = staticmethod(arith.absolute)
    compare = staticmethod(arith.compare)
    add = staticmethod(arith.add)
    sub = staticmethod(arith.sub)
    dot = staticmethod(sums.dot)

    @staticmethod
    def encode_stochastic(
        x: Real, draws: Integers, fmt: LNSFormat, offset: int, random_bits: int
    ) -> Any:
        return codec.encode(x, fmt, offset, "stochastic", Drawn(draws), random_bits)

    @staticmethod
    def default_offset(x: Real, fmt: LNSFormat, rounding: str) -> Any:
        return codec.encode(x, fmt, None, rounding).offset

    @staticmethod
    def total(a: LNSArray, order: str, variant: str) -> Any:
        return sums.total(a, -1, order, variant)

    @staticmethod
    def matmul_log(
        a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
    ) -> Any:
        left, right = a.reshape(a.shape[0], 1, -1), b.T.reshape(1, b.shape[1], -1)
        return sums.dot(left, right, accumulator_bits, f"lanes:{lanes}", variant)


class KernelsBackend:
    """The package `kernels`: encoders, requantisation and every GEMM, compiled by Numba."""

    def __init__(self) -> None:
        from ... import kernels

        self._kernels = kernels

    def encode(self, x: Real, fmt: Format, offset: int | None, rounding: str = "nearest") -> Any:
        return self._kernels.quantise(x, fmt, offset, rounding)[0]

    encode_float = encode_int = encode

    def encode_stochastic(
        self, x: Real, draws: Integers, fmt: LNSFormat, offset: int, random_bits: int
    ) -> Any:
        given = Drawn(draws)
        return self._kernels.quantise(x, fmt, offset, "stochastic", given, "none", random_bits)[0]

    def default_offset(self, x: Real, fmt: LNSFormat, rounding: str) -> Any:
        return self.encode(x, fmt, None, rounding).offset

    def requantise(self, a: LNSArray, fmt: LNSFormat, offset: Offset) -> Any:
        return self._kernels.requantise(a, fmt, offset)[0]

    def matmul(self, a: CodeArray, b: CodeArray, datapath: AnyDatapath) -> Any:
        return self._kernels.matmul(a, b, datapath)

    matmul_float = matmul_int = matmul

    def matmul_log(
        self, a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
    ) -> Any:
        return self.matmul(a, b, log_datapath(accumulator_bits, lanes, variant))


BACKENDS: dict[str, Callable[[], Any]] = {"numpy": NumpyBackend, "kernels": KernelsBackend}


def get_backend(name: str) -> Any:
    """Return the implementation called `name`: one of BACKENDS, or MODULE:ATTRIBUTE.

    MODULE:ATTRIBUTE imports the module, which runs its code with the user's rights; the current
    folder is searched last. An attribute that is a class is called without arguments. Raises
    ValueError where nothing is found.
    """
    module, colon, attribute = name.partition(":")
    if colon:
        return _own(module, attribute)
    if name in BACKENDS:
        return BACKENDS[name]()
    known = ", ".join(BACKENDS)
    raise ValueError(f"backend must be one of {known} or MODULE:ATTRIBUTE, got {name!r}")


def _own(module: str, attribute: str) -> Any:
    """The user's object; whatever the import raises is told as the import's failure."""
    if not module or not attribute:
        raise ValueError(f"backend must be MODULE:ATTRIBUTE, got {module}:{attribute}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        found = import_module(module)
    except Exception as error:
        raise ValueError(
            f"backend module {module} must be importable, got {type(error).__name__}: {error}"
        ) from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise ValueError(f"backend must be an attribute of {module}, got {attribute}") from None
    return found() if isinstance(found, type) else found
