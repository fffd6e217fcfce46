"""Command-line flags made from the fields of SweepConfig and RunConfig, one line of help each."""

import argparse
import sys
from dataclasses import fields
from typing import Any

from ..rules.rule import RULES
from ..runs.run_config import RunConfig
from ..runs.sweep_config import SweepConfig
from ..workload.catalog import OLD_NAME, TRAINED

SWEEP_HELP = {
    "name": "name of the sweep (default: DATA-MODEL)",
    "out": "folder of the results (default: results/NAME)",
    "exponent_bits": "LNS exponent widths E: 7, a list 4,6,8, a range 4:8, or none (default: 4:8)",
    "gamma": "LNS steps per octave G: numbers, or auto = 2^(E-4), 16 octaves (default: auto)",
    "formats": "baselines, see `lnsim formats`, LNS by name such as e5g4-log, or none (default: "
    "fp32,bf16,fp16,fp8,fp32-madam)",
    "seeds": "runs per configuration, with seeds 0, 1, ... (default: 3)",
    "optimiser": "of the LNS runs, one or a list (default: integer-madam)",
    "lr": "learning rate of the LNS runs (default: the optimiser's)",
    "baseline_lr": "learning rate of the baselines (default: their optimiser's)",
    "table_entries": "entries L of the antilog table; full: G (default: full)",
    "workers": "runs at a time (default: one per core)",
}
TRAIN_HELP = {
    "format": "lns, lns8, e5g4-log or the like, or a baseline, see `lnsim formats` (default: lns)",
    "exponent_bits": "LNS exponent width E (default: 7)",
    "gamma": "LNS steps per octave G (default: 2^(E-4), a range of 16 octaves)",
    "antilog_entries": "entries L of the antilog table (default: G)",
    "optimiser": f"{', '.join(RULES)} (default: the format's)",
    "update_exponent_bits": "exponent width of the stored weight of integer and LNS Madam",
    "update_gamma": "steps per octave of the stored weight",
    "lr": "learning rate (default: the optimiser's)",
    "seed": "of the weights and the order of images (default: 0)",
}
SHARED_HELP = {
    "data": "data set, see `lnsim data list` (default: digits)",
    "model": f"network: {', '.join(TRAINED)} (default: mlp)",
    "epochs": "passes over the training images (default: 10)",
    "batch": "images per step (default: 64)",
    "schedule": "of the learning rate: cosine, constant or step (default: cosine)",
    "accumulator_bits": "accumulator width W, of LNS and fp8-fixed (default: 24; log: E + 2)",
    "guard": "headroom bits of the accumulator (default: 4)",
    "format_overflow": "of float conversions: saturate or infinity (default: saturate to 8 bits)",
    "table_bits": "width T of the antilog table (default: 8)",
    "overflow": "of the accumulator: saturate or wrap (default: saturate)",
    "lanes": "products V summed exactly before the accumulator, log: running sums (default: the "
    "machine's)",
    "machine": "what the energy and time are of: a name, see `lnsim energy --list`, or a file "
    "(default: edge-16)",
    "prices": "CSV, YAML or ERT file laid over the shipped prices",
    "rounding": "of the alignment shift: floor or toward_zero (default: floor)",
    "style": "of the LNS accumulator: direct, bins or log (default: direct)",
    "variant": "sums of style log: exact, table:n, interp:n or mitchell (default: exact)",
    "threads": "threads per run; the results are repeatable per number (default: 1)",
    "limit_train": "use the first so many training images",
    "limit_test": "use the first so many test images",
    "max_steps": "stop each run after so many steps",
}


def _kind(annotation: object) -> type:
    """int or float for a field that holds one number; text for the rest, parsed by the field."""
    if annotation in (int, int | None):
        return int
    return float if annotation == float | None else str


def add_flags(
    parser: argparse.ArgumentParser,
    config: type[SweepConfig] | type[RunConfig],
    helps: dict[str, str],
) -> None:
    """Add a flag for every field of `config`; a flag that is not given sets nothing."""
    for item in fields(config):
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=_kind(item.type),
            default=argparse.SUPPRESS,
            metavar=item.name.upper(),
            help=(SHARED_HELP | helps)[item.name],
        )


def given(args: argparse.Namespace, config: type[SweepConfig] | type[RunConfig]) -> dict[str, Any]:
    """Return the values of the flags that were given."""
    names = {item.name for item in fields(config)}
    return {name: value for name, value in vars(args).items() if name in names}


def note_old_name(typed: str | None, meant: str) -> None:
    """Say on stderr which network a spelling of 0.1 is taken for."""
    if typed == OLD_NAME:
        print(f"lnsim: note: model {typed} names two networks, read as {meant}", file=sys.stderr)
