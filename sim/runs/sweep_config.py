"""A sweep as a frozen value, read from flags or a YAML/TOML file, expanded to single runs.

LNS runs are the product of the LNS axes; each format is one baseline, or with a name of LNS such
as e5g4-log one more point of the LNS runs: what the name leaves open, the other axes say. Every one
is run with each seed. Runs come seed by seed, so a sweep that is stopped early has the first seed
of everything.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from ...lns.checks import require_choice, require_int
from ...lns.format import FloatFormat
from ..checks import require_text
from ..data.catalog import DATASETS
from ..files.paths import require_below, require_plain_name
from ..files.structured import read_values
from ..recipes.names import LNS, fields_of, get_recipe
from ..rules.rule import LNS_RULE
from ..workload.catalog import recorded_name, trained_name
from .axes import parse_axis, parse_names
from .run_config import RunConfig

AUTO = "auto"
Axis = tuple[int, ...]
OpenAxis = tuple[int | None, ...]  # None: what the run's own default is
#: axes with a word for None
_WORDS = {
    "table_entries": "full",
    "lanes": "machine",
    **dict.fromkeys(("accumulator_bits", "guard", "table_bits", "variant"), AUTO),
}


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """What a sweep covers; sim/cli/flags.py says what each field means.

    Every value is checked when the sweep is made, by making its runs: ValueError or TypeError,
    `<name> must be <rule>, got <value>`.
    """

    name: str | None = None
    out: str | None = None
    data: str = "digits"
    model: str = "mlp"
    exponent_bits: Axis = (4, 5, 6, 7, 8)
    gamma: str | Axis = AUTO
    formats: tuple[str, ...] = ("fp32", "bf16", "fp16", "fp8", "fp32-madam")
    epochs: int = 10
    batch: int = 64
    seeds: int = 3
    optimiser: tuple[str, ...] = (LNS_RULE,)
    lr: float | None = None
    baseline_lr: float | None = None
    schedule: str = "cosine"
    accumulator_bits: OpenAxis = (None,)
    guard: OpenAxis = (None,)
    table_entries: tuple[int | None, ...] = (None,)  #: None: a full table of gamma entries
    table_bits: OpenAxis = (None,)
    overflow: str | None = None
    format_overflow: str | None = None  #: of the float baselines' conversions; None: by width
    lanes: tuple[int | None, ...] = (None,)  #: None: the machine's
    rounding: str | None = None
    style: str = "direct"
    variant: tuple[str | None, ...] = (None,)
    machine: str = "edge-16"
    prices: str | None = None
    threads: int = 1
    workers: int | None = None  #: None: one per core
    limit_train: int | None = None
    limit_test: int | None = None
    max_steps: int | None = None

    def __post_init__(self) -> None:
        require_int("seeds", self.seeds, 1, 1000)
        if self.workers is not None:
            require_int("workers", self.workers, 1, 1024)
        for name in ("name", "out"):
            if getattr(self, name) is not None:
                require_text(name, getattr(self, name))
            if getattr(self, name) == "":
                raise ValueError(f"{name} must not be empty, got ''")
        if self.name is not None:
            require_plain_name("name", self.name)
        object.__setattr__(self, "model", trained_name(self.model))
        for name in self.formats:
            fields_of(name)
        if not self.exponent_bits:  # what no run uses is checked all the same
            for own in self._lns(self._points((7,))):
                RunConfig(**own)
        runs = self.runs()
        images = min(DATASETS[self.data].train, self.limit_train or DATASETS[self.data].train)
        if self.batch > images:
            raise ValueError(
                f"batch must be at most the {images} training images, got {self.batch}"
            )
        if not runs:
            raise ValueError("exponent_bits or formats must name at least one, got none in either")

    @property
    def title(self) -> str:
        """The sweep's name, by default data and model, spelt as in the runs' records."""
        return self.name or f"{self.data}-{recorded_name(self.model)}"

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.out) if self.out is not None else Path("results") / self.title

    def runs(self) -> list[RunConfig]:
        """Return every run, first seed first; one that two combinations give appears once."""
        configurations = [*self._lns(self._points(self.exponent_bits)), *self._formats()]
        runs = [
            RunConfig(**self._shared(), **own, seed=seed)
            for seed in range(self.seeds)
            for own in configurations
        ]
        return list({run.run_id: run for run in runs}.values())

    def _shared(self) -> dict[str, Any]:
        names = ("data", "model", "epochs", "batch", "schedule", "machine", "prices", "threads")
        limits = ("limit_train", "limit_test", "max_steps")
        return {name: getattr(self, name) for name in names + limits}

    def _grid(self, **axes: Any) -> list[dict[str, Any]]:
        """Every combination of some axes' values, the last running fastest."""
        return [dict(zip(axes, point, strict=True)) for point in product(*axes.values())]

    def _accumulators(self) -> list[dict[str, Any]]:
        return self._grid(
            accumulator_bits=self.accumulator_bits,
            guard=self.guard,
            lanes=self.lanes,
            overflow=(self.overflow,),
            rounding=(self.rounding,),
        )

    def _points(self, widths: Axis) -> list[dict[str, Any]]:
        gammas = (None,) if isinstance(self.gamma, str) else self.gamma
        return self._grid(exponent_bits=widths, gamma=gammas)

    def _lns(self, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """LNS runs of some formats, each with every value of the other axes."""
        style = None if self.style == "direct" else self.style  # its own default
        hardware = self._grid(
            antilog_entries=self.table_entries,
            table_bits=self.table_bits,
            variant=self.variant,
            style=(style,),
            lr=(self.lr,),
        )
        return [
            {"optimiser": optimiser, **sums, **accumulator, **point}
            for optimiser in self.optimiser
            for point in points
            for sums in hardware
            for accumulator in self._accumulators()
        ]

    def _formats(self) -> list[dict[str, Any]]:
        configurations = []
        for name in self.formats:
            if fields_of(name)["format"] == LNS:
                configurations += self._lns([{"format": name}])
                continue
            own = {"format": name, "lr": self.baseline_lr, **self._float_rule(name)}
            accumulators = self._accumulators() if name == "fp8-fixed" else [{}]
            configurations += [own | accumulator for accumulator in accumulators]
        return configurations

    def _float_rule(self, name: str) -> dict[str, Any]:
        floats = isinstance(get_recipe(name).weight, FloatFormat)
        return {"format_overflow": self.format_overflow} if floats else {}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as the values a YAML or TOML file would hold."""
        values = asdict(self)
        for name, word in _WORDS.items():
            values[name] = [word if n is None else n for n in getattr(self, name)]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "SweepConfig":
        """Return the sweep of a file's or the flags' values; unknown keys raise ValueError.

        Keys are field names; axes may be text as on the command line.
        """
        known = {item.name for item in fields(cls)}
        for key in values:
            require_choice("key", key, known)
        return cls(**{name: _parse(name, value) for name, value in values.items()})


def _parse(name: str, value: Any) -> Any:
    """Turn one value of a file or a flag into the field's type; checks of range come later."""
    if name in ("formats", "optimiser"):
        return parse_names(name, value)
    if name == "gamma" and value == AUTO:
        return AUTO
    if name == "variant":
        return tuple(None if item == AUTO else item for item in parse_names(name, value))
    if name in ("exponent_bits", "gamma", *_WORDS):
        return parse_axis(name, value, word=_WORDS.get(name))
    if name in ("lr", "baseline_lr") and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, got {value!r}") from None
    return value


def read_file(path: Path) -> dict[str, Any]:
    """Return the values of a YAML or TOML file; errors name the file and the place.

    A `-` in a key is read as `_`. `out` may name a folder below the current one only: a file that
    came from elsewhere writes nowhere else.
    """
    try:
        values = read_values(path, f"config {path}")
    except OSError as error:
        raise ValueError(f"config {path} must be readable, got {error.strerror}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"config {path} must hold keys and values, got {type(values).__name__}")
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name in named:
            raise ValueError(f"config {path}: a key must be given once, got {name} again")
        named[name] = value
    if isinstance(named.get("out"), str):
        require_below(f"config {path}: out", named["out"])
    return named


def load_sweep(path: Path | None, flags: Mapping[str, Any]) -> SweepConfig:
    """Return the sweep of a file (None: the default) with `flags` in place of its values."""
    values = {} if path is None else read_file(path)
    try:
        return SweepConfig.from_mapping(values | dict(flags))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}" if path else str(error)) from error
