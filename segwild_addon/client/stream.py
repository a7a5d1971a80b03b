"""The backend's server-sent events into a queue: one reader thread that loses nothing and says nothing twice.

A connection that ends is made again, asking for what came after the last number seen. What cannot be
decoded is told as `Unreadable` and passed over, so that one bad event does not stop all later ones.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..protocol import codec, events
from ..protocol.errors import ProtocolError, ResourceError, SegWildError
from .http import CLOSED, LOST, SLICE_SECS, UNREACHABLE, Http

KINDS = codec.kinds_of(*events.EVENTS)
SILENT_SECS = 30.0  # the backend sends a sign of life every 10: then the connection is dead
LINE_MAX = 1 << 20  # bytes
BACKOFF_SECS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # between attempts to connect
QUEUE_MAX = 20_000  # beyond it the reader waits for the session: the backend keeps what is not fetched


@dataclass(frozen=True)
class Unreadable:
    """An event that this program does not understand. Whoever depends on events should ask for the state anew."""

    sentence: str


@dataclass(frozen=True)
class Rewound:
    """The backend counts anew, because its job table was lost: what was known of jobs holds no longer."""


class Reader:
    """Follows one workspace's events. `start` it once; `stop` ends its thread."""

    def __init__(self, http: Callable[[], Http | None], into: queue.Queue[Any], *, after: int | None = None) -> None:
        """`http` gives the present way to the backend, None while there is none. `after` is the last event
        already known; None: only what happens from now on."""
        self.after = after
        self.stream: str | None = None  # which numbering `after` belongs to, once known
        self.connected = False
        self._http, self._into = http, into
        self._stopping = threading.Event()
        self._current: Http | None = None
        self._thread = threading.Thread(target=self._run, name="segwild-events", daemon=True)

    def start(self) -> None:
        """Begin to follow. Does nothing the second time."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, timeout_secs: float = 3.0) -> None:
        """End the thread, also in the middle of an event."""
        self._stopping.set()
        if (current := self._current) is not None:
            current.close()
        if self._thread.is_alive():
            self._thread.join(timeout_secs)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            way = self._http()
            if way is None:
                self._stopping.wait(SLICE_SECS)
                continue
            before = self.after
            # A way of its own: stopping must not end the calls of others.
            self._current = Http(way.address)
            try:
                self._follow(self._current)
                failures = failures + 1 if self.after == before else 0
            except SegWildError as error:
                failures = failures + 1 if self.after == before else 0
                if error.code not in UNREACHABLE and failures == 1:
                    self._put(Unreadable(error.sentence))
            finally:
                self.connected = False
            self._stopping.wait(BACKOFF_SECS[min(failures, len(BACKOFF_SECS) - 1)])

    def _follow(self, http: Http) -> None:
        """Read one connection to its end. Raises a SegWildError if it breaks."""
        stream, newest = self._newest(http)
        if self.after is None:
            self.after = newest
        elif newest < self.after or self.stream not in (None, stream):
            self.after = 0
            self._put(Rewound())
        self.stream = stream
        path = f"/v1/events?after={self.after}&stream={stream}"
        with http.open("GET", path, timeout_secs=SILENT_SECS) as answer:
            if not answer.header("content-type").startswith("text/event-stream"):
                raise ProtocolError("bad-answer", "What answers there sends no events.", "Check the port.")
            if answer.header(events.STREAM_HEADER) != stream:
                raise ResourceError(LOST, "Another backend answers there by now.")  # the next attempt asks which
            self.connected = True

            def line() -> bytes:
                found = answer.readline(LINE_MAX)
                answer.more_time(SILENT_SECS)
                return found

            for name, data in messages(line):
                self._take(name, data)

    @staticmethod
    def _newest(http: Http) -> tuple[str, int]:
        """Which numbering the backend has, and how far it is."""
        health = http.get("/v1/health")
        seq, stream = (health.get("seq"), health.get("stream")) if isinstance(health, dict) else (None, None)
        if type(seq) is not int or seq < 0 or not (isinstance(stream, str) and stream.isascii() and stream.isalnum()):
            raise ProtocolError("bad-answer", "What answers there is not a SegWild backend.", "Check the port.")
        return stream, seq

    def _take(self, name: str, data: str) -> None:
        assert self.after is not None
        try:
            numbered = decoded(data)
        except ProtocolError as error:
            if not name.isdecimal() or len(name) > 15:
                raise
            seq = int(name)
            if seq > self.after:
                self._put(Unreadable(error.sentence))
                self.after = seq
            return
        if numbered.seq > self.after:  # else: replayed, known already
            self._put(numbered)
            self.after = numbered.seq

    def _put(self, item: Any) -> None:
        while self._into.qsize() >= QUEUE_MAX:
            if self._stopping.wait(SLICE_SECS):
                raise ResourceError(CLOSED, "The backend was let go.")
        self._into.put(item)


def messages(line: Callable[[], bytes]) -> Iterator[tuple[str, str]]:
    """(id, data) of each server-sent event, until `line` gives nothing. A last event without its end is dropped.

    Raises ProtocolError if an event is larger than any of ours.
    """
    name, data, size = "", [], 0
    while text := line():
        size += len(text)
        if size >= LINE_MAX:
            raise ProtocolError("bad-answer", f"An event has {LINE_MAX} bytes or more.")
        if not text.endswith(b"\n"):
            return  # cut off
        stripped = text.rstrip(b"\r\n").decode("utf-8", "replace")
        if not stripped:
            if data:
                yield name, "\n".join(data)
            name, data, size = "", [], 0
            continue
        kind, _, value = stripped.partition(":")
        value = value.removeprefix(" ")
        if kind == "data":
            data.append(value)
        elif kind == "id":
            name = value


def decoded(data: str) -> events.Numbered:
    """One event's data. Raises ProtocolError."""
    outer = codec.fields_in(events.Numbered, codec.parsed(data))
    if outer.seq < 1:
        raise ProtocolError("bad-field", "Numbered.seq counts from 1.")
    return events.Numbered(outer.seq, outer.time, codec.from_wire(outer.event, KINDS))
