"""Mismatches in words: codes with their values, operands, settings."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ...lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ...lns.oracle_ops import decode_one, split
from .batch import Batch
from .operations import OPERATIONS, Number, Operand, code_text, one_each, real_text


def meaning(code: int, fmt: Format, offset: int) -> str:
    """A code with its value, `0x1f = -2^(15/2)`."""
    if isinstance(fmt, LNSFormat):
        if not 0 <= code < 1 << fmt.bits:
            return f"{code} (no code of {fmt.name})"
        sign, e = split(code, fmt)
        power = "" if e is None else f"{'-' if sign else ''}2^({e + offset}/{fmt.gamma})"
        return f"0x{code_text(code, fmt)} = {power or 0}"
    if isinstance(fmt, FloatFormat):
        if not 0 <= code < 1 << fmt.bits:
            return f"{code} (no code of {fmt.name})"
        return f"0x{code_text(code, fmt)} = {float(decode_one(code, offset, fmt))!r}"
    return f"{code} = {float(decode_one(code, offset, fmt))!r}"


def _operand(operand: Operand, where: Any) -> str:
    """The part of an operand that goes into one number of the answer."""
    if isinstance(operand, np.ndarray):
        values = np.atleast_1d(operand[where])
        if operand.dtype.kind == "i":
            return " ".join(str(value) for value in values.tolist())
        texts = [f"{real_text(float(v))} = {float(v)!r}" for v in values]
        return f"{', '.join(texts)} ({operand.dtype})"
    part, fmt = np.atleast_1d(operand.code[where]), operand.fmt
    offsets = np.unique(one_each(operand.offset, operand.shape)[where]).tolist()
    scale = f"{fmt.name}, offset {', '.join(map(str, offsets))}"
    if part.size == 1:
        return f"{meaning(int(part.flat[0]), fmt, offsets[0])} ({scale})"
    return f"{' '.join(code_text(int(code), fmt) for code in part)} ({scale})"


def _where(batch: Batch, index: int) -> tuple[tuple[int, ...], tuple[Any, Any]]:
    """(Index of the number in the answer, what goes into it of each operand)."""
    if batch.refused:
        return (), (..., ...)
    place = tuple(int(i) for i in np.unravel_index(index, batch.shape)) if batch.shape else ()
    return place, OPERATIONS[batch.operation].parts(place)


def setting_text(value: Any) -> str:
    """A format by its name, a datapath by all its fields, the rest as it is."""
    if isinstance(value, LNSFormat | IntFormat | FloatFormat):
        return value.name
    if is_dataclass(value):
        inner = (f"{f.name}={setting_text(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({', '.join(inner)})"
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def _result(batch: Batch, index: int, value: Number | str | None) -> str:
    if value is None:
        return "an error"
    if isinstance(value, str):
        return value
    target = batch.target
    if target is not None and isinstance(value, int):
        offsets = one_each(batch.offset, batch.shape)
        return meaning(value, target, int(offsets.flat[index]))
    return f"{real_text(value)} = {value!r}" if isinstance(value, float) else str(value)


def spell(
    batch: Batch, index: int, wanted: Number | None, got: Number | str | None, name: str = ""
) -> str:
    """One mismatch in full: the settings, what went in, the right answer and the given one."""
    place, parts = _where(batch, index)
    where = f" at {list(place)}" if place else ""
    lines = [f"{name + ': ' if name else ''}{batch.section}: {batch.operation}{where}"]
    lines += [f"{name} = {setting_text(value)}" for name, value in batch.settings.items()]
    for (operand_name, operand), part in zip(batch.operands.items(), parts, strict=False):
        lines.append(f"{operand_name} = {_operand(operand, part)}")
    lines += [f"expected {_result(batch, index, wanted)}"]
    lines += [f"got      {_result(batch, index, got)}"]
    return "\n    ".join(lines)
