"""Step costs as pictures: energy by component and by phase, and the roofline of a machine.

The same input gives the same bytes.
"""

from . import canvas  # noqa: F401

# isort: split

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ..cost.energy import StepEnergy
from ..cost.mac_source import get_mac_source
from ..cost.step import BUFFERS, LayerCost, Part, StepCost
from ..machine.machine import Machine
from ..prices.interval import Interval
from ..workload.workload import GEMM_PHASES, PHASES, Gemm
from .figure import (
    BLUE,
    GREEN,
    GREY,
    INDIGO,
    INK,
    ORANGE,
    PINK,
    RED,
    SAND,
    SKY,
    STYLE,
    YELLOW,
    Spot,
    new_figure,
    picture,
    place_text,
    write_caption,
)
from .units import digits, unit_of

_COMPONENTS = {
    "array": BLUE, "conversion": ORANGE, "vector unit": GREEN,
    "on-chip buffers": SKY, "wires": YELLOW, "DRAM": GREY,
}  # fmt: skip
_GROUPS = {f"{name} buffer": "on-chip buffers" for name in BUFFERS} | {"dram": "DRAM"}
_PHASES = dict(zip(PHASES, (INDIGO, PINK, RED, SAND), strict=True))
_MARKERS = dict(zip(GEMM_PHASES, ("o", "^", "s"), strict=True))
_RECIPES = (BLUE, RED, GREEN, PINK, ORANGE, SKY, INDIGO, "#666666")
# no mathematics: a file's name may hold a $
_STYLE: Any = {**STYLE, "text.parse_math": False, "legend.frameon": False, "errorbar.capsize": 3}
_MARK: Any = {"ls": "", "ms": 7, "mec": "white", "mew": 0.7}
_ANNOTATED, _NEAR_ROOF = 5, 0.9  # at most so many GEMMs, and only below this share of the roof


@dataclass(frozen=True, slots=True)
class Point:
    """A GEMM in the roofline; layers with the same one share it."""

    layer: LayerCost
    alike: int  #: other layers with the same GEMM
    colour: str
    spot: Spot  #: multiply-accumulates per byte of DRAM traffic, 10^9 of them per second
    share: float  #: of the roof at this intensity, 0..1


def losses(layer: LayerCost) -> dict[str, float]:
    """Return what is left of the array's peak at each step, 0..1; the product is `utilisation`.

    "mapping": processing elements in use; "fill and drain": filling, loading and draining folds,
    and lanes that the last step along K leaves idle; "memory": waiting for DRAM and buffers.
    """
    array = layer.array
    peak = array.rows * array.cols * array.lanes * array.elapsed_cycles
    return {
        "mapping": array.mapping_efficiency,
        "fill and drain": array.macs / (peak * array.mapping_efficiency),
        "memory": layer.elapsed_cycles / layer.limited_cycles,
    }


def largest_loss(layer: LayerCost) -> tuple[str, float]:
    """Return the name and factor of the largest of `losses`; "idle lanes", those the last step
    along K leaves without a product, stand apart.
    """
    left, array = losses(layer), layer.array
    left["idle lanes"] = array.K / (-(-array.K // array.lanes) * array.lanes)
    left["fill and drain"] /= left["idle lanes"]
    return min(left.items(), key=lambda item: item[1])


def energy_png(energies: Sequence[StepEnergy], dpi: int = 160) -> bytes:
    """Return a PNG: steps' energies, a bar each, split by component and by phase.

    Parts are at mid prices; a line from low to high is the interval of the total. Raises
    ValueError for no energies.
    """
    labels, subject = _names([energy.cost for energy in energies])
    unit, factor = unit_of(max(energy.total.mid for energy in energies))
    totals = [energy.total.scaled(factor) for energy in energies]
    mids = [{part: pj.mid * factor for part, pj in energy.parts.items()} for energy in energies]
    end = 1.2 * max(total.high for total in totals) or 1.0
    with mpl.rc_context(_STYLE):
        figure = _figure(11.0, 2.1 + 0.46 * len(energies), f"{subject}; {_prices(energies)}")
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        _stack(left, mids, _COMPONENTS, 1)
        _stack(right, mids, _PHASES, 0)
        _write_totals(left, totals, unit)
        left.set(xlim=(0, end), ylim=(len(energies) - 0.45, -0.55))
        left.set_yticks(range(len(energies)), labels)
        for axes, title in ((left, "by component"), (right, "by phase")):
            axes.get_legend().set_title(title)
            axes.set_xlabel(f"energy per training step [{unit}]")
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        return picture(figure, dpi)


def _stack(axes: Any, bars: Sequence[dict[Part, float]], colours: dict[str, str], at: int) -> None:
    """Draw each mapping as a horizontal bar, the first at the top; at: 0 by phase, 1 component."""
    starts = [0.0] * len(bars)
    for name, colour in colours.items():
        widths = [
            sum(v for k, v in bar.items() if _GROUPS.get(k[at], k[at]) == name) for bar in bars
        ]
        if any(widths):
            axes.barh(range(len(bars)), widths, 0.62, left=starts, color=colour, label=name)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    corner, columns = (-0.01, 1.0), len(colours) // 2
    axes.legend(alignment="left", loc="lower left", bbox_to_anchor=corner, ncols=columns)


def _write_totals(axes: Any, totals: Sequence[Interval], unit: str) -> None:
    """Draw each total's interval and write its mid value behind it."""
    for row, t in enumerate(totals):
        span = [[t.mid - t.low], [t.high - t.mid]]
        axes.errorbar(t.mid, row, xerr=span, fmt="none", ecolor="#222222", elinewidth=1.0)
        _write(axes, f"{digits(t.mid)} {unit}", (t.high, row), (6, 0), va="center")


def _write(axes: Any, text: str, spot: Spot, offset: Spot, **style: Any) -> Any:
    """Write a text so many points off a place in the data's coordinates, and return it."""
    return axes.annotate(text, spot, xytext=offset, textcoords="offset points", **style)


def roofline_png(costs: Sequence[StepCost], dpi: int = 160) -> bytes:
    """Return a PNG: reached rate of each GEMM against its intensity, below the machine's roof.

    GEMMs without DRAM traffic have no intensity and are counted in the caption. Raises ValueError
    for no costs, or costs of several machines.
    """
    (labels, subject), machine = _names(costs), costs[0].machine
    if len({cost.machine for cost in costs}) > 1:
        raise ValueError(f"costs must be of one machine, got several: {subject}")
    colours = [_RECIPES[i % len(_RECIPES)] for i in range(len(costs))]
    points = [p for cost, colour in zip(costs, colours, strict=True) for p in _points(cost, colour)]
    absent = sum(not layer.dram_bits for cost in costs for layer in cost.layers)
    caption = f"{subject}; ×: what the largest loss leaves of the peak; rings: recipes coincide"
    caption += f"; without DRAM traffic and not shown: {absent} GEMMs" if absent else ""
    with mpl.rc_context(_STYLE):
        figure = _figure(9.6, 6.0, caption)
        axes = figure.add_subplot()
        _set_scales(axes, machine, points)
        _draw_points(axes, points)
        looks = [(label, colour, "o") for label, colour in zip(labels, colours, strict=True)]
        looks += [(phase, INK, marker) for phase, marker in _MARKERS.items()]
        handles = [Line2D([], [], color=c, marker=m, label=n, **_MARK) for n, c, m in looks]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)
        axes.set(xlabel="multiply-accumulates per byte of DRAM traffic", ylabel="rate [GMAC/s]")
        figure.draw_without_rendering()  # texts are placed by the layout
        _annotate(axes, points, roof=_draw_roof(axes, machine))
        return picture(figure, dpi)


def _points(cost: StepCost, colour: str) -> Iterator[Point]:
    """Yield a point for each different GEMM that has DRAM traffic, in order of appearance."""
    found: dict[Gemm, list[LayerCost]] = {}
    for layer in cost.layers:
        if layer.dram_bits:
            found.setdefault(replace(layer.gemm, layer=""), []).append(layer)
    for layer, *others in found.values():
        intensity = 8 * layer.gemm.macs / layer.dram_bits
        rate = layer.gemm.macs / layer.limited_cycles * cost.machine.clock_ghz
        share = rate / _roof(cost.machine, intensity)
        yield Point(layer, len(others), colour, (intensity, rate), share)


def _draw_points(axes: Any, points: Sequence[Point]) -> None:
    """Draw a marker per point; where recipes coincide, the earlier ones show as rings."""
    for i, p in enumerate(points):
        n = len({q.colour for q in points[i + 1 :] if _coincide(p, q)} - {p.colour})
        mark = {**_MARK, "ms": 7 + 3.5 * n, "zorder": 3 - 0.1 * n, "color": p.colour}
        axes.plot(*p.spot, marker=_MARKERS[p.layer.gemm.phase], **mark)


def _coincide(p: Point, q: Point) -> bool:
    """Whether two points are of one phase and one place, within 3 %."""
    near = all(abs(math.log(a / b)) < 0.03 for a, b in zip(p.spot, q.spot, strict=True))
    return near and p.layer.gemm.phase == q.layer.gemm.phase


def _roof(machine: Machine, intensity: float = math.inf) -> float:
    """Return the highest rate at an intensity; by default the peak."""
    return min(machine.macs_per_cycle * machine.clock_ghz, machine.dram.gbytes_per_s * intensity)


def _set_scales(axes: Any, machine: Machine, points: Sequence[Point]) -> None:
    """Limits around the points and, unless it is far off, the ridge; plain numbers at ticks."""
    ridge = _roof(machine) / machine.dram.gbytes_per_s
    xs = [p.spot[0] for p in points] or [ridge / 10, ridge * 10]
    if min(xs) / 30 < ridge < max(xs) * 30:
        xs += [ridge / 2, ridge * 2]
    top = _roof(machine, max(xs))
    ys = [*(p.spot[1] for p in points), top / 10, top]
    for axis, low, high in (("x", min(xs) / 1.6, max(xs) * 1.6), ("y", min(ys) / 2, top * 2)):
        axes.set(**{f"{axis}scale": "log", f"{axis}lim": (low, high)})
        getattr(axes, f"set_{axis}ticks")(*_ticks(low, high))
    axes.minorticks_off()


def _ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return round numbers in low..high and their texts: 1, 2, 5 of each decade, or fewer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 20_000 * low else (1,)
    ticks = [float(f"{step}e{n}") for n in decades[:: 1 + len(decades) // 8] for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks, [f"{tick:,.12g}" for tick in ticks]


def _draw_roof(axes: Any, machine: Machine) -> list[Spot]:
    """Draw the roof with the numbers of its parts; return points of it."""
    low, high = axes.get_xlim()
    peak, bandwidth = _roof(machine), machine.dram.gbytes_per_s
    ridge = min(max(peak / bandwidth, low), high)
    xs = sorted([ridge, *(low * (high / low) ** (i / 99) for i in range(100))])
    line = [(x, _roof(machine, x)) for x in xs]
    axes.plot(*zip(*line, strict=True), color="#222222", lw=1.6, zorder=1)
    style: Any = {"color": INK, "va": "bottom"}
    if ridge < high:
        _write(axes, f"peak {peak:,.6g} GMAC/s", line[-1], (-4, 6), ha="right", **style)
    if math.log(ridge / low) > 0.1 * math.log(high / low):
        middle = math.sqrt(low * ridge)
        right, up = axes.transData.transform(line[1]) - axes.transData.transform(line[0])
        style |= {"rotation": math.degrees(math.atan2(up, right)), "rotation_mode": "anchor"}
        spot = middle, bandwidth * middle
        _write(axes, f"DRAM {bandwidth:,.6g} GB/s", spot, (-5, 5), ha="center", **style)
    return line


def _annotate(axes: Any, points: Sequence[Point], roof: list[Spot]) -> None:
    """Name the different GEMMs farthest below the roof and their largest loss, at free places."""
    worst: dict[Gemm, Point] = {}
    for p in sorted(points, key=lambda p: p.share):
        if p.share < _NEAR_ROOF:
            worst.setdefault(replace(p.layer.gemm, layer=""), p)
    pixels = axes.transData.transform([*roof, *(p.spot for p in points)])
    taken = [Bbox.from_extents(x - 7, y - 7, x + 7, y + 7) for x, y in pixels]
    for p in list(worst.values())[:_ANNOTATED]:
        name, factor = largest_loss(p.layer)
        alike = f" and {p.alike} alike" if p.alike else ""
        text = f"{p.layer.gemm.layer}{alike}, {p.layer.gemm.phase}\n{name} ×{factor:.2g}"
        place_text(axes, text, p.spot, taken, {"color": "#888888", "shrinkB": 4}, fontsize=8.5)


def _names(costs: Sequence[StepCost]) -> tuple[list[str], str]:
    """Return the costs' labels and "workload on machine"; no costs raise ValueError."""
    if not costs:
        raise ValueError("costs must not be empty, got none")
    names = [(c.recipe.name, c.workload.name, c.machine.name, c.mac_prices) for c in costs]
    told = [0] + [i for i in (1, 2, 3) if len({name[i] for name in names}) > 1]
    workloads, machines = (", ".join(dict.fromkeys(name[i] for name in names)) for i in (1, 2))
    return [" · ".join(name[i] for i in told) for name in names], f"{workloads} on {machines}"


def _prices(energies: Sequence[StepEnergy]) -> str:
    """What the caption says of the prices."""
    text = f"prices of {', '.join(dict.fromkeys(energy.prices.node for energy in energies))}"
    for name in dict.fromkeys(energy.cost.mac_prices for energy in energies):
        if get_mac_source(name).covers_buffers:
            rows = [row for energy in energies for row in energy.prices.rows.values()]
            nodes = sorted({row.node for row in rows if row.kind == "mac"})
            text += f"; array: whole-PE constants, unconfirmed, {', '.join(nodes)} ({name})"
        elif name != "components":
            text += f"; array: {name}"
    return f"{text}; parts at mid prices, line: total with all prices low to all prices high"


def _figure(width: float, height: float, caption: str) -> Figure:
    """Return an empty figure of so many inches with its caption, in lines, below."""
    figure = new_figure(width, height)
    write_caption(figure, textwrap.fill(caption, int(15 * width)))
    return figure
