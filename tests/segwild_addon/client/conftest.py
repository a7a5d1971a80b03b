"""The fake backend, in process and as a process; and nothing may be left after any test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segwild_addon.client import Launch

FAKE = Path(__file__).with_name("fake_backend.py")
ROOT = Path(__file__).parents[3]


def _fake_module() -> Any:
    spec = importlib.util.spec_from_file_location("fake_backend", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_backend"] = module
    spec.loader.exec_module(module)
    return module


FakeBackend = _fake_module().FakeBackend


def children() -> set[int]:
    """Processes that are ours, where the system tells."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(word) for word in task.read_text().split()}
    return found


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("segwild-")}


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `condition`; fails if none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = children()
    threads = set(threading.enumerate())
    yield
    until(lambda: not {t for t in threading.enumerate() if t.name.startswith("segwild-")} - threads, 3.0)
    until(lambda: not children() - before, 3.0)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "fake.segwild"
    folder.mkdir()
    with FakeBackend(folder) as server:
        yield server


@pytest.fixture
def make_fake() -> type:
    return FakeBackend


@pytest.fixture
def fake_launch(tmp_path: Path) -> Callable[..., Launch]:
    """`launch(fault)`: the fake as a process of its own."""

    def launch(fault: str = "", **changes: Any) -> Launch:
        workspace = tmp_path / "fake.segwild"
        workspace.mkdir(exist_ok=True)
        command = (sys.executable, "-I", str(FAKE))
        settings = {"environment": {"FAKE_FAULT": fault}, "handshake_secs": 20.0} | changes
        return Launch(command, workspace, tmp_path / "backend.log", **settings)

    return launch


@pytest.fixture
def alive() -> Callable[[int], bool]:
    def check(process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        state = Path(f"/proc/{process}/stat")
        return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")

    return check
