"""A lock is held by one process and let go by its death."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backend.scene import Workspace
from backend.scene.lock import Locked, locked

HOLDER = """
import sys, pathlib, time
from backend.scene.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_it_is_refused_while_held_and_free_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Locked), locked(path):
            pass
        began = time.monotonic()
        with pytest.raises(Locked), locked(path, wait_secs=0.3):
            pass
        assert time.monotonic() - began >= 0.3
        holder.kill()
        with locked(path, wait_secs=5):
            pass


def test_a_folder_that_is_not_there_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none" / "a.lock"):
        pass


def test_two_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "scene")

    def record(name: str) -> None:
        for number in range(10):
            workspace.record(f"{name}-{number}", result=number)

    threads = [threading.Thread(target=record, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workspace.scene()["made"]) == 30
