"""One grammar of names: what each says, the recipe it means, and what is near an unknown one."""

from typing import Any

import pytest
from lnsim.lns import Accumulator, Datapath, LNSFormat
from lnsim.sim.recipes.catalog import RECIPES
from lnsim.sim.recipes.facts import details
from lnsim.sim.recipes.names import FORMAT_NAMES, fields_of, get_recipe
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.sweep_config import SweepConfig

SAID: dict[str, dict[str, Any]] = {
    "lns": {},
    "lns8": {"exponent_bits": 7, "gamma": 8},
    "e5g4": {"exponent_bits": 5, "gamma": 4},
    "e5g4-bins": {"exponent_bits": 5, "gamma": 4, "style": "bins"},
    "lns-log": {"style": "log"},
    "e5g4-log-mitchell": {
        "exponent_bits": 5, "gamma": 4, "style": "log", "variant": "mitchell",
    },
    "lns8-log-table:8-w10": {
        "exponent_bits": 7, "gamma": 8, "style": "log", "variant": "table:8",
        "accumulator_bits": 10,
    },
    "lns8-w20": {"exponent_bits": 7, "gamma": 8, "accumulator_bits": 20},
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_a_name_is_the_fields_it_says(name: str) -> None:
    """In a run: the same configuration, id and label as the flags; in a recipe: the same values."""
    assert fields_of(name) == {"format": "lns"} | SAID[name]
    run = RunConfig(format=name)
    flags = RunConfig(format="lns", **SAID[name])
    assert run == flags
    assert (run.run_id, run.label, run.format) == (flags.run_id, flags.label, "lns")
    assert get_recipe(name) == run.recipe()


@pytest.mark.parametrize("name", RECIPES)
def test_the_catalogue_is_the_same_everywhere(name: str) -> None:
    """As a recipe, as a run's format and as text."""
    assert get_recipe(name) == RECIPES[name]()
    assert RunConfig(format=name).recipe().weight == get_recipe(name).weight
    assert dict(details(name))["training recipe"] == get_recipe(name).description
    if name != "lns8":
        assert fields_of(name) == {"format": name}
        assert name in FORMAT_NAMES


def test_what_a_name_leaves_open_a_flag_may_say() -> None:
    """And what it says a flag may repeat; another value is refused with both."""
    run = RunConfig(format="e5g4", style="log", variant="mitchell", accumulator_bits=8)
    assert run == RunConfig(format="e5g4-log-mitchell-w8")
    assert RunConfig(format="e5g4", gamma=4) == RunConfig(format="e5g4")
    assert RunConfig(format="lns", exponent_bits=5).gamma == 2
    for fields, message in (
        ({"format": "e5g4", "gamma": 8}, "gamma must be 4 for format e5g4, got 8"),
        ({"format": "lns8", "exponent_bits": 6}, "exponent_bits must be 7 for format lns8, got 6"),
        ({"format": "lns8-bins", "style": "log"}, "style must be bins for format lns8-bins, got l"),
        ({"format": "e5g4-w20", "accumulator_bits": 24},
         "accumulator_bits must be 20 for format e5g4-w20, got 24"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{message}"):
            RunConfig(**fields)


def test_a_sweep_takes_lns_by_name() -> None:
    """One more point of the LNS runs, with the sweep's other axes; a run that is there is once."""
    sweep = SweepConfig.from_mapping(
        {"exponent_bits": "7", "formats": "e5g4,fp8,e7g8,lns8-log", "seeds": 1, "lr": 0.5,
         "optimiser": "integer-madam,madam", "baseline_lr": 0.25}
    )  # fmt: skip
    assert [(run.label, run.lr) for run in sweep.runs()] == [
        ("LNS E7 G8 lr 0.5 · integer-madam", 0.5),
        ("LNS E7 G8 lr 0.5 · madam", 0.5),
        ("LNS E5 G4 lr 0.5 · integer-madam", 0.5),
        ("LNS E5 G4 lr 0.5 · madam", 0.5),
        ("fp8 lr 0.25 · adamw", 0.25),
        ("LNS E7 G8 log lr 0.5 · integer-madam", 0.5),
        ("LNS E7 G8 log lr 0.5 · madam", 0.5),
    ]
    assert SweepConfig.from_mapping(sweep.as_dict()) == sweep
    wide = SweepConfig(exponent_bits=(), formats=("e5g4-w20", "e5g4"), seeds=1, guard=(2, 4))
    assert [(run.accumulator_bits, run.guard) for run in wide.runs()] == [
        (20, 2), (20, 4), (24, 2), (24, 4),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^style must be bins for format lns8-bins, got log$"):
        SweepConfig(exponent_bits=(), formats=("lns8-bins",), style="log")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("fp9", "; did you mean fp8?"),
        ("FP8", "; did you mean fp8?"),
        ("lns88", "; did you mean lns8?"),
        ("mxfp8-e4m4", "; did you mean mxfp8-e4m3?"),
        ("fp8-log", "; did you mean fp8?"),
        ("eEgG", ""),
        ("posit", ""),
        ("e5g4-bins-mitchell", ""),
    ],
)
def test_an_unknown_name_says_the_nearest(name: str, near: str) -> None:
    """After the rule and what was given, from every door; nothing where nothing is near."""
    for door in (
        fields_of,
        get_recipe,
        lambda name: RunConfig(format=name),
        lambda name: SweepConfig(formats=(name,)),
    ):
        with pytest.raises(ValueError, match=r"^format must be one of bf16, ") as error:
            door(name)
        assert str(error.value).endswith(f", mxint8, got {name!r}{near}")


def test_widths_are_checked() -> None:
    """A name of the grammar is no promise: hardware has its limits."""
    for name, message in (
        ("e99g8", r"^exponent_bits must be in 2\.\.15, got 99$"),
        ("e99g8-log", r"^exponent_bits must be in 2\.\.15, got 99$"),
        ("e5g3", r"^gamma must be a power of two, got 3$"),
        ("lns8-log-w8", r"^bits must be at least 9 in style 'log' for "),
    ):
        with pytest.raises(ValueError, match=message):
            get_recipe(name)
    with pytest.raises(ValueError, match=r"^optimiser must be one of .+, got 'adam'; did you mean"):
        get_recipe("lns8", "adam")


def test_facts_of_lns_by_name() -> None:
    """eEgG is a number format; with an accumulator it is a recipe that says which."""
    facts = dict(details("e5g4"))
    assert (facts["bits"], facts["steps per octave"]) == ("6", "4")
    assert "accumulator" not in facts
    facts = dict(details("e5g4-log-mitchell"))
    assert "bits" not in facts
    assert facts["accumulator"] == "style log mitchell, 7 bits"
    assert dict(details("lns8-bins"))["accumulator"] == "style bins, 24 bits"
    recipe = get_recipe("e5g4-bins")
    assert recipe.weight == LNSFormat(5, 4)
    assert recipe.datapath == Datapath(accumulator=Accumulator(style="bins"))
