"""The backend's process, looked after: found, started, watched, started again within limits, stopped.

The child owns nothing of ours but three things: a token in its environment, a pipe to its standard input
that closes when we end, however we end, and a log file for its standard error. It tells its port in one
JSON line. `Supervisor.status` is a value that may be read at any time without waiting.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..protocol import codec
from ..protocol.errors import ProtocolError, ResourceError, SegWildError, SetupError
from .child import Child, last_line, why_ended
from .http import Address, Http
from .restarts import Restarts
from .status import RUNNING, STOPPED, Status
from .watcher import Watcher

HANDSHAKE_SECS = 60.0  # a cold disk and a virus scanner before the first Python import
STOP_SECS = 6.0  # the service gives its own workers two, then four
HEALTH_EVERY_SECS = 5.0
HEALTH_SECS = 3.0
HEALTH_MISSES = 3
LOG_MAX = 5 << 20  # bytes; a longer log starts anew


@dataclass(frozen=True)
class Launch:
    """What to start."""

    command: tuple[str, ...]  # up to and without the verb `serve`
    workspace: Path
    log: Path
    allow: tuple[Path, ...] = ()  # folders that requests may name besides the workspace
    environment: Mapping[str, str] = field(default_factory=dict)
    handshake_secs: float = HANDSHAKE_SECS

    def arguments(self) -> list[str]:
        allowed = [word for folder in self.allow for word in ("--allow", str(folder))]
        return [*self.command, "serve", str(self.workspace), "--with-parent", *allowed]


def command_of(python: Path) -> tuple[str, ...]:
    """The backend of an environment. -P: modules of the current folder must not be taken for libraries."""
    return (str(python), "-P", "-m", "backend")


class Supervisor(Watcher):
    """Keeps one backend process running from `start` to `stop`."""

    remote = False
    thread_name = "segwild-backend"

    def __init__(self, launch: Launch, told: Callable[[Status], None] = lambda status: None) -> None:
        """`told` hears of every change of state, from the watching thread."""
        super().__init__(told)
        self.launch = launch
        self._restarts = Restarts()

    def start(self) -> None:
        """Start the backend; again after `failed`. Returns at once. Does nothing while it runs."""
        if not self._alive:
            self._restarts.forget()
            self._begin(Status("starting", "The backend is starting."))

    def stop(self, timeout_secs: float = 2 * STOP_SECS) -> None:
        """End the backend and the thread. When this returns no process is left."""
        self._end(timeout_secs)

    def _run(self) -> None:
        try:
            while (wait := self._one_life()) is not None:
                if self._stopping.wait(wait):
                    break
                self._say(Status("starting", "The backend is starting again."))
        finally:
            if self.status.state != "failed":
                self._say(STOPPED)

    def _one_life(self) -> float | None:
        """From a start to the child's end. Seconds to wait before the next; None: there is no next."""
        self._restarts.started(time.monotonic())
        try:
            child, token = self._started()
        except OSError as error:
            wrong = SetupError(
                "backend-missing",
                f"The backend cannot be started ({error.strerror}): {self.launch.command[0]}.",
                "Install it again, or choose another Python.",
            )
            self._say(Status.of("failed", wrong))
            return None
        try:
            self.http = Http(Address("127.0.0.1", self._port(child), token))
            self._watch(child, self.http)
            trouble: SegWildError = self._died(child)
        except _Stopped:
            return None
        except ProtocolError as error:
            self._say(Status.of("failed", error))
            return None
        except SegWildError as error:
            trouble = error
        finally:
            http, self.http = self.http, None
            if http is not None:
                http.close()
            child.end(STOP_SECS)  # never a second one while the first lives
        wait = self._restarts.died(time.monotonic())
        if wait is None:
            self._say(Status("failed", trouble.sentence, "It ended too often. See its log.", trouble.code))
        else:
            self._say(Status.of("lost", trouble, retry_secs=wait))
        return wait

    def _started(self) -> tuple[Child, str]:
        token = secrets.token_urlsafe(24)
        log = self.launch.log
        log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_MAX:
                log.unlink()
        with log.open("ab") as errors_to:
            child = Child(
                self.launch.arguments(),
                environment={**self.launch.environment, "SEGWILD_TOKEN": token},
                errors_to=errors_to,
            )
        return child, token

    def _port(self, child: Child) -> int:
        """The port out of the handshake line. Raises ProtocolError if there is none to understand."""
        line = self._line(child)
        try:
            told = codec.parsed(line)
            port, version = told["port"], told["protocol"]
            if not (type(port) is int and 0 < port < 65536 and type(version) is int):
                raise TypeError
        except (ProtocolError, KeyError, TypeError) as error:
            raise ProtocolError(
                "bad-handshake",
                f"What was started is not a SegWild backend: {self.launch.command[0]}.",
                "Choose the Python of a SegWild environment, or install one.",
            ) from error
        check_version(version)
        return port

    def _line(self, child: Child) -> str:
        deadline = time.monotonic() + self.launch.handshake_secs
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                line = child.lines.get(timeout=min(left, 0.1))
                if line is not None:
                    return line
                child.end(1.0)
                raise self._died(child)
            if self._stopping.is_set():
                raise _Stopped
        last = last_line(self.launch.log)
        raise ResourceError(
            "backend-silent",
            f"The backend did not start within {self.launch.handshake_secs:g} seconds{f' ({last})' if last else ''}.",
            "See the backend's log.",
        )

    def _watch(self, child: Child, http: Http) -> None:
        """Wait until the child ends. Raises _Stopped if someone wants it to, ProtocolError if it is no backend."""
        misses, next_look = 0, 0.0
        while child.exit_status() is None:
            if time.monotonic() >= next_look:
                try:
                    check_health(http)
                    misses = 0
                    self._say(RUNNING)
                except SegWildError as error:
                    misses += 1
                    if misses >= HEALTH_MISSES and child.exit_status() is None and not self._stopping.is_set():
                        if isinstance(error, ProtocolError):
                            raise
                        self._say(Status.of("lost", error))  # it lives: nothing is started beside it
                next_look = time.monotonic() + (HEALTH_EVERY_SECS if misses == 0 else 0.3)
            if self._stopping.wait(0.1):
                raise _Stopped

    def _died(self, child: Child) -> ResourceError:
        return ResourceError(
            "backend-died", why_ended(child.exit_status() or 0, self.launch.log), "See the backend's log."
        )


class _Stopped(Exception):
    """Someone asked to stop."""


def check_version(version: Any) -> None:
    """Raises ProtocolError if the backend speaks another version than this program."""
    if version != codec.VERSION:
        raise ProtocolError(
            "wrong-version",
            f"The backend speaks version {version} of the protocol, this program version {codec.VERSION}.",
            "Update whichever is older.",
        )


def check_health(http: Http) -> dict[str, Any]:
    """What the backend says of itself. Raises ProtocolError if it is none, ResourceError if it is silent."""
    health = http.get("/v1/health", timeout_secs=HEALTH_SECS)
    if not isinstance(health, dict) or not isinstance(health.get("workspace"), str):
        raise ProtocolError("bad-answer", "What answers there is not a SegWild backend.", "Check the port.")
    check_version(health.get("protocol"))
    return health
