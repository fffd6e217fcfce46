"""Everything a sweep leaves for the reader: CSV files, picture, HTML page and printed table."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.catalog import DATASETS
from ..events.event import NOT_COUNTED
from ..files.assets import ASSETS
from ..files.paths import inside, write_atomic
from ..prices.kinds import rule_texts
from ..prices.table import Interval, PriceRow, PriceTable
from ..runs.record import Record
from ..runs.sweep_config import SweepConfig
from .sweep_tables import (
    Summary,
    csv_text,
    front_of,
    rank_matrix,
    result_row,
    share,
    summarise,
    summary_row,
)
from .units import digits, energy_text, time_text, unit_of

GROUP_TEXTS = {
    "arithmetic": "arithmetic",
    "registers": "registers",
    "conversion": "conversion between formats",
    "vector": "vector unit",
    "buffer": "on-chip buffers",
    "wires": "wires",
    "dram": "DRAM",
}
OUTPUTS = ("results.csv", "summary.csv", "accuracy_energy.png", "report.html")


@dataclass(frozen=True, slots=True)
class Line:
    """One configuration as text: a row of the printed table and of the page."""

    label: str
    lns: bool
    accuracy: str
    seeds: str
    per_step: str
    on_chip: str
    per_epoch: str
    time: str  #: of a step, with its unit
    saturated: str
    underflowed: str
    overflowed: str
    seconds: str
    front: bool
    status: str  #: "" where every run ended well


def write_outputs(
    folder: Path, config: SweepConfig, records: Sequence[Record], prices: PriceTable | None = None
) -> list[Summary]:
    """Write results.csv, summary.csv, accuracy_energy.png and report.html; return the summaries.

    The tables are written first: whatever stops the picture, the figures are there. prices: what
    the records were priced with, for the page's table; None: the configuration's now.
    """
    summaries = summarise(records)
    table = config.runs()[0].resolve().prices if prices is None else prices
    results, summary, drawn, page = (inside(folder, name) for name in OUTPUTS)
    write_atomic(results, csv_text([result_row(record) for record in records]))
    write_atomic(summary, csv_text([summary_row(row) for row in summaries]))
    from .sweep_plot import accuracy_energy_png  # here: its import may be what fails

    picture = accuracy_energy_png(summaries, caption(config), table.node)
    write_atomic(drawn, picture)
    write_atomic(page, html(config, records, summaries, picture, table))
    return summaries


def caption(config: SweepConfig) -> str:
    """Return what was trained, in one line."""
    info = DATASETS[config.data]
    images = _images(config)[0]
    seeds = "seed 0" if config.seeds == 1 else f"seeds 0–{config.seeds - 1}"
    text = (
        f"{info.title} ({images} images), {config.model}, {config.epochs} epochs "
        f"of batches of {config.batch}, {seeds}, machine {config.machine}"
    )
    return text + (f", at most {config.max_steps} steps" if config.max_steps else "")


def _images(config: SweepConfig) -> tuple[int, int]:
    """Training and test images that are used."""
    info = DATASETS[config.data]
    return min(info.train, config.limit_train or info.train), min(
        info.test, config.limit_test or info.test
    )


def percent(part: int, whole: int) -> str:
    """Return a share as text that tells none from few."""
    value = share(part, whole)
    if value is None:
        return "–"
    if part == 0:
        return "0"
    return f"{value:.2f} %" if value >= 0.01 else "< 0.01 %"


def accuracy_text(summary: Summary) -> str:
    """Return mean and spread of the test accuracy in percent, or a dash."""
    if summary.accuracy_mean is None:
        return "–"
    if summary.accuracy_std is None:
        return f"{summary.accuracy_mean:.2f}"
    return f"{summary.accuracy_mean:.2f} ± {summary.accuracy_std:.2f}"


def units(summaries: Sequence[Summary]) -> dict[str, tuple[str, float]]:
    """Return (unit, unit per pJ) for a step and for an epoch, common to all configurations."""
    steps = [s.per_step.mid for s in summaries if s.per_step is not None]
    epochs = [s.per_epoch.mid for s in summaries if s.per_epoch is not None]
    return {
        "step": unit_of(max(steps, default=1.0)),
        "epoch": unit_of(max(epochs, default=1.0)),
    }


def lines(summaries: Sequence[Summary]) -> list[Line]:
    """Return the configurations as text, energies in the units of `units`."""
    front, scale = set(front_of(summaries)), units(summaries)

    def energy(value: Interval | None, name: str) -> str:
        return "–" if value is None else energy_text(value, scale[name][1])

    return [
        Line(
            label=row.label,
            lns=row.is_lns,
            accuracy=accuracy_text(row),
            seeds=f"{row.ok}" if row.ok == row.runs else f"{row.ok} of {row.runs}",
            per_step=energy(row.per_step, "step"),
            on_chip=energy(row.on_chip, "step"),
            per_epoch=energy(row.per_epoch, "epoch"),
            time="–" if row.step_seconds is None else time_text(row.step_seconds),
            saturated=percent(row.saturated, row.encoded),
            underflowed=percent(row.underflowed, row.encoded),
            overflowed=percent(row.overflowed, row.outputs),
            seconds=f"{row.seconds:.1f}",
            front=index in front,
            status=", ".join(f"{n} {name}" for name, n in row.statuses.items() if name != "ok"),
        )
        for index, row in enumerate(summaries)
    ]


def energy_shares(summary: Summary) -> list[dict[str, Any]]:
    """Return the groups of a configuration's mid energy per step, in percent of the total."""
    parts = {name: part.mid for name, part in summary.by_group.items()}
    whole = sum(parts.values())
    return [
        {"group": name, "percent": 100.0 * part / whole} for name, part in parts.items() if whole
    ]


def counter_rows(records: Sequence[Record], label: str) -> dict[str, list[dict[str, str]]]:
    """Return a configuration's conversions by layer and role and accumulators by layer and phase,
    added up over its seeds."""
    encodes: dict[tuple[str, str], list[int]] = {}
    sums: dict[tuple[str, str], list[int]] = {}
    for record in records:
        if record.label != label:
            continue
        for own in record.counts:
            values = (own.elements, own.saturated, own.underflowed)
            _add(encodes, (own.layer, own.role), values)
        for row in record.accumulators:
            _add(sums, (row.layer, row.phase), (row.outputs, row.overflowed))
    return {
        "encodes": [
            {
                "layer": layer,
                "role": role,
                "elements": f"{n:,}",
                "saturated": percent(up, n),
                "underflowed": percent(down, n),
            }
            for (layer, role), (n, up, down) in encodes.items()
        ],
        "accumulators": [
            {"layer": layer, "phase": phase, "outputs": f"{n:,}", "overflowed": percent(up, n)}
            for (layer, phase), (n, up) in sums.items()
        ],
    }


def _add(table: dict[tuple[str, str], list[int]], key: tuple[str, str], values: Any) -> None:
    row = table.setdefault(key, [0] * len(values))
    for i, value in enumerate(values):
        row[i] += value


def origin(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return versions, commits, threads and machines the records name, each value once."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.versions.items():
            found.setdefault(name, {})[version] = None
        for name, number in record.threads.items():
            found.setdefault(f"{name} threads per run", {})[str(number)] = None
        machine = record.machine
        if machine is not None:
            text = f"{machine.processor}, {machine.cores} cores, {machine.system}"
            found.setdefault("machine", {})[text] = None
        found.setdefault("commit", {})[record.commit or "not from a checkout"] = None
    return {name: list(values) for name, values in found.items()}


def _rows_used(summaries: Sequence[Summary], table: PriceTable) -> list[PriceRow]:
    """The rows that any configuration's energy rests on."""
    used = table.used({event for summary in summaries for event in summary.events})
    return [row for key, row in table.rows.items() if key in used]


def html(
    config: SweepConfig,
    records: Sequence[Record],
    summaries: Sequence[Summary],
    picture: bytes,
    table: PriceTable,
) -> str:
    """Return the page: one file, styles and picture inside, nothing fetched."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scale = units(summaries)
    return environment.get_template("report.html.j2").render(
        title=config.title,
        caption=caption(config),
        info=DATASETS[config.data],
        images=_images(config),
        rules_of_price=rule_texts(),
        lines=lines(summaries),
        units={name: unit for name, (unit, _) in scale.items()},
        picture=base64.b64encode(picture).decode(),
        signs=rank_matrix(summaries, table),
        rules=[(row.label, row.overflow_rule) for row in summaries if row.overflow_rule],
        groups=GROUP_TEXTS,
        shares=[(row.label, energy_shares(row)) for row in summaries],
        counters=[(row.label, counter_rows(records, row.label)) for row in summaries],
        prices=_rows_used(summaries, table),
        node=table.node,
        machine=config.machine,
        not_counted=NOT_COUNTED,
        origin=origin(records),
        seeds=config.seeds,
        problems=[record for record in records if record.status != "ok"],
        number=digits,
    )
