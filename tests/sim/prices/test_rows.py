"""Rows: what an event can be like is taken, every fault is one line that names it."""

from pathlib import Path

import pytest
from lnsim.lns.datapath import Accumulator
from lnsim.sim import RECIPES, cost_step, get_machine, get_recipe, lns_recipe
from lnsim.sim.prices.kinds import KINDS
from lnsim.sim.prices.rows import COLUMNS, read_row
from lnsim.sim.prices.sources import load_prices
from lnsim.sim.workload.networks import network_workload

HEAD = ",".join(COLUMNS)
ROW = "int_add,8,,0.1,0.2,0.3,pJ/operation,45 nm 0.9 V,a source,derived,"


def test_every_kind_of_row_says_what_its_detail_is() -> None:
    """A row is taken exactly if an event can be like it, or its kind's rule finds it."""
    workload = network_workload("bert-base", 1)
    logs = [
        lns_recipe(accumulator=Accumulator(9, style="log"), variant=variant)
        for variant in ("exact", "table:8", "interp:4", "mitchell")
    ]
    recipes = [*map(get_recipe, RECIPES), lns_recipe(accumulator=Accumulator(style="bins"))]
    recipes += [lns_recipe(optimiser="madam")]
    edge, far = get_machine("edge-16"), get_machine("lns-madam-like")
    steps = [cost_step(workload, edge, recipe) for recipe in (*recipes, *logs)]
    steps += [cost_step(workload, far, recipe) for recipe in recipes]
    events = {event for step in steps for event in step.events()}
    bases = {"int_add", "mux_bits", "float_overhead", "mac"}
    assert {event.kind for event in events} | bases == set(KINDS)
    for event in sorted(events):
        if event.kind == "wire_bits":  # only its base, a millimetre, is a row
            continue
        per_bit = event.kind.endswith("_bits") or event.kind == "float_overhead"
        unit = "pJ/bit" if per_bit else "pJ/operation"
        record = dict(zip(COLUMNS, (event.kind, str(event.bits), event.detail), strict=False))
        record |= dict.fromkeys(("low_pj", "mid_pj", "high_pj"), "1")
        record |= {"unit": unit, "node": "n", "source": "s", "confidence": "derived"}
        assert read_row(record).key == (event.kind, event.bits, event.detail)
        if event.kind not in ("float_add", "encode"):
            with pytest.raises(ValueError, match=f"^detail of {event.kind} must "):
                read_row(record | {"detail": "foo"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pJ/operation", "", "line 2: unit must be given, got nothing"),
        ("pJ/operation", "pJ/bit", "line 2: unit must be one of pJ/operation, got 'pJ/bit'"),
        ("a source", " ", "line 2: source must be given, got nothing"),
        ("0.1", "-0.1", "line 2: prices must be 0 <= low <= mid <= high, got -0.1, 0.2, 0.3"),
        ("0.1", "0.25", "line 2: prices must be 0 <= low <= mid <= high, got 0.25, 0.2, 0.3"),
        ("0.3", "inf", "line 2: prices must be 0 <= low <= mid <= high, got 0.1, 0.2, inf"),
        ("0.2", "cheap", "line 2: mid_pj must be a number, got 'cheap'"),
        ("int_add", "intadd", "line 2: kind must be one of"),
        ("derived", "guess", "line 2: confidence must be one of confirmed, derived, unconfirmed"),
        ("45 nm", "7 nm", "node must be the same in every row, got 45 nm 0.9 V, 7 nm 0.9 V"),
        ("kind,bits", "kinds,bits", "must have the columns kind, bits,"),
        ("int_add,8,", "int_add,0,", "line 2: bits of int_add must be a width above 0, got 0"),
        ("int_add,8,,", "gauss_lookup,9,foo,", "line 2: detail of gauss_lookup must look like "),
        ("int_add,8,,", "gauss_lookup,9,8x8,", "line 2: bits of gauss_lookup must be 8, got 9"),
        ("int_add,8,,", "int_multiply,8,0x8,", "line 2: detail of int_multiply must look like "),
        ("int_add,8,,", "distance,9,x,", "line 2: detail of distance must be left out, got 'x'"),
        ("int_add,8,,", "mac,9,lns8,", "line 2: bits of mac must be 8, got 9"),
    ],
)
def test_a_broken_user_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each fault ends in one line that names file line and field."""
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEAD}\n{ROW}\n".replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is checked below
        load_prices(path)
    assert message in str(error.value)
