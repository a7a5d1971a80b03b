"""What a worker says, and what the runner makes of it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.jobs import runner, worker
from backend.jobs.store import Store
from backend.jobs.worker import Orders, Reporter
from backend.progress import Cancelled
from backend.scene import Workspace
from segwild_addon.protocol import codec
from segwild_addon.protocol.events import JobProgress, JobWarned, SceneChanged
from segwild_addon.protocol.values import Snapshot


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_progress_is_told_a_few_times_a_second_and_stops_when_asked() -> None:
    out, orders = io.StringIO(), Orders()
    reporter = Reporter(out, orders)
    reporter.phase("Training", 100_000)
    until = time.monotonic() + 0.7
    while time.monotonic() < until:
        reporter.advance(1, "loss")
    assert 1 <= len([line for line in lines(out) if "done" in line]) <= 4
    orders.obey("cancel")
    with pytest.raises(Cancelled):
        reporter.advance()


def test_it_rests_between_two_steps_while_held_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HOLD_SECS", 60.0)
    orders = Orders()
    reporter = Reporter(io.StringIO(), orders)
    steps: list[int] = []

    def work() -> None:
        for step in range(3):
            steps.append(step)
            reporter.advance()

    orders.obey("hold")
    for order, done in (("go", 3), ("cancel", 1)):
        steps.clear()
        orders.obey("hold")
        with pytest.raises(Cancelled) if order == "cancel" else contextlib.nullcontext():
            threading.Timer(0.2, orders.obey, (order,)).start()
            work()
        assert len(steps) == done
    orders = Orders()
    reporter = Reporter(io.StringIO(), orders)
    monkeypatch.setattr(worker, "HOLD_SECS", 0.05)
    orders.obey("hold")
    work()  # who asks without end does not stop it


def test_what_could_not_be_computed_is_null() -> None:
    out = io.StringIO()
    Reporter(out, Orders()).say({"result": {"psnr": float("inf"), "all": [float("nan"), 1.5]}})
    assert lines(out) == [{"result": {"psnr": None, "all": [None, 1.5]}}]


def arrays() -> dict[str, np.ndarray]:
    made = {name: np.ones((5, 3), np.float32) for name in ("means", "colors", "scales")}
    return made | {
        "quats": np.ones((5, 4), np.float32),
        "opacities": np.ones(5, np.float32),
        "gaussians": np.asarray(7),
    }


def test_snapshots_are_made_only_when_asked_for_and_due(tmp_path: Path) -> None:
    def never() -> Any:
        raise AssertionError("nobody asked")

    Reporter(io.StringIO(), Orders(), tmp_path, 0.0).show(never)
    out = io.StringIO()
    reporter = Reporter(out, Orders(), tmp_path, 0.2)
    reporter.show(never)  # not due yet
    time.sleep(0.25)
    reporter.show(arrays)
    reporter.show(never)
    (line,) = lines(out)
    made = codec.fields_in(Snapshot, line["snapshot"])
    assert (made.gaussians, made.means.shape) == (7, (5, 3))
    assert np.array_equal(np.load(tmp_path / made.quats.path, allow_pickle=False), np.ones((5, 4)))


def test_a_disk_without_room_ends_the_snapshots_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise worker.ResourceError("disk-full", "The disk is full.")

    monkeypatch.setattr(worker, "handed_out", full)
    out = io.StringIO()
    reporter = Reporter(out, Orders(), tmp_path, 0.01)
    time.sleep(0.02)
    reporter.show(arrays)
    assert out.getvalue() == ""


def test_lines_become_events_with_remaining_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    store = Store(tmp_path / "jobs.sqlite")
    teller = runner._Teller(store, "job", lambda: None)
    teller.tell({"phase": "Training", "total": 1000})
    for now[0], done in ((100.5, 800), (110.5, 850), (120.5, 900)):  # 800 were there: it was resumed
        teller.tell({"done": done, "note": "loss 0.1"})
    teller.tell({"warn": "code", "sentence": "Sentence.", "items": ["a"]})
    teller.tell({"phase": "Saving", "total": None})
    teller.tell({"done": 3, "note": ""})
    told = [numbered.event for numbered in store.events_after(0)]
    left = [event.eta_secs for event in told if isinstance(event, JobProgress)]
    assert left == [None, None, 30.0, 20.0, None, None]
    assert [event.items for event in told if isinstance(event, JobWarned)] == [("a",)]
    store.close()


def test_a_snapshot_becomes_a_change_of_the_scene(tmp_path: Path) -> None:
    out = io.StringIO()
    reporter = Reporter(out, Orders(), tmp_path, 0.01)
    time.sleep(0.02)
    reporter.show(arrays)
    store = Store(tmp_path / "jobs.sqlite")
    runner._Teller(store, "job", lambda: None).tell(lines(out)[0])
    (numbered,) = store.events_after(0)
    assert isinstance(numbered.event, SceneChanged)
    assert numbered.event.what == "snapshot"
    assert numbered.event.snapshot is not None
    assert numbered.event.snapshot.gaussians == 7
    store.close()


LIMITED = """
import resource, sys
import numba, torch
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own size from /proc")
@pytest.mark.parametrize("through", ["worker", "command"])
def test_memory_that_runs_out_is_a_sentence_with_a_way_out(hollow_splats: Path, tmp_path: Path, through: str) -> None:
    """With a gigabyte to spare."""
    scene = tmp_path / "scene"
    words, last = [], "from backend.jobs.worker import main; main()"
    if through == "command":
        words = ["import", str(hollow_splats), "--out", str(scene), "--json"]
        last = "from backend.cli import main; sys.exit(main())"
    else:
        Workspace.create(scene)
    order = {"verb": "import", "request": {"file": str(hollow_splats), "out": str(scene)}, "workspace": str(scene)}
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED + last, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as limited:
        assert limited.stdin is not None
        assert limited.stdout is not None
        limited.stdin.write(json.dumps(order | {"snapshot_secs": 0}) + "\n")
        limited.stdin.flush()
        said = json.loads(limited.stdout.readlines()[-1])
    assert said["code" if through == "worker" else "error"] == "out-of-memory", said
    assert "fewer Gaussians" in said["hint"]
    assert not list(scene.glob("splats/*"))
