"""Every public function and class of lnsim.lns under wild arguments, answers held to the oracle."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import wild
from fuzzing import Answer, attempt, fuzz
from hypothesis import given
from hypothesis import strategies as st
from lnsim import lns
from lnsim.lns import oracle
from lnsim.lns.codec import ROUNDINGS
from lnsim.lns.format import FloatFormat, IntFormat, LNSFormat

Spec = dict[str, Any]
VARIANTS = st.sampled_from(("exact", "mitchell", "table:8", "interp:4", "table:700", "table:0"))
ORDERS = st.sampled_from(("sequential", "tree", "lanes:1", "lanes:3", "lanes:1024", "lanes:0"))
NEAR = 3000  # offsets whose exact powers of two the oracle writes down


def spoilt(draw: st.DrawFn, right: Spec) -> Spec:
    """Right arguments with none, one or all of them replaced by anything, often one."""
    how = draw(st.integers(0, 7))
    if how <= 2 or not right:
        return right
    names = list(right) if how == 7 else [draw(st.sampled_from(list(right)))]
    return right | {name: draw(wild.anything()) for name in names}


@st.composite
def cases(draw: st.DrawFn, make: Callable[[st.DrawFn], Spec]) -> Spec:
    """Arguments of one target."""
    return spoilt(draw, make(draw))


def generator(draw: st.DrawFn) -> Any:
    """A generator or none."""
    return draw(st.sampled_from((None, np.random.default_rng(7))))


def for_encode(draw: st.DrawFn) -> Spec:
    """Arguments of encode."""
    x = draw(st.one_of(wild.finite_arrays(), wild.real_arrays()))
    offset = draw(st.one_of(st.none(), wild.offsets(x.shape)))
    rounding = draw(st.sampled_from(ROUNDINGS))
    drawn = rounding == "stochastic" or draw(st.integers(0, 9)) == 0  # else refused if given
    return {
        "x": x,
        "fmt": draw(wild.formats()),
        "offset": offset,
        "rounding": rounding,
        "generator": generator(draw) if drawn else None,
        "random_bits": draw(st.integers(1, 16)) if drawn else 8,
    }


def pair(draw: st.DrawFn) -> Spec:
    """Two LNSArrays of one gamma whose shapes broadcast, most of the time."""
    fmt = draw(wild.lns_formats())
    shape = draw(wild.shapes())
    other = draw(st.sampled_from((shape, (), shape[1:], (1, *shape), (3,))))
    same = draw(st.booleans())
    offset = draw(st.one_of(st.integers(-60, 60), st.integers(-(2**31), 2**31 - 1)))
    second = fmt if same else draw(wild.lns_formats(gamma=fmt.gamma))
    a = draw(wild.code_arrays(fmt, shape, offset if same else None))
    return {"a": a, "b": draw(wild.code_arrays(second, other, offset if same else None))}


def target_of(draw: st.DrawFn, a: Any) -> Spec:
    """fmt and offset of an exact operation."""
    fmt = draw(st.one_of(st.none(), wild.lns_formats(gamma=a.fmt.gamma)))
    return {"fmt": fmt, "offset": draw(st.one_of(st.none(), wild.offsets(a.shape)))}


def for_binary(draw: st.DrawFn) -> Spec:
    """mul, div."""
    both = pair(draw)
    return both | target_of(draw, both["a"])


def for_unary(draw: st.DrawFn) -> Spec:
    """square, sqrt."""
    a = draw(wild.code_arrays(draw(wild.lns_formats())))
    return {"a": a} | target_of(draw, a)


def for_sum(draw: st.DrawFn) -> Spec:
    """add, sub."""
    return pair(draw) | {"variant": draw(VARIANTS)}


def for_requantise(draw: st.DrawFn) -> Spec:
    """Arguments of requantise."""
    a = draw(wild.code_arrays(draw(wild.lns_formats())))
    offset = draw(st.one_of(st.none(), wild.offsets(a.shape)))
    return {"array": a, "fmt": draw(wild.lns_formats()), "offset": offset}


def for_dot(draw: st.DrawFn) -> Spec:
    """Arguments of dot; formats that leave room for the accumulator."""
    fmt = draw(wild.lns_formats(max_exponent_bits=13))
    shape = draw(st.sampled_from(((0,), (3,), (2, 3), (2, 0), (1, 2, 4))))
    a = draw(wild.code_arrays(fmt, shape, draw(st.integers(-60, 60))))
    b = draw(wild.code_arrays(fmt, shape[-1:], draw(st.integers(-(2**31), 2**31 - 1))))
    bits = draw(st.one_of(st.none(), st.integers(2, 15)))
    return {"a": a, "b": b, "accumulator_bits": bits} | for_order(draw)


def for_order(draw: st.DrawFn) -> Spec:
    """order and variant."""
    return {"order": draw(ORDERS), "variant": draw(VARIANTS)}


def for_total(draw: st.DrawFn) -> Spec:
    """Arguments of total."""
    a = draw(wild.code_arrays(draw(wild.lns_formats())))
    return {"array": a, "axis": draw(st.one_of(st.none(), st.integers(-4, 3)))} | for_order(draw)


def one_array(name: str) -> Callable[[st.DrawFn], Spec]:
    """A single code array, LNS most of the time."""
    return lambda draw: {
        name: draw(st.one_of(wild.lns_formats().flatmap(wild.code_arrays), wild.code_arrays()))
    }


def numbers(**right: st.SearchStrategy[Any]) -> Callable[[st.DrawFn], Spec]:
    """Independent arguments."""
    return lambda draw: {name: draw(strategy) for name, strategy in right.items()}


def codes_of(kind: Any) -> Callable[[st.DrawFn], Spec]:
    """Fields of a code array."""

    def make(draw: st.DrawFn) -> Spec:
        a = draw(wild.code_arrays())
        return {"code": a.code, "offset": a.offset, "fmt": a.fmt}

    return make


MX_ARRAYS = st.sampled_from(sorted(lns.MX_FORMATS)).map(
    lambda name: lns.encode_mx(np.linspace(-9, 9, 40), lns.MX_FORMATS[name], 0)
)


def mx_fields(draw: st.DrawFn) -> Spec:
    """Fields of an MXArray."""
    array = draw(MX_ARRAYS)
    return {"code": array.code, "scale": array.scale, "axis": 0, "fmt": array.fmt}


BOOLS, BITS = st.booleans(), st.integers(2, 15)
POWERS = st.integers(0, 12).map(lambda n: 2**n)
ACCUMULATOR: Spec = {
    "bits": st.integers(4, 62),
    "guard": st.integers(0, 10),
    "overflow": st.sampled_from(("saturate", "wrap")),
    "lanes": st.integers(1, 1024),
    "rounding": st.sampled_from(("floor", "toward_zero")),
    "style": st.sampled_from(("direct", "bins")),
}
CALLS: dict[str, Callable[[st.DrawFn], Spec]] = {
    "encode": for_encode,
    "decode": one_array("array"),
    "mul": for_binary,
    "div": for_binary,
    "square": for_unary,
    "sqrt": for_unary,
    "neg": one_array("a"),
    "absolute": one_array("a"),
    "compare": pair,
    "add": for_sum,
    "sub": for_sum,
    "requantise": for_requantise,
    "dot": for_dot,
    "total": for_total,
    "encode_mx": numbers(
        x=wild.finite_arrays(),
        fmt=st.sampled_from(list(lns.MX_FORMATS.values())),
        axis=st.integers(-3, 2),
    ),
    "decode_mx": numbers(array=MX_ARRAYS),
    "get_mx_format": numbers(name=st.sampled_from(sorted(lns.MX_FORMATS))),
    "MXFormat": numbers(element=wild.formats(), block=st.sampled_from((1, 16, 32, 1024))),
    "MXArray": mx_fields,
    "amax_offset": numbers(x=wild.finite_arrays(), fmt=wild.formats()),
    "max_error": numbers(gamma=POWERS, variant=VARIANTS, distances=st.integers(1, 32767)),
    "get_format": numbers(name=st.sampled_from(sorted(lns.FORMATS))),
    "LNSFormat": numbers(exponent_bits=BITS, gamma=POWERS, zero=BOOLS),
    "FloatFormat": numbers(
        exponent_bits=st.integers(2, 8),
        mantissa_bits=st.integers(1, 23),
        encoding=st.sampled_from(("ieee", "fn", "fnuz", "finite")),
        overflow=st.sampled_from(("saturate", "infinity", "default")),
    ),
    "IntFormat": numbers(bits=st.integers(2, 16)),
    "Antilog": numbers(entries=POWERS, table_bits=st.integers(1, 16)),
    "Accumulator": numbers(**ACCUMULATOR),
    "Datapath": numbers(antilog=st.just(lns.Antilog()), accumulator=st.just(lns.Accumulator())),
    "FloatDatapath": numbers(accumulator=st.sampled_from((lns.FP32, lns.Accumulator()))),
    "IntDatapath": numbers(accumulator=st.just(lns.Accumulator())),
    "LNSArray": codes_of(lns.LNSArray),
    "FloatArray": codes_of(lns.FloatArray),
    "IntArray": codes_of(lns.IntArray),
}
NOT_CALLED = {
    "AnyDatapath",
    "BF16",
    "CodeArray",
    "FORMATS",
    "FP16",
    "FP32",
    "FP8_E4M3",
    "FP8_E5M2",
    "Format",
    "INT8",
    "MX_FORMATS",
    "LNS8",
    "LNS16_UPDATE",
    "NonFiniteError",
}


def test_every_public_name_is_a_target() -> None:
    """A new public name must be fuzzed."""
    missing = set(lns.__all__) - set(CALLS) - NOT_CALLED
    assert not missing, f"not fuzzed: {missing}"


@pytest.mark.parametrize("name", CALLS)
@fuzz(ordinary=4)
@given(data=st.data())
def test_a_call_answers_or_refuses(name: str, data: st.DataObject) -> None:
    """A function gives the oracle's answer or a documented exception, and leaves its input."""
    case = data.draw(cases(CALLS[name]))
    answer = attempt(f"lns.{name}", lambda: getattr(lns, name)(**case), case)
    if answer is not None and name in CHECKS:
        CHECKS[name](case, answer)


def elements(array: Any, shape: tuple[int, ...] | None = None) -> list[tuple[int, int]]:
    """(code, offset) of every element, broadcast to `shape`."""
    shape = array.shape if shape is None else shape
    codes = np.broadcast_to(array.code, shape).ravel().tolist()
    offsets = np.broadcast_to(np.broadcast_to(array.offset, array.shape), shape).ravel().tolist()
    return list(zip(codes, offsets, strict=True))


def check_encode(case: Spec, answer: Answer) -> None:
    """Deterministic roundings of a few elements, at the offset that was used."""
    got, x, fmt = answer.value, np.asarray(case["x"]), case["fmt"]
    assert got.shape == x.shape
    if case["rounding"] == "stochastic":
        return
    for value, (code, offset) in zip(x.ravel().tolist()[:3], elements(got)[:3], strict=True):
        if fmt == got.fmt and (isinstance(fmt, LNSFormat) or abs(offset) < NEAR):
            if isinstance(fmt, FloatFormat) and fmt.encoding == "finite" and math.isnan(value):
                continue
            assert code == oracle.encode_one(value, fmt, offset, case["rounding"])


def check_decode(case: Spec, answer: Answer) -> None:
    """A few values against the oracle's."""
    fmt = case["array"].fmt
    got = answer.value.ravel().tolist()[:3]
    for value, (code, offset) in zip(got, elements(case["array"])[:3], strict=True):
        if abs(offset) < NEAR and (isinstance(fmt, LNSFormat) or abs(offset) < 100):
            wanted = oracle.decode_one(code, offset, fmt)
            assert value == wanted or (math.isnan(value) and math.isnan(wanted))


def check_binary(one: Callable[..., int]) -> Callable[[Spec, Answer], None]:
    """mul or div, element by element."""

    def check(case: Spec, answer: Answer) -> None:
        a, b, got = case["a"], case["b"], answer.value
        shape = np.broadcast_shapes(a.shape, b.shape)
        assert got.shape == shape
        rows = zip(elements(a, shape), elements(b, shape), elements(got), strict=True)
        for (x, o_x), (y, o_y), (code, offset) in list(rows)[:4]:
            assert code == one(x, o_x, a.fmt, y, o_y, b.fmt, got.fmt, offset)

    return check


def check_unary(one: Callable[..., int], name: str = "a") -> Callable[[Spec, Answer], None]:
    """sqrt or requantise."""

    def check(case: Spec, answer: Answer) -> None:
        a, got = case[name], answer.value
        for (x, o_x), (code, offset) in list(zip(elements(a), elements(got), strict=True))[:4]:
            assert code == one(x, o_x, a.fmt, got.fmt, offset)

    return check


def check_sum(one: Callable[..., int]) -> Callable[[Spec, Answer], None]:
    """add or sub; the oracle's logarithms of a large gamma are slow, so one element."""

    def check(case: Spec, answer: Answer) -> None:
        a, b, got = case["a"], case["b"], answer.value
        shape = np.broadcast_shapes(a.shape, b.shape)
        rows = zip(elements(a, shape), elements(b, shape), elements(got), strict=True)
        for (x, _), (y, _), (code, _) in list(rows)[:1]:
            if a.fmt.gamma <= 64:
                assert code == one(x, y, a.fmt, case["variant"])

    return check


def check_compare(case: Spec, answer: Answer) -> None:
    """-1, 0, 1 and antisymmetric."""
    assert answer.value.dtype == np.int8
    assert (answer.value == -lns.compare(case["b"], case["a"])).all()


def check_total(case: Spec, answer: Answer) -> None:
    """The sum of one line."""
    array, axis = case["array"], case["axis"]
    if array.fmt.gamma > 16 or array.ndim != 1 or not array.size:
        return
    codes = array.code.tolist()
    assert axis in (None, 0, -1)
    assert int(answer.value.code) == oracle.total_one(
        codes, array.fmt, case["order"], case["variant"]
    )


def check_dot(case: Spec, answer: Answer) -> None:
    """One product of vectors."""
    a, b, got = case["a"], case["b"], answer.value
    if a.ndim == b.ndim == 1 and a.size and got.fmt.gamma <= 16 and a.size == b.size:
        codes = a.code.tolist(), b.code.tolist()
        order = case["order"], case["variant"]
        assert int(got.code) == oracle.log_dot(*codes, a.fmt, got.fmt, *order, b.fmt)


def check_value(case: Spec, answer: Answer) -> None:
    """A frozen value of numpy's integers is the value of plain ones, in everything it derives."""
    got = answer.value
    plain = {n: operator.index(v) if hasattr(v, "__index__") and v is not True and v is not False
             else v for n, v in case.items()}  # fmt: skip
    wanted = type(got)(**plain)
    assert got == wanted
    assert hash(got) == hash(wanted)
    for name in ("bits", "max_exponent", "max_code", "max_value", "min_value", "name", "term_bits"):
        if hasattr(got, name):
            assert getattr(got, name) == getattr(wanted, name)


CHECKS: dict[str, Callable[[Spec, Answer], None]] = {
    "encode": check_encode,
    "decode": check_decode,
    "mul": check_binary(oracle.mul_one),
    "div": check_binary(oracle.div_one),
    "sqrt": check_unary(oracle.sqrt_one),
    "requantise": check_unary(oracle.requantise_one, "array"),
    "add": check_sum(oracle.add_one),
    "sub": check_sum(oracle.sub_one),
    "compare": check_compare,
    "total": check_total,
    "dot": check_dot,
    **dict.fromkeys(
        ("LNSFormat", "FloatFormat", "IntFormat", "Antilog", "Accumulator"), check_value
    ),
}


# --- methods ------------------------------------------------------------------------------------

INDICES = st.one_of(
    st.integers(-5, 5), st.just(...), st.none(), st.slices(4), st.tuples(st.integers(-5, 5)),
    st.just(slice(None, None, 0)), st.just([0, 1]), st.just(np.array([True, False])),
)  # fmt: skip


def _values(a: Any, dtype: Any) -> Any:
    with np.errstate(all="ignore"):  # numpy's own warnings where another dtype is too small
        return np.asarray(a, dtype=dtype)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "matmul": lambda a, b: a @ b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "ge": lambda a, b: a >= b,
    "radd": lambda a, b: b + a,
    "rmatmul": lambda a, b: b @ a,
    "neg": lambda a, b: -a,
    "pos": lambda a, b: +a,
    "abs": lambda a, b: abs(a),
    "getitem": lambda a, b: a[b],
    "reshape": lambda a, b: a.reshape(b),
    "transpose": lambda a, b: a.transpose(b),
    "T": lambda a, b: a.T,
    "len": lambda a, b: len(a),
    "iter": lambda a, b: list(a),
    "float": lambda a, b: float(a),
    "bool": lambda a, b: bool(a),
    "repr": lambda a, b: repr(a),
    "asarray": _values,
    "dlpack": lambda a, b: np.from_dlpack(a),
    "hash": lambda a, b: hash(a),
}
NUMPYS_OWN = (
    "getitem",
    "reshape",
    "transpose",
    "asarray",
    "dlpack",
    "hash",
    "radd",
    "rmatmul",
    "iter",
)


@pytest.mark.parametrize("name", OPERATORS)
@fuzz(ordinary=3, weight=0.5)
@given(data=st.data())
def test_an_operator_answers_or_refuses(name: str, data: st.DataObject) -> None:
    """What an LNSArray does like an array; where numpy judges an index, numpy's own errors."""
    both = data.draw(cases(pair)) if data.draw(st.booleans()) else pair(data.draw)
    a, b = both["a"], both["b"]
    if not isinstance(a, lns.LNSArray):
        a = data.draw(wild.code_arrays(lns.LNS8))
    if name in ("getitem", "reshape", "transpose"):
        b = data.draw(st.one_of(INDICES, wild.anything()))
    if name == "asarray":
        b = data.draw(st.sampled_from((None, np.float64, np.float32, "f4", np.int32, object)))
    own = name in NUMPYS_OWN
    kinds: Any = (ValueError, TypeError, OverflowError, NotImplementedError)
    if own:
        import re

        attempt(f"LNSArray.{name}", lambda: OPERATORS[name](a, b), (a, b), (*kinds, IndexError),
                re.compile("."))  # fmt: skip
    else:
        attempt(f"LNSArray.{name}", lambda: OPERATORS[name](a, b), (a, b))


METHODS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "resolve": lambda d, a, b, acc: d.resolve(a, b),
    "product_bits": lambda d, a, b, acc: d.product_bits(a, b),
    "shift": lambda d, a, b, acc: d.shift(a, b),
    "to_real": lambda d, a, b, acc: d.to_real(acc, a, b),
}


@pytest.mark.parametrize("name", METHODS)
@fuzz(ordinary=6, weight=0.5)
@given(data=st.data())
def test_a_datapath_method_answers_or_refuses(name: str, data: st.DataObject) -> None:
    """resolve, product_bits, shift and to_real of each kind of datapath."""
    datapath = data.draw(wild.any_datapath())
    fmt = {
        lns.Datapath: wild.lns_formats(),
        lns.FloatDatapath: st.sampled_from((lns.FP32, lns.FP8_E4M3, lns.BF16)),
        lns.IntDatapath: st.integers(2, 16).map(IntFormat),
    }[type(datapath)]
    if not hasattr(datapath, name):
        return
    if name == "to_real":
        right: Spec = {
            "acc": np.arange(6).reshape(2, 3),
            "a": data.draw(wild.code_arrays(data.draw(fmt), (2, 4), 0, plain=True)),
            "b": data.draw(wild.code_arrays(data.draw(fmt), (4, 3), 0, plain=True)),
        }
    else:
        right = {"a": data.draw(fmt), "b": data.draw(fmt), "acc": None}
    case = spoilt(data.draw, right)
    method = METHODS[name]
    attempt(
        f"{type(datapath).__name__}.{name}",
        lambda: method(datapath, case["a"], case["b"], case["acc"]),
        case,
    )
