"""One training run as a frozen, flat value of JSON primitives: what `runs/<id>.json` stores.

Fields that depend on the format are filled with that format's defaults, and refused where they do
not apply, so two configurations are equal exactly when they describe the same run.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from ...lns.accumulator import STYLES, Accumulator, Antilog
from ...lns.checks import require_choice, require_int, require_power_of_two
from ...lns.datapath import FloatDatapath
from ...lns.format import LNSFormat
from ...lns.gauss import split_variant
from ..checks import MAX_LOG_BITS, log_bits, require_name
from ..data.catalog import DATASETS
from ..machine.machine import Machine, check_trainable, get_machine
from ..prices.sources import machine_prices
from ..prices.table import PriceTable
from ..recipes.names import LNS, fields_of, get_recipe
from ..recipes.recipe import Recipe, lns_recipe, multiplying, with_overflow
from ..rules.rule import LNS_RULE, RULES, get_rule
from ..workload.catalog import recorded_name, trained_name
from .plan import Plan

SCHEDULES = ("constant", "cosine", "step")
MAX_LR = 1e30  # far beyond use; torch's optimisers overflow float32 scalars near 1e38
_CODE = ("exponent_bits", "gamma", "antilog_entries", "table_bits", "style", "variant")
_LATER = ("variant",)  # fields a run has only where it sets them, so that older ids stay
_ALIGNED = ("guard", "overflow", "rounding")
_ACCUMULATOR = ("accumulator_bits", "lanes", *_ALIGNED)
_UPDATE = ("update_exponent_bits", "update_gamma")
_RANGE_OCTAVES_LOG2 = 4  # gamma = 2^(E-4): 16 octaves whatever E is, as LNS-Madam's E=7, G=8


@dataclass(frozen=True)
class RunConfig:
    """What one run trains, on which hardware numbers, from which seed.

    None means the default of the format or optimiser and is replaced by it where the field
    applies. Raises ValueError or TypeError, `<name> must be <rule>, got <value>`.
    """

    data: str = "digits"
    model: str = "mlp"
    format: str = LNS  #: a name such as fp8, lns8 or e5g4-log; of LNS it becomes "lns" and fields
    exponent_bits: int | None = None  #: LNS E, default 7
    gamma: int | None = None  #: LNS G, default 2^(E-4), at least 1 (a range of 16 octaves)
    antilog_entries: int | None = None  #: LNS L; None: a full table of G entries
    table_bits: int | None = None  #: LNS T, default 8
    accumulator_bits: int | None = None  #: W, default 24; LNS and fp8-fixed
    guard: int | None = None  #: headroom bits, default 4
    overflow: str | None = None  #: "saturate" (default) or "wrap"
    lanes: int | None = None  #: V, default the machine's
    rounding: str | None = None  #: alignment, "floor" (default) or "toward_zero"
    style: str | None = None  #: LNS, "direct" (default), "bins" or "log"
    format_overflow: str | None = None  #: float conversions: "saturate", "infinity"; None: by width
    optimiser: str | None = None  #: default: integer-madam on LNS, else the recipe's own
    update_exponent_bits: int | None = None  #: stored weight's E, default 15 (integer, LNS Madam)
    update_gamma: int | None = None  #: stored weight's G, default 2^(E-4)
    lr: float | None = None  #: None: the default of the optimiser
    schedule: str = "cosine"  #: of the learning rate: "constant", "cosine" or "step"
    epochs: int = 10
    batch: int = 64
    seed: int = 0
    machine: str = "edge-16"  #: a shipped machine or a TOML or YAML file; costs, not values
    prices: str | None = None  #: a CSV, YAML or ERT file laid over the shipped prices
    threads: int = 1
    limit_train: int | None = None  #: use the first so many training images
    limit_test: int | None = None
    max_steps: int | None = None  #: stop after so many steps
    variant: str | None = None  #: of the sums of style "log": "exact" (default), "table:n", ...
    _usual_lanes: ClassVar[int]  # the machine's, which need no word in a label; set on the instance

    def __post_init__(self) -> None:
        require_name("data", self.data, DATASETS)
        object.__setattr__(self, "model", trained_name(self.model))
        self._take_format()
        require_choice("schedule", self.schedule, SCHEDULES)
        machine = get_machine(self.machine)
        check_trainable(machine)
        object.__setattr__(self, "_usual_lanes", machine.lanes)  # the file may be gone later
        if self.prices is not None:
            self._prices(machine)  # its own checks
        for name, high in (("epochs", 10**6), ("batch", 10**6), ("threads", 1024)):
            require_int(name, getattr(self, name), 1, high)
        require_int("seed", self.seed, 0, 2**32 - 1)
        for name in ("limit_train", "limit_test", "max_steps"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), 1, 10**9)
        self._fill_optimiser()
        self._fill_accumulator()
        self._fill_code()
        self._fill_update()
        self.recipe()  # the parts' own checks (accumulator and antilog against each other)

    def _default(self, name: str, value: Any) -> Any:
        """Set a field left None to its default; return what it is now."""
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)
        return getattr(self, name)

    def _refuse(self, names: tuple[str, ...], where: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} must be left out for {where}, got {getattr(self, name)}")

    def _take_format(self) -> None:
        """Put what the name of the format says into its fields: e5g4 is lns with two widths."""
        said = fields_of(self.format)
        name, own = self.format, said.pop("format")
        for field, value in said.items():
            if self._default(field, value) != value:
                raise ValueError(
                    f"{field} must be {value} for format {name}, got {getattr(self, field)}"
                )
        object.__setattr__(self, "format", own)

    def _fill_optimiser(self) -> None:
        own = LNS_RULE if self.format == LNS else get_recipe(self.format).optimiser
        rule = RULES[require_name("optimiser", self._default("optimiser", own), RULES)]
        if self.format != LNS and rule.lns_update:
            fitting = ", ".join(sorted(name for name in RULES if not RULES[name].lns_update))
            raise ValueError(
                f"optimiser must be one of {fitting} for format {self.format}, "
                f"got {self.optimiser!r}"
            )
        lr = self._default("lr", rule.lr)
        if isinstance(lr, bool) or not isinstance(lr, int | float):
            raise TypeError(f"lr must be a number, got {lr!r}")
        if not 0 < lr <= MAX_LR:
            raise ValueError(f"lr must be above 0 and at most {MAX_LR}, got {lr}")
        object.__setattr__(self, "lr", float(lr))

    def _fill_accumulator(self) -> None:
        if self.format not in (LNS, "fp8-fixed"):
            self._refuse(_ACCUMULATOR, f"format {self.format}")
            return
        require_int("lanes", self._default("lanes", self._usual_lanes), 1, 1024)
        if self.style == "log":  # its bits follow from the format: `_fill_code`
            return
        bits = require_int("accumulator_bits", self._default("accumulator_bits", 24), 4, 62)
        require_int("guard", self._default("guard", 4), 0, bits - 2)
        require_choice("overflow", self._default("overflow", "saturate"), ("saturate", "wrap"))
        require_choice("rounding", self._default("rounding", "floor"), ("floor", "toward_zero"))

    def _fill_code(self) -> None:
        if self.format != LNS:
            self._refuse(_CODE, f"format {self.format}")
            return
        bits = require_int("exponent_bits", self._default("exponent_bits", 7), 2, 15)
        require_power_of_two("gamma", self._default("gamma", _auto_gamma(bits)), 1, 4096)
        if require_choice("style", self._default("style", "direct"), STYLES) == "log":
            self._fill_log(bits)
            return
        self._refuse(("variant",), f"style {self.style}")
        require_int("table_bits", self._default("table_bits", 8), 1, 16)
        if self.antilog_entries is not None:
            assert self.gamma is not None
            require_power_of_two("antilog_entries", self.antilog_entries, 1, self.gamma)

    def _fill_log(self, exponent_bits: int) -> None:
        """Style "log": sums as wide as products need, and nothing of antilog or alignment."""
        self._refuse(("antilog_entries", "table_bits", *_ALIGNED), "style log")
        wide = self._default("accumulator_bits", least := log_bits(exponent_bits))
        require_int("accumulator_bits", wide, least, MAX_LOG_BITS)
        split_variant(self._default("variant", "exact"))

    def _fill_update(self) -> None:
        if not get_rule(_set(self.optimiser)).lns_update:
            self._refuse(_UPDATE, f"optimiser {self.optimiser}")
            return
        name = "update_exponent_bits"
        bits = require_int(name, self._default(name, 15), 2, 15)
        require_power_of_two(
            "update_gamma", self._default("update_gamma", _auto_gamma(bits)), 1, 4096
        )

    def recipe(self) -> Recipe:
        """Return the formats, datapath and optimiser this run trains with."""
        if self.format == LNS:
            self._refuse(("format_overflow",), "format lns")
            return self._lns_recipe()
        recipe = replace(get_recipe(self.format), optimiser=_set(self.optimiser))
        if self.format_overflow is not None:
            recipe = with_overflow(recipe, self.format_overflow)
        if self.format == "fp8-fixed":
            accumulator = self._accumulator("direct")
            recipe = replace(recipe, datapath=FloatDatapath(accumulator=accumulator))
        return recipe

    def resolve(self) -> Plan:
        """Return what the run needs, with the files of machine and prices read.

        Making the configuration has read them too, for its checks and the usual lanes alone.
        """
        machine, info = get_machine(self.machine), DATASETS[self.data]
        return Plan(
            recipe=self.recipe(),
            machine=machine if self.lanes is None else machine.with_changes(lanes=self.lanes),
            prices=self._prices(machine),
            model=self.model,
            image=info.shape,
            classes=info.classes,
            batch=self.batch,
        )

    def _prices(self, machine: Machine) -> PriceTable:
        if self.prices is not None and not isinstance(self.prices, str):
            raise TypeError(f"prices must be the name of a file, got {self.prices!r}")
        return machine_prices(machine, None if self.prices is None else Path(self.prices))

    def _accumulator(self, style: str) -> Accumulator:
        names = {"bits": "accumulator_bits"} | {name: name for name in ("lanes", *_ALIGNED)}
        given = {own: getattr(self, name) for own, name in names.items()}
        return Accumulator(style=style, **{n: v for n, v in given.items() if v is not None})

    def _lns_recipe(self) -> Recipe:
        update, log = None, self.style == "log"
        if self.update_exponent_bits is not None:
            update = LNSFormat(self.update_exponent_bits, _set(self.update_gamma), zero=False)
        recipe = lns_recipe(
            exponent_bits=_set(self.exponent_bits),
            gamma=_set(self.gamma),
            antilog=None if log else Antilog(self.antilog_entries, _set(self.table_bits)),
            accumulator=self._accumulator(_set(self.style)),
            optimiser=_set(self.optimiser),
            update=update,
            variant=_set(self.variant) if log else "exact",
        )
        return multiplying(recipe)

    @property
    def run_id(self) -> str:
        """12 hexadecimal digits of the SHA-256 of the canonical JSON of every field."""
        return hashlib.sha256(canonical_json(self).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Short name of format and optimiser; hardware numbers appear where not the default."""
        if self.format != LNS:
            return f"{self.format}{self._extras()} · {self.optimiser}"
        return f"LNS E{self.exponent_bits} G{self.gamma}{self._extras()} · {self.optimiser}"

    def _extras(self) -> str:
        """The words for fields that have not their usual values."""
        bits = log_bits(_set(self.exponent_bits)) if self.style == "log" else 24
        usual = {
            "antilog_entries": (None, "L{}"),
            "table_bits": (8, "T{}"),
            "accumulator_bits": (bits, "W{}"),
            "guard": (4, "guard {}"),
            "overflow": ("saturate", "{}"),
            "lanes": (self._usual_lanes, "V{}"),
            "rounding": ("floor", "{}"),
            "style": ("direct", "{}"),
            "variant": ("exact", "{}"),
            "format_overflow": (None, "to {}"),
            "update_exponent_bits": (15, "U{}"),
            "update_gamma": (_auto_gamma(self.update_exponent_bits or 0), "UG{}"),
            "machine": ("edge-16", "on {}"),
            "prices": (None, "prices {}"),
            "lr": (get_rule(_set(self.optimiser)).lr, "lr {:g}"),
        }
        return "".join(
            f" {text.format(value)}"
            for name, (known, text) in usual.items()
            if (value := getattr(self, name)) not in (None, known)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON primitives, a network by the name that records have."""
        values = asdict(self) | {"model": recorded_name(self.model)}
        return {n: value for n, value in values.items() if n not in _LATER or value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Return the configuration of `as_dict`; an unknown field raises ValueError naming it."""
        known = {field.name for field in fields(cls)}
        for name in values:
            require_choice("field", name, known)
        return cls(**values)


def canonical_json(config: RunConfig) -> str:
    """Return the fields as JSON text with sorted keys and no spaces."""
    return json.dumps(config.as_dict(), sort_keys=True, separators=(",", ":"))


def _auto_gamma(exponent_bits: int) -> int:
    """2^(E-4), so that the range stays about 16 octaves; at least 1."""
    return 1 << max(0, exponent_bits - _RANGE_OCTAVES_LOG2)


def _set(value: Any) -> Any:
    """A field that `__post_init__` has filled."""
    assert value is not None
    return value
