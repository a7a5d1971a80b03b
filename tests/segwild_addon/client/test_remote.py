"""A backend on another machine, through what `ssh -L` does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address, Backend
from segwild_addon.protocol.events import JobStarted, Numbered
from segwild_addon.protocol.values import ArrayRef

from .conftest import SEARCHED, blobs


class Tunnel:
    """What `ssh -L` does: bytes from one port to another, until it is cut."""

    def __init__(self, host: str, port: int, target: tuple[str, int]) -> None:
        self.target = target
        self.listener = socket.create_server((host, port))
        self.peers: list[socket.socket] = []
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            self.peers += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self.bytes += len(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self) -> None:
        for peer in self.peers:
            for act in (lambda peer=peer: peer.shutdown(socket.SHUT_RDWR), peer.close):
                with contextlib.suppress(OSError):
                    act()
        self.peers.clear()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
def test_a_backend_at_the_far_end_of_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    """The client knows host, port and token; the workspace's files are out of its reach."""
    from segwild_addon.client import arrays

    workspace = tmp_path / "far.segwild"
    blobs(workspace)
    far = np.random.default_rng(0).normal(size=(200_000, 4)).astype(np.float32)
    np.save(workspace / "far.npy", far)
    monkeypatch.setattr(arrays, "_from_file", lambda *_: pytest.fail("a remote file was opened"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": SEARCHED, "SEGWILD_TOKEN": "far"}
    words = ["serve", str(workspace), "--host", "127.0.0.2", "--beyond-this-machine", "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "backend", *words], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    tunnel = None
    backend = Backend(Address("127.0.0.1", port, "far"), downloads=tmp_path / "downloads", after=0)
    try:
        backend.start()
        wait_until(lambda: backend.status.state == "lost", 20)  # no tunnel yet
        assert server.stdout is not None
        assert b'"port"' in server.stdout.readline()
        tunnel = Tunnel("127.0.0.1", port, ("127.0.0.2", port))
        wait_until(lambda: backend.status.state == "running" and backend.listening, 20)
        job = backend.submit("objects")
        tunnel.cut()
        found: list[Any] = []
        while not any(isinstance(item.event, JobStarted) and item.event.job == job.id for item in found):
            item = backend.news.get(timeout=30)
            if isinstance(item, Numbered):
                found.append(item)
        assert [item.seq for item in found] == list(range(1, len(found) + 1))
        digest = hashlib.blake2b((workspace / "far.npy").read_bytes(), digest_size=16).hexdigest()
        found_far = backend.array(ArrayRef("far.npy", "float32", far.shape, digest))
        assert np.array_equal(found_far, far)
        assert list((tmp_path / "downloads").glob("*.npy"))
    finally:
        backend.stop()
        if tunnel is not None:
            tunnel.close()
        server.terminate()
        server.wait(20)
        if server.stdout is not None:
            server.stdout.close()
