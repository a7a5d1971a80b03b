"""Who may ask: nobody without the token, no foreign page, nothing too large, too slow or of another kind."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from backend.service import connection
from backend.service.gate import BODY_MAX

GUARDED = (
    ("GET", "/v1/health"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/x"),
    ("POST", "/v1/jobs/x/cancel"),
    ("POST", "/v1/ask"),
    ("GET", "/v1/events"),
    ("GET", "/v1/arrays/previews/x.npy"),
    ("POST", "/v1/stop"),
    ("GET", "/no/such/path"),
)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def head(served: Any, request: str = "GET /v1/health", *lines: str, host: str | None = None, token: str = "") -> bytes:
    host = f"127.0.0.1:{served.port}" if host is None else host
    fields = [f"{request} HTTP/1.1", *([f"Host: {host}"] if host else []), *lines]
    if token:
        fields.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(fields) + "\r\nConnection: close\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {} ", "bearer {}x"])
def test_without_the_token_nothing_is_told(shared: Any, token: str, method: str, path: str, given: str) -> None:
    line = [f"Authorization: {given.format(token)}"] if given and given.strip() != f"Bearer {token}" else []
    if given == "Bearer {} ":
        line = [f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"]  # twice: which one counts?
    answer = shared.raw(head(shared, f"{method} {path}", "Content-Type: application/json", *line))
    assert status(answer) == 401
    assert b"workspace" not in answer


def test_the_token_opens(shared: Any, token: str) -> None:
    assert status(shared.raw(head(shared, token=token))) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "", "127.0.0.1:x", "localhost:{}:{}", "[::1"],
)
def test_a_page_that_rebinds_its_name_is_refused(shared: Any, token: str, host: str) -> None:
    answer = shared.raw(head(shared, host=host.format(shared.port, shared.port), token=token))
    assert status(answer) in (400, 421)
    assert b"protocol" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "127.0.0.1:9", "127.0.0.1"]
)
def test_its_own_names_are_answered_also_through_a_tunnel(shared: Any, token: str, host: str) -> None:
    assert status(shared.raw(head(shared, host=host.format(shared.port), token=token))) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:{}",
        "http://127.0.0.1:9",
        "http://127.0.0.1:{}.evil",
        "file://",
    ],
)
def test_a_page_of_another_origin_is_refused(shared: Any, token: str, origin: str) -> None:
    answer = shared.raw(head(shared, "GET /v1/jobs", f"Origin: {origin.format(shared.port)}", token=token))
    assert status(answer) == 403


def test_its_own_page_may_ask(shared: Any, token: str) -> None:
    own = f"Origin: http://127.0.0.1:{shared.port}"
    assert status(shared.raw(head(shared, "GET /v1/jobs", own, token=token))) == 200
    page = shared.raw(head(shared, "GET /"))
    assert status(page) == 200
    assert b"frame-ancestors 'none'" in page
    assert token.encode() not in page


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
)
def test_a_form_is_refused(shared: Any, kind: str) -> None:
    answer, told = shared.call("POST", "/v1/jobs", b"{}", **{"Content-Type": kind})
    assert (answer, told["error"]) == (415, "not-json")


def test_a_body_beyond_the_limit_is_refused(shared: Any, token: str) -> None:
    lines = ("Content-Type: application/json", f"Content-Length: {BODY_MAX + 1}")
    answer = shared.raw(head(shared, "POST /v1/jobs", *lines, token=token))  # told before anything is sent
    assert status(answer) == 413
    assert b"too-large" in answer
    assert shared.call("POST", "/v1/jobs", b" " * BODY_MAX)[0] == 400  # read, and found not to be JSON


def test_a_body_that_announces_no_length_is_limited_too(shared: Any, token: str) -> None:
    request = head(shared, "POST /v1/jobs", "Content-Type: application/json", "Transfer-Encoding: chunked", token=token)
    chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
    try:
        answer = shared.raw(request + chunk * (BODY_MAX // 65536 + 2))
    except ConnectionError:
        answer = b""  # closed while we still sent: as good
    assert status(answer) in (0, 413)
    assert shared.call("GET", "/v1/health")[0] == 200


@pytest.mark.parametrize(
    "bytes_",
    [b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 200_000, b"\x16\x03\x01\x02\x00\x01"],
)
def test_what_is_not_http_is_closed(shared: Any, bytes_: bytes) -> None:
    try:
        answer = shared.raw(bytes_ + b"\r\n\r\n", timeout=1.0)
    except ConnectionError:
        answer = b""
    assert status(answer) in (0, 400, 421)


def test_both_lengths_at_once_are_refused(shared: Any, token: str) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 4", "Content-Length: 5")
    assert status(shared.raw(head(shared, "POST /v1/jobs", *lines, token=token) + b"{}  ")) == 400


def test_websockets_are_refused(shared: Any, token: str) -> None:
    lines = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    request = head(shared, "GET /v1/events", *lines, token=token).replace(b"Connection: close", b"Connection: Upgrade")
    answer = shared.raw(request, timeout=1.0)
    assert status(answer) != 101


def trickled(port: int, first: bytes, drop: bytes) -> float:
    """Seconds until the other side closes, while bytes come one by one."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as line:
        line.sendall(first)
        while time.monotonic() - began < connection.REQUEST_SECS + 10:
            try:
                line.sendall(drop)
                if not line.recv(4096):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "body"])
def test_who_sends_byte_by_byte_is_cut_off(shared: Any, token: str, part: str) -> None:
    request = head(shared, "POST /v1/jobs", "Content-Type: application/json", "Content-Length: 100000", token=token)
    first = request[:40] if part == "head" else request
    assert trickled(shared.port, first, b"x") < connection.REQUEST_SECS + 5


def test_two_hundred_silent_connections_stop_nobody(shared: Any) -> None:
    lines = [socket.create_connection(("127.0.0.1", shared.port), timeout=5) for _ in range(200)]
    try:
        for line in lines:
            line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127")
        assert shared.call("GET", "/v1/health")[0] == 200
    finally:
        for line in lines:
            line.close()
