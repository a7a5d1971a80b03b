"""Clicks through the client on a large scene while its service trains -> seconds, part of `benchmarks.service`.

Everything is what a person has: the client starts the service, which starts a worker that answers and one that trains
with all cores. A click is a question and the rows that answer it, read; each is in another place, so that none is
remembered. In turns they are pixels of a photo and places in the scene, one alone or one with a second beside it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from backend.scene import Workspace
from segwild_addon.client import Backend, Launch
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.events import JobFailed, JobProgress, Numbered
from segwild_addon.protocol.questions import Choose, Prepare, Preview
from segwild_addon.protocol.values import Mark

ROOT = Path(__file__).parents[1]
THINK_SECS = 1.0  # between two clicks
READY_SECS = 600.0  # compilers may be at work
GOLDEN = np.array([0.7548776662, 0.5698402910])  # steps of the R2 sequence (Roberts 2018): even and never twice
Figures = dict[str, tuple[float, str]]


def enlarge(root: Path, count: int) -> None:
    """Give the scene at least `count` rows, and the features that they inherit. Its objects are not those any more."""
    from backend.features import Lifted, colour
    from benchmarks.selection_latency import grown

    workspace = Workspace.open(root)
    lifted = Lifted.load(workspace, colour.NAME)
    scene, parents = grown(workspace.gaussians(), count)
    scene.save(workspace.splats)
    if lifted is not None:
        names = ("features", "confidence", "mass", "unseen")
        Lifted(*(getattr(lifted, name)[parents] for name in names)).save(workspace, colour.NAME)


def enlarged(root: Path, count: int) -> None:
    """`enlarge` in a process of its own: ours stays light."""
    process = multiprocessing.get_context("spawn").Process(target=enlarge, args=(root, count))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the scene could not be enlarged")


def questions(root: Path, view: str) -> Iterator[tuple[str, Any]]:
    """Kinds and questions without end."""
    workspace = Workspace.open(root)
    photo, scene = workspace.photo(view), workspace.gaussians()
    assert photo.camera is not None
    camera = photo.camera
    pixels, depths = camera.project(scene.means.astype(float))
    inside = ((pixels > 0) & (pixels < (camera.width, camera.height))).all(1) & (depths > 0)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(inside & (scene.opacities > 0.8)))

    def marked(row: int, positive: bool) -> Mark:
        position = tuple(scene.means[row].astype(float).tolist())
        return Mark(position, tuple(camera.centre.tolist()), float(depths[row] / camera.fx), positive)

    for number in itertools.count():
        places = [(0.2 + 0.6 * ((n * GOLDEN) % 1)) * (photo.width, photo.height) for n in (number, number + 0.5)]
        words = tuple(f"{x:.0f},{y:.0f},{sign}" for (x, y), sign in zip(places, "+-", strict=True))
        marks = (marked(rows[2 * number % len(rows)], True), marked(rows[(2 * number + 1) % len(rows)], False))
        few = 1 + number % 2
        yield "click", Preview(view, words[:few])
        yield "mark", Choose(marks[:few])


class Clicker:
    """Asks one question after the other."""

    def __init__(self, backend: Backend, root: Path, view: str) -> None:
        self.backend, self.questions = backend, questions(root, view)

    def clicked(self, secs: float) -> dict[str, list[float]]:
        """Seconds of every click, by kind."""
        took: dict[str, list[float]] = {"click": [], "mark": []}
        until = time.monotonic() + secs
        while time.monotonic() < until or not all(took.values()):
            kind, question = next(self.questions)
            began = time.perf_counter()
            try:
                self.backend.array(self.backend.ask(question).rows).sum()
            except InputError:
                continue  # the sky
            took[kind].append(time.perf_counter() - began)
            time.sleep(THINK_SECS)
        return took


class Health(threading.Thread):
    """Asks how the service is, twenty times a second."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(daemon=True)
        self.backend, self.ending, self.took = backend, threading.Event(), list[float]()

    def run(self) -> None:
        while not self.ending.wait(0.05):
            began = time.perf_counter()
            self.backend.health()
            self.took.append(time.perf_counter() - began)


class Listener:
    """What the training tells."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.steps = backend, 0

    def look(self) -> int:
        """Steps done by now."""
        while not self.backend.news.empty():
            item = self.backend.news.get()
            if isinstance(item, Numbered) and isinstance(item.event, JobFailed):
                raise RuntimeError(item.event.sentence)
            if isinstance(item, Numbered) and isinstance(item.event, JobProgress) and item.event.phase == "Training":
                self.steps = item.event.done
        return self.steps


def during_training(root: Path, view: str, count: int, secs: float) -> Figures:
    """`root` is changed: it gets `count` rows, and a training is begun. Half of `secs` goes to clicks beside it."""
    enlarged(root, count)
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    backend = Backend(Launch((sys.executable, "-P", "-m", "backend"), root, root / "clicks.log", (), environment))
    backend.start()
    try:
        _until(lambda: backend.status.state == "running" and backend.listening)
        gaussians = backend.ask(Prepare(view), timeout_secs=READY_SECS).gaussians
        clicker, listener, health = Clicker(backend, root, view), Listener(backend), Health(backend)
        clicker.clicked(0.0)  # compiled by now
        idle = clicker.clicked(secs / 4)
        job = backend.submit("train", preset="full", iterations=100_000, restart=True, seed=9, snapshot_secs=2)
        _until(lambda: listener.look() > 0)
        health.start()
        first = listener.look()
        time.sleep(secs / 4)
        alone = (listener.look() - first) / (secs / 4)
        first, began = listener.look(), time.monotonic()
        busy = clicker.clicked(secs / 2)
        beside = (listener.look() - first) / (time.monotonic() - began)
        health.ending.set()
        health.join()
        began = time.perf_counter()
        backend.cancel(job.id)
        _until(lambda: backend.job(job.id).state == "cancelled")
        cancelled = time.perf_counter() - began
    finally:
        backend.stop()
    figures: Figures = {"service/gaussians": (gaussians, "rows")}
    for kind in ("click", "mark"):
        figures[f"service/{kind}_idle"] = (statistics.median(idle[kind]), "s")
        figures[f"service/{kind}_training"] = (statistics.median(busy[kind]), "s")
        figures[f"service/{kind}_max_training"] = (max(busy[kind]), "s")
    return figures | {
        "service/clicks_training": (sum(map(len, busy.values())), "clicks"),
        "service/steps_alone": (alone, "1/s"),
        "service/steps_beside_clicks": (beside, "1/s"),
        "service/health_median_training": (1e3 * statistics.median(health.took), "ms"),
        "service/health_p99_training": (1e3 * float(np.percentile(health.took, 99)), "ms"),
        "service/health_max_training": (1e3 * max(health.took), "ms"),
        "service/cancel": (cancelled, "s"),
    }


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + READY_SECS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("waited in vain")
        time.sleep(0.01)
