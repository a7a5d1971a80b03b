"""A real service process over a workspace, and what a test says to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.capture.pictures import write_picture

TOKEN = "a-token-of-the-tests"
LONG = {"preset": "quick", "iterations": 200_000, "long_side": 64, "cap": 1500}  # a training without end


class Served:
    """One `segwild serve` process."""

    def __init__(self, workspace: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.workspace = workspace
        self.errors = workspace.parent / f"{workspace.name}-serve-{time.monotonic_ns()}.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend", "serve", str(workspace), "--with-parent", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"SEGWILD_TOKEN": TOKEN} | (environment or {}),
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        self.handshake: dict[str, Any] = json.loads(line)
        self.port: int = self.handshake["port"]

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"} | more

    def connection(self, timeout: float = 240.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer; a body that is not bytes is sent as JSON."""
        connection = self.connection()
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, body=data, headers=self.headers(**headers))
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def ask_quietly(self, question: dict[str, Any]) -> None:
        """For a thread: whatever comes of it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.call("POST", "/v1/ask", question)

    def raw(self, request: bytes, timeout: float = 5.0) -> bytes:
        """What comes back for these bytes until the other side closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as line:
            line.sendall(request)
            parts = []
            try:
                while part := line.recv(65536):
                    parts.append(part)
            except TimeoutError:
                pass
            return b"".join(parts)

    def submit(self, verb: str, **request: Any) -> str:
        status, job = self.call("POST", "/v1/jobs", {"verb": verb, "request": request})
        assert status == 202, job
        return job["id"]

    def job(self, job: str) -> dict[str, Any]:
        status, found = self.call("GET", f"/v1/jobs/{job}")
        assert status == 200
        return found

    def wait(self, job: str, *states: str, timeout: float = 240.0) -> dict[str, Any]:
        return until(lambda: (found := self.job(job))["state"] in states and found, timeout)

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they come; ends when the line does."""
        connection = self.connection()
        connection.request("GET", f"/v1/events?after={after}", headers=self.headers())
        answer = connection.getresponse()
        assert answer.status == 200
        try:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()

    def events_until(self, kind: str, after: int = 0) -> list[dict[str, Any]]:
        found = []
        for event in self.events(after):
            found.append(event)
            if event["event"]["kind"] == kind:
                return found
        raise AssertionError(f"no {kind} in {found}")

    def events_until_quiet(self) -> list[dict[str, Any]]:
        """All events there are by now."""
        last, found = self.call("GET", "/v1/health")[1]["seq"], []
        for event in self.events():
            found.append(event)
            if event["seq"] >= last:
                break
        return found

    def started(self, job: str) -> int:
        """Wait until the job's worker trains; its process id."""
        until(lambda: self.told(job, "JobProgress"), 300)  # others may want the cores
        return self.workers("backend.jobs.worker")[0]

    def told(self, job: str, kind: str) -> list[dict[str, Any]]:
        """Events of one kind about a job, from the table itself."""
        import sqlite3

        with sqlite3.connect(f"file:{self.workspace / 'jobs.sqlite'}?mode=ro", uri=True) as table:
            rows = table.execute("select event from events where job = ? and kind = ?", (job, kind)).fetchall()
        table.close()
        return [json.loads(text) for (text,) in rows]

    def workers(self, module: str = "backend.jobs") -> list[int]:
        """Processes of ours that work for this service."""
        return [pid for pid, parent, words in processes() if module in words and self.process.pid in ancestors(pid)]

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(10)

    def close(self) -> float:
        """As a parent that ends: seconds until the service is gone."""
        began = time.monotonic()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        took = time.monotonic() - began
        self.process.stdout.close()
        if not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        return took


def processes() -> list[tuple[int, int, str]]:
    """(pid, parent, command line) of every process that is not a zombie."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                facts = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if facts[0] not in "ZX":
                found.append((int(folder.name), int(facts[1]), words))
    return found


def ancestors(pid: int) -> list[int]:
    parents = {pid: parent for pid, parent, _ in processes()}
    found = []
    while pid in parents and pid not in found:
        found.append(pid)
        pid = parents[pid]
    return found[1:]


def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What `condition` returns as soon as it is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts services that end with the test."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("looks for processes in /proc")
    started: list[Served] = []

    def begin(workspace: Path, *options: str, **more: Any) -> Served:
        started.append(Served(workspace, *options, **more))
        return started[-1]

    yield begin
    for served in started:
        served.close()


@pytest.fixture
def overlapping(tmp_path: Path) -> Path:
    """A folder of photos that share details: windows of one large picture of noise."""
    chance = np.random.default_rng(1)
    wide = np.kron(chance.integers(0, 255, (60, 120, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    for number in range(4):
        write_picture(tmp_path / "photos" / f"w{number}.jpg", wide[:, 60 * number : 60 * number + 400])
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service over an empty scene, for tests that leave it as it is."""
    served = Served(tmp_path_factory.mktemp("shared") / "scene.segwild")
    yield served
    served.close()


@pytest.fixture
def long_request() -> dict[str, Any]:
    return dict(LONG)


@pytest.fixture
def waiting() -> Callable[..., Any]:
    return until


@pytest.fixture
def seen() -> Callable[[], list[tuple[int, int, str]]]:
    return processes


@pytest.fixture
def token() -> str:
    return TOKEN
