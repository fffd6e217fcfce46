"""`lnsim energy`: what a training step costs on a machine, in one format against others."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ..cost.energy import StepEnergy, compare, price_notes, price_step
from ..cost.mac_source import MAC_SOURCES
from ..cost.step import BUFFERS, cost_step
from ..machine.machine import OBJECTIVES, Machine, get_machine, machine_names
from ..machine.systolic import DATAFLOWS, RECURRENCES
from ..prices.sources import machine_prices
from ..prices.table import Interval, PriceTable
from ..recipes.catalog import RECIPES
from ..recipes.names import SPELLINGS, get_recipe
from ..recipes.recipe import Recipe
from ..report.units import digits, energy_text, time_text, unit_of
from ..workload.catalog import NETWORKS
from ..workload.onnx_graph import read_onnx
from ..workload.topology import read_topology
from ..workload.workload import Workload
from .console import console, table_of
from .flags import note_old_name

DEFAULT_MODEL = "resnet18-cifar"


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    source = parser.add_argument_group("what is computed (one of)")
    source.add_argument(
        "--model",
        help=f"network by name, see --list; mlp and cnn on 28x28 grey images (default: "
        f"{DEFAULT_MODEL})",
    )
    source.add_argument("--topology", type=Path, help="SCALE-Sim topology CSV, GEMM or conv form")
    source.add_argument("--onnx", type=Path, help="ONNX graph (extra lnsim[onnx])")
    parser.add_argument("--batch", type=int, help="samples per step (default: 1)")
    machine = parser.add_argument_group("the machine")
    machine.add_argument(
        "--machine",
        default="edge-16",
        help=f"{', '.join(machine_names())}, or a TOML or YAML file (default: edge-16)",
    )
    machine.add_argument("--dataflow", help=f"{', '.join(DATAFLOWS)} (default: the machine's)")
    machine.add_argument("--recurrence", help=f"cycles per fold: {', '.join(RECURRENCES)}")
    machine.add_argument("--objective", help=f"of the tile search: {', '.join(OBJECTIVES)}")
    formats = parser.add_argument_group("the formats")
    names = ", ".join(RECIPES)
    formats.add_argument(
        "--format",
        default="lns8",
        help=f"{names}, or eEgG for LNS such as e5g4; lns8 and eEgG take an accumulator: -bins, "
        "-log, -log-VARIANT (mitchell, table:n, interp:n), -wBITS (default: lns8)",
    )
    formats.add_argument("--against", default="", help="formats to compare with, such as fp8,fp32")
    formats.add_argument("--optimiser", help="of every format (default: each format's own)")
    prices = parser.add_argument_group("prices")
    prices.add_argument("--prices", type=Path, help="CSV, YAML or ERT laid over the shipped table")
    prices.add_argument("--node", help="45 nm, 32 nm or 65 nm (default: the machine's)")
    prices.add_argument(
        "--mac-prices",
        default="components",
        help=f"{', '.join(MAC_SOURCES)}: what a multiply-accumulate is charged",
    )
    parser.add_argument("--out", type=Path, help="folder (default: results/energy-MODEL-MACHINE)")
    parser.add_argument("--list", action="store_true", help="name networks, machines and formats")


def recipe_of(name: str, optimiser: str | None = None) -> Recipe:
    """Return the recipe of a name (see recipes/names.py), called by what was typed."""
    return replace(get_recipe(name, optimiser), name=name)


def workload_of(args: argparse.Namespace) -> Workload:
    """Return the step of the one source that is given."""
    given = [name for name in ("model", "topology", "onnx") if getattr(args, name) is not None]
    if len(given) > 1:
        raise ValueError(f"only one of model, topology and onnx must be given, got {given}")
    if args.topology is not None:
        if args.batch is not None:
            raise ValueError(f"batch must be left out with a topology, got {args.batch}")
        return read_topology(args.topology)
    if args.onnx is not None:
        return read_onnx(args.onnx, batch=args.batch)
    from ..workload.networks import network_workload

    model = DEFAULT_MODEL if args.model is None else args.model
    workload = network_workload(model, 1 if args.batch is None else args.batch)
    note_old_name(args.model, workload.name)
    return workload


def machine_of(args: argparse.Namespace) -> Machine:
    """Return the machine with what the flags change."""
    machine = get_machine(args.machine)
    names = ("dataflow", "recurrence", "objective", "node")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return machine.with_changes(**changes)


def run(args: argparse.Namespace) -> int:
    """Cost the step in every format, print tables, write files."""
    if args.list:
        return _print_names()
    names = [args.format, *(n.strip() for n in args.against.split(",") if n.strip())]
    if len(set(names)) < len(names):
        raise ValueError(f"against must name other formats, each once, got {args.against!r}")
    recipes = [recipe_of(name, args.optimiser) for name in names]
    machine = machine_of(args)
    table = machine_prices(machine, args.prices)
    workload = workload_of(args)
    energies = [
        price_step(cost_step(workload, machine, recipe, args.mac_prices), table)
        for recipe in recipes
    ]
    print_step(energies, table)
    from ..report.step_files import write_step

    folder = args.out or Path("results") / f"energy-{workload.name}-{machine.name}"
    written = write_step(folder, energies, table)
    print(f"results: {len(written)} files in {folder}: {', '.join(written[:5])}, ...")
    return 0


def _print_names() -> int:
    out = console()
    out.print(table_of(("network", "what"), list(NETWORKS.items()), right=()))
    machines = [(name, get_machine(name).description) for name in machine_names()]
    out.print(table_of(("machine", "what"), machines, right=()))
    recipes = [(name, get_recipe(name).description) for name in RECIPES]
    out.print(table_of(("format", "what"), [*recipes, *SPELLINGS], right=()))
    return 0


def print_step(energies: Sequence[StepEnergy], table: PriceTable) -> None:
    """Print totals by format, parts of the first format, comparisons and multiplications."""
    first = energies[0]
    workload, machine = first.cost.workload, first.cost.machine
    out = console()
    title = f"{workload.name} ({workload.note.rstrip('.')})" if workload.note else workload.name
    unit, factor = unit_of(min(energy.total.mid for energy in energies))
    out.print(
        f"\n[bold]{escape(title)}[/bold]: one training step of {workload.macs / 1e9:.3g} GMAC on "
        f"{escape(machine.name)} ({escape(machine.description)})"
    )
    out.print(_totals(energies, unit, factor))
    out.print(_parts(first, unit, factor))
    for other in energies[1:]:
        out.print(f"- {escape(compare(first, other, table).text())}")
    for energy in energies:
        out.print(f"- {escape(_multiplications(energy))}")
    for note in price_notes(first.cost, table):
        out.print(f"- {escape(note)}")


def _totals(energies: Sequence[StepEnergy], unit: str, factor: float) -> Table:
    columns = (
        "format", f"step, {unit}", f"array, {unit}", f"buffers, {unit}", f"DRAM, {unit}",
        "fJ per MAC", "time", "utilisation",
    )  # fmt: skip
    buffers = tuple(f"{name} buffer" for name in BUFFERS)
    rows = []
    for energy in energies:
        rows.append(
            (
                energy.name,
                energy_text(energy.total, factor),
                _mid(energy.of_component("array"), factor),
                _mid(energy.of_component(*buffers, "wires"), factor),
                _mid(energy.of_component("dram"), factor),
                digits(energy.mac_fj.mid),
                time_text(energy.seconds),
                f"{100 * energy.utilisation:.0f} %",
            )
        )
    return table_of(columns, rows, right=columns[1:])


def _mid(energy: Interval, factor: float) -> str:
    return digits(energy.mid * factor)


def _parts(energy: StepEnergy, unit: str, factor: float) -> Table:
    """Mid energies of one format: components down, phases across."""
    phases = list(dict.fromkeys(phase for phase, _ in energy.parts))
    names = list(dict.fromkeys(name for _, name in energy.parts))
    columns = (f"{energy.name}, {unit}", *phases, "step")
    rows = []
    for name in names:
        cells = [energy.parts.get((phase, name), Interval(0, 0, 0)) for phase in phases]
        rows.append(
            (name, *(_mid(c, factor) for c in cells), _mid(energy.of_component(name), factor))
        )
    totals = (_mid(energy.of_phase(phase), factor) for phase in phases)
    rows.append(("total", *totals, _mid(energy.total, factor)))
    return table_of(columns, rows, right=columns[1:])


def _multiplications(energy: StepEnergy) -> str:
    causes: dict[str, int] = {}
    for (_, unit), counts in energy.cost.multiplications.items():
        for cause, count in counts.items():
            if unit != "array":
                causes[cause] = causes.get(cause, 0) + count
    largest = sorted(causes.items(), key=lambda item: (-item[1], item[0]))[:4]
    listed = ", ".join(f"{cause} {count:,}" for cause, count in largest)
    text = f"{energy.name}: {energy.array_multiplications:,} multiplications in the array, "
    text += f"{energy.vector_multiplications:,} in the vector unit"
    return f"{text} ({listed})" if listed else text
