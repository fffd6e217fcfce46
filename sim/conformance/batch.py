"""The questions of the conformance suite as values: an operation, its operands, its settings.

A batch is one call of one operation on arrays. levels.py says how much is asked; the questions are
made in ask_codes.py, ask_reals.py and ask_gemms.py, and answered by the oracle as operations.py
says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lns.array import LNSArray
from ...lns.format import Format, LNSFormat
from .operations import OPERANDS, OPERATIONS, Kind, Number, Operand


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One call: `operation(*operands, *settings)`, in the order of the two dictionaries.

    exhaustive: the operands are all there are of `what`, for these formats and settings.
    refused: the operands are invalid and the answer is an error.
    """

    section: str
    operation: str  #: one of OPERATIONS
    what: str  #: what the operands are, such as "every pair of codes"
    operands: Mapping[str, Operand]
    settings: Mapping[str, Any]
    exhaustive: bool
    refused: bool = False

    @classmethod
    def call(
        cls, section: str, operation: str, what: str, *arguments: Any,
        exhaustive: bool = False, refused: bool = False,
    ) -> "Batch":  # fmt: skip
        """Return the call with these arguments, in the order in which the operation takes them."""
        given = dict(zip(OPERATIONS[operation].takes, arguments, strict=True))
        operands = {name: value for name, value in given.items() if name in OPERANDS}
        settings = {name: value for name, value in given.items() if name not in OPERANDS}
        return cls(section, operation, what, operands, settings, exhaustive, refused)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Operands and settings in the order of the call."""
        return (*self.operands.values(), *self.settings.values())

    @property
    def result(self) -> Kind:
        """What the answer consists of."""
        return OPERATIONS[self.operation].kind(self.settings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the answer."""
        return OPERATIONS[self.operation].shape(*self.operands.values())

    @property
    def cases(self) -> int:
        """Numbers in the answer; an error is one."""
        return 1 if self.refused else int(np.prod(self.shape))

    @property
    def target(self) -> Format | None:
        """Format of the answer's codes; None for other answers."""
        if not OPERATIONS[self.operation].coded:
            return None
        if "accumulator_bits" in self.settings:
            gamma = max(x.fmt.gamma for x in self._arrays)
            return LNSFormat(self.settings["accumulator_bits"], gamma)
        target: Format = self.settings.get("fmt") or self.formats[0]
        return target

    @property
    def offset(self) -> Any:
        """Offset beside the answer's codes."""
        if "accumulator_bits" in self.settings:
            gamma = max(x.fmt.gamma for x in self._arrays)
            return sum(x.offset * (gamma // x.fmt.gamma) for x in self._arrays) - 1
        return self.settings["offset"] if "offset" in self.settings else self._arrays[0].offset

    @property
    def formats(self) -> list[Format]:
        """Formats of the operands; where they are numbers, the target's."""
        return [x.fmt for x in self._arrays] or [self.settings["fmt"]]

    @property
    def _arrays(self) -> list[Any]:
        """The operands that are codes."""
        return [x for x in self.operands.values() if not isinstance(x, np.ndarray)]

    @property
    def coverage(self) -> str:
        """ "exhaustive"; "directed": chosen one by one; "sampled": drawn."""
        if self.exhaustive:
            return "exhaustive"
        return "directed" if self.refused or self.what.startswith("directed") else "sampled"


def expected(batch: Batch) -> list[Number] | None:
    """Return the oracle's answer in C order, or None where it is an error (`batch.refused`)."""
    oracle = OPERATIONS[batch.operation].oracle
    if not batch.refused:
        return oracle(*batch.arguments)
    try:
        oracle(*batch.arguments)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    raise AssertionError(f"the oracle must refuse {batch.operation}: {batch.what}")


def codes(fmt: LNSFormat, values: Iterable[int], offset: int = 0) -> LNSArray:
    """Return an array of one axis."""
    return LNSArray(np.array(list(values), fmt.code_dtype), offset, fmt)


def every_code(fmt: LNSFormat, offset: int = 0) -> LNSArray:
    """Return all codes, the negative zero among them."""
    return codes(fmt, range(1 << fmt.bits), offset)


def every_pair(
    a: LNSFormat, b: LNSFormat, offset_a: int = 0, offset_b: int = 0
) -> tuple[LNSArray, LNSArray]:
    """Return all pairs of codes of two formats, the second running faster."""
    count_a, count_b = 1 << a.bits, 1 << b.bits
    left, right = np.repeat(np.arange(count_a), count_b), np.tile(np.arange(count_b), count_a)
    return (
        LNSArray(left.astype(a.code_dtype), offset_a, a),
        LNSArray(right.astype(b.code_dtype), offset_b, b),
    )
