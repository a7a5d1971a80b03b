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
from backend.progress import Progress
from segwild_addon.protocol.errors import ResourceError
from segwild_addon.protocol.questions import Choose, Consult, Prepare
from segwild_addon.protocol.values import Mark, Ready

from .lines import Done, Lines

READY = {"gaussians": 5, "time_secs": 1.0}
CLICK = Choose((Mark((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 0.01),))


class _Scene:
    """Prepares in three steps; somebody clicks after the first."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def steps(self, question: Prepare) -> Iterator[Ready | None]:
        yield None
        self.lines.ask(9, CLICK)
        yield None
        yield Ready(**READY)

    def answer(self, question: Any) -> Any:
        return Ready(**READY)


def test_each_step_of_a_preparation_is_heard() -> None:
    lines, out = Lines(), io.StringIO()
    lines.ask(7, Prepare())
    with pytest.raises(Done):
        interactive._Desk(lambda *_: _Scene(lines), lines, out).work()
    # The click goes before what is left of the preparation.
    assert said(out) == [(7, "taken")] * 3 + [(9, "taken"), (9, "answer"), (7, "taken"), (7, "answer")]


def said(out: io.StringIO) -> list[tuple[int, str]]:
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    return [(line["id"], next(word for word in ("taken", "answer", "error") if word in line)) for line in told]


class _Lifting:
    """Says of each of its steps that it works, in preparations and in answers; somebody asks during the second."""

    def __init__(self, lines: Lines, asked: list[tuple[int, Any]], progress: Progress) -> None:
        self.lines, self.asked, self.progress = lines, asked, progress

    def _work(self) -> None:
        self.progress.phase("Lifting features", 2)
        for number, question in self.asked:
            self.lines.ask(number, question)
        self.asked.clear()
        self.progress.advance()

    def steps(self, question: Prepare) -> Iterator[Ready | None]:
        self._work()
        yield Ready(**READY)

    def answer(self, question: Any) -> Any:
        self._work()
        return Ready(**READY)


@pytest.mark.parametrize("question", [Prepare(), CLICK], ids=["preparing", "answering"])
def test_each_step_of_long_work_is_heard_by_all_who_wait(question: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "HEARD_SECS", 0.0)
    lines, out = Lines(), io.StringIO()
    lines.ask(1, question)
    with pytest.raises(Done):
        interactive._Desk(
            lambda progress, _: _Lifting(lines, [(2, CLICK), (3, Prepare())], progress), lines, out
        ).work()
    told = said(out)
    first = told.index((1, "answer"))
    assert set(told[:first]) == {(1, "taken"), (2, "taken"), (3, "taken")}
    answered = [number for number, word in told if word == "answer"]
    assert answered == [1, 2, 3]
    for number in (2, 3):  # again after the first was answered, and during what goes before
        assert told[first : told.index((number, "answer"))].count((number, "taken")) >= number - 1


def test_preparations_that_come_during_one_are_given_up_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "HEARD_SECS", 0.0)
    lines, out = Lines(), io.StringIO()
    lines.ask(0, Prepare())
    newer = [(number, Prepare()) for number in range(1, interactive.STEPPING_MAX[Prepare] + 1)]
    with pytest.raises(Done):
        interactive._Desk(lambda progress, _: _Lifting(lines, newer, progress), lines, out).work()
    ends = [(number, word) for number, word in said(out) if word != "taken"]
    assert ends[:2] == [(0, "error"), (0, "answer")]  # nobody listens to the second
    assert ends[2:] == [(number, "answer") for number in range(interactive.STEPPING_MAX[Prepare], 0, -1)]


def test_a_consultation_takes_the_place_of_the_one_before_it_and_not_of_preparations() -> None:
    lines, out = Lines(), io.StringIO()
    for number, question in enumerate((Prepare(), Consult(CLICK.marks), Consult(CLICK.marks * 2))):
        lines.ask(number, question)
    with pytest.raises(Done):
        interactive._Desk(lambda progress, _: _Lifting(lines, [], progress), lines, out).work()
    assert [(number, word) for number, word in said(out) if word != "taken"] == [
        (1, "error"),
        (2, "answer"),
        (0, "answer"),
    ]


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


# A process that takes the second question and is silent about both.
_SILENT = """
import json, sys
sys.stdin.readline()
for line in sys.stdin:
    if (number := json.loads(line)["id"]) == 2:
        print(json.dumps({"id": number, "taken": True}), flush=True)
"""


def test_who_waits_behind_a_silent_question_is_told_that_and_not_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(interactive, "Child", lambda _, log: Child("silent", log))
    monkeypatch.setattr(interactive, "ANSWER_SECS", 3.0)
    asked = interactive.Interactive(tmp_path, tmp_path / "log")
    heard: list[ResourceError] = []

    def ask() -> None:
        with pytest.raises(ResourceError) as caught:
            asked.ask(CLICK)
        heard.append(caught.value)

    waiting = [threading.Thread(target=ask) for _ in range(2)]
    for thread in waiting:
        thread.start()
        time.sleep(1.0)
    for thread in waiting:
        thread.join(30)
    asked.stop()
    assert [error.code for error in heard] == ["no-answer", "no-answer"]


# The process itself, with answers that need too much.
_FULL = """
import sys, types
class Answers:
    def __init__(self, workspace, progress, between): pass
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
