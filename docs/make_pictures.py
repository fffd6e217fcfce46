"""Draw the pictures of the guide from the project itself: `python docs/make_pictures.py`.

Each is an SVG of docs/pictures/, letters as outlines, and the same bytes each time with the same
matplotlib. tests/repository/test_docs.py holds the committed files to this script.
"""

import csv
import io
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from lnsim.lns import FORMATS, LNS8, IntFormat, LNSFormat, decode, encode
from lnsim.lns.gauss import gauss_table
from lnsim.sim.report.figure import BLUE, GREEN, PINK, RED, SKY, STYLE
from lnsim.sim.report.precision_plot import magnitudes, worst_errors
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench" / "results" / "fashion-mnist-mlp"
GREY = "#6b7280"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasSVG(figure)
    return figure


def number_line() -> Figure:
    """Every positive number of three 6-bit formats, the largest at 1, linear and logarithmic."""
    rows = [
        ("LNS E=5 G=4", LNSFormat(5, 4), BLUE),
        ("fp6 E3M2", FORMATS["fp6-e3m2"], RED),
        ("int6", IntFormat(6), GREEN),
    ]
    figure = _figure(8.6, 4.0)
    linear, logarithmic = figure.subplots(2, 1)
    for place, (_name, fmt, colour) in enumerate(rows):
        values = magnitudes(fmt)
        values = values / values.max()
        linear.vlines(values, -place - 0.32, -place + 0.32, color=colour, lw=1.3)
        logarithmic.vlines(np.log2(values), -place - 0.32, -place + 0.32, color=colour, lw=1.3)
    for axes in (linear, logarithmic):
        axes.set_yticks([0, -1, -2], [name for name, _, _ in rows])
        axes.set_ylim(-2.6, 0.6)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    linear.set_xlim(-0.01, 1.01)
    linear.set_title("value, the largest number at 1", fontsize=10, loc="left")
    logarithmic.set_xlim(-9.0, 0.1)
    logarithmic.set_title("log2 of the value", fontsize=10, loc="left")
    return figure


def relative_error() -> Figure:
    """What rounding to nearest does to every number of three octaves."""
    figure = _figure(8.6, 3.6)
    axes = figure.subplots()
    x = np.exp2(np.linspace(0, 3, 6001)[:-1])
    rows: list[tuple[str, Any, str]] = [
        ("fp8 E5M2", FORMATS["fp8-e5m2"], PINK),
        ("fp8 E4M3", FORMATS["fp8-e4m3"], RED),
        ("LNS E=7 G=8", LNS8, BLUE),
    ]
    for name, fmt, colour in rows:
        # the offset puts the three octaves inside the range
        array = encode(x, fmt, -64) if isinstance(fmt, LNSFormat) else encode(x, fmt)
        error = 100 * np.abs(decode(array) - x) / x
        axes.plot(np.log2(x), error, color=colour, lw=1.3, label=name)
    axes.set_xticks([0, 1, 2, 3], ["1", "2", "4", "8"])
    axes.set_xlim(0, 3)
    axes.set_ylim(0, 13)
    axes.set_xlabel("x")
    axes.set_ylabel("relative error [%]")
    axes.legend(ncols=3, frameon=False, loc="upper center")
    return figure


def precision() -> Figure:
    """Worst relative error over the whole range of 8-bit formats, the largest number at 1."""
    figure = _figure(8.6, 4.0)
    axes = figure.subplots()
    rows: list[tuple[str, Any, str, str]] = [
        ("fp8 E5M2", FORMATS["fp8-e5m2"], PINK, "-"),
        ("fp8 E4M3", FORMATS["fp8-e4m3"], RED, "-"),
        ("int8", IntFormat(8), GREEN, "-"),
        ("LNS E=7 G=4", LNSFormat(7, 4), SKY, "--"),
        ("LNS E=7 G=8", LNSFormat(7, 8), BLUE, "-"),
        ("LNS E=7 G=16", LNSFormat(7, 16), SKY, ":"),
    ]
    for name, fmt, colour, dashes in rows:
        x, error = worst_errors(fmt)
        x = np.log2(x / magnitudes(fmt).max())
        axes.plot(x, 100 * error, color=colour, ls=dashes, lw=1.6, label=name)
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 40], ["0.5", "1", "2", "5", "10", "20", "40"])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.35, 60)
    axes.set_xlim(-33, 0.5)
    axes.set_xlabel("octaves below the largest number")
    axes.set_ylabel("worst relative error [%]")
    axes.legend(ncols=3, frameon=False, loc="lower left")
    return figure


def gauss() -> Figure:
    """S and D over the distance, exact and by smaller hardware, G = 8."""
    figure = _figure(8.6, 3.8)
    panels = figure.subplots(1, 2)
    distances = np.arange(0, 41)
    for axes, opposite in zip(panels, (False, True), strict=True):
        d = distances[int(opposite) :]
        for variant, colour, look in (
            ("exact", "black", {"marker": "o", "ls": "", "ms": 3.2}),
            ("table:16", RED, {"ls": "-", "drawstyle": "steps-mid"}),
            ("interp:16", GREEN, {"ls": "--", "drawstyle": "steps-mid"}),
            ("mitchell", BLUE, {"ls": "-", "drawstyle": "steps-mid"}),
        ):
            steps = gauss_table(8, opposite, variant)[d]
            axes.plot(d, steps, color=colour, label=variant, lw=1.3, **look)
        axes.set_xlabel("distance d of the exponents [steps]")
        axes.set_xlim(-1, 41)
        axes.set_ylim(-0.8, 30 if opposite else 9)
    panels[0].set_title("same sign: larger + S(d)", fontsize=10, loc="left")
    panels[1].set_title("opposite sign: larger − D(d)", fontsize=10, loc="left")
    panels[0].set_ylabel("change [steps of 1/8 octave]")
    panels[1].legend(frameon=False, loc="upper right")
    return figure


def _box(axes: Axes, x: float, y: float, w: float, h: float, text: str, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y), w, h, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=colour + "22", edgecolor=colour, lw=1.3,
        )
    )  # fmt: skip
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9.5, linespacing=1.35)


def _wire(axes: Axes, points: list[tuple[float, float]], text: str = "", at: Any = None) -> None:
    for start, end in pairwise(points[:-1]):
        axes.plot(*zip(start, end, strict=True), color=GREY, lw=1.2, solid_capstyle="round")
    arrow = FancyArrowPatch(
        points[-2], points[-1], arrowstyle="-|>", mutation_scale=11, color=GREY, lw=1.2,
        shrinkA=0, shrinkB=0,
    )  # fmt: skip
    axes.add_patch(arrow)
    if text:
        axes.text(*at, text, fontsize=9, color="#374151", ha="left", va="bottom")


def datapath() -> Figure:
    """One multiply-accumulate of style "direct", with the widths of E=7, G=8, T=8, W=24."""
    figure = _figure(8.6, 3.9)
    axes = figure.subplots()
    axes.set_xlim(0, 18.8)
    axes.set_ylim(0.7, 7.3)
    axes.axis("off")
    for y, text in ((6.0, "code a\nsign, e"), (4.0, "code b\nsign, e")):
        _box(axes, 0.1, y, 1.9, 1.1, text, GREY)
    _box(axes, 3.3, 4.5, 2.3, 1.4, "add\np = e$_a$ + e$_b$", BLUE)
    _box(axes, 3.3, 1.0, 2.3, 1.2, "xor\nof the signs", BLUE)
    _box(axes, 8.1, 5.5, 2.7, 1.4, "antilog table\nM(r) ≈ 2$^{r/G+T}$", BLUE)
    _box(axes, 8.1, 2.9, 2.7, 1.4, "shift amount\nq − D", BLUE)
    _box(axes, 12.0, 4.1, 2.3, 1.5, "shift M by\nq − D places,\nround", BLUE)
    _box(axes, 15.4, 3.8, 3.0, 2.1, "accumulator\nW bits,\ntwo's complement,\nsaturates", RED)
    for y in (6.55, 4.55):
        _wire(axes, [(2.0, y), (2.7, y), (2.7, 5.2), (3.3, 5.2)])
    axes.text(2.1, 6.68, "E bits", fontsize=9, color="#374151")
    _wire(axes, [(1.05, 4.0), (1.05, 1.6), (3.3, 1.6)], "both signs", (1.2, 1.7))
    _wire(axes, [(5.6, 5.5), (6.1, 5.5), (6.1, 6.2), (8.1, 6.2)])
    axes.text(6.1, 6.33, "r = p mod G", fontsize=9, color="#374151")
    _wire(axes, [(5.6, 4.9), (6.1, 4.9), (6.1, 3.6), (8.1, 3.6)])
    axes.text(6.1, 3.15, "q = p div G", fontsize=9, color="#374151")
    _wire(axes, [(10.8, 6.2), (13.15, 6.2), (13.15, 5.6)])
    axes.text(11.1, 6.33, "T + 1 bits", fontsize=9, color="#374151")
    _wire(axes, [(10.8, 3.6), (11.4, 3.6), (11.4, 4.85), (12.0, 4.85)])
    _wire(axes, [(14.3, 4.85), (15.4, 4.85)], "±t", (14.6, 4.95))
    _wire(axes, [(5.6, 1.6), (13.15, 1.6), (13.15, 4.1)], "sign of the product", (7.7, 1.7))
    _wire(axes, [(17.6, 3.8), (17.6, 2.9), (16.2, 2.9), (16.2, 3.8)])
    axes.text(16.0, 2.4, "next product", fontsize=9, color="#374151")
    return figure


def code() -> Figure:
    """The bits of 11.3 in LNS E=7 G=8, offset 0: sign, whole octaves, eighths of an octave."""
    array = encode(np.array([11.3]), LNS8, 0)
    bits = f"{int(array.code[0]):08b}"
    figure = _figure(6.4, 1.7)
    axes = figure.subplots()
    axes.set_xlim(-0.3, 8.3)
    axes.set_ylim(-0.95, 1.65)
    axes.axis("off")
    for place, bit in enumerate(bits):
        colour = GREY if place == 0 else BLUE if place < 5 else RED
        axes.add_patch(Rectangle((place, 0), 1, 1, facecolor=colour + "22", edgecolor=colour))
        axes.text(place + 0.5, 0.5, bit, ha="center", va="center", fontsize=13, family="monospace")
        axes.text(place + 0.5, 1.12, f"{7 - place}", ha="center", fontsize=8, color=GREY)
    e = int(array.code[0]) & 127
    for x, text, colour in (
        (0.5, "sign +", GREY),
        (3.0, f"q = {e // 8} octaves", BLUE),
        (6.5, f"r = {e % 8} eighths", RED),
    ):
        axes.text(x, -0.45, text, ha="center", fontsize=10, color=colour)
    axes.text(4.5, -0.9, f"e = {e}", ha="center", fontsize=10)
    return figure


def _summary(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def accuracy() -> Figure:
    """Recorded accuracies over LNS formats in two optimisers, fp32 beside them."""
    figure = _figure(8.6, 4.0)
    axes = figure.subplots()
    rows = [*_summary("summary.csv"), *_summary("e5g4-summary.csv")]
    shapes = sorted({(int(r["exponent_bits"]), int(r["gamma"])) for r in rows if r["gamma"]})
    for optimiser, colour, marker, shift in (
        ("integer-madam", BLUE, "o", -0.08),
        ("madam", SKY, "D", 0.08),
    ):
        found = {
            (int(r["exponent_bits"]), int(r["gamma"])): r
            for r in rows
            if r["format"] == "lns" and r["optimiser"] == optimiser
        }
        means = [float(found[shape]["accuracy_mean"]) for shape in shapes]
        spreads = [float(found[shape]["accuracy_std"]) for shape in shapes]
        x = np.arange(len(shapes)) + shift
        axes.errorbar(
            x, means, spreads, fmt=marker, color=colour, capsize=3, label=f"LNS, {optimiser}"
        )
    for label, text, colour in (
        ("fp32 · adamw", "fp32, AdamW", RED),
        ("fp32-madam · madam", "fp32, Madam", GREEN),
    ):
        mean = next(float(row["accuracy_mean"]) for row in rows if row["label"] == label)
        axes.axhline(mean, color=colour, lw=1.2, ls="--")
        axes.text(-0.45, mean + 0.07, text, ha="left", fontsize=9, color=colour)
    names = [f"E={e} G={g}\n{1 + e} bits" for e, g in shapes]
    axes.set_xticks(range(len(shapes)), names)
    axes.set_xlim(-0.5, len(shapes) - 0.5)
    axes.set_ylabel("test accuracy [%]")
    axes.legend(frameon=False, loc="lower right")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "number-line": number_line,
    "relative-error": relative_error,
    "precision": precision,
    "gauss": gauss,
    "datapath": datapath,
    "code": code,
    "accuracy": accuracy,
}


def svg(name: str) -> bytes:
    """Return a picture as SVG."""
    with mpl.rc_context({**STYLE, "svg.fonttype": "path"}):
        buffer = io.BytesIO()
        PICTURES[name]().savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def main(folder: Path = HERE / "pictures") -> None:
    """Write every picture."""
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        (folder / f"{name}.svg").write_bytes(svg(name))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
