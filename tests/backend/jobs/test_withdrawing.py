"""Long questions to the interactive worker: others are answered between their steps, and they can be taken back."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.children import Child
from backend.jobs import interactive
from backend.progress import Progress
from backend.scene import Workspace
from segwild_addon.protocol.errors import ProtocolError, SegWildError
from segwild_addon.protocol.questions import Choose, Consult, Cut, Drop, Grow, Junk, Keep, Prepare, Propose, Rename
from segwild_addon.protocol.values import Chosen, Divided, Mark, Proposed, Ready

from .lines import Done, Lines

ON_RED = Mark((-0.45, -0.27, 0.28), (-0.6, -2.5, 0.5), 0.01)
CLICK = Choose((ON_RED,))
CUT = Cut("a")
READY = Ready(5, 1.0)


class _Long:
    """Answers any question in three steps; loads first if it is told to. `during` happens in the first step."""

    def __init__(
        self, progress: Progress, between: Progress, during: Callable[[], None], loading: bool, began: list[Any]
    ) -> None:
        self.heard, self.during, self.began = progress if loading else between, [during], began

    def answer(self, question: Any) -> Ready:
        self.began.append(type(question))
        if isinstance(question, Cut | Propose | Junk):
            for _ in range(3):
                if self.during:
                    self.during.pop()()
                self.heard.advance()
        return READY

    def steps(self, question: Any) -> Iterator[Ready | None]:
        self.began.append(type(question))
        yield None
        yield None
        yield READY


@pytest.fixture
def worked() -> Callable[..., tuple[list[tuple[int, str]], list[type]]]:
    """What was answered, in order, and what was begun, when a long question (1) is asked, and others meanwhile."""

    def work(during: Callable[[Lines], None], *, loading: bool = False, long: Any = CUT) -> Any:
        lines, out, began = Lines(), io.StringIO(), []
        lines.ask(1, long)
        with pytest.raises(Done):
            interactive._Desk(
                lambda progress, between: _Long(progress, between, lambda: during(lines), loading, began), lines, out
            ).work()
        told = [json.loads(line) for line in out.getvalue().splitlines()]
        ends = [(line["id"], line.get("code", "answer")) for line in told if "taken" not in line]
        return ends, began

    return work


@pytest.mark.parametrize("long", [Cut("a"), Propose(), Junk()])
def test_what_changes_nothing_goes_between_and_what_changes_objects_waits(worked, long: Any) -> None:
    def during(lines: Lines) -> None:
        for number, question in enumerate((Keep("b"), CLICK, Propose(), Grow(""), Rename("a", "b"), Drop("b")), 2):
            lines.ask(number, question)

    ends, began = worked(during, long=long)
    assert ends == [(number, "answer") for number in (3, 5, 1, 2, 4, 6, 7)]
    assert began == [type(long), Choose, Grow, Keep, Propose, Rename, Drop]


def test_nothing_goes_between_while_the_scene_is_loaded(worked) -> None:
    ends, _ = worked(lambda lines: lines.ask(2, CLICK), loading=True)
    assert ends == [(1, "answer"), (2, "answer")]


def test_preparations_and_consultations_go_on_a_step_at_a_time(worked) -> None:
    def during(lines: Lines) -> None:
        lines.ask(2, Prepare())
        lines.ask(3, Consult((ON_RED,)))

    ends, _ = worked(during)
    assert ends == [(3, "answer"), (1, "answer"), (2, "answer")]


@pytest.mark.parametrize("loading", [False, True])
def test_work_is_ended_at_its_next_step(worked, loading: bool) -> None:
    def during(lines: Lines) -> None:
        lines.ask(2, CLICK)
        lines.withdraw(1)

    ends, began = worked(during, loading=loading)
    assert ends == [(1, "withdrawn"), (2, "answer")]
    assert began == [Cut, Choose]


def test_what_waits_is_never_begun(worked) -> None:
    def during(lines: Lines) -> None:
        for number, question in enumerate((Cut("b"), CLICK, Prepare()), 2):
            lines.ask(number, question)
            lines.withdraw(number)

    ends, began = worked(during)
    assert ends == [(2, "withdrawn"), (3, "withdrawn"), (4, "withdrawn"), (1, "answer")]
    assert began == [Cut]


def test_what_is_unknown_or_answered_is_withdrawn_in_vain(worked) -> None:
    def during(lines: Lines) -> None:
        lines.withdraw(77)
        lines.ask(2, CLICK)
        lines.ask(3, Keep("c"))

    def late(lines: Lines) -> None:
        during(lines)
        lines.ask(4, Grow(""))
        lines.withdraw(0)

    ends, _ = worked(late)
    assert ends == [(2, "answer"), (4, "answer"), (1, "answer"), (3, "answer")]


# The process itself. Each step takes a while as long as there is a file called `slow`.
_SLOWLY = """
import time
from pathlib import Path
from backend.jobs import interactive
from backend.stages import answers

class Slowly:
    def __init__(self, root, progress):
        self.root, self.progress = root, progress
    def phase(self, *about):
        (self.root / "begun").touch()
        self.progress.phase(*about)
    def advance(self, *about):
        if (self.root / "slow").exists():
            time.sleep(0.2)
        self.progress.advance(*about)

class Answers(answers.Answers):
    def __init__(self, root, progress, between):
        super().__init__(root, progress, Slowly(root, between))

answers.Answers = Answers
interactive.main()
"""


@pytest.fixture
def worker(blobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A worker process with a scene in which there is an object, `frog`."""
    (tmp_path / "slowly.py").write_text(_SLOWLY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(interactive, "Child", lambda _, log: Child("slowly", log))
    root = blobs.workspace.root
    asked = interactive.Interactive(root, tmp_path / "log")
    asked.ask(Keep("frog", marks=(ON_RED,)))
    asked.ask(CLICK)

    def later(question: Any, ticket: str = "") -> tuple[threading.Thread, list[Any]]:
        """Ask in a thread; what comes of it."""
        came: list[Any] = []

        def ask() -> None:
            try:
                came.append(asked.ask(question, ticket))
            except SegWildError as error:
                came.append(error.code)

        (root / "begun").unlink(missing_ok=True)
        thread = threading.Thread(target=ask)
        thread.start()
        return thread, came

    def begun() -> None:
        deadline = time.monotonic() + 60
        while not (root / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    yield SimpleNamespace(asked=asked, workspace=blobs.workspace, root=root, later=later, begun=begun)
    asked.stop()


def objects_in(workspace: Workspace) -> dict[str, bytes]:
    """All that is kept of objects."""
    files = [workspace.segments, *(workspace.root / "segments").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def test_a_click_does_not_wait_for_long_work_which_can_be_taken_back(worker: SimpleNamespace) -> None:
    before = objects_in(worker.workspace)
    for question, kind in ((Cut("frog"), Divided), (Propose(), Proposed), (Junk(), Chosen)):
        ticket = type(question).__name__
        (worker.root / "slow").touch()
        thread, came = worker.later(question, ticket)
        worker.begun()
        assert worker.asked.ask(CLICK)["count"] > 0
        assert not came
        assert worker.asked.withdraw(ticket)
        thread.join(20)
        assert came == ["withdrawn"]
        assert objects_in(worker.workspace) == before
        assert not worker.asked.withdraw(ticket)
        (worker.root / "slow").unlink()
        assert worker.asked.ask(question)["kind"] == kind.__name__  # from the beginning
        if kind is Divided:
            assert objects_in(worker.workspace).keys() > before.keys()
            before = objects_in(worker.workspace)


def test_what_is_withdrawn_in_the_queue_or_before_it_arrives_is_not_done(worker: SimpleNamespace) -> None:
    before = objects_in(worker.workspace)
    (worker.root / "slow").touch()
    first, came = worker.later(Propose(), "first")
    worker.begun()
    second, dropped = worker.later(Drop("frog"), "second")
    deadline = time.monotonic() + 20
    while "second" not in worker.asked._tickets:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert worker.asked.withdraw("second")
    second.join(20)
    assert dropped == ["withdrawn"]
    assert not came
    assert worker.asked.withdraw("first")
    first.join(20)
    assert not worker.asked.withdraw("third")
    with pytest.raises(ProtocolError) as caught:
        worker.asked.ask(Drop("frog"), "third")
    assert caught.value.code == "withdrawn"
    assert objects_in(worker.workspace) == before


def test_long_work_on_a_scene_that_was_trained_anew_is_refused(worker: SimpleNamespace) -> None:
    before = objects_in(worker.workspace)
    (worker.root / "slow").touch()
    for question in (Cut("frog"), Propose(), Junk()):
        thread, heard = worker.later(question)
        worker.begun()
        worker.workspace.gaussians().save(worker.workspace.splats)
        worker.asked.ask(CLICK)  # of the new one, between
        (worker.root / "slow").unlink()
        thread.join(60)
        assert heard == ["scene-changed"]
        (worker.root / "slow").touch()
    assert objects_in(worker.workspace) == before
