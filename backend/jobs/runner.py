"""Jobs out of the store into worker processes, one at a time, and what becomes of them back into it.

The runner is a thread of the service. It owns the worker process: starts it, turns its lines into events,
stops it when asked to, and says in a sentence what killed it.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.jobs.children import Child
from backend.jobs.store import Store
from segwild_addon.protocol import events
from segwild_addon.protocol.errors import ResourceError, SegWildError
from segwild_addon.protocol.values import Job

CANCEL_GRACE_SECS = 1.0  # then the worker is killed; stages survive that at any instant
ATTEMPTS_MAX = 3  # a job whose worker or service died so often is not started again by itself
DISK_MIN_BYTES = 200 * 2**20
SHORT = ("segment", "objects", "appearance", "export", "evaluate-masks")  # go before long work that only waits
CHANGES: dict[str, tuple[events.Artefact, ...]] = {
    "run": ("cameras", "gaussians", "features"),
    "capture": ("cameras",),
    "train": ("gaussians",),
    "import": ("cameras", "gaussians"),
    "lift": ("features",),
    "segment": ("objects",),
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
        self._cancel: set[str] = set()
        self._current: str | None = None
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

    def submit(self, verb: str, request: dict[str, Any]) -> Job:
        job = self.store.add(verb, request)
        self.told()
        self._wake.set()
        return job

    def cancel(self, job_id: str) -> Job:
        """A waiting job is cancelled at once, a running one within two seconds. Raises KeyError if unknown."""
        job = self.store.job(job_id)
        if job is None:
            raise KeyError(job_id)
        self._cancel.add(job_id)
        self._wake.set()
        return job

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._drop_cancelled()
            waiting = self.store.jobs("queued")
            if not waiting:
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            job = min(waiting, key=lambda job: job.verb not in SHORT)
            try:
                self._work_on(self.store.start(job.id))
            except ResourceError:  # the table could not be written: try again when there may be room
                self._stopping.wait(2.0)

    def _drop_cancelled(self) -> None:
        for job in self.store.jobs("queued"):
            if job.id in self._cancel:
                self.store.cancel(job.id)
                self.told()
        self._cancel.clear()

    def _work_on(self, job: Job) -> None:
        self.told()
        try:
            self._check_disk()
            end = self._end_of(job)
        except SegWildError as error:
            self.store.fail(job.id, error)
            self.told()
            return
        if "result" in end:
            for what in CHANGES.get(job.verb, ()):
                self.store.tell(events.SceneChanged(what))
            self.store.finish(job.id, end["result"])
        elif "cancelled" in end:
            self.store.cancel(job.id)
        else:
            self.store.requeue(job.id)
        self.told()

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.workspace).free
        if free < DISK_MIN_BYTES:
            raise ResourceError(
                "disk-full",
                f"Only {free / 2**20:.0f} MB are free on the disk of {self.workspace}.",
                f"Free at least {DISK_MIN_BYTES / 2**20:.0f} MB and start the job again.",
            )

    def _end_of(self, job: Job) -> dict[str, Any]:
        """Run the worker to its last line, or to {"stopped": True} when the service ends."""
        teller = _Teller(self.store, job.id, self.told)
        worker = Child("backend.jobs.worker", self.log, yielding=True)
        asked_at = None
        try:
            worker.send({"verb": job.verb, "request": job.request})
            while not self._stopping.is_set():
                try:
                    line = worker.lines.get(timeout=0.1)
                except queue.Empty:
                    line = {}
                if line is None:
                    raise ResourceError(
                        "worker-died", worker.why_ended(), "Start the job again: it goes on from its last checkpoint."
                    )
                if "error" in line:
                    raise worker.error_in(line)
                if "result" in line or "cancelled" in line:
                    return line
                teller.tell(line)
                if job.id in self._cancel and asked_at is None:
                    asked_at = time.monotonic()
                    worker.send("cancel")
                if asked_at is not None and time.monotonic() - asked_at > CANCEL_GRACE_SECS:
                    return {"cancelled": True}
            return {"stopped": True}
        finally:
            worker.close()


class _Teller:
    """Turns a worker's lines into events with remaining time."""

    def __init__(self, store: Store, job: str, told: Callable[[], None]) -> None:
        self.store, self.job, self.told = store, job, told
        self.phase, self.total, self.began = "", None, 0.0

    def tell(self, line: dict[str, Any]) -> None:
        if "phase" in line:
            self.phase, self.total, self.began = str(line["phase"]), line["total"], time.monotonic()
            self.store.tell(events.JobProgress(self.job, self.phase, 0, self.total, None, ""))
        elif "done" in line:
            done = int(line["done"])
            left = None
            if self.total and 0 < done <= self.total:
                left = round((time.monotonic() - self.began) / done * (self.total - done), 1)
            self.store.tell(events.JobProgress(self.job, self.phase, done, self.total, left, str(line["note"])))
        elif "warn" in line:
            items = tuple(str(item) for item in line["items"])
            self.store.tell(events.JobWarned(self.job, str(line["warn"]), str(line["sentence"]), items))
        else:
            return
        self.told()
