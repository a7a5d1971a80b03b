"""The event stream: one tail of recent events in memory, any number of listeners.

A listener is a cursor. It sleeps until something is new, takes what came after its cursor, from memory or,
if it was away for long, from the store. Nothing is queued per listener, so a slow one costs nothing. One that
sleeps knows all there is: what is new is written to its connection directly, the same bytes for all of them.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from backend.jobs.store import Store
from backend.service.connection import Line, framed
from segwild_addon.protocol.errors import ResourceError

TAIL = 4096  # events in memory
BEAT_SECS = 10.0  # a comment now and then shows both sides that the line still stands


@dataclass(eq=False)
class _Sleeper:
    """A listener that has heard everything."""

    woken: asyncio.Future[bool]  # whether there is news, or just the next beat
    line: Line | None  # to say news directly
    cursor: int  # the last event it has heard


class Stream:
    """The events of a store as server-sent events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL)
        self.seq = store.last_seq()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None  # the loop's
        self._sleepers: set[_Sleeper] = set()
        self._fetching = False
        self._closed = False

    def open(self) -> None:
        """Call within the loop that serves."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._loop.call_later(BEAT_SECS, self._beat)
        self.told()  # what was told before anyone could listen

    def told(self) -> None:
        """Something is in the store. May be called from any thread; in the loop's own it is said at once."""
        if threading.get_ident() == self._thread:
            self._fetch()  # an answer that is about to be written would come first
        elif not self._fetching:  # one fetch takes all there is
            self._fetching = True  # before the call: the loop may be quicker than the next line
            if not self._soon(self._fetch):
                self._fetching = False

    def close(self) -> None:
        """End all listeners. May be called from any thread."""
        self._closed = True
        self._soon(self._wake)

    def _soon(self, call: Callable[[], None]) -> bool:
        try:
            if self._loop is None:
                return False
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has just ended
            return False
        return True

    def _fetch(self) -> None:
        self._fetching = False
        with suppress(ResourceError):  # the table cannot be read just now: what it tells is fetched with the next
            while fresh := self._told_after(self.seq):
                self.tail.extend(fresh)
                self.seq = fresh[-1][0]
                self._say(framed(b"".join(text for _, text in fresh)))

    def _say(self, piece: bytes) -> None:
        """To all who sleep; who cannot take it is woken, and gets it in its own way."""
        for sleeper in self._sleepers:
            if sleeper.woken.done():
                continue
            if sleeper.line is not None and not self._closed and sleeper.line.take(piece):
                sleeper.cursor = self.seq
            else:
                sleeper.woken.set_result(True)

    def _wake(self, news: bool = True) -> None:
        for sleeper in self._sleepers:
            if not sleeper.woken.done():
                sleeper.woken.set_result(news)

    def _beat(self) -> None:
        if self._loop is not None and not self._closed:
            self._loop.call_later(BEAT_SECS, self._beat)
            self._fetch()
            self._wake(news=False)

    async def listen(self, after: int, line: Line | None = None) -> AsyncIterator[bytes]:
        """Events with a higher seq than `after`, for ever; those that `line` takes meanwhile are left out.

        A higher number than ever was comes from a table that is no more: then all events are news.
        """
        cursor = after if after <= self.seq else 0
        yield b"retry: 1000\n\n"
        while not self._closed:
            if fresh := self._since(cursor):
                cursor = fresh[-1][0]
                yield b"".join(text for _, text in fresh)
            elif cursor < self.seq:
                cursor = self.seq  # what came in between has been forgotten
            if cursor < self.seq or self._closed:
                continue
            # One future each: with a task and a timer for each, events arrived in 5 ms instead of 2.
            sleeper = _Sleeper(asyncio.get_running_loop().create_future(), line, cursor)
            self._sleepers.add(sleeper)
            try:
                news = await sleeper.woken
            finally:
                self._sleepers.discard(sleeper)
            cursor = sleeper.cursor
            if not news:
                yield b": still here\n\n"

    def _since(self, cursor: int) -> list[tuple[int, bytes]]:
        """At most a thousand events, so that a listener far behind does not hold up the others."""
        if cursor >= self.seq:
            return []
        if not (self.tail and self.tail[0][0] <= cursor + 1) and (older := self._told_after(cursor)):
            return older
        # The place in memory follows from the number, but for the rare event that was forgotten before it was fetched.
        first = min(max(0, cursor + 1 - self.tail[0][0]), len(self.tail)) if self.tail else 0
        while first > 0 and self.tail[first - 1][0] > cursor:
            first -= 1
        return list(islice(self.tail, first, first + 1000))

    def _told_after(self, seq: int) -> list[tuple[int, bytes]]:
        return [(number, lines(number, when, text)) for number, when, text in self.store.rows_after(seq)]


def lines(seq: int, time: float, event: str) -> bytes:
    """One server-sent event, from what the table holds: the event is JSON already."""
    return f'id: {seq}\ndata: {{"seq":{seq},"time":{json.dumps(time)},"event":{event}}}\n\n'.encode()
