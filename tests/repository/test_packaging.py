"""The wheel holds what a user needs and runs away from the checkout."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command, return its result; a failure shows what it printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of an sdist-like copy of the tracked folders, built without network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("lns", "kernels", "sim", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        run("cp", "-r", ROOT / name, source, cwd=ROOT)
    out = tmp_path_factory.mktemp("dist")
    build = ("-c", "from setuptools import build_meta as b; import sys; ")
    script = build[1] + "sdist = b.build_sdist(sys.argv[1]); print(sdist)"
    sdist = run(sys.executable, "-c", script, out, cwd=source).stdout.splitlines()[-1]
    unpacked = tmp_path_factory.mktemp("unpacked")
    run("tar", "xzf", out / sdist, "-C", unpacked, cwd=out)
    script = build[1] + "print(b.build_wheel(sys.argv[1]))"
    (folder,) = unpacked.iterdir()
    name = run(sys.executable, "-c", script, out, cwd=folder).stdout.splitlines()[-1]
    return out / name


def test_the_wheel_carries_code_and_data(wheel: Path) -> None:
    """Three packages under lnsim, the digits, the prices, the licence; no top-level `kernels`."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"lnsim"}
    for needed in (
        "lns/format.py",
        "kernels/matmul.py",
        "sim/cli/main.py",
        "sim/assets/prices.csv",
        "sim/assets/machines/edge-16.toml",
    ):
        assert f"lnsim/{needed}" in names
    assert any(name.endswith(".npz") for name in names)
    assert any(name.endswith("LICENSE") for name in names)
    assert all(f"lnsim/{part}/py.typed" in names for part in ("lns", "kernels", "sim"))


def test_the_installed_wheel_runs_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel trains one step on the shipped data, away from the tree.

    The dependencies are borrowed from the running environment by path; a path entry does not
    process the editable install's hook, so `lnsim` can only come from the wheel.
    """
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    Path(paths["purelib"], "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    where = run(python, "-c", "import lnsim.sim as s; print(s.__file__)", cwd=tmp_path).stdout
    assert str(home) in where
    lnsim = home / "bin" / "lnsim"
    assert "lns" in run(lnsim, "formats", cwd=tmp_path).stdout
    run(lnsim, "train", "--max-steps", "2", "--out", tmp_path / "run", cwd=tmp_path)
    assert list((tmp_path / "run").rglob("*.json"))
