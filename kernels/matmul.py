"""`matmul`: the GEMM of codes, its argument checks and the backends.

Every backend gives the same bits for the same operands: products in ascending k, grouped, aligned
and accumulated as the datapath says. Threads share out outputs, and k only where the sums of its
parts provably stay in the range (`tile.run_task`; integers, whose order is then free), so the
number of threads changes nothing but the time. Calls may come from any Python thread; parallel
kernels take one lock, because Numba's "workqueue" threading layer (its choice where no OpenMP or
TBB is found) must not be entered twice, and two kernels side by side would only share the same
cores. The thread count is Numba's, `numba.set_num_threads`, which is set per Python thread. Where
the OpenMP layer is in use a process must not be forked after the first call; start workers with
"spawn".
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lns.array import FloatArray, IntArray, LNSArray
from ..lns.checks import require_kind
from ..lns.datapath import AnyDatapath, Datapath, FloatDatapath, IntDatapath
from .backends import get_backend
from .operands import Matrix, Place, kind_of

_OPERANDS: dict[type, type] = {
    Datapath: LNSArray,
    FloatDatapath: FloatArray,
    IntDatapath: IntArray,
}


def matmul(a: Matrix, b: Matrix, datapath: AnyDatapath, backend: str = "cpu") -> Any:
    """Return the accumulators of a (M, K) times b (K, N): shape (M, N), C-contiguous.

    Batched: a (B, M, K) times b (B, K, N) gives (B, M, N). Transposed arrays are read in place.

    int64 for a Datapath (LNSArrays), an IntDatapath (IntArrays) and a FloatDatapath (FloatArrays)
    with a fixed-point accumulator; float32 for a FloatDatapath with a float one. Offsets do not
    enter (`datapath.to_real` applies them) but must be constant along k. K = 0 gives zeros. Style
    "log": an LNSArray of `datapath.sum_format`, whose offset is the operands' sum less 1.

    backend: "cpu" (Numba) or "oracle" (plain Python integers, slow). Raises TypeError for a
    datapath or arrays of the wrong kind, ValueError for shapes, offsets or backends that do not
    fit, NonFiniteError for a NaN or infinity that meets a fixed-point accumulator, and
    NotImplementedError for "cuda".
    """
    return matmul_counted(a, b, datapath, backend)[0]


def matmul_counted(
    a: Matrix, b: Matrix, datapath: AnyDatapath, backend: str = "cpu"
) -> tuple[Any, int]:
    """Return (`matmul`'s result, overflowed).

    overflowed: outputs whose running accumulator (any bin) left the W-bit range at least once and
    was saturated or wrapped; with a float accumulator, outputs that are not finite; style "log":
    outputs of which a sum was saturated.
    """
    _check_kinds(a, b, datapath)
    if a.ndim == 3 or b.ndim == 3:
        return _batched(a, b, lambda x, y: matmul_counted(x, y, datapath, backend))
    _check(a, b, datapath)
    return get_backend(backend).product(a, b, datapath)


def matmul_real(
    a: Matrix,
    b: Matrix,
    datapath: AnyDatapath,
    place: Place | None = None,
    backend: str = "cpu",
) -> tuple[npt.NDArray[np.float32], int]:
    """Return (the values of `matmul`'s accumulators as float32, overflowed).

    A value is `datapath.to_real`'s, rounded to the nearest float32; beyond its range it is infinite
    and counted as overflowed. place: where to write the values (None: a new array (M, N)); then
    its memory is returned. Batches as in `matmul`, without a place.
    """
    _check_kinds(a, b, datapath)
    if a.ndim == 3 or b.ndim == 3:
        if place is not None:
            raise ValueError(f"place must be None for a batch, got {place!r}")
        return _batched(a, b, lambda x, y: matmul_real(x, y, datapath, None, backend))
    _check(a, b, datapath)
    rows, columns = a.shape[0], b.shape[1]
    if place is not None:
        require_kind("place", place, Place)
        if place.row_at.shape != (rows,) or place.column_at.shape != (columns,):
            raise ValueError(
                f"place must be for a result of shape {(rows, columns)}, got "
                f"{(place.row_at.size, place.column_at.size)}"
            )
    return get_backend(backend).product_real(a, b, datapath, place)


def _batched(a: Any, b: Any, product: Callable[[Any, Any], Any]) -> tuple[Any, int]:
    """`product` of every pair of a batch, stacked, and the sum of their counts."""
    for name, array in (("a", a), ("b", b)):
        if array.ndim != 3 or not isinstance(array, LNSArray | FloatArray | IntArray):
            raise ValueError(
                f"{name} must be a 3-dimensional array beside a 3-dimensional one, "
                f"got shape {array.shape}"
            )
    if a.shape[0] != b.shape[0] or not a.shape[0]:
        raise ValueError(
            f"a and b must have batches of one size, at least 1, got {a.shape[0]} and {b.shape[0]}"
        )
    results = [product(_member(a, i), _member(b, i)) for i in range(a.shape[0])]
    return _stacked([result[0] for result in results]), sum(result[1] for result in results)


def _stacked(parts: list[Any]) -> Any:
    """Results of a batch as one array; logarithmic sums keep a scale each."""
    if not isinstance(parts[0], LNSArray):
        return np.stack(parts)
    offset = parts[0].offset
    if not isinstance(offset, int) or any(np.any(part.offset != offset) for part in parts):
        offset = np.stack([np.broadcast_to(part.offset, part.shape) for part in parts])
    return LNSArray(np.stack([part.code for part in parts]), offset, parts[0].fmt)


def _member(array: Any, i: int) -> Any:
    """Matrix `i` of a batch, with its own offset."""
    offset = array.offset
    if not isinstance(offset, int) and offset.ndim == 3:
        offset = offset[i if offset.shape[0] > 1 else 0]
    return type(array)(array.code[i], offset, array.fmt)


def _check(a: Matrix, b: Matrix, datapath: AnyDatapath) -> None:
    """Refuse what does not make a product; see `matmul`."""
    _check_shapes(a, b)
    _check_offset("a", a, axis=1)
    _check_offset("b", b, axis=0)
    if isinstance(datapath, Datapath) and (
        datapath.antilog.entries is not None or datapath.accumulator.style == "log"
    ):  # entries > gamma, a sum too narrow for a product
        datapath.resolve(a.fmt, b.fmt)  # type: ignore[arg-type]


def _check_kinds(a: Matrix, b: Matrix, datapath: AnyDatapath) -> None:
    wanted = _OPERANDS.get(type(datapath))
    if wanted is None:
        names = ", ".join(kind.__name__ for kind in _OPERANDS)
        raise TypeError(f"datapath must be one of {names}, got {type(datapath).__name__}")
    for name, array in (("a", a), ("b", b)):
        if kind_of(array) is not wanted:
            raise TypeError(
                f"{name} must be of type {wanted.__name__} for a {type(datapath).__name__}, "
                f"got {type(array).__name__}"
            )


def _check_shapes(a: Matrix, b: Matrix) -> None:
    for name, array in (("a", a), ("b", b)):
        if array.ndim != 2:
            raise ValueError(f"{name} must be 2-dimensional, got shape {array.shape}")
    if a.shape[1] != b.shape[0]:
        raise ValueError(
            f"b must have as many rows as a has columns ({a.shape[1]}), got shape {b.shape}"
        )


def _check_offset(name: str, array: Matrix, axis: int) -> None:
    """Refuse an offset that varies along k, which is `axis` of the operand."""
    if isinstance(array.offset, int):
        return
    whole = array.offset.reshape((1,) * (2 - array.offset.ndim) + array.offset.shape)
    if np.any(whole != np.take(whole, [0], axis=axis)) if whole.size else False:
        raise ValueError(
            f"offset of {name} must be constant along k (axis {axis}), got shape "
            f"{array.offset.shape}; requantise it first"
        )
