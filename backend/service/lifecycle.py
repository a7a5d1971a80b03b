"""The service process from its first line to its last: lock, handshake, parent watch, graceful end."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from backend.jobs.interactive import Interactive
from backend.jobs.runner import Runner
from backend.jobs.store import Store
from backend.progress import Progress
from backend.scene.lock import Locked, locked
from backend.service.app import Service, application
from backend.service.inside import Inside
from backend.service.stream import Stream
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import InputError, SetupError
from segwild_addon.protocol.requests import Serve

LOOPBACK = ("127.0.0.1", "::1", "localhost")
REQUEST_SECS = 15.0  # for the head and body of a request to arrive: a slow-loris holds no connection longer
CONNECTIONS_MAX = 256


def run(request: Serve, progress: Progress) -> dict[str, Any]:
    """Serve one workspace until asked to stop. The handshake is one JSON line on standard output."""
    workspace = request.workspace.resolve()
    if request.host not in LOOPBACK and not request.beyond_this_machine:
        raise InputError(
            "not-loopback",
            f"--host {request.host} would let other machines ask.",
            "Use an SSH tunnel instead (docs/remote.md), or add --beyond-this-machine if you know why.",
        )
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("workspace-unwritable", f"The scene's folder cannot be made ({error}).") from error
    token = os.environ.pop("SEGWILD_TOKEN", "") or secrets.token_urlsafe(24)
    try:
        with locked(workspace / "service.lock"):
            return _served(request, workspace, token, progress)
    except Locked as error:
        raise InputError(
            "already-served", f"Another service works on this scene: {workspace}.", "Stop it, or use it."
        ) from error


def _served(request: Serve, workspace: Path, token: str, progress: Progress) -> dict[str, Any]:
    log = (request.log or workspace / "worker.log").resolve()
    log.parent.mkdir(parents=True, exist_ok=True)
    store = Store(workspace / "jobs.sqlite")
    if store.recovered is not None:
        progress.warn("job-table-damaged", "The job table was damaged; it was set aside.", [str(store.recovered)])
    stream = Stream(store)
    listener = _listener(request.host, request.port)
    port = listener.getsockname()[1]
    hosts = frozenset(f"{host}:{port}" for host in (*LOOPBACK, "[::1]", request.host.lower()))
    interactive = Interactive(workspace, log)
    runner = Runner(store, workspace, log, stream.told)
    server: _Server | None = None

    def stop() -> None:
        stream.close()
        if server is not None:
            server.should_exit = True

    service = Service(store, runner, interactive, stream, Inside(workspace, request.allow), stop, time.monotonic())
    config = uvicorn.Config(
        application(service, token, hosts),
        http=_ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        backlog=128,
    )
    server = _Server(config, stream, stop)
    if request.with_parent:
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    runner.start()
    handshake = {"port": port, "pid": os.getpid(), "protocol": codec.VERSION}
    if not request.with_parent:  # started by hand: the person needs the token, and a page to look at
        handshake |= {"token": token, "page": f"http://127.0.0.1:{port}/#{token}"}
    sys.stdout.write(json.dumps(handshake) + "\n")
    sys.stdout.flush()
    try:
        server.run(sockets=[listener])
    finally:
        runner.stop()
        interactive.stop()
        store.close()
        listener.close()
    return {"workspace": str(workspace), "served_secs": round(time.monotonic() - service.began, 1)}


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # on Windows it would let another program share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SetupError(
            "port-taken", f"Port {port} of {host} cannot be used ({error}).", "Leave out --port to get a free one."
        ) from error
    return listener


def _end_with_parent(stop: Any) -> None:
    """Standard input carries nothing: it ends when the parent does."""
    while sys.stdin.buffer.read(4096):
        pass
    stop()
    time.sleep(4.0)
    os._exit(1)  # whatever hangs, hangs no longer


class _Server(uvicorn.Server):
    """uvicorn that opens the stream in its loop and ends listeners on a signal."""

    def __init__(self, config: uvicorn.Config, stream: Stream, on_stop: Any) -> None:
        super().__init__(config)
        self.stream, self.on_stop = stream, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.stream.open()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.on_stop()
        if sig == signal.SIGINT and self.should_exit:
            self.force_exit = True


class _ImpatientProtocol(H11Protocol):
    """Closes a connection whose request does not arrive in time."""

    _deadline: asyncio.TimerHandle | None = None

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
