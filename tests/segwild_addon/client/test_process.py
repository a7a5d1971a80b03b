"""The backend's process is started, watched and stopped through every way it can misbehave."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segwild_addon.client import process, restarts
from segwild_addon.client.process import Launch, Supervisor
from segwild_addon.client.status import Status

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths."""
    monkeypatch.setattr(restarts, "FIRST_SECS", 0.05)
    monkeypatch.setattr(process, "HEALTH_EVERY_SECS", 0.3)
    monkeypatch.setattr(process, "HEALTH_SECS", 0.3)
    monkeypatch.setattr(process, "STOP_SECS", 0.5)


class Watched:
    """A supervisor with all its states so far."""

    def __init__(self, launch: Launch) -> None:
        self.states: list[Status] = []
        self.supervisor = Supervisor(launch, self.states.append)
        self.supervisor.start()

    def wait(self, wait_until: Callable, *states: str) -> Status:
        return wait_until(lambda: next((status for status in self.states if status.state in states), None))


@pytest.fixture
def started(fake_launch):
    watched: list[Watched] = []

    def start(fault: str = "", **changes) -> Watched:
        watched.append(Watched(fake_launch(fault, **changes)))
        return watched[-1]

    yield start
    for one in watched:
        one.supervisor.stop()
        assert one.supervisor.status.state in ("stopped", "failed")
        assert one.supervisor.http is None


def pid(watched: Watched) -> int:
    assert watched.supervisor.http is not None
    return watched.supervisor.http.get("/v1/health")["pid"]


def test_it_starts_answers_and_ends_without_a_trace(started, wait_until, alive) -> None:
    watched = started()
    watched.wait(wait_until, "running")
    number = pid(watched)
    assert alive(number)
    arguments = Path(f"/proc/{number}/cmdline")
    if arguments.exists():
        assert watched.supervisor.http.address.token.encode() not in arguments.read_bytes()
    watched.supervisor.stop()
    assert not alive(number)
    assert [status.state for status in watched.states] == ["starting", "running", "stopped"]


@pytest.mark.parametrize(
    ("fault", "state", "code", "word"),
    [
        ("no-handshake", "lost", "backend-silent", "did not start"),
        ("garbage-handshake", "failed", "bad-handshake", "not a SegWild backend"),
        ("odd-output", "failed", "bad-handshake", "not a SegWild backend"),
        ("wrong-version", "failed", "wrong-version", "version 99"),
        ("die-at-start", "lost", "backend-died", "the fake has a bad day"),
        ("die-soon", "lost", "backend-died", "memory ran out"),
        ("hang", "lost", "backend-silent", "no answer"),
        ("nonsense", "failed", "bad-answer", "not a SegWild backend"),
        ("garbage", "failed", "bad-answer", "not a SegWild backend"),
    ],
)
def test_every_misbehaviour_is_a_state_with_a_sentence(
    started, wait_until, fault: str, state: str, code: str, word: str
) -> None:
    watched = started(fault, handshake_secs=0.6 if fault == "no-handshake" else 20.0)
    status = watched.wait(wait_until, "lost", "failed")
    assert (status.state, status.code) == (state, code)
    assert word in status.sentence
    assert status.hint


@pytest.mark.parametrize("fault", ["talk", "deaf"])
def test_a_talkative_or_deaf_backend_is_stopped_all_the_same(started, wait_until, alive, fault: str) -> None:
    watched = started(fault)
    watched.wait(wait_until, "running")
    number = pid(watched)
    began = time.monotonic()
    watched.supervisor.stop()
    assert time.monotonic() - began < 3.0
    assert not alive(number)


def test_a_killed_backend_is_started_again(started, wait_until) -> None:
    watched = started()
    watched.wait(wait_until, "running")
    first = pid(watched)
    os.kill(first, signal.SIGKILL)
    lost = watched.wait(wait_until, "lost")
    assert lost.code == "backend-died"
    assert lost.retry_secs is not None
    wait_until(lambda: [status.state for status in watched.states].count("running") == 2)
    assert pid(watched) != first


def test_a_backend_that_dies_again_and_again_is_given_up_until_asked(started, wait_until) -> None:
    watched = started("die-at-start")
    status = watched.wait(wait_until, "failed")
    assert status.code == "backend-died"
    assert [status.state for status in watched.states].count("lost") == 3
    watched.supervisor.start()
    wait_until(lambda: [status.state for status in watched.states].count("failed") == 2)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP on this system")
def test_nothing_is_started_beside_a_backend_that_hangs(started, wait_until) -> None:
    watched = started()
    watched.wait(wait_until, "running")
    number = pid(watched)
    os.kill(number, signal.SIGSTOP)
    assert watched.wait(wait_until, "lost").code == "backend-silent"
    time.sleep(0.5)
    os.kill(number, signal.SIGCONT)
    wait_until(lambda: watched.supervisor.status.state == "running")
    assert pid(watched) == number
    assert [status.state for status in watched.states] == ["starting", "running", "lost", "running"]


def test_a_python_that_is_not_there_is_said(fake_launch, wait_until) -> None:
    watched = Watched(dataclasses.replace(fake_launch(), command=("/nowhere/python",)))
    assert watched.wait(wait_until, "failed").code == "backend-missing"
    watched.supervisor.stop()


def test_variables_of_this_python_do_not_reach_it(started, wait_until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # it could not even start
    started().wait(wait_until, "running")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_it_ends_when_we_are_killed(fake_launch, wait_until, alive) -> None:
    launch = fake_launch()
    script = (
        "import pathlib, sys, time; from segwild_addon.client.process import *\n"
        f"one = Supervisor(Launch({launch.command!r}, pathlib.Path({str(launch.workspace)!r}), "
        f"pathlib.Path({str(launch.log)!r})))\n"
        "one.start()\n"
        "while one.status.state != 'running': time.sleep(0.05)\n"
        "print(one.http.get('/v1/health')['pid'], flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert alive(number)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: not alive(number), 5.0)


def test_starting_and_stopping_in_any_order(fake_launch) -> None:
    one = Supervisor(fake_launch())
    one.stop()
    one.start()
    one.start()
    one.stop()
    one.stop()
    one.start()
    one.stop()
    assert one.status.state == "stopped"
