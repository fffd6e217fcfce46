"""The conformance suite: it passes what is right, catches what is not, counts nothing twice."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lnsim.lns import LNSArray, LNSFormat, arith
from lnsim.lns.format import FP8_E4M3, FloatFormat, IntFormat
from lnsim.lns.log_codec import stored_codes
from lnsim.lns.oracle import encode_one
from lnsim.sim.cli.main import main
from lnsim.sim.conformance.batch import Batch, expected
from lnsim.sim.conformance.implementations import KernelsBackend, NumpyBackend
from lnsim.sim.conformance.levels import LEVELS, QUICK
from lnsim.sim.conformance.operations import CODE, OPERATIONS, Backend, operation
from lnsim.sim.conformance.run import Tally, ask, run
from lnsim.sim.conformance.suite import SECTIONS, batches
from lnsim.sim.conformance.vectors import (
    Vectors,
    answer_text,
    digest,
    load,
    question,
    questions,
    read_answers,
)

DOCS = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"
E3G1, E4G2NZ = LNSFormat(3, 1), LNSFormat(4, 2, zero=False)
TINY = replace(
    QUICK,
    name="tiny",
    pairs=(LNSFormat(2, 1), LNSFormat(2, 1, zero=False), E3G1, LNSFormat(3, 2, zero=False)),
    boundaries=(LNSFormat(2, 1), LNSFormat(3, 2, zero=False)),
    wide=(LNSFormat(9, 16),),
    drawn=40,
    distances=(LNSFormat(5, 2),),
    terms=((E3G1, E4G2NZ),),
    gemms=10,
    large=((3, 20, 17),),
    floats=(FloatFormat(2, 1, "finite"), FloatFormat(3, 2, "ieee", "infinity"), FP8_E4M3),
    wide_floats=(FloatFormat(8, 7),),
    ints=(IntFormat(4),),
)
GEMMS = ("direct", "bins", "float-gemm", "integer-gemm")


@cache
def asked(section: str) -> list[tuple[Batch, Any]]:
    """The small questions of a section with the oracle's answers."""
    return [(batch, expected(batch)) for batch in batches(TINY, 0, [section])]


def tiny(backend: Any, *only: str) -> Tally:
    """Ask the small questions."""
    tally = Tally()
    for section in only or SECTIONS:
        for batch, right in asked(section):
            tally.add(batch, ask(backend, batch), right)
    return tally


def failing(tally: Tally) -> set[tuple[str, str]]:
    """(section, operation) of every row with a failure."""
    return {(row.section, row.operation) for row in tally.rows.values() if row.failed}


def test_the_package_lns_passes() -> None:
    """All that it offers; the linear GEMMs it does not, sums in logarithms of any formats."""
    tally = tiny(NumpyBackend())
    assert tally.failed == 0
    assert tally.passed > 20_000
    rows = tally.rows.values()
    lacking = {(row.section, row.operation) for row in rows if row.not_offered}
    assert {operation for _, operation in lacking} == {
        "matmul", "matmul_float", "matmul_int",
    }  # fmt: skip
    row = tally.rows["log", "matmul_log", "drawn sums of two gammas"]
    assert row.passed == row.cases > 0


def test_the_kernels_pass() -> None:
    """All that they offer: every GEMM among it."""
    tally = tiny(KernelsBackend(), *GEMMS, "log", "scales", "encode", "requantise", "integer")
    assert tally.failed == 0
    assert tally.passed > 20_000
    assert {row.operation for row in tally.rows.values() if row.not_offered} == {
        "decode", "decode_int",
    }  # fmt: skip


def test_every_operation_is_asked_and_none_else() -> None:
    """The protocol, the list of operations and the questions are of one set; so are sections."""
    questions = list(batches(TINY, 0))
    offered = {name for name in vars(Backend) if not name.startswith("_")}
    assert {batch.operation for batch in questions} == set(OPERATIONS) == offered
    assert {batch.section for batch in questions} == set(SECTIONS)
    for batch in questions:
        names = list(signature(getattr(Backend, batch.operation)).parameters)[1:]
        assert [*batch.operands, *batch.settings] == names
    for known in (NumpyBackend, KernelsBackend):
        assert not {name for name in vars(known) if not name.startswith("_")} - offered


class Wrong(NumpyBackend):
    """Faults to be found, one by one, in what is otherwise right."""

    def __init__(self, **faults: Callable[..., Any]) -> None:
        for name, fault in faults.items():
            right = getattr(NumpyBackend, name)
            setattr(self, name, lambda *args, f=fault, r=right: f(r, *args))


class WrongKernels(KernelsBackend):
    """The GEMM of another datapath than the one that was asked for."""

    def __init__(self, **change: Any) -> None:
        super().__init__()
        self._change = change

    def matmul(self, a: Any, b: Any, datapath: Any) -> Any:
        rule = datapath.accumulator
        if not isinstance(rule, FloatFormat):
            datapath = replace(datapath, accumulator=replace(rule, **self._change))
        return super().matmul(a, b, datapath)

    matmul_float = matmul_int = matmul


def with_code(array: Any, code: Any) -> Any:
    """The same array with other codes."""
    return type(array)(np.asarray(code).astype(array.code.dtype), array.offset, array.fmt)


def one_more(right: Any, a: LNSArray, b: LNSArray, variant: str) -> Any:
    """An exponent too large by one where it is 2."""
    got = right(a, b, variant)
    return with_code(got, got.code + (got.code == 2))


def tie_up(right: Any, a: LNSArray, fmt: LNSFormat, offset: int) -> Any:
    """Half up instead of half to even, where the gamma is halved."""
    if a.fmt.gamma != 2 * fmt.gamma or not isinstance(a.offset, int):
        return right(a, fmt, offset)
    e = ((a.code & a.fmt.max_exponent).astype(np.int64) + a.offset - 2 * offset + 1) >> 1
    sign = a.code >> a.fmt.exponent_bits
    zero = ((a.code & a.fmt.max_exponent) == 0) & a.fmt.zero
    return LNSArray(*stored_codes(e + offset, sign.astype(bool), zero, fmt, offset), fmt)


def value_tie_down(right: Any, x: Any, fmt: LNSFormat, offset: int, rounding: str) -> Any:
    """The tie at 1.5 always to the lower step."""
    got = right(x, fmt, offset, rounding)
    if rounding != "nearest_value" or fmt.gamma > 1:
        return got
    tie = np.frexp(np.abs(x))[0] == 0.75
    return with_code(got, np.where(tie, right(x, fmt, offset, "floor").code, got.code))


def without_sign(right: Any, a: LNSArray, b: LNSArray, *rest: Any) -> Any:
    """The sign of b is not looked at."""
    return right(a, arith.absolute(b), *rest)


def plain_zero(right: Any, x: Any, fmt: LNSFormat, offset: int, rounding: str) -> Any:
    """Without a zero code, too small loses its sign."""
    got = right(x, fmt, offset, rounding)
    return with_code(got, np.where(got.code == 1 << fmt.exponent_bits, 0, got.code))


def around_the_top(right: Any, x: Any, fmt: IntFormat, offset: int) -> Any:
    """Wraps where it must saturate."""
    whole = np.rint(np.clip(x * 2.0**-offset, -1e9, 1e9)).astype(np.int64)
    return (whole - fmt.min_value) % (1 << fmt.bits) + fmt.min_value


def quiet_division(right: Any, a: LNSArray, b: LNSArray, *rest: Any) -> Any:
    """Divides by 2^(0/gamma) where it must refuse."""
    return right(a, with_code(b, np.maximum(b.code & b.fmt.max_exponent, 1)), *rest)


FAULTS: dict[str, tuple[Any, set[tuple[str, str]]]] = {
    "add is one more": (Wrong(add=one_more), {("add", "add")}),
    "a tie goes up": (Wrong(requantise=tie_up), {("requantise", "requantise")}),
    "a tie in value goes down": (Wrong(encode=value_tie_down), {("encode", "encode")}),
    "the product's sign": (Wrong(mul=without_sign), {("multiply", "mul")}),
    "the sign below the smallest": (Wrong(encode=plain_zero), {("encode", "encode")}),
    "scales are not compared": (
        Wrong(compare=lambda right, a, b: right(LNSArray(a.code, b.offset, a.fmt), b)),
        {("order", "compare")},
    ),
    "a tree is a sequence": (
        Wrong(total=lambda right, a, order, v: right(a, order.replace("tree", "sequential"), v)),
        {("sums", "total")},
    ),
    "log lanes are ignored": (
        Wrong(matmul_log=lambda right, a, b, bits, lanes, v: right(a, b, bits, 1, v)),
        {("log", "matmul_log")},
    ),
    "every variant is exact": (
        Wrong(sub=lambda right, a, b, variant: right(a, b, "exact")), {("add", "sub")},
    ),
    "subnormals are flushed": (
        Wrong(decode=lambda right, a: np.where(np.abs(right(a)) < 2.0**-1022, 0.0, right(a))),
        {("decode", "decode")},
    ),
    "infinity saturates": (
        Wrong(encode_float=lambda right, x, fmt, o: right(
            x, replace(fmt, overflow="saturate"), o).code),
        {("float", "encode_float")},
    ),
    "integers wrap": (
        Wrong(encode_int=around_the_top), {("integer", "encode_int"), ("refusals", "encode_int")},
    ),
    "division by zero": (
        Wrong(div=quiet_division), {("multiply", "div"), ("refusals", "div")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_where_it_is(fault: str) -> None:
    """In the rows of its operation, and in no other."""
    backend, where = FAULTS[fault]
    assert failing(tiny(backend, *{section for section, _ in where}, "order", "refusals")) == where


@pytest.mark.parametrize(
    ("change", "sections"),
    [
        ({"overflow": "saturate"}, {"direct", "bins", "integer-gemm"}),  # wrong wrap
        ({"overflow": "wrap"}, {"direct", "bins", "integer-gemm"}),
        ({"lanes": 1}, {"direct", "bins", "integer-gemm"}),  # lanes are ignored
        ({"rounding": "toward_zero"}, {"direct", "bins", "float-gemm", "integer-gemm"}),
        ({"rounding": "floor"}, {"direct", "bins", "float-gemm", "integer-gemm"}),
    ],
)
def test_a_wrong_accumulator_is_found(change: dict[str, str], sections: set[str]) -> None:
    """In every GEMM it has a part in."""
    found = {section for section, _ in failing(tiny(WrongKernels(**change), *GEMMS))}
    assert sections <= found


class WrongGamma:
    """The oracle's GEMMs; the first number of those with one finer gamma is one more."""

    def __init__(self, section: str, gamma: int, alike: bool) -> None:
        self._answers = {
            (*map(id, batch.operands.values()), *batch.settings.values()): right
            for batch, right in asked(section)
        }
        self._where = gamma, alike

    def matmul(self, a: LNSArray, b: LNSArray, *settings: Any) -> Any:
        """The recorded answer."""
        right = np.array(self._answers[id(a), id(b), *settings]).reshape(len(a), b.shape[1])
        right = right.astype(np.int64)  # of no numbers it would be float64
        gammas = a.fmt.gamma, b.fmt.gamma
        if right.size and (max(gammas), gammas[0] == gammas[1]) == self._where:
            right[0, 0] += 1
        return right

    matmul_log = matmul


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("gamma", [64, 512, 4096])
@pytest.mark.parametrize("section", ["direct", "bins", "log"])
def test_a_fault_of_one_gamma_is_found(section: str, gamma: int, alike: bool) -> None:
    """Of operands that share it, and of one beside a coarser one; always, not by a lucky draw."""
    found = tiny(WrongGamma(section, gamma, alike), section)
    what = "drawn sums of every gamma" if alike else "drawn sums of two gammas"
    operation = "matmul_log" if section == "log" else "matmul"
    row = found.rows[section, operation, what]
    assert row.failed == (6 if section == "log" else 2)  # variants; two antilogs
    assert row.passed > 300
    assert {key[2] for key, other in found.rows.items() if other.failed} <= {what, "drawn sums"}


@pytest.mark.parametrize(
    ("gamma", "variant"),
    [(1, "exact"), (256, "table:3"), (2048, "interp:16"), (4096, "table:16"), (4096, "mitchell")],
)
def test_a_fault_of_one_gamma_is_found_in_additions(gamma: int, variant: str) -> None:
    """Every variant is asked at every gamma, by `add` and by `sub`."""

    def fault(right: Any, a: LNSArray, b: LNSArray, its: str) -> Any:
        got = right(a, b, its)
        return with_code(got, got.code ^ ((a.fmt.gamma, its) == (gamma, variant)))

    tally, backend = Tally(), Wrong(add=fault, sub=fault)
    for batch, right in asked("add"):
        if batch.what == "drawn distances":
            tally.add(batch, ask(backend, batch), right)
    for name in ("add", "sub"):
        row = tally.rows["add", name, "drawn distances"]
        assert (row.failed, row.cases) == (8, 13 * 6 * 8)  # gammas, variants, distances


def first_scale(right: Any, a: LNSArray, *rest: Any) -> Any:
    """One scale for the whole array, the first."""
    if isinstance(a.offset, int) or not a.size:
        return right(a, *rest)
    return right(LNSArray(a.code, int(a.offset.flat[0]), a.fmt), *rest)


def first_new_scale(right: Any, a: LNSArray, fmt: LNSFormat, offset: Any) -> Any:
    """One new scale for the whole array, the first; the answer does not say which."""
    return right(a, fmt, int(np.asarray(offset).flat[0])).code


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("requantise", first_scale), ("requantise", first_new_scale), ("decode", first_scale),
        ("matmul_log", first_scale),
    ],
)  # fmt: skip
def test_a_scale_of_one_row_for_all_is_found(operation: str, fault: Any) -> None:
    """Where scales differ, and nowhere else; the mismatch names the scale of its own element."""
    tally = tiny(Wrong(**{operation: fault}), "scales", "requantise", "decode", "log")
    assert failing(tally) == {("scales", operation)}
    row = next(row for row in tally.rows.values() if row.failed)
    assert re.search(r"a = .*, offset -?\d+(, -?\d+)*\)$", row.mismatches[0], re.MULTILINE)


def test_a_number_says_its_own_scale() -> None:
    """A mismatch gives the old and the new scale of the element, not of the first."""
    fmt = LNSFormat(4, 2)
    a = LNSArray(np.array([[1, 3], [5, 7]], np.uint8), np.array([[0], [4]], np.int32), fmt)
    settings = {"fmt": fmt, "offset": np.array([[0, 2]], np.int32)}
    batch = Batch("scales", "requantise", "two", {"a": a}, settings, False)
    right = expected(batch)
    assert right == [1, 1, 9, 9]
    tally = Tally()
    wrong = type("Bad", (), {"requantise": lambda self, *_: [[1, 1], [9, 8]]})()
    tally.add(batch, ask(wrong, batch), right)
    assert tally.rows["scales", "requantise", "two"].mismatches == [
        """scales: requantise at [1, 1]
    fmt = lns-e4g2
    offset = [[0, 2]]
    a = 0x07 = 2^(11/2) (lns-e4g2, offset 4)
    expected 0x09 = 2^(11/2)
    got      0x08 = 2^(10/2)"""
    ]


def test_what_is_missing_is_not_passed() -> None:
    """An object with one operation passes that alone; NotImplementedError is missing too."""

    class Little:
        def neg(self, a: LNSArray) -> Any:
            return arith.neg(a)

        def mul(self, a: LNSArray, b: LNSArray, fmt: LNSFormat, offset: int) -> Any:
            if fmt.zero:
                raise NotImplementedError
            return arith.mul(a, b, fmt, offset).code

    tally = tiny(Little(), "multiply", "order", "add")
    offered = {row.operation for row in tally.rows.values() if row.passed}
    assert offered == {"neg", "mul"}
    assert tally.failed == 0
    for row in tally.rows.values():
        if row.operation not in offered:
            assert (row.passed, row.not_offered) == (0, row.cases)
    products = tally.rows["multiply", "mul", "every pair of codes"]
    assert products.passed > 0
    assert products.not_offered > 0


def test_a_subclass_offers_what_it_overrides() -> None:
    """The methods it inherits are not offered."""
    mine = type("Mine", (Backend,), {"neg": lambda self, a: arith.neg(a)})
    tally = tiny(mine(), "order", "integer-gemm")
    assert {row.operation for row in tally.rows.values() if row.passed} == {"neg"}
    assert tally.failed == 0
    assert tally.not_offered > 1000


def test_an_operation_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method with its record is asked, judged, spelled out, written and read back."""
    monkeypatch.setitem(OPERATIONS, "raised", None)  # takes it out again in the end

    @operation(CODE, lambda a, steps: [int(code) + steps for code in a.code])
    def raised(self: Any, a: LNSArray, steps: int) -> Any:
        return a.code + steps

    a = LNSArray(np.array([1, 2, 12], np.uint8), 3, LNSFormat(4, 2))
    batch = Batch.call("order", "raised", "three codes", a, 2)
    right = expected(batch)
    assert right == [3, 4, 14]
    tally = Tally()
    tally.add(batch, ask(type("Right", (), {"raised": raised})(), batch), right)
    tally.add(batch, ask(type("Late", (), {"raised": lambda _, a, steps: a})(), batch), right)
    assert (tally.passed, tally.failed) == (3, 3)
    assert (
        "steps = 2\n    a = 0x01 = 2^(4/2)"
        in tally.rows["order", "raised", batch.what].mismatches[0]
    )
    group = json.loads(json.dumps(question("order-0001", batch, right)))
    assert group["expected"] == "03 04 0e"
    ((_, back, _, _),) = questions([group])
    assert expected(back) == read_answers("order-0001", back, "03 04 0e").values == right


def one_batch(operation: str) -> tuple[Batch, Any]:
    """A question of the small set with its answer."""
    batch = next(b for b in batches(TINY, 0) if b.operation == operation and not b.refused)
    return batch, expected(batch)


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (lambda a: np.zeros(3, np.uint8), "shape (3,) instead of (8,)"),
        (lambda a: a.code.astype(float), "0.0 (float64) instead of codes"),
        (lambda a: a.code > 3, "False (bool) instead of codes"),
        (lambda a: ["x"] * 8, "'x' (<U1) instead of codes"),
        (lambda a: LNSArray(a.code, 9, a.fmt), "offset 9 instead of 4"),
        (lambda a: LNSArray(a.code, 4, E3G1), "codes of lns-e3g1 instead of lns-e2g1"),
        (lambda a: 1 // 0, "an error, ZeroDivisionError: "),
        (lambda a: {}[3], "an error, KeyError: 3"),
    ],
)
def test_a_result_of_the_wrong_kind_fails_as_a_whole(
    result: Callable[[LNSArray], Any], problem: str
) -> None:
    """Every case of the batch, and the reason is told."""
    batch, right = one_batch("neg")
    tally = Tally()
    tally.add(batch, ask(type("Bad", (), {"neg": staticmethod(result)}), batch), right)
    (row,) = tally.rows.values()
    assert (row.failed, row.passed) == (8, 0)
    (text,) = row.mismatches
    assert f"got      {problem}" in text


def test_a_mismatch_is_spelled_out() -> None:
    """Settings, operands with their meaning, what is right and what came."""
    fmt = LNSFormat(4, 2)
    a, b = (LNSArray(np.array(code, np.uint8), -2, fmt) for code in ([3, 0x1F], [1, 0x10]))
    batch = Batch("add", "add", "two", {"a": a, "b": b}, {"variant": "exact"}, False)
    tally = Tally()
    tally.add(batch, ask(type("Bad", (), {"add": lambda self, *_: [4, 3]})(), batch), [4, 0x1F])
    assert tally.rows["add", "add", "two"].mismatches == [
        """add: add at [1]
    variant = exact
    a = 0x1f = -2^(13/2) (lns-e4g2, offset -2)
    b = 0x10 = 0 (lns-e4g2, offset -2)
    expected 0x1f = -2^(13/2)
    got      0x03 = 2^(1/2)"""
    ]


def test_a_sum_is_spelled_with_its_row_and_column() -> None:
    """A GEMM's mismatch shows what went into that output, and the whole datapath."""
    batch, right = one_batch("matmul")
    values = np.array(right).reshape(batch.shape)
    values[2, 5] += 1
    tally = Tally()
    tally.add(batch, ask(type("Bad", (), {"matmul": lambda *_: values}), batch), right)
    (text,) = tally.rows["direct", "matmul", batch.what].mismatches
    assert "direct: matmul at [2, 5]" in text
    assert "a = 0x2 = 2^(2/1)" in text
    assert f"expected {values[2, 5] - 1}\n    got      {values[2, 5]}" in text
    assert re.search(r"Accumulator\(bits=\d+, guard=0, overflow=saturate, lanes=1, ", text)


def filled(backend: Any, *only: str) -> tuple[str, list[Any]]:
    """The text of a file, and its groups with the answers of a backend."""
    vectors = Vectors("tiny", 0)
    groups = []
    for section in only:
        for batch, right in asked(section):
            vectors.add(batch, right)
    document = json.loads(vectors.text())
    for group, (_, batch, _, _) in zip(
        document["groups"], questions(document["groups"]), strict=True
    ):
        answer = ask(backend, batch)
        if answer.offered:
            group["answers"] = answer_text(batch, None if answer.refused else answer.values)
        groups.append(group)
    return json.dumps(document), groups


def test_questions_survive_the_file() -> None:
    """Every batch, read back, is written the same; its operands are the same bits, in order."""
    for section in SECTIONS:
        for number, (batch, right) in enumerate(asked(section)):
            group = question(str(number), batch, right)
            ((_, back, text, given),) = questions([json.loads(json.dumps(group, sort_keys=True))])
            assert (text, given) == (group["expected"], None)
            assert question(str(number), back, right) == group
            assert [*back.operands, *back.settings] == [*batch.operands, *batch.settings]
            assert (back.shape, back.result, back.refused) == (
                batch.shape, batch.result, batch.refused,
            )  # fmt: skip
            for mine, its in zip(batch.operands.values(), back.operands.values(), strict=True):
                for x, y in ((mine, its), (getattr(mine, "code", 0), getattr(its, "code", 0))):
                    if isinstance(x, np.ndarray):
                        assert x.dtype == y.dtype
                        assert x.tobytes() == y.tobytes()


ASKED = ("decode", "order", "integer", "float", "refusals", "integer-gemm")


def test_a_foreign_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Right answers pass; an open group is not offered; one wrong number is found and named."""
    text, _ = filled(NumpyBackend(), *ASKED)
    path = tmp_path / "answers.json"
    path.write_text(text)
    assert main(["conformance", "--check", str(path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"passed, 0 failed, [\d,]+ not offered", out)
    assert "not offered, in part or at all: matmul, matmul_float, matmul_int" in out

    document = json.loads(text)
    group = next(g for g in document["groups"] if g["operation"] == "compare")
    words = group["answers"].split()
    words[7] = "1" if words[7] != "1" else "0"
    group["answers"] = " ".join(words)
    refusal = next(g for g in document["groups"] if g["name"] == "refusals-0001")
    refusal["answers"] = "1 2 3 4 5"
    path.write_text(json.dumps(document, indent=1, sort_keys=True))  # any layout of the JSON
    assert main(["conformance", "--check", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"wrong {group['name']}: order: compare at [7]" in out
    assert "wrong refusals-0001: refusals: encode" in out
    assert "expected an error\n    got      a result" in out
    assert ", 2 failed, " in out
    assert main(["conformance", "--check", str(path), "--only", "integer,decode"]) == 0


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """A change to the document of a file."""

    def changed(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return changed


def resigned(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """A change with a digest to match."""

    def signed(document: dict[str, Any]) -> None:
        change(document)
        document["digest"] = digest(document["groups"])

    return damaged(signed)


def answers(value: Any) -> Callable[[str], str]:
    """Other answers of the first group."""
    return damaged(lambda document: document["groups"][0].update(answers=value))


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {
    "no JSON": (lambda text: text[:-9], "answers.json must be JSON, got "),
    "a list": (lambda text: "[]", "answers.json must be a file written by `lnsim conformance"),
    "another version": (
        damaged(lambda d: d.update(version=2)), "version of answers.json must be 1, got 2",
    ),
    "no groups": (damaged(lambda d: d.update(groups=4)), "groups of answers.json must be a list"),
    "another question": (
        damaged(lambda d: d["groups"][0]["settings"].update(offset=1)),
        "questions of answers.json must be as they were written, only `answers` may change",
    ),
    "a group less": (
        damaged(lambda d: d["groups"].pop()), "questions of answers.json must be as they were",
    ),
    "a list of answers": (
        answers(["0"]), "answers of integer-0001 must be a text or null, got list",
    ),
    "too few": (answers("0 1"), "answers of integer-0001 must be 124 numbers, got 2"),
    "a forged question": (
        resigned(lambda d: d["groups"][0]["settings"].pop("fmt")),
        "integer-0001 must be a group as the suite writes it, got ValueError: arguments of ",
    ),
    "a forged format": (
        resigned(lambda d: d["groups"][0]["settings"]["fmt"].update(bits=99)),
        "integer-0001 must be a group as the suite writes it, got ValueError: bits must be in ",
    ),
    "a forged answer": (
        resigned(lambda d: d["groups"][0].update(expected="0")),
        "integer-0001 of answers.json must hold the oracle's answer, got another",
    ),
    "no number": (answers("0 1x"), "answers of integer-0001 must be integers, got '1x' at place 1"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_file_is_one_line(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with what is wrong and where."""
    change, message = DAMAGE[damage]
    text, _ = filled(NumpyBackend(), "integer")
    monkeypatch.chdir(tmp_path)
    Path("answers.json").write_text(change(text))
    assert main(["conformance", "--check", "answers.json"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"lnsim: error: {message}")
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "backend must be given: numpy, kernels or MODULE:ATTRIBUTE"),
        ("--backend nympy", "backend must be one of numpy, kernels or MODULE:ATTRIBUTE, "),
        (
            "--backend plain",
            "backend must be one of numpy, kernels or MODULE:ATTRIBUTE, got 'plain'",
        ),
        ("--backend numpy --only adds", "section must be one of add, bins, "),
        ("--backend numpy --only ,", "only must name a section, got ','"),
        ("--backend numpy --level some", "level must be one of full, quick, got 'some'"),
        ("--backend numpy --seed -1", "seed must be in 0.."),
        ("--backend none_such:x", "backend module none_such must be importable, got ModuleNot"),
        ("--backend broken:x", "backend module broken must be importable, got KeyError: 'x'"),
        ("--backend theirs:its", "backend must be an attribute of theirs, got its"),
        ("--backend theirs:", "backend must be MODULE:ATTRIBUTE, got theirs:"),
        ("--check none.json", "none.json: No such file or directory"),
        ("--check x --seed 1", "seed must be left out with --check, got 1"),
        ("--check x --backend numpy", "backend must be left out with --check, got numpy"),
    ],
)
def test_a_mistake_is_one_line(
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and the rule."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("broken.py").write_text("{}['x']\n")
    Path("theirs.py").write_text("x = 1\n")
    assert main(["conformance", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"lnsim: error: {message}")
    assert out == ""


def test_the_command_asks_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table, exit codes 0 and 1, the same file for the same seed."""
    monkeypatch.setitem(LEVELS, "quick", TINY)
    words = ["conformance", "--only", "order,sums", "--write"]
    assert main([*words, str(tmp_path / "a.json"), "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"order +compare +every pair of codes +exhaustive +4 +2,944 +2,944 +- +-", out)
    assert re.search(r"order, exhaustive: lns-e2g1, lns-e2g1nz, lns-e3g1, ", out)
    assert main([*words, str(tmp_path / "b.json")]) == 0
    assert main([*words, str(tmp_path / "c.json"), "--seed", "1"]) == 0
    a, b, c = ((tmp_path / f"{name}.json").read_text() for name in "abc")
    assert a == b != c
    assert all(group["answers"] is None for group in load(tmp_path / "a.json"))
    capsys.readouterr()
    assert main(["conformance", "--check", str(tmp_path / "a.json")]) == 1
    assert capsys.readouterr().err.startswith("nothing was checked: ")


def test_the_page_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its backend passes with the command it gives, its group reads, its lists are complete."""
    page = DOCS.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(LEVELS, "quick", TINY)
    Path("mine.py").write_text(code)
    (words,) = re.findall(r"^    lnsim (conformance --backend mine:.*)$", page, re.MULTILINE)
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert re.search(r"[1-9][\d,]+ passed, 0 failed, [1-9][\d,]+ not offered", out)
    (group,) = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    ((name, batch, text, given),) = questions([json.loads(group)])
    assert answer_text(batch, expected(batch)) == text
    assert given is not None
    assert read_answers(name, batch, given).values == expected(batch)
    assert set(json.loads(group)) == set(question(name, batch, expected(batch)))
    for word in (*SECTIONS, *OPERATIONS):
        assert f"`{word}`" in page or f"`{word}(" in page, word


def test_the_oracle_is_asked_in_full() -> None:
    """`run` without a backend tells every question with its answer."""
    seen: list[tuple[Batch, Any]] = []
    tally = run(None, batches(TINY, 0, ["integer"]), lambda *pair: seen.append(pair))
    assert [right for _, right in seen] == [right for _, right in asked("integer")]
    assert tally.passed == tally.failed == 0
    batch, right = seen[0]
    values = batch.operands["x"]
    assert isinstance(values, np.ndarray)
    assert right == [encode_one(float(x), IntFormat(4), 0) for x in values]
