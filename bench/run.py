"""Everything at once: `make bench`, or `python -m bench.run [GROUP ...]`.

Groups: gemm (the named products of `cases.py`), networks (all GEMMs of a step), log (fully
logarithmic products), codec, step (whole training steps), machine (costing steps and designs:
times alone), peers (other emulators, where installed). Each case is first checked against the
oracle, then timed in turn with torch in fp32, same threads, same run; printed are minimum, median
and maximum of the ratio. Everything goes to --out as JSON, with machine, versions and commit.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cases import CASES
from .codec import run_codec
from .costing import COSTS, run_costing
from .harness import ROOT, run_case, say, write
from .log import LANES, run_log
from .networks import NETWORKS, run_network
from .peers import PEERS, run_peer
from .step import MODELS, run_step

Run = Callable[[str, int, int, int], dict[str, Any] | None]
GROUPS: dict[str, tuple[tuple[str, ...], Run]] = {
    "gemm": (tuple(CASES), lambda name, *rest: run_case(CASES[name], *rest)),
    "networks": (tuple(NETWORKS), run_network),
    "log": (tuple(LANES), run_log),
    "codec": (("encode", "decode"), run_codec),
    "step": (tuple(MODELS), lambda name, *rest: run_step(name, "lns8", *rest)),
    "machine": (tuple(COSTS), run_costing),
    "peers": (tuple(PEERS), run_peer),
}


def main() -> None:
    """Parse arguments, run the groups, print a line a case, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "bench.json")
    chosen = parser.parse_args()
    unknown = [group for group in chosen.groups if group not in GROUPS]
    if unknown:
        parser.error(f"group must be one of {', '.join(GROUPS)}, got {unknown[0]}")
    results = []
    for group in chosen.groups or GROUPS:
        names, run = GROUPS[group]
        for name in names:
            for threads in sorted(set(chosen.threads)):
                result = run(name, threads, chosen.repeats, chosen.seed)
                if result is None:
                    print(f"{group}: {name} is not installed, left out")
                    break
                if result:
                    results.append(result)
                    say(result)
    write(chosen.out, results, chosen.seed, chosen.repeats)


if __name__ == "__main__":
    main()
