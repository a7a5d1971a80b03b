"""Between Blender and the backend nothing waits, nothing is lost, and a mistake in one place stays there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from segwild_addon.client import Address
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.questions import Prepare

# As in client/test_link.py: what waits for the backend waits a second or more.
WAITS_SECS = 0.7
FAULTS = ("hang", "drip", "garbage", "nonsense", "endless", "hang-up", "wrong-length")
STREAM_FAULTS = ("cut-event", "bad-event", "repeat", "no-newline", "not-a-stream")


@pytest.fixture
def running(nothing_is_left: None, blender: Any) -> Iterator[SimpleNamespace]:
    """The session of a registered add-on, pumped by hand; the longest pump is remembered."""
    from segwild_addon import session

    watched = SimpleNamespace(session=session, worst_secs=0.0)

    def until(condition: Callable[[], Any], secs: float = 20.0) -> Any:
        end = time.monotonic() + secs
        while time.monotonic() < end:
            began = time.monotonic()
            session.pump(0.01)
            watched.worst_secs = max(watched.worst_secs, time.monotonic() - began)
            if value := condition():
                return value
            time.sleep(0.01)
        raise AssertionError([(one.status, list(one.courses)) for one in session.links.values()])

    watched.until = until
    yield watched
    assert watched.worst_secs < WAITS_SECS


def address(fake: Any) -> Address:
    return Address("127.0.0.1", fake.port, fake.token)


def test_a_backend_per_workspace(running: SimpleNamespace, fake_launch: Any, tmp_path: Any) -> None:
    session = running.session
    one, other = session.link(tmp_path / "fake.segwild"), session.link(str(tmp_path / "other.segwild"))
    assert session.link(tmp_path / "fake.segwild") is one is not other
    assert session.known(tmp_path / "fake.segwild") is one
    assert session.known(tmp_path / "third.segwild") is None
    assert session.known("") is None
    one.start(fake_launch())
    running.until(lambda: one.running)
    assert not other.running
    one.stop()
    running.until(lambda: one.status.state == "stopped" and not one.ending)


@pytest.mark.parametrize("fault", FAULTS)
def test_blender_goes_on_whatever_the_backend_does(running: SimpleNamespace, fake: Any, fault: str) -> None:
    session, answers = running.session, []
    link = session.link(fake.workspace)
    link.start(address(fake))
    running.until(lambda: link.running)
    fake.fault = fault
    began = time.monotonic()
    for _ in range(20):
        link.ask(Prepare("a0"), answers.append)
    link.submit("train", answers.append)
    assert time.monotonic() - began < WAITS_SECS
    end = time.monotonic() + 1.0
    running.until(lambda: time.monotonic() > end)
    began = time.monotonic()
    link.restart()
    assert time.monotonic() - began < WAITS_SECS
    fake.fault = None
    running.until(lambda: len(answers) == 21 and link.running)


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_broken_stream_of_events_costs_no_job(running: SimpleNamespace, fake: Any, fault: str) -> None:
    session = running.session
    link = session.link(fake.workspace)
    fake.fault = fault
    link.start(address(fake))
    running.until(lambda: link.running)
    link.submit("objects", lambda answered: None)
    running.until(lambda: any(job["state"] == "done" for job in fake.jobs.values()))
    fake.fault = None
    running.until(lambda: link.courses.current is not None and link.courses.current.state == "done")


def test_a_flood_of_events_is_taken_in_small_pieces(running: SimpleNamespace, fake: Any) -> None:
    session = running.session
    link = session.link(fake.workspace)
    link.start(address(fake))
    running.until(lambda: link.running and link.backend.listening)
    for number in range(5000):
        fake.tell("JobProgress", job="j", phase="Training", done=number, total=5000, eta_secs=None, note="")
    pumps = 0

    def count() -> bool:
        nonlocal pumps
        pumps += 1
        course = link.courses.get("j")
        return course is not None and course.done == 4999

    running.until(count)
    assert pumps > 2


def test_a_mistake_in_a_listener_stops_nothing(
    running: SimpleNamespace, fake: Any, capsys: pytest.CaptureFixture
) -> None:
    session, heard = running.session, []
    session.listeners.append(lambda link, item: 1 / 0)
    session.listeners.append(lambda link, item: heard.append(item))
    link = session.link(fake.workspace)
    link.start(address(fake))
    running.until(lambda: link.running and heard)
    assert "ZeroDivisionError" in session.trouble()
    assert "Traceback" in capsys.readouterr().err


def test_work_that_waits_for_quiet_is_done_once(running: SimpleNamespace) -> None:
    session, done = running.session, []
    for number in range(5):
        session.soon("look", lambda number=number: done.append(number), 0.05)
        session.pump(0.0)
    session.soon("other", lambda: done.append("other"))
    running.until(lambda: len(done) == 2)
    assert done == ["other", 4]


def test_steps_leave_room_between_them_and_tell_their_end(running: SimpleNamespace) -> None:
    session, ended = running.session, []

    def steps(fails: bool) -> Iterator[float]:
        for part in range(20):
            time.sleep(0.004)
            yield part / 20
        if fails:
            raise InputError("broken", "It is broken.")
        return "result"

    session.carry_out("one", steps(False), lambda value, error: ended.append((value, error)))
    session.carry_out("two", steps(True), lambda value, error: ended.append((value, error and error.code)))
    pumps = 0

    def count() -> bool:
        nonlocal pumps
        pumps += 1
        return len(ended) == 2

    running.until(count)
    assert set(ended) == {("result", None), (None, "broken")}
    assert pumps >= 5


def test_threads_have_things_done_on_the_main_thread(running: SimpleNamespace) -> None:
    where: list[str] = []
    worker = threading.Thread(
        target=lambda: running.session.post(lambda: where.append(threading.current_thread().name))
    )
    worker.start()
    worker.join()
    running.until(lambda: where)
    assert where == [threading.main_thread().name]


def test_another_file_lets_go_of_idle_backends_alone(
    running: SimpleNamespace, blender: Any, fake: Any, make_fake: Any, fake_launch: Any, tmp_path: Any
) -> None:
    session = running.session
    own, remote = session.link(tmp_path / "own.segwild"), session.link(fake.workspace)
    own.start(fake_launch())
    remote.start(address(fake))
    running.until(lambda: own.running and remote.running)
    blender.ops.wm.read_homefile(use_empty=True)
    assert not own.running
    assert remote.running


def test_leaving_ends_everything(nothing_is_left: None, blender: Any, fake_launch: Any, tmp_path: Any) -> None:
    from segwild_addon import session

    link = session.link(tmp_path / "fake.segwild")
    link.start(fake_launch())
    end = time.monotonic() + 20
    while not link.running and time.monotonic() < end:
        session.pump()
        time.sleep(0.01)
    assert link.running


@pytest.mark.parametrize(
    ("mode", "operator", "locked", "at_rest"),
    [
        ("OBJECT", "SEGWILD_OT_prompt", False, True),
        ("EDIT_MESH", "SEGWILD_OT_prompt", False, False),
        ("OBJECT", "TRANSFORM_OT_translate", False, False),
        ("OBJECT", "OBJECT_OT_duplicate_move", False, False),
        ("OBJECT", "SEGWILD_OT_prompt", True, False),
    ],
)
def test_blender_is_at_rest_where_nothing_would_be_disturbed(
    running: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, mode: str, operator: str, locked: bool, at_rest: bool
) -> None:
    assert running.session.at_rest()
    dragging = [SimpleNamespace(bl_idname="TRANSFORM_OT_translate")] if "duplicate" in operator else []
    windows = [
        SimpleNamespace(modal_operators=[]),
        SimpleNamespace(modal_operators=[SimpleNamespace(bl_idname=operator, macros=dragging)]),
    ]
    manager = SimpleNamespace(windows=windows, is_interface_locked=locked)
    with monkeypatch.context() as patch:
        patch.setattr(
            running.session, "bpy", SimpleNamespace(context=SimpleNamespace(window_manager=manager, mode=mode))
        )
        assert running.session.at_rest() == at_rest


def test_a_timer_gets_the_context_of_the_window_that_shows_a_scene(
    running: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [SimpleNamespace(scene=SimpleNamespace(name=name)) for name in ("Scene", "Second")]
    context = SimpleNamespace(
        window_manager=SimpleNamespace(windows=windows), temp_override=lambda window: contextlib.nullcontext(window)
    )
    with monkeypatch.context() as patch:
        patch.setattr(running.session, "bpy", SimpleNamespace(context=context))
        for name, expected in (("Second", windows[1]), ("nowhere", None)):
            with running.session.within(name) as window:
                assert window is expected


def test_calls_at_every_move_of_the_mouse_do_not_put_the_timer_off(
    running: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, now, planned = running.session, [0.0], [0.1]  # when the tick comes that is registered

    def register(call: Any, first_interval: float, persistent: bool) -> None:
        planned[:] = [now[0] + first_interval]

    timers = SimpleNamespace(register=register, unregister=lambda call: planned.clear(), is_registered=bool)
    monkeypatch.setattr(session, "bpy", SimpleNamespace(app=SimpleNamespace(timers=timers)))
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    monkeypatch.setattr(session, "pump", lambda: False)
    monkeypatch.setitem(session._drawn, "at", 1e9)
    monkeypatch.setitem(session._next, "at", 0.1)
    ticks = 0
    for frame in range(120):  # two seconds of dragging
        now[0] = frame / 60
        if planned[0] <= now[0]:
            ticks += 1
            planned[:] = [now[0] + session._tick()]
        session.soon("mirror", lambda: None, 0.5)
    assert ticks >= 15
    session.wake()  # an answer is awaited
    assert planned[0] <= now[0] + session.ASKED_SECS
