"""Tables of the guide, as Markdown: computed from formats, or read from bench/results."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from lnsim.lns import FORMATS, FloatFormat, LNSFormat, max_error
from lnsim.sim.recipes.facts import worst_error

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"
SHAPES = ((4, 1), (5, 2), (5, 4), (6, 4), (7, 8), (8, 16))  # those with recorded runs


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _records(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _mean(row: dict[str, str]) -> str:
    return f"{float(row['accuracy_mean']):.2f} ± {float(row['accuracy_std']):.2f}"


def spacing() -> str:
    """What each choice of gamma makes of seven exponent bits."""
    rows = []
    for gamma in (1, 2, 4, 8, 16, 32, 64):
        fmt = LNSFormat(7, gamma)
        error = worst_error(fmt)
        assert error is not None
        step = 100 * (2 ** (1 / gamma) - 1)
        rows.append(
            [str(gamma), f"{step:.3g} %", f"{100 * error:.3g} %", f"{float(fmt.octaves):g}"]
        )
    head = ["G", "step to the next number", "worst rounding error", "range in octaves"]
    return _table(head, rows)


def choices() -> str:
    """Range, precision and recorded accuracy of the shapes that were trained."""
    runs = [
        *_records("fashion-mnist-mlp/summary.csv"),
        *_records("fashion-mnist-mlp/e5g4-summary.csv"),
    ]
    rows = []
    for bits, gamma in SHAPES:
        fmt = LNSFormat(bits, gamma)
        error = worst_error(fmt)
        assert error is not None
        found = {
            run["optimiser"]: run
            for run in runs
            if (run["exponent_bits"], run["gamma"]) == (str(bits), str(gamma))
        }
        flushed = float(found["integer-madam"]["underflowed_percent"])
        rows.append(
            [
                f"E={bits}\N{NO-BREAK SPACE}G={gamma}",
                str(fmt.bits),
                f"{float(fmt.octaves):g}",
                f"{100 * error:.3g} %",
                _mean(found["integer-madam"]),
                _mean(found["madam"]),
                f"{flushed:.2g} %",
            ]
        )
    head = ["format", "bits", "octaves", "worst rounding error", "integer Madam, accuracy %"]
    return _table([*head, "Madam, fp32 master, accuracy %", "flushed to zero"], rows)


def accumulators() -> str:
    """Recorded accuracy over width and headroom of the accumulator, E=7 G=8."""
    found = {
        (int(row["accumulator_bits"]), int(row["guard"])): row
        for row in _records("accumulator/e7g8.csv")
    }
    widths = sorted({bits for bits, _ in found})
    guards = sorted({guard for _, guard in found})
    rows = [
        [f"W = {bits}", *(f"{float(found[bits, g]['accuracy_mean']):.1f}" for g in guards)]
        for bits in widths
    ]
    return _table(["accuracy %", *(f"guard {guard}" for guard in guards)], rows)


def sums() -> str:
    """Worst relative error of one addition, by variant and format: 2^((m + 1/2)/G) - 1."""
    shapes = ((7, 8), (10, 64), (15, 2048))
    rows = []
    for variant in ("exact", "table:64", "interp:64", "mitchell"):
        cells = []
        for bits, gamma in shapes:
            for steps in max_error(gamma, variant, 2**bits - 1):
                factor = 2 ** ((steps + 0.5) / gamma)
                cells.append(f"{100 * (factor - 1):.2g} %" if factor < 2 else f"× {factor:.3g}")
        rows.append([f"`{variant}`", *cells])
    head = [
        f"E={e}\N{NO-BREAK SPACE}G={g}, {kind}" for e, g in shapes for kind in ("sum", "difference")
    ]
    return _table(["variant", *head], rows)


def eight_bits() -> str:
    """8-bit formats side by side."""
    rows = []
    for name in ("lns8", "fp8-e4m3", "fp8-e5m2", "int8"):
        fmt = FORMATS[name]
        error = worst_error(fmt)
        if isinstance(fmt, LNSFormat):
            octaves, per_octave = float(fmt.octaves), f"{fmt.gamma} everywhere"
            zero = "one code"
        elif isinstance(fmt, FloatFormat):
            octaves = math.log2(fmt.max_value) - fmt.min_scale
            zero, per_octave = "two codes", f"{2**fmt.mantissa_bits}, fewer among subnormals"
        else:
            octaves, per_octave = math.log2(fmt.max_value), "1 at the bottom, 64 at the top"
            zero = "one code"
        wide = "half a unit" if error is None else f"{100 * error:.3g} %"
        rows.append([f"`{name}`", f"{octaves:.4g}", per_octave, wide, zero])
    head = ["format", "octaves", "numbers per octave", "worst rounding error", "zero"]
    return _table(head, rows)


def energies() -> str:
    """Recorded accuracy, energy and time of a training step on edge-16."""
    keep = (
        "LNS E5 G2 · integer-madam",
        "LNS E7 G8 · integer-madam",
        "LNS E7 G8 · madam",
        "fp32-madam · madam",
        "fp32 · adamw",
        "bf16 · adamw",
        "fp8 · adamw",
        "fp8-fixed · adamw",
    )
    runs = {row["label"]: row for row in _records("fashion-mnist-mlp/summary.csv")}
    rows = []
    for label in keep:
        run = runs[label]
        low, mid, high = (
            float(run[f"energy_per_step_{end}_pj"]) / 1e6 for end in ("low", "mid", "high")
        )
        dram = float(run["energy_per_step_dram_mid_pj"]) / 1e6
        rows.append([label, _mean(run), f"{mid:.0f} ({low:.0f}–{high:.0f})", f"{mid - dram:.0f}"])
    return _table(["configuration", "accuracy %", "µJ per step", "of which on chip, mid"], rows)
