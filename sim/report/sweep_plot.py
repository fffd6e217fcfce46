"""Accuracy against energy as a picture: means, spreads, intervals and the Pareto front."""

from . import canvas  # noqa: F401

# isort: split

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.transforms import Bbox

from ..prices.interval import Interval
from .figure import (
    BLUE,
    GREEN,
    GREY,
    INDIGO,
    PINK,
    RED,
    SKY,
    STYLE,
    new_figure,
    picture,
    place_text,
    set_plain_ticks,
    write_caption,
)
from .sweep_tables import Summary, front_of
from .units import unit_of

LNS_LOOKS = ((BLUE, "o"), (SKY, "D"), (INDIGO, "v"))
BASE_LOOKS = ((RED, "s"), (GREEN, "^"), (PINK, "P"))
_ZOOM_RANGE = 15.0  # points of accuracy the picture shows at most below its best


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration in the picture."""

    label: str
    group: str  #: what it shares its colour with: LNS or not, and the optimiser
    energy: Interval  #: per step, in the picture's unit
    mean: float  #: percent
    std: float
    front: bool


def points_of(summaries: Sequence[Summary], factor: float) -> list[Point]:
    """Return the configurations that have an accuracy and an energy; `factor`: unit per pJ."""
    front = set(front_of(summaries))
    return [
        Point(
            label=summary.label.split(" · ")[0],
            group=f"{'LNS' if summary.is_lns else 'baselines'}, {summary.config['optimiser']}",
            energy=summary.per_step.scaled(factor),
            mean=summary.accuracy_mean,
            std=summary.accuracy_std or 0.0,
            front=index in front,
        )
        for index, summary in enumerate(summaries)
        if summary.per_step is not None and summary.accuracy_mean is not None
    ]


def accuracy_energy_png(
    summaries: Sequence[Summary], caption: str, node: str, dpi: int = 160
) -> bytes:
    """Return a PNG: test accuracy (mean, bars of one standard deviation over seeds) against
    energy per step (mid, bars from low to high, logarithmic), with the Pareto front.

    Configurations far below the rest are shown at the lower edge with their value; those without
    a run that ended well are named in the caption.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(9.6, 6.2)
        axes = figure.add_subplot()
        mids = [s.per_step.mid for s in summaries if s.per_step is not None]
        unit, factor = unit_of(max(mids, default=1.0))
        points = points_of(summaries, factor)
        if points:
            looks = _looks(points)
            _draw(axes, points, looks)
            axes.set_xlabel(f"energy per training step [{unit}], {node}; bar: low to high price")
            figure.canvas.draw()
            _label(axes, points, looks)
        else:
            axes.text(0.5, 0.5, "no run has finished", ha="center", transform=axes.transAxes)
        write_caption(figure, caption + _left_out(summaries))
        return picture(figure, dpi)


def _left_out(summaries: Sequence[Summary]) -> str:
    """What the caption says of configurations without a run that ended well."""
    names = [s.label.split(" · ")[0] for s in summaries if s.accuracy_mean is None]
    return f"\nnot shown, no run ended well: {', '.join(names)}" if names else ""


def _looks(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """Return (colour, marker) by group, in order of appearance; beyond three they repeat."""
    looks: dict[str, tuple[str, str]] = {}
    for lns, choices in ((True, LNS_LOOKS), (False, BASE_LOOKS)):
        names = dict.fromkeys(p.group for p in points if p.group.startswith("LNS") is lns)
        looks |= {name: choices[i % len(choices)] for i, name in enumerate(names)}
    return looks


def _floor(points: Sequence[Point]) -> float:
    """The lowest accuracy shown: everything, unless some fall far below the best."""
    best = max(point.mean for point in points)
    inside = [p.mean - p.std for p in points if p.mean >= best - _ZOOM_RANGE]
    lowest = min(inside)
    return lowest - max(0.08 * (best - lowest), 0.15)


def _draw(axes: Any, points: Sequence[Point], looks: dict[str, tuple[str, str]]) -> None:
    floor = _floor(points)
    for name, (colour, marker) in looks.items():
        group = [point for point in points if point.group == name]
        _draw_group(axes, group, floor, colour, marker, name)
    front = sorted((p for p in points if p.front), key=lambda p: p.energy.mid)
    xs, ys = [p.energy.mid for p in front], [max(p.mean, floor) for p in front]
    label = "Pareto front of the means"
    axes.plot(xs, ys, color=GREY, lw=1.4, ls="--", zorder=1, label=label)
    top = max(p.mean + p.std for p in points)
    pad = max(0.08 * (top - floor), 0.15)
    axes.set_ylim(floor - (pad if any(p.mean < floor for p in points) else 0), top + pad)
    axes.set_xscale("log")
    _set_limits(axes, points)
    axes.set_ylabel("test accuracy [%]; bar: ± one standard deviation over seeds")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="#dddddd")


def _set_limits(axes: Any, points: Sequence[Point]) -> None:
    """x limits with a margin, and plain numbers at the ticks."""
    low, high = min(p.energy.low for p in points), max(p.energy.high for p in points)
    margin = max(0.06 * math.log(high / low), 0.1)
    axes.set_xlim(low * math.exp(-margin), high * math.exp(margin))
    set_plain_ticks(axes, "x", low * math.exp(-margin), high * math.exp(margin))


def _draw_group(
    axes: Any, group: list[Point], floor: float, colour: str, marker: str, name: str
) -> None:
    """Points of one colour; one below `floor` stands at the lower edge as an open triangle."""
    shown = [p for p in group if p.mean >= floor]
    below = [p for p in group if p.mean < floor]
    if shown:
        axes.errorbar(
            [p.energy.mid for p in shown],
            [p.mean for p in shown],
            xerr=_bars(shown),
            yerr=[p.std for p in shown],
            fmt=marker,
            ms=7,
            color=colour,
            ecolor=mpl.colors.to_rgba(colour, 0.45),
            elinewidth=1.3,
            capsize=3,
            mec="white",
            mew=0.8,
            label=name,
            zorder=3,
        )
    if below:
        xs = [p.energy.mid for p in below]
        axes.plot(xs, [floor] * len(xs), "v", ms=8, mfc="white", mec=colour, zorder=3)


def _bars(points: list[Point]) -> list[list[float]]:
    return [
        [p.energy.mid - p.energy.low for p in points],
        [p.energy.high - p.energy.mid for p in points],
    ]


def _label(axes: Any, points: Sequence[Point], looks: dict[str, tuple[str, str]]) -> None:
    """Write each point's name at the nearest free place around it, with a thin line to it."""
    floor = _floor(points)
    spots = [(p.energy.mid, max(p.mean, floor)) for p in points]
    pixels = [axes.transData.transform(spot) for spot in spots]
    taken = [Bbox.from_extents(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    taken += [_pixels(axes, box) for p in points for box in _bar_boxes(p)]
    taken.append(axes.get_legend().get_window_extent())
    order = sorted(range(len(points)), key=lambda i: pixels[i][0])
    for point, spot in ((points[i], spots[i]) for i in order):
        text = point.label if point.mean >= floor else f"{point.label}: {point.mean:.1f} %"
        place_text(
            axes, text, spot, taken, {"color": "#aaaaaa", "shrinkB": 5},
            fontsize=9.5, color=looks[point.group][0], zorder=4,
        )  # fmt: skip


def _bar_boxes(p: Point) -> Iterator[tuple[float, float, float, float]]:
    """Data extents of a point's two bars."""
    yield p.energy.mid, p.mean - p.std, p.energy.mid, p.mean + p.std
    yield p.energy.low, p.mean, p.energy.high, p.mean


def _pixels(axes: Any, box: tuple[float, float, float, float]) -> Bbox:
    (x0, y0), (x1, y1) = axes.transData.transform([box[:2], box[2:]])
    return Bbox.from_extents(x0 - 3, y0 - 3, x1 + 3, y1 + 3)
