"""Labelled images: where each set is looked for, how its files are checked, how pixels are scaled.

A set other than the shipped digits is looked for in $LNSIM_DATA/<name>, in lnsim/<name> of the
user's cache ($XDG_CACHE_HOME, else ~/.cache) and, for Fashion-MNIST, in the folder of Debian's
package dataset-fashion-mnist. Nothing is fetched here; `lnsim data fetch` does that.

Normalisation, with fixed constants of the training part: (pixel / 255 - mean) / std; the digits
(pixel / 16 - mean) / std; CIFAR-10 per colour channel. `DATASETS` holds the constants.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..checks import require_name
from ..files.assets import ASSETS
from .catalog import DATASETS, DatasetInfo

_MOST_AXES = 8  # of an idx file; images have three
Bytes = npt.NDArray[np.uint8]
Part = tuple[Bytes, Bytes]  # pixels (n, C, H, W), labels (n,)


class DataNotFoundError(FileNotFoundError):
    """A data set is not on this machine; the message ends in the command that gets it."""


class DataCorruptError(ValueError):
    """A data file does not have its published contents; the message names it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Normalised images and labels, training and test part."""

    name: str
    train_x: npt.NDArray[np.float32]  #: (n, C, H, W), normalised as the module states
    train_y: npt.NDArray[np.int64]  #: (n,), 0..classes-1
    test_x: npt.NDArray[np.float32]
    test_y: npt.NDArray[np.int64]
    classes: int
    source: str  #: the folder it was read from


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder data sets are fetched into: $LNSIM_DATA, else lnsim in the user's cache."""
    if environ.get("LNSIM_DATA"):
        return Path(environ["LNSIM_DATA"])
    return _cache(environ)


def _cache(environ: Mapping[str, str]) -> Path:
    # The XDG base directory specification has relative paths ignored.
    base = Path(environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "lnsim"


def folders(info: DatasetInfo, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders looked in for a set, in order."""
    if info.kind == "npz":
        return [ASSETS]
    places = [root / info.name for root in dict.fromkeys((home(environ), _cache(environ)))]
    return places + [Path(place) for place in info.system_folders]


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file `name`, raw or gzipped, in `folder`; None where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def locate(info: DatasetInfo, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the first folder that holds every file of a set.

    Raises DataNotFoundError, which names the folders, what an incomplete one lacks, and the
    command that fetches the set.
    """
    seen = []
    for folder in folders(info, environ):
        lacking = [name for name in info.files if find_file(folder, name) is None]
        if not lacking:
            return folder
        part = len(lacking) < len(info.files)
        seen.append(f"{folder} (which lacks {', '.join(lacking)})" if part else str(folder))
    raise DataNotFoundError(
        f"data set {info.name} is not in {', '.join(seen)}; "
        f"get it with: lnsim data fetch {info.name}"
    )


def verify(path: Path, expected: str, name: str) -> bytes:
    """Return the unpacked bytes of a file whose digest is `expected` ("md5:..." or "sha256:...").

    Raises DataCorruptError naming the file, the digest expected and the one found.
    """
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataCorruptError(
                f"{path} must be a gzip file, got {error}; remove it and run: "
                f"lnsim data fetch {name}"
            ) from error
    algorithm = expected.partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest()}"
    if found != expected:
        repair = f"remove it and run: lnsim data fetch {name}"
        repair = "reinstall lnsim" if path.parent == ASSETS else repair
        raise DataCorruptError(f"{path} must have {expected}, got {found}; {repair}")
    return raw


def parse_idx(raw: bytes, source: str) -> Bytes:
    """Return the array of an idx file of bytes (MNIST's format: big-endian sizes, then data)."""
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DataCorruptError(f"{source} must be an idx file of bytes, got {raw[:4].hex()}")
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if len(shape) > _MOST_AXES or body.size != math.prod(shape):
        raise DataCorruptError(f"{source} must hold {shape} bytes, got {body.size}")
    return body.reshape(shape)


def _read_npz(raw: Mapping[str, bytes], info: DatasetInfo) -> tuple[Part, Part]:
    (content,) = raw.values()
    with np.load(io.BytesIO(content)) as table:
        train, test = ((table[f"{p}_x"], table[f"{p}_y"]) for p in ("train", "test"))
    return (train[0][:, None], train[1]), (test[0][:, None], test[1])


def _read_idx(raw: Mapping[str, bytes], info: DatasetInfo) -> tuple[Part, Part]:
    arrays = [parse_idx(content, name) for name, content in raw.items()]
    train_x, train_y, test_x, test_y = arrays
    return (train_x[:, None], train_y), (test_x[:, None], test_y)


def _read_cifar(raw: Mapping[str, bytes], info: DatasetInfo) -> tuple[Part, Part]:
    row = 1 + int(np.prod(info.shape))  # a label, then the colour planes
    tables = [np.frombuffer(content, np.uint8).reshape(-1, row) for content in raw.values()]
    parts = []
    for table in (np.concatenate(tables[:-1]), tables[-1]):
        parts.append((table[:, 1:].reshape(-1, *info.shape), table[:, 0]))
    return parts[0], parts[1]


READERS = {"npz": _read_npz, "idx": _read_idx, "cifar": _read_cifar}


def normalise(pixels: Bytes, info: DatasetInfo) -> npt.NDArray[np.float32]:
    """Return float32 (pixel / scale - mean) / std per channel of uint8 (n, C, H, W)."""
    table = np.arange(256, dtype=np.float64)[None] / info.scale
    table = (table - np.array(info.mean)[:, None]) / np.array(info.std)[:, None]
    scaled = np.empty(pixels.shape, np.float32)
    for channel, values in enumerate(table.astype(np.float32)):
        scaled[:, channel] = values[pixels[:, channel]]
    return scaled


def read_folder(folder: Path, info: DatasetInfo) -> tuple[Part, Part]:
    """Return the checked pixels and labels of a folder that holds every file of a set."""
    raw = {}
    for name, digest in info.files.items():
        path = find_file(folder, name)
        if path is None:
            raise DataNotFoundError(f"{folder / name} is missing")
        raw[name] = verify(path, digest, info.name)
    parts = READERS[info.kind](raw, info)
    for (x, y), count in zip(parts, (info.train, info.test), strict=True):
        if x.shape != (count, *info.shape) or y.shape != (count,):
            raise DataCorruptError(
                f"{folder} must hold {count} images {info.shape} and labels, "
                f"got {x.shape} and {y.shape}"
            )
    return parts


def load_data(
    name: str,
    registry: Mapping[str, DatasetInfo] = DATASETS,
    environ: Mapping[str, str] = os.environ,
) -> Dataset:
    """Return the data set called `name`, its files checked against their published digests.

    Raises ValueError for an unknown name, DataNotFoundError (with the command that gets it) where
    the set is not on this machine, DataCorruptError for a file with other contents.
    """
    info = registry[require_name("data", name, registry)]
    folder = locate(info, environ)
    (train_x, train_y), (test_x, test_y) = read_folder(folder, info)
    return Dataset(
        name=name,
        train_x=normalise(train_x, info),
        train_y=train_y.astype(np.int64),
        test_x=normalise(test_x, info),
        test_y=test_y.astype(np.int64),
        classes=info.classes,
        source=str(folder),
    )
