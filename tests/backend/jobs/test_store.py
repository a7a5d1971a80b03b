"""The job table: every step and its event together or not at all, whatever happens to the file."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.jobs import store as stores
from backend.jobs.states import AFTER, FINAL, WrongState, checked
from backend.jobs.store import Store
from segwild_addon.protocol.errors import InputError, ResourceError
from segwild_addon.protocol.events import (
    JobCancelled,
    JobDone,
    JobFailed,
    JobProgress,
    JobQueued,
    JobStarted,
    SceneChanged,
)

STEPS = {
    "running": lambda store, job: store.start(job),
    "done": lambda store, job: store.finish(job, {"a": 1}),
    "failed": lambda store, job: store.fail(job, InputError("code", "Sentence.", "Hint.")),
    "cancelled": lambda store, job: store.cancel(job),
    "queued": lambda store, job: store.requeue(job),
}
TOLD = {"running": JobStarted, "done": JobDone, "failed": JobFailed, "cancelled": JobCancelled, "queued": JobQueued}
WAYS = {"queued": (), "running": ("running",)} | {state: ("running", state) for state in FINAL}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "jobs.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(AFTER, AFTER)))
def test_every_step_of_the_table_and_no_other(store: Store, before: str, after: str) -> None:
    job = store.add("export", {}).id
    for state in WAYS[before]:
        STEPS[state](store, job)
    seq, held = store.last_seq(), store.job(job)
    if after in AFTER[before]:  # type: ignore[index]
        assert STEPS[after](store, job).state == after == store.job(job).state  # type: ignore[union-attr]
        (numbered,) = store.events_after(seq)
        assert type(numbered.event) is TOLD[after]
        assert numbered.event.job == job
    else:
        with pytest.raises(WrongState):
            STEPS[after](store, job)
        assert store.job(job) == held
        assert store.events_after(seq) == []


def test_the_table_of_states_ends(store: Store) -> None:
    assert {"done", "failed", "cancelled"} == FINAL
    with pytest.raises(WrongState):
        checked("done", "running")
    with pytest.raises(KeyError):
        store.start("unknown")


def test_jobs_keep_their_order_and_place(store: Store) -> None:
    ids = [store.add("export", {"n": n}).id for n in range(5)]
    store.start(ids[0])
    store.requeue(ids[0])
    assert [job.id for job in store.jobs("queued")] == ids
    assert [job.request["n"] for job in store.jobs()] == [0, 1, 2, 3, 4]
    assert store.job(ids[0]).attempts == 1  # type: ignore[union-attr]
    store.start(ids[0])
    assert store.requeue(ids[0], counted=False).attempts == 1


def test_a_failure_and_a_result_come_back_as_they_went_in(store: Store, tmp_path: Path) -> None:
    failed, done = store.add("export", {}).id, store.add("train", {}, snapshot_secs=2.5).id
    store.start(failed)
    store.fail(failed, InputError("code", "Sentence.", "Hint."))
    store.start(done)
    store.finish(done, {"x": [1, None]}, [SceneChanged("gaussians")])
    store.close()
    again = Store(tmp_path / "jobs.sqlite")
    assert again.recovered is None
    assert (again.job(failed).error.code, again.job(failed).error.hint) == ("code", "Hint.")  # type: ignore[union-attr]
    assert (again.job(done).result, again.job(done).snapshot_secs) == ({"x": [1, None]}, 2.5)  # type: ignore[union-attr]
    told = [type(numbered.event) for numbered in again.events_after(0)]
    assert told[-2:] == [SceneChanged, JobDone]
    assert [numbered.seq for numbered in again.events_after(0)] == list(range(1, len(told) + 1))
    again.close()


def test_an_event_that_cannot_be_written_takes_its_step_with_it(store: Store) -> None:
    job = store.add("export", {}).id
    store.start(job)
    with pytest.raises(ValueError, match="JSON"):
        store.finish(job, {"x": 1}, [JobProgress(job, "", 0, None, float("nan"), "")])
    assert store.job(job).state == "running"  # type: ignore[union-attr]
    assert store.last_seq() == 2
    store.finish(job, {})  # the lock was let go


def test_a_full_disk_is_a_sentence_and_no_deadlock(store: Store) -> None:
    job = store.add("export", {}).id
    pages = store._connection.execute("pragma page_count").fetchone()[0]
    store._connection.execute(f"pragma max_page_count = {pages}")

    def fill() -> None:
        for _ in range(1000):
            store.tell(JobProgress(job, "x" * 1000, 0, None, None, ""))

    with pytest.raises(ResourceError, match="full"):
        fill()
    seq = store.last_seq()
    store._connection.execute("pragma max_page_count = 100000")
    assert store.start(job).state == "running"
    assert [numbered.seq for numbered in store.events_after(0)] == list(range(1, seq + 2))


def test_numbers_go_on_after_a_restart_even_if_all_was_trimmed(store: Store, tmp_path: Path) -> None:
    for number in range(10):
        store.tell(JobProgress("job", "", number, None, None, ""))
    store._connection.execute("delete from events")
    store.close()
    again = Store(tmp_path / "jobs.sqlite")
    assert again.last_seq() == 10
    assert again.tell(SceneChanged("objects")) == 11
    again.close()


def test_old_progress_is_forgotten_and_starts_and_ends_are_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "EVENTS_KEPT", 100)
    monkeypatch.setattr(stores, "TRIM_EVERY", 50)
    job = store.add("train", {}).id
    store.start(job)
    for number in range(500):
        store.tell(JobProgress(job, "", number, None, None, ""))
    store.finish(job, {})
    told = [numbered.event for numbered in store.events_after(0)]
    assert [type(event) for event in told if not isinstance(event, JobProgress)] == [JobQueued, JobStarted, JobDone]
    assert 100 <= len(told) <= 160
    kept = [event.done for event in told if isinstance(event, JobProgress)]
    assert kept == list(range(500 - len(kept), 500))  # what is left has no gaps


def test_ended_jobs_are_forgotten_in_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "JOBS_KEPT", 5)
    waiting = store.add("train", {}).id
    ids = [store.add("export", {}).id for _ in range(9)]
    for job in ids:
        store.start(job)
        store.finish(job, {})
    assert [job.id for job in store.jobs()] == [waiting, *ids[-5:]]
    assert {numbered.event.job for numbered in store.events_after(0)} == {waiting, *ids[-5:]}
    # The first in the queue is the last to end: it is the newest, and whoever waits for it hears of it.
    store.start(waiting)
    store.finish(waiting, {})
    assert store.job(waiting).state == "done"  # type: ignore[union-attr]
    assert [job.id for job in store.jobs()] == [waiting, *ids[-4:]]
    assert store.events_after(store.last_seq() - 1)[0].event == JobDone(waiting, {})


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_set_aside_and_never_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "jobs.sqlite"
    first = Store(path)
    for number in range(200):
        first.add("export", {"n": number})
    first.close()
    whole = path.read_bytes()
    broken = {
        0: whole[: len(whole) // 2],
        1: whole[:100],
        2: chance.randbytes(5000),
        3: whole[:2000] + chance.randbytes(len(whole) - 2000),
        4: b"not a table at all" * 100,
        5: whole[:-100] + chance.randbytes(100)[:0] + b"\xff" * 100,
    }[seed]
    path.write_bytes(broken)
    store = Store(path)
    if store.recovered is None:
        assert len(store.jobs()) <= 200  # the damage hit nothing that is read
    else:
        assert store.recovered.read_bytes() == broken
        assert store.jobs() == []
    job = store.add("export", {}).id
    assert store.start(job).attempts == 1
    store.close()


def test_an_empty_file_and_one_of_another_format_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").touch()
    store = Store(tmp_path / "a.sqlite")
    assert store.recovered is None
    store.close()
    for number, statement in enumerate(("pragma user_version = 99", "create table jobs (id text)")):
        path = tmp_path / f"b{number}.sqlite"
        foreign = sqlite3.connect(path)
        foreign.execute(statement)
        foreign.close()
        store = Store(path)
        assert store.recovered is not None
        store.add("export", {})
        store.close()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be used"):
        Store(tmp_path / "missing" / "jobs.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(ResourceError):
        Store(tmp_path / "folder.sqlite")


def test_a_clock_that_jumps_changes_no_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2e9, 1e9, 3e9, -5.0, 0.0] * 20)
    monkeypatch.setattr(time, "time", lambda: next(times))
    ids = [store.add("export", {}).id for _ in range(5)]
    for job in ids:
        store.start(job)
        store.finish(job, {})
    assert [job.id for job in store.jobs()] == ids
    assert [numbered.seq for numbered in store.events_after(0)] == list(range(1, 16))


def test_threads_share_it(store: Store) -> None:
    def work() -> None:
        for _ in range(30):
            job = store.add("export", {}).id
            store.start(job)
            store.finish(job, {})

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.jobs("done")) == 180
    assert [numbered.seq for numbered in store.events_after(0)] == list(range(1, 541))


WRITER = """
import itertools, pathlib, sys
from backend.jobs.store import Store
store = Store(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
for number in itertools.count():
    job = store.add("export", {"n": number}).id
    store.start(job)
    store.finish(job, {}) if number % 2 else store.requeue(job)
    print(number, flush=True)
"""


@pytest.mark.parametrize("kill", range(3))
def test_a_killed_writer_leaves_states_and_events_in_step(tmp_path: Path, kill: int) -> None:
    path = tmp_path / "jobs.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(random.Random(kill).uniform(0.05, 0.4))
    writer.kill()
    said = [line for line in writer.stdout.read().splitlines() if line.isdigit()]
    writer.stdout.close()
    writer.wait()
    store = Store(path)
    assert store.recovered is None
    jobs = {job.id: job for job in store.jobs()}
    last = {}
    for numbered in store.events_after(0, 10**6):
        last[numbered.event.job] = numbered.event
    assert set(last) == set(jobs)
    for job in jobs.values():
        assert type(last[job.id]) is TOLD[job.state]
    assert len(jobs) >= len(said)  # what was told is there
    store.close()
