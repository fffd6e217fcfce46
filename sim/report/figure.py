"""What all pictures share: style and colours, ticks, texts at free places, and files' bytes.

The same input gives the same bytes.
"""

from . import canvas  # noqa: F401

# isort: split

import io
import math
from collections.abc import Iterator
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

Spot = tuple[float, float]
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "svg.hashsalt": "lnsim",
}
# Okabe and Ito 2008: colours told apart by colour-blind eyes
BLUE, SKY, RED, GREEN = "#0072b2", "#56b4e9", "#d55e00", "#009e73"
PINK, ORANGE, YELLOW = "#cc79a7", "#e69f00", "#f0e442"
INDIGO, SAND = "#332288", "#ddcc77"  # Paul Tol's
GREY, INK = "#999999", "#555555"  # of lines, of texts beside the data
#: what can be written, with the metadata left out that changes with time and version
KINDS: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_DIRECTIONS = 24  # places tried around a point, per distance
_DISTANCES = (13, 22, 34, 48, 66, 88)  # of a text from its point, in points of 1/72 inch


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_caption(figure: Figure, text: str) -> None:
    """Write a text below the figure."""
    figure.supxlabel(text, fontsize=8.5, color=INK)


def picture(figure: Figure, dpi: int, kind: str = "png") -> bytes:
    """Return the figure as a file of one of KINDS."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=KINDS[kind])
    return buffer.getvalue()


def set_plain_ticks(axes: Any, axis: str, low: float, high: float) -> None:
    """Set round numbers of low..high as the ticks of the axis "x" or "y", written out."""
    ticks = _round_numbers(low, high)
    set_ticks = getattr(axes, f"set_{axis}ticks")
    set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    set_ticks([], minor=True)


def _round_numbers(low: float, high: float) -> list[float]:
    """Round numbers in low..high, finer where a coarse choice gives fewer than four."""
    ticks: list[float] = []
    for steps in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)):
        numbers = (step * 10.0**power for power in range(-6, 10) for step in steps)
        ticks = [round(t, 9) for t in numbers if low <= t <= high]
        if len(ticks) >= 4:
            break
    return ticks


def place_text(
    axes: Any, text: str, spot: Spot, taken: list[Bbox], arrow: dict[str, Any], **style: Any
) -> None:
    """Write a text at the nearest free place around a spot of the data, with a thin line to it.

    taken: boxes in pixels that the text must not lie on; its own joins them.
    """
    note = axes.annotate(
        text,
        spot,
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "-", "lw": 0.7, **arrow},
        path_effects=[withStroke(linewidth=3, foreground="white")],
        **style,
    )
    size, pixel = note.get_window_extent(), axes.transData.transform(spot)
    offset, box = free_place(axes, pixel, size.width, size.height, taken, axes.figure.dpi / 72)
    note.set_position(offset)
    taken.append(box)


def free_place(
    axes: Any,
    spot: Spot,
    width: float,
    height: float,
    taken: list[Bbox],
    scale: float,
) -> tuple[Spot, Bbox]:
    """Return the nearest offset (points) at which a text box overlaps nothing, and that box.

    Where every place is taken, the one that overlaps least.
    """
    frame = axes.get_window_extent()
    best: tuple[float, Spot, Bbox] | None = None
    for dx, dy in _offsets(width / scale, height / scale):
        x, y = spot[0] + dx * scale, spot[1] + dy * scale
        box = Bbox.from_extents(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        cost = sum(_overlap(box, other) for other in taken)
        cost += box.width * box.height - _overlap(box, frame)
        if cost <= 1e-6:
            return (dx, dy), box
        if best is None or cost < best[0]:
            best = cost, (dx, dy), box
    assert best is not None
    return best[1], best[2]


def _offsets(width: float, height: float) -> Iterator[Spot]:
    """Places around a point, nearest first: the box's edge stands at the distance."""
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = math.pi / 2 + 2 * math.pi * step / _DIRECTIONS
            c, s = math.cos(angle), math.sin(angle)
            yield (distance + width / 2) * c, (distance + height / 2 - 6) * s


def _overlap(a: Bbox, b: Bbox) -> float:
    """Area common to two boxes."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, width) * max(0.0, height)
