"""Madam's three published rules in float64, as judges of hundreds of float32 and integer steps.

Typed again from the papers (Madam and integer Madam: arXiv 2006.14560; LNS-Madam: 2106.13914) and
their authors' defaults, without torch. Where float32 may differ from float64 the difference is
bounded, rounding by rounding: e = 2^-24 for each operation, two for exp and exp2 (one unit in the
last place), carried along from step to step. A result that is rounded to a lattice must be equal
unless the float64 value lies within that bound of a rounding boundary; those are counted.

One thing is not as published: integer Madam starts from uniformly drawn exponents there, here from
the network's own weights unless it is told otherwise.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from lnsim.lns import LNS16_UPDATE, LNSFormat, get_format
from lnsim.sim import IntegerMadam, LNSMadam, Madam, convert, lns_recipe
from lnsim.sim.training.convert import mapped_layers
from lnsim.sim.training.make_optimiser import make_optimiser
from torch import nn

Reals = npt.NDArray[np.float64]
E = 2.0**-24 * 1.001  # relative error of a float32 operation, and room for products of errors
BETA, G_BOUND, P_SCALE = 0.999, 10.0, 3.0  # the authors' defaults
SHAPE = (24, 32)
STEPS = 300


def gradients(seed: int, shape: tuple[int, ...] = SHAPE) -> list[npt.NDArray[np.float32]]:
    """Of five magnitudes; spikes that meet g_bound, zeros, a row that is zero at first; a quarter
    of the columns of one sign, a quarter of the other, which drive weights to their ends."""
    rng = np.random.default_rng(seed)
    found = []
    for step in range(STEPS):
        g = rng.standard_normal(shape) * 10.0 ** (step % 5 - 3)
        g *= np.where(rng.random(shape) < 0.005, 1e4, 1.0) * (rng.random(shape) > 0.05)
        g[:, :8], g[:, 8:16] = np.abs(g[:, :8]), -np.abs(g[:, 8:16])
        if step < 40:
            g[0] = 0.0
        found.append(g.astype(np.float32))
    return found


class Direction:
    """u = g / sqrt(vhat) of the papers, cut at g_bound, and how far float32's may be from it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.v, self.error, self.t = np.zeros(shape), np.zeros(shape), 0

    def step(self, gradient: npt.NDArray[np.float32]) -> tuple[Reals, Reals]:
        """(u, bound of its absolute error in float32).

        v: beta and its product, one rounding each; (1 - beta) g g, three; the sum, one. Then
        1 - beta^t and the quotient, half of which are left by the root; root and quotient.
        """
        self.t += 1
        g = gradient.astype(np.float64)
        kept, new = BETA * self.v, (1 - BETA) * g * g
        carried = BETA * self.error + 2 * E * (kept + BETA * self.error) + 3 * E * new
        self.v = kept + new
        self.error = carried + E * (self.v + carried)
        with np.errstate(invalid="ignore", divide="ignore"):
            u = g / np.sqrt(self.v / (1 - BETA**self.t))
            relative = (self.error / self.v + 2 * E) / 2 + 2 * E
        u = np.where(np.isnan(u), 0.0, u)  # 0/0
        bound = np.where(u == 0, 0.0, np.abs(u) * relative * 1.001)
        return np.clip(u, -G_BOUND, G_BOUND), bound


def near_a_boundary(value: Reals, bound: Reals) -> npt.NDArray[np.bool_]:
    """Whether rounding to whole numbers could go either way within `bound`."""
    return np.abs(value - np.floor(value) - 0.5) <= bound


def weights(seed: int, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.float32]:
    """Of both signs, four octaves."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1.0, 1.0], shape)
    return (sign * np.exp2(rng.uniform(-4, 0, shape))).astype(np.float32)


def root_mean_square(w: npt.NDArray[Any]) -> float:
    """In float64."""
    return math.sqrt(float((w.astype(np.float64) ** 2).mean()))


def assert_bound_of_weights(state: dict[str, Any], w: npt.NDArray[Any]) -> float:
    """w_max = p_scale RMS(w_0) to float32's error: a sum of n squares, a root, a product.

    Returns the one that is used.
    """
    got, wanted = float(state["w_max"]), P_SCALE * root_mean_square(w)
    assert abs(got / wanted - 1) <= (w.size + 3) * E / 2 + 2 * E
    return got


# --- float weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [0.01, 0.1])
def test_madam(lr: float) -> None:
    """w <- clamp(w exp(-lr u sign w)): each weight within its bound, signs kept, zero unmoved."""
    start = weights(1)
    start[1, :3] = 0.0
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimiser, direction = Madam([weight], lr=lr), Direction(SHAPE)
    judge, bound, clamped = start.astype(np.float64), np.zeros(SHAPE), 0
    for gradient in gradients(2):
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        u, error = direction.step(gradient)
        w_max = P_SCALE * root_mean_square(start)
        top_bound = abs(assert_bound_of_weights(optimiser.state[weight], start) / w_max - 1)
        judge = judge * np.exp(-lr * u * np.sign(judge))
        clamped += int((np.abs(judge) > w_max).sum())
        judge = np.clip(judge, -w_max, w_max)
        # of the logarithm: -lr u, its rate and product; exp; the product with w
        bound = np.maximum(bound + lr * (error + 2 * E * np.abs(u)) + 3 * E, top_bound)
        got = weight.detach().numpy()
        assert (np.sign(got) == np.sign(start)).all()
        assert (np.abs(got - judge) <= np.expm1(bound) * np.abs(judge)).all()
    assert bound.max() < 2e-3
    assert clamped > 100


def test_lns_madam() -> None:
    """w <- clamp(w 2^(-lr round(u) sign w)), lr = 1/128: the number of steps of 1/128 octave is
    whole and equal; a weight leaves the comparison when a u lies at a rounding boundary."""
    start = weights(3)
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimiser, direction = LNSMadam([weight]), Direction(SHAPE)
    octaves, sign = np.log2(np.abs(start.astype(np.float64))), np.sign(start)
    open_ = np.zeros(SHAPE, bool)
    for step, gradient in enumerate(gradients(4), start=1):
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        u, error = direction.step(gradient)
        open_ |= near_a_boundary(u, error)
        w_max = assert_bound_of_weights(optimiser.state[weight], start)
        octaves = np.minimum(octaves - np.rint(u) * sign / 128, math.log2(w_max))
        got = weight.detach().numpy()
        assert (np.sign(got) == sign).all()
        off = np.abs(np.log2(np.abs(got.astype(np.float64))) - octaves)
        assert (off <= 3 * E * step / math.log(2))[~open_].all()  # exp2 and a product per step
    assert 3 * E * STEPS / math.log(2) < 0.02 / 128
    assert (octaves == math.log2(w_max)).any()
    assert open_.sum() < 0.02 * open_.size


# --- weights on a lattice -----------------------------------------------------------------------


def stored_layer(optimiser: str, update: LNSFormat) -> tuple[nn.Module, Any]:
    """One layer of weights without a bias, stored in `update`, and its optimiser at the papers'
    learning rates."""
    plain = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    with torch.no_grad():
        plain.weight.copy_(torch.from_numpy(weights(5)))
    recipe = lns_recipe(optimiser=optimiser, update=update)
    model = convert(nn.Sequential(plain), recipe)
    return model, make_optimiser(model, recipe, lr=1 / 128 if optimiser == "lns-madam" else 0.01)


def lattice(weight: torch.Tensor, gamma: int) -> npt.NDArray[np.int64]:
    """gamma log2|w|, whole: weights lie on the lattice to float32's rounding."""
    steps = gamma * np.log2(np.abs(weight.detach().numpy().astype(np.float64)))
    assert (np.abs(steps - np.rint(steps)) <= gamma * E / math.log(2)).all()
    return np.rint(steps).astype(np.int64)


@pytest.mark.parametrize("update", [LNS16_UPDATE, LNSFormat(12, 128, zero=False)], ids=str)
def test_lns_madam_stored(update: LNSFormat) -> None:
    """A rounded unit of u is gamma / 128 steps of the update format, so weights that are stored
    after each step move by whole steps, e <- e - (gamma / 128) round(u) sign w, up to w_max's."""
    model, optimiser = stored_layer("lns-madam", update)
    (weight,) = model.parameters()
    start, sign = weight.detach().numpy().copy(), np.sign(weight.detach().numpy())
    direction, e = Direction(SHAPE), lattice(weight, update.gamma)
    np.testing.assert_array_equal(
        e, np.rint(update.gamma * np.log2(np.abs(weights(5), dtype=float)))
    )
    open_ = np.zeros(SHAPE, bool)
    clamped = 0
    for gradient in gradients(6):
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        u, error = direction.step(gradient)
        open_ |= near_a_boundary(u, error)
        w_max = assert_bound_of_weights(optimiser.state[weight], start)
        e = e - update.gamma // 128 * (np.rint(u) * sign).astype(np.int64)
        top = round(update.gamma * math.log2(w_max))
        clamped += int((e > top).sum())
        e = np.minimum(e, top)
        got = lattice(weight, update.gamma)
        np.testing.assert_array_equal(got[~open_], e[~open_])
        assert (np.sign(weight.detach().numpy()) == sign).all()
    assert clamped > 100
    assert open_.sum() < 0.02 * open_.size


def test_madam_stored() -> None:
    """The float rule, rounded to the update format after each step: the nearest step, but where
    float64 lies within the bound of a boundary."""
    update, lr = LNS16_UPDATE, 0.01
    model, optimiser = stored_layer("madam", update)
    (weight,) = model.parameters()
    start, sign = weight.detach().numpy().copy(), np.sign(weight.detach().numpy())
    direction, differing, doubtful = Direction(SHAPE), 0, 0
    for gradient in gradients(7):
        before = lattice(weight, update.gamma)
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        u, error = direction.step(gradient)
        w_max = assert_bound_of_weights(optimiser.state[weight], start)
        scale = update.gamma / math.log(2)
        e = np.minimum(before - lr * u * sign * scale, update.gamma * math.log2(w_max))
        bound = (lr * (error + 2 * E * np.abs(u)) + 4 * E) * scale  # and w as float32
        near = near_a_boundary(e, bound)
        got = lattice(weight, update.gamma)
        wanted = np.rint(e).astype(np.int64)
        np.testing.assert_array_equal(got[~near], wanted[~near])
        assert (np.abs(got - wanted) <= 1).all()
        differing, doubtful = differing + int((got != wanted).sum()), doubtful + int(near.sum())
    assert differing <= doubtful < 0.01 * STEPS * start.size


@pytest.mark.parametrize("name", ["lns-madam-u16", "integer-madam-12", "integer-madam-10"])
def test_integer_madam(name: str) -> None:
    """k <- clamp(k + round(lr_factor u) sign w, 0, levels - 1), k = 0 the largest magnitude:
    every exponent after every step, but where lr_factor u lies within the bound of a boundary."""
    update = get_format(name)
    assert isinstance(update, LNSFormat)
    model, _ = stored_layer("integer-madam", update)
    factor, levels = 16.0, 2**update.exponent_bits
    optimiser, direction = IntegerMadam(model, lr_factor=factor), Direction(SHAPE)
    (layer,) = mapped_layers(model)
    code = layer.weight_code.numpy().copy()
    sign = 1 - 2 * (code >> update.exponent_bits)
    differing = doubtful = clamped = 0
    for gradient in gradients(8):
        k = levels - 1 - (layer.weight_code.numpy() % levels).astype(np.int64)
        layer.codes["weight"].gradient = torch.from_numpy(gradient)
        optimiser.step()
        u, error = direction.step(gradient)
        near = near_a_boundary(factor * u, factor * (error + 2 * E * np.abs(u)))
        moved = k + (np.rint(factor * u) * sign).astype(np.int64)
        clamped += int(((moved < 0) | (moved >= levels)).sum())
        wanted = levels - 1 - np.clip(moved, 0, levels - 1)
        after = layer.weight_code.numpy()
        got = (after % levels).astype(np.int64)
        np.testing.assert_array_equal(got[~near], wanted[~near])
        assert (np.abs(got - wanted) <= 1).all()
        np.testing.assert_array_equal(after >> update.exponent_bits, code >> update.exponent_bits)
        differing, doubtful = differing + int((got != wanted).sum()), doubtful + int(near.sum())
    assert clamped > 100
    assert differing <= doubtful < 0.002 * STEPS * code.size


def test_the_lattice_of_integer_madam_is_the_published_one() -> None:
    """w = sign w_max exp(-base_lr k), base_lr = ln 2 / gamma: the values of the stored codes, w_max
    being on the lattice here (within half a step)."""
    update = LNSFormat(11, 256, zero=False)
    model, optimiser = stored_layer("integer-madam", update)
    (layer,) = mapped_layers(model)
    stored = layer.stored("weight")
    assert stored is not None
    w_max = P_SCALE * root_mean_square(weights(5))
    top = update.max_exponent + int(stored.offset)
    assert abs(top - update.gamma * math.log2(w_max)) <= 0.5
    sign = 1 - 2 * (stored.code >> update.exponent_bits).astype(int)
    k = update.max_exponent - (stored.code & update.max_exponent).astype(int)
    published = sign * 2.0 ** (top / update.gamma) * np.exp(-math.log(2) / update.gamma * k)
    ratio = published / weights(5).astype(np.float64)
    assert (np.abs(np.log2(ratio)) <= 0.5 / update.gamma + 1e-12)[k > 0].all()
    # an effective learning rate of 0.01: lr_factor = lr / base_lr
    assert optimiser.lr_factor * math.log(2) / update.gamma == pytest.approx(0.01, rel=1e-15)
