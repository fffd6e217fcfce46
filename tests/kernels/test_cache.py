"""Cached kernels do not outlive the sources they were compiled from."""

from pathlib import Path

from lnsim.kernels.cpu.runtime.cache import drop_stale


def test_a_change_in_any_file_drops_the_cache(tmp_path: Path) -> None:
    """Kept while the sources are the same; deleted when one below changes; other files are left."""
    helper = tmp_path / "cpu" / "helper.py"
    helper.parent.mkdir()
    helper.write_text("a = 1")
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    drop_stale(tmp_path)
    kernel, other = cache / "gemm.nbi", cache / "gemm.pyc"
    kernel.write_text("compiled")
    other.write_text("bytecode")
    assert drop_stale(tmp_path) == 0
    assert kernel.exists()
    helper.write_text("a = 2")
    assert drop_stale(tmp_path) == 1
    assert not kernel.exists()
    assert other.exists()
    assert drop_stale(tmp_path) == 0
