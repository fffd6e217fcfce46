"""One training run: a configuration in, a record of accuracy, counts and energy out.

Everything is a function of the configuration and the torch thread count: weights come from the
seed, the batches of epoch e from the seed and e (a fresh permutation; the last, partial batch is
dropped). The loss is cross-entropy on the fp32 vector unit. After each epoch the whole test set is
classified in batches of EVAL_BATCH with the counts switched off; a scale is chosen per tensor, so
the size of a batch is part of the result.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ...lns.checks import NonFiniteError, require_int
from ..cost.step import cost_step
from ..data.datasets import Dataset, load_data
from ..events.event import Events
from ..prices.table import PriceTable
from ..rules.rule import named
from ..training.convert import convert
from ..training.make_optimiser import (
    make_optimiser,
    set_lr_scale,
    undefined_directions,
    update_of_a_step,
)
from ..training.tally import Tally
from ..workload.models import make_model
from .checkpoint import Progress, load_checkpoint, save_checkpoint
from .origin import commit, host, versions
from .plan import Plan
from .record import Accumulators, Conversions, Epoch, Record
from .run_config import RunConfig
from .run_cost import counted_events, run_cost, run_energy, run_time

EVAL_BATCH = 500  #: images per batch in evaluation
COUNT_EVENTS = False  #: a test counts them while a run runs; they are in its checkpoint
FINAL_LR = 0.1  #: the schedules' last factor
OnStep = Callable[[int, int], None]


class _DivergedError(Exception):
    """The loss is no longer finite."""


@dataclass(slots=True)
class _Run:
    """What the loop works on."""

    config: RunConfig
    plan: Plan
    data: Dataset
    model: torch.nn.Module
    optimiser: Any
    tally: Tally
    update: Events  #: of a step
    steps_per_epoch: int
    progress: Progress

    @property
    def total_steps(self) -> int:
        """Steps until the run ends."""
        whole = self.config.epochs * self.steps_per_epoch
        return whole if self.config.max_steps is None else min(whole, self.config.max_steps)


def train(
    config: RunConfig,
    on_step: OnStep | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    checkpoint_seconds: float | None = None,
    prices: PriceTable | None = None,
) -> Record:
    """Train one network and return its record.

    on_step(done, total) is called after every step. checkpoint: file written after every epoch and
    every `checkpoint_every` steps or `checkpoint_seconds` seconds; resume: continue from it if it
    exists, to the same bits as a run that was never interrupted. prices: the configuration's if
    None. A loss or operand that is not finite ends the run with status "diverged"; the record is
    complete up to there, and the events of its last step are those of the forward phase. torch's
    and Numba's thread counts are those of the configuration while this runs and are put back
    afterwards.
    """
    if resume and checkpoint is None:
        raise ValueError("checkpoint must be given to resume, got None")
    if checkpoint_every is not None:
        require_int("checkpoint_every", checkpoint_every, 1, 10**9)
    plan = config.resolve()
    if prices is not None:
        plan = replace(plan, prices=prices)
    start = time.perf_counter()
    with _settings(config):
        run = _prepare(config, plan)
        if resume and checkpoint is not None and checkpoint.exists():
            run.progress = load_checkpoint(checkpoint, config, run.model, run.optimiser, run.tally)
        earlier = run.progress.seconds
        reason = None
        last_save = start

        def due() -> bool:
            late = time.perf_counter() - last_save
            if checkpoint_every is not None and run.progress.step % checkpoint_every == 0:
                return True
            return checkpoint_seconds is not None and late >= checkpoint_seconds

        def save() -> None:
            nonlocal last_save
            last_save = time.perf_counter()
            if checkpoint is not None:
                run.progress.seconds = earlier + time.perf_counter() - start
                save_checkpoint(
                    checkpoint, config, run.model, run.optimiser, run.tally, run.progress
                )

        try:
            _loop(run, on_step, save, due)
        except (_DivergedError, NonFiniteError) as error:
            reason = str(error)
    seconds = earlier + time.perf_counter() - start
    return _record(run, reason, seconds)


def _record(run: _Run, reason: str | None, seconds: float) -> Record:
    """The record of a run that is over; a `reason` makes its status "diverged"."""
    config, plan, progress = run.config, run.plan, run.progress
    history, begun = progress.history, progress.begun
    step = cost_step(plan.workload, plan.machine, plan.recipe)
    counted = counted_events(step, run.update, begun, progress.step)
    cost = run_cost(step, counted, begun)
    counts = run.tally.as_dict()
    return Record(
        id=config.run_id,
        label=config.label,
        config=config.as_dict(),
        lr=config.lr,
        status="ok" if reason is None else "diverged",
        reason=reason,
        test_accuracy=history[-1].test_accuracy if history and reason is None else None,
        history=tuple(history),
        steps=progress.step,
        steps_per_epoch=run.steps_per_epoch,
        counts=tuple(Conversions(**row) for row in counts["encodes"]),
        accumulators=tuple(Accumulators(**row) for row in counts["accumulators"]),
        counted_events=counted,
        events=cost.events(),
        energy=run_energy(cost, begun, run.steps_per_epoch, plan.prices) if begun else None,
        step=run_time(step) if begun else None,
        accelerator=plan.machine.as_dict(),
        overflow_rule=plan.recipe.overflow_rule,
        node=plan.prices.node,
        price_sources=tuple(plan.prices.sources),
        prices=plan.prices.digest,
        versions=versions(),
        commit=commit(),
        threads={"torch": config.threads, "numba": numba_threads(config)},
        machine=host(),
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(seconds, 3),
        undefined_directions=undefined_directions(run.optimiser),
    )


def numba_threads(config: RunConfig) -> int:
    """Return the threads Numba runs with: those asked for, at most those it was started with."""
    return min(config.threads, int(numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


@contextmanager
def _settings(config: RunConfig) -> Iterator[None]:
    """Set threads, seed and determinism of torch and Numba; put them back at the end."""
    threads, jit_threads = torch.get_num_threads(), numba.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    random = torch.get_rng_state()
    torch.set_num_threads(config.threads)
    numba.set_num_threads(numba_threads(config))
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(config.seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        numba.set_num_threads(jit_threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_rng_state(random)


@lru_cache(maxsize=1)
def _cached_data(name: str, folder: str | None) -> Dataset:
    """Runs of a sweep share one data set; the folder is part of what is asked for."""
    return load_data(name)


def _prepare(config: RunConfig, plan: Plan) -> _Run:
    data = _limited(_cached_data(config.data, os.environ.get("LNSIM_DATA")), config)
    if config.batch > len(data.train_y):
        raise ValueError(
            f"batch must be at most the {len(data.train_y)} training images, got {config.batch}"
        )
    recipe = plan.recipe
    shape = data.train_x.shape[1:]
    model = convert(make_model(config.model, shape, data.classes, config.seed), recipe)
    optimiser = make_optimiser(model, recipe, lr=config.lr)
    tally = model.tally
    assert isinstance(tally, Tally)
    tally.reset()  # a conversion at the start is no part of a step
    tally.count_events = COUNT_EVENTS  # the record's are those of the cost model: `_record`
    update = update_of_a_step(model, optimiser, recipe)
    steps = len(data.train_y) // config.batch
    return _Run(config, plan, data, model, optimiser, tally, update, steps, Progress())


def _limited(data: Dataset, config: RunConfig) -> Dataset:
    train, test = slice(config.limit_train), slice(config.limit_test)
    return replace(
        data,
        train_x=data.train_x[train],
        train_y=data.train_y[train],
        test_x=data.test_x[test],
        test_y=data.test_y[test],
    )


def lr_scale(schedule: str, step: int, total: int) -> float:
    """Return the factor of the learning rate at `step` of `total`.

    "constant": 1. "cosine": from 1 to FINAL_LR along half a cosine. "step": 1 for the first half,
    the root of FINAL_LR for the next quarter, FINAL_LR for the last.
    """
    if schedule == "cosine":
        return FINAL_LR + (1.0 - FINAL_LR) * 0.5 * (1.0 + math.cos(math.pi * step / total))
    if schedule == "step":
        return 1.0 if 2 * step < total else FINAL_LR**0.5 if 4 * step < 3 * total else FINAL_LR
    return 1.0


def batch_order(seed: int, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the permutation of `count` images that epoch `epoch` takes its batches from."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _loop(
    run: _Run, on_step: OnStep | None, save: Callable[[], None], due: Callable[[], bool]
) -> None:
    config, progress = run.config, run.progress
    while progress.step < run.total_steps:
        order = batch_order(config.seed, progress.epoch, len(run.data.train_y))
        first = progress.step - progress.epoch * run.steps_per_epoch
        last = min(run.steps_per_epoch, run.total_steps - progress.epoch * run.steps_per_epoch)
        for i in range(first, last):
            progress.loss_sum += _step(run, order[i * config.batch : (i + 1) * config.batch])
            progress.step += 1
            if i + 1 < last and due():
                save()
            if on_step is not None and i + 1 < last:
                on_step(progress.step, run.total_steps)
        _end_epoch(run, last)
        save()
        if on_step is not None:
            on_step(progress.step, run.total_steps)


def _step(run: _Run, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Forward, backward and update on one batch; return its loss."""
    config = run.config
    run.progress.begun += 1
    whole = config.epochs * run.steps_per_epoch
    set_lr_scale(run.optimiser, lr_scale(config.schedule, run.progress.step, whole))
    run.model.train()
    images, labels = run.data.train_x[rows], run.data.train_y[rows]
    batch = torch.from_numpy(images), torch.from_numpy(labels)
    value: float = named(run.plan.recipe.rule.step)(run.model, run.optimiser, *batch, cross_entropy)
    if not math.isfinite(value):
        raise _DivergedError(f"loss must be finite, got {value} at step {run.progress.step}")
    return value


def _end_epoch(run: _Run, batches: int) -> None:
    """Classify the test set, extend the history and move on to the next epoch."""
    progress = run.progress
    loss, accuracy = evaluate(run.model, run.data, run.tally)
    finite = math.isfinite(loss)
    train_loss = progress.loss_sum / batches
    progress.history.append(
        Epoch(progress.epoch + 1, train_loss, loss if finite else None, accuracy)
    )
    progress.epoch += 1
    progress.loss_sum = 0.0
    if not finite:
        raise _DivergedError(f"test loss must be finite, got {loss} after epoch {progress.epoch}")


@torch.no_grad()
def evaluate(model: torch.nn.Module, data: Dataset, tally: Tally) -> tuple[float, float]:
    """Return (mean cross-entropy, accuracy in percent) on the test part; nothing is counted."""
    enabled, tally.enabled = tally.enabled, False
    model.eval()
    total, correct = 0.0, 0
    try:
        for first in range(0, len(data.test_y), EVAL_BATCH):
            images = torch.from_numpy(data.test_x[first : first + EVAL_BATCH])
            labels = torch.from_numpy(data.test_y[first : first + EVAL_BATCH])
            scores = model(images)
            total += cross_entropy(scores, labels, reduction="sum").item()
            correct += int((scores.argmax(1) == labels).sum())
    finally:
        tally.enabled = enabled
    return total / len(data.test_y), 100.0 * correct / len(data.test_y)
