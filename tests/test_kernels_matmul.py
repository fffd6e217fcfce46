"""The entry of the kernels: backends, argument checks, result kinds."""

from typing import Any

import numpy as np
import pytest
from lnsim.kernels import matmul, matmul_counted
from lnsim.kernels.slots import place_products
from lnsim.kernels.vector import SLOTS
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


@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8, 9, 16, 17])
def test_every_product_has_one_slot_and_groups_stay_whole(lanes: int) -> None:
    """Slots are in ascending k; a group never straddles a chunk, nor shares its slots."""
    slots = place_products(53, lanes)
    used = slots.product[slots.product >= 0]
    np.testing.assert_array_equal(used, np.arange(53))
    chunk = slots.passes * SLOTS
    position = np.flatnonzero(slots.product >= 0)
    group = used // lanes
    place = position // chunk * slots.groups + position % chunk // slots.group_slots
    np.testing.assert_array_equal(place, group)
