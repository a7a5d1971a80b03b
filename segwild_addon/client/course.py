"""The events of jobs into what a person wants to know of one: where it is, how long it takes, what went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..protocol import events
from ..protocol.events import State
from ..protocol.values import Failure, Job

WARNINGS_MAX = 50  # kept per job
KEPT = 50  # jobs
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
# What a verb goes through, as an artist would call it; the phases of the backend are finer.
STAGES: dict[str, tuple[str, ...]] = {
    "run": ("Cameras", "Training", "Features"),
    "capture": ("Cameras",),
    "train": ("Training",),
    "embed": ("Features",),
    "lift": ("Features",),
}
_STAGE_OF = {
    "Looking for passers-by": "Training",
    "Training": "Training",
    "Describing pictures": "Features",
    "Lifting features": "Features",
}


@dataclass(frozen=True)
class Course:
    """One job as far as it is known."""

    job: str
    verb: str
    state: State = "queued"
    attempt: int = 0
    phase: str = ""
    stage: str = ""  # one of STAGES[verb], or empty before the first phase and for other verbs
    done: int = 0
    total: int | None = None
    eta_secs: float | None = None  # of the phase
    note: str = ""
    warnings: tuple[events.JobWarned, ...] = ()
    result: dict[str, Any] | None = None
    error: Failure | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def live(self) -> bool:
        return not self.ended

    @property
    def share(self) -> float | None:
        """Of the phase, 0..1; None if its length is unknown."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None

    def stages(self) -> list[tuple[str, State]]:
        """The stages of the verb, each with its state; `queued` is still to come."""
        names = STAGES.get(self.verb, ())
        if self.state == "done":
            return [(name, "done") for name in names]
        here = names.index(self.stage) if self.stage in names else -1
        now: State = self.state if self.ended else "running"
        return [(name, "done" if i < here else now if i == here else "queued") for i, name in enumerate(names)]

    def told(self, event: Any) -> Course:
        """This course after one of its events. An event after the end changes nothing."""
        if self.ended:
            return self
        match event:
            case events.JobStarted():
                return dataclasses.replace(self, state="running", attempt=event.attempt)
            case events.JobProgress():
                return dataclasses.replace(
                    self,
                    state="running",
                    phase=event.phase,
                    stage=self._stage(event.phase),
                    done=event.done,
                    total=event.total,
                    eta_secs=event.eta_secs,
                    note=event.note,
                )
            case events.JobWarned():
                return dataclasses.replace(self, warnings=(*self.warnings, event)[-WARNINGS_MAX:])
            case events.JobDone():
                return dataclasses.replace(self, state="done", result=event.result, eta_secs=None)
            case events.JobFailed():
                error = Failure(event.code, event.sentence, event.hint)
                return dataclasses.replace(self, state="failed", error=error, eta_secs=None)
            case events.JobCancelled():
                return dataclasses.replace(self, state="cancelled", eta_secs=None)
        return self

    def _stage(self, phase: str) -> str:
        names = STAGES.get(self.verb, ())
        found = _STAGE_OF.get(phase, "Cameras" if phase and self.stage in ("", "Cameras") else self.stage)
        return found if found in names else self.stage


class Courses:
    """The jobs of one workspace, oldest first."""

    def __init__(self) -> None:
        self._known: dict[str, Course] = {}

    def __iter__(self) -> Iterator[Course]:
        return iter(list(self._known.values()))

    def __getitem__(self, job: str) -> Course:
        return self._known[job]

    def get(self, job: str) -> Course | None:
        return self._known.get(job)

    @property
    def current(self) -> Course | None:
        """The job that runs; else the first that waits; else the one that ended last."""
        live = [course for course in self._known.values() if not course.ended]
        running = [course for course in live if course.state == "running"]
        return next(iter(running or live), None) or next(reversed(self._known.values()), None)

    def take(self, event: Any) -> Course | None:
        """Take in an event; its job as it is now. None for an event of no job."""
        job = getattr(event, "job", None)
        if job is None:
            return None
        if isinstance(event, events.JobQueued):
            self._known.setdefault(job, Course(job, event.verb))
        course = self._known.get(job, Course(job, "")).told(event)
        self._known[job] = course
        self._forget()
        return course

    def renew(self, jobs: Iterable[Job]) -> list[Course]:
        """Take in the job table, which is right where events were missed. What has ended without our knowing."""
        ended = []
        for job in jobs:
            before = self._known.get(job.id)
            course = before or Course(job.id, job.verb)
            course = dataclasses.replace(course, verb=job.verb)
            if not course.ended:
                now = dataclasses.replace(
                    course, state=job.state, attempt=job.attempts, result=job.result, error=job.error
                )
                if now.ended and before is not None:
                    ended.append(now)
                course = now
            self._known[job.id] = course
        self._forget()
        return ended

    def clear(self) -> None:
        self._known.clear()

    def _forget(self) -> None:
        for job in [job for job, course in self._known.items() if course.ended][: max(0, len(self._known) - KEPT)]:
            del self._known[job]


def duration(secs: float | None) -> str:
    """Seconds as a person says them; empty if unknown."""
    if secs is None or not 0 <= secs < 1e8:
        return ""
    if secs < 90:
        return f"{max(1, round(secs))} s"
    if secs < 5400:
        return f"{round(secs / 60)} min"
    return f"{secs / 3600:.1f} h"
