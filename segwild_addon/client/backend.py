"""The backend as a session sees it: what it is doing, what it tells, and what can be asked of it.

Calls that ask wait for the answer, never longer than their limit; `later` makes any of them without
waiting. What happens by itself arrives in `news`: `Numbered` events, `Status` whenever the state changes,
`Unreadable` and `Rewound` from the stream, `Answered` for each `later`.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol import codec
from ..protocol.errors import ProtocolError, ResourceError, SegWildError
from ..protocol.questions import ANSWERS
from ..protocol.values import ArrayRef, Job
from .arrays import Arrays
from .http import CLOSED, LOST, Address, Http
from .process import Launch, Supervisor
from .remote import Remote
from .status import Status
from .stream import Reader

ASK_SECS = 300.0  # the first click after an installation compiles; a backend that hangs is noticed otherwise
LATER_MAX = 32  # calls under way
WITHDRAWN = "withdrawn"  # code of the error that ends a question which was taken back
_JOB = codec.kinds_of(Job)


@dataclass(frozen=True)
class Answered:
    """A call made with `later` has ended."""

    tag: Any  # what the caller gave to recognise it
    value: Any = None
    error: SegWildError | None = None


class Backend:
    """One backend: a process of ours (`Launch`) or one that runs elsewhere (`Address`)."""

    def __init__(self, where: Launch | Address, *, downloads: Path | None = None, after: int | None = None) -> None:
        """`downloads` keeps arrays that came over HTTP; None: a folder that goes when we stop. `after` is the
        last event already known; None: only what happens from now on."""
        self.news: queue.Queue[Any] = queue.Queue()
        self._own = downloads is None
        self._downloads = downloads or Path(tempfile.mkdtemp(prefix="segwild-"))
        self._keeper = Supervisor(where, self.news.put) if isinstance(where, Launch) else Remote(where, self.news.put)
        self._reader = Reader(self._way_now, self.news, after=after)
        self._arrays = Arrays(self._way_now, self._downloads, by_file=not self._keeper.remote)
        self._slots = threading.BoundedSemaphore(LATER_MAX)
        self._calls: set[threading.Thread] = set()

    # State.

    @property
    def status(self) -> Status:
        """Never waits."""
        return self._keeper.status

    @property
    def listening(self) -> bool:
        """Whether events arrive. Never waits."""
        return self._reader.connected

    def start(self) -> None:
        """Start or find the backend; again after `failed`. Returns at once."""
        self._keeper.start()
        self._reader.start()

    def restart(self) -> None:
        """End the process and start it anew. Waits for the end."""
        self._keeper.stop()
        self._keeper.start()

    def stop(self) -> None:
        """End everything: process, threads, calls under way. A `Backend` that was stopped stays so."""
        self._reader.stop()
        self._keeper.stop()
        for call in list(self._calls):
            call.join(2.0)
        if self._own:
            shutil.rmtree(self._downloads, ignore_errors=True)

    # Questions.

    def health(self) -> dict[str, Any]:
        return self._way().get("/v1/health")

    def jobs(self) -> list[Job]:
        """All jobs of the workspace, in the order in which they were queued."""
        return [codec.from_wire(job, _JOB) for job in _listed(self._way().get("/v1/jobs"))]

    def job(self, job_id: str) -> Job:
        """Raises InputError (`not-found`) for an unknown one."""
        return codec.from_wire(self._way().get(f"/v1/jobs/{_named(job_id)}"), _JOB)

    def submit(self, verb: str, *, snapshot_secs: float = 0.0, **request: Any) -> Job:
        """Queue a job: a verb of the command line with its options. Raises what is wrong with them.

        `snapshot_secs`: between snapshots while it trains; 0: none.
        """
        body: dict[str, Any] = {"verb": verb, "request": {name: _plain(value) for name, value in request.items()}}
        if snapshot_secs:
            body["snapshot_secs"] = snapshot_secs
        return codec.from_wire(self._way().post("/v1/jobs", body), _JOB)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop: it does within two seconds, and an event tells."""
        return codec.from_wire(self._way().post(f"/v1/jobs/{_named(job_id)}/cancel"), _JOB)

    def ask(self, question: Any, *, ticket: str = "", timeout_secs: float = ASK_SECS) -> Any:
        """The answer to one of QUESTIONS, of the class that ANSWERS has for it.

        With a `ticket` of its own, from `new_ticket`, it can be withdrawn, and then raises ProtocolError (`WITHDRAWN`).
        """
        kind = ANSWERS[type(question)]
        path = f"/v1/ask?ticket={_named(ticket)}" if ticket else "/v1/ask"
        answer = self._way().post(path, codec.to_wire(question), timeout_secs=timeout_secs)
        return codec.from_wire(answer, codec.kinds_of(kind))

    def withdraw(self, ticket: str) -> bool:
        """Take back a question; it is told so at the next step of the work on it. False if nobody waits for its answer,
        which is no error."""
        return bool(self._way().post(f"/v1/questions/{_named(ticket)}/withdraw")["withdrawn"])

    def array(self, ref: ArrayRef, *, timeout_secs: float = 600.0) -> np.ndarray:
        """The array, read-only; from its file where the backend is on this machine."""
        return self._arrays.open(ref, timeout_secs=timeout_secs)

    def later(self, tag: Any, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Make a call in a thread of its own; `Answered` with `tag` arrives in `news`. Returns at once.

        Raises ResourceError if too many calls are under way.
        """
        if not self._slots.acquire(blocking=False):
            raise ResourceError("too-many-calls", f"{LATER_MAX} calls are under way.", "Wait for one to end.")

        def carry_out() -> None:
            try:
                answered = Answered(tag, call(*arguments, **named))
            except SegWildError as error:
                answered = Answered(tag, error=error)
            except Exception as error:
                answered = Answered(tag, error=SegWildError("unexpected", f"The call failed: {error!r}."))
            finally:
                self._calls.discard(threading.current_thread())
                self._slots.release()
            if answered.error is None or answered.error.code != CLOSED:
                self.news.put(answered)

        thread = threading.Thread(target=carry_out, name="segwild-call", daemon=True)
        self._calls.add(thread)
        thread.start()

    def _way_now(self) -> Http | None:
        return self._keeper.http

    def _way(self) -> Http:
        way = self._keeper.http
        if way is None:
            status = self.status
            raise ResourceError(LOST, status.sentence or "The backend is not running.", status.hint or "Start it.")
        return way


def new_ticket() -> str:
    """A word for a question that may be withdrawn."""
    return uuid.uuid4().hex


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _named(word: str) -> str:
    """Part of a path: nothing of it may lead elsewhere."""
    if not word.isalnum() or not word.isascii():
        raise ProtocolError("bad-field", f"Not the id of a job, or of a question: {word!r}.")
    return word


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ProtocolError("bad-answer", "The backend's answer is not a list.", "See the backend's log.")
    return value
