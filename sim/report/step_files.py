"""Files of `lnsim energy`: tables, pictures, and the step in other tools' formats."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..cost.components import COMPONENTS
from ..cost.energy import StepEnergy, compare, price_notes
from ..cost.gemm import LayerCost
from ..cost.step import BUFFERS
from ..events.event import NOT_COUNTED
from ..files.paths import inside, require_folder, write_atomic
from ..prices.accelergy import ert_text
from ..prices.table import PriceTable
from ..workload.topology import topology_text
from ..workload.workload import PHASES
from .cost_plots import energy_png, roofline_png
from .scalesim import reports
from .sweep_tables import csv_text


def write_step(folder: Path, energies: Sequence[StepEnergy], table: PriceTable) -> list[str]:
    """Write everything about steps of one workload on one machine; return the names of the files.

    energy.csv (a row per format, phase and component), energy.json (all figures, prices, sources),
    layers.csv (a row per format and GEMM), energy.png, roofline.png, and per format a folder with
    SCALE-Sim's three reports, gemms.csv (its topology form) and ert.yaml (Accelergy's). The first
    format is the one the others are compared with. The same input gives the same bytes.
    """
    files: dict[str, str | bytes] = {
        "energy.csv": csv_text(part_rows(energies)),
        "energy.json": json.dumps(as_dict(energies, table), indent=1, allow_nan=False) + "\n",
        "layers.csv": csv_text([row for energy in energies for row in layer_rows(energy)]),
        "energy.png": energy_png(energies),
        "roofline.png": roofline_png([energy.cost for energy in energies]),
    }
    for energy in energies:
        own = reports(energy.cost.layers)
        own["gemms.csv"] = topology_text(energy.cost.workload.gemms)
        own["ert.yaml"] = ert_text(energy.cost.events(), table)
        part = energy.name.replace(":", "-")  # of a variant: no letter of a file's name elsewhere
        files |= {f"{part}/{name}": text for name, text in own.items()}
    require_folder("out", folder)
    for name, content in files.items():
        write_atomic(inside(folder, name), content)
    return list(files)


def part_rows(energies: Sequence[StepEnergy]) -> list[dict[str, Any]]:
    """Return the rows of energy.csv."""
    return [
        {
            "format": energy.name,
            "phase": phase,
            "component": component,
            **energy.parts[phase, component].columns(),
        }
        for energy in energies
        for phase in PHASES
        for component in COMPONENTS
        if (phase, component) in energy.parts
    ]


def layer_rows(energy: StepEnergy) -> list[dict[str, Any]]:
    """Return the rows of layers.csv: shape, cycles, words and tiles of every GEMM."""
    return [_layer_row(energy.name, layer) for layer in energy.cost.layers]


def _layer_row(name: str, layer: LayerCost) -> dict[str, Any]:
    gemm, cost, tiling, times = layer.gemm, layer.array, layer.tiling, layer.gemm.count
    row: dict[str, Any] = {"format": name, "layer": gemm.layer, "phase": gemm.phase}
    row |= {"M": gemm.M, "N": gemm.N, "K": gemm.K, "count": times, "macs": gemm.macs}
    row |= {"a": gemm.a_role, "b": gemm.b_role, "folds": cost.folds * times}
    row |= {
        "elapsed_cycles": layer.elapsed_cycles,
        "limited_cycles": layer.limited_cycles,
        "stall_cycles": layer.stall_cycles,
        "utilisation": layer.utilisation,
        "mapping_efficiency": cost.mapping_efficiency,
        "tile_m": tiling.tile[0],
        "tile_n": tiling.tile[1],
        "tile_k": tiling.tile[2],
        "loop_order": tiling.order,
    }
    for buffer, way in product(BUFFERS, ("reads", "writes")):
        row[f"{buffer}_{way}_words"] = getattr(layer.moved, f"{buffer}_{way}") * times
    row |= {
        "dram_ifmap_reads_words": tiling.a_words * times,
        "dram_filter_reads_words": tiling.b_words * times,
        "dram_partial_sums_words": 2 * tiling.partial_writes * times,
        "dram_bits": layer.dram_bits,
    }
    return row


def as_dict(energies: Sequence[StepEnergy], table: PriceTable) -> dict[str, Any]:
    """Return energy.json's values."""
    first = energies[0]
    used = table.used({event for energy in energies for event in energy.cost.events()})
    return {
        "workload": first.cost.workload.as_dict(),
        "machine": first.cost.machine.as_dict(),
        "node": table.node,
        "notes": price_notes(first.cost, table),
        "not_counted": NOT_COUNTED,
        "steps": [energy.as_dict() for energy in energies],
        "comparisons": [
            {
                "format": c.name,
                "other": c.other,
                "ratio": c.ratio.as_dict(),
                "by_intervals": c.by_intervals,
                "by_shared_prices": c.by_shared_prices,
            }
            for c in (compare(first, other, table) for other in energies[1:])
        ],
        "prices": [
            {
                **dict(zip(("kind", "bits", "detail"), key, strict=True)),
                **row.price.columns(),
                **{name: getattr(row, name) for name in ("unit", "node", "source", "confidence")},
            }
            for key, row in sorted(table.rows.items())
            if key in used
        ],
    }
