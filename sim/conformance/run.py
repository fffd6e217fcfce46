"""Asking an implementation, comparing with the oracle, counting."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...lns.array import FloatArray, IntArray, LNSArray
from .batch import Batch, expected
from .operations import Number, one_each
from .text import spell

SHOWN = 3  # mismatches of a row that are spelled out
_ERRORS = (ValueError, ArithmeticError)  # what an invalid operand is refused with


@dataclass(frozen=True, slots=True)
class Answer:
    """What an implementation said to one batch.

    values: in C order; None where it gave none. problem: why there are none, or why they do not
    count. refused: it raised an error as it does for invalid operands.
    """

    values: list[Number] | None = None
    problem: str = ""
    offered: bool = True
    refused: bool = False


NOT_OFFERED = Answer(problem="not offered", offered=False)


def ask(backend: Any, batch: Batch) -> Answer:
    """Call the backend's operation. Errors are answers; only NotImplementedError means "no"."""
    method = getattr(backend, batch.operation, None)
    if method is None:
        return NOT_OFFERED
    try:
        result = method(*batch.arguments)
    except NotImplementedError:
        return NOT_OFFERED
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Answer(problem=f"an error, {text}", refused=isinstance(error, _ERRORS))
    return read(batch, result)


def read(batch: Batch, result: Any) -> Answer:
    """Take the values out of what a method returned, if it is of the right kind and shape."""
    if isinstance(result, LNSArray | FloatArray | IntArray):
        if result.fmt != batch.target:
            wanted = batch.target.name if batch.target else "plain numbers"
            return Answer(problem=f"codes of {result.fmt.name} instead of {wanted}")
        wanted_offset = one_each(batch.offset, batch.shape)
        if not np.array_equal(one_each(result.offset, result.shape), wanted_offset):
            return Answer(problem=f"offset {result.offset} instead of {batch.offset}")
        result = result.code
    array = np.asarray(result)
    if array.shape != batch.shape:
        return Answer(problem=f"shape {array.shape} instead of {batch.shape}")
    kind, values = batch.result, array.reshape(-1).tolist()
    for value in values:
        if type(value) is not int and not (kind.real and type(value) is float):
            return Answer(problem=f"{value!r} ({array.dtype}) instead of {kind.name}s")
    return Answer([float(value) for value in values] if kind.real else values)


@dataclass(slots=True)
class Row:
    """One line of the table: cases of one section, operation and kind of operands."""

    section: str
    operation: str
    what: str
    coverage: str
    formats: set[str] = field(default_factory=set)
    passed: int = 0
    failed: int = 0
    not_offered: int = 0
    mismatches: list[str] = field(default_factory=list)  #: the first SHOWN, spelled out

    @property
    def cases(self) -> int:
        """Numbers asked for."""
        return self.passed + self.failed + self.not_offered


@dataclass(slots=True)
class Tally:
    """The table of a run."""

    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    def add(self, batch: Batch, answer: Answer, right: list[Number] | None, name: str = "") -> None:
        """Judge one answer. right: the oracle's; None where the batch must be refused.

        name: what the batch is called where it comes from, in front of a mismatch.
        """
        key = batch.section, batch.operation, batch.what
        row = self.rows.setdefault(key, Row(*key, batch.coverage))
        row.formats.update(fmt.name for fmt in batch.formats)
        if not answer.offered:
            row.not_offered += batch.cases
            return
        wrong = _wrong(batch, answer, right)
        row.failed += len(wrong)
        row.passed += batch.cases - len(wrong)
        for index in wrong[: SHOWN - len(row.mismatches)]:
            wanted = None if right is None else right[index]
            row.mismatches.append(spell(batch, index, wanted, _given(answer, right, index), name))
            if answer.values is None:
                break

    @property
    def failed(self) -> int:
        """Cases answered wrongly."""
        return sum(row.failed for row in self.rows.values())

    @property
    def passed(self) -> int:
        """Cases answered rightly."""
        return sum(row.passed for row in self.rows.values())

    @property
    def not_offered(self) -> int:
        """Cases of operations that the implementation has not."""
        return sum(row.not_offered for row in self.rows.values())


def _given(answer: Answer, right: list[Number] | None, index: int) -> Number | str:
    if answer.values is None:
        return answer.problem
    return "a result" if right is None else answer.values[index]


def _wrong(batch: Batch, answer: Answer, right: list[Number] | None) -> list[int]:
    """Indices of the wrong numbers; all of them where there is no answer to compare."""
    if right is None:
        return [] if answer.refused else [0]
    if answer.values is None:
        return list(range(batch.cases))
    pairs, same = zip(answer.values, right, strict=True), batch.result.same
    return [i for i, (got, wanted) in enumerate(pairs) if not same(got, wanted)]


def run(
    backend: Any,
    questions: Iterable[Batch],
    seen: Callable[[Batch, list[Number] | None], None] | None = None,
) -> Tally:
    """Ask all the questions; `seen` is told each with its right answer. backend None: ask nobody.

    The oracle is spared where nobody wants to know.
    """
    tally = Tally()
    for batch in questions:
        answer = NOT_OFFERED if backend is None else ask(backend, batch)
        right = expected(batch) if answer.offered or seen is not None else []
        if seen is not None:
            seen(batch, right)
        tally.add(batch, answer, right)
    return tally
