"""Threads: a fork after the first product works or is refused at once; who chose is heard."""

import os
import subprocess
import sys

import pytest

START = """
import hashlib, multiprocessing as mp, os, sys
import numpy as np
from lnsim.kernels import decode, matmul, quantise, requantise
from lnsim.lns import BF16, FP32, LNS8, Accumulator, Datapath, FloatDatapath, LNSFormat, encode
x = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
WORK = {
    "products": lambda: matmul(a, a, Datapath()),
    "products by bins": lambda: matmul(a, a, Datapath(accumulator=Accumulator(style="bins"))),
    "products in logarithms": lambda: matmul(
        a, a, Datapath(accumulator=Accumulator(bits=9, style="log"))
    ).code,
    "products of floats": lambda: matmul(quantise(x, BF16)[0], quantise(x, BF16)[0],
                                         FloatDatapath(FP32)),
    "codes": lambda: quantise(x, LNS8)[0].code,
    "codes of floats": lambda: quantise(x, BF16)[0].code,
    "other codes": lambda: requantise(a, LNSFormat(5, 8))[0].code,
    "values": lambda: decode(a),
}
a = encode(x.astype(np.float64), LNS8)

def answer(name):
    try:
        return hashlib.sha256(np.asarray(WORK[name]()).tobytes()).digest()
    except RuntimeError as error:
        return str(error)

def ask(queue, name):
    queue.put((name, answer(name)))
"""
FORK = """
if __name__ == "__main__":
    mine = {name: answer(name) for name in WORK}
    assert all(isinstance(found, bytes) for found in mine.values()), mine
    context = mp.get_context("fork")
    for name in WORK:
        queue = context.SimpleQueue()
        child = context.Process(target=ask, args=(queue, name), daemon=True)
        child.start()
        child.join(20)
        assert child.exitcode == 0, (name, child.exitcode)
        _, found = queue.get()
        assert found == mine[name] or name in sys.argv[1:], (name, found)
        assert found == mine[name] or "must run in a process with threads of its own" in found
    print("done")
"""
REFUSED = ("products by bins", "products in logarithms", "products of floats", "codes of floats")


def run(code: str, *arguments: str, **environment: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", START + code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_the_first_product_gives_the_same_bits_or_an_error() -> None:
    """On GNU OpenMP what needs no loop of Numba's gives the same bits, the rest says what to do."""
    assert run(FORK, *REFUSED) == "done"


OTHERS = """
from lnsim.kernels import get_backend
from numba import njit, prange

get_backend("cpu")

@njit(parallel=True)
def total(n):
    s = 0
    for i in prange(n):
        s += i
    return s

total(10)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_that_others_started_count_too() -> None:
    """The first parallel loop may be the user's own, before any product of ours."""
    child = FORK.replace("    mine = {name: answer(name) for name in WORK}\n", "")
    lines = [line for line in child.splitlines() if "mine.values()" not in line]
    text = "\n".join(lines).replace("found == mine[name]", "isinstance(found, bytes)")
    assert run(OTHERS + text, *REFUSED) == "done"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_with_threads_that_outlive_it_does_everything() -> None:
    assert run(FORK, NUMBA_THREADING_LAYER="workqueue") == "done"


SPINS = """
from unittest.mock import patch
import numba
seen = []
launch = numba.get_num_threads
with patch.object(numba, "get_num_threads", lambda: seen.append(dict(os.environ)) or launch()):
    matmul(a, a, Datapath())
print(seen[0].get("GOMP_SPINCOUNT"), os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, "3000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None None"),
    ],
)
def test_threads_wait_as_the_user_says(
    environment: dict[str, str], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unset, a short spin while Numba's threads are loaded, and nothing left in the environment."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert run(SPINS, **environment) == seen
