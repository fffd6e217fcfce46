"""The data sets lnsim knows: sizes, licences, normalisation constants and published digests."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a set before it is loaded."""

    name: str
    title: str
    kind: str  #: how the files are read: "npz", "idx" or "cifar"
    shape: tuple[int, int, int]  #: (C, H, W)
    train: int  #: images in the training part
    test: int  #: images in the test part
    megabytes: float  #: size of the files to fetch
    licence: str
    scale: int  #: the pixel value that means 1
    mean: tuple[float, ...]  #: per channel, of pixel / scale over the training part
    std: tuple[float, ...]
    files: Mapping[str, str]  #: name -> digest of the unpacked bytes, training part first
    system_folders: tuple[str, ...] = ()
    classes: int = 10


DIGITS = DatasetInfo(
    name="digits",
    title="UCI optical digits, 8 x 8",
    kind="npz",
    shape=(1, 8, 8),
    train=3823,
    test=1797,
    megabytes=0.1,
    licence="CC BY 4.0 (Alpaydin, Kaynak)",
    scale=16,
    mean=(0.3077,),
    std=(0.3773,),
    files={
        "optdigits.npz": "sha256:e17176ba19b507d0c9d204e6a0e82513f410fac70580a37f8e30caea0a81efd0",
    },
)

MNIST = DatasetInfo(
    name="mnist",
    title="MNIST digits, 28 x 28",
    kind="idx",
    shape=(1, 28, 28),
    train=60000,
    test=10000,
    megabytes=11.5,
    licence="not stated (LeCun, Cortes, Burges)",
    scale=255,
    mean=(0.1307,),
    std=(0.3081,),
    # md5 of the unpacked files, the ones torchvision and others publish
    files={
        "train-images-idx3-ubyte": "md5:6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "md5:a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "md5:2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "md5:27ae3e4e09519cfbb04c329615203637",
    },
)

FASHION_MNIST = DatasetInfo(
    name="fashion-mnist",
    title="Fashion-MNIST, 28 x 28",
    kind="idx",
    shape=(1, 28, 28),
    train=60000,
    test=10000,
    megabytes=30.9,
    licence="MIT (Zalando SE)",
    scale=255,
    mean=(0.2860,),
    std=(0.3530,),
    # of the unpacked files: Debian and the authors compressed the same bytes differently
    files={
        "train-images-idx3-ubyte": (
            "sha256:c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "sha256:bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": (
            "sha256:5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": (
            "sha256:0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
    system_folders=("/usr/share/datasets/fashion-mnist",),
)

CIFAR10 = DatasetInfo(
    name="cifar10",
    title="CIFAR-10, 32 x 32 colour",
    kind="cifar",
    shape=(3, 32, 32),
    train=50000,
    test=10000,
    megabytes=138.9,
    licence="not stated (Krizhevsky 2009)",
    scale=255,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    # md5 of the files of the authors' binary version
    files={
        "data_batch_1.bin": "md5:5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "md5:5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "md5:942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "md5:ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "md5:53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "md5:803d5f7f4d78ea53de84dbe85f74fb6d",
    },
)

DATASETS: dict[str, DatasetInfo] = {
    info.name: info for info in (DIGITS, MNIST, FASHION_MNIST, CIFAR10)
}
