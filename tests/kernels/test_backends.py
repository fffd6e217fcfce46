"""Every backend gives the same bits and the same counts; a new one is found by its name."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lnsim.kernels import BACKENDS, Pattern, Place, evenly, get_backend, matmul, matmul_real
from lnsim.kernels import oracle as oracle_module
from lnsim.kernels.backends import Backend
from lnsim.lns import (
    BF16,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    LNS16_UPDATE,
    MX_FORMATS,
    Accumulator,
    Antilog,
    Datapath,
    FloatDatapath,
    FloatFormat,
    IntDatapath,
    IntFormat,
    LNSArray,
    LNSFormat,
)
from lnsim.lns.array import CodeArray

CPU, ORACLE = get_backend("cpu"), get_backend("oracle")
FORMATS = [
    LNS8,
    LNSFormat(4, 1),
    LNSFormat(7, 8, zero=False),
    LNS16_UPDATE,
    FP8_E4M3,
    FP8_E5M2,
    FloatFormat(4, 3, encoding="fnuz"),
    FloatFormat(2, 3, encoding="finite"),
    FP16,
    BF16,
    FP32,
    INT8,
    IntFormat(4),
]
OFFERED = [name for name in vars(Backend) if not name.startswith("_")]


def numbers(seed: int, shape: tuple[int, ...] = (6, 7), spread: int = 6) -> Any:
    """float32 of many magnitudes, zeros among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread, shape)
    return np.where(rng.random(shape) < 0.1, 0, x).astype(np.float32)


def assert_same(got: Any, wanted: Any) -> None:
    """Equal codes, scales and formats, or equal numbers bit for bit."""
    if isinstance(wanted, CodeArray):
        assert got.fmt == wanted.fmt
        np.testing.assert_array_equal(got.code, wanted.code)
        assert got.code.dtype == wanted.code.dtype
        np.testing.assert_array_equal(got.offset, wanted.offset)
        return
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), wanted.view(f"u{got.itemsize}"))


@pytest.mark.parametrize("name", [name for name, module in BACKENDS.items() if module])
def test_a_backend_offers_everything(name: str) -> None:
    """The methods of the protocol, and nothing is left out of this test."""
    assert len(OFFERED) == 15
    assert all(callable(getattr(get_backend(name), each)) for each in OFFERED)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("scaling", ["none", "amax"])
@pytest.mark.parametrize("wide", [3, 60])
def test_quantise(fmt: Any, scaling: str, wide: int) -> None:
    """Codes, default scales and what is counted as lost, also where much of it is."""
    if isinstance(fmt, LNSFormat):
        scaling = "none"
    for seed in range(4):
        x = numbers(seed, spread=wide)
        got, wanted = (each.quantise(x, fmt, scaling=scaling) for each in (CPU, ORACLE))
        assert_same(got[0], wanted[0])
        assert got[1] == wanted[1]
        for offset in (-5, 0, 9):
            got, wanted = (each.quantise(x, fmt, offset) for each in (CPU, ORACLE))
            assert_same(got[0], wanted[0])
            assert got[1] == wanted[1]


@pytest.mark.parametrize("rounding", ["nearest", "nearest_value", "floor", "stochastic"])
@pytest.mark.parametrize("fmt", FORMATS[:4], ids=lambda f: f.name)
def test_quantise_in_every_rounding(fmt: LNSFormat, rounding: str) -> None:
    """The default scale follows the rounding; random draws are taken in the same order."""
    for seed in range(3):
        found = []
        for backend in (CPU, ORACLE):
            rng = np.random.default_rng(seed) if rounding == "stochastic" else None
            found.append(backend.quantise(numbers(seed), fmt, None, rounding, rng))
        assert_same(found[0][0], found[1][0])
        assert found[0][1] == found[1][1]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("offset", [-140, -5, 0, 3])
def test_decode(fmt: Any, offset: int) -> None:
    """Every code of a small format, random ones of a large one, at scales down to subnormals."""
    rng = np.random.default_rng(offset + 1000)
    code = np.arange(1 << fmt.bits) if fmt.bits <= 8 else rng.integers(0, 1 << fmt.bits, 300)
    steps = offset * (fmt.gamma if isinstance(fmt, LNSFormat) else 1)
    if isinstance(fmt, IntFormat):
        code = np.arange(fmt.min_value, fmt.max_value + 1)
    array = CPU.codes(code, steps, fmt)
    found = []
    for backend in (CPU, ORACLE):
        try:
            found.append(backend.decode(array))
        except OverflowError:
            found.append(None)
    if found[0] is None or found[1] is None:
        assert found[0] is found[1]
        return
    finite = ~np.isnan(found[1])
    np.testing.assert_array_equal(np.isnan(found[0]), ~finite)
    assert_same(found[0][finite], found[1][finite])


@pytest.mark.parametrize("name", MX_FORMATS)
def test_blocks(name: str) -> None:
    """Values, counts and groups that share no block, along any axis."""
    for seed, axis, groups in ((0, 1, 1), (1, 0, 2), (2, 1, 3)):
        x = numbers(seed, (70, 66), spread=40)
        got, wanted = (
            each.quantise_blocks(x, MX_FORMATS[name], axis, groups) for each in (CPU, ORACLE)
        )
        assert_same(got[0], wanted[0])
        assert got[1] == wanted[1]
        assert got[1].underflowed


@given(st.integers(0, 2**32 - 1), st.sampled_from([LNS8, LNSFormat(5, 2), LNSFormat(9, 64, False)]))
def test_requantise(seed: int, fmt: LNSFormat) -> None:
    """Codes, default scales and counts, at one scale and at one per row."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 1 << 16, (3, 5)).astype(np.uint16)
    stored = LNSArray(code, int(rng.integers(-9000, 9000)), LNS16_UPDATE)
    for offset in (None, int(rng.integers(-60, 60)), rng.integers(-60, 60, (3, 1))):
        got, wanted = (each.requantise(stored, fmt, offset) for each in (CPU, ORACLE))
        assert_same(got[0], wanted[0])
        assert got[1] == wanted[1]


DATAPATHS = [
    (LNS8, Datapath()),
    (LNS8, Datapath(Antilog(2), Accumulator(style="bins", guard=1, bits=20))),
    (LNS8, Datapath(accumulator=Accumulator(bits=10, style="log"))),
    (LNS8, Datapath(accumulator=Accumulator(bits=16, guard=0, lanes=3, rounding="toward_zero"))),
    (FP8_E4M3, FloatDatapath(FP32)),
    (FP16, FloatDatapath(BF16)),
    (FP8_E5M2, FloatDatapath(Accumulator())),
    (INT8, IntDatapath()),
]


@pytest.mark.parametrize(("fmt", "datapath"), DATAPATHS, ids=lambda each: getattr(each, "name", ""))
def test_products_of_arrays_and_of_patches(fmt: Any, datapath: Any) -> None:
    """Accumulators, values and overflow counts; the place a result is written to, too."""
    a = ORACLE.quantise(numbers(1, (4, 9)), fmt, scaling="none")[0]
    b = ORACLE.quantise(numbers(2, (9, 3)), fmt, scaling="none")[0]
    pattern = Pattern(evenly(4, 1), evenly(9, 2))
    for left in (a, CPU.patches(a, pattern), ORACLE.patches(a, pattern)):
        got, wanted = (each.product(left, b, datapath) for each in (CPU, ORACLE))
        assert_same(got[0], wanted[0])
        assert got[1] == wanted[1]
        values, wanted = (each.product_real(left, b, datapath) for each in (CPU, ORACLE))
        assert_same(values[0], wanted[0])
        assert values[1] == wanted[1]
        for backend in (CPU, ORACLE):
            memory = np.zeros(40, np.float32)
            place = Place(memory, evenly(4, 1), evenly(3, 9), False)
            same, _ = backend.product_real(left, b, datapath, place)
            assert same is memory
            at = evenly(4, 1)[:, None] + evenly(3, 9)
            assert_same(memory[at], wanted[0])


@pytest.mark.parametrize("step", [1, 2, 900])
@pytest.mark.parametrize("exponent_bits", [4, 15])
def test_moves(step: int, exponent_bits: int) -> None:
    """Integer Madam's step and its counts: undefined directions, both clamps."""
    rng = np.random.default_rng(step)
    shape = (5, 41)
    start = rng.integers(0, 2 << exponent_bits, shape).astype(np.int32)
    gradient = numbers(step, shape)
    moments = np.where(rng.random(shape) < 0.5, 0, gradient**2 * rng.random(shape))
    found = []
    for backend in (CPU, ORACLE):
        code, v = start.copy(), moments.astype(np.float32)
        counts = backend.move(code, gradient, v, step, 177.5, exponent_bits)
        found.append((code, v, counts))
    assert_same(found[0][0], found[1][0])
    assert_same(found[0][1], found[1][1])
    assert found[0][2] == found[1][2] != (0, 0, 0)
    gradient[0, 0] = np.nan
    assert all(b.move(start.copy(), gradient, v, 1, 1.0, 15) is None for b in (CPU, ORACLE))


def test_codes_are_padded_spread_and_turned() -> None:
    """By hand, on four codes: no value changes, zeros stand between and around."""
    code = CPU.codes([[[[1, 2], [3, 4]]]], 8, LNS8)
    wide = CPU.pad(code, ((1, 0), (0, 2)))
    assert (wide.offset, wide.fmt) == (8, LNS8)
    assert wide.code.tolist() == [[[[0, 0, 0, 0], [1, 2, 0, 0], [3, 4, 0, 0]]]]
    assert CPU.pad(wide, ((-1, 0), (0, -2))).code.tolist() == code.code.tolist()
    apart = CPU.spread(code, (2, 1), (0, 1))
    assert apart.code.tolist() == [[[[1, 2, 0], [0, 0, 0], [3, 4, 0]]]]
    assert CPU.turned_kernel(code).code.tolist() == [[4], [3], [2], [1]]
    assert CPU.matrix(code).code.tolist() == [[1, 2, 3, 4]]
    assert CPU.integers(code).dtype == np.int32
    kernels = CPU.codes(np.arange(8).reshape(2, 2, 1, 2), 0, LNS8)  # O, I, H, W
    assert CPU.turned_kernel(kernels).code.tolist() == [[1, 3], [0, 2], [5, 7], [4, 6]]
    assert CPU.turned_kernel(kernels, 1, 1).code.tolist() == [[5, 7], [4, 6]]
    assert CPU.matrix(kernels, 1, 1).code.tolist() == [[4, 5, 6, 7]]


def test_a_new_backend_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module registered under a name is asked, and by that name alone."""
    asked: list[str] = []

    def product(a: Any, b: Any, datapath: Any) -> Any:
        asked.append("product")
        return oracle_module.product(a, b, datapath)

    def product_real(a: Any, b: Any, datapath: Any, place: Any = None) -> Any:
        asked.append("product_real")
        return oracle_module.product_real(a, b, datapath, place)

    double: Any = ModuleType("double_backend")
    double.product, double.product_real = product, product_real
    monkeypatch.setitem(sys.modules, "double_backend", double)
    monkeypatch.setitem(BACKENDS, "double", "double_backend")
    a = ORACLE.quantise(numbers(3, (2, 3)), LNS8)[0]
    same = matmul(a, a.T, Datapath())
    assert not asked
    assert_same(matmul(a, a.T, Datapath(), backend="double"), same)
    matmul_real(a, a.T, Datapath(), backend="double")
    assert asked == ["product", "product_real"]
    with pytest.raises(ValueError, match=r"^backend must be one of cpu, cuda, double, oracle, got"):
        matmul(a, a.T, Datapath(), backend="treble")


def test_what_is_not_built_says_so() -> None:
    """cuda has its name and no module yet."""
    said = r"^backend must be one of cpu, oracle, got 'cuda': not built yet$"
    with pytest.raises(NotImplementedError, match=said):
        get_backend("cuda")
