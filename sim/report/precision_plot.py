"""How precise a format is over its range: a picture of its worst relative errors."""

from . import canvas  # noqa: F401

# isort: split

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from ...lns.array import FloatArray, IntArray, LNSArray
from ...lns.checks import require_choice
from ...lns.codec import decode
from ...lns.format import FloatFormat, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from ..recipes.facts import ZOO, facts, number_format
from ..recipes.names import get_recipe
from ..recipes.recipe import ROLES
from .figure import BLUE, KINDS, STYLE, new_figure, picture, set_plain_ticks

_MOST = 1 << 16  # codes of the widest format that is drawn code by code


def magnitudes(fmt: AnyFormat) -> npt.NDArray[np.float64]:
    """Return the positive finite values of a format at scale 1, ascending; a sample where wide."""
    if isinstance(fmt, MXFormat):
        return magnitudes(fmt.element) * 2.0**fmt.implied_scale
    if isinstance(fmt, LNSFormat):
        codes = np.arange(fmt.min_exponent, fmt.max_exponent + 1)
        array: LNSArray | FloatArray | IntArray = LNSArray(codes.astype(fmt.code_dtype), 0, fmt)
    elif isinstance(fmt, FloatFormat):
        codes = np.unique(np.geomspace(1, fmt.max_code, _MOST).astype(np.int64))
        if fmt.max_code < _MOST:
            codes = np.arange(1, fmt.max_code + 1)
        array = FloatArray(codes.astype(fmt.code_dtype), 0, fmt)
    else:
        array = IntArray(np.arange(1, fmt.max_value + 1).astype(fmt.code_dtype), 0, fmt)
    return decode(array)


def worst_errors(
    fmt: AnyFormat,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (x, |rounded - x| / x) at the values where rounding to nearest is worst.

    Between neighbours v and w that is the midpoint, (w - v) / (w + v); LNS rounds the logarithm, so
    there it is the larger error beside sqrt(v w). For formats drawn as a sample the neighbours are
    computed from the spacing of floats. MX: the element's, and what is lost just below
    2^(emax + 1), where a block's largest magnitude saturates.
    """
    value = magnitudes(fmt)
    if isinstance(fmt, FloatFormat) and fmt.max_code >= _MOST:
        octave = np.maximum(np.floor(np.log2(value)), fmt.min_scale + fmt.mantissa_bits)
        half = np.exp2(octave - fmt.mantissa_bits - 1)
        return value + half, half / (value + half)
    low, high = value[:-1], value[1:]
    if isinstance(fmt, LNSFormat):
        middle = np.sqrt(low) * np.sqrt(high)
        return middle, (high - middle) / middle
    middle, error = (low + high) / 2, (high - low) / (high + low)
    if isinstance(fmt, MXFormat):
        top = 2.0 ** (fmt.max_exponent + 1)
        return np.append(middle, top), np.append(error, (top - value[-1]) / top)
    return middle, error


def picture_kind(path: Path, name: str) -> str:
    """Return which of KINDS the picture of `name` at `path` is to be, by its suffix.

    Raises ValueError for another suffix and for a recipe, naming its formats.
    """
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise ValueError(f"plot must end in .pdf, .png or .svg, got {path}")
    if number_format(name) is None:
        recipe = get_recipe(name)
        used = [fmt for role in ROLES if (fmt := getattr(recipe, role)) is not None]
        names = [
            min(
                (n for n, known in ZOO.items() if known == fmt), key=len, default=name.split("-")[0]
            )
            for fmt in used
        ]
        known = " or ".join(dict.fromkeys(names))
        raise ValueError(
            f"plot must be of a number format, such as the recipe's {known}, got the recipe {name}"
        )
    return kind


def precision_picture(name: str, kind: str = "png", dpi: int = 160) -> bytes:
    """Return a picture of the worst relative rounding error over the magnitudes of a format.

    name: one of ZOO, kind: one of KINDS (else ValueError). At scale 1; a scale moves the curve
    sideways only. The same input gives the same bytes.
    """
    require_choice("kind", kind, KINDS)
    fmt = number_format(name)
    if fmt is None:
        raise ValueError(f"format must be a number format, got the recipe {name}")
    x, error = worst_errors(fmt)
    with mpl.rc_context(STYLE):
        figure = new_figure(8.0, 4.2)
        axes = figure.add_subplot()
        dots = "o" if len(x) < 600 else ""
        axes.plot(np.log2(x), 100 * error, color=BLUE, marker=dots, ms=3, lw=1.2)
        axes.set_yscale("log")
        low, high = 100 * error.min() / 3, 100 * error.max() * 3
        axes.set_ylim(low, high)
        set_plain_ticks(axes, "y", low, high)
        axes.set_xlabel("log2 of the magnitude, scale 1")
        axes.set_ylabel("worst relative rounding error [%]")
        axes.set_title(
            f"{name}: {facts(name).bits:g} bits, {len(magnitudes(fmt)):,} magnitudes drawn"
        )
        return picture(figure, dpi, kind)
