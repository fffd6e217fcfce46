"""Real numbers to codes and back, exactly: the one entry for every format."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .array import CodeArray, FloatArray, IntArray, LNSArray, Offset, require_offset
from .checks import NonFiniteError, as_array, require_choice, require_int
from .float_codec import decode_float, decode_int, encode_float, encode_int
from .format import FloatFormat, Format, IntFormat, LNSFormat
from .log_codec import decode_log, encode_log

ROUNDINGS = ("nearest", "nearest_value", "floor", "stochastic")
_RANDOM_BITS = 8  # of a stochastic rounding where none are asked for


def encode(
    x: npt.ArrayLike,
    fmt: Format,
    offset: Offset | None = None,
    rounding: str = "nearest",
    generator: np.random.Generator | None = None,
    random_bits: int = _RANDOM_BITS,
) -> Any:
    """Return the codes of `x` in `fmt` as an LNSArray, FloatArray or IntArray of the same shape.

    x: float32 or float64. offset: an int, or an int32 array broadcastable to x (a scale per row or
    channel). None: for LNS the smallest multiple of gamma for which nothing saturates (0 for an
    all-zero x), for integers the smallest power of two likewise, for floats 0.
    rounding, LNS: "nearest" in the logarithm; "nearest_value"; "floor" towards smaller magnitude;
    "stochastic": floor(u) + [floor(2^R * frac(u)) + r >= 2^R], r an R-bit draw from `generator`,
    one per element in C order, zeros included, R = random_bits in 1..16; the other roundings take
    neither argument. Floats and integers round to nearest even. LNS above the top exponent
    saturates; below the smallest magnitude becomes zero (zero=False: e = 0 with its sign kept).
    Raises NonFiniteError (a ValueError) naming the first NaN or infinity in C order for LNS and
    integer formats, ValueError and TypeError for other arguments.
    """
    real = as_array("x", x)
    if real.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {real.dtype}")
    if offset is not None:
        offset = require_offset(offset, real.shape)
    if rounding != "stochastic":
        require_unused(rounding, generator, random_bits)
    if isinstance(fmt, LNSFormat):
        require_choice("rounding", rounding, ROUNDINGS)
        _require_finite(real, fmt.name)
        return LNSArray(*encode_log(real, fmt, offset, rounding, generator, random_bits), fmt)
    require_choice("rounding", rounding, ("nearest",))
    if isinstance(fmt, FloatFormat):
        return encode_float(real, fmt, 0 if offset is None else offset)
    if isinstance(fmt, IntFormat):
        _require_finite(real, fmt.name)
        return encode_int(real, fmt, offset)
    raise TypeError(f"fmt must be a format, got {fmt!r}")


def decode(array: CodeArray) -> npt.NDArray[np.float64]:
    """Return the values of `array` as float64, rounded to nearest.

    Too small gives +0.0 for LNS; beyond float64's range OverflowError. Floats and integers are
    exact where float64 can hold code * 2^offset.
    """
    if isinstance(array, LNSArray):
        return decode_log(array)
    if isinstance(array, FloatArray):
        return decode_float(array)
    if isinstance(array, IntArray):
        return decode_int(array)
    raise TypeError(
        f"array must be an LNSArray, FloatArray or IntArray, got {type(array).__name__}"
    )


def require_unused(rounding: str, generator: object, random_bits: int) -> None:
    """Refuse what stochastic rounding alone takes."""
    if generator is not None:
        raise ValueError(
            f"generator must be left out with rounding {rounding!r}, got {generator!r}"
        )
    if require_int("random_bits", random_bits, 1, 16) != _RANDOM_BITS:
        raise ValueError(
            f"random_bits must be left out with rounding {rounding!r}, got {random_bits}"
        )


def _require_finite(real: npt.NDArray[Any], name: str) -> None:
    finite = np.isfinite(real)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise NonFiniteError(f"x must be finite for {name}, got {real[index]} at index {index}")
