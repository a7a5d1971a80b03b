"""A request ends within its limit with an answer or an error of our tree, whatever the peer does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segwild_addon.client.http import CLOSED, LOST, SILENT, Address, Http
from segwild_addon.protocol.errors import InputError, ProtocolError, ResourceError, SegWildError

LIMIT = 0.6


def way(fake) -> Http:
    return Http(Address("127.0.0.1", fake.port, fake.token))


def test_an_answer_arrives(fake) -> None:
    assert way(fake).get("/v1/health")["protocol"] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("hang", SILENT),
        ("drip", SILENT),  # a timeout per read would never strike
        ("garbage", "bad-answer"),
        ("html", "bad-json"),
        ("error", "bad-answer"),
        ("cut", LOST),
        ("hang-up", LOST),
        ("wrong-length", None),
        ("endless", None),  # too large, or not in time
    ],
)
def test_no_fault_holds_a_call_beyond_its_limit(fake, fault: str, code: str | None) -> None:
    fake.fault = fault
    began = time.monotonic()
    with pytest.raises(SegWildError) as caught:
        way(fake).get("/v1/health", timeout_secs=LIMIT)
    assert time.monotonic() - began < LIMIT + 2
    assert code is None or caught.value.code == code
    assert caught.value.sentence.endswith(".")


def test_a_peer_that_never_accepts_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(ResourceError) as caught:
            Http(Address("127.0.0.1", listener.getsockname()[1], "t")).get("/v1/health", timeout_secs=LIMIT)
    assert caught.value.code == SILENT
    assert time.monotonic() - began < LIMIT + 2


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ResourceError) as caught:
        Http(Address("127.0.0.1", port, "t")).get("/v1/health")
    assert caught.value.code == LOST


def test_closing_ends_a_call_under_way(fake) -> None:
    fake.fault = "hang"
    http, errors = way(fake), []

    def ask() -> None:
        try:
            http.get("/v1/health", timeout_secs=30)
        except SegWildError as error:
            errors.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    http.close()
    thread.join(1.0)
    assert not thread.is_alive()
    assert errors == [CLOSED]
    with pytest.raises(ResourceError):
        http.get("/v1/health")


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "code"),
    [
        ("POST", "/v1/jobs", {"verb": "format-disk", "request": {}}, ProtocolError, "unknown-verb"),
        ("POST", "/v1/ask", {"kind": "Prepare", "view": "nowhere"}, InputError, "unknown-photo"),
        ("GET", "/v1/jobs/0123", None, InputError, "not-found"),
        ("POST", "/v1/jobs", {"verb": "x" * (1 << 20), "request": {}}, InputError, "too-large"),
    ],
)
def test_a_refusal_is_the_error_it_stands_for(fake, method: str, path: str, body, kind: type, code: str) -> None:
    with pytest.raises(kind) as caught:
        way(fake).get(path) if method == "GET" else way(fake).post(path, body)
    assert caught.value.code == code


def test_a_wrong_token_is_refused_and_never_shown(fake) -> None:
    address = Address("127.0.0.1", fake.port, "not the token")
    assert "not the token" not in repr(address)
    with pytest.raises(ProtocolError) as caught:
        Http(address).get("/v1/health")
    assert caught.value.code == "no-token"


def test_no_proxy_is_asked(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert way(fake).get("/v1/health")


@pytest.fixture(scope="module")
def parrot() -> Iterator[Callable[[bytes], int]]:
    """A server that answers with the bytes it was told to, whatever is asked."""
    words = [b""]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(65536)
                    peer.sendall(words[0])
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def say(text: bytes) -> int:
        words[0] = text
        return listener.getsockname()[1]

    yield say
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


_HEADS = st.sampled_from(
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: "]
)
_MIDDLES = st.sampled_from(
    [b"", b"-1\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)


@given(_HEADS, _MIDDLES, st.binary(max_size=60))
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_an_answer_or_one_of_our_errors(parrot, head: bytes, middle: bytes, rest: bytes) -> None:
    http = Http(Address("127.0.0.1", parrot(head + middle + rest), "t"))
    with contextlib.suppress(SegWildError):
        http.get("/v1/health", timeout_secs=2.0)
