"""A run is a function of its configuration: repeated, resumed, diverged, priced and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lnsim.lns import Accumulator, Datapath
from lnsim.sim import convert, make_optimiser
from lnsim.sim.prices.table import PriceTable
from lnsim.sim.recipes.names import FORMAT_NAMES
from lnsim.sim.rules.rule import RULES
from lnsim.sim.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from lnsim.sim.runs.record import Record
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.train import FINAL_LR, batch_order, lr_scale, train
from lnsim.sim.workload import catalog, networks
from lnsim.sim.workload.models import MODELS
from torch import nn

SMALL = {"limit_train": 200, "limit_test": 100, "batch": 32, "epochs": 2}
VARYING = ("seconds", "machine", "time")


class InterruptedRunError(Exception):
    """Stands for a crash in the middle of a run."""


def fixed(record: Record) -> dict[str, Any]:
    """Return a record without what may differ between two runs of a configuration."""
    return {name: value for name, value in record.to_json().items() if name not in VARYING}


def same_state(a: Path, b: Path) -> None:
    """Assert that two checkpoints hold the same bits in model and optimiser."""

    def compare(left: Any, right: Any) -> None:
        assert type(left) is type(right)
        if isinstance(left, torch.Tensor):
            assert left.dtype == right.dtype
            assert left.numpy().tobytes() == right.numpy().tobytes()
        elif isinstance(left, dict):
            assert list(left) == list(right)
            for key in left:
                compare(left[key], right[key])
        elif isinstance(left, list | tuple):
            for pair in zip(left, right, strict=True):
                compare(*pair)
        else:
            assert left == right

    one, two = (torch.load(path, weights_only=True) for path in (a, b))
    for part in ("model", "optimiser"):
        assert one[part], "there is something to compare"
        compare(one[part], two[part])


@pytest.mark.parametrize(
    "fields",
    [{}, {"format": "fp8"}, {"format": "fp32-madam"}, {"optimiser": "lns-madam"}],
    ids=["lns-integer-madam", "fp8-adamw", "fp32-madam", "lns-madam"],
)
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Cut off in the middle of epoch 2, resumed: same record, same bits of weights and state."""
    config = RunConfig(**SMALL, **fields)
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    expected = train(config, checkpoint=whole)

    def crash(done: int, total: int) -> None:
        assert total == 12
        if done == 9:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(config, crash, checkpoint=cut, checkpoint_every=4)
    assert torch.load(cut, weights_only=True)["step"] == 8
    steps: list[int] = []
    resumed = train(config, lambda done, _: steps.append(done), checkpoint=cut, resume=True)
    assert steps == [9, 10, 11, 12]
    assert fixed(resumed) == fixed(expected)
    same_state(whole, cut)


def test_a_finished_run_resumes_to_its_record(tmp_path: Path) -> None:
    """Nothing is trained twice."""
    config, path = RunConfig(**SMALL), tmp_path / "run.pt"
    record = train(config, checkpoint=path)
    steps: list[int] = []
    again = train(config, lambda done, _: steps.append(done), checkpoint=path, resume=True)
    assert steps == []
    assert fixed(again) == fixed(record)


def test_the_same_configuration_gives_the_same_record() -> None:
    """Same bytes but for seconds, machine and time; the caller's random state does not matter."""
    torch.manual_seed(1)
    one = train(RunConfig(**SMALL))
    torch.manual_seed(2)
    two = train(RunConfig(**SMALL))
    other = train(RunConfig(**SMALL, seed=1))
    assert fixed(one) == fixed(two)
    assert one.history != other.history


def test_a_run_leaves_global_state_as_it_was() -> None:
    """Threads, determinism and random state are the caller's."""
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.get_rng_state().tolist())
    train(RunConfig(**SMALL, max_steps=1))
    assert (torch.get_num_threads(), torch.get_rng_state().tolist()) == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_it_learns() -> None:
    """The default configuration, cut short, is far above the chance of one in ten."""
    record = train(RunConfig(epochs=3))
    assert record.status == "ok"
    assert record.test_accuracy is not None
    assert record.test_accuracy > 70
    assert [entry.epoch for entry in record.history] == [1, 2, 3]
    assert record.test_accuracy == record.history[-1].test_accuracy


def test_products_by_hand() -> None:
    """64-64-32-10, 3 steps of 16: 3 GEMMs a layer but for dx of the first; evaluation is free."""
    record = train(RunConfig(limit_train=48, limit_test=64, batch=16, epochs=1))
    layers = [64 * 64, 64 * 32, 32 * 10]
    products = {"forward": sum(layers), "dx": sum(layers[1:]), "dw": sum(layers)}
    for phase, count in products.items():
        rows = [row for row in record.accumulators if row.phase == phase]
        assert sum(row.products or 0 for row in rows) == 3 * 16 * count
        events = {(event.kind, event.bits): n for event, n in record.events[phase].items()}
        assert events["exponent_add", 8] == 3 * 16 * count
    moves = [n for event, n in record.events["update"].items() if event.kind == "exponent_add"]
    biases = 64 + 32 + 10
    assert moves in ([3 * sum(layers)], [3 * (sum(layers) + biases)])


def test_the_record_is_complete() -> None:
    """What a report needs is there, and the parts of the energy add up."""
    record = train(RunConfig(**SMALL))
    assert record.energy is not None
    energy = record.to_json()["energy"]
    assert record.steps == 12
    assert record.steps_per_epoch == 6
    for end in ("low", "mid", "high"):
        total = energy["per_step_pj"][end]
        assert total > 0
        assert energy["per_epoch_pj"][end] == pytest.approx(6 * total)
        for parts in ("by_phase", "by_kind", "by_group"):
            assert sum(part[end] for part in energy[parts].values()) == pytest.approx(total)
    assert set(energy["by_phase"]) == {"forward", "dx", "dw", "update"}
    assert {row.role for row in record.counts} >= {"weight", "activation", "error"}
    assert record.node == PriceTable.default().node
    assert record.overflow_rule
    assert record.lr is not None
    assert record.lr > 0
    assert set(record.versions) == {"python", "numpy", "numba", "torch", "lnsim"}
    assert record.threads == {"torch": 1, "numba": 1}
    assert RunConfig.from_dict(dict(record.config)).run_id == record.id


CASES = [
    *({"format": name} for name in FORMAT_NAMES),
    *({"optimiser": name} for name in ("sgd", "adamw", "madam", "lns-madam")),
    *({"exponent_bits": bits} for bits in (2, 4, 5, 8)),
    {"style": "bins", "antilog_entries": 2, "lanes": 4},
    {"style": "log", "exponent_bits": 5},
    *({"style": "log", "variant": name, "lanes": 4} for name in ("table:8", "interp:4")),
    {"style": "log", "variant": "mitchell", "model": "cnn"},
    {"antilog_entries": 1, "overflow": "wrap", "rounding": "toward_zero"},
    {"format": "fp8-fixed", "lanes": 3, "guard": 1},
    {"format": "fp32", "optimiser": "sgd"},
    {"format": "fp8-no-master", "optimiser": "madam"},
    {"model": "cnn", "lanes": 2},
]


@pytest.mark.parametrize("fields", CASES, ids=lambda fields: ",".join(map(str, fields.values())))
def test_whatever_runs_has_a_price(fields: dict[str, Any]) -> None:
    """Two steps of each format, optimiser and style: every event is priced, every phase costs."""
    small = {"limit_train": 16, "limit_test": 16, "batch": 8, "epochs": 1}
    record = train(RunConfig(**small, **fields))
    assert record.status == "ok"
    assert record.energy is not None
    assert record.energy.by_phase is not None
    assert all(part.low > 0 for part in record.energy.by_phase.values())


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "fp32", "lr": 1e30},
        {"format": "fp16", "optimiser": "sgd", "lr": 1e6},
        {"optimiser": "adamw", "lr": 1e30},
    ],
    ids=["fp32", "fp16", "lns"],
)
def test_a_diverged_run_is_a_record(fields: dict[str, Any]) -> None:
    """A loss that is not finite ends the run, not the program."""
    record = train(RunConfig(**SMALL, **fields))
    assert record.status == "diverged"
    assert "finite" in str(record.reason)
    assert record.test_accuracy is None
    assert record.steps < 12
    assert record.energy is not None
    assert record.energy.per_step_pj.low > 0


def test_max_steps_ends_inside_an_epoch() -> None:
    """Eight of twelve steps: a whole epoch and two steps, each with its test result."""
    record = train(RunConfig(**SMALL, max_steps=8))
    assert record.steps == 8
    assert train(RunConfig(**SMALL, max_steps=1, lr=0.25)).lr == 0.25
    assert [entry.epoch for entry in record.history] == [1, 2]


def test_a_batch_larger_than_the_data_is_refused() -> None:
    """No step could be made."""
    with pytest.raises(ValueError, match=r"^batch must be at most the 20 training images, got 32$"):
        train(RunConfig(batch=32, limit_train=20))


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    """The message names the field and both values; a damaged file is named too."""
    path = tmp_path / "run.pt"
    train(RunConfig(**SMALL, max_steps=1), checkpoint=path)
    with pytest.raises(ValueError, match=r"got max_steps 1 instead of 2, seed 0 instead of 5 in "):
        train(RunConfig(**SMALL, max_steps=2, seed=5), checkpoint=path, resume=True)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"^checkpoint must be a file lnsim wrote, got "):
        train(RunConfig(**SMALL), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match=r"^checkpoint must be given to resume, got None$"):
        train(RunConfig(**SMALL), resume=True)


def test_schedules() -> None:
    """Both schedules start at 1 and end near a tenth; constant stays."""
    assert [lr_scale("constant", step, 8) for step in (0, 7)] == [1.0, 1.0]
    cosine = [lr_scale("cosine", step, 100) for step in range(100)]
    assert cosine[0] == 1.0
    assert cosine == sorted(cosine, reverse=True)
    assert FINAL_LR < cosine[-1] < FINAL_LR + 0.001
    assert cosine[50] == pytest.approx((1 + FINAL_LR) / 2)
    steps = [lr_scale("step", step, 8) for step in range(8)]
    assert steps == [1.0] * 4 + [FINAL_LR**0.5] * 2 + [FINAL_LR] * 2


def test_every_epoch_has_its_own_permutation() -> None:
    """All images once, another order each epoch and seed."""
    orders = [batch_order(seed, epoch, 50) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(50))
    assert len({order.tobytes() for order in orders}) == 3
    assert np.array_equal(orders[0], batch_order(0, 0, 50))


def test_run_ids_are_stable_and_distinct() -> None:
    """A pinned id; a default spelt out is the same run, any change is another."""
    assert RunConfig().run_id == "d954ed7d996c"
    assert RunConfig(exponent_bits=7, gamma=8, lr=None).run_id == RunConfig().run_id
    changes: list[dict[str, Any]] = [
        {"seed": 1},
        {"lr": 3.0},
        {"guard": 3},
        {"format": "fp32"},
        {"threads": 2},
        {"exponent_bits": 6},
    ]
    ids = {RunConfig(**change).run_id for change in changes}
    assert len(ids | {RunConfig().run_id}) == len(changes) + 1
    assert RunConfig.from_dict(RunConfig(lr=3).as_dict()) == RunConfig(lr=3.0)


def test_a_field_that_came_later_is_in_no_older_id() -> None:
    """`variant` is part of a run of style log alone."""
    assert "variant" not in RunConfig().as_dict()
    log = RunConfig(style="log")
    assert (log.variant, log.accumulator_bits, log.guard) == ("exact", 9, None)
    assert log.run_id != RunConfig(style="log", variant="mitchell").run_id
    assert RunConfig.from_dict(log.as_dict()) == log
    assert log.recipe().datapath == Datapath(accumulator=Accumulator(bits=9, style="log"))


def test_gamma_follows_the_exponent_width() -> None:
    """A constant range of 16 octaves: G = 2^(E-4), at least 1."""
    gammas = [RunConfig(exponent_bits=bits).gamma for bits in (2, 4, 5, 6, 7, 8)]
    assert gammas == [1, 1, 2, 4, 8, 16]


def test_labels() -> None:
    """Format, what differs from the default hardware, optimiser."""
    assert RunConfig().label == "LNS E7 G8 · integer-madam"
    assert RunConfig(format="fp8").label == "fp8 · adamw"
    changed = RunConfig(exponent_bits=5, antilog_entries=1, accumulator_bits=20, style="bins")
    assert changed.label == "LNS E5 G2 L1 W20 bins · integer-madam"
    log = RunConfig(style="log", variant="table:8")
    assert log.label == "LNS E7 G8 log table:8 · integer-madam"
    assert RunConfig(style="log", accumulator_bits=10).label == "LNS E7 G8 W10 log · integer-madam"
    assert RunConfig(format="fp8-fixed", guard=2).label == "fp8-fixed guard 2 · adamw"


def test_model_names_are_the_models() -> None:
    """The lists that need no torch are the registries'."""
    assert set(catalog.TRAINED) == set(MODELS)
    assert set(catalog.NETWORKS) == set(networks.NETWORKS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": 6}, "gamma must be a power of two, got 6"),
        ({"exponent_bits": 0}, "exponent_bits must be in 2..15, got 0"),
        ({"exponent_bits": "7"}, "exponent_bits must be an integer, got '7'"),
        ({"format": "fp9"}, "format must be one of bf16, "),
        ({"data": "imagenet"}, "data must be one of cifar10, digits, "),
        ({"model": "gpt"}, "model must be one of cnn, mlp, resnet18-cifar, got 'gpt'"),
        ({"format": "fp8", "gamma": 8}, "gamma must be left out for format fp8, got 8"),
        ({"format": "fp8", "lanes": 2}, "lanes must be left out for format fp8, got 2"),
        (
            {"format": "fp8-fixed", "style": "bins"},
            "style must be left out for format fp8-fixed, got bins",
        ),
        (
            {"optimiser": "madam", "update_gamma": 4},
            "update_gamma must be left out for optimiser madam, got 4",
        ),
        (
            {"format": "bf16", "optimiser": "integer-madam"},
            "optimiser must be one of adamw, madam, sgd for format bf16, got 'integer-madam'",
        ),
        ({"antilog_entries": 16}, "antilog_entries must be in 1..8, got 16"),
        ({"guard": 23}, "guard must be in 0..22, got 23"),
        ({"style": "log", "guard": 4}, "guard must be left out for style log, got 4"),
        ({"style": "log", "table_bits": 8}, "table_bits must be left out for style log, got 8"),
        (
            {"style": "log", "accumulator_bits": 8},
            "accumulator_bits must be in 9..15, got 8",
        ),
        (
            {"style": "log", "exponent_bits": 14},
            "exponent_bits must be at most 13 in style log, whose sums have two bits more, got 14",
        ),
        ({"style": "log", "variant": "table"}, "variant must be one of exact, table:n, "),
        ({"variant": "mitchell"}, "variant must be left out for style direct, got mitchell"),
        ({"lr": 0}, "lr must be above 0 and at most 1e+30, got 0"),
        ({"lr": float("nan")}, "lr must be above 0 and at most 1e+30, got nan"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine, step, got 'linear'"),
        ({"batch": 0}, "batch must be in 1..1000000, got 0"),
        ({"seed": -1}, "seed must be in 0..4294967295, got -1"),
        (
            {"accumulator_bits": 60, "table_bits": 16, "style": "bins"},
            "datapath must keep bits + table_bits + log2(entries) at most 63",
        ),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    """One clear line each."""
    with pytest.raises((ValueError, TypeError)) as error:
        RunConfig(**fields)
    assert str(error.value).startswith(message)


def test_an_unknown_field_is_refused() -> None:
    """A record of another version is not read half."""
    with pytest.raises(ValueError, match=r"^field must be one of .+, got 'gama'$"):
        RunConfig.from_dict({"gama": 8})


@pytest.mark.parametrize("optimiser", [name for name, rule in RULES.items() if rule.state_words])
def test_codes_and_floats_resume_together(tmp_path: Path, optimiser: str) -> None:
    """A norm's gain beside codes: each group of the optimiser has a state of its own kind."""
    config, path = RunConfig(optimiser=optimiser), tmp_path / "mixed.pt"
    recipe = config.resolve().recipe

    def made() -> tuple[Any, Any]:
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
        model = convert(net, recipe)
        return model, make_optimiser(model, recipe)

    def step(model: Any, optimiser: Any, seed: int) -> None:
        torch.manual_seed(seed)
        optimiser.zero_grad()
        model(torch.randn(4, 5)).square().sum().backward()
        optimiser.step()

    (model, optim), (other, resumed) = made(), made()
    step(model, optim, 0)
    save_checkpoint(path, config, model, optim, model.tally, Progress(step=1, begun=1))
    progress = load_checkpoint(path, config, other, resumed, other.tally)
    assert progress.step == 1
    step(model, optim, 1)
    step(other, resumed, 1)
    mine, theirs = other.state_dict(), model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    before = made()[0].state_dict()
    assert any(not torch.equal(mine[name], before[name]) for name in ("1.weight", "1.bias"))
