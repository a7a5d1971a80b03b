"""Compiled code is found again by the same sources alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend import compiled


def folder(package: Path, cache: Path) -> Path:
    """Where a process with that copy of the package keeps what it compiles."""
    surroundings = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    told = subprocess.run(
        [sys.executable, "-c", "import os, backend; print(os.environ['NUMBA_CACHE_DIR'])"],
        cwd=package.parent,
        env=surroundings | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return Path(told.stdout.strip())


def test_other_arithmetic_is_compiled_anew_and_other_words_are_not(tmp_path: Path) -> None:
    package = tmp_path / "backend"
    shutil.copytree(Path(compiled.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    first = folder(package, tmp_path / "cache")
    assert first.is_dir()
    assert first.is_relative_to(tmp_path / "cache")
    (package / "progress.py").write_text((package / "progress.py").read_text() + "# more\n")
    assert folder(package, tmp_path / "cache") == first
    known = {first}
    for changed in ("render/tiles.py", "render/lanes.py", "render/projection.py", "train/sky.py"):
        (package / changed).write_text((package / changed).read_text() + "# more\n")
        now = folder(package, tmp_path / "cache")
        assert now not in known
        known.add(now)


def test_states_of_long_ago_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    now = compiled.cache_folder()
    for age in range(1, 5):
        old = now.parent / f"old{age}"
        old.mkdir()
        os.utime(old, (1e9 - age, 1e9 - age))
    assert compiled.cache_folder() == now
    assert sorted(path.name for path in now.parent.iterdir()) == sorted([now.name, "old1", "old2"])


def test_a_disk_that_refuses_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "segwild").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not compiled.cache_folder().exists()
