"""Children that die are explained by how they ended and by what they wrote, not by what others wrote before."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.children import Child, told
from segwild_addon.protocol.errors import InputError, SegWildError


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[], Child]:
    log = tmp_path / "worker.log"
    log.write_text("MemoryError of an earlier one\n")
    return lambda: Child("backend.jobs.worker", log, yielding=True)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("MemoryError\n", "out-of-memory"),
        ("LLVM ERROR: out of memory\nBuffer allocation failed\n", "out-of-memory"),
        ("ImportError: x.so: failed to map segment from shared object\n", "out-of-memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n", "out-of-memory"),
        ("Fatal Python error: Segmentation fault\n\nExtension modules: numpy (total: 1)\n", "worker-died"),
        ("KeyError: 'x'\n", "worker-died"),
        ("", "worker-died"),
    ],
)
def test_a_crash_is_explained_by_its_own_words(worker: Callable[[], Child], said: str, code: str) -> None:
    child = worker()
    with child.log.open("a") as log:
        log.write(said)
    os.kill(child.pid, signal.SIGSEGV)
    failure = child.failure("Start it again.")
    child.close()
    assert failure.code == code
    assert failure.hint
    assert "Extension modules" not in failure.sentence
    assert "earlier" not in failure.sentence


def test_a_kill_is_taken_for_a_lack_of_memory(worker: Callable[[], Child]) -> None:
    child = worker()
    os.kill(child.pid, signal.SIGKILL)
    assert child.lines.get(timeout=10) is None
    failure = child.failure("Start it again.")
    child.close()
    assert failure.code == "worker-killed"
    assert "--cap" in failure.hint


def test_it_ends_when_its_input_does(worker: Callable[[], Child]) -> None:
    child = worker()
    assert child._process.stdin is not None
    child._process.stdin.close()
    began = time.monotonic()
    child._process.wait(20)
    child.close()
    assert time.monotonic() - began < 20


def test_it_yields_the_cores_and_dies_first(worker: Callable[[], Child]) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux tells")
    child = worker()
    try:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= 10
        assert int(Path(f"/proc/{child.pid}/oom_score_adj").read_text()) == 500
    finally:
        child.close()


def test_the_token_is_not_handed_on(worker: Callable[[], Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGWILD_TOKEN", "secret")
    child = worker()
    try:
        if Path(f"/proc/{child.pid}/environ").exists():
            assert b"secret" not in Path(f"/proc/{child.pid}/environ").read_bytes()
    finally:
        child.close()


def test_errors_keep_their_kind() -> None:
    error = Child.error_in(told(InputError("code", "Sentence.", "Hint.")))
    assert type(error) is InputError
    assert (error.code, error.sentence, error.hint) == ("code", "Sentence.", "Hint.")
    for name in ("annotations", "__builtins__", "NoSuchError"):
        assert type(Child.error_in({"error": name, "code": "c", "sentence": "S.", "hint": ""})) is SegWildError
