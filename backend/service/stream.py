"""The event stream: one tail of recent events in memory, any number of listeners.

A listener is a cursor. It sleeps until something is new, takes what came after its cursor, from memory or,
if it was away for long, from the store. Nothing is queued per listener, so a slow one costs nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import islice

from backend.jobs.store import Store
from segwild_addon.protocol import codec
from segwild_addon.protocol.events import Numbered

TAIL = 4096  # events in memory
BEAT_SECS = 10.0  # a comment now and then shows both sides that the line still stands


class Stream:
    """The events of a store as server-sent events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL)
        self.seq = store.last_seq()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleepers: set[asyncio.Future[bool]] = set()
        self._fetching = False
        self._closed = False

    def open(self) -> None:
        """Call within the loop that serves."""
        self._loop = asyncio.get_running_loop()
        self._loop.call_later(BEAT_SECS, self._beat)
        self.told()  # what was told before anyone could listen

    def told(self) -> None:
        """Something is in the store. May be called from any thread."""
        if not self._fetching:  # one fetch takes all there is
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
        while fresh := self.store.events_after(self.seq):
            for numbered in fresh:
                self.tail.append((numbered.seq, lines(numbered)))
            self.seq = fresh[-1].seq
        self._wake()

    def _wake(self, news: bool = True) -> None:
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(news)

    def _beat(self) -> None:
        if self._loop is not None and not self._closed:
            self._loop.call_later(BEAT_SECS, self._beat)
            self._wake(news=False)

    async def _awake(self) -> bool:
        """Whether there is news, or just the next beat.

        One future each: with a task and a timer for each, events arrived in 5 ms instead of 2.
        """
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            return await sleeper
        finally:
            self._sleepers.discard(sleeper)

    async def listen(self, after: int) -> AsyncIterator[bytes]:
        """Events with a higher seq than `after`, for ever.

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
            if cursor >= self.seq and not self._closed and not await self._awake():
                yield b": still here\n\n"

    def _since(self, cursor: int) -> list[tuple[int, bytes]]:
        """At most a thousand events, so that a listener far behind does not hold up the others."""
        if cursor >= self.seq:
            return []
        if not (self.tail and self.tail[0][0] <= cursor + 1):
            older = [(numbered.seq, lines(numbered)) for numbered in self.store.events_after(cursor)]
            if older:
                return older
        # The place in memory follows from the number, but for the rare event that was forgotten before it was fetched.
        first = min(max(0, cursor + 1 - self.tail[0][0]), len(self.tail)) if self.tail else 0
        while first > 0 and self.tail[first - 1][0] > cursor:
            first -= 1
        return list(islice(self.tail, first, first + 1000))


def lines(numbered: Numbered) -> bytes:
    """One server-sent event."""
    data = {"seq": numbered.seq, "time": numbered.time, "event": codec.to_wire(numbered.event)}
    return f"id: {numbered.seq}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
