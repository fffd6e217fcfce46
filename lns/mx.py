"""MX blocks to and from real numbers: a scale from the block's largest magnitude, one rounding.

A block is `fmt.block` neighbours along one axis, counted from its start; the last block of an axis
is shorter where the axis is no multiple. The scale is 2^floor(log2(max|x|)) / 2^emax, clamped to
E8M0's 2^-127 .. 2^127; a block of zeros, whose logarithm has no value, takes the smallest, as a
block of ever smaller numbers does. Everything is exact: exponents come from `frexp`, elements from
the codec of their own format.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import NonFiniteError, as_array, require_int
from .code_array import Coded, FloatArray, IntArray
from .codec import decode
from .float_codec import encode_float, encode_int
from .format import FloatFormat, IntFormat
from .mx_format import SCALE_BIAS, SCALE_NAN, MXFormat

Float32 = npt.NDArray[np.float32]
_ZERO = -(1 << 20)  # below every exponent of a float64


@dataclass(frozen=True, slots=True, eq=False)
class MXArray(Coded):
    """Blocks along `axis`: value = element(code) * 2^(scale - 127), NaN where scale = 255.

    code: any shape, `fmt.element.code_dtype`. scale: uint8, the shape of `code` with
    ceil(n / fmt.block) in place of the n of `axis`. axis: of `code`, kept as a number from 0.
    Raises TypeError for other dtypes, ValueError for a scale of another shape, an axis that is not
    there or codes wider than the element.
    """

    code: npt.NDArray[Any]
    scale: npt.NDArray[np.uint8]
    axis: int
    fmt: MXFormat

    def __post_init__(self) -> None:
        if not isinstance(self.fmt, MXFormat):
            raise TypeError(f"fmt must be an MXFormat, got {self.fmt!r}")
        _elements(self.code, 0, self.fmt)  # its own checks
        object.__setattr__(self, "axis", require_axis(self.axis, self.code.ndim))
        if not isinstance(self.scale, np.ndarray) or self.scale.dtype != np.uint8:
            got = getattr(self.scale, "dtype", type(self.scale).__name__)
            raise TypeError(f"scale must be a numpy array of uint8, got {got}")
        shape = scale_shape(self.code.shape, self.axis, self.fmt)
        if self.scale.shape != shape:
            raise ValueError(f"scale must be of shape {shape}, got {self.scale.shape}")

    @property
    def stored_bits(self) -> int:
        """Bits of all elements and scales."""
        return self.code.size * self.fmt.bits + self.scale.size * 8

    @property
    def T(self) -> "MXArray":  # noqa: N802 - numpy's name
        """The transpose, a view; its blocks run along the other end's axis."""
        return MXArray(self.code.T, self.scale.T, self.ndim - 1 - self.axis, self.fmt)


def require_axis(axis: object, ndim: int) -> int:
    """Return an axis of an array of `ndim` axes as a number from 0; else ValueError, TypeError."""
    number = require_int("axis", axis, -ndim, ndim - 1)
    return number % ndim


def scale_shape(shape: tuple[int, ...], axis: int, fmt: MXFormat) -> tuple[int, ...]:
    """Return the shape of the scales of codes of `shape`."""
    blocks = -(-shape[axis] // fmt.block)
    return (*shape[:axis], blocks, *shape[axis + 1 :])


def _elements(code: npt.NDArray[Any], places: Any, fmt: MXFormat) -> FloatArray | IntArray:
    """Codes as an array of their own format; places: log2 of the scale, implied scale aside."""
    offset = places + fmt.implied_scale
    if isinstance(fmt.element, FloatFormat):
        return FloatArray(code, offset, fmt.element)
    return IntArray(code, offset, fmt.element)


def _spread(per_block: npt.NDArray[Any], size: int, axis: int, fmt: MXFormat) -> npt.NDArray[Any]:
    """A value per block as one per element; size: of the axis."""
    if fmt.block >= size > 0:  # one block, and no copy of it
        return np.broadcast_to(
            per_block, (*per_block.shape[:axis], size, *per_block.shape[axis + 1 :])
        )
    long = np.repeat(per_block, fmt.block, axis)
    return long[(slice(None),) * axis + (slice(size),)]


def _largest(size: npt.NDArray[Any], axis: int, fmt: MXFormat) -> npt.NDArray[Any]:
    """The largest of every block of magnitudes."""
    if not size.size:
        return np.zeros(scale_shape(size.shape, axis, fmt), size.dtype)
    starts = np.arange(0, size.shape[axis], fmt.block)
    return np.asarray(np.maximum.reduceat(size, starts, axis=axis))


def _shared_exponents(largest: npt.NDArray[Any], fmt: MXFormat) -> npt.NDArray[np.int32]:
    """log2 of the scale of blocks with these largest magnitudes."""
    octave = np.where(largest > 0, np.frexp(largest)[1] - 1, _ZERO)
    return np.clip(octave - fmt.max_exponent, -SCALE_BIAS, SCALE_BIAS).astype(np.int32)


def _checked(x: npt.ArrayLike, fmt: MXFormat, axis: int) -> tuple[npt.NDArray[Any], int]:
    real = as_array("x", x)
    if real.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {real.dtype}")
    if not isinstance(fmt, MXFormat):
        raise TypeError(f"fmt must be an MXFormat, got {fmt!r}")
    if not real.ndim:
        raise ValueError("x must have at least one axis to be cut into blocks, got a single number")
    return real, require_axis(axis, real.ndim)


def _require_finite(real: npt.NDArray[Any], largest: npt.NDArray[Any], fmt: MXFormat) -> None:
    """Refuse a NaN or an infinity; it is among the largest of the blocks."""
    if not np.isfinite(largest).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(real))[0])
        raise NonFiniteError(f"x must be finite for {fmt.name}, got {real[index]} at index {index}")


def encode_mx(x: npt.ArrayLike, fmt: MXFormat, axis: int) -> MXArray:
    """Return the blocks of `x` along `axis`, exact: each element rounded once, to nearest even.

    x: float32 or float64 of at least one axis. Beyond the largest element: that element, which the
    largest of a block may be (in mxfp4 a quarter of its octave lies above it); the most negative
    integer, which has no positive twin, is left unused, as section 5.3.4 allows. Below half the
    smallest: zero, with its sign for floats. A block of zeros has scale code 0. Source: OCP MX
    v1.0, section 6.3, which leaves NaN and infinity to the implementation: NonFiniteError (a
    ValueError) naming the first index in C order.
    """
    real, axis = _checked(x, fmt, axis)
    largest = _largest(np.abs(real), axis, fmt)
    _require_finite(real, largest, fmt)
    shared = _shared_exponents(largest, fmt)
    places = _spread(shared, real.shape[axis], axis, fmt) + np.int32(fmt.implied_scale)
    element = fmt.element
    if isinstance(element, IntFormat):
        code = encode_int(real, element, places).code
        code = np.maximum(code, code.dtype.type(-element.max_value))
    else:
        code = encode_float(real, element, places).code
    return MXArray(code, (shared + SCALE_BIAS).astype(np.uint8), axis, fmt)


def decode_mx(array: MXArray) -> npt.NDArray[np.float64]:
    """Return the values as float64, exact; a block of scale 255 is NaN, E5M2 has infinities."""
    if not isinstance(array, MXArray):
        raise TypeError(f"array must be an MXArray, got {type(array).__name__}")
    size = array.shape[array.axis]
    scale = _spread(array.scale, size, array.axis, array.fmt)
    value = decode(_elements(array.code, scale.astype(np.int32) - SCALE_BIAS, array.fmt))
    return np.where(scale == SCALE_NAN, np.nan, value)


def round_mx(x: Float32, fmt: MXFormat, axis: int) -> tuple[Float32, int, int]:
    """Return (decode_mx(encode_mx(x, fmt, axis)) as float32, saturated, underflowed), faster.

    x: float32. The values are exact in float32: an element has at most 8 significant bits and
    counts a power of two of at least 2^-149, and no block of float32 numbers is scaled beyond its
    own octave. saturated: elements beyond the largest; underflowed: nonzero elements that became
    zero. Float32 arithmetic by powers of two, which is exact but for magnitudes below 2^-126 that
    round to zero either way. Raises what `encode_mx` raises, TypeError for float64.
    """
    real, axis = _checked(x, fmt, axis)
    if real.dtype != np.float32:
        raise TypeError(f"x must be float32, got {real.dtype}")
    largest = _largest(np.abs(real), axis, fmt)
    _require_finite(real, largest, fmt)
    shared, one = _shared_exponents(largest, fmt), np.float32(1)
    down, up = (
        _spread(np.ldexp(one, places), real.shape[axis], axis, fmt) for places in (-shared, shared)
    )
    top = np.float32(fmt.max_element)
    with np.errstate(under="ignore"):
        scaled = real * down
        unit = _units(scaled, fmt)
        rounded = np.rint(scaled / unit) * unit
    held = np.clip(rounded, -top, top)
    if isinstance(fmt.element, IntFormat) or fmt.element.encoding == "fnuz":
        held = held + np.float32(0)  # these have one zero
    saturated = int(np.count_nonzero(held != rounded))
    underflowed = int(np.count_nonzero((held == 0) & (real != 0)))
    return held * up, saturated, underflowed


def _units(scaled: Float32, fmt: MXFormat) -> Any:
    """The spacing of the elements about each scaled number: its octave's, or the subnormals'."""
    smallest = np.float32(2.0**fmt.min_scale)
    if isinstance(fmt.element, IntFormat):
        return smallest
    octave = (scaled.view(np.int32) & 0x7F800000).view(np.float32)  # of subnormals 0
    return np.maximum(octave * np.float32(2.0**-fmt.element.mantissa_bits), smallest)
