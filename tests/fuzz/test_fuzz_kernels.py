"""Every public function and class of lnsim.kernels under wild arguments, answers held to lnsim.lns.

A kernel is compiled when it is first met, which takes seconds: the limit of an input is longer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import wild
from fuzzing import Answer, attempt, fuzz
from hypothesis import given
from hypothesis import strategies as st
from lnsim import kernels, lns
from lnsim.kernels.matmul import matmul
from lnsim.lns.codec import ROUNDINGS
from lnsim.lns.format import FloatFormat, IntFormat
from lnsim.lns.testing import datapaths, lns_formats

Spec = dict[str, Any]
COMPILING = 240.0  # seconds; a kernel that is not in the cache yet takes long


def spoilt(draw: st.DrawFn, right: Spec) -> Spec:
    """Right arguments with none, one or all of them replaced by anything, often one."""
    how = draw(st.integers(0, 7))
    if how <= 2:
        return right
    names = list(right) if how == 7 else [draw(st.sampled_from(list(right)))]
    return right | {name: draw(wild.anything()) for name in names}


def for_quantise(draw: st.DrawFn) -> Spec:
    """Arguments of quantise."""
    x = draw(st.one_of(wild.finite_arrays(), wild.real_arrays()))
    scaling = draw(st.sampled_from(("none", "none", "amax")))
    return {
        "x": x,
        "fmt": draw(wild.formats()),
        "offset": None if scaling == "amax" else draw(st.one_of(st.none(), wild.offsets(x.shape))),
        "rounding": draw(st.sampled_from(ROUNDINGS)),
        "generator": draw(st.sampled_from((None, "seeded"))),
        "scaling": scaling,
        "random_bits": draw(st.integers(1, 16)),
    }


def matrices(draw: st.DrawFn, first: Any, second: Any) -> Spec:
    """a (M, K) and b (K, N), a batch of them now and then, sizes 0 among them."""
    m, k, n = (draw(st.integers(0, 5)) for _ in range(3))
    batch = (draw(st.integers(0, 2)),) if draw(st.integers(0, 9)) == 0 else ()
    a = draw(wild.code_arrays(first, (*batch, m, k), draw(st.integers(-9, 9))))
    b = draw(wild.code_arrays(second, (*batch, k, n), draw(st.sampled_from((0, 2**31 - 1, None)))))
    return {"a": a, "b": b}


def for_matmul(draw: st.DrawFn) -> Spec:
    """Arguments of matmul."""
    which = draw(st.integers(0, 3))
    if which <= 1:
        gamma = 2 ** draw(st.integers(0, 8))
        formats = draw(lns_formats(gamma=gamma)), draw(lns_formats(gamma=gamma))
        datapath: Any = draw(datapaths(gamma))
    elif which == 2:
        formats = (lns.FP8_E4M3, lns.FP8_E5M2)
        own = draw(st.sampled_from((lns.FP32, lns.BF16, lns.Accumulator())))
        datapath = lns.FloatDatapath(own)
    else:
        formats = draw(st.integers(2, 16).map(IntFormat)), IntFormat(8)
        datapath = lns.IntDatapath(lns.Accumulator(draw(st.integers(4, 62)), 0))
    return matrices(draw, *formats) | {"datapath": datapath}


def for_backend(draw: st.DrawFn) -> Spec:
    """Arguments of matmul with a backend."""
    return for_matmul(draw) | {"backend": draw(st.sampled_from(("cpu", "oracle", "cuda", "gpu")))}


def for_log(draw: st.DrawFn) -> Spec:
    """Arguments of matmul in style "log"."""
    fmt = draw(lns_formats(max_exponent_bits=12, gamma=2 ** draw(st.integers(0, 6))))
    return matrices(draw, fmt, fmt) | {
        "bits": draw(st.sampled_from((14, 15))),
        "lanes": draw(st.integers(1, 8)),
        "variant": draw(st.sampled_from(("exact", "mitchell", "table:8"))),
    }


def for_requantise(draw: st.DrawFn) -> Spec:
    """Arguments of requantise."""
    a = draw(wild.code_arrays(draw(lns_formats())))
    offset = draw(st.one_of(st.none(), wild.offsets(a.shape)))
    return {"array": a, "fmt": draw(lns_formats()), "offset": offset}


def for_move(draw: st.DrawFn) -> Spec:
    """Arguments of move_codes."""
    n = draw(st.integers(0, 5))
    finite = st.floats(-9, 9, width=32)
    return {
        "code": np.array(draw(st.lists(st.integers(0, 65535), min_size=n, max_size=n)), np.int32),
        "gradient": np.array(draw(st.lists(finite, min_size=n, max_size=n)), np.float32),
        "v": np.abs(np.array(draw(st.lists(finite, min_size=n, max_size=n)), np.float32)),
        "step": draw(st.integers(1, 1000)),
        "lr_factor": draw(st.floats(0, 64)),
        "exponent_bits": 15,
        "beta2": draw(st.floats(0, 0.999)),
        "g_bound": draw(st.floats(0.5, 10)),
    }


def for_gathered(draw: st.DrawFn) -> Spec:
    """Fields of a Gathered."""
    array = draw(wild.code_arrays(lns.LNS8, (12,), 0))
    at = st.lists(st.integers(-2, 7), max_size=4).map(lambda x: np.array(x, np.int64))
    return {"array": array, "row_at": draw(at), "k_at": draw(at), "transposed": draw(st.booleans())}


def for_pattern(draw: st.DrawFn) -> Spec:
    """Offsets of a Pattern."""
    at = st.lists(st.integers(-2, 7), max_size=4).map(lambda x: np.array(x, np.int64))
    return {"row_at": draw(at), "k_at": draw(at)}


def for_with_code(draw: st.DrawFn) -> Spec:
    """Arguments of with_code."""
    array = draw(wild.code_arrays(lns.LNS8, (4,), 3))
    return {"array": array, "code": array.code[::-1].copy()}


def one(draw: st.DrawFn) -> Spec:
    """A code array."""
    return {"array": draw(wild.code_arrays())}


def sums(a: Any, b: Any, bits: Any, lanes: Any, variant: Any) -> Any:
    """A product in style "log"."""
    rule = lns.Accumulator(bits=bits, lanes=lanes, style="log")
    return kernels.matmul(a, b, lns.Datapath(accumulator=rule, variant=variant))


CALLS: dict[str, Callable[[st.DrawFn], Spec]] = {
    "quantise": for_quantise,
    "matmul": for_backend,
    "matmul_counted": for_backend,
    "matmul_real": for_matmul,
    "log": for_log,
    "requantise": for_requantise,
    "move_codes": for_move,
    "decode": one,
    "plain_array": lambda draw: {"operand": draw(wild.code_arrays())},
    "with_code": for_with_code,
    "Gathered": for_gathered,
    "Pattern": for_pattern,
}
NOT_CALLED = {
    "BACKENDS",
    "Backend",
    "EncodeCounts",
    "Matrix",
    "Place",
    "evenly",
    "get_backend",
}  # `evenly` by a test of its own: memory


def test_every_public_name_is_a_target() -> None:
    """A new public name must be fuzzed."""
    missing = set(kernels.__all__) - set(CALLS) - NOT_CALLED - MORE
    assert not missing, f"not fuzzed: {missing}"


MORE = {"matmul_mx", "MXOperand"}  # of lns.mx; fuzzed with the codes they are made of


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile what the targets run before any clock is set."""
    rng = np.random.default_rng(0)
    for kind in (np.float32, np.float64):
        for fmt in (lns.LNS8, lns.LNS16_UPDATE, lns.FP8_E4M3, lns.FP16, lns.INT8, IntFormat(12)):
            array, _ = kernels.quantise(rng.normal(size=(4, 4)).astype(kind), fmt)
            kernels.decode(array)
            if isinstance(array, lns.LNSArray):
                kernels.requantise(array, lns.LNS8)
                kernels.requantise(array, lns.LNS16_UPDATE, 2**30)


@pytest.mark.parametrize("name", CALLS)
@fuzz(ordinary=4, weight=0.3)
@given(data=st.data())
def test_a_call_answers_or_refuses(name: str, data: st.DataObject) -> None:
    """A function gives lnsim.lns' answer or a documented exception, and leaves its input."""
    case = spoilt(data.draw, CALLS[name](data.draw))
    if case.get("generator") == "seeded":
        case["generator"] = np.random.default_rng(7)
    inputs = {k: v for k, v in case.items() if name != "move_codes" or k == "gradient"}
    target = sums if name == "log" else getattr(kernels, name)
    answer = attempt(f"kernels.{name}", lambda: target(**case), inputs, seconds=COMPILING)
    if answer is not None and name in CHECKS:
        CHECKS[name](case, answer)


@pytest.mark.parametrize("count", [-1, 2**40, 10**400, "3", None, 1.5, True, [], np.zeros(2)])
def test_evenly_refuses(count: Any) -> None:
    """Counts that are none, before any memory is asked for."""
    assert attempt("kernels.evenly", lambda: kernels.evenly(count, 1)) is None
    assert attempt("kernels.evenly", lambda: kernels.evenly(1, count)) is None or count == -1
    assert kernels.evenly(np.int8(3), 2).tolist() == [0, 2, 4]


def same(got: Any, wanted: Any) -> None:
    """Equal codes, offsets and formats."""
    assert got.fmt == wanted.fmt
    assert got.code.dtype == wanted.code.dtype
    assert got.code.tolist() == wanted.code.tolist()
    places = (np.broadcast_to(each.offset, each.shape) for each in (got, wanted))
    assert np.array_equal(*places)


def check_quantise(case: Spec, answer: Answer) -> None:
    """lns.encode's codes and the number of elements."""
    names = ("x", "fmt", "offset", "rounding")
    if case["rounding"] == "stochastic":
        return
    own = {name: case[name] for name in names}
    if case["scaling"] == "amax":
        own["offset"] = lns.amax_offset(own["x"], own["fmt"])
    same(answer.value[0], lns.encode(**own))
    assert answer.value[1].elements == np.asarray(case["x"]).size


def check_matmul(case: Spec, answer: Answer) -> None:
    """The oracle's accumulators."""
    wanted = matmul(case["a"], case["b"], case["datapath"], "oracle")
    assert answer.value.dtype == wanted.dtype
    assert answer.value.tobytes() == wanted.tobytes()


def check_log(case: Spec, answer: Answer) -> None:
    """lns.dot's sums."""
    if case["a"].size and case["b"].size and case["a"].ndim == 2:
        rows = case["a"][:, None, :]
        own = case["bits"], f"lanes:{case['lanes']}", case["variant"]
        same(answer.value, lns.dot(rows, case["b"].T, *own))


def check_requantise(case: Spec, answer: Answer) -> None:
    """lns.requantise's codes."""
    same(answer.value[0], lns.requantise(case["array"], case["fmt"], case["offset"]))


def check_decode(case: Spec, answer: Answer) -> None:
    """The nearest float32 of the float64 value, which is exact enough but for LNS ties."""
    if isinstance(case["array"].fmt, FloatFormat | IntFormat):
        with np.errstate(all="ignore"):
            try:
                wanted = lns.decode(case["array"]).astype(np.float32)
            except OverflowError:
                return
        assert np.array_equal(answer.value, wanted, equal_nan=True)


CHECKS: dict[str, Callable[[Spec, Answer], None]] = {
    "quantise": check_quantise,
    "matmul": check_matmul,
    "log": check_log,
    "requantise": check_requantise,
    "decode": check_decode,
}
