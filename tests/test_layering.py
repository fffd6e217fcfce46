"""Imports obey `lns <- kernels <- sim`; files stay short."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"lns": {"lns"}, "kernels": {"lns", "kernels"}, "sim": {"lns", "kernels", "sim"}}
NO_TORCH = {
    f"{name}.py"
    for name in (
        "axes", "checks", "config", "cost_plots", "energy", "energy_command", "energy_outputs",
        "event", "events", "flow", "log_events", "onnx_graph", "plots",
        "gemm_traffic", "mac_prices", "machine", "multiplications", "mx_events", "mx_recipe",
        "price_rules", "price_tables", "report", "run_config", "scalesim_reports", "sram",
        "step_cost", "step_energy", "systolic", "tiling", "topology",
        "conformance", "conformance_baselines", "conformance_batch", "conformance_codes",
        "conformance_file", "conformance_gemms", "conformance_judge", "conformance_protocol",
        "conformance_reals", "conformance_run", "conformance_scales", "conformance_suite",
        "conformance_text", "patches", "flow_parts", "parts", "price_rows", "vector_ops",
        "paths", "record_form", "structured", "workload",
    )
}  # fmt: skip
FILES = [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, level) of every import statement in the file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                for alias in node.names:
                    yield alias.name, node.level
            else:
                yield node.module, node.level


def test_the_three_packages_have_files() -> None:
    """The rules below judge something."""
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ALLOWED)
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """A file imports its own package or one below it, relatively; lns needs numpy alone."""
    package = path.relative_to(ROOT).parts[0]
    for name, level in imported(path):
        top = name.split(".")[0]
        assert top not in {"lnsim", "tests", "bench"}, f"{name}: use a relative import"
        if level == 2:
            assert top in ALLOWED[package], f"{package} must not import {top}"
        assert level <= 2
        if level == 0 and package == "lns":
            known = sys.stdlib_module_names | {"numpy"}
            known |= {"hypothesis"} if path.name == "testing.py" else set()
            assert top in known, f"lns must not import {top}"
        assert name != "testing", "the strategies are for tests"
        if level == 0 and package == "kernels":
            assert top != "torch", "kernels must not import torch"
        if level == 0 and package == "sim" and path.name in NO_TORCH:
            assert top != "torch", f"{path.name} must not import torch"
        if level == 2 and package == "sim" and path.name in NO_TORCH:
            assert top != "kernels", f"{path.name} counts and must not import kernels"


@pytest.mark.parametrize(
    "file",
    [
        "lns/oracle.py",
        "lns/oracle_mx.py",
        "lns/oracle_ops.py",
        "lns/oracle_sums.py",
        "kernels/oracle.py",
    ],
)
def test_the_oracle_is_independent(file: str) -> None:
    """The oracle imports the standard library and frozen values; the backend adds lns.oracle."""
    values = {"format", "mx_format", "datapath", "oracle_ops", "oracle_sums"}
    if file.startswith("kernels"):
        values = {"lns.format", "lns.datapath", "lns.array", "lns.oracle"}
    for name, level in imported(ROOT / file):
        if level:
            assert name in values, f"the oracle must not import {name}"
        elif file.startswith("lns"):
            assert name.split(".")[0] in sys.stdlib_module_names
        else:
            assert name.split(".")[0] in {"numpy", "typing"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    """A file holds one idea in at most 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
