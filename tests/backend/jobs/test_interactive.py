"""Questions to a process that keeps the scene open, with a process and a scene that are made up."""

from __future__ import annotations

import io
import itertools
import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.children import Child
from backend.jobs import interactive
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import ResourceError
from segwild_addon.protocol.questions import Choose, Prepare
from segwild_addon.protocol.values import Mark, Ready

READY = {"gaussians": 5, "time_secs": 1.0}


class Done(Exception):
    """Nobody asks any more."""


class _Lines(queue.Queue):
    """Questions that come one after the other; instead of waiting for more, Done."""

    def get(self, block: bool = True, timeout: float | None = None) -> str:
        try:
            return super().get(block=False)
        except queue.Empty:
            if block:
                raise Done from None
            raise


class _Scene:
    """Prepares in three steps; somebody clicks after the first."""

    def __init__(self, lines: _Lines) -> None:
        self.lines = lines

    def prepare(self, question: Prepare) -> Iterator[Ready | None]:
        yield None
        mark = Mark((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 0.01)
        self.lines.put(json.dumps({"id": 9, "question": codec.to_wire(Choose((mark,)))}))
        yield None
        yield Ready(**READY)

    def answer(self, question: Any) -> Any:
        return Ready(**READY)


def test_each_step_of_a_preparation_is_heard() -> None:
    lines, out = _Lines(), io.StringIO()
    lines.put(json.dumps({"id": 7, "question": codec.to_wire(Prepare())}))
    with pytest.raises(Done):
        interactive._Desk(_Scene(lines), lines, out).work()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    what = [(line["id"], "taken" if "taken" in line else "answer") for line in told]
    # The click goes before what is left of the preparation.
    assert what == [(7, "taken")] * 3 + [(9, "taken"), (9, "answer"), (7, "answer")]


class _Slow:
    """A process that works on its only question for a long time, and says so."""

    ended = False

    def __init__(self, *_: Any) -> None:
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.killed = False

    def send(self, message: dict[str, Any]) -> None:
        if "id" in message:
            threading.Thread(target=self._work, args=(message["id"],)).start()

    def _work(self, number: int) -> None:
        for _ in range(4):
            self.lines.put({"id": number, "taken": True})
            time.sleep(0.1)
        self.lines.put({"id": number, "answer": READY})

    def kill(self) -> None:
        self.killed = True
        self.lines.put(None)

    def close(self) -> None:
        pass


def test_work_that_is_heard_of_is_not_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = itertools.count(0.0, 0.9 * interactive.ANSWER_SECS)  # every look at the clock
    monkeypatch.setattr(interactive, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    monkeypatch.setattr(interactive, "Child", _Slow)
    asked = interactive.Interactive(tmp_path, tmp_path / "log")
    assert asked.ask(Prepare()) == READY
    asked.stop()


# The process itself, with answers that need too much.
_FULL = """
import sys, types
class Answers:
    def __init__(self, workspace): pass
    def answer(self, question): raise MemoryError
sys.modules["backend.stages.answers"] = types.SimpleNamespace(Answers=Answers)
from backend.jobs import interactive
interactive.main()
"""


def test_memory_that_ran_out_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full.py").write_text(_FULL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(interactive, "Child", lambda _, log: Child("full", log))
    asked = interactive.Interactive(tmp_path, tmp_path / "log")
    with pytest.raises(ResourceError, match="Memory ran out"):
        asked.ask(Choose((Mark((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 0.01),)))
    asked.stop()
