"""`Machine`: how many multiply-accumulate units, which memories, which clock; from TOML or YAML.

A machine holds no number format and no accumulator: those come from the `Recipe`, so that the same
array is costed in LNS, fp8, bf16, fp16, fp32 and int8. KEYS documents every key of a file.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...lns.checks import require_choice, require_int
from ...lns.format import FORMATS, FP32, FloatFormat, get_format
from ..checks import require_name, require_text
from ..files.assets import ASSETS
from ..files.paths import require_plain_name
from ..files.structured import read_values
from .systolic import DATAFLOWS, RECURRENCES

FOLDER = ASSETS / "machines"
DRAM_KINDS = ("ddr3", "ddr4", "gddr6", "hbm2", "hbm2e", "hbm3", "lpddr4", "horowitz")
SCALES = ("two-pass", "delayed")
OBJECTIVES = ("traffic", "latency")
_LEAST_NUMBER, _MOST_NUMBER = 1e-9, 1e9  # far outside any hardware, and no sum overflows

KEYS = {
    "name": "what reports call the machine",
    "description": "one line for people",
    "source": "where the parameters come from",
    "unconfirmed": "names of the parameters that no source confirms",
    "rows": "rows R of processing elements",
    "cols": "columns C of processing elements",
    "lanes": "products V a processing element takes a cycle; for LNS, int8 and fixed-point "
    "accumulators their sum is exact, as the datapath's `lanes` (default 1)",
    "depth": "stationary words a processing element's register file holds (default 1)",
    "dataflow": "os, ws or is: which operand stays in the array",
    "recurrence": "cycles per fold: scalesim or paper (default scalesim)",
    "objective": "what the tile search minimises first: latency (default) or traffic (DRAM bits)",
    "clock_ghz": "clock of array, vector unit and buffers in GHz",
    "node": "technology whose prices are used, such as 45 nm",
    "wire_mm": "mean way of a word between a buffer and the array in mm (default 0)",
    "ifmap": "buffer of the left operand a (M, K)",
    "filter": "buffer of the right operand b (K, N)",
    "ofmap": "buffer of partial sums and results (M, N)",
    "ifmap.capacity_bytes": "bytes of the whole buffer; filled in halves, so that one half loads "
    "while the other is read",
    "ifmap.word_bits": "width of one access of a bank",
    "ifmap.banks": "banks, each with one access a cycle, read or write",
    "dram.kind": f"one of {', '.join(DRAM_KINDS)}; its price row",
    "dram.pj_per_bit": "a price of one's own for a bit, in place of the kind's row",
    "dram.gbytes_per_s": "bandwidth in 10^9 bytes per second, reads and writes together",
    "vector.format": "a float format: of normalisation, activations, loss, update (default fp32)",
    "vector.width": "elements the vector unit takes a cycle and operation",
    "vector.scale": "two-pass: a tensor's scale needs its largest magnitude first, so it is "
    "written and read back before it is encoded, as training on lnsim computes it; delayed: the "
    "scale is known beforehand (cheaper, but other values than training gives) (default two-pass)",
}


@dataclass(frozen=True, slots=True)
class Buffer:
    """An on-chip buffer of `banks` equal SRAMs."""

    capacity_bytes: int
    word_bits: int
    banks: int = 1

    def __post_init__(self) -> None:
        require_int("capacity_bytes", self.capacity_bytes, 64, 1 << 40)
        require_int("word_bits", self.word_bits, 1, 1 << 16)
        require_int("banks", self.banks, 1, 1 << 16)
        least = max(64, -(-self.word_bits // 8))
        if self.bank_bytes < least:
            raise ValueError(
                f"banks must leave each at least {least} bytes, got {self.banks} of "
                f"{self.bank_bytes}"
            )

    @property
    def bits(self) -> int:
        """Bits of the whole buffer."""
        return 8 * self.capacity_bytes

    @property
    def bank_bytes(self) -> int:
        """Bytes of one bank, what an access is priced by."""
        return self.capacity_bytes // self.banks

    @property
    def bits_per_cycle(self) -> int:
        """Bits that pass its ports each cycle, reads and writes together."""
        return self.word_bits * self.banks


@dataclass(frozen=True, slots=True)
class Dram:
    """Off-chip memory: a kind, which has a price unless it brings its own, and a bandwidth."""

    kind: str
    gbytes_per_s: float
    pj_per_bit: float | None = None

    def __post_init__(self) -> None:
        require_choice("kind", self.kind, DRAM_KINDS)
        _require_positive("gbytes_per_s", self.gbytes_per_s)
        if self.pj_per_bit is not None:
            _require_positive("pj_per_bit", self.pj_per_bit, zero=True)

    @property
    def price_name(self) -> str:
        """The detail its price rows are found by."""
        return self.kind if self.pj_per_bit is None else f"{self.kind} {self.pj_per_bit:g}"


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """What computes everything outside the GEMMs."""

    width: int
    format: str = "fp32"
    scale: str = "two-pass"

    def __post_init__(self) -> None:
        require_int("width", self.width, 1, 1 << 16)
        require_choice("scale", self.scale, SCALES)
        floats = [name for name, fmt in FORMATS.items() if isinstance(fmt, FloatFormat)]
        require_choice("format", self.format, floats)

    @property
    def fmt(self) -> FloatFormat:
        """The format itself."""
        fmt = get_format(self.format)
        assert isinstance(fmt, FloatFormat)
        return fmt


@dataclass(frozen=True, slots=True)
class Machine:
    """An accelerator without its number formats; KEYS says what each field means."""

    name: str
    rows: int
    cols: int
    dataflow: str
    clock_ghz: float
    ifmap: Buffer
    filter: Buffer
    ofmap: Buffer
    dram: Dram
    vector: VectorUnit
    lanes: int = 1
    depth: int = 1
    recurrence: str = "scalesim"
    objective: str = "latency"
    node: str = "45 nm"
    wire_mm: float = 0.0
    description: str = ""
    source: str = ""
    unconfirmed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("name", "node", "description", "source"):
            require_text(name, getattr(self, name))
        require_plain_name("name", self.name)  # files are named after it
        for name in ("rows", "cols", "lanes", "depth"):
            require_int(name, getattr(self, name), 1, 1 << 16)
        require_choice("dataflow", self.dataflow, DATAFLOWS)
        require_choice("recurrence", self.recurrence, RECURRENCES)
        require_choice("objective", self.objective, OBJECTIVES)
        _require_positive("clock_ghz", self.clock_ghz)
        _require_positive("wire_mm", self.wire_mm, zero=True)
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        known = {key.partition(".")[0] for key in KEYS} | set(KEYS)
        if not isinstance(self.unconfirmed, tuple):
            raise TypeError(f"unconfirmed must be a list of names, got {self.unconfirmed!r}")
        for key in self.unconfirmed:
            require_choice("unconfirmed", key, known)

    @property
    def macs_per_cycle(self) -> int:
        """Products of the whole array in one cycle."""
        return self.rows * self.cols * self.lanes

    @property
    def dram_bits_per_cycle(self) -> float:
        """Off-chip bandwidth in the array's own time."""
        return 8.0 * self.dram.gbytes_per_s / self.clock_ghz

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Machine":
        """Return the machine of a mapping such as a parsed file.

        Unknown and missing keys, wrong types and values out of range raise ValueError or TypeError
        naming the key (`ifmap.banks must be in 1..65536, got 0`).
        """
        made = dict(_check_keys(cls, values, ""))
        for name, kind in _PARTS.items():
            part = made[name]
            if not isinstance(part, Mapping):
                raise TypeError(f"{name} must hold keys and values, got {part!r}")
            own = _check_keys(kind, part, f"{name}.")
            try:
                made[name] = kind(**own)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}.{error}") from error
        if isinstance(made.get("unconfirmed"), list):
            made["unconfirmed"] = tuple(made["unconfirmed"])
        return cls(**made)

    @classmethod
    def load(cls, path: Path) -> "Machine":
        """Return the machine of a TOML or YAML file; an error names the file."""
        values = read_values(path, f"{path}: machine")
        if not isinstance(values, Mapping):
            raise ValueError(f"{path}: machine must hold keys and values, got none")
        try:
            return cls.from_mapping(values)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{path}: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON values; `from_mapping` reads them."""
        return asdict(self) | {"unconfirmed": list(self.unconfirmed)}

    def with_changes(self, **changes: Any) -> "Machine":
        """Return the machine with some fields replaced, checked anew."""
        return replace(self, **changes)


_PARTS: dict[str, Any] = {
    "ifmap": Buffer,
    "filter": Buffer,
    "ofmap": Buffer,
    "dram": Dram,
    "vector": VectorUnit,
}


def _check_keys(kind: Any, values: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    known = [item.name for item in fields(kind)]
    needed = [item.name for item in fields(kind) if item.default is MISSING]
    for key in values:
        if key not in known:
            names = ", ".join(prefix + name for name in sorted(known))
            raise ValueError(f"key must be one of {names}, got {prefix}{key}")
    for key in needed:
        if key not in values:
            raise ValueError(f"{prefix}{key} must be given, got nothing")
    return values


def _require_positive(name: str, value: object, zero: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (value > 0 or (zero and value == 0)):
        raise ValueError(f"{name} must be {'at least' if zero else 'above'} 0, got {value}")
    if value and not _LEAST_NUMBER <= value <= _MOST_NUMBER:
        raise ValueError(f"{name} must be in {_LEAST_NUMBER:g}..{_MOST_NUMBER:g}, got {value}")


def machine_names() -> list[str]:
    """Return the names of the machines that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get_machine(name: str) -> Machine:
    """Return a shipped machine, or the one of a TOML or YAML file where `name` is a path.

    An unknown name raises ValueError listing the known ones.
    """
    require_text("machine", name)
    if Path(name).suffix in (".toml", ".yaml", ".yml"):
        return Machine.load(Path(name))
    return _shipped(require_name("machine", name, machine_names()))


@lru_cache(maxsize=16)
def _shipped(name: str) -> Machine:
    return Machine.load(FOLDER / f"{name}.toml")


def check_trainable(machine: Machine) -> None:
    """Raise ValueError unless the vector unit computes what training on lnsim computes."""
    for name, have, need in (
        ("format", machine.vector.format, FP32.name),
        ("scale", machine.vector.scale, SCALES[0]),
    ):
        if have != need:
            raise ValueError(
                f"vector.{name} must be {need} for a training run, which computes that, got {have}"
            )
