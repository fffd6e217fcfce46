"""Cost the finished runs of a sweep anew, with the machine model and prices of this version.

    python -m bench.reprice results/fm

A run's values do not depend on its machine, so nothing is trained: the arithmetic it counted and
its steps are in its record, everything else follows from shapes. Records and outputs are rewritten.
"""

import argparse
import json
from pathlib import Path

from lnsim.sim.data.datasets import load_data
from lnsim.sim.report.page import write_outputs
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.run_cost import run_cost, run_energy, run_time, run_workload
from lnsim.sim.runs.store import Record, write_record
from lnsim.sim.runs.sweep_config import load_sweep
from lnsim.sim.training.tally import Tally


def repriced(record: Record) -> Record:
    """Return the record with its costs computed anew."""
    config = RunConfig.from_dict(record["config"])
    data = load_data(config.data)
    shape = tuple(data.train_x.shape[1:])
    workload = run_workload(config.model, shape, data.classes, config.batch)
    tally = Tally()
    tally.load_dict({"encodes": [], "accumulators": [], "events": record["counted_events"]})
    steps = record["steps"]
    cost = run_cost(config, workload, tally, steps)
    table = config.price_table()
    events = {
        phase: [[e.kind, e.bits, e.detail, n] for e, n in sorted(own.items())]
        for phase, own in cost.events().items()
    }
    return record | {
        "events": events,
        "energy": run_energy(cost, steps, record["steps_per_epoch"], table),
        "step": run_time(cost),
        "accelerator": cost.step.machine.as_dict(),
        "node": table.node,
        "price_sources": table.sources,
    }


def main() -> None:
    """Rewrite every finished record of a folder, then its tables, picture and page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    config = load_sweep(folder / "sweep.yaml", {})
    records = []
    for run in config.runs():
        path = folder / "runs" / f"{run.run_id}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        records.append(repriced(record) if record.get("steps") else record)
        write_record(path, records[-1])
    write_outputs(folder, config, records)
    print(f"{len(records)} records in {folder} costed anew")


if __name__ == "__main__":
    main()
