"""Cycles and words of the array: SCALE-Sim's own figures, and a walk that moves every word."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lnsim.kernels import matmul
from lnsim.lns import Accumulator, Datapath, LNSFormat
from lnsim.lns.array import LNSArray
from lnsim.sim import gemm_cost
from lnsim.sim.machine.systolic import DATAFLOWS, RECURRENCES
from systolic_walk import Walk, walk_gemm

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CASES, LAYERS = (
    list(csv.DictReader((GOLDEN / f"scalesim_{name}.csv").read_text().splitlines()))
    for name in ("cases", "resnet18_32x32_ws")
)


def ints(row: dict[str, str], *names: str) -> list[int]:
    """Columns of a golden row."""
    return [int(row[name]) for name in names]


def test_every_stall_free_row_of_scalesim() -> None:
    """Cycles, reads, writes, utilisation and mapping, for every row; OS writes less the artefact.

    SCALE-Sim 3.0.0 adds rows + columns of each fold to the OS writes (scale-sim's own source).
    """
    rows = [row for row in CASES if row["bandwidth_mode"] == "CALC"]
    assert len(rows) == 87
    for row in rows:
        m, n, k, r, c = ints(row, "M", "N", "K", "array_rows", "array_cols")
        cost = gemm_cost(m, n, k, rows=r, cols=c, dataflow=row["dataflow"])
        extra = cost.folds * (r + c) if row["dataflow"] == "os" else 0
        got = (cost.cycles, cost.sram_ifmap_reads, cost.sram_filter_reads)
        assert got == tuple(ints(row, "cycles", "sram_ifmap_reads", "sram_filter_reads")), row
        assert cost.sram_ofmap_writes + extra == int(row["sram_ofmap_writes"]), row
        assert cost.folds == int(row["cf_folds"])
        assert 100 * cost.utilisation == pytest.approx(float(row["overall_util_pct"]), rel=1e-12)
        share = 100 * cost.mapping_efficiency
        assert share == pytest.approx(float(row["mapping_eff_pct"]), rel=1e-12)
        paper = gemm_cost(m, n, k, rows=r, cols=c, dataflow=row["dataflow"], recurrence="paper")
        assert paper.cycles == paper.elapsed_cycles == int(row["cf_cycles_paper"])


def test_every_layer_of_scalesims_resnet18() -> None:
    """21 layers on a 32x32 weight-stationary array: 2,519,815 cycles in all."""
    total = 0
    assert len(LAYERS) == 21
    for row in LAYERS:
        m, n, k = ints(row, "M", "N", "K")
        cost = gemm_cost(m, n, k, rows=32, cols=32, dataflow="ws")
        names = ("cycles", "sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes")
        assert [getattr(cost, name) for name in names] == ints(row, *names), row["layer"]
        total += cost.cycles
    assert total == 2_519_815


def operands(m: int, n: int, k: int, seed: int) -> tuple[LNSArray, LNSArray]:
    """Random codes of E=4, G=2, zeros among them."""
    rng, fmt = np.random.default_rng(seed), LNSFormat(4, 2)

    def codes(shape: tuple[int, int]) -> np.ndarray:
        code = rng.integers(0, 32, shape).astype(fmt.code_dtype)
        return np.where(code == 16, 0, code).astype(fmt.code_dtype)

    return LNSArray(codes((m, k)), 0, fmt), LNSArray(codes((k, n)), 0, fmt)


sizes = st.integers(1, 7)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(sizes, sizes, sizes),
    array=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)),
    dataflow=st.sampled_from(DATAFLOWS),
    recurrence=st.sampled_from(RECURRENCES),
    passes=st.integers(1, 2),
    overflow=st.sampled_from(("saturate", "wrap")),
    seed=st.integers(0, 99),
)
def test_the_walk_agrees_with_closed_form_and_kernel(
    shape: tuple[int, int, int],
    array: tuple[int, int, int, int],
    dataflow: str,
    recurrence: str,
    passes: int,
    overflow: str,
    seed: int,
) -> None:
    """Every count of the closed form is counted by moving words; the sums are the kernel's.

    The accumulator of 6 bits overflows often, so the order of the sums matters.
    """
    (m, n, k), (rows, cols, lanes, depth) = shape, array
    steps = {"os": -(-k // lanes), "ws": m, "is": n}[dataflow]
    passes = min(passes, steps)
    datapath = Datapath(accumulator=Accumulator(bits=6, guard=1, lanes=lanes, overflow=overflow))
    a, b = operands(m, n, k, seed)
    walk = walk_gemm(
        a, b, datapath, rows=rows, cols=cols, dataflow=dataflow, recurrence=recurrence,
        depth=depth, streamed_passes=passes,
    )  # fmt: skip
    cost = gemm_cost(
        m, n, k, rows=rows, cols=cols, dataflow=dataflow, recurrence=recurrence, lanes=lanes,
        depth=depth, streamed_passes=passes,
    )  # fmt: skip
    assert walk == Walk(
        cycles=cost.elapsed_cycles,
        folds=cost.folds,
        macs=cost.macs,
        ifmap_reads=cost.sram_ifmap_reads,
        filter_reads=cost.sram_filter_reads,
        ofmap_reads=cost.sram_ofmap_reads,
        ofmap_writes=cost.sram_ofmap_writes,
        sums=matmul(a, b, datapath).tolist(),
    )


def test_the_two_recurrences_differ_by_what_they_say() -> None:
    """SCALE-Sim prints the last cycle's index and leaves out the drain of output-stationary."""
    for dataflow, extra in (("os", 4 * 16), ("ws", 0), ("is", 0)):
        short, long = (
            gemm_cost(16, 16, 16, rows=4, cols=4, dataflow=dataflow, recurrence=name)
            for name in ("scalesim", "paper")
        )
        assert long.cycles - short.elapsed_cycles == extra
        assert short.cycles == short.elapsed_cycles - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"M": 0}, r"^M must be in 1\.\.1099511627776, got 0$"),
        ({"rows": 0}, r"^rows must be in 1\.\.1048576, got 0$"),
        ({"dataflow": "rs"}, r"^dataflow must be one of is, os, ws, got 'rs'$"),
        ({"recurrence": "x"}, r"^recurrence must be one of paper, scalesim, got 'x'$"),
        ({"streamed_passes": 6}, r"^streamed_passes must be in 1\.\.5, got 6$"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    """Each names the argument, the rule and the value."""
    sizes = {"M": 4, "N": 4, "K": 5}
    for name in sizes:
        sizes[name] = change.pop(name, sizes[name])  # type: ignore[assignment]
    with pytest.raises(ValueError, match=message):
        gemm_cost(**sizes, **{"rows": 2, "cols": 2} | change)  # type: ignore[arg-type]
