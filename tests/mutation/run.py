"""`make mutants`: break the code in small ways, one at a time, and see that the tests notice.

Each mutant is a copy of the working tree with one change. The tests named beside it must pass on an
unchanged copy and fail on the mutant; a mutant they do not catch is tried on the whole suite of
`lns` and `kernels` before it counts as survived. Exit status 1 if one survives or does not apply.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = (
    "tests/lns/test_arith.py",
    "tests/lns/test_codec.py",
    "tests/lns/test_datapath.py",
    "tests/lns/test_float_formats.py",
    "tests/kernels/test_quantise.py",
    "tests/kernels/test_tile.py",
    "tests/kernels/test_float.py",
    "tests/kernels/test_gemm.py",
    "tests/kernels/test_log.py",
    "tests/kernels/test_matmul.py",
    "tests/sim/rules/test_madam.py",
    "tests/lns/test_oracle.py",
    "tests/lns/test_outside_judges.py",
    "tests/lns/test_sums.py",
)
LIMIT_SECONDS = 1800  # of one run of pytest


def copy_tree(folder: Path) -> None:
    """Copy what the tests need; compiled kernels stay behind, so every mutant compiles its own."""
    for name in ("lns", "kernels", "sim", "bench", "tests", "docs", ".static"):
        ignore = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "Makefile", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)


def run_tests(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    environment = dict(
        os.environ, PYTHONPATH=str(folder / ".static"), NUMBA_CACHE_DIR=str(folder / "cache"),
        HYPOTHESIS_STORAGE_DIRECTORY=str(folder / "hypothesis"),
    )  # fmt: skip
    return subprocess.run(
        [*command, *tests], cwd=folder, env=environment, text=True, capture_output=True,
        timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip


def apply(mutant: Mutant, folder: Path) -> str | None:
    """Change the copy; return what is wrong with the mutant, if something is."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.before) != 1:
        return f"its text stands {text.count(mutant.before)} times in {mutant.file}"
    changed = text.replace(mutant.before, mutant.after)
    if changed == text:
        return "it changes nothing"
    path.write_text(changed, encoding="utf-8")
    return None


def try_mutant(mutant: Mutant) -> tuple[str, str]:
    """Return (caught, survived, broken or no end; how)."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_tree(folder)
        wrong = apply(mutant, folder)
        if wrong:
            return "broken", wrong
        try:
            for tests in (mutant.tests, SUITE):
                done = run_tests(folder, tests)
                if done.returncode == 1:
                    return "caught", failure_of(done.stdout)
                if done.returncode != 0:  # an import error or no tests: not the tests' merit
                    return "broken", (done.stdout + done.stderr).strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            return "no end", f"the tests ran longer than {LIMIT_SECONDS} s: not counted as caught"
    return "survived", mutant.why


def failure_of(output: str) -> str:
    """The first failed test of pytest's summary."""
    lines = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].split(" - ")[0].split(" ", 1)[1] if lines else output.strip().splitlines()[-1]


def check_unchanged(mutants: Sequence[Mutant]) -> bool:
    """Do the tests that must fail pass where nothing is changed?"""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_tree(folder)
        try:
            done = run_tests(folder, tests)
        except subprocess.TimeoutExpired:
            print(f"the tests of unchanged code ran longer than {LIMIT_SECONDS} s")
            return False
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
    return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants; 0 where every one is caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose file or purpose has this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--no-baseline", action="store_true", help="do not run unchanged code")
    given = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if given.only in m.file or given.only in m.why]
    if not chosen:
        parser.error(f"--only must match a mutant, got {given.only!r}")
    started = time.perf_counter()
    if not given.no_baseline and not check_unchanged(chosen):
        print("the tests fail without any mutant")
        return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        results = []
        for mutant, (state, how) in zip(chosen, pool.map(try_mutant, chosen), strict=True):
            print(f"{state:8}  {mutant.file:24}  {mutant.why}\n{'':10}{how}", flush=True)
            results.append(state)
    caught = results.count("caught")
    print(f"{caught} of {len(chosen)} mutants caught in {time.perf_counter() - started:.0f} s")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
