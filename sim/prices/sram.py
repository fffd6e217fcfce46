"""Prices of on-chip SRAM: CACTI 7's grid as rows, with the interval two published tables give it.

The grid (assets/cacti_sram.csv) was run with hwcomponents-cacti 1.0.40: pJ per access of banks of
1 kB to 4 MB with words of 32, 64 and 128 bits at 45, 22, 16 and 7 nm; CACTI extrapolates below
22 nm. Beside it stand Horowitz (ISSCC 2014) at 45 nm, 10 and 100 pJ for 64 bits of 8 kB and 1 MB
where CACTI has 6.1 and 93.5, and Jouppi et al. (ISCA 2021) at 7 nm, 7.5 pJ where CACTI has 0.90.
"""

import csv

from ..files.assets import ASSETS
from .interval import Interval
from .rows import PriceRow

GRID = ASSETS / "cacti_sram.csv"
SPREAD = {"45": 1.64, "22": 1.64, "16": 8.4, "7": 8.4}  # largest ratio to the published rows above
NODES = tuple(SPREAD)


def sram_rows(node_nm: str, node: str) -> list[PriceRow]:
    """Return the rows sram_read_bits and sram_write_bits of a node of the grid, in pJ per bit.

    node: what the rows name as theirs. detail is the bank's bytes, bits the word's width.
    """
    rows = []
    with GRID.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            if record["node_nm"] == node_nm:
                rows += [_row(record, way, node) for way in ("read", "write")]
    return rows


def _row(record: dict[str, str], way: str, node: str) -> PriceRow:
    width, kilobytes = int(record["width_bits"]), int(record["capacity_kB"])
    spread = SPREAD[record["node_nm"]]
    mid = float(record[f"{way}_pJ"]) / width
    below = spread if record["extrapolated_below_22nm"] == "0" else 1.64
    return PriceRow(
        kind=f"sram_{way}_bits",
        bits=width,
        detail=f"{1024 * kilobytes}B",
        price=Interval(mid / below, mid, mid * spread),
        unit="pJ/bit",
        node=node,
        source="CACTI 7 (hwcomponents-cacti 1.0.40), own run",
        confidence="derived",
        note=f"{record[f'{way}_pJ']} pJ per {width}-bit word of a {kilobytes} kB bank; high: "
        f"mid * {spread:g}, the largest ratio of a published table to CACTI's",
    )
