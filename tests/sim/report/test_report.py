"""What a sweep leaves for the reader: its files parse, agree with the records and fetch nothing."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from lnsim.sim.cli.main import main
from lnsim.sim.events.event import Event
from lnsim.sim.prices.table import GROUPS, Interval, PriceTable
from lnsim.sim.report.page import OUTPUTS, caption, lines, percent, write_outputs
from lnsim.sim.report.sweep_plot import accuracy_energy_png, points_of
from lnsim.sim.report.sweep_tables import (
    csv_text,
    front_of,
    pareto,
    rank_matrix,
    result_row,
    summarise,
)
from lnsim.sim.report.units import digits, energy_text, unit_of
from lnsim.sim.runs.record import Record, failed_record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.store import read_record
from lnsim.sim.runs.sweep_config import SweepConfig, load_sweep
from PIL import Image

FLAGS = [
    *("--exponent-bits", "4,5", "--formats", "fp8,fp32", "--baseline-lr", "1e-3", "--seeds", "2"),
    *("--epochs", "1", "--batch", "16", "--limit-train", "64", "--limit-test", "50"),
    *("--workers", "1"),
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sweep done by the command."""
    folder = tmp_path_factory.mktemp("report")
    assert main(["sweep", *FLAGS, "--out", str(folder)]) == 0
    return folder


def records_of(folder: Path) -> list[Record]:
    """The records of a sweep, in its order."""
    config = load_sweep(folder / "sweep.yaml", {})
    names = [folder / "runs" / f"{run.run_id}.json" for run in config.runs()]
    return [read_record(path) for path in names]


class Page(HTMLParser):
    """A page's text, and every address it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "action", "data", "srcset", "poster")
        self.addresses += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_the_files_are_there(swept: Path) -> None:
    """The four outputs, the sweep and its runs, and nothing half written."""
    names = {path.name for path in swept.iterdir()}
    assert names == {*OUTPUTS, "runs", "sweep.yaml"}
    assert len(list((swept / "runs").iterdir())) == 8


def test_results_csv_has_a_row_a_run_and_every_field(swept: Path) -> None:
    """The configuration can be read back from a row; numbers are those of the record."""
    rows = list(csv.DictReader(io.StringIO((swept / "results.csv").read_text())))
    records = records_of(swept)
    assert len(rows) == len(records) == 8
    for row, record in zip(rows, records, strict=True):
        for name, value in record.config.items():
            assert row[name] == ("" if value is None else str(value))
        assert float(row["test_accuracy"]) == record.test_accuracy
        for end in ("low", "mid", "high"):
            priced = getattr(record.energy.per_epoch_pj, end)  # type: ignore[union-attr]
            assert float(row[f"energy_per_epoch_{end}_pj"]) == priced
        assert int(row["encoded"]) == sum(count.elements for count in record.counts)
        assert row["overflow_rule"] == record.overflow_rule
        assert row["versions_torch"] == record.versions["torch"]


def test_summary_csv_has_mean_std_and_n(swept: Path) -> None:
    """Over the seeds of a configuration, in the sweep's order."""
    rows = list(csv.DictReader(io.StringIO((swept / "summary.csv").read_text())))
    records = records_of(swept)
    assert [row["label"] for row in rows] == [record.label for record in records[:4]]
    assert "seed" not in rows[0]
    for index, row in enumerate(rows):
        accuracy = [
            r.test_accuracy for r in (records[index], records[index + 4]) if r.test_accuracy
        ]
        assert float(row["accuracy_mean"]) == pytest.approx(mean(accuracy), abs=1e-12)
        assert float(row["accuracy_std"]) == pytest.approx(stdev(accuracy), abs=1e-12)
        assert (row["n"], row["n_ok"]) == ("2", "2")


def test_the_groups_add_up_to_the_step(swept: Path) -> None:
    """On chip and DRAM are the whole energy, at mid prices."""
    for summary in summarise(records_of(swept)):
        assert summary.per_step is not None
        assert summary.on_chip is not None
        whole = summary.on_chip.mid + summary.by_group["dram"].mid
        assert whole == pytest.approx(summary.per_step.mid, rel=1e-12)


def test_the_page_is_self_contained_and_complete(swept: Path) -> None:
    """No address but the embedded picture; every configuration, price, rule and version in it."""
    page = read_page(swept / "report.html")
    assert [address[:22] for address in page.addresses] == ["data:image/png;base64,"]
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    source = (swept / "report.html").read_text()
    assert "url(" not in source
    assert "@import" not in source
    text = " ".join("".join(page.text).split())
    for record in records_of(swept):
        assert record.label in text
        assert record.overflow_rule in text
        assert record.versions["numba"] in text
    table = PriceTable.default()
    rows = {
        key
        for record in records_of(swept)
        for events in record.events.values()
        for event in events
        for key in table.weights(event)
    }
    assert len(rows) > 15
    for key in rows:
        assert table.rows[key].source in text
    assert "cannot be ranked" in text
    assert "Not counted" in text


def test_the_picture_is_a_picture(swept: Path) -> None:
    """A PNG with colour in it, large enough to read."""
    image = Image.open(swept / "accuracy_energy.png")
    assert image.format == "PNG"
    assert min(image.size) >= 800
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_the_same_records_give_the_same_bytes(swept: Path, tmp_path: Path) -> None:
    """Tables, page and picture are functions of the records."""
    config = load_sweep(swept / "sweep.yaml", {})
    write_outputs(tmp_path, config, records_of(swept))
    for name in OUTPUTS:
        assert (tmp_path / name).read_bytes() == (swept / name).read_bytes()


def test_the_printed_table_has_a_row_a_configuration(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call does nothing but print it again, plainly, since stdout is no terminal."""
    assert main(["sweep", *FLAGS, "--out", str(swept)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for line in lines(summarise(records_of(swept))):
        (row,) = [text for text in out.splitlines() if text.strip().startswith(line.label)]
        assert line.accuracy in row
        assert line.per_step in row
    assert str(swept / "report.html") in out


def record_of(
    fields: dict[str, Any], accuracy: float | None, mid: float = 1e6, status: str = "ok"
) -> Record:
    """A record as a run leaves it, with made-up numbers."""
    config = RunConfig(**fields)
    group = {"low": mid / 10, "mid": mid / 5, "high": mid / 4}
    values = {
        "id": config.run_id,
        "label": config.label,
        "config": config.as_dict(),
        "status": status,
        "reason": None if status == "ok" else "loss must be finite, got nan at step 3",
        "test_accuracy": accuracy,
        "history": [],
        "steps": 10,
        "steps_per_epoch": 5,
        "counts": [
            {"layer": "0", "role": "weight", "elements": 10, "saturated": 1, "underflowed": 2}
        ],
        "accumulators": [
            {"layer": "0", "phase": "forward", "outputs": 8, "overflowed": 2, "products": 80}
        ],
        "events": {"forward": [["int_add", 8, "", round(mid)]]},
        "energy": {
            "per_step_pj": {"low": mid / 2, "mid": mid, "high": mid * 1.25},
            "per_epoch_pj": {"low": mid, "mid": mid * 5, "high": mid * 8},
            "by_group": dict.fromkeys(GROUPS, group),
        },
        "step": {"overlapped_seconds": 0.5, "sequential_seconds": 1.0, "multiplications": {}},
        "overflow_rule": "saturates",
        "node": "45 nm",
        "versions": {"numba": "0", "python": "3"},
        "commit": None,
        "threads": {"torch": 1, "numba": 1},
        "machine": {"processor": "<script>alert(1)</script>", "cores": 2, "system": "x"},
        "time": "now",
        "seconds": 1.0,
    }
    return Record.from_json(values)


def mixed() -> Iterator[Record]:
    """Configurations that ended well, diverged in part, diverged, and failed."""
    yield record_of({"seed": 0}, 90.0, 1e6)
    yield record_of({"seed": 1}, 92.0, 1e6)
    yield record_of({"format": "fp32", "seed": 0}, 91.0, 3e6)
    yield record_of({"format": "fp32", "seed": 1}, None, 3e6, "diverged")
    yield record_of({"format": "fp16", "seed": 0}, None, 2e6, "diverged")
    yield failed_record(RunConfig(format="bf16"), "its worker process died 2 times")


def test_runs_that_did_not_end_well_are_shown_and_left_out_of_means(tmp_path: Path) -> None:
    """Means are over the good runs; the others have their status and reason on the page."""
    summaries = write_outputs(tmp_path, SweepConfig(), list(mixed()))
    assert [(s.ok, s.runs) for s in summaries] == [(2, 2), (1, 2), (0, 1), (0, 1)]
    assert [s.accuracy_mean for s in summaries] == [91.0, 91.0, None, None]
    assert [s.accuracy_std for s in summaries] == [pytest.approx(2**0.5), None, None, None]
    text = "".join(read_page(tmp_path / "report.html").text)
    assert "1 diverged" in text
    assert "loss must be finite, got nan at step 3" in text
    assert "its worker process died 2 times" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["diverged"] * 2 + ["failed"]
    assert rows[-1]["test_accuracy"] == rows[-1]["energy_per_step_mid_pj"] == ""


def test_text_of_a_record_cannot_become_markup(tmp_path: Path) -> None:
    """What a machine calls itself is text on the page."""
    write_outputs(tmp_path, SweepConfig(), list(mixed()))
    page = read_page(tmp_path / "report.html")
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_a_sweep_without_a_good_run_still_has_its_files(tmp_path: Path) -> None:
    """The picture says so."""
    write_outputs(tmp_path, SweepConfig(), list(mixed())[4:])
    assert all((tmp_path / name).stat().st_size for name in OUTPUTS)


def test_counts_become_shares() -> None:
    """Saturated 10 %, underflowed 20 %, accumulators 25 %, of totals over the seeds."""
    (line,) = lines(summarise(list(mixed())[:2]))
    assert (line.saturated, line.underflowed, line.overflowed) == ("10.00 %", "20.00 %", "25.00 %")
    assert (percent(0, 5), percent(1, 10**6), percent(0, 0)) == ("0", "< 0.01 %", "–")


def test_the_pareto_front() -> None:
    """Beaten points are out; equal points stay together."""
    points = [(1.0, 80.0), (2.0, 90.0), (3.0, 90.0), (2.0, 85.0), (4.0, 91.0), (1.0, 80.0)]
    assert pareto(points) == [0, 5, 1, 4]
    assert pareto([]) == []


def test_configurations_without_a_result_are_not_on_the_front() -> None:
    """Nor in the picture."""
    summaries = summarise(mixed())
    assert front_of(summaries) == [0]
    assert [point.label for point in points_of(summaries, 1.0)] == ["LNS E7 G8", "fp32"]


def test_a_pair_is_ranked_by_its_difference() -> None:
    """Twice the same events cost more whatever the price; unlike events with close prices are
    open, and nothing is said where a configuration has no energy."""
    a = record_of({}, 90.0, 1e6)
    b = record_of({"format": "fp32"}, 90.0, 2e6)
    c = record_of({"format": "bf16"}, 90.0, 1e6)
    c = replace(c, events={"forward": {Event("int_add", 16): 600000}})
    d = failed_record(RunConfig(format="fp16"), "died")
    signs = rank_matrix(summarise([a, b, c, d]), PriceTable.default())
    assert signs[0] == [" ", "<", "?", " "]
    assert signs[1][0] == ">"
    assert signs[3] == [" "] * 4


def test_labels_do_not_overlap() -> None:
    """Ten close configurations: no label lies on another, on a point or outside the axes."""
    import lnsim.sim.report.figure as plots

    placed: list[Any] = []
    original = plots.free_place

    def remember(axes: Any, spot: Any, *rest: Any) -> Any:
        offset, box = original(axes, spot, *rest)
        placed.append((box, axes.get_window_extent(), spot))
        return offset, box

    records = [
        record_of({"exponent_bits": 4 + i, "seed": s}, 90 + i / 10 + s / 5, 1e6 * 1.02**i)
        for i in range(10)
        for s in range(2)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "free_place", remember)
        accuracy_energy_png(summarise(records), "caption", "45 nm")
    assert len(placed) == 10
    for i, (box, frame, _) in enumerate(placed):
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        assert not any(plots._overlap(box, other) for other, _, _ in placed[i + 1 :])
        assert not any(box.contains(*spot) for _, _, spot in placed)


def test_a_wrecked_configuration_does_not_flatten_the_rest() -> None:
    """One at 10 % among others at 90 % is shown at the lower edge, not to scale."""
    import lnsim.sim.report.sweep_plot as plots

    good = [record_of({"exponent_bits": 6 + i}, 90.0 + i, 1e6 + i) for i in range(3)]
    wrecked = record_of({"format": "fp16"}, 10.0, 2e6)
    points = plots.points_of(summarise([*good, wrecked]), 1.0)
    assert 85 < plots._floor(points) < 90


@pytest.mark.parametrize(
    ("energy", "unit", "shown"),
    [(0.5, "pJ", 0.5), (999.0, "pJ", 999.0), (24.1e6, "µJ", 24.1), (3e9, "mJ", 3.0)],
)
def test_units_are_chosen_by_size(energy: float, unit: str, shown: float) -> None:
    """Everything inside is pJ."""
    name, factor = unit_of(energy)
    assert name == unit
    assert energy * factor == pytest.approx(shown)


def test_numbers_have_three_digits() -> None:
    """And intervals their ends in brackets."""
    assert [digits(x) for x in (0, 1.234, 12.34, 123.4, 1234.5)] == [
        "0",
        "1.23",
        "12.3",
        "123",
        "1234",
    ]
    assert energy_text(Interval(1e6, 2e6, 4e6), 1e-6) == "2.00 (1.00–4.00)"


def test_csv_quotes_and_leaves_the_absent_empty() -> None:
    """Rows with different columns share one table."""
    text = csv_text([{"a": 1, "b": 'x, "y"'}, {"a": None, "c": 2.5}])
    assert text == 'a,b,c\n1,"x, ""y""",\n,,2.5\n'
    assert result_row(list(mixed())[-1])["status"] == "failed"


def test_the_caption_says_what_was_trained() -> None:
    """Data, network, epochs, batch and seeds; limits where there are any."""
    assert caption(SweepConfig(seeds=1, limit_train=100, max_steps=7)) == (
        "UCI optical digits, 8 x 8 (100 images), mlp, 10 epochs of batches of 64, seed 0, "
        "machine edge-16, at most 7 steps"
    )


BACKENDS = ("module://nowhere.inline", "module://matplotlib_inline.backend_inline", "tkagg", "svg")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("module", ["figure", "sweep_plot", "cost_plots", "precision_plot"])
def test_pictures_need_no_backend(backend: str, module: str) -> None:
    """MPLBACKEND is a notebook's word for its own windows; files are drawn whatever it says."""
    code = f"import os; from lnsim.sim.report import {module}; from lnsim.sim.report.figure import "
    code += "new_figure, picture; assert picture(new_figure(2, 1), 50)[1:4] == b'PNG'; "
    code += f"assert os.environ['MPLBACKEND'] == {backend!r}"
    environment = os.environ | {"MPLBACKEND": backend}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=True)


def test_the_tables_are_written_before_the_picture(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> bytes:
        raise OSError("no picture")

    monkeypatch.setattr("lnsim.sim.report.sweep_plot.accuracy_energy_png", fails)
    config = load_sweep(swept / "sweep.yaml", {})
    with pytest.raises(OSError, match="no picture"):
        write_outputs(tmp_path, config, records_of(swept))
    for name in OUTPUTS[:2]:
        assert (tmp_path / name).read_bytes() == (swept / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OUTPUTS[:2])
