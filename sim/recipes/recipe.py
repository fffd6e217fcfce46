"""Who uses which format when training: formats by role, the datapath, the optimiser."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...lns.checks import require_choice
from ...lns.datapath import Accumulator, Antilog, AnyDatapath, Datapath, FloatDatapath
from ...lns.format import LNS16_UPDATE, FloatFormat, Format, IntFormat, LNSFormat
from ...lns.mx_format import AnyFormat, MXFormat
from ..checks import require_format, require_name, require_positive, require_text
from ..rules.rule import LNS_RULE, RULES, Rule, get_rule

ROLES = ("weight", "activation", "error", "gradient", "update")
SCALINGS = ("amax", "none")
INITIAL_EXPONENTS = ("network", "uniform")
ZERO_STARTS = ("frozen", "normal")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The formats and the datapath one training run uses.

    Forward y = x w, input gradient dx = dy w^T and weight gradient dw = x^T dy run on `datapath`;
    x is encoded as `activation`, w as `weight`, dy as `error`. dw leaves the accumulator as fp32
    and is then encoded as `gradient` (None: it stays fp32). `update` is the format the weight is
    stored in between steps (None: an fp32 master copy, whose bytes count). scaling "amax": a
    power-of-two scale per tensor, from its largest magnitude, for float and integer formats; LNS
    always has one. Everything outside the GEMMs is fp32. MX formats run on a FloatDatapath with a
    float accumulator; their blocks lie along the axis a product contracts, so that a tensor is
    encoded once for each of its products.
    Raises ValueError where formats and datapath are of different families, or the optimiser and
    the update format do not fit ("integer-madam" stores codes of an LNSFormat without zero).
    """

    name: str
    weight: AnyFormat
    activation: AnyFormat
    error: AnyFormat
    gradient: Format | None
    update: Format | None
    datapath: AnyDatapath
    optimiser: str
    scaling: str = "none"
    p_scale: float = 3.0  #: w_max = p_scale * RMS(w_0), Madam (arXiv 2006.14560)
    initial_exponents: str = "network"  #: or "uniform": drawn, as Madam's published code does
    zero_start: str = "frozen"  #: all-zero tensors under Madam: "frozen", or "normal" N(0, 0.01^2)
    description: str = ""

    def __post_init__(self) -> None:
        require_text("name", self.name)
        require_text("description", self.description)
        for role in ROLES:
            require_format(role, getattr(self, role), role in ("gradient", "update"))
        if not isinstance(self.datapath, AnyDatapath):
            raise TypeError(
                f"datapath must be a Datapath, FloatDatapath or IntDatapath, got {self.datapath!r}"
            )
        require_name("optimiser", self.optimiser, RULES)
        require_choice("scaling", self.scaling, SCALINGS)
        require_choice("initial_exponents", self.initial_exponents, INITIAL_EXPONENTS)
        require_choice("zero_start", self.zero_start, ZERO_STARTS)
        object.__setattr__(self, "p_scale", require_positive("p_scale", self.p_scale))
        family = _family(self.datapath)
        _check_blocks({role: getattr(self, role) for role in ROLES}, self.datapath, self.scaling)
        for role in ("weight", "activation", "error"):
            fmt = getattr(self, role)
            if not isinstance(fmt, (family, MXFormat)):
                raise ValueError(
                    f"{role} must be of type {family.__name__} for {type(self.datapath).__name__}, "
                    f"got {fmt!r}"
                )
        if self.scaling == "amax" and family is LNSFormat:
            raise ValueError("scaling must be none for LNS, whose offset is always per tensor")
        if self.rule.lns_update and not (
            isinstance(self.update, LNSFormat) and not self.update.zero
        ):
            raise ValueError(
                f"update must be an LNSFormat with zero=False for {self.optimiser}, "
                f"got {self.update!r}"
            )
        if self.rule.stores == "code" and family is not LNSFormat:
            raise ValueError(
                f"optimiser must not be {self.optimiser} without an LNS datapath: its weights are "
                f"requantised exponents, got {self.weight!r}"
            )

    @property
    def rule(self) -> Rule:
        """What is known of the optimiser."""
        return get_rule(self.optimiser)

    @property
    def overflow_rule(self) -> str:
        """What each format and the accumulator do beyond their range, for reports."""
        parts: dict[str, str] = {}
        for role in ROLES:
            fmt = getattr(self, role)
            if fmt is not None:
                parts.setdefault(f"{fmt.name} {_rule(fmt)}", role)
        accumulator = self.datapath.accumulator
        if isinstance(accumulator, FloatFormat):
            total = f"{accumulator.name} accumulator goes to infinity"
        elif accumulator.style == "log":
            total = f"logarithmic sum of {accumulator.bits} exponent bits saturates"
        else:
            total = f"{accumulator.bits}-bit accumulator {accumulator.overflow}s"
        return "; ".join([*parts, total])


def _check_blocks(
    formats: Mapping[str, AnyFormat | None], datapath: AnyDatapath, scaling: str
) -> None:
    """Refuse MX formats where they have no meaning; formats: by role.

    Weight, activation and error are all MX, of float elements or of integers, or none is. Their
    products need a float accumulator: the scales change along a sum. Gradients and stored weights
    belong to no product, so that their blocks would have no axis. Raises ValueError.
    """
    for role in ("gradient", "update"):
        fmt = formats[role]
        if isinstance(fmt, MXFormat):
            raise ValueError(f"{role} must not be in blocks, which need a product, got {fmt.name}")
    operands = [formats[role] for role in ("weight", "activation", "error")]
    blocks = [fmt for fmt in operands if isinstance(fmt, MXFormat)]
    if not blocks:
        return
    names = ", ".join(str(getattr(fmt, "name", fmt)) for fmt in operands)
    if len(blocks) < len(operands):
        raise ValueError(f"weight, activation and error must all be in blocks or none, got {names}")
    if len({isinstance(fmt.element, IntFormat) for fmt in blocks}) > 1:
        raise ValueError(f"elements must be all floats or all integers, got {names}")
    if not isinstance(datapath, FloatDatapath) or not isinstance(datapath.accumulator, FloatFormat):
        raise ValueError(
            "datapath must be a FloatDatapath with a float accumulator for blocks, whose scales "
            f"change along a sum, got {datapath!r}"
        )
    if scaling != "none":
        raise ValueError(f"scaling must be none for blocks, which have their own, got {scaling!r}")


def _family(datapath: AnyDatapath) -> type[LNSFormat] | type[FloatFormat] | type[IntFormat]:
    if isinstance(datapath, Datapath):
        return LNSFormat
    return FloatFormat if isinstance(datapath, FloatDatapath) else IntFormat


def _rule(fmt: AnyFormat) -> str:
    if isinstance(fmt, FloatFormat) and fmt.overflow == "infinity":
        return "goes to infinity" if fmt.encoding == "ieee" else "goes to NaN"
    return "saturates"


def lns_recipe(
    exponent_bits: int = 7,
    gamma: int = 8,
    antilog: Antilog | None = None,
    accumulator: Accumulator | None = None,
    optimiser: str = LNS_RULE,
    update: LNSFormat | None = None,
    variant: str = "exact",
) -> Recipe:
    """Return the LNS recipe: one LNSFormat for weights, activations, errors and gradients.

    antilog, accumulator, variant: as in `Datapath`. update: the stored weight's format; None means
    the 16-bit E=15, gamma=2048 of LNS-Madam where the optimiser stores codes, else an fp32 master.
    """
    fmt = LNSFormat(exponent_bits, gamma)
    require_name("optimiser", optimiser, RULES)
    require_format("update", update, optional=True)
    antilog = Antilog() if antilog is None else antilog
    accumulator = Accumulator() if accumulator is None else accumulator
    if update is None and get_rule(optimiser).lns_update:
        update = LNS16_UPDATE
    stored = "fp32 master weights" if update is None else f"weights stored as {update.name}"
    return Recipe(
        name=fmt.name,
        weight=fmt,
        activation=fmt,
        error=fmt,
        gradient=fmt,
        update=update,
        datapath=Datapath(antilog, accumulator, variant),
        optimiser=optimiser,
        description=f"{fmt.name} everywhere in the GEMMs, a scale per tensor, {stored}",
    )


def with_overflow(recipe: Recipe, rule: str) -> Recipe:
    """Return `recipe` with the overflow rule of its float conversions replaced.

    rule: "saturate" or "infinity" (E4M3, which has none, gives NaN). The accumulator keeps its own.
    Raises ValueError for a recipe without float formats.
    """
    require_choice("format_overflow", rule, ("infinity", "saturate"))
    formats = {role: getattr(recipe, role) for role in ROLES}
    floats = {n: f for n, f in formats.items() if isinstance(f, FloatFormat)}
    if not floats:
        raise ValueError(f"format_overflow must be left out for {recipe.name}, got {rule!r}")
    changed: dict[str, Any] = {n: replace(f, overflow=rule) for n, f in floats.items()}
    return replace(recipe, **changed)


def multiplying(recipe: Recipe) -> Recipe:
    """Return an LNS recipe; ValueError where its accumulator is too narrow for its products."""
    if isinstance(recipe.datapath, Datapath) and isinstance(recipe.weight, LNSFormat):
        recipe.datapath.resolve(recipe.weight, recipe.weight)
    return recipe
