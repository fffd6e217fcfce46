"""Madam in its three forms against the formulae retyped in float64; laws of the integer form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lnsim.kernels import decode, move_codes, quantise
from lnsim.lns import LNSFormat, NonFiniteError
from lnsim.sim import IntegerMadam, LNSMadam, Madam, Recipe, convert, get_recipe, lns_recipe
from lnsim.sim.rules.madam import integer_madam_update, madam_direction, madam_update
from lnsim.sim.training.convert import mapped_layers
from lnsim.sim.training.make_optimiser import make_optimiser, set_lr_scale
from torch import nn

SHAPE = (5, 7)


def gradients(steps: int) -> list[torch.Tensor]:
    """Seeded gradients of very different sizes, in float64."""
    generator = torch.Generator().manual_seed(3)
    draw = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(steps))
    return [g * 10.0 ** (i % 5 - 3) for i, g in enumerate(draw)]


def retyped(w: np.ndarray, grads: list[np.ndarray], lr: float, octaves: bool) -> np.ndarray:
    """The published rule, element by element: w exp(-lr u sign w) or w 2^(-lr round(u) sign w)."""
    w_max = 3.0 * math.sqrt(float((w**2).mean()))
    out = w.copy()
    for index in np.ndindex(w.shape):
        value, v = float(w[index]), 0.0
        for t, g in enumerate(grads, start=1):
            v = 0.999 * v + 0.001 * float(g[index]) ** 2
            u = float(g[index]) / math.sqrt(v / (1 - 0.999**t)) if v else 0.0
            u = min(max(u, -10.0), 10.0)
            sign = (value > 0) - (value < 0)
            step = 2.0 ** (-lr * round(u) * sign) if octaves else math.exp(-lr * u * sign)
            value = min(max(value * step, -w_max), w_max)
        out[index] = value
    return out


@pytest.mark.parametrize(("kind", "octaves"), [(Madam, False), (LNSMadam, True)])
def test_float_forms_follow_the_published_rule(kind: type, octaves: bool) -> None:
    """40 steps equal the retyped formula to float64's rounding (40 steps of a few ulps each)."""
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    optimiser = kind([weight], lr=0.05)
    for g in gradients(40):
        weight.grad = g
        optimiser.step()
    expected = retyped(start.numpy(), [g.numpy() for g in gradients(40)], 0.05, octaves)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12, atol=0)


def test_the_first_step_is_the_sign_of_the_gradient() -> None:
    """vhat = g^2 at t = 1, so u is +-1; a zero gradient gives u = 0, not 0/0."""
    grad = torch.tensor([2.0, -0.001, 0.0, 1e-20])
    u, v = madam_direction(grad.double(), torch.zeros(4, dtype=torch.float64), 1)
    torch.testing.assert_close(u, torch.tensor([1.0, -1.0, 0.0, 1.0], dtype=torch.float64))
    assert v[2] == 0


def test_the_direction_is_bounded() -> None:
    """A rare spike would give sqrt(1000); it is cut at g_bound."""
    v, grad = torch.full((1,), 1e-8), torch.ones(1)
    u, _ = madam_direction(grad, v, 10_000)
    assert u.item() == 10.0


def test_float_madam_keeps_signs_zeros_and_the_bound() -> None:
    """Signs never change, zero stays zero, |w| never exceeds w_max."""
    weight = torch.tensor([1.0, -1.0, 0.0, 2.9])
    moved = madam_update(weight, torch.tensor([-10.0, -10.0, -10.0, -10.0]), 0.5, 3.0)
    assert moved[0] == 3.0  # grows against the bound
    assert -1 < moved[1] < 0
    assert moved[2] == 0
    assert moved[3] == 3.0


def test_integer_update_equals_integers_by_hand() -> None:
    """e <- clamp(e - round_half_even(lr_factor u) sign w, 0, 2^E - 1), for every code of E = 4."""
    fmt = LNSFormat(4, 1, zero=False)
    codes = torch.arange(32, dtype=torch.int32)
    for u in (-10.0, -1.0, -0.75, -0.25, 0.0, 0.25, 0.5, 0.75, 1.25, 10.0):
        moved = integer_madam_update(codes, torch.full((32,), u), 2.0, fmt.exponent_bits)
        for code, result in zip(codes.tolist(), moved.tolist(), strict=True):
            sign, e = code >> 4, code & 15
            expected = e - round(2.0 * u) * (-1 if sign else 1)  # Python rounds half to even
            assert result == (sign << 4 | min(max(expected, 0), 15))


def small_model() -> nn.Module:
    """Two linear layers with PyTorch's own initial values."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def train_steps(model: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    """A few steps on seeded data."""
    generator = torch.Generator().manual_seed(9)
    for _ in range(steps):
        x = torch.randn(16, 6, generator=generator)
        y = torch.randint(0, 3, (16,), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()


def test_the_exponents_are_the_only_copy_of_the_weights() -> None:
    """No float tensor of a weight's shape in the model; in the optimiser only the second moment."""
    original = small_model()
    shapes = {tuple(p.shape) for p in original.parameters()}
    model = convert(original, lns_recipe())
    optimiser = IntegerMadam(model)
    train_steps(model, optimiser, 3)
    assert not list(model.parameters())
    for name, tensor in model.state_dict().items():
        assert not (tensor.is_floating_point() and tuple(tensor.shape) in shapes), name
    floats = [
        (key, value)
        for state in optimiser.state_dict()["state"].values()
        for key, value in state.items()
        if torch.is_tensor(value) and value.is_floating_point()
    ]
    assert {key for key, _ in floats} == {"v"}
    assert len(floats) == 4
    for layer in mapped_layers(model):
        for value in vars(layer).values():
            assert not (
                torch.is_tensor(value)
                and value.is_floating_point()
                and tuple(value.shape) in shapes
            )


def test_the_top_code_stands_at_w_max() -> None:
    """The top of the lattice is p_scale * RMS(w_0), to half a step; codes are near the weights."""
    original = small_model()
    model = convert(original, lns_recipe())
    for mine, theirs in zip(mapped_layers(model), (original[0], original[2]), strict=True):
        stored = mine.stored("weight")
        assert stored is not None
        fmt = stored.fmt
        w_max = 3.0 * theirs.weight.detach().square().mean().sqrt().item()
        top = (fmt.max_exponent + int(stored.offset)) / fmt.gamma
        assert abs(top - math.log2(w_max)) <= 0.5 / fmt.gamma + 1e-6


def test_integer_madam_is_deterministic_and_learns() -> None:
    """The same seed gives the same codes; training moves them; signs stay."""
    results = []
    for _ in range(2):
        model = convert(small_model(), lns_recipe())
        before = [layer.weight_code.clone() for layer in mapped_layers(model)]
        train_steps(model, IntegerMadam(model), 5)
        after = [layer.weight_code for layer in mapped_layers(model)]
        bits = lns_recipe().update.exponent_bits  # type: ignore[union-attr]
        for old, new in zip(before, after, strict=True):
            assert not torch.equal(old, new)
            assert torch.equal(old >> bits, new >> bits)
        results.append(after)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_gradients_accumulate_until_zero_grad() -> None:
    """Two backward passes deliver their sum; zero_grad forgets it."""
    model = convert(small_model(), lns_recipe())
    optimiser = IntegerMadam(model)
    layer = mapped_layers(model)[0]
    x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    once = layer.codes["weight"].gradient.clone()
    nn.functional.cross_entropy(model(x), y).backward()
    assert torch.equal(layer.codes["weight"].gradient, once + once)
    assert sum(each.gradient.numel() for each in optimiser.coded) == 6 * 5 + 5 + 5 * 3 + 3
    optimiser.zero_grad()
    assert all(tensor.gradient is None for tensor in layer.codes.values())


def test_clamped_exponents_and_the_steps_events_are_counted() -> None:
    """A step too large for the lattice is counted as saturation and underflow of the update."""
    model = convert(small_model(), lns_recipe())
    optimiser = IntegerMadam(model, lr_factor=1e6)
    train_steps(model, optimiser, 1)
    rows = [r for r in model.tally.as_dict()["encodes"] if r["role"] == "update"]  # type: ignore[union-attr]
    assert [row["layer"] for row in rows] == ["0", "2"]
    elements = sum(row["elements"] for row in rows)
    assert elements == 6 * 5 + 5 + 5 * 3 + 3
    clamped = sum(row["saturated"] + row["underflowed"] for row in rows)
    at_ends = 0
    for layer in mapped_layers(model):
        for name in ("weight", "bias"):
            stored = layer.stored(name)
            assert stored is not None
            e = stored.code & stored.fmt.max_exponent
            at_ends += int(((e == 0) | (e == stored.fmt.max_exponent)).sum())
    assert clamped == at_ends > 0
    events = {event.kind: n for event, n in model.tally.events["update"].items()}  # type: ignore[union-attr]
    assert events["exponent_add"] == elements


def test_a_lower_scale_lowers_the_lr_factor() -> None:
    """Decay divides the step, never the lattice."""
    model = convert(small_model(), lns_recipe())
    optimiser = make_optimiser(model, lns_recipe(), lr=0.01)
    assert isinstance(optimiser, IntegerMadam)
    assert optimiser.lr_factor == pytest.approx(0.01 * 2048 / math.log(2))
    set_lr_scale(optimiser, 0.25)
    assert optimiser.lr_factor == pytest.approx(0.0025 * 2048 / math.log(2))


def test_a_resumed_optimiser_goes_on_with_the_same_bits() -> None:
    """state_dict and load_state_dict carry everything a step depends on."""
    straight = convert(small_model(), lns_recipe())
    optimiser = IntegerMadam(straight)
    train_steps(straight, optimiser, 2)
    twin = convert(small_model(), lns_recipe())
    twin.load_state_dict(straight.state_dict())
    other = IntegerMadam(twin)
    other.load_state_dict(optimiser.state_dict())
    train_steps(straight, optimiser, 2)
    train_steps(twin, other, 2)
    for a, b in zip(mapped_layers(straight), mapped_layers(twin), strict=True):
        assert torch.equal(a.weight_code, b.weight_code)


@pytest.mark.parametrize("name", ["lns-madam", "fp8-no-master"])
def test_weights_lie_on_the_update_format_after_each_step(name: str) -> None:
    """Storing twice changes nothing: every weight is a number of the update format."""
    recipe = lns_recipe(optimiser=name) if name == "lns-madam" else get_recipe(name)
    model = convert(small_model(), recipe)
    optimiser = make_optimiser(model, recipe)
    before = [p.detach().clone() for p in model.parameters()]
    train_steps(model, optimiser, 3)
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert any(moved)
    scaling = "none" if name == "lns-madam" else "amax"
    for parameter in model.parameters():
        real = parameter.detach().numpy()
        array, _ = quantise(real, recipe.update, scaling=scaling)  # type: ignore[arg-type]
        assert np.array_equal(decode(array), real)


def test_zero_tensors_are_named_and_frozen_or_drawn() -> None:
    """A bias that starts at zero is listed and stays zero, or starts N(0, 0.01^2)."""
    model = small_model()
    with torch.no_grad():
        model[0].bias.zero_()
    recipe = lns_recipe()
    frozen = convert(model, recipe)
    assert frozen.frozen_tensors == ("0.bias",)
    assert mapped_layers(frozen)[0].stored("bias") is None
    drawn = convert(model, replace(recipe, zero_start="normal"))
    assert drawn.frozen_tensors == ()
    assert mapped_layers(drawn)[0].stored("bias") is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr_factor": 0.0}, "^lr_factor must be positive and finite, got 0.0$"),
        ({"g_bound": -1.0}, "^g_bound must be positive and finite, got -1.0$"),
        ({"beta2": 1.0}, r"^beta2 must be in \[0, 1\), got 1.0$"),
    ],
)
def test_bad_hyperparameters_are_refused(arguments: dict[str, float], message: str) -> None:
    """Each message names the argument, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        IntegerMadam(convert(small_model(), lns_recipe()), **arguments)


def test_integer_madam_wants_a_converted_model() -> None:
    """A plain model has no codes to move."""
    message = r"^model must be converted with optimiser integer-madam, got none such$"
    with pytest.raises(ValueError, match=message):
        IntegerMadam(small_model())


def test_zero_over_zero_is_counted_and_nothing_else_is_hidden() -> None:
    """0/0 gives 0 and is counted; g over an underflowed v is cut at g_bound; NaN stays NaN."""
    weight = nn.Parameter(torch.ones(4))
    optimiser = Madam([weight], lr=0.01)
    weight.grad = torch.tensor([0.0, 1.0, 1e-24, -1e-24])
    optimiser.step()
    assert optimiser.state[weight]["undefined"] == 1
    u, _ = madam_direction(weight.grad, torch.zeros(4), 1)
    assert u.tolist() == [0.0, pytest.approx(1.0), 10.0, -10.0]
    u, _ = madam_direction(torch.tensor([math.nan, math.inf]), torch.zeros(2), 1)
    assert bool(u.isnan().all())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_never_reaches_the_codes(value: float) -> None:
    """Integers cannot show a NaN, so the step is refused and the codes stay."""
    model = convert(small_model(), lns_recipe())
    optimiser = IntegerMadam(model)
    layer = mapped_layers(model)[0]
    before = layer.weight_code.clone()
    layer.codes["weight"].gradient = torch.full(tuple(before.shape), value)
    with pytest.raises(NonFiniteError, match=r"^gradient of 0\.weight must be finite, got"):
        optimiser.step()
    assert torch.equal(layer.weight_code, before)


def test_a_huge_step_ends_at_the_end_of_the_lattice() -> None:
    """A move that no integer holds goes to the right end."""
    codes = torch.tensor([10, 10, 26, 26], dtype=torch.int32)
    moved = integer_madam_update(codes, torch.tensor([-1.0, 1.0, -1.0, 1.0]), 3e33, 4)
    assert moved.tolist() == [15, 0, 16, 31]


def test_zero_stays_zero_under_lns_madam() -> None:
    """The update format has no zero, so an all-zero bias is not stored in it."""
    model = small_model()
    nn.init.zeros_(model[0].bias)
    recipe = lns_recipe(optimiser="lns-madam")
    converted = convert(model, recipe)
    optimiser = make_optimiser(converted, recipe)
    train_steps(converted, optimiser, 2)
    assert not converted[0].bias.any()
    assert converted.frozen_tensors == ("0.bias",)


def test_frozen_zeros_are_left_alone() -> None:
    """zero_start draws only what is trained."""
    model = small_model()
    nn.init.zeros_(model[0].bias)
    model[0].bias.requires_grad_(False)
    converted = convert(model, replace(lns_recipe(optimiser="madam"), zero_start="normal"))
    assert not converted[0].bias.any()


@pytest.mark.parametrize("recipe", [lns_recipe(), lns_recipe(optimiser="madam")])
def test_a_closure_is_called(recipe: Recipe) -> None:
    """torch's optional closure computes the gradients and gives the loss back."""
    model = convert(small_model(), recipe)
    optimiser = make_optimiser(model, recipe)
    before = {k: v.clone() for k, v in model.state_dict().items()}

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = model(torch.ones(2, 6)).square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure) > 0
    assert any(not torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_scale_works_on_an_optimiser_of_ones_own() -> None:
    """`set_lr_scale` takes the rate it finds as the start."""
    optimiser = IntegerMadam(convert(small_model(), lns_recipe()), lr_factor=16.0)
    for scale in (0.5, 0.25):
        set_lr_scale(optimiser, scale)
        assert optimiser.lr_factor == 16.0 * scale


def test_the_direction_has_the_nearest_root_on_every_machine() -> None:
    """u in float32, every operation rounded to nearest: what numpy's IEEE operations give."""
    rng = np.random.default_rng(0)
    gradient = (rng.standard_normal(100_000) * 1e-3).astype(np.float32)
    moment = (rng.random(100_000) * 1e-5).astype(np.float32)
    for step in (1, 57, 1000):
        u, v = madam_direction(torch.from_numpy(gradient), torch.from_numpy(moment), step)
        wanted_v = np.float32(0.999) * moment + np.float32(1.0 - 0.999) * gradient * gradient
        root = np.sqrt(wanted_v / np.float32(1.0 - 0.999**step))
        np.testing.assert_array_equal(v.numpy(), wanted_v)
        np.testing.assert_array_equal(u.numpy(), np.clip(gradient / root, -10, 10))


@pytest.mark.parametrize(("lr_factor", "move"), [(0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4)])
def test_a_move_of_half_a_step_goes_to_the_even_one(lr_factor: float, move: int) -> None:
    """u = +-1 exactly: a first step, beta2 = 1/2, gradients that are powers of two. The one pass
    and the formulas round half to even, for both signs of gradient and weight."""
    gradient = np.array([2.0, -2.0, 0.25, -0.25], np.float32)
    code = np.array([100, 100, 100 | 1 << 15, 100 | 1 << 15], np.int32)
    wanted = [100 - move, 100 + move, (100 + move) | 1 << 15, (100 - move) | 1 << 15]
    moved, many = np.tile(code, 9), np.tile(gradient, 9)  # strips of lanes, and a rest
    counts = move_codes(moved, many, np.zeros(36, np.float32), 1, lr_factor, 15, beta2=0.5)
    assert moved.tolist() == wanted * 9
    assert counts == (0, 0, 0)
    u, _ = madam_direction(torch.from_numpy(gradient), torch.zeros(4), 1, beta2=0.5)
    assert u.tolist() == [1.0, -1.0, 1.0, -1.0]
    assert integer_madam_update(torch.from_numpy(code), u, lr_factor, 15).tolist() == wanted
