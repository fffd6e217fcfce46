"""The "oracle" backend: everything number by number over `lns.oracle`. Slow; it is the judge."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import CodeArray, LNSArray
from ..lns.checks import NonFiniteError
from ..lns.datapath import AnyDatapath, Datapath, FloatDatapath
from ..lns.format import FloatFormat, Format, IntFormat, LNSFormat
from ..lns.mx_format import MXFormat
from ..lns.oracle import decode_one, dot, encode_one, float_dot, int_dot, requantise_one, split
from ..lns.oracle_mx import beyond_block, decode_block, encode_block
from ..lns.oracle_ops import beyond_one, float_code, nearest_power, steps_one
from .backends import EncodeCounts
from .host import (
    asarray,
    codes,
    grouped,
    integers,
    matrix,
    pad,
    patches,
    require_finite,
    spread,
    turned_kernel,
)
from .operands import Matrix, Place, plain_array

_FP32 = FloatFormat(8, 23)


def _dot(datapath: AnyDatapath) -> Any:
    """The oracle's dot product for a kind of datapath."""
    if isinstance(datapath, Datapath):
        return dot
    return float_dot if isinstance(datapath, FloatDatapath) else int_dot


def product(left: Matrix, right: Matrix, datapath: AnyDatapath) -> tuple[Any, int]:
    """`matmul.matmul_counted` on arguments that are already checked."""
    require_finite(left, right, datapath)
    a, b = plain_array(left), plain_array(right)
    one = _dot(datapath)
    real = isinstance(datapath.accumulator, FloatFormat)
    out = np.zeros((a.shape[0], b.shape[1]), np.float32 if real else np.int64)
    columns = b.code.T.tolist()
    overflowed = 0
    for i, row in enumerate(a.code.tolist()):
        for j, column in enumerate(columns):
            out[i, j], left_range = one(row, a.fmt, column, b.fmt, datapath)
            overflowed += bool(left_range)
    if isinstance(datapath, Datapath) and datapath.accumulator.style == "log":
        return _sums(out, a, b, datapath), overflowed
    return out, overflowed


def product_real(
    a: Matrix, b: Matrix, datapath: AnyDatapath, place: Place | None = None
) -> tuple[npt.NDArray[np.float32], int]:
    """`matmul.matmul_real` on arguments that are already checked."""
    acc, overflowed = product(a, b, datapath)
    if isinstance(acc, LNSArray):
        real = _nearest(acc)
    else:
        with np.errstate(over="ignore"):  # beyond float32's range the conversion gives infinity
            left, right = plain_array(a), plain_array(b)
            real = datapath.to_real(acc, left, right).astype(np.float32)  # type: ignore[arg-type]
    infinite = int(np.count_nonzero(~np.isfinite(real)))
    if place is None:
        return real, max(overflowed, infinite)
    place.memory[place.row_at[:, None] + place.column_at] = real
    return place.memory, max(overflowed, infinite)


def _sums(code: npt.NDArray[Any], a: Any, b: Any, datapath: Datapath) -> LNSArray:
    """Codes of style "log" beside their format and scale: offset_a + offset_b - 1, G the finer."""
    gamma = max(a.fmt.gamma, b.fmt.gamma)
    fmt = LNSFormat(datapath.accumulator.bits, gamma)
    steps = [np.asarray(x.offset, np.int64) * (gamma // x.fmt.gamma) for x in (a, b)]
    if not steps[0].ndim and not steps[1].ndim:
        return LNSArray(code.astype(fmt.code_dtype), int(steps[0] + steps[1]) - 1, fmt)
    rows, columns = (_beside_k(x, axis) for x, axis in zip(steps, (1, 0), strict=True))
    offset: Any = rows + columns - 1
    return LNSArray(code.astype(fmt.code_dtype), offset, fmt)


def _beside_k(offset: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.int64]:
    """An operand's scales, one per row or column: the first along k, 0 where there is no k."""
    whole = offset.reshape((1,) * (2 - offset.ndim) + offset.shape)
    first = np.split(whole, (1,), axis)[0] if whole.shape[axis] else np.zeros((1, 1), np.int64)
    return first


def quantise(
    x: npt.NDArray[Any],
    fmt: Format,
    offset: Any = None,
    rounding: str = "nearest",
    generator: np.random.Generator | None = None,
    scaling: str = "none",
    random_bits: int = 8,
) -> tuple[Any, EncodeCounts]:
    """`kernels.quantise`: codes of x and what was lost, number by number."""
    scaled = isinstance(fmt, IntFormat | LNSFormat) or scaling == "amax"
    if not np.isfinite(x).all() and (scaled or not isinstance(fmt, FloatFormat)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise NonFiniteError(f"x must be finite for {fmt.name}, got {x[index]} at index {index}")
    numbers: list[float] = x.reshape(-1).tolist()
    draws = [0] * len(numbers)
    if rounding == "stochastic":
        assert generator is not None
        draws = generator.integers(0, 1 << random_bits, size=x.shape).reshape(-1).tolist()
    how = rounding, draws, random_bits
    if offset is None and scaled:
        offset = _least_offset(numbers, fmt, *how)
    offset = 0 if offset is None else offset
    offsets = np.broadcast_to(offset, x.shape).reshape(-1).tolist()
    out = [
        encode_one(number, fmt, places, rounding, draw, random_bits)
        for number, places, draw in zip(numbers, offsets, draws, strict=True)
    ]
    lost = [_lost(*each, fmt, *how[::2]) for each in zip(numbers, offsets, draws, out, strict=True)]
    code = np.array(out, np.int64).reshape(x.shape)
    counts = EncodeCounts(len(out), lost.count("saturated"), lost.count("underflowed"))
    return codes(code, offset, fmt), counts


def _lost(
    x: float, offset: int, draw: int, code: int, fmt: Format, rounding: str, random_bits: int
) -> str:
    """What the encoding of one number did to it: "saturated", "underflowed" or ""."""
    if x == 0 or not np.isfinite(x):
        return ""
    if isinstance(fmt, LNSFormat):
        e = steps_one(x, fmt.gamma, rounding, offset, draw, random_bits) - offset
        above, below = e >= 2**fmt.exponent_bits, e < (1 if fmt.zero else 0)
    else:
        magnitude = code if isinstance(fmt, IntFormat) else code % 2 ** (fmt.bits - 1)
        above, below = beyond_one(x, fmt, offset), magnitude == 0
    return "saturated" if above else "underflowed" if below else ""


def _least_offset(
    numbers: list[float], fmt: Format, rounding: str, draws: list[int], random_bits: int
) -> int:
    """The smallest scale at which nothing saturates, LNS in whole octaves; 0 for zeros alone."""
    pairs = [(x, draw) for x, draw in zip(numbers, draws, strict=True) if x]
    if not pairs:
        return 0
    if isinstance(fmt, LNSFormat):
        top = 2**fmt.exponent_bits - 1

        def most(offset: int) -> int:
            return max(steps_one(x, fmt.gamma, rounding, offset, d, random_bits) for x, d in pairs)

        offset = -((top - most(0)) // fmt.gamma + 1) * fmt.gamma  # a tie may be rounded otherwise
        while most(offset) - offset > top:
            offset += fmt.gamma
        return offset
    low, high = -2200, 2200  # beyond float64's range, at both ends: low does not fit, high does
    while high - low > 1:
        middle = (low + high) // 2
        beyond = any(beyond_one(x, fmt, middle) for x, _ in pairs)
        low, high = (middle, high) if beyond else (low, middle)
    return high


def quantise_blocks(
    x: npt.NDArray[np.float32], fmt: MXFormat, axis: int, groups: int = 1
) -> tuple[CodeArray, EncodeCounts]:
    """The values of MX blocks as FP32 codes, block by block."""
    if not np.isfinite(x).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise NonFiniteError(f"x must be finite for {fmt.name}, got {x[index]} at index {index}")
    lines = np.moveaxis(grouped(x, axis, groups), axis + 1, -1)
    out = np.zeros(lines.shape, np.int64)
    saturated = underflowed = 0
    for place in np.ndindex(lines.shape[:-1]):
        line: list[float] = lines[place].tolist()
        for first in range(0, len(line), fmt.block):
            block = line[first : first + fmt.block]
            scale, elements = encode_block(block, fmt)
            for i, value in enumerate(decode_block(scale, elements, fmt)):
                negative = value < 0 or (isinstance(value, float) and bool(np.signbit(value)))
                out[(*place, first + i)] = float_code(negative, abs(Fraction(value)), _FP32)
                saturated += beyond_block(block[i], scale, fmt)
                underflowed += value == 0 != block[i]
    code = np.ascontiguousarray(np.moveaxis(out, -1, axis + 1)).reshape(x.shape)
    return codes(code, 0, _FP32), EncodeCounts(x.size, saturated, underflowed)


def requantise(codes_: LNSArray, fmt: LNSFormat, offset: Any = None) -> tuple[Any, EncodeCounts]:
    """`kernels.requantise`: RN_even((e + offset) * G' / G - offset'), number by number."""
    source = codes_.fmt
    flat = codes_.code.reshape(-1).tolist()
    offsets = np.broadcast_to(codes_.offset, codes_.shape).reshape(-1).tolist()
    parts = [split(code, source) for code in flat]
    exact = [
        None if e is None else Fraction((e + places) * fmt.gamma, source.gamma)
        for (_, e), places in zip(parts, offsets, strict=True)
    ]
    if offset is None:
        largest = max((steps for steps in exact if steps is not None), default=None)
        offset = 0
        if largest is not None:
            top = 2**fmt.exponent_bits - 1
            offset = -((top - round(largest)) // fmt.gamma) * fmt.gamma
            while round(largest - offset) > top:
                offset += fmt.gamma
    targets = np.broadcast_to(offset, codes_.shape).reshape(-1).tolist()
    out, above, below = [], 0, 0
    for code, places, steps, target in zip(flat, offsets, exact, targets, strict=True):
        out.append(requantise_one(code, places, source, fmt, target))
        if steps is not None:
            e = round(steps - target)
            above += e >= 2**fmt.exponent_bits
            below += e < (1 if fmt.zero else 0)
    code = np.array(out, np.int64).reshape(codes_.shape)
    return codes(code, offset, fmt), EncodeCounts(len(out), above, below)


def decode(array: CodeArray) -> npt.NDArray[np.float32]:
    """`kernels.decode`: the float32 nearest to each value, ties to even, infinite beyond."""
    value = _nearest(array)
    if (np.isinf(value) & np.isfinite(_own(array))).any():
        index = tuple(int(i) for i in np.argwhere(np.isinf(value) & np.isfinite(_own(array)))[0])
        raise OverflowError(f"value must be within float32's range, got more at index {index}")
    return value


def _own(array: CodeArray) -> npt.NDArray[np.float64]:
    """0 where a code is finite in its own format, its infinity or NaN elsewhere."""
    if not isinstance(array.fmt, FloatFormat):
        return np.zeros(array.shape)
    values = [decode_one(code, 0, array.fmt) for code in array.code.reshape(-1).tolist()]
    special = [value if isinstance(value, float) else 0.0 for value in values]
    return np.array(special).reshape(array.shape)


def _nearest(array: CodeArray) -> npt.NDArray[np.float32]:
    offsets = np.broadcast_to(array.offset, array.shape).reshape(-1).tolist()
    pairs = zip(array.code.reshape(-1).tolist(), offsets, strict=True)
    bits = [_single(code, offset, array.fmt) for code, offset in pairs]
    return np.array(bits, np.uint32).view(np.float32).reshape(array.shape)


def _single(code: int, offset: int, fmt: Format) -> int:
    """Bits of the float32 nearest to a code's value; a zero that a value became has no sign."""
    if isinstance(fmt, LNSFormat):
        sign, e = split(code, fmt)
        if e is None:
            return 0
        steps = e + offset
        places = min(23 - steps // fmt.gamma, 149)  # of float32's last bit there
        exact = nearest_power(steps, fmt.gamma, places) * Fraction(2) ** -places
        found = float_code(bool(sign), exact, _FP32)
        return found if found % 2**31 else 0
    value = decode_one(code, offset, fmt)
    if isinstance(value, float):  # a negative zero, an infinity or a NaN
        return float_code(bool(np.signbit(value)), abs(value) or Fraction(0), _FP32)
    return float_code(value < 0, abs(value), _FP32)


def move(
    code: npt.NDArray[np.int32],
    gradient: npt.NDArray[np.float32],
    v: npt.NDArray[np.float32],
    step: int,
    lr_factor: float,
    exponent_bits: int,
    beta2: float = 0.999,
    g_bound: float = 10.0,
) -> tuple[int, int, int] | None:
    """`kernels.move_codes`: integer Madam in float32, one operation after the other, in place."""
    if not np.isfinite(gradient).all():
        return None
    one = np.float32
    keep, rest, bound = one(beta2), one(1.0 - beta2), one(g_bound)
    correction, factor = one(1.0 - beta2**step), one(lr_factor)
    top = 2**exponent_bits - 1
    undefined = above = below = 0
    for at in np.ndindex(code.shape):
        g = gradient[at]
        with np.errstate(all="ignore"):
            v[at] = keep * v[at] + rest * g * g
            root = one(np.sqrt(np.float64(v[at] / correction)))
            u = one(0) if root == 0 and g == 0 else g / root
            u = bound if u > bound else -bound if u < -bound else u
            moved = int(min(max(float(np.rint(factor * u)), -(top + 1)), top + 1))
        sign, e = divmod(int(code[at]), top + 1)
        e += moved if sign else -moved
        undefined += bool(v[at] == 0 and g == 0)
        above, below = above + (e > top), below + (e < 0)
        code[at] = sign << exponent_bits | min(max(e, 0), top)
    return undefined, above, below
