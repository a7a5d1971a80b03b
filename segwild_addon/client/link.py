"""One workspace's backend over its whole life: what it tells, piece by piece, into a state that a panel reads.

Everything here returns at once, whatever the backend does: what could wait runs in threads. All methods
belong to one thread, the one that also calls `take`.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..protocol.errors import ResourceError, SegWildError
from ..protocol.events import JobDone, Numbered
from .backend import Answered, Backend
from .course import Course, Courses
from .http import LOST, Address
from .process import Launch
from .status import STOPPED, Status
from .stream import Rewound, Unreadable

ENDING = Status("stopped", "The backend is ending.")
LOG_LINES = 12

Then = Callable[[Answered], None]


@dataclass(frozen=True)
class Happened:
    """An event of the backend, with the course of its job after it."""

    event: Any  # one of protocol.events.EVENTS
    course: Course | None


@dataclass(eq=False)
class _Reply:
    """The tag of a call: who wants the answer."""

    then: Then


class Link:
    """Start, stop and ask the backend of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.where: Launch | Address | None = None
        self.backend: Backend | None = None
        self.status: Status = STOPPED
        self.courses = Courses()
        self.trouble = ""  # the last thing the stream of events said that nobody understood
        self._ending: threading.Thread | None = None
        self._wanted: Launch | Address | None = None  # to be started when the old one has ended
        self._listening = False
        self._replies: set[_Reply] = set()
        self._own: deque[Any] = deque()  # answers that no thread gives
        self._awaiting: list[Callable[[], None]] = []  # until it runs

    # Life.

    @property
    def ending(self) -> bool:
        return self._ending is not None and self._ending.is_alive()

    @property
    def running(self) -> bool:
        return self.backend is not None and self.status.state == "running"

    @property
    def remote(self) -> bool:
        """Whether someone else started it: paths in requests are paths of that machine."""
        return isinstance(self.where, Address)

    @property
    def asked(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._replies)

    @property
    def busy(self) -> bool:
        """Whether something will happen soon, so that looking often is worth it."""
        current = self.courses.current
        moving = self.status.state in ("starting", "lost") or self._ending is not None
        return bool(self._replies or self._own) or moving or (self.running and current is not None and current.live)

    def start(self, where: Launch | Address) -> None:
        """Start a backend, or find one; after the one before has ended. Does nothing if it is there already."""
        if self.backend is not None and self.where == where and self.status.state != "failed":
            return
        self.stop()
        self._wanted = where
        self._go_on()

    def restart(self) -> None:
        """End the backend and start it anew. Does nothing before the first start."""
        if self.where is not None:
            self.stop()
            self._wanted = self.where
            self._go_on()

    def stop(self) -> None:
        """End it, in a thread. One that someone else started goes on; we let go of it."""
        self._wanted = None
        if self.backend is None:
            return
        self._awaiting.clear()
        old, self.backend = self.backend, None
        before = self._ending

        def end() -> None:
            if before is not None:
                before.join()
            old.stop()

        self._ending = threading.Thread(target=end, name="segwild-ending", daemon=True)
        self._ending.start()
        self.status, self._listening = ENDING, False
        for reply in self._replies:
            self._own.append(Answered(reply, error=_no_backend()))

    def once_running(self, call: Callable[[], None]) -> None:
        """Have something done when the backend runs, at once if it does; never if it is stopped before."""
        if self.running:
            call()
        else:
            self._awaiting.append(call)

    def wait(self, timeout_secs: float) -> bool:
        """Whether the backend that was stopped has ended within the time. For leaving the program alone."""
        if self._ending is not None:
            self._ending.join(timeout_secs)
        return not self.ending

    def _go_on(self) -> bool:
        """The next step between one backend and the next; whether there was one."""
        if self.backend is not None or self.ending or (self._ending is None and self._wanted is None):
            return False
        self._ending, self.status = None, STOPPED
        if self._wanted is not None:
            self.where, self._wanted = self._wanted, None
            self.backend = Backend(self.where)
            self.backend.start()
            self.status = self.backend.status
        return True

    # Questions. `then` gets its answer out of `take`, also when the backend dies or is stopped before.

    def later(self, then: Then, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call `call(backend, …)` in a thread."""
        reply = _Reply(then)
        self._replies.add(reply)
        try:
            if self.backend is None:
                raise _no_backend()
            self.backend.later(reply, call, self.backend, *arguments, **named)
        except SegWildError as error:
            self._own.append(Answered(reply, error=error))

    def ask(self, question: Any, then: Then) -> None:
        """Ask one of QUESTIONS."""
        self.later(then, Backend.ask, question)

    def submit(self, verb: str, then: Then, **request: Any) -> None:
        """Queue a job. The answer's value is the Job."""
        self.later(then, Backend.submit, verb, **request)

    def cancel(self, job: str, then: Then) -> None:
        """Ask a job to stop."""
        self.later(then, Backend.cancel, job)

    # News.

    def take(self) -> Status | Happened | Unreadable | Rewound | Answered | None:
        """Take in the next piece of news and return it; None if there is none. Answers go to who asked."""
        item = self._next()
        if isinstance(item, Answered):
            reply = item.tag
            if reply in self._replies:  # else: answered already, as lost
                self._replies.discard(reply)
                reply.then(item)
        elif isinstance(item, Status):
            self.status = item
            if self.running:
                awaiting, self._awaiting = self._awaiting, []
                for call in awaiting:
                    call()
        elif isinstance(item, Numbered):
            return Happened(item.event, self.courses.take(item.event))
        elif isinstance(item, Unreadable | Rewound):
            self.trouble = getattr(item, "sentence", "")
            if isinstance(item, Rewound):
                self.courses.clear()
            self._look_at_jobs()
        return item

    def _next(self) -> Any:
        if self._own:
            return self._own.popleft()
        if self.backend is None:
            return self.status if self._go_on() else None
        if (listening := self.backend.listening) != self._listening:
            self._listening = listening
            if listening:  # from here on nothing is missed; what was before is in the table
                self._look_at_jobs()
        try:
            return self.backend.news.get_nowait()
        except queue.Empty:
            return None

    def _look_at_jobs(self) -> None:
        def seen(answered: Answered) -> None:
            if answered.error is None:
                for course in self.courses.renew(answered.value):
                    if course.state == "done":
                        done = JobDone(course.job, course.result or {})
                        self._own.append(Numbered(1, 0.0, done))

        self.later(seen, Backend.jobs)


def _no_backend() -> ResourceError:
    return ResourceError(LOST, "The backend is not running.", "Start it.")


def tail_of(log: Path, lines: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of a log, each at most 200 characters; empty if it cannot be read. May wait for a disk."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * lines))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(line.strip()[:200] for line in text.splitlines() if line.strip())[-lines:]
