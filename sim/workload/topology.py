"""SCALE-Sim topology files: `read_topology` makes a `Workload` of one, `topology_text` writes one.

Two forms, told apart by the header line: `name, M, N, K,` and `name, ifmap_h, ifmap_w, filter_h,
filter_w, channels, filters, stride,`. The columns behind the name are placed by their names in the
header, in any order; one that is unknown, twice there or missing is refused (SCALE-Sim itself goes
by position and misreads such a file). SCALE-Sim drops whatever follows a line's last comma; here
the last comma may be missing and a remark (`#dw`) may follow it.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files.paths import readable
from ..machine.systolic import LONGEST
from .workload import Gemm, Workload, workload_of_layers

GEMM_FIELDS = ("M", "N", "K")
CONV_FIELDS = ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride")
#: a header's words, simplified -> the field; the spellings of SCALE-Sim's own files and of ours
_COLUMNS = {
    **{field.lower(): field for field in GEMM_FIELDS},
    **{f"{what} {side}": f"ifmap_{side}" for what in ("ifmap", "input") for side in "hw"},
    **{f"{what} {side}": f"filter_{side}" for what in ("filter", "kernel") for side in "hw"},
    **dict.fromkeys(("channel", "num channel", "input channel"), "channels"),
    **dict.fromkeys(("filter", "num filter"), "filters"),
    "stride": "stride",
    **dict.fromkeys(("sparsity", "sparsity ratio", "sparsityratio"), "sparsity"),
}
_SHORT = {"height": "h", "width": "w", "channels": "channel", "filters": "filter"}
_SHORT |= {"strides": "stride", "number": "num"}
NOTE = (
    "From a SCALE-Sim topology: the products alone are known, every right operand is taken for a "
    "trained weight, and what lies between the layers is unknown and not counted."
)


def read_topology(path: Path) -> Workload:
    """Return the training step of the layers of a SCALE-Sim topology CSV, named after the file.

    A file that is not such a table raises ValueError naming file and line; OSError where it cannot
    be read.
    """
    try:
        lines = readable(path).read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {number}: text must be UTF-8, got {error.reason}"
        ) from error
    fields: tuple[str, ...] = ()
    layers: list[Gemm] = []
    for number, line in enumerate(lines, 1):
        cells = _cells(line)
        if not any(cells):
            continue
        try:
            if not fields:
                fields = _form(cells)
            else:
                layers.append(_layer(cells, fields))
                workload_of_layers(path.stem, layers[-1:])  # its limits, while the line is known
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not layers:
        what = "layers must follow the header" if fields else "header must name the columns"
        raise ValueError(f"{path}, line {len(lines) or 1}: {what}, got the end of the file")
    try:
        return workload_of_layers(path.stem, layers, NOTE)
    except ValueError as error:
        raise ValueError(f"{path}, line {len(lines)}: {error} in all layers") from error


def topology_text(gemms: Iterable[Gemm]) -> str:
    """Return the GEMMs of a step as a SCALE-Sim topology, one line each, in order.

    A name is `LAYER_PHASE`, and `LAYER_PHASE_xCOUNT` where a GEMM stands for COUNT equal products:
    SCALE-Sim runs one of them, so its figures are to be multiplied. No GEMM: ValueError.
    """
    lines = [f"{_line_name(gemm)}, {gemm.M}, {gemm.N}, {gemm.K}," for gemm in gemms]
    if not lines:
        raise ValueError("gemms must not be empty, got none")
    return "\n".join(["Layer, M, N, K,", *lines, ""])


def conv_gemm(name: str, sizes: Sequence[int]) -> Gemm:
    """Return the forward GEMM of a convolution given by CONV_FIELDS, as SCALE-Sim lowers it.

    No padding; windows that start inside the input are counted, even where they end outside. `DP`
    in the name means depthwise: each channel by itself gets `filters` filters. A filter larger than
    its input raises ValueError.
    """
    ifmap_h, ifmap_w, filter_h, filter_w, channels, filters, stride = sizes
    for field, size, limit, most in (
        ("filter_h", filter_h, "ifmap_h", ifmap_h),
        ("filter_w", filter_w, "ifmap_w", ifmap_w),
    ):
        if size > most:
            raise ValueError(f"{field} must be at most {limit} {most}, got {size}")
    count = channels if "DP" in name else 1
    m = _windows(ifmap_h, filter_h, stride) * _windows(ifmap_w, filter_w, stride)
    k = filter_h * filter_w * (channels // count)
    words = min(ifmap_h * ifmap_w * (channels // count), m * k)
    return Gemm(name, "forward", m, filters, k, count=count, a_words=words)


def _windows(size: int, width: int, stride: int) -> int:
    """Window positions on one side: ceil((size - width + stride) / stride)."""
    return -(-(size - width + stride) // stride)


def _cells(line: str) -> list[str]:
    """A line's fields without blanks, without empty ones at the end and a remark there."""
    cells = [cell.strip() for cell in line.split(",")]
    while len(cells) > 1 and (not cells[-1] or cells[-1].startswith("#")):
        cells.pop()
    return cells


def _form(cells: Sequence[str]) -> tuple[str, ...]:
    """The fields that a header line announces, in its order, behind the name; maybe a sparsity."""
    fields = tuple(_column(cell) for cell in cells[1:])
    sizes = fields[:-1] if fields[-1:] == ("sparsity",) else fields
    for known in (GEMM_FIELDS, CONV_FIELDS):
        if sorted(sizes) == sorted(known) and not _column(cells[0]):
            return sizes
    raise ValueError(
        f"header must be name, {', '.join(GEMM_FIELDS)} or name, {', '.join(CONV_FIELDS)}, "
        f"in any order behind the name, got {', '.join(cells)}"
    )


def _column(text: str) -> str:
    """The field that a header's cell names; "" where it names none."""
    words = re.findall(r"[a-z]+|[^a-z\s_.]", text.lower())
    return _COLUMNS.get(" ".join(_SHORT.get(word, word) for word in words), "")


def _layer(cells: Sequence[str], fields: tuple[str, ...]) -> Gemm:
    """The forward GEMM of a line."""
    name, values, rest = cells[0], cells[1 : len(fields) + 1], cells[len(fields) + 1 :]
    if not name:
        raise ValueError("name must not be empty, got ''")
    if len(values) < len(fields):
        raise ValueError(f"{fields[len(values)]} must be given, got nothing")
    if len(rest) == 1 and re.fullmatch(r"\d+\s*:\s*\d+", rest[0]):
        if re.sub(r"\s", "", rest[0]) != "1:1":
            raise ValueError(f"sparsity must be 1:1, which is dense, got {rest[0]}")
    elif rest:
        raise ValueError(
            f"{fields[-1]} must be the last field but a sparsity, got also {', '.join(rest)}"
        )
    sizes = {field: _size(field, value) for field, value in zip(fields, values, strict=True)}
    if "M" in sizes:
        return Gemm(name, "forward", sizes["M"], sizes["N"], sizes["K"])
    return conv_gemm(name, [sizes[field] for field in CONV_FIELDS])


def _size(field: str, text: str) -> int:
    """A field's number."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(LONGEST))
    if not plain or not 1 <= int(text) <= LONGEST:
        raise ValueError(f"{field} must be a whole number in 1..{LONGEST}, got {text!r}")
    return int(text)


def _line_name(gemm: Gemm) -> str:
    """A name SCALE-Sim reads as one field, and not as depthwise."""
    layer = re.sub(r"[\s,#]+", "_", gemm.layer).replace("DP", "Dp")
    return f"{layer}_{gemm.phase}" + (f"_x{gemm.count}" if gemm.count > 1 else "")
