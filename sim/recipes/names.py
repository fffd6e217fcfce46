"""The names of formats, the same in every command: what they say and the recipe they mean.

A name is one of the catalogue (fp8, mxfp4, ...) or of LNS: `lns`, `lns8`, or eEgG with E exponent
bits and G steps per octave (e5g4). LNS takes an accumulator after that: -bins, -log or
-log-VARIANT (mitchell, table:n, interp:n), and its bits, -wBITS: e5g4-log-mitchell, lns8-w20.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ...lns.accumulator import Accumulator
from ...lns.format import LNSFormat
from ..checks import log_bits, require_name
from ..rules.rule import LNS_RULE, RULES
from .catalog import RECIPES
from .recipe import Recipe, lns_recipe, multiplying

LNS = "lns"  #: whose widths are fields of their own
FORMAT_NAMES = (LNS, *sorted(set(RECIPES) - {"lns8"}))  #: of a run's `format`, in its record
#: how LNS is spelt, for lists of names: (what is written, what it means)
SPELLINGS = (
    ("eEgG", "as lns8 with E exponent bits and G steps per octave: e5g4"),
    ("...-bins, ...-log", "lns8 and eEgG with sums in bins, or logarithmic; -log-mitchell, "
     "-log-table:8, -log-interp:4: how they are found"),
    ("...-wBITS", "with so many bits in the accumulator: lns8-w20, lns8-log-w10"),
)  # fmt: skip
_LNS = re.compile(
    "(?:lns|(lns8)|e([0-9]{1,4})g([0-9]{1,6}))"
    "(?:-(bins)|-(log)(?:-([a-z]+(?::[0-9]{1,20})?))?)?(?:-w([0-9]{1,4}))?"
)


def fields_of(name: object, others: Collection[str] = ()) -> dict[str, Any]:
    """Return what a name says, as fields of a RunConfig; what it leaves open is not there.

    `e5g4-log` is {"format": "lns", "exponent_bits": 5, "gamma": 4, "style": "log"}. An unknown
    name raises ValueError with the known ones, `others` among them, and the nearest; whether
    hardware has such widths is not checked.
    """
    match = _LNS.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        spelt = () if name == "eEgG" else ("eEgG",)
        return {"format": require_name("format", name, {*RECIPES, LNS, *spelt, *others})}
    lns8, exponent_bits, gamma, bins, log, variant, bits = match.groups()
    said = {
        "exponent_bits": 7 if lns8 else exponent_bits,
        "gamma": 8 if lns8 else gamma,
        "accumulator_bits": bits,
    }
    texts = {"format": LNS, "style": bins or log, "variant": variant}
    numbers = {field: int(value) for field, value in said.items() if value is not None}
    return {field: value for field, value in texts.items() if value is not None} | numbers


def get_recipe(name: str, optimiser: str | None = None) -> Recipe:
    """Return the recipe that a name means; `lns` is E=7, G=8. optimiser: None is its own.

    The accumulator of LNS has 24 bits, in style "log" E + 2, unless the name says otherwise. Raises
    ValueError for an unknown name, listing the known ones, for widths that no hardware of ours has
    and for an optimiser that a format cannot have (integer Madam without LNS).
    """
    if optimiser is not None:
        require_name("optimiser", optimiser, RULES)
    said = fields_of(name)
    if said["format"] != LNS:
        recipe = RECIPES[said["format"]]()
        return recipe if optimiser is None else replace(recipe, optimiser=optimiser)
    fmt = LNSFormat(said.get("exponent_bits", 7), said.get("gamma", 8))
    style = said.get("style", "direct")
    usual = log_bits(fmt.exponent_bits) if style == "log" else Accumulator().bits
    recipe = lns_recipe(
        fmt.exponent_bits,
        fmt.gamma,
        accumulator=Accumulator(bits=said.get("accumulator_bits", usual), style=style),
        optimiser=optimiser or LNS_RULE,
        variant=said.get("variant", "exact"),
    )
    return multiplying(recipe)
