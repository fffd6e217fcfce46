"""Cost the finished runs of a sweep anew, with the machine model and prices of this version.

    python -m bench.reprice results/fm

A run's values do not depend on its machine, so nothing is trained: the arithmetic it counted and
its steps are in its record, everything else follows from shapes. Records and outputs are rewritten.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from lnsim.sim.cost.step import cost_step
from lnsim.sim.report.page import write_outputs
from lnsim.sim.runs.record import Record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.run_cost import run_cost, run_energy, run_time
from lnsim.sim.runs.store import read_record, write_record
from lnsim.sim.runs.sweep_config import load_sweep


def repriced(record: Record) -> Record:
    """Return the record with its costs computed anew."""
    plan = RunConfig.from_dict(dict(record.config)).resolve()
    if record.counted_events is None:
        raise ValueError(f"counted_events must be there, got none in {record.id}")
    step, steps = cost_step(plan.workload, plan.machine, plan.recipe), record.steps
    cost = run_cost(step, record.counted_events, steps)
    return replace(
        record,
        events=cost.events(),
        energy=run_energy(cost, steps, record.steps_per_epoch, plan.prices),
        step=run_time(step),
        accelerator=plan.machine.as_dict(),
        node=plan.prices.node,
        price_sources=tuple(plan.prices.sources),
    )


def main() -> None:
    """Rewrite every finished record of a folder, then its tables, picture and page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    config = load_sweep(folder / "sweep.yaml", {})
    records = []
    for run in config.runs():
        path = folder / "runs" / f"{run.run_id}.json"
        record = read_record(path)
        records.append(repriced(record) if record.steps else record)
        write_record(path, records[-1])
    write_outputs(folder, config, records)
    print(f"{len(records)} records in {folder} costed anew")


if __name__ == "__main__":
    main()
