"""Imports obey the tables below: who may import whom, where torch may be, no circle anywhere."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("lns", "kernels", "sim")

# package -> packages it may import, itself aside. A name ending in / stands for itself and all
# below it.
ALLOWED: dict[str, set[str]] = {
    "lns": set(),
    "kernels": {"lns"},  # a backend only by name: see `BACKENDS`
    "kernels/cpu": {"lns", "kernels", "kernels/cpu/"},
    "kernels/cpu/runtime": set(),
    "kernels/cpu/ir": {"kernels/cpu/runtime"},
    "kernels/cpu/codes": {"lns", "kernels", "kernels/cpu/ir", "kernels/cpu/runtime"},
    "kernels/cpu/gemm": {
        "lns", "kernels", "kernels/cpu/ir", "kernels/cpu/runtime", "kernels/cpu/codes",
    },
    "sim": {"lns", "kernels"},
    "sim/assets": set(),
    "sim/files": {"lns", "sim"},
    "sim/data": {"lns", "sim", "sim/files"},
    "sim/machine": {"lns", "sim", "sim/files"},
    "sim/workload": {"lns", "sim", "sim/files", "sim/machine"},
    "sim/rules": {"lns", "kernels", "sim", "sim/workload"},
    "sim/conformance": {"lns", "kernels", "sim", "sim/files"},
    "sim/recipes": {"lns", "sim", "sim/rules"},
    "sim/events": {"lns", "sim", "sim/workload", "sim/rules"},
    "sim/prices": {"lns", "sim", "sim/files", "sim/machine", "sim/events"},
    "sim/training": {
        "lns", "kernels", "sim", "sim/rules", "sim/recipes", "sim/events", "sim/workload",
    },
    "sim/cost": {
        "lns", "sim", "sim/machine", "sim/workload", "sim/rules", "sim/recipes", "sim/events",
        "sim/prices",
    },
    "sim/runs": {
        "lns", "sim", "sim/files", "sim/data", "sim/machine", "sim/workload", "sim/rules",
        "sim/recipes", "sim/events", "sim/prices", "sim/training", "sim/cost",
    },
    "sim/report": {
        "lns", "kernels", "sim", "sim/files", "sim/data", "sim/machine", "sim/workload",
        "sim/recipes", "sim/events", "sim/prices", "sim/cost", "sim/runs",
    },
    "sim/cli": {
        "lns", "sim", "sim/files", "sim/data", "sim/machine", "sim/workload", "sim/rules",
        "sim/recipes", "sim/events", "sim/prices", "sim/cost", "sim/runs", "sim/report",
        "sim/conformance",
    },
}  # fmt: skip
# Files that may import torch; a name ending in / stands for a folder.
TORCH = (
    "sim/rules/",  # but for rule.py: recipes and costs read the table without torch
    "sim/training/",
    "sim/workload/trace.py",
    "sim/workload/meta.py",
    "sim/workload/models.py",
    "sim/workload/networks.py",
    "sim/runs/train.py",
    "sim/runs/checkpoint.py",
)
# Imports inside functions, each for a reason: file -> what it imports there.
LATE: dict[str, dict[str, str]] = {
    "sim/cli/energy.py": {
        "sim/workload/networks.py": "start-up: torch only for a network by name",
        "sim/report/step_files.py": "start-up: matplotlib",
    },
    "sim/cli/formats.py": {"sim/report/precision_plot.py": "start-up: matplotlib"},
    "sim/cli/train.py": {"sim/runs/train.py": "start-up: torch"},
    "sim/report/canvas.py": {"matplotlib": "tried again where MPLBACKEND names no backend"},
    "sim/report/page.py": {
        "sim/report/sweep_plot.py": "start-up: matplotlib",
        "jinja2": "start-up: the page alone needs it",
    },
    "sim/runs/worker.py": {"sim/runs/train.py": "start-up: the parent of a sweep needs no torch"},
    "sim/conformance/implementations.py": {
        "kernels/__init__.py": "start-up: Numba for one of them"
    },
    "sim/runs/plan.py": {"sim/workload/networks.py": "start-up: torch only for a run's step"},
}
# What lns and kernels may import from outside; sim takes what pyproject.toml names.
OUTSIDE = {"lns": {"numpy"}, "kernels": {"numpy", "numba", "llvmlite"}}
EXTRAS = {"lns/testing.py": {"hypothesis"}}  # strategies for users' tests

# What users import from: they name what the packages below them offer.
FRONT_DOORS = {"kernels/__init__.py", "sim/__init__.py"}

FILES = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]
NAMES = {path.relative_to(ROOT).as_posix() for path in FILES}


@dataclass(frozen=True)
class Import:
    """One import: the file of ours it reaches, or the outside package; is it inside a function?"""

    ours: str | None
    outside: str | None
    late: bool
    line: int


def _file_of(parts: list[str]) -> str | None:
    """The file of a dotted name below the root: a module or a package."""
    for name in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
        if name in NAMES:
            return name
    return None


@cache
def imports_of(name: str) -> tuple[Import, ...]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    package = name.split("/")[:-1]
    found: list[Import] = []
    for node in ast.walk(tree):
        late = id(node) in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append(Import(None, alias.name.split(".")[0], late, node.lineno))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(Import(None, str(node.module).split(".")[0], late, node.lineno))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            for alias in node.names:  # a name may be a module of its own
                target = _file_of([*base, alias.name]) or _file_of(base)
                assert target, f"{name}:{node.lineno}: imports what is not there"
                found.append(Import(target, None, late, node.lineno))
    return tuple(found)


def package_of(name: str) -> str:
    """The folder of a file."""
    return name.rpartition("/")[0]


def allowed(package: str, target: str) -> bool:
    """May a file of `package` import one of `target`?"""
    rules = ALLOWED[package]
    return (
        target == package
        or target in rules
        or any(rule.endswith("/") and f"{target}/".startswith(rule) for rule in rules)
    )


def test_the_packages_are_those_of_the_table() -> None:
    """Every folder has its line, and every line its folder: the rules below judge something."""
    assert {package_of(name) for name in NAMES} == set(ALLOWED)
    assert len(NAMES) > 100


def test_the_table_has_no_circle() -> None:
    """Packages stand on levels (a package's front door aside, which its folders may look at)."""
    graph = {
        package: {
            other
            for other in ALLOWED
            if other != package and allowed(package, other) and not package.startswith(f"{other}/")
        }
        for package in ALLOWED
    }
    assert circles(graph) == []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_imports_point_one_way(name: str) -> None:
    """A file imports its own package and those its line names, relatively."""
    package = package_of(name)
    top = name.partition("/")[0]
    if name in FRONT_DOORS:
        return
    for each in imports_of(name):
        if each.ours is not None:
            assert allowed(package, package_of(each.ours)), f"line {each.line}: {each.ours}"
            continue
        assert each.outside not in {"lnsim", "tests", "bench"}, f"line {each.line}: be relative"
        if top in OUTSIDE:
            known = sys.stdlib_module_names | OUTSIDE[top] | EXTRAS.get(name, set())
            assert each.outside in known, f"line {each.line}: {top} must not import {each.outside}"
        if each.outside == "torch":
            assert name != "sim/rules/rule.py", f"line {each.line}: torch"
            assert any(name.startswith(place) for place in TORCH), f"line {each.line}: torch"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_imports_stand_at_the_top(name: str) -> None:
    """An import inside a function is for start-up or an extra, and stands in the table above."""
    reasons = LATE.get(name, {})
    found = {str(each.ours or each.outside) for each in imports_of(name) if each.late}
    assert found == set(reasons)


def test_late_imports_are_of_files_that_exist() -> None:
    """No line of the table outlives its file."""
    assert set(LATE) <= NAMES
    assert all(reason for reasons in LATE.values() for reason in reasons.values())


def test_the_strategies_are_for_tests() -> None:
    """No source imports lns/testing.py."""
    users = [name for name in NAMES for each in imports_of(name) if each.ours == "lns/testing.py"]
    assert users == []


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
    """The oracle imports the standard library and frozen values; the backend adds lns.oracle.

    Of the front door of kernels it takes what moves codes about and computes nothing.
    """
    values = {"format", "mx_format", "datapath", "accumulator", "oracle_ops", "oracle_sums"}
    if file.startswith("kernels"):
        # numpy's containers, errors, counts and where codes lie: no value is made there
        values |= {"array", "code_array", "checks", "oracle", "oracle_mx"}
        values |= {"backends", "host", "operands"}
    for each in imports_of(file):
        if each.ours is not None:
            assert Path(each.ours).stem in values, f"the oracle must not import {each.ours}"
        elif file.startswith("lns"):
            assert each.outside in sys.stdlib_module_names
        else:
            assert each.outside in sys.stdlib_module_names | {"numpy"}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            part, stack[at:] = stack[at:], []
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def file_graph() -> Iterator[tuple[str, set[str]]]:
    """Yield every file with the files it imports."""
    for name in sorted(NAMES):
        targets = {each.ours for each in imports_of(name) if each.ours not in (None, name)}
        yield name, {str(target) for target in targets}


def test_no_circle_between_files() -> None:
    """Not at the top, not inside functions, not under TYPE_CHECKING."""
    assert circles(dict(file_graph())) == []


def test_circles_are_found() -> None:
    """The judge above sees a circle of two and one of three."""
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c"}, "f": {"a"}}
    assert circles(graph) == [["c", "d", "e"], ["a", "b"]]
