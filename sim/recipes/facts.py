"""Facts about number formats and training recipes, as text: what `lnsim formats` prints."""

import math
from dataclasses import dataclass

from ...lns.datapath import Datapath
from ...lns.format import FORMATS, FloatFormat, IntFormat, LNSFormat
from ...lns.mx_format import MX_FORMATS, SCALE_BIAS, SCALE_BITS, AnyFormat, MXFormat
from .catalog import RECIPES
from .names import LNS, fields_of, get_recipe

ZOO: dict[str, AnyFormat] = {**FORMATS, **MX_FORMATS}


@dataclass(frozen=True, slots=True)
class Facts:
    """One number format, at scale 1 (offset 0)."""

    name: str
    kind: str
    bits: float  #: of a number, with its share of a block's scale
    smallest: str  #: magnitude above zero
    largest: str
    octaves: str  #: log2 of largest over smallest
    error: str  #: worst relative error of rounding to nearest inside the range, percent
    overflow: str


def worst_error(fmt: AnyFormat) -> float | None:
    """Return the worst |rounded - x| / |x| of rounding to nearest among normal numbers.

    LNS rounds the logarithm: half a step either way, 2^(1/(2 gamma)) - 1. A float with p mantissa
    bits: u / (1 + u), u = 2^-(p+1) (Higham, Accuracy and Stability, 2.2). Integers: None, it
    depends on the magnitude. MX: the element's, or what saturating takes from a block's largest
    magnitude just below 2^(emax + 1), where that is more.
    """
    if isinstance(fmt, MXFormat):
        own = worst_error(fmt.element)
        clipped = 1 - float(fmt.max_element) / 2.0 ** (fmt.max_exponent + 1)
        return None if own is None else max(own, clipped)
    if isinstance(fmt, LNSFormat):
        return float(2.0 ** (1 / (2 * fmt.gamma)) - 1)
    if isinstance(fmt, FloatFormat):
        unit = 2.0 ** -(fmt.mantissa_bits + 1)
        return unit / (1 + unit)
    return None


def number_format(name: str) -> AnyFormat | None:
    """Return the number format called `name`, of ZOO or LNS's eEgG; None for a recipe.

    An unknown name raises ValueError with the known ones.
    """
    if name in ZOO:
        return ZOO[name]
    said = fields_of(name, ZOO)
    widths = {"format", "exponent_bits", "gamma"}
    return get_recipe(name).weight if set(said) == widths else None


def facts(name: str) -> Facts:
    """Return what is worth knowing of the number format called `name`; else ValueError."""
    fmt = number_format(name)
    if fmt is None:
        raise ValueError(f"format must be a number format, got the recipe {name}")
    error = worst_error(fmt)
    smallest, largest, octaves = _range(fmt)
    return Facts(
        name=name,
        kind=_kind(fmt),
        bits=fmt.stored_bits if isinstance(fmt, MXFormat) else fmt.bits,
        smallest=smallest,
        largest=largest,
        octaves=octaves,
        error="half a unit" if error is None else f"{100 * error:.3g} %",
        overflow=_overflow(fmt),
    )


def _kind(fmt: AnyFormat) -> str:
    if isinstance(fmt, MXFormat):
        return f"blocks of {fmt.block} {fmt.element.name} with a scale"
    if isinstance(fmt, LNSFormat):
        return f"logarithmic, E={fmt.exponent_bits} G={fmt.gamma}{'' if fmt.zero else ', no zero'}"
    if isinstance(fmt, FloatFormat):
        return f"float, {fmt.exponent_bits} exponent {fmt.mantissa_bits} mantissa"
    return "two's complement"


def _range(fmt: AnyFormat) -> tuple[str, str, str]:
    """(smallest, largest, octaves); a logarithmic format's are powers of two, whatever the size."""
    if isinstance(fmt, MXFormat):
        octaves = math.log2(fmt.max_element) - fmt.min_scale
        return f"2^{fmt.min_scale}", f"{float(fmt.max_element):.7g}", f"{octaves:.4g}"
    if isinstance(fmt, LNSFormat):
        low, high = fmt.min_exponent / fmt.gamma, fmt.max_exponent / fmt.gamma
        return f"2^{low:g}", f"2^{high:g}", f"{float(fmt.octaves):g}"
    if isinstance(fmt, IntFormat):
        return "1", str(fmt.max_value), f"{math.log2(fmt.max_value):.4g}"
    octaves = math.log2(fmt.max_value) - fmt.min_scale
    return f"2^{fmt.min_scale}", f"{fmt.max_value:.5g}", f"{octaves:.4g}"


def layout(fmt: AnyFormat) -> str:
    """Return the fields of a code, most significant bit first, and what they mean."""
    if isinstance(fmt, MXFormat):
        counts = f", counting 2^{fmt.implied_scale}" if fmt.implied_scale else ""
        return (
            f"{fmt.block} elements, each {layout(fmt.element)}{counts}; one scale "
            f"X[{SCALE_BITS - 1}:0] (E8M0): 2^(X - {SCALE_BIAS}), all ones: NaN"
        )
    if isinstance(fmt, LNSFormat):
        fields = f"s[{fmt.bits - 1}] e[{fmt.exponent_bits - 1}:0]"
        value = f"(-1)^s 2^((e + offset)/{fmt.gamma})"
        return f"{fields}: {value}" + (", e = 0 is zero" if fmt.zero else "")
    if isinstance(fmt, FloatFormat):
        m, top = fmt.mantissa_bits, fmt.bits - 1
        special = {
            "ieee": "top exponent: infinity, NaN",
            "fn": "all ones: NaN, no infinity",
            "fnuz": "minus zero: NaN, no infinity",
            "finite": "no NaN, no infinity",
        }[fmt.encoding]
        return f"s[{top}] exponent[{top - 1}:{m}] mantissa[{m - 1}:0], bias {fmt.bias}; {special}"
    return f"two's complement [{fmt.bits - 1}:0]"


def steps_per_octave(fmt: AnyFormat) -> str:
    """Return how many numbers an octave has, below the top where they grow or shrink."""
    if isinstance(fmt, MXFormat) and isinstance(fmt.element, IntFormat):
        steps = 2**-fmt.implied_scale  # one is so many of the element's units
        return f"{steps} from 1 to 2, half as many in each octave below: one spacing"
    if isinstance(fmt, MXFormat):
        return steps_per_octave(fmt.element)
    if isinstance(fmt, LNSFormat):
        return str(fmt.gamma)
    if isinstance(fmt, FloatFormat):
        return f"{2**fmt.mantissa_bits} among normal numbers"
    return "as many as its smallest number: one spacing for all"


def _overflow(fmt: AnyFormat) -> str:
    if isinstance(fmt, FloatFormat) and fmt.overflow == "infinity":
        return "infinity" if fmt.encoding == "ieee" else "NaN"
    return "saturates"


def details(name: str) -> list[tuple[str, str]]:
    """Return (what, value) pairs of a format or recipe; an unknown name lists the known ones."""
    rows: list[tuple[str, str]] = []
    name = "lns8" if name == LNS else name
    fmt = number_format(name)
    if fmt is not None:
        fact = facts(name)
        rows += [
            ("number format", fact.kind),
            ("bits", f"{fact.bits:g}"),
            ("bit layout", layout(fmt)),
            ("steps per octave", steps_per_octave(fmt)),
            ("smallest magnitude", fact.smallest),
            ("largest magnitude", fact.largest),
            ("octaves", fact.octaves),
            ("worst relative rounding error", fact.error),
            ("beyond the largest", fact.overflow),
        ]
        if isinstance(fmt, MXFormat):
            low, high = fmt.min_scale - SCALE_BIAS, SCALE_BIAS
            rows.append(("with the scale", f"2^{low} to {fact.largest} * 2^{high}"))
    if name in RECIPES or name not in ZOO:
        recipe = get_recipe(name)
        rows += [
            ("training recipe", recipe.description),
            ("optimiser", recipe.optimiser),
            ("scaling", recipe.scaling),
            ("overflow", recipe.overflow_rule),
        ]
        if isinstance(recipe.datapath, Datapath) and fmt is None:
            sums = recipe.datapath.accumulator
            how = f"log {recipe.datapath.variant}" if sums.style == "log" else sums.style
            rows.append(("accumulator", f"style {how}, {sums.bits} bits"))
    return rows
