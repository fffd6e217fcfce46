"""Check a case against the oracle, then time it beside torch's fp32 product."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
import torch
from lnsim.kernels import matmul_counted, matmul_real
from lnsim.lns.array import CodeArray, FloatArray, IntArray, LNSArray
from lnsim.lns.format import FloatFormat, Format, IntFormat, LNSFormat

from .cases import Case

ROOT = Path(__file__).resolve().parent.parent
CHECKED = 64  # outputs of a case that are compared with the oracle


def random_codes(fmt: Format, shape: tuple[int, int], generator: np.random.Generator) -> CodeArray:
    """Codes of a normal sample whose largest magnitude is near the top of the format."""
    x = generator.standard_normal(shape)
    if isinstance(fmt, LNSFormat):
        steps = np.rint(fmt.gamma * np.log2(np.maximum(np.abs(x), 1e-30)))
        stored = np.clip(steps - steps.max() + fmt.max_exponent, 0, fmt.max_exponent)
        code = stored.astype(np.int64) | (x < 0).astype(np.int64) << fmt.exponent_bits
        return LNSArray(code.astype(fmt.code_dtype), 0, fmt)
    if isinstance(fmt, IntFormat):
        scaled = np.rint(x / np.abs(x).max() * fmt.max_value)
        return IntArray(scaled.astype(fmt.code_dtype), 0, fmt)
    assert isinstance(fmt, FloatFormat)
    exponent_step = 1 << fmt.mantissa_bits
    sign = generator.integers(0, 2, shape) << (fmt.bits - 1)
    middle = fmt.bias << fmt.mantissa_bits  # the code of 1.0
    code = sign + generator.integers(middle - 4 * exponent_step, middle + 2 * exponent_step, shape)
    return FloatArray(code.astype(fmt.code_dtype), 0, fmt)


def set_threads(threads: int) -> None:
    """Numba's and torch's thread count."""
    numba.set_num_threads(threads)
    torch.set_num_threads(threads)


def check(
    case: Case, a: CodeArray, b: CodeArray, acc: Any, generator: Any, samples: int = CHECKED
) -> int:
    """Compare random outputs with the oracle; return how many, raise if one differs."""
    kind = type(a)
    for _ in range(samples):
        i, j = int(generator.integers(a.shape[0])), int(generator.integers(b.shape[1]))
        row = kind(a.code[i : i + 1], 0, a.fmt)  # type: ignore[arg-type]
        column = kind(b.code[:, j : j + 1], 0, b.fmt)  # type: ignore[arg-type]
        wanted, _ = matmul_counted(row, column, case.datapath, backend="oracle")
        if not np.array_equal(wanted[0, 0], acc[i, j], equal_nan=True):
            raise AssertionError(
                f"{case.name}: output ({i}, {j}) is {acc[i, j]}, the oracle says {wanted[0, 0]}"
            )
    return samples


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    """Wall-clock seconds of so many calls."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def compare(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, least: float = 0.1
) -> dict[str, Any]:
    """Time two calls in turn; a short one is repeated until it takes `least` seconds.

    What a call returns is dropped before the next, so that both use the same memory again. Returns
    the single times, and minimum, median and maximum of them and of their ratio.
    """
    ours(), theirs()
    inner = max(1, int(least / max(seconds(theirs), 1e-7)))
    mine: list[float] = []
    other: list[float] = []
    for _ in range(repeats):
        for times, call in ((other, theirs), (mine, ours)):
            times.append(seconds(call, inner) / inner)
    ratios = [x / y for x, y in zip(mine, other, strict=True)]
    return {
        "ours": mine,
        "theirs": other,
        "ours_s": spread(mine),
        "torch_fp32_s": spread(other),
        "ratio": spread(ratios),
    }


def run_case(case: Case, threads: int, repeats: int, seed: int) -> dict[str, Any]:
    """Check `case`, then time it and torch.matmul (fp32, same shape, same threads) in turn."""
    generator = np.random.default_rng(seed)
    m, k, n = case.shape
    a, b = random_codes(case.fmt, (m, k), generator), random_codes(case.fmt, (k, n), generator)
    x = torch.from_numpy(generator.standard_normal((m, k)).astype(np.float32))
    y = torch.from_numpy(generator.standard_normal((k, n)).astype(np.float32))
    set_threads(threads)
    acc, overflowed = matmul_counted(a, b, case.datapath)
    checked = check(case, a, b, acc, generator)
    if case.real:
        wanted = case.datapath.to_real(acc, a, b).astype(np.float32)  # type: ignore[arg-type]
        if not np.array_equal(matmul_real(a, b, case.datapath)[0], wanted):
            raise AssertionError(f"{case.name}: values are not those of the accumulators")
    multiply = matmul_real if case.real else matmul_counted
    found = compare(lambda: multiply(a, b, case.datapath), lambda: torch.matmul(x, y), repeats)
    return {
        "case": case.name,
        "format": case.fmt.name,
        "datapath": repr(case.datapath),
        "shape": [m, k, n],
        "threads": threads,
        "outputs_equal_to_oracle": checked,
        "overflowed_outputs": overflowed,
        **{key: found[key] for key in ("ours_s", "torch_fp32_s", "ratio")},
        "gmac_per_s": m * k * n / found["ours_s"]["median"] / 1e9,
        "torch_gmac_per_s": m * k * n / found["torch_fp32_s"]["median"] / 1e9,
    }


def say(result: dict[str, Any]) -> None:
    """Print a result's line."""
    if "ratio" not in result:
        print(f"{result['case']:24} {1e3 * result['ours_s']['median']:.1f} ms", flush=True)
        return
    ratio = result["ratio"]
    speed = f"  {result['gmac_per_s']:.1f} GMAC/s" if "gmac_per_s" in result else ""
    print(
        f"{result['case']:24} threads {result['threads']}  ratio "
        f"{ratio['min']:.2f} / {ratio['median']:.2f} / {ratio['max']:.2f}  "
        f"{1e3 * result['ours_s']['median']:.2f} ms{speed}",
        flush=True,
    )


def _commit() -> str:
    """The checked-out commit, with `+` if the tree differs; "unknown" outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    """The processor's name as the kernel reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def surroundings() -> dict[str, Any]:
    """Machine, versions and commit of this run."""
    import llvmlite

    return {
        "processor": _processor(),
        "vector_target": llvmlite.binding.get_host_cpu_name(),
        "cores": numba.config.NUMBA_NUM_THREADS,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "torch": torch.__version__,
        "commit": _commit(),
        "load_average_1min": os.getloadavg()[0],  # other work on the machine spoils the times
    }


def write(path: Path, results: list[dict[str, Any]], seed: int, repeats: int) -> None:
    """Write the results and the surroundings as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**surroundings(), "seed": seed, "repeats": repeats, "results": results}
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
