"""One HTTP connection: given up where its request does not arrive, and written to directly where many hear the same.

An event is the same bytes for all who listen. Through the task, the cycle and the framing of each of their answers it
costs 60 microseconds of Python a listener; a `Line` takes a piece that was framed once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECS = 15.0  # for the head and body of a request to arrive: a slow-loris holds no connection longer
LINE = "segwild.line"  # the ASGI extension with a request's `Line`


def framed(data: bytes) -> bytes:
    """A piece of an answer of unknown length (RFC 9112, 7.1: the chunked coding)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Line:
    """The connection below an answer whose pieces are `framed`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, piece: bytes) -> bool:
        """Write it now. False if the other side is gone or behind: nothing is written, the answer's own way waits.

        Only while the answer has begun and its own way has nothing to say: pieces would be out of order.
        """
        transport = self._connection.transport
        if transport.is_closing() or self._connection.flow.write_paused:
            return False
        transport.write(piece)
        return True


class Connection(H11Protocol):
    """uvicorn's, with a limit on the time that a request may take to arrive, and a line for answers."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._answering, self.app = self.app, self._with_line

    async def _with_line(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["http_version"] == "1.1":
            scope["extensions"] = {LINE: Line(self)}  # older ones know no chunked coding, HEAD has no body
        await self._answering(scope, receive, send)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECS, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECS, self.transport.close)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):  # the request is here
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
