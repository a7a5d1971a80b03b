"""A job that cannot end well is refused before it starts, with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.jobs import needs
from backend.train.config import PRESETS
from segwild_addon.protocol.errors import ResourceError


def test_a_training_beyond_all_memory_is_refused_with_a_hint(tmp_path: Path) -> None:
    if needs.memory_available() is None:
        pytest.skip("this system does not tell its memory")
    with pytest.raises(ResourceError, match="needs at least") as refusal:
        needs.check("train", {"preset": "quick", "cap": 10**10}, tmp_path)
    assert refusal.value.code == "too-little-memory"
    assert "--cap" in refusal.value.hint


def test_what_fits_is_let_through(tmp_path: Path) -> None:
    needs.check("export", {}, tmp_path)
    needs.check("train", {"preset": "quick", "cap": 100}, tmp_path)


def test_a_preset_needs_what_its_rows_need() -> None:
    for preset, config in PRESETS.items():
        assert needs.PRESET_CAPS[preset] == config.density.cap
        asked = needs.memory_needed("train", {"preset": preset, "cap": None})
        assert asked == needs.memory_needed("run", {"preset": "quick", "cap": config.density.cap})


def test_files_that_a_container_keeps_in_memory_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if needs.memory_available() is None:
        pytest.skip("this system does not tell its memory")
    monkeypatch.setattr(needs, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{100 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{95 * 2**20}\n")
    assert needs.memory_available() == 5 * 2**20  # an old system that does not tell what it is used for
    (tmp_path / "memory.stat").write_text(
        f"anon {30 * 2**20}\nfile {65 * 2**20}\nshmem 0\ninactive_file {45 * 2**20}\nactive_file {20 * 2**20}\n"
    )
    assert needs.memory_available() == 70 * 2**20
    (tmp_path / "memory.max").write_text("max\n")
    assert needs.memory_available() > 70 * 2**20


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "DISK_MIN_BYTES", 2**60)
    with pytest.raises(ResourceError, match="are free on the disk") as refusal:
        needs.check("export", {}, tmp_path)
    assert refusal.value.code == "disk-full"
