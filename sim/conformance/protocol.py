"""What an implementation offers to the conformance suite.

An implementation is any object with some of `Backend`'s methods; what it has not, or what raises
NotImplementedError, is reported as not offered. Arrays come as LNSArray, FloatArray and IntArray
(`code`, `offset`, `fmt`; offset a plain int); numbers as float32 or float64 arrays. A method
returns codes or numbers in the operands' shape, as a numpy array, nested lists or the array class
of the format; in the last case the offset and the format beside the codes are checked too.
Invalid operands are refused by a ValueError or an ArithmeticError.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...lns.array import FloatArray, IntArray, LNSArray, Offset
from ...lns.datapath import Datapath, FloatDatapath, IntDatapath
from ...lns.format import FloatFormat, IntFormat, LNSFormat

Real = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class Backend:
    """Every operation of the suite; the arguments are given by position, all of them."""

    def encode(self, x: Real, fmt: LNSFormat, offset: int, rounding: str) -> Any:
        """Codes of x (n,); rounding "nearest", "nearest_value" or "floor"."""
        raise NotImplementedError

    def encode_stochastic(
        self, x: Real, draws: Integers, fmt: LNSFormat, offset: int, random_bits: int
    ) -> Any:
        """Codes of x (n,), rounded by the random integers `draws` (n,) of `random_bits` bits."""
        raise NotImplementedError

    def default_offset(self, x: Real, fmt: LNSFormat, rounding: str) -> Any:
        """The offset, one integer, that encoding chooses for x (n,)."""
        raise NotImplementedError

    def decode(self, a: LNSArray) -> Any:
        """The float64 nearest to each value."""
        raise NotImplementedError

    def requantise(self, a: LNSArray, fmt: LNSFormat, offset: Offset) -> Any:
        """Codes of a in another format and scale, or in a scale per row or column."""
        raise NotImplementedError

    def mul(self, a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a * b in (fmt, offset)."""
        raise NotImplementedError

    def div(self, a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a / b in (fmt, offset)."""
        raise NotImplementedError

    def square(self, a: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of a * a in (fmt, offset)."""
        raise NotImplementedError

    def sqrt(self, a: LNSArray, fmt: LNSFormat, offset: int) -> Any:
        """Codes of the square root of a in (fmt, offset)."""
        raise NotImplementedError

    def neg(self, a: LNSArray) -> Any:
        """Codes of -a in a's format and offset."""
        raise NotImplementedError

    def absolute(self, a: LNSArray) -> Any:
        """Codes of |a| in a's format and offset."""
        raise NotImplementedError

    def compare(self, a: LNSArray, b: LNSArray) -> Any:
        """-1, 0 or 1: a's value below, equal to or above b's; formats and offsets may differ."""
        raise NotImplementedError

    def add(self, a: LNSArray, b: LNSArray, variant: str) -> Any:
        """Codes of a + b in their common format and offset."""
        raise NotImplementedError

    def sub(self, a: LNSArray, b: LNSArray, variant: str) -> Any:
        """Codes of a - b in their common format and offset."""
        raise NotImplementedError

    def total(self, a: LNSArray, order: str, variant: str) -> Any:
        """Codes of the sums of a's rows: (n, K) to (n,), in a's format and offset."""
        raise NotImplementedError

    def dot(self, a: LNSArray, b: LNSArray, accumulator_bits: int, order: str, variant: str) -> Any:
        """Codes of the products of rows, (n, K) and (n, K) to (n,), in the wide format."""
        raise NotImplementedError

    def matmul(self, a: LNSArray, b: LNSArray, datapath: Datapath) -> Any:
        """Accumulators of a (M, K) times b (K, N), styles "direct" and "bins"."""
        raise NotImplementedError

    def matmul_log(
        self, a: LNSArray, b: LNSArray, accumulator_bits: int, lanes: int, variant: str
    ) -> Any:
        """Codes of a (M, K) times b (K, N) in the accumulator's format, style "log"."""
        raise NotImplementedError

    def encode_float(self, x: Real, fmt: FloatFormat, offset: int) -> Any:
        """Codes of x * 2^-offset in a float format."""
        raise NotImplementedError

    def decode_float(self, a: FloatArray) -> Any:
        """float64 values; any NaN for a NaN."""
        raise NotImplementedError

    def matmul_float(self, a: FloatArray, b: FloatArray, datapath: FloatDatapath) -> Any:
        """float32 sums of a (M, K) times b (K, N), or the integers of a fixed-point sum."""
        raise NotImplementedError

    def encode_int(self, x: Real, fmt: IntFormat, offset: int) -> Any:
        """Codes of x * 2^-offset in an integer format."""
        raise NotImplementedError

    def decode_int(self, a: IntArray) -> Any:
        """float64 values."""
        raise NotImplementedError

    def matmul_int(self, a: IntArray, b: IntArray, datapath: IntDatapath) -> Any:
        """Accumulators of a (M, K) times b (K, N)."""
        raise NotImplementedError
