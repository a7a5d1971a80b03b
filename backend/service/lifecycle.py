"""The service process from its first line to its last: lock, handshake, parent watch, graceful end."""

from __future__ import annotations

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

import uvicorn

from backend.jobs.interactive import Interactive
from backend.jobs.runner import Runner
from backend.jobs.store import Store
from backend.progress import Progress
from backend.scene import Workspace
from backend.scene.files import disk_trouble
from backend.scene.lock import Locked, locked
from backend.scene.turn import OWNER
from backend.service.app import Service, application
from backend.service.connection import Connection
from backend.service.inside import Inside
from backend.service.stream import Stream
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import InputError, SetupError
from segwild_addon.protocol.requests import Serve

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECTIONS_MAX = 256
LOG_MAX_BYTES = 5 << 20  # a larger one is put aside at the start
END_SECS = 4.0


def run(request: Serve, progress: Progress) -> dict[str, Any]:
    """Serve one workspace until asked to stop. The handshake is one JSON line on standard output."""
    workspace = request.workspace.resolve()
    if request.host not in LOOPBACK and not request.beyond_this_machine:
        raise InputError(
            "not-loopback",
            f"--host {request.host} would let other machines ask.",
            "Use an SSH tunnel instead (docs/remote.md), or add --beyond-this-machine if you know why.",
        )
    if not 0 <= request.port < 65536:
        raise InputError("bad-option", f"--port is {request.port}.", "Give a number from 1 to 65535, or 0 for any.")
    log = (request.log or workspace / "worker.log").resolve()
    if log.is_dir():
        raise InputError("bad-option", f"--log is a folder: {log}.", "Give a file, or leave it out.")
    for place in request.allow:
        if not place.exists():
            progress.warn("folder-missing", "A folder or file of --allow is not there.", [str(place)])
    token = _token()
    Workspace.create(workspace)  # refuses folders of something else, before anything of ours lies there
    try:
        with locked(workspace / OWNER):
            return _served(request, workspace, log, token, progress)
    except OSError as error:
        raise disk_trouble(error, workspace) from error
    except Locked as error:
        raise InputError(
            "already-served", f"Another service or command works on this scene: {workspace}.", "Stop it, or use it."
        ) from error


def _token() -> str:
    """The environment's word, or a new one. Children must not inherit it."""
    token = os.environ.pop("SEGWILD_TOKEN", "") or secrets.token_urlsafe(24)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(
            "bad-token",
            "SEGWILD_TOKEN has characters that a request cannot carry.",
            "Use letters, digits and signs without spaces, or leave it out to get one.",
        )
    return token


def _served(request: Serve, workspace: Path, log: Path, token: str, progress: Progress) -> dict[str, Any]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        log.open("ab").close()
    except OSError as error:
        raise disk_trouble(error, log) from error
    store = Store(workspace / "jobs.sqlite")
    if store.recovered is not None:
        progress.warn("job-table-damaged", "The job table was damaged; it was set aside.", [str(store.recovered)])
    stream = Stream(store)
    listener = _listener(request.host, request.port)
    port = listener.getsockname()[1]
    hosts = frozenset((*LOOPBACK, "[::1]", *_names(request.host)))
    runner = Runner(store, workspace, log, stream.told)
    interactive = Interactive(workspace, log, runner.hold)
    server: _Server | None = None

    def stop() -> None:
        interactive.refuse()  # or the last answers would be waited for
        stream.close()
        if server is not None:
            server.should_exit = True

    service = Service(store, runner, interactive, stream, Inside(workspace, request.allow), stop, time.monotonic())
    config = uvicorn.Config(
        application(service, token, hosts),
        http=Connection,
        ws="none",
        lifespan="off",
        log_level="error",  # bad requests are no news, and whoever started us may not read what we write
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody stands between: what a request says of its origin is not believed
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        backlog=128,
    )
    server = _Server(config, stream, stop)
    if request.with_parent:
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    listener.listen(config.backlog)  # who reads the handshake can connect, even if answers take a moment
    runner.start()
    handshake = {"port": port, "pid": os.getpid(), "protocol": codec.VERSION}
    if not request.with_parent:  # started by hand: the person needs the token, and a page to look at
        host = f"[{request.host}]" if ":" in request.host else request.host
        handshake |= {"token": token, "page": f"http://{host}:{port}/#{token}"}
    sys.stdout.write(json.dumps(handshake) + "\n")
    sys.stdout.flush()
    try:
        server.run(sockets=[listener])
    finally:
        interactive.stop()
        runner.stop()
        store.close()
        listener.close()
    return {"workspace": str(workspace), "served_secs": round(time.monotonic() - service.began, 1)}


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its name: asyncio sets TCP_NODELAY only then, and without it every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # on Windows it would let another program share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except socket.gaierror as error:
        listener.close()
        raise InputError(
            "bad-option", f"--host is no address of this machine ({error.strerror}): {host}.", "Leave it out."
        ) from error
    except OSError as error:
        listener.close()
        raise SetupError(
            "port-taken", f"Port {port} of {host} cannot be used ({error}).", "Leave out --port to get a free one."
        ) from error
    return listener


def _names(host: str) -> set[str]:
    """What other machines may call this one in a Host header."""
    if host not in ("0.0.0.0", "::"):  # compared, not bound  # nosec B104
        return {host.lower(), f"[{host.lower()}]"}
    names = {socket.gethostname().lower(), socket.getfqdn().lower()}
    try:
        addresses = {str(entry[4][0]).lower() for entry in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        addresses = set()
    return names | addresses | {f"[{address}]" for address in addresses if ":" in address}


def _end_with_parent(stop: Any) -> None:
    """Standard input carries nothing: it ends when the parent does.

    Read past sys.stdin, whose lock, held by a waiting thread, aborts the interpreter when it ends.
    """
    while os.read(0, 4096):
        pass
    stop()
    time.sleep(END_SECS)
    os._exit(1)  # whatever hangs, hangs no longer; the workers notice it


class _Server(uvicorn.Server):
    """uvicorn that opens the stream in its loop and ends listeners on a signal."""

    def __init__(self, config: uvicorn.Config, stream: Stream, on_stop: Any) -> None:
        super().__init__(config)
        self.stream, self.on_stop = stream, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.stream.open()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.force_exit = self.force_exit or (sig == signal.SIGINT and self.should_exit)
        self.on_stop()
