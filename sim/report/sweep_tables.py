"""results.csv and summary.csv, a row a run and a row a configuration: functions of records."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean, stdev
from typing import Any

from ..events.event import Event
from ..prices.table import GROUPS, ZERO, Interval, PriceTable, rank_events
from ..runs.record import Record

RANK_SIGNS = {"lower": "<", "higher": ">", "cannot be ranked": "?"}


@dataclass(frozen=True, slots=True)
class Summary:
    """The runs of one configuration, seeds aside."""

    label: str
    config: dict[str, Any]  #: the fields but seed
    runs: int
    ok: int  #: runs that ended well; the means are over these
    statuses: dict[str, int]
    accuracy_mean: float | None  #: percent; None where no run ended well
    accuracy_std: float | None  #: sample standard deviation over seeds; None below two runs
    per_step: Interval | None  #: pJ
    per_epoch: Interval | None  #: pJ
    step_seconds: tuple[float, float] | None  #: vector unit beside the array, and after it
    by_group: dict[str, Interval]  #: pJ per step, over energy.GROUPS; empty without energy
    encoded: int  #: elements converted over the runs
    saturated: int
    underflowed: int
    outputs: int  #: accumulator results over the runs
    overflowed: int
    seconds: float  #: mean per run
    overflow_rule: str
    events: dict[Event, Fraction]  #: per step

    @property
    def is_lns(self) -> bool:
        """Whether it runs on the logarithmic datapath."""
        return bool(self.config["format"] == "lns")

    @property
    def on_chip(self) -> Interval | None:
        """Energy per step without DRAM, in pJ."""
        parts = [part for group, part in self.by_group.items() if group != "dram"]
        return sum(parts, ZERO) if parts else None


def counted(record: Record) -> dict[str, int]:
    """Return the totals of a run's conversions and accumulators; zeros where it has none."""
    return {
        "encoded": sum(row.elements for row in record.counts),
        "saturated": sum(row.saturated for row in record.counts),
        "underflowed": sum(row.underflowed for row in record.counts),
        "accumulator_outputs": sum(row.outputs for row in record.accumulators),
        "accumulator_overflowed": sum(row.overflowed for row in record.accumulators),
    }


def result_row(record: Record) -> dict[str, Any]:
    """Return a run's row of results.csv: its configuration, outcome, energy, counts, origin."""
    row: dict[str, Any] = {"id": record.id, "label": record.label, **record.config}
    row |= {name: getattr(record, name) for name in ("status", "reason", "test_accuracy")}
    energy = record.energy
    for name in ("per_step", "per_epoch"):
        for end in ("low", "mid", "high"):
            whole = energy and getattr(energy, f"{name}_pj")
            row[f"energy_{name}_{end}_pj"] = whole and getattr(whole, end)
    for group, part in energy.by_group.items() if energy else ():
        row |= part.columns(f"energy_per_step_{group}_")
    row |= counted(record)
    names = ("overflow_rule", "node", "steps", "steps_per_epoch", "seconds", "time", "commit")
    row |= {name: None if record.failed else getattr(record, name) for name in names}
    row |= {f"threads_{key}": value for key, value in record.threads.items()}
    row |= {f"versions_{key}": value for key, value in record.versions.items()}
    return row


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; columns in order of appearance, an absent value or None is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def summarise(records: Iterable[Record]) -> list[Summary]:
    """Return one Summary a configuration, in the order its first run appears."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        config = {key: value for key, value in record.config.items() if key != "seed"}
        groups.setdefault(repr(sorted(config.items())), []).append(record)
    return [_summary(group) for group in groups.values()]


def _summary(group: list[Record]) -> Summary:
    good = [record for record in group if record.status == "ok"]
    accuracy = [record.test_accuracy for record in good if record.test_accuracy is not None]
    totals = [counted(record) for record in group]
    statuses = [record.status for record in group]
    energies = [record.energy for record in good if record.energy is not None]
    return Summary(
        label=group[0].label,
        config={key: value for key, value in group[0].config.items() if key != "seed"},
        runs=len(group),
        ok=len(good),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        accuracy_mean=fmean(accuracy) if accuracy else None,
        accuracy_std=stdev(accuracy) if len(accuracy) > 1 else None,
        per_step=_mean([energy.per_step_pj for energy in energies]),
        per_epoch=_mean([energy.per_epoch_pj for energy in energies]),
        step_seconds=next((record.step.seconds for record in good if record.step), None),
        by_group={
            group: mean
            for group in GROUPS
            if (mean := _mean([energy.by_group[group] for energy in energies])) is not None
        },
        encoded=sum(row["encoded"] for row in totals),
        saturated=sum(row["saturated"] for row in totals),
        underflowed=sum(row["underflowed"] for row in totals),
        outputs=sum(row["accumulator_outputs"] for row in totals),
        overflowed=sum(row["accumulator_overflowed"] for row in totals),
        seconds=fmean(record.seconds for record in group),
        overflow_rule=next((r.overflow_rule for r in group if r.overflow_rule), ""),
        events=_events(good),
    )


def _mean(parts: list[Interval]) -> Interval | None:
    return sum(parts, ZERO).scaled(1 / len(parts)) if parts else None


def _events(records: list[Record]) -> dict[Event, Fraction]:
    """Events per step, over all steps of the runs, every phase together."""
    steps = sum(record.steps for record in records)
    total: dict[Event, Fraction] = {}
    for record in records:
        for events in record.events.values():
            for event, count in events.items():
                total[event] = total.get(event, Fraction(0)) + Fraction(count, steps)
    return total


def share(part: int, whole: int) -> float | None:
    """Return `part` of `whole` in percent; None of nothing."""
    return 100.0 * part / whole if whole else None


def summary_row(summary: Summary) -> dict[str, Any]:
    """Return a configuration's row of summary.csv."""
    row: dict[str, Any] = {"label": summary.label, **summary.config}
    row |= {"n": summary.runs, "n_ok": summary.ok}
    row |= {"accuracy_mean": summary.accuracy_mean, "accuracy_std": summary.accuracy_std}
    for name, energy in (("per_step", summary.per_step), ("per_epoch", summary.per_epoch)):
        for end in ("low", "mid", "high"):
            row[f"energy_{name}_{end}_pj"] = energy and getattr(energy, end)
    for group, part in summary.by_group.items():
        row |= part.columns(f"energy_per_step_{group}_")
    for name, at in (("overlapped", 0), ("sequential", 1)):
        row[f"step_{name}_s"] = summary.step_seconds and summary.step_seconds[at]
    row["saturated_percent"] = share(summary.saturated, summary.encoded)
    row["underflowed_percent"] = share(summary.underflowed, summary.encoded)
    row["accumulator_overflow_percent"] = share(summary.overflowed, summary.outputs)
    row["seconds_mean"] = summary.seconds
    row["overflow_rule"] = summary.overflow_rule
    return row


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (energy, accuracy) points no other point beats, by energy.

    A point is beaten by one that costs no more and is no less accurate, and better in one of them.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    best = -math.inf
    for i in order:
        accuracy = points[i][1]
        twin = bool(front) and points[front[-1]] == points[i]
        if accuracy > best or twin:
            front.append(i)
            best = accuracy
    return front


def front_of(summaries: Sequence[Summary]) -> list[int]:
    """Return the indices of the configurations on the Pareto front, by mid energy per step."""
    placed = [
        (index, (summary.per_step.mid, summary.accuracy_mean))
        for index, summary in enumerate(summaries)
        if summary.per_step is not None and summary.accuracy_mean is not None
    ]
    return [placed[i][0] for i in pareto([point for _, point in placed])]


def rank_matrix(summaries: Sequence[Summary], table: PriceTable) -> list[list[str]]:
    """Return for each pair how the row's energy per step compares with the column's.

    "<", ">" or "?" (the interval of the difference includes zero), " " on the diagonal and where
    one has no energy. A price that both use is taken as one number on both sides.
    """
    return [
        [_sign(a, b, table) if i != j else " " for j, b in enumerate(summaries)]
        for i, a in enumerate(summaries)
    ]


def _sign(a: Summary, b: Summary, table: PriceTable) -> str:
    if not a.events or not b.events:
        return " "
    return RANK_SIGNS[rank_events(_floats(a), _floats(b), table)]


def _floats(summary: Summary) -> dict[Event, float]:
    return {event: float(count) for event, count in summary.events.items()}
