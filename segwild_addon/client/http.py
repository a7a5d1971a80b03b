"""Requests to the backend over HTTP: each is answered, refused or given up within its time limit.

`http.client` alone would wait for each piece of an answer anew, so that a peer that drips bytes holds a
caller for ever. Here a deadline covers the whole exchange, and `close` ends every exchange under way.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..protocol import codec
from ..protocol.errors import InputError, ProtocolError, ResourceError, SegWildError, kind_named

CALL_SECS = 10.0  # for an ordinary request
SLICE_SECS = 0.2  # how often a waiting call looks whether it was closed
ANSWER_MAX = 8 << 20  # bytes of one JSON answer
BODY_MAX = 1 << 20  # bytes of one request, as the service has it

SILENT, LOST, CLOSED = "backend-silent", "backend-lost", "client-closed"
UNREACHABLE = frozenset({SILENT, LOST, CLOSED})  # codes of errors that say nothing about the request itself


@dataclass(frozen=True)
class Address:
    """Where a backend listens, and the word it wants to hear."""

    host: str
    port: int
    token: str = field(repr=False)


class Http:
    """Requests to one address. Every call has a connection of its own; safe to share among threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._closed = threading.Event()

    def close(self) -> None:
        """End all calls under way with the error `client-closed`; later ones end at once."""
        self._closed.set()

    def get(self, path: str, *, timeout_secs: float = CALL_SECS) -> Any:
        """The JSON answer. Raises what the backend answered, or an error whose code is in `UNREACHABLE`."""
        with self.open("GET", path, timeout_secs=timeout_secs) as answer:
            return _json_in(answer)

    def post(self, path: str, body: dict[str, Any] | None = None, *, timeout_secs: float = CALL_SECS) -> Any:
        """Send JSON values; the JSON answer. Raises like `get`."""
        data = json.dumps(body or {}).encode()
        if len(data) > BODY_MAX:
            raise InputError("too-large", f"The request has {len(data)} bytes; {BODY_MAX} are allowed.")
        with self.open("POST", path, body=data, timeout_secs=timeout_secs) as answer:
            return _json_in(answer)

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_secs: float = CALL_SECS,
    ) -> Iterator[Answer]:
        """An answer whose body is still to be read, within the block. Raises what the backend refused with."""
        line = _Line(self.address, self._closed, time.monotonic() + timeout_secs, timeout_secs)
        with _told_as_ours(), line:
            connection = http.client.HTTPConnection(self.address.host, self.address.port)
            connection.sock = line  # type: ignore[assignment]
            sent = {"Authorization": f"Bearer {self.address.token}", "Connection": "close", **(headers or {})}
            if body is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, body, sent)
            answer = Answer(connection.getresponse(), line)
            if not 200 <= answer.status < 300:
                raise _refusal(answer)
            yield answer


class Answer:
    """Status, headers and a body to be read piece by piece."""

    def __init__(self, response: http.client.HTTPResponse, line: _Line) -> None:
        self.status = response.status
        self._response, self._line = response, line

    def header(self, name: str) -> str:
        return self._response.getheader(name) or ""

    def read(self, count: int) -> bytes:
        """At most `count` bytes; none at the end. Raises ConnectionError if the body is cut short."""
        data = self._response.read(count)
        if not data and self._response.length:
            raise ConnectionError("the answer was cut short")
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Like `read`, without a copy."""
        count = self._response.readinto(buffer)
        if not count and self._response.length:
            raise ConnectionError("the answer was cut short")
        return count

    def readline(self, limit: int) -> bytes:
        return self._response.readline(limit)

    def more_time(self, timeout_secs: float) -> None:
        """Move the deadline: for bodies that go on as long as something arrives."""
        self._line.more_time(timeout_secs)


class _Line:
    """What `http.client` takes for a socket: no operation waits beyond the deadline or the closing."""

    def __init__(self, address: Address, closed: threading.Event, deadline: float, timeout_secs: float) -> None:
        self._address, self._closed, self._deadline, self._timeout_secs = address, closed, deadline, timeout_secs
        self._socket: socket.socket | None = None

    def __enter__(self) -> _Line:
        self._socket = self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def more_time(self, timeout_secs: float) -> None:
        self._deadline, self._timeout_secs = time.monotonic() + timeout_secs, timeout_secs

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            with contextlib.suppress(TimeoutError):
                left = left[self._ready().send(left) :]

    def receive(self, buffer: Any) -> int:
        while True:
            with contextlib.suppress(TimeoutError):
                return self._ready().recv_into(buffer)

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self), 1 << 16)

    def close(self) -> None:
        """http.client closes its side while the body is still to be read: the block's end closes ours."""

    def _ready(self) -> socket.socket:
        """The socket, to wait on it for a slice of what is left."""
        assert self._socket is not None
        self._socket.settimeout(self._slice())
        return self._socket

    def _slice(self) -> float:
        if self._closed.is_set():
            raise ResourceError(CLOSED, "The backend was let go.")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ResourceError(
                SILENT,
                f"The backend gave no answer within {self._timeout_secs:g} seconds.",
                "Wait a moment and try again, or restart the backend.",
            )
        return min(left, SLICE_SECS)

    def _connected(self) -> socket.socket:
        self._slice()
        found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        trouble: OSError = ConnectionError("no address")
        for family, kind, protocol, _, address in found:
            attempt = socket.socket(family, kind, protocol)
            try:
                attempt.setblocking(False)
                attempt.connect_ex(address)
                with selectors.DefaultSelector() as selector:
                    selector.register(attempt, selectors.EVENT_WRITE)
                    while not selector.select(self._slice()):
                        pass
                if code := attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(code, "cannot connect")
                attempt.getpeername()  # raises if it is not connected after all
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return attempt
            except OSError as error:
                attempt.close()
                trouble = error
            except BaseException:
                attempt.close()
                raise
        raise trouble


class _Incoming(io.RawIOBase):
    """The bytes that arrive on a line."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive(buffer)


@contextlib.contextmanager
def _told_as_ours() -> Iterator[None]:
    """What the network or a peer's garbage raises, as an error of our tree."""
    try:
        yield
    except SegWildError:
        raise
    except http.client.IncompleteRead as error:
        raise _lost("the answer was cut short") from error
    except (http.client.RemoteDisconnected, OSError) as error:
        raise _lost(str(error)) from error
    except (http.client.HTTPException, ValueError) as error:
        # http.client lets a ValueError out for a broken chunk size or length.
        raise ProtocolError(
            "bad-answer",
            f"What answers there is not a SegWild backend, or it is broken ({type(error).__name__}).",
            "Check the port, or restart the backend.",
        ) from error


def _lost(why: str) -> ResourceError:
    return ResourceError(LOST, f"The connection to the backend was lost ({why}).", "See the backend's log.")


def _json_in(answer: Answer) -> Any:
    data = bytearray()
    while piece := answer.read(1 << 16):
        data += piece
        if len(data) > ANSWER_MAX:
            raise ProtocolError("bad-answer", f"The backend's answer has more than {ANSWER_MAX} bytes.")
    return codec.parsed(bytes(data))


def _refusal(answer: Answer) -> SegWildError:
    """The error that a refused request stands for, of the class that it names."""
    if answer.status == 503:
        return ResourceError(
            "backend-busy", "The backend has too many connections.", "Close other programs that use it."
        )
    try:
        told = _json_in(answer)
        code, sentence, hint = (str(told[name]) for name in ("error", "sentence", "hint"))
        return kind_named(told["kind"])(code, sentence, hint)
    except (ProtocolError, KeyError, TypeError):
        sentence = f"The backend answered with status {answer.status} and no sentence."
        return ProtocolError("bad-answer", sentence, "See the backend's log.")
