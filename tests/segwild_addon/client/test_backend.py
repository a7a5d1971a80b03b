"""One contract, held by the real service and by the fake: what a session asks and hears is the same from both."""

from __future__ import annotations

import base64
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address, Answered, Backend, Launch, Status
from segwild_addon.client.backend import WITHDRAWN, new_ticket
from segwild_addon.client.http import SILENT
from segwild_addon.protocol.errors import InputError, ProtocolError, ResourceError, SegWildError
from segwild_addon.protocol.events import JobCancelled, JobDone, JobFailed, JobQueued, JobStarted, Numbered
from segwild_addon.protocol.questions import (
    ANSWERS,
    QUESTIONS,
    Choose,
    Consult,
    Cut,
    Drop,
    Grow,
    Junk,
    Keep,
    Nest,
    Part,
    Prepare,
    Preview,
    Propose,
    Rename,
    Revert,
    Shrink,
)
from segwild_addon.protocol.values import Chosen, Divided, Kept, Mark, Named, Proposed, Ready

from .conftest import SEARCHED, blobs

FAKE = Path(__file__).with_name("fake_backend.py")
SECS = 240.0  # for a worker to start on a busy machine


# On the red blob of the backend's tests, seen from the side.
MARK = Mark((-0.45, -0.27, 0.28), (-0.6, -2.5, 0.5), 0.01)


def packed(bits: np.ndarray) -> str:
    return base64.b64encode(np.packbits(bits, bitorder="little")).decode()


class Session:
    """A backend with everything it has told so far."""

    def __init__(self, backend: Backend, launch: Launch) -> None:
        self.backend, self.launch = backend, launch
        self.heard: list[Any] = []
        backend.start()
        self.wait(lambda: backend.listening and backend.status.state == "running")

    def news(self) -> list[Any]:
        while not self.backend.news.empty():
            self.heard.append(self.backend.news.get())
        return self.heard

    def wait(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + SECS
        while time.monotonic() < end:
            self.news()
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError((self.backend.status, self.heard[-5:], self.launch.log.read_text()[-2000:]))

    def of(self, job: str) -> list[type]:
        """The kinds of a job's events, progress left out."""
        told = [item.event for item in self.news() if isinstance(item, Numbered)]
        return [type(event) for event in told if getattr(event, "job", "") == job and "phase" not in vars(event)]

    def ended(self, job: str) -> type:
        ends = (JobDone, JobFailed, JobCancelled)
        return self.wait(lambda: next((kind for kind in self.of(job) if kind in ends), None))


@pytest.fixture(scope="module", params=["fake", "real"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp(request.param)
    workspace = folder / "place.segwild"
    if request.param == "real":
        blobs(workspace)
        command = (sys.executable, "-P", "-m", "backend")
        environment = {"PYTHONPATH": SEARCHED}
    else:
        workspace.mkdir()
        command, environment = (sys.executable, "-I", str(FAKE)), {}
    (workspace / "notes.txt").write_text("not for anybody")
    np.save(workspace / "numbers.npy", np.arange(1000, dtype=np.int32))
    np.save(folder / "outside.npy", np.arange(4))
    launch = Launch(command, workspace, folder / "backend.log", environment=environment)
    backend = Backend(launch)
    try:
        yield Session(backend, launch)
    finally:
        backend.stop()


class TestContract:
    def test_it_says_what_it_is(self, session: Session) -> None:
        health = session.backend.health()
        assert health["protocol"] == 1
        assert Path(health["workspace"]) == session.launch.workspace.resolve()
        assert [item.state for item in session.heard if isinstance(item, Status)][-2:] == ["starting", "running"]

    def test_a_job_is_queued_started_and_done(self, session: Session) -> None:
        job = session.backend.submit("objects", action="list")
        assert (job.verb, job.state) == ("objects", "queued")
        assert session.ended(job.id) is JobDone
        assert session.of(job.id) == [JobQueued, JobStarted, JobDone]
        row = session.backend.job(job.id)
        assert (row.state, row.attempts, row.error) == ("done", 1, None)
        assert isinstance(row.result, dict)
        assert job.id in [one.id for one in session.backend.jobs()]

    def test_one_job_fails_with_a_sentence_while_another_is_cancelled(self, session: Session) -> None:
        first, second = session.backend.submit("train", iterations=1), session.backend.submit("objects")
        session.backend.cancel(second.id)
        assert session.ended(second.id) is JobCancelled
        assert JobStarted not in session.of(second.id)
        assert session.of(first.id)[-1] is not JobFailed  # at once: not when its turn comes
        assert session.backend.job(second.id).state == "cancelled"
        session.backend.cancel(second.id)  # once more does no harm
        assert session.ended(first.id) is JobFailed
        error = session.backend.job(first.id).error
        assert error is not None
        assert error.code
        assert error.sentence

    def test_events_are_numbered_without_gaps(self, session: Session) -> None:
        job = session.backend.submit("objects")
        session.backend.cancel(job.id)
        session.ended(job.id)
        numbers = [item.seq for item in session.news() if isinstance(item, Numbered)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    @pytest.mark.parametrize(
        ("ask", "kind", "code"),
        [
            (lambda b: b.submit("format-disk"), ProtocolError, "unknown-verb"),
            (lambda b: b.submit("serve"), ProtocolError, "unknown-verb"),
            (lambda b: b.submit("objects", colour="red"), ProtocolError, "unknown-field"),
            (lambda b: b.job("0" * 32), InputError, "not-found"),
            (lambda b: b.cancel("0" * 32), InputError, "not-found"),
            (lambda b: b.ask(Prepare("nowhere")), InputError, "unknown-photo"),
            (lambda b: b.ask(Preview("nowhere", ("1,1,+",))), InputError, "unknown-photo"),
            (lambda b: b.ask(Choose(())), InputError, "bad-mark"),
            (lambda b: b.ask(Consult(())), InputError, "bad-mark"),
            (lambda b: b.ask(Choose((replace(MARK, positive=False),))), InputError, "bad-mark"),
            (lambda b: b.ask(Choose((replace(MARK, pixel=0.0),))), InputError, "bad-mark"),
            (lambda b: b.ask(Choose((replace(MARK, eye=MARK.position),))), InputError, "bad-mark"),
            (lambda b: b.ask(Grow(packed(np.ones(2500, bool)), 0)), InputError, "bad-option"),
            (lambda b: b.ask(Shrink(packed(np.ones(2500, bool)), 101)), InputError, "bad-option"),
            (lambda b: b.ask(Grow("no!")), InputError, "bad-rows"),
            (lambda b: b.ask(Shrink(packed(np.ones(80, bool)))), InputError, "bad-rows"),
            (lambda b: b.ask(Part(packed(np.ones(80, bool)))), InputError, "bad-rows"),
            (lambda b: b.ask(Part(packed(np.ones(2500, bool)), 0)), InputError, "bad-option"),
            (lambda b: b.ask(Junk(1.5)), InputError, "bad-option"),
            (lambda b: b.ask(Junk(-0.1)), InputError, "bad-option"),
            (lambda b: b.ask(Junk(within="nobody")), InputError, "unknown-object"),
            (lambda b: b.ask(Junk(causes=("dust",))), ProtocolError, "bad-field"),
            (lambda b: b.ask(Keep("x")), InputError, "bad-mark"),
            (lambda b: b.ask(Keep("x", rows="no!")), InputError, "bad-rows"),
            (lambda b: b.ask(Keep("x", rows=packed(np.ones(80, bool)))), InputError, "bad-rows"),
            (lambda b: b.ask(Keep("x", rows=packed(np.zeros(2500, bool)))), InputError, "empty-object"),
            (lambda b: b.ask(Keep(" ", marks=(MARK,))), InputError, "bad-name"),
            (lambda b: b.ask(Drop("nobody")), InputError, "unknown-object"),
            (lambda b: b.ask(Cut("nobody")), InputError, "unknown-object"),
            (lambda b: b.ask(Revert("nobody")), InputError, "unknown-object"),
            (lambda b: b.ask(Rename("nobody", "somebody")), InputError, "unknown-object"),
            (lambda b: b.ask(Nest("nobody")), InputError, "unknown-object"),
            (lambda b: b._way().post("/v1/ask", {"kind": "Serve"}), ProtocolError, "unknown-kind"),
            (lambda b: b._way().get("/v1/events?after=x"), ProtocolError, "bad-field"),
            (lambda b: b._way().get("/v1/nothing"), SegWildError, None),
            (lambda b: b._way().get("/v1/arrays/notes.txt"), InputError, "not-found"),
            (lambda b: b._way().get("/v1/arrays/..%2Foutside.npy"), InputError, "not-found"),
            (lambda b: b._way().get("/v1/arrays/../outside.npy"), SegWildError, None),
        ],
    )
    def test_refusals_have_the_same_class_and_code(self, session: Session, ask, kind: type, code: str | None) -> None:
        with pytest.raises(kind) as caught:
            ask(session.backend)
        assert code is None or caught.value.code == code
        assert caught.value.sentence

    def test_a_wrong_token_opens_nothing(self, session: Session) -> None:
        address = session.backend._way().address
        stranger = Backend(Address(address.host, address.port, "guess"))
        try:
            stranger.start()
            session.wait(lambda: stranger.status.state == "failed")
            assert stranger.status.code == "no-token"
        finally:
            stranger.stop()

    def test_every_question_has_an_answer(self, session: Session) -> None:
        ask = session.backend.ask
        asked = {
            Prepare(): Ready,
            Prepare("a0"): Ready,
            Preview("a0", ("150,150,+",)): Chosen,
            Choose((MARK,)): Chosen,
            Consult((MARK,)): Chosen,
            Junk(1.0): Chosen,
            Propose(): Proposed,
            Grow(packed(np.arange(2500) < 100)): Chosen,
            Shrink(packed(np.arange(2500) > 0)): Chosen,
            Part(packed(np.arange(2500) < 1000), least=1): Proposed,
            Keep("frog", marks=(MARK,)): Kept,
            Cut("frog"): Divided,
            Revert("frog"): Named,
            Rename("frog", "toad"): Named,
            Nest("toad"): Named,
            Drop("toad"): Named,
        }
        assert {type(question) for question in asked} == set(QUESTIONS)
        for question, kind in asked.items():
            answer = ask(question)
            assert type(answer) is kind
            assert ANSWERS[type(question)] is kind
            assert 0 <= answer.time_secs < 300
            if kind in (Ready, Chosen, Proposed):
                assert answer.gaussians == 2500
            if kind is Proposed:
                numbers = session.backend.array(answer.numbers)
                assert (numbers.shape, numbers.max()) == ((2500,), answer.count)
            if isinstance(question, Choose):
                assert answer.size in answer.sizes == tuple(sorted(answer.sizes))
            if kind is Divided:
                parts = {part.name: session.backend.array(getattr(answer, part.name)) for part in fields(answer)[2:-1]}
                assert len({len(array) for name, array in parts.items() if name not in ("given", "dropped")}) == 1
            if kind in (Chosen, Kept):
                rows = np.unpackbits(session.backend.array(answer.rows), bitorder="little")
                assert rows.sum() == answer.count > 0
                assert rows.size == -(-2500 // 8) * 8

    def test_a_question_is_withdrawn_by_its_ticket(self, session: Session) -> None:
        answered, early = new_ticket(), new_ticket()
        assert session.backend.ask(Choose((MARK,)), ticket=answered).count > 0
        assert not session.backend.withdraw(answered)
        assert not session.backend.withdraw(new_ticket())
        assert not session.backend.withdraw(early)  # it overtakes its question
        with pytest.raises(ProtocolError) as caught:
            session.backend.ask(Keep("frog", marks=(MARK,)), ticket=early)
        assert caught.value.code == WITHDRAWN
        with pytest.raises(InputError, match="frog"):
            session.backend.ask(Drop("frog"))

    def test_what_is_kept_dropped_and_renamed(self, session: Session) -> None:
        ask = session.backend.ask
        bits = np.zeros(2500, bool)
        bits[[3, 700, 2499]] = True
        before = session.backend.health()["seq"]
        first = ask(Keep("one", rows=packed(bits)))
        assert (first.name, first.count) == ("one", 3)
        assert np.array_equal(np.unpackbits(session.backend.array(first.rows), bitorder="little", count=2500), bits)
        second = ask(Keep("two", rows=packed(~bits)))
        assert (second.id, second.count) == (first.id + 1, 2497)
        assert ask(Keep("one", rows=packed(~bits))).id == first.id
        assert listed(ask(Rename("one", "uno"))) == {first.id: "uno", second.id: "two"}
        assert listed(ask(Drop("two"))) == {first.id: "uno"}
        assert listed(ask(Drop("uno"))) == {}
        assert session.backend.health()["seq"] == before + 6
        told = session.wait(
            lambda: [item for item in _numbered(session) if item.seq > before][5:] and _numbered(session)
        )
        assert {item.event.what for item in told if item.seq > before} == {"objects"}

    def test_parts_have_a_parent_until_it_is_dropped(self, session: Session) -> None:
        ask = session.backend.ask
        ids = [ask(Keep(name, marks=(MARK,))).id for name in ("one", "two", "three")]
        names = ("one", "two", "three")
        assert nested(ask(Nest("two", "one"))) == (tuple(ids), names, (0, ids[0], 0))
        assert nested(ask(Nest("three", "two"))) == (tuple(ids), names, (0, ids[0], ids[1]))
        for parent, code in (("one", "bad-parent"), ("three", "bad-parent"), ("nobody", "unknown-object")):
            with pytest.raises(InputError) as caught:
                ask(Nest("one", parent))
            assert caught.value.code == code
        assert nested(ask(Nest("three"))) == (tuple(ids), names, (0, ids[0], 0))
        assert nested(ask(Drop("one"))) == (tuple(ids[1:]), names[1:], (0, 0))
        for name in names[1:]:
            ask(Drop(name))

    def test_an_array_comes_over_http_in_ranges(self, session: Session) -> None:
        with session.backend._way().open("GET", "/v1/arrays/numbers.npy") as answer:
            whole = b"".join(iter(lambda: answer.read(500), b""))
        with session.backend._way().open("GET", "/v1/arrays/numbers.npy", headers={"Range": "bytes=3000-"}) as answer:
            assert answer.status == 206
            assert b"".join(iter(lambda: answer.read(500), b"")) == whole[3000:]
        assert whole == (session.launch.workspace / "numbers.npy").read_bytes()

    def test_a_listener_that_comes_later_hears_everything_again(self, session: Session) -> None:
        address = session.backend._way().address
        other = Session(Backend(address, after=0), session.launch)
        try:
            ours = [item for item in session.news() if isinstance(item, Numbered)]
            theirs = other.wait(lambda: len(_numbered(other)) >= ours[-1].seq and _numbered(other))
            assert [item.seq for item in theirs[: len(ours)]] == list(range(1, len(ours) + 1))
            assert theirs[ours[0].seq - 1 :][: len(ours)] == ours
        finally:
            other.backend.stop()
        assert session.backend.health()

    def test_a_call_made_later_is_answered_in_the_news(self, session: Session) -> None:
        gate = threading.Event()
        session.backend.later("first", lambda: gate.wait(60) and session.backend.health())
        session.backend.later("second", session.backend.job, "0" * 32)
        assert session.wait(lambda: _answers(session)).keys() == {"second"}  # nobody waits for the first
        gate.set()
        answers = session.wait(lambda: len(_answers(session)) >= 2 and _answers(session))
        assert answers["first"].value["protocol"] == 1
        assert answers["second"].error.code == "not-found"


def listed(answer: Named) -> dict[int, str]:
    return dict(zip(answer.ids, answer.names, strict=True))


def nested(answer: Named) -> tuple[tuple[int, ...], tuple[str, ...], tuple[int, ...]]:
    return answer.ids, answer.names, answer.parents


def _numbered(session: Session) -> list[Numbered]:
    return [item for item in session.news() if isinstance(item, Numbered)]


def _answers(session: Session) -> dict[Any, Answered]:
    return {item.tag: item for item in session.news() if isinstance(item, Answered)}


# What the facade adds under faults.


def test_nothing_waits_while_the_backend_hangs(fake: Any, wait_until: Callable[..., Any]) -> None:
    backend = Backend(Address("127.0.0.1", fake.port, fake.token))
    backend.start()
    try:
        wait_until(lambda: backend.status.state == "running")
        fake.fault = "hang"
        began = time.monotonic()
        for number in range(40):
            with contextlib.suppress(ResourceError):  # too many
                backend.later(number, backend.health)
        _ = backend.status, backend.listening
        assert time.monotonic() - began < 1.0
        with pytest.raises(ResourceError) as caught:
            backend.ask(Prepare("a0"), timeout_secs=0.3)
        assert caught.value.code == SILENT
    finally:
        began = time.monotonic()
        backend.stop()
        assert time.monotonic() - began < 2.0


def test_restarting_by_hand_gives_a_fresh_process(fake_launch: Any, wait_until: Callable[..., Any]) -> None:
    backend = Backend(fake_launch())
    backend.start()
    try:
        wait_until(lambda: backend.status.state == "running")
        first = backend.health()["pid"]
        backend.restart()
        wait_until(lambda: backend.status.state == "running")
        assert backend.health()["pid"] != first
    finally:
        backend.stop()
    with pytest.raises(ResourceError):
        backend.jobs()
