"""The entry of the kernels: backends, argument checks, result kinds."""

from typing import Any

import numpy as np
import pytest
from lnsim.kernels import matmul, matmul_counted, matmul_real
from lnsim.kernels.cpu.gemm.packing import PANEL_BYTES, chunk_size, cut
from lnsim.kernels.cpu.ir.emit import VECTOR_BYTES, VECTORS
from lnsim.lns.array import FloatArray, IntArray, LNSArray
from lnsim.lns.datapath import Accumulator, Antilog, Datapath, FloatDatapath, IntDatapath
from lnsim.lns.format import FP8_E4M3, INT8, LNS8


def zeros(kind: type, shape: tuple[int, ...], offset: Any = 0) -> Any:
    """An array of zero codes of one of the three classes."""
    fmt = {LNSArray: LNS8, FloatArray: FP8_E4M3, IntArray: INT8}[kind]
    return kind(np.zeros(shape, fmt.code_dtype), offset, fmt)


@pytest.mark.parametrize("backend", ["cpu", "oracle"])
@pytest.mark.parametrize(
    ("kind", "datapath", "dtype"),
    [
        (LNSArray, Datapath(), np.int64),
        (FloatArray, FloatDatapath(), np.float32),
        (FloatArray, FloatDatapath(Accumulator()), np.int64),
        (IntArray, IntDatapath(), np.int64),
    ],
    ids=["lns", "float", "float-fixed", "int"],
)
def test_every_backend_gives_the_same_kind_of_result(
    kind: type, datapath: Any, dtype: type, backend: str
) -> None:
    """Shape (M, N), C-contiguous, int64 or float32; zeros times zeros is zero."""
    acc, overflowed = matmul_counted(zeros(kind, (2, 3)), zeros(kind, (3, 4)), datapath, backend)
    assert acc.shape == (2, 4)
    assert acc.dtype == dtype
    assert acc.flags.c_contiguous
    assert not acc.any()
    assert overflowed == 0


@pytest.mark.parametrize(
    ("a", "b", "datapath", "error", "message"),
    [
        (
            zeros(LNSArray, (2, 3)),
            zeros(LNSArray, (4, 2)),
            Datapath(),
            ValueError,
            r"^b must have as many rows as a has columns \(3\), got shape \(4, 2\)$",
        ),
        (
            zeros(LNSArray, (3,)),
            zeros(LNSArray, (3, 2)),
            Datapath(),
            ValueError,
            r"^a must be 2-dimensional, got shape \(3,\)$",
        ),
        (
            zeros(LNSArray, (2, 3)),
            zeros(FloatArray, (3, 2)),
            Datapath(),
            TypeError,
            r"^b must be of type LNSArray for a Datapath, got FloatArray$",
        ),
        (
            np.zeros((2, 3)),
            zeros(IntArray, (3, 2)),
            IntDatapath(),
            TypeError,
            r"^a must be of type IntArray for a IntDatapath, got ndarray$",
        ),
        (
            zeros(LNSArray, (2, 3)),
            zeros(LNSArray, (3, 2)),
            "lns",
            TypeError,
            r"^datapath must be one of Datapath, FloatDatapath, IntDatapath, got str$",
        ),
        (
            zeros(LNSArray, (2, 3), np.array([0, 8, 0], np.int32)),
            zeros(LNSArray, (3, 2)),
            Datapath(),
            ValueError,
            r"^offset of a must be constant along k \(axis 1\), got shape \(3,\); "
            r"requantise it first$",
        ),
        (
            zeros(LNSArray, (2, 3)),
            zeros(LNSArray, (3, 2), np.array([[0], [8], [0]], np.int32)),
            Datapath(),
            ValueError,
            r"^offset of b must be constant along k \(axis 0\), got shape \(3, 1\); "
            r"requantise it first$",
        ),
        (
            zeros(LNSArray, (2, 3)),
            zeros(LNSArray, (3, 2)),
            Datapath(Antilog(entries=16)),
            ValueError,
            r"^entries must be at most gamma = 8, got 16$",
        ),
    ],
    ids=["shapes", "1-d", "kind", "ndarray", "datapath", "offset-a", "offset-b", "entries"],
)
def test_what_does_not_fit_is_refused_by_name(
    a: Any, b: Any, datapath: Any, error: type[Exception], message: str
) -> None:
    """Every message names the argument, the rule and the value."""
    with pytest.raises(error, match=message):
        matmul(a, b, datapath)


def test_an_unknown_backend_lists_the_known_ones() -> None:
    """A wrong name and a backend that is only planned each say what there is."""
    a, b = zeros(LNSArray, (2, 3)), zeros(LNSArray, (3, 2))
    with pytest.raises(ValueError, match=r"^backend must be one of cpu, cuda, oracle, got 'gpu'$"):
        matmul(a, b, Datapath(), backend="gpu")
    message = r"^backend must be one of cpu, oracle, got 'cuda': not built yet$"
    with pytest.raises(NotImplementedError, match=message):
        matmul(a, b, Datapath(), backend="cuda")


def test_scales_per_row_and_column_do_not_enter_the_accumulators() -> None:
    """Offsets constant along k are accepted and change to_real, not the integers."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 256, (3, 3)).astype(np.uint8)
    plain = LNSArray(code, 0, LNS8)
    rows = LNSArray(code, np.array([[0], [8], [-8]], np.int32), LNS8)
    columns = LNSArray(code, np.array([16, 0, 8], np.int32), LNS8)
    wanted = matmul(plain, plain, Datapath())
    acc = matmul(rows, columns, Datapath())
    np.testing.assert_array_equal(acc, wanted)
    scaled = Datapath().to_real(acc, rows, columns)
    factor = 2.0 ** np.array([[0], [1], [-1]]) * 2.0 ** np.array([2, 0, 1])
    np.testing.assert_array_equal(scaled, Datapath().to_real(wanted, plain, plain) * factor)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("rows", [1, 8, 64, 256])
@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8, 9, 16, 17, 1024])
def test_chunks_keep_groups_whole_or_end_with_them(lanes: int, rows: int, vectors: int) -> None:
    """k is covered once, in order; a group lies in one chunk or ends where a chunk does."""
    chunks = cut(3000, lanes, chunk_size(rows, vectors))
    assert chunks.start[0] == 0
    assert chunks.start[-1] == 3000
    sizes = np.diff(chunks.start)
    assert (sizes > 0).all()
    row_bytes = rows * vectors * VECTOR_BYTES
    assert sizes.max() * row_bytes <= max(PANEL_BYTES, row_bytes)
    if chunks.group:
        assert chunks.group == lanes
        assert (chunks.start[:-1] % lanes == 0).all()
        assert not chunks.fold.any()
    else:
        ends = chunks.start[1:][chunks.fold == 1]
        np.testing.assert_array_equal(ends, [*range(lanes, 3000, lanes), 3000])


@pytest.mark.parametrize("backend", ["cpu", "oracle"])
def test_a_batch_is_its_products_one_by_one(backend: str) -> None:
    """(B, M, K) times (B, K, N), each with its own scale; counts are added."""
    rng = np.random.default_rng(4)
    scale = np.array([0, 8, -16], np.int32)[:, None, None]
    a = LNSArray(rng.integers(110, 128, (3, 4, 50)).astype(np.uint8), scale, LNS8)
    b = LNSArray(rng.integers(90, 128, (3, 50, 6)).astype(np.uint8), 3, LNS8)
    datapath = Datapath(accumulator=Accumulator(bits=14, guard=0))
    acc, overflowed = matmul_counted(a, b, datapath, backend)
    assert acc.shape == (3, 4, 6)
    parts = [
        matmul_counted(LNSArray(a.code[i], 0, LNS8), LNSArray(b.code[i], 0, LNS8), datapath)
        for i in range(3)
    ]
    np.testing.assert_array_equal(acc, np.stack([part[0] for part in parts]))
    assert overflowed == sum(part[1] for part in parts) > 0
    real, _ = matmul_real(a, b, datapath)
    for i in range(3):
        one = LNSArray(a.code[i], int(scale[i, 0, 0]), LNS8), LNSArray(b.code[i], 3, LNS8)
        np.testing.assert_array_equal(real[i], matmul_real(*one, datapath)[0])


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((2, 3, 4), (4, 5), r"^b must be a 3-dimensional array beside a 3-dimensional one, got"),
        ((2, 3, 4), (3, 4, 5), r"^a and b must have batches of one size, at least 1, got 2 and 3$"),
        ((0, 3, 4), (0, 4, 5), r"^a and b must have batches of one size, at least 1, got 0 and 0$"),
    ],
)
def test_batches_that_do_not_fit_are_refused(
    left: tuple[int, ...], right: tuple[int, ...], message: str
) -> None:
    """Sizes and dimensions by name."""
    with pytest.raises(ValueError, match=message):
        matmul(zeros(LNSArray, left), zeros(LNSArray, right), Datapath())
