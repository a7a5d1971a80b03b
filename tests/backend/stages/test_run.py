"""`segwild run` survives being killed at any moment and ends in the same finished workspace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from backend.scene import Workspace
from backend.scene.files import read_arrays

STEPS = 60


def command(photos: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "backend", "run", str(photos), "--out", str(out)),
        *("--preset", "quick", "--iterations", str(STEPS), "--cap", "4000", "--json"),
    ]


def finished(photos: Path, out: Path) -> float:
    """Seconds a run takes that nobody disturbs."""
    began = time.monotonic()
    done = subprocess.run(command(photos, out), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def assert_same(whole: Path, broken: Path) -> None:
    assert files(broken) == files(whole)
    first, second = Workspace.open(whole), Workspace.open(broken)
    assert [photo.name for photo in first.used_photos()] == [photo.name for photo in second.used_photos()]
    assert set(first.scene()["made"]) == set(second.scene()["made"])
    # Structure from motion may round differently from run to run; the same cameras give the same bits.
    if (whole / "photos.json").read_bytes() == (broken / "photos.json").read_bytes():
        ours, theirs = (read_arrays(workspace.splats)[0] for workspace in (first, second))
        for name, array in ours.items():
            assert np.array_equal(array, theirs[name]), name


@pytest.mark.slow
def test_killed_ten_times_it_ends_in_the_same_workspace(test_data: Path, tmp_path: Path) -> None:
    photos = test_data / "kermit" / "images"
    whole = tmp_path / "whole.segwild"
    seconds = finished(photos, whole)
    chance = random.Random(5)
    kills = rounds = 0
    while kills < 10:
        broken = tmp_path / f"broken-{rounds}.segwild"
        process = subprocess.Popen(
            command(photos, broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert process.wait(chance.uniform(0.3, seconds)) == 0
            assert_same(whole, broken)
            rounds += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    finished(photos, broken)
    assert_same(whole, broken)


@pytest.mark.slow
def test_a_finished_run_returns_at_once(test_data: Path, tmp_path: Path) -> None:
    photos = test_data / "kermit" / "images"
    out = tmp_path / "kermit.segwild"
    first = finished(photos, out)
    before = (out / "splats" / "base.safetensors").stat().st_mtime_ns
    assert finished(photos, out) < first
    assert (out / "splats" / "base.safetensors").stat().st_mtime_ns == before
