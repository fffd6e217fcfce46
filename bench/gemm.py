"""Time the GEMM kernels beside torch.matmul in fp32: `python -m bench.gemm [CASE ...]`.

Run from the root of a checkout with the package installed. For each case (see `cases.py`; default:
all) and each thread count the result is first compared with the oracle on sampled outputs, then
kernel and torch are timed in turn in the same process with the same number of threads. Prints
minimum, median and maximum of the ratio of the two times (below 1: faster than torch) and writes
everything with machine, versions and commit to --out (default bench/results/gemm.json).
"""

import argparse
import os
from pathlib import Path

from .cases import CASES
from .harness import ROOT, run_case, write


def main() -> None:
    """Parse arguments, run the cases, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "gemm.json")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.cases if name not in CASES]
    if unknown:
        parser.error(f"case must be one of {', '.join(CASES)}, got {unknown[0]}")
    results = []
    for name in chosen.cases or CASES:
        for threads in sorted(set(chosen.threads)):
            result = run_case(CASES[name], threads, chosen.repeats, chosen.seed)
            results.append(result)
            ratio = result["ratio"]
            print(
                f"{name:18} threads {threads}  x torch fp32: "
                f"{ratio['min']:.2f} / {ratio['median']:.2f} / {ratio['max']:.2f}  "
                f"{result['kernel_gmac_per_s']:.1f} GMAC/s (torch {result['torch_gmac_per_s']:.1f})"
                f"  overflowed {result['overflowed_outputs']}",
                flush=True,
            )
    write(chosen.out, results, chosen.seed, chosen.repeats)


if __name__ == "__main__":
    main()
