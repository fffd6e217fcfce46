"""SCALE-Sim topologies: the shapes of both forms, what is written, and every refusal."""

import random
import re
from pathlib import Path

import pytest
from lnsim.sim.workload.topology import conv_gemm, read_topology, topology_text
from lnsim.sim.workload.workload import Gemm

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
CONV += "Strides,\n"
GEMM = "Layer, M, N, K,\n"

# SCALE-Sim 3.0.0's own ResNet-18, and the M, N, K it reported for it.
RESNET18 = [
    ("Conv1", 224, 224, 7, 7, 3, 64, 2, 12100, 64, 147),
    ("Conv2_1a", 56, 56, 3, 3, 64, 64, 1, 2916, 64, 576),
    ("Conv2_1b", 56, 56, 3, 3, 64, 64, 1, 2916, 64, 576),
    ("Conv2_2a", 56, 56, 3, 3, 64, 64, 1, 2916, 64, 576),
    ("Conv2_2b", 56, 56, 3, 3, 64, 64, 1, 2916, 64, 576),
    ("Conv3_1a", 56, 56, 3, 3, 64, 128, 2, 784, 128, 576),
    ("Conv3_1b", 28, 28, 3, 3, 128, 128, 1, 676, 128, 1152),
    ("Conv3_s", 56, 56, 1, 1, 64, 128, 2, 841, 128, 64),
    ("Conv3_2a", 28, 28, 3, 3, 128, 128, 1, 676, 128, 1152),
    ("Conv3_2b", 28, 28, 3, 3, 128, 128, 1, 676, 128, 1152),
    ("Conv4_1a", 28, 28, 3, 3, 128, 256, 2, 196, 256, 1152),
    ("Conv4_1b", 14, 14, 3, 3, 256, 256, 1, 144, 256, 2304),
    ("Conv4_s", 28, 28, 1, 1, 128, 256, 2, 225, 256, 128),
    ("Conv4_2a", 14, 14, 3, 3, 256, 256, 1, 144, 256, 2304),
    ("Conv4_2b", 14, 14, 3, 3, 256, 256, 1, 144, 256, 2304),
    ("Conv5_1a", 14, 14, 3, 3, 256, 512, 2, 49, 512, 2304),
    ("Conv5_1b", 7, 7, 3, 3, 512, 512, 1, 25, 512, 4608),
    ("Conv5_s", 14, 14, 1, 1, 256, 512, 2, 64, 512, 256),
    ("Conv5_2a", 7, 7, 3, 3, 512, 512, 1, 25, 512, 4608),
    ("Conv5_2b", 7, 7, 3, 3, 512, 512, 1, 25, 512, 4608),
    ("FC", 1, 1, 1, 1, 512, 1000, 1, 1, 1000, 512),
]

BAD = {
    "": "1: header must name the columns, got the end of the file",
    "\n , ,\n": "2: header must name the columns, got the end of the file",
    GEMM: "1: layers must follow the header, got the end of the file",
    "a, 1, 2, 3,\n": "1: header must be name, M, N, K or name, ifmap_h, ifmap_w, filter_h, "
    "filter_w, channels, filters, stride, in any order behind the name, got a, 1, 2, 3",
    "M, Layer, N, K,\n": "1: header must be name, M, N, K or ",
    "Layer, M, N, N,\n": "1: header must be name, M, N, K or ",
    "Layer, M, N, K, Batch,\n": "1: header must be name, M, N, K or ",
    "Layer, M, Sparsity, N, K,\n": "1: header must be name, M, N, K or ",
    CONV.replace("Strides", "Padding"): "1: header must be name, M, N, K or ",
    CONV.replace("Filter Width", "Filter Height"): "1: header must be name, M, N, K or ",
    "Layer\tM\tN\tK\n": "1: header must be name, M, N, K or ",
    GEMM + "\na, 1, 2,\n": "3: K must be given, got nothing",
    GEMM + "a, 1, , 3,\n": "2: N must be a whole number in 1..1099511627776, got ''",
    GEMM + "a, 0, 2, 3,\n": "2: M must be a whole number in 1..1099511627776, got '0'",
    GEMM + "a, -1, 2, 3,\n": "2: M must be a whole number in 1..1099511627776, got '-1'",
    GEMM + "a, 1.0, 2, 3,\n": "2: M must be a whole number in 1..1099511627776, got '1.0'",
    GEMM + "a, 1_0, 2, 3,\n": "2: M must be a whole number in 1..1099511627776, got '1_0'",
    GEMM + f"a, 1, {'9' * 5000}, 3,\n": "2: N must be a whole number in 1..1099511627776, got '99",
    GEMM + "a, 1, 2, 1099511627777,\n": "2: K must be a whole number in 1..1099511627776, got '1",
    GEMM
    + "a, 1, 1099511627776, 2,\n": "2: elements must be in 1..1099511627776, got 2199023255552",
    GEMM + f"a, 1, 1, {1 << 39},\n" * 3: "4: parameters must be in 0..1099511627776, got "
    "1649267441664 in all layers",
    GEMM + ", 1, 2, 3,\n": "2: name must not be empty, got ''",
    GEMM + "a, 1, 2, 3, 2:4,\n": "2: sparsity must be 1:1, which is dense, got 2:4",
    GEMM + "a, 1, 2, 3, 8,\n": "2: K must be the last field but a sparsity, got also 8",
    GEMM + "a, 1, 2, 3, 1:1, 8,\n": "2: K must be the last field but a sparsity, got also 1:1, 8",
    CONV + "a, 8, 8, 3, 3, 1, 1,\n": "2: stride must be given, got nothing",
    CONV + "a, 8, 8, 3, 3, 1, 1, 0,\n": "2: stride must be a whole number in 1..",
    CONV + "a, 8, 8, 3, 3, 1, 1, 2, 2\n": "2: stride must be the last field but a sparsity, got "
    "also 2",
    CONV + "a, 8, 8, 9, 3, 1, 1, 1,\n": "2: filter_h must be at most ifmap_h 8, got 9",
    CONV + "b, 8, 8, 8, 8, 1, 1, 1,\na, 9, 8, 9, 9, 1, 1, 1,\n": "3: filter_w must be at most "
    "ifmap_w 8, got 9",
    CONV + f"a, {1 << 20}, {1 << 20}, {1 << 20}, {1 << 20}, 2, 1, 1,\n": "2: K must be in "
    "1..1099511627776, got 2199023255552",
}


@pytest.mark.parametrize("text", BAD)
def test_every_mistake_names_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "net.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}, line {BAD[text]}')}"):
        read_topology(path)


def test_text_that_is_not_utf8_and_a_file_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_bytes(GEMM.encode() + b"caf\xe9, 1, 2, 3,\n")
    expected = f"{path}, line 2: text must be UTF-8, got invalid continuation byte"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        read_topology(path)
    with pytest.raises(FileNotFoundError):
        read_topology(tmp_path / "none.csv")


def test_resnet18_has_the_shapes_scalesim_reports(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.csv"
    path.write_text(CONV + "".join(", ".join(map(str, row[:8])) + ",\n" for row in RESNET18))
    work = read_topology(path)
    forward = [(gemm.layer, gemm.M, gemm.N, gemm.K) for gemm in work.of_phase("forward")]
    assert forward == [(row[0], *row[8:]) for row in RESNET18]
    assert work.name == "resnet18"
    assert "unknown" in work.note
    assert len(work.gemms) == 3 * len(RESNET18) - 1
    assert work.parameters == sum(row[9] * row[10] for row in RESNET18) == 11_678_912
    assert next(work.of_phase("forward")).a_words == 224 * 224 * 3


@pytest.mark.parametrize("header", [CONV, "Layer, M, N, K,\n"])
@pytest.mark.parametrize("seed", range(8))
def test_columns_are_placed_by_their_names(tmp_path: Path, header: str, seed: int) -> None:
    """Each column holds a number of its own, so any misplaced one would change the product."""
    names = [name.strip() for name in header.split(",")[1:-1]]
    row = dict(zip(names, (40, 30, 5, 3, 7, 11, 2), strict=False))
    order = random.Random(seed).sample(names, len(names))
    texts = ((names, header), (order, "Layer name, " + ", ".join(order) + ", Sparsity,\n"))
    read = []
    for columns, head in texts:
        path = tmp_path / "net.csv"
        path.write_text(head + "a, " + ", ".join(str(row[name]) for name in columns) + ",\n")
        read.append(read_topology(path))
    assert read[0] == read[1]


def test_the_spellings_of_a_column(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    texts = [
        CONV,
        "name, ifmap_h, ifmap_w, filter_h, filter_w, channels, filters, stride\n",
        "Layer Name,Input H,Input W,Kernel H,Kernel W,Num Channels,Number Filters,Stride\n",
        "layer, IFMAP_Height, IFMAP.Width, FILTER  Height, Filter w, Channel, Filter, STRIDES\n",
    ]
    read = []
    for text in texts:
        path.write_text(text + "a, 40, 30, 5, 3, 7, 11, 2,\n")
        read.append(read_topology(path))
    assert all(work == read[0] for work in read)


def test_a_convolution_counts_windows_that_end_outside() -> None:
    gemm = conv_gemm("a", (10, 7, 3, 2, 4, 5, 2))
    assert (gemm.M, gemm.N, gemm.K, gemm.count) == (5 * 4, 5, 24, 1)
    assert (gemm.a_words, gemm.b_words) == (10 * 7 * 4, 5 * 24)
    sparse = conv_gemm("a", (9, 9, 1, 1, 4, 5, 4))  # most of the input is passed over
    assert (sparse.M, sparse.K, sparse.a_words) == (9, 4, 36)


def test_dp_in_a_name_means_one_product_a_channel(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(CONV + "DP1, 6, 6, 3, 3, 16, 1, 1, #dw\nDP2, 6, 6, 3, 3, 16, 2, 1,\n")
    work = read_topology(path)
    one, two = work.of_phase("forward")
    assert one == Gemm("DP1", "forward", 16, 1, 9, count=16, a_words=36, b_words=9)
    assert (two.N, two.K, two.count) == (2, 9, 16)
    assert work.parameters == 16 * 9 + 16 * 18
    path.write_text(GEMM + "DP1, 6, 6, 3,\n")  # the other form has no depthwise layers
    assert [gemm.count for gemm in read_topology(path).of_phase("forward")] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "Layer,M,N,K\na,4,5,6\n",
        "\ufeffLayer Name , m , n , k , Sparsity ,\r\n\r\n a , 4 , 5 , 6 , 1:1 ,\r\n , , ,\r\n",
        "Layer, M, N, K,\na, 4, 5, 6, 1 : 1, # dense",
    ],
)
def test_blanks_last_comma_and_dense_sparsity_change_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "net.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read_topology(path).of_phase("forward")) == [Gemm("a", "forward", 4, 5, 6)]


def test_what_is_written_is_read_with_the_same_shapes(tmp_path: Path) -> None:
    gemms = [
        Gemm("features.0", "forward", 4, 5, 6),
        Gemm("my DP, #2", "dx", 7, 8, 9, count=12, a_role="error"),
        Gemm("", "dw", 1, 2, 1 << 30, a_role="error", b_role="activation"),
    ]
    text = topology_text(iter(gemms))
    assert text == (
        "Layer, M, N, K,\nfeatures.0_forward, 4, 5, 6,\nmy_Dp_2_dx_x12, 7, 8, 9,\n"
        "_dw, 1, 2, 1073741824,\n"
    )
    path = tmp_path / "step.csv"
    path.write_text(text)
    found = [(gemm.M, gemm.N, gemm.K) for gemm in read_topology(path).of_phase("forward")]
    assert found == [(gemm.M, gemm.N, gemm.K) for gemm in gemms]
    with pytest.raises(ValueError, match=r"^gemms must not be empty, got none$"):
        topology_text([])
