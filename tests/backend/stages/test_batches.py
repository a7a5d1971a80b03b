"""The script of docs/batches.md works off a list, and a task that was killed ends like one that was not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.scene import Workspace

ROOT = Path(__file__).parents[3]
QUICK = ("--preset", "quick", "--iterations", "20", "--cap", "2000")


def script() -> str:
    page = (ROOT / "docs" / "batches.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- one\.sh -->\n```sh\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A list of two collections of one place, the second with a blank in its name, and the script beside it."""
    sample = [
        sys.executable,
        "-m",
        "backend",
        "sample",
        str(tmp_path / "sample"),
        "--photos",
        "10",
        "--long-side",
        "480",
    ]
    subprocess.run(sample, check=True, capture_output=True, timeout=300, cwd=ROOT)
    first, second = tmp_path / "one", tmp_path / "number two"
    shutil.move(tmp_path / "sample" / "photos", first)
    shutil.copytree(first, second)
    (tmp_path / "collections.txt").write_text(f"{first}\n{second}\n")
    (tmp_path / "one.sh").write_text(script())
    command = tmp_path / "bin" / "segwild"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m backend "$@"\n')
    command.chmod(0o755)
    return tmp_path


def task(folder: Path, number: int) -> subprocess.Popen:
    """As a scheduler starts it: the number in the environment, a process group of its own."""
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    command = ["bash", "one.sh", str(number), *QUICK]
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_two_tasks_of_which_one_is_killed_and_started_again(folder: Path) -> None:
    first, second = task(folder, 1), task(folder, 2)
    try:
        began = time.monotonic()
        scene = folder / "scenes" / "00002.segwild" / "scene.json"
        while not scene.exists():  # in the middle of the work, not before it
            assert time.monotonic() - began < 300
            assert second.poll() is None, (folder / "scenes" / "00002.log").read_text()
            time.sleep(0.05)
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()
        second = task(folder, 2)
        assert first.wait(600) == 0, (folder / "scenes" / "00001.log").read_text()
        assert second.wait(600) == 0, (folder / "scenes" / "00002.log").read_text()
    finally:
        for process in (first, second):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    results = [json.loads((folder / "scenes" / f"0000{number}.json").read_text()) for number in (1, 2)]
    assert results[0]["photos"] == results[1]["photos"] >= 5
    made = [set(Workspace.open(folder / "scenes" / f"0000{number}.segwild").scene()["made"]) for number in (1, 2)]
    assert made[0] == made[1] >= {"capture", "train"}

    splats = folder / "scenes" / "00001.segwild" / "splats" / "base.safetensors"
    before = splats.stat().st_mtime_ns
    assert task(folder, 1).wait(300) == 0  # the whole list once more: nothing is done again
    assert splats.stat().st_mtime_ns == before
