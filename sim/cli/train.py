"""`lnsim train`: one training run, its record as JSON, a summary."""

import argparse
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..data.catalog import DATASETS
from ..data.datasets import locate
from ..report.page import percent
from ..report.sweep_tables import counted
from ..report.units import energy_text, time_text, unit_of
from ..runs.record import Record
from ..runs.run_config import RunConfig
from ..runs.store import Folder, write_record
from .console import console
from .flags import TRAIN_HELP, add_flags, given, note_old_name


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    add_flags(parser, RunConfig, TRAIN_HELP)
    parser.add_argument("--out", type=Path, help="folder of the record (default: results/train)")
    parser.add_argument("--checkpoint", type=Path, help="file to keep the state in, per epoch")
    parser.add_argument("--checkpoint-every", type=int, help="also after so many steps")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")


def run(args: argparse.Namespace) -> int:
    """Train, write the record, print what came of it."""
    flags = given(args, RunConfig)
    config = RunConfig(**flags)
    folder = Folder(args.out if args.out is not None else Path("results/train"))
    if args.resume and args.checkpoint is None:
        raise ValueError("checkpoint must be given to resume, got none")
    if args.checkpoint_every is not None and args.checkpoint is None:
        raise ValueError("checkpoint must be given with checkpoint-every, got none")
    if args.resume and not args.checkpoint.exists():
        raise ValueError(f"checkpoint must be an existing file to resume, got {args.checkpoint}")
    if args.checkpoint is not None and args.checkpoint.exists() and not args.resume:
        raise ValueError(
            f"checkpoint must be a new file without --resume, got {args.checkpoint}, which exists"
        )
    locate(DATASETS[config.data])
    note_old_name(flags.get("model"), config.model)
    record = _train_with_bar(config, args)
    path = folder.record_path(config)
    write_record(path, record)
    for name, value in train_lines(record):
        print(f"{name:<16} {value}")
    print(f"{'record':<16} {path}")
    return 0


def _train_with_bar(config: RunConfig, args: argparse.Namespace) -> Record:
    from ..runs.train import train

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(escape(config.label))

        def on_step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return train(
            config,
            on_step,
            checkpoint=args.checkpoint,
            resume=args.resume,
            checkpoint_every=args.checkpoint_every,
        )


def train_lines(record: Record) -> list[tuple[str, str]]:
    """Return a run's outcome as (name, text) pairs."""
    rows = [("configuration", record.label), ("status", record.status)]
    if record.status != "ok":
        rows.append(("reason", str(record.reason)))
    for epoch in record.history:
        text = f"loss {epoch.train_loss:.4f}, test accuracy {epoch.test_accuracy:.2f} %"
        rows.append((f"epoch {epoch.epoch}", text))
    if record.energy is not None and record.step is not None and record.accelerator is not None:
        energy = record.energy.per_step_pj
        unit, factor = unit_of(energy.mid)
        where = f"{record.accelerator['name']}, {record.node}"
        rows.append(("energy per step", f"{energy_text(energy, factor)} {unit}, {where}"))
        rows.append(("time per step", time_text(record.step.seconds)))
        units = record.step.multiplications
        text = ", ".join(f"{count:,} in the {unit}" for unit, count in units.items())
        rows.append(("multiplications", f"{text}, per step"))
    counts = counted(record)
    rows.append(("saturated", percent(counts["saturated"], counts["encoded"])))
    rows.append(("underflowed", percent(counts["underflowed"], counts["encoded"])))
    outputs, overflowed = counts["accumulator_outputs"], counts["accumulator_overflowed"]
    rows.append(("acc. overflow", percent(overflowed, outputs)))
    rows.append(("overflow rule", record.overflow_rule))
    return rows
