"""Events: what the backend tells its listeners, one frozen dataclass each.

Every event of a job carries its id. `seq` numbers all events of one workspace without gaps, so that a
listener that lost its connection asks for what came after the last number it saw. Of what is old, progress
is forgotten: there alone a replay has gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .values import Snapshot

STREAM_HEADER = "SegWild-Stream"  # of the answer that is the stream: which numbering its `seq` belongs to
State = Literal["queued", "running", "done", "failed", "cancelled"]
Artefact = Literal["cameras", "gaussians", "snapshot", "features", "objects", "appearance"]


@dataclass(frozen=True)
class JobQueued:
    """A job waits for its turn."""

    job: str
    verb: str


@dataclass(frozen=True)
class JobStarted:
    """A worker has begun, or begun again after an interruption."""

    job: str
    attempt: int  # 1 for the first


@dataclass(frozen=True)
class JobProgress:
    """How far a job is. Sent a few times a second at most."""

    job: str
    phase: str
    done: int
    total: int | None  # None: unknown
    eta_secs: float | None
    note: str  # a short figure, such as a loss


@dataclass(frozen=True)
class JobWarned:
    """A partial failure: the job went on without something."""

    job: str
    code: str
    sentence: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class JobDone:
    """The job has ended well; its artefacts are in the workspace."""

    job: str
    result: dict[str, Any]  # what the stage returns


@dataclass(frozen=True)
class JobFailed:
    """The job has ended with a sentence for the person and the next thing to do."""

    job: str
    code: str
    sentence: str
    hint: str


@dataclass(frozen=True)
class JobCancelled:
    """Someone stopped the job; what was saved before stays."""

    job: str


@dataclass(frozen=True)
class SceneChanged:
    """An artefact of the workspace is new, or may be where a job did not end well: views of it should be drawn anew."""

    what: Artefact
    snapshot: Snapshot | None = None  # of a running training; its files stay for the next few


EVENTS: tuple[type, ...] = (
    JobQueued,
    JobStarted,
    JobProgress,
    JobWarned,
    JobDone,
    JobFailed,
    JobCancelled,
    SceneChanged,
)


@dataclass(frozen=True)
class Numbered:
    """An event with its place in the stream."""

    seq: int  # from 1
    time: float  # seconds since 1970, of the backend's clock
    event: Any  # one of EVENTS
