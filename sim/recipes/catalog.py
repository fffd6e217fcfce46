"""The training recipes that have names: 8-bit LNS, floats, integers and OCP MX blocks."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ...lns.datapath import Accumulator, FloatDatapath, IntDatapath
from ...lns.format import BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, INT8
from ...lns.mx_format import MX_FORMATS, AnyFormat
from .recipe import Recipe, lns_recipe

_FLOAT = "in the GEMMs, {}, fp32 accumulator, fp32 master weights"
_SCALE = "a power-of-two scale per tensor"


def _baseline(name: str, fmt: AnyFormat, description: str, **own: Any) -> Recipe:
    """A recipe of one format, but for what it has of its `own`: floats with fp32 sums, no scale."""
    usual = {"error": fmt, "gradient": None, "update": None, "optimiser": "adamw"}
    formats: Any = {"weight": fmt, "activation": fmt, "datapath": FloatDatapath(FP32)}
    return Recipe(name=name, description=description, **formats | usual | own)


_fp8 = partial(_baseline, fmt=FP8_E4M3, error=FP8_E5M2, scaling="amax")
_fp32 = partial(_baseline, fmt=FP32, description=f"fp32 {_FLOAT.format('no scaling')}")

#: name -> what makes the recipe
RECIPES: dict[str, Callable[[], Recipe]] = {
    "lns8": lns_recipe,
    "fp32": partial(_fp32, "fp32"),
    "bf16": partial(_baseline, "bf16", BF16, f"bf16 {_FLOAT.format('no scaling')}", gradient=BF16),
    "fp16": partial(
        _baseline, "fp16", FP16, f"fp16 {_FLOAT.format(_SCALE)}", gradient=FP16, scaling="amax"
    ),
    "fp8": partial(
        _fp8,
        "fp8",
        description=f"E4M3 weights and activations, E5M2 errors, {_SCALE}, fp32 accumulator, "
        "fp32 master weights",
    ),
    "fp8-no-master": partial(
        _fp8,
        "fp8-no-master",
        description="as fp8, the weight stored between steps as scaled E4M3",
        update=FP8_E4M3,
    ),
    "fp8-fixed": partial(
        _fp8,
        "fp8-fixed",
        description="as fp8, with LNS's fixed-point accumulator (24 bits, guard 4)",
        datapath=FloatDatapath(Accumulator()),
    ),
    "int8": partial(
        _baseline,
        "int8",
        INT8,
        f"int8 with {_SCALE}, 32-bit accumulator, fp32 masters",
        datapath=IntDatapath(),
        scaling="amax",
    ),
    **{
        name: partial(
            _baseline,
            name,
            fmt,
            f"blocks of {fmt.block} {fmt.element.name} along the contracted axis, "
            "fp32 accumulator, fp32 master weights",
        )
        for name, fmt in MX_FORMATS.items()
    },
    "fp32-madam": partial(_fp32, "fp32-madam", optimiser="madam"),
}
