"""Who may ask: every HTTP request passes here first, before any route sees it.

A local port is open to every program of the machine and, through a browser, to every web page. Hence: a
token on every request, no foreign Host (a page that re-binds its name to 127.0.0.1 still sends its own
name), no foreign Origin, JSON alone (a form cannot send it), and a limit on every body.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from segwild_addon.protocol.errors import ProtocolError, refusal

BODY_MAX = 1 << 20  # bytes
TOKEN_HEADER = "authorization"  # a name  # nosec B105

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Refusal(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, code: str, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence, self.hint = status, code, sentence, hint

    def body(self) -> bytes:
        return json.dumps(refusal(ProtocolError(self.code, self.sentence, self.hint))).encode()


class Gate:
    """ASGI middleware. `open_paths` need no token: they tell nothing."""

    def __init__(
        self, app: Callable, token: str, hosts: frozenset[str], open_paths: frozenset[str] = frozenset()
    ) -> None:
        """`hosts` are the names that a Host header may have, in lower case, with any port: a tunnel has its own."""
        self.app, self.token, self.hosts, self.open_paths = app, token, hosts, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets: the connection is dropped
        try:
            self._check(scope)
            await self.app(scope, _limited(receive), send)
        except Refusal as refusal:
            await _refuse(send, refusal)

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        hosts = [value.lower() for value in _values(headers, b"host")]
        if len(hosts) != 1 or _name(hosts[0]) not in self.hosts:
            raise Refusal(421, "foreign-host", "The Host header does not name this service.")
        for origin in _values(headers, b"origin"):
            if origin.lower() != f"http://{hosts[0]}":
                raise Refusal(403, "foreign-origin", "Pages of other sites may not ask.")
        if scope["path"] not in self.open_paths:
            given = _values(headers, TOKEN_HEADER.encode())
            if len(given) != 1 or not hmac.compare_digest(given[0].encode(), f"Bearer {self.token}".encode()):
                raise Refusal(401, "no-token", "The token is missing or wrong.", "Send it as Authorization: Bearer ….")
        if scope["method"] in ("POST", "PUT", "PATCH"):
            kind = ",".join(_values(headers, b"content-type")).partition(";")[0].strip().lower()
            if kind != "application/json":
                raise Refusal(415, "not-json", "Bodies are application/json.")
            for length in _values(headers, b"content-length"):
                if not length.isdecimal() or len(length) > 9 or int(length) > BODY_MAX:
                    raise Refusal(413, "too-large", f"A body may have {BODY_MAX} bytes.")


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _name(host: str) -> str:
    """A Host header without its port; what is not a port stays, so that it matches no name."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and len(port) <= 5 else host


def _limited(receive: Receive) -> Receive:
    """The same body, up to the limit: chunked bodies announce no length."""
    seen = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_MAX:
            raise Refusal(413, "too-large", f"A body may have {BODY_MAX} bytes.")
        return message

    return limited


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = refusal.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
