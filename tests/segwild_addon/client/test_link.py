"""A link never waits, loses no answer, and says what became of a backend, whatever that backend does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from segwild_addon.client import Address, Answered, Launch, Rewound, Status, process
from segwild_addon.client.backend import Backend
from segwild_addon.client.link import ENDING, Happened, Link, tail_of
from segwild_addon.protocol.events import JobDone, SceneChanged
from segwild_addon.protocol.questions import Prepare

# A call that waits for anything of the backend waits a second or more; on a busy machine one that does not may take
# this long all the same. benchmarks/waiting.py measures the real figure.
WAITS_SECS = 0.7
FAULTS = ("hang", "drip", "garbage", "html", "nonsense", "error", "cut", "endless", "hang-up", "wrong-length")


class Watched:
    """A link, everything it said, and the longest that one call of it took."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.said: list[Any] = []
        self.worst_secs = 0.0

    def call(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return call(*arguments, **named)
        finally:
            self.worst_secs = max(self.worst_secs, time.monotonic() - began)

    def until(self, condition: Callable[[], Any], secs: float = 20.0) -> Any:
        end = time.monotonic() + secs
        while time.monotonic() < end:
            while (item := self.call(self.link.take)) is not None:
                self.said.append(item)
            if value := condition():
                return value
            time.sleep(0.01)
        raise AssertionError((self.link.status, self.said[-5:]))

    def state(self, *states: str) -> Status:
        return self.until(lambda: self.link.status.state in states and self.link.status)


@pytest.fixture
def watched(tmp_path) -> Iterator[Watched]:
    one = Watched(Link(tmp_path / "fake.segwild"))
    yield one
    one.call(one.link.stop)
    assert one.link.wait(15)
    assert one.worst_secs < WAITS_SECS


def address(fake) -> Address:
    return Address("127.0.0.1", fake.port, fake.token)


def test_it_starts_asks_and_hears(watched: Watched, fake_launch) -> None:
    link, answers = watched.link, []
    watched.call(link.start, fake_launch())
    assert link.busy
    watched.state("running")
    watched.until(lambda: not link.busy)
    watched.call(link.submit, "objects", answers.append, action="list")
    watched.call(link.ask, Prepare("a0"), answers.append)
    watched.call(link.ask, Prepare("nowhere"), answers.append)
    watched.until(lambda: len(answers) == 3)
    assert sorted(answer.error.code if answer.error else "" for answer in answers) == ["", "", "unknown-photo"]
    watched.until(lambda: link.courses.current is not None and link.courses.current.ended)
    happened = [item for item in watched.said if isinstance(item, Happened)]
    assert [item.course.state for item in happened if isinstance(item.event, JobDone)] == ["done"]
    assert any(isinstance(item.event, SceneChanged) for item in happened)
    assert not link.busy


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_makes_it_wait_or_costs_an_answer(watched: Watched, fake, fault: str) -> None:
    link, answers = watched.link, []
    watched.call(link.start, address(fake))
    watched.state("running")
    fake.fault = fault
    for _ in range(40):  # more than may be under way
        watched.call(link.ask, Prepare("a0"), answers.append)
    watched.call(link.submit, "objects", answers.append)
    watched.call(link.cancel, "0" * 32, answers.append)
    end = time.monotonic() + 0.5
    watched.until(lambda: time.monotonic() > end)
    watched.call(link.restart)
    watched.until(lambda: len(answers) == 42)
    assert fault == "nonsense" or all(answer.error is not None for answer in answers)
    fake.fault = None
    watched.state("running")


def test_an_answer_after_the_stop_is_no_answer(watched: Watched, fake) -> None:
    answers: list[Answered] = []
    watched.call(watched.link.start, address(fake))
    watched.state("running")
    watched.link.later(lambda answered: answers.append(answered), lambda _: time.sleep(0.3) or "late")
    watched.call(watched.link.stop)
    watched.until(lambda: answers)
    assert answers[0].error is not None
    assert answers[0].error.code == "backend-lost"
    time.sleep(0.5)
    watched.until(lambda: True)
    assert len(answers) == 1


def test_without_a_backend_the_answer_says_so(watched: Watched) -> None:
    answers: list[Answered] = []
    watched.call(watched.link.ask, Prepare("a0"), answers.append)
    assert not answers  # never from inside the call
    watched.until(lambda: answers)
    assert answers[0].error is not None
    assert answers[0].error.hint


def test_a_killed_process_comes_back_and_its_jobs_are_known(watched: Watched, fake_launch) -> None:
    link, pids = watched.link, []
    watched.call(link.start, fake_launch())
    watched.state("running")
    link.later(lambda answered: pids.append(answered.value["pid"]), Backend.health)
    watched.until(lambda: pids)
    os.kill(pids[0], getattr(signal, "SIGKILL", signal.SIGTERM))
    assert watched.state("lost").sentence
    watched.state("running")


def test_starting_again_waits_for_the_end_of_the_one_before(
    watched: Watched, fake_launch, alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_SECS", 1.0)  # before the deaf one is ended by force
    link, pids = watched.link, []
    watched.call(link.start, fake_launch("deaf"))
    watched.state("running")
    link.later(lambda answered: pids.append(answered.value["pid"]), Backend.health)
    watched.until(lambda: pids)
    watched.call(link.restart)
    assert link.status == ENDING
    assert link.backend is None
    watched.until(lambda: link.backend is not None)
    assert not alive(pids[0])
    watched.state("running")
    watched.call(link.stop)
    assert link.wait(15)


def test_starting_and_stopping_in_any_order(watched: Watched, fake_launch) -> None:
    link = watched.link
    launch: Launch = fake_launch()
    watched.call(link.stop)
    watched.call(link.restart)  # nothing to start again yet
    for _ in range(3):
        watched.call(link.start, launch)
        watched.call(link.start, launch)
        watched.call(link.stop)
        watched.call(link.stop)
    watched.call(link.start, launch)
    watched.state("running")
    watched.call(link.stop)
    watched.until(lambda: not link.ending and link.status.state == "stopped" and not link.busy)


def test_a_job_that_ended_while_nobody_listened_is_told(watched: Watched, fake) -> None:
    link = watched.link
    fake.job_secs = 1.0
    watched.call(link.start, address(fake))
    watched.state("running")
    watched.call(link.submit, "objects", lambda answered: None)
    watched.until(lambda: link.courses.current is not None and link.courses.current.state == "running")
    watched.call(link.stop)
    watched.until(lambda: all(job["state"] == "done" for job in fake.jobs.values()))
    watched.call(link.start, address(fake))
    watched.until(lambda: [item for item in watched.said if isinstance(getattr(item, "event", None), JobDone)])
    assert link.courses.current.state == "done"


def test_a_lost_job_table_empties_what_is_known(watched: Watched, fake) -> None:
    link = watched.link
    watched.call(link.start, address(fake))
    watched.state("running")
    watched.call(link.submit, "objects", lambda answered: None)
    watched.until(lambda: link.courses.current is not None and link.courses.current.ended)
    fake.jobs.clear()
    assert link.backend is not None
    link.backend.news.put(Rewound())
    watched.until(lambda: any(isinstance(item, Rewound) for item in watched.said) and not link.busy)
    assert link.courses.current is None


def test_the_end_of_a_log(tmp_path) -> None:
    log = tmp_path / "worker.log"
    assert tail_of(log) == ()
    log.write_bytes(b"\xff\n" * 5000 + b"\n".join(b"line %d" % n for n in range(100)) + b"\n\n")
    assert tail_of(log, 3) == ("line 97", "line 98", "line 99")
