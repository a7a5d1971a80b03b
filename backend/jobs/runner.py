"""Jobs out of the store into worker processes, one at a time, and what becomes of them back into it.

The runner is a thread of the service. It owns the worker process: starts it, turns its lines into events,
stops it when asked to, lets it rest while someone waits for an answer, and says in a sentence what killed it.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backend.children import Child
from backend.jobs import needs
from backend.jobs.store import Store
from backend.scene import Workspace
from backend.scene.files import disk_trouble
from segwild_addon.protocol import codec, events
from segwild_addon.protocol.errors import ResourceError, SegWildError
from segwild_addon.protocol.values import Job, Snapshot

CANCEL_GRACE_SECS = 1.0  # then the worker is killed; stages survive that at any instant
ATTEMPTS_MAX = 3  # a job whose worker or service died so often is not started again by itself
RETRY_SECS = 1.0
COURSE_KEPT = 150  # reports, half a minute, from which the remaining time follows
SHORT = ("segment", "objects", "appearance", "export", "evaluate-masks")  # overtake ...
PATIENT = ("render", "evaluate", "embed")  # ... these, and nothing that changes what they would work on
CHANGES: dict[str, tuple[events.Artefact, ...]] = {
    "run": ("cameras", "gaussians", "features"),
    "capture": ("cameras",),
    "train": ("gaussians",),
    "import": ("cameras", "gaussians"),
    "lift": ("features",),
    "affinity": ("features", "objects"),
    "segment": ("objects",),
    "transfer": ("objects",),
    "objects": ("objects",),
    "appearance": ("appearance",),
}


class Runner:
    """Works off the queue of one workspace. `start` it once, `stop` it at the end."""

    def __init__(self, store: Store, workspace: Path, log: Path, told: Callable[[], None] = lambda: None) -> None:
        """`told` is called, from the runner's thread, after every event."""
        self.store, self.workspace, self.log, self.told = store, workspace, log, told
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._cancel: str | None = None  # the running job that someone wants stopped
        self._hold = False  # whether jobs should rest
        self._worker: Child | None = None  # of the running job
        self._turn = threading.Lock()  # held while a job changes from waiting to something else
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up what an earlier service left running, then work until `stop`."""
        for job in self.store.jobs("running"):
            if job.attempts >= ATTEMPTS_MAX:
                self.store.fail(
                    job.id,
                    SegWildError(
                        "interrupted",
                        f"The job was interrupted {job.attempts} times.",
                        "Start it again: it goes on from its last checkpoint.",
                    ),
                )
            else:
                self.store.requeue(job.id)
        self._thread.start()

    def stop(self) -> None:
        """End the worker; its job waits in the queue for the next service."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def submit(self, verb: str, request: dict[str, Any], *, snapshot_secs: float = 0.0) -> Job:
        job = self.store.add(verb, request, snapshot_secs=snapshot_secs)
        self.told()
        self._wake.set()
        return job

    def cancel(self, job_id: str) -> Job:
        """A waiting job is cancelled at once, a running one within two seconds, an ended one stays as it is.

        Raises KeyError if unknown.
        """
        with self._turn:
            job = self.store.job(job_id)
            if job is None:
                raise KeyError(job_id)
            if job.state == "queued":
                job = self.store.cancel(job_id)
                self.told()
            elif job.state == "running":
                self._cancel = job_id
        return job

    def hold(self, hold: bool) -> None:
        """Let the running job rest between two steps, or go on: a click should have the cores to itself.

        Niceness alone leaves a tenth of the time to the job, on some systems half. Returns at once.
        """
        self._hold = hold
        if (worker := self._worker) is not None:
            worker.lines.put({})  # the thread looks at once

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._next()
            except ResourceError:  # the table cannot be written: try again when there may be room
                self._stopping.wait(RETRY_SECS)
                continue
            if job is None:
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            self.told()
            trained_at = Workspace(self.workspace).trained_at
            end = self._end_of(job)
            changes = self._changes(job, end, trained_at)
            self._record(lambda job=job, end=end, changes=changes: self._enter(job, end, changes))  # type: ignore[misc]

    def _next(self) -> Job | None:
        """The job whose turn it is, as running."""
        with self._turn:
            waiting = self.store.jobs("queued")
            if not waiting:
                return None
            self._cancel = None
            return self.store.start(_first(waiting).id)

    def _record(self, enter: Callable[[], None]) -> None:
        """Write what became of a job, however long the disk stays full; the next service would do it again."""
        while True:
            try:
                enter()
            except ResourceError:
                if self._stopping.wait(RETRY_SECS):
                    return
            else:
                self.told()
                return

    def _changes(self, job: Job, end: dict[str, Any] | SegWildError, trained_at: int) -> list[events.SceneChanged]:
        """What a job may have changed, however it ended: many keep one thing after another.

        Whoever hears that the Gaussians are others lets go of what was selected: of a job that did not end well that is
        told only if they are.
        """
        done = isinstance(end, dict) and "result" in end
        same = not done and Workspace(self.workspace).trained_at == trained_at
        return [events.SceneChanged(what) for what in CHANGES.get(job.verb, ()) if what != "gaussians" or not same]

    def _enter(self, job: Job, end: dict[str, Any] | SegWildError, changes: Sequence[events.SceneChanged]) -> None:
        if isinstance(end, SegWildError):
            self.store.fail(job.id, end, changes)
        elif "result" in end:
            self.store.finish(job.id, end["result"], changes)
        elif "cancelled" in end:
            self.store.cancel(job.id, changes)
        else:
            self.store.requeue(job.id, counted=False)

    def _end_of(self, job: Job) -> dict[str, Any] | SegWildError:
        """Run the job to its worker's last line, its failure, or {"stopped": True} when the service ends."""
        try:
            needs.check(job.verb, job.request, self.workspace)
            return self._worked(job)
        except SegWildError as error:
            return error
        except OSError as error:
            return disk_trouble(error, self.workspace)
        except Exception as error:  # a mistake of ours must not end the queue
            traceback.print_exc()
            return SegWildError("unexpected", f"The job failed: {error!r}.", "Report it with the service's output.")

    def _worked(self, job: Job) -> dict[str, Any]:
        teller = _Teller(self.store, job.id, self.told)
        worker = Child("backend.jobs.worker", self.log, yielding=True)
        asked_at, held = None, False
        self._worker = worker
        try:
            order = {"verb": job.verb, "request": job.request, "workspace": str(self.workspace)}
            worker.send(order | {"snapshot_secs": job.snapshot_secs})
            while not self._stopping.is_set():
                try:
                    line = worker.lines.get(timeout=0.1)
                except queue.Empty:
                    line = {}
                if line is None:
                    raise worker.failure("Start the job again: it goes on from its last checkpoint.")
                if "error" in line:
                    raise worker.error_in(line)
                if "result" in line or "cancelled" in line:
                    return line
                teller.tell(line)
                if self._hold != held:
                    held = not held
                    worker.send("hold" if held else "go")
                if self._cancel == job.id and asked_at is None:
                    asked_at = time.monotonic()
                    worker.send("cancel")
                if asked_at is not None and time.monotonic() - asked_at > CANCEL_GRACE_SECS:
                    return {"cancelled": True}
            return {"stopped": True}
        finally:
            self._worker = None
            worker.close()


def _first(waiting: list[Job]) -> Job:
    """In the order in which they were asked for, but that short work overtakes long work that only reads."""
    for job in waiting:
        if job.verb in SHORT:
            return job
        if job.verb not in PATIENT:
            break
    return waiting[0]


class _Teller:
    """Turns a worker's lines into events with remaining time."""

    def __init__(self, store: Store, job: str, told: Callable[[], None]) -> None:
        self.store, self.job, self.told = store, job, told
        self.phase, self.total = "", None
        # When how much was done, of late. Not from the phase's start: what a resumed job finds done took no time.
        self.course: deque[tuple[float, int]] = deque(maxlen=COURSE_KEPT)

    def tell(self, line: dict[str, Any]) -> None:
        event = self._event(line)
        if event is None:
            return
        try:
            self.store.tell(event)
        except ResourceError:
            return  # the disk is full: the job itself may still end well
        self.told()

    def _event(self, line: dict[str, Any]) -> Any:
        if "phase" in line:
            self.phase, self.total = str(line["phase"]), line["total"]
            self.course.clear()
            return events.JobProgress(self.job, self.phase, 0, self.total, None, "")
        if "done" in line:
            done = int(line["done"])
            self.course.append((time.monotonic(), done))
            return events.JobProgress(self.job, self.phase, done, self.total, self._left(done), str(line["note"]))
        if "warn" in line:
            items = tuple(str(item) for item in line["items"])
            return events.JobWarned(self.job, str(line["warn"]), str(line["sentence"]), items)
        if "snapshot" in line:
            return events.SceneChanged("snapshot", codec.fields_in(Snapshot, line["snapshot"]))
        return None

    def _left(self, done: int) -> float | None:
        began, first = self.course[0]
        if not self.total or done <= first:
            return None
        return round((time.monotonic() - began) / (done - first) * max(0, self.total - done), 1)
