"""Load on a real service -> one JSON line per figure.

`python -m benchmarks.service [--quick] [--workspace SCENE --view PHOTO [--gaussians N]] [--append FILE]`

Events: 50 readers while 20 senders submit and cancel jobs, each 5 times a second; every reader must see every
number once and in order. Arrays: 1 GB by file and over HTTP. Health and clicks while a training uses all cores:
see `service_clicks`. Times are those of this machine as it is: `load` says how busy it was before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service_clicks import during_training

ROOT = Path(__file__).parents[1]
TOKEN = "benchmark"
READERS, SENDERS, SEND_EVERY_SECS = 50, 20, 0.2
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class Service:
    """A service process of its own over a scene."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backend", "serve", str(workspace), "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"SEGWILD_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        )
        assert self.process.stdout is not None
        self.port = json.loads(self.process.stdout.readline())["port"]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = self.connection()
        try:
            return asked(connection, method, path, body)
        finally:
            connection.close()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def asked(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    connection.request(method, path, json.dumps(body) if body is not None else None, HEADERS)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {content}")
    return content


class Readers(threading.Thread):
    """All event readers in one thread, so that the measuring itself costs little."""

    def __init__(self, port: int, after: int) -> None:
        super().__init__()
        self.selector, self.ending = selectors.DefaultSelector(), threading.Event()
        self.seqs: list[list[int]] = [[] for _ in range(READERS)]
        self.latencies: list[float] = []
        self.rests = [b""] * READERS
        for number in range(READERS):
            line = socket.create_connection(("127.0.0.1", port))
            line.sendall(
                f"GET /v1/events?after={after} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            self.selector.register(line, selectors.EVENT_READ, number)

    def run(self) -> None:
        received: list[tuple[float, int, bytes]] = []
        while not self.ending.is_set():
            for key, _ in self.selector.select(0.1):
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                received.append((time.time(), key.data, data))
        for now, number, data in received:  # read afterwards: fifty readers have more than this one core
            *lines, self.rests[number] = (self.rests[number] + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    self.seqs[number].append(event["seq"])
                    self.latencies.append(now - event["time"])


def send(port: int, number: int, until: float, sent: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    time.sleep(SEND_EVERY_SECS * number / SENDERS)  # people do not click in step
    while time.monotonic() < until:
        began = time.monotonic()
        job = asked(connection, "POST", "/v1/jobs", {"verb": "export", "request": {"out": "x.ply"}})
        asked(connection, "POST", f"/v1/jobs/{job['id']}/cancel", {})
        sent.append((time.monotonic() - began) / 2)
        time.sleep(max(0.0, SEND_EVERY_SECS - (time.monotonic() - began)))
    connection.close()


def send_all(port: int, secs: float, figures: Any) -> None:
    """All senders, in a process of their own: they must not hold up the readers that measure."""
    sent: list[float] = []
    until = time.monotonic() + secs
    senders = [threading.Thread(target=send, args=(port, number, until, sent)) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    figures.put(statistics.median(sent))


def events(service: Service, secs: float) -> dict[str, tuple[float, str]]:
    """With a first job whose worker is stopped, so that the others wait, and are cancelled waiting."""
    job = service.call("POST", "/v1/jobs", {"verb": "export", "request": {"out": "x.ply"}})["id"]
    worker = worker_of(service)
    os.kill(worker, signal.SIGSTOP)
    first = service.call("GET", "/v1/health")["seq"]
    readers = Readers(service.port, first)
    readers.start()
    spent = cpu_secs(service.process.pid)
    context = multiprocessing.get_context("spawn")
    figures = context.Queue()
    senders = context.Process(target=send_all, args=(service.port, secs, figures))
    senders.start()
    request = figures.get(timeout=secs + 60)
    senders.join()
    spent = cpu_secs(service.process.pid) - spent
    last = service.call("GET", "/v1/health")["seq"]
    time.sleep(1.0)
    readers.ending.set()
    readers.join()
    wrong = sum(seqs != list(range(first + 1, last + 1)) for seqs in readers.seqs)
    service.call("POST", f"/v1/jobs/{job}/cancel", {})
    return {
        "service/readers_with_gaps": (wrong, "readers"),
        "service/events": (last - first, "events"),
        "service/event_median": (1e3 * statistics.median(readers.latencies), "ms"),
        "service/event_p99": (1e3 * float(np.percentile(readers.latencies, 99)), "ms"),
        "service/request_median": (1e3 * request, "ms"),
        # What a busy machine does not change: of the service alone, for a request and its event to all readers.
        "service/cpu_per_event": (1e3 * spent / (last - first), "ms"),
    }


def cpu_secs(pid: int) -> float:
    """Processor time of a process so far."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def worker_of(service: Service, module: str = "backend.jobs.worker") -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if folder.name.isdigit() and module.encode() in words and parent == service.process.pid:
                return int(folder.name)
        time.sleep(0.01)
    raise RuntimeError(f"no {module}")


def timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def arrays(service: Service, workspace: Path, size: int) -> dict[str, tuple[float, str]]:
    folder = workspace / "previews"
    folder.mkdir(exist_ok=True)
    path = folder / "benchmark.npy"
    np.save(path, np.ones(size // 4, np.float32))
    total = path.stat().st_size

    def by_file() -> None:
        assert len(np.array(np.load(path, mmap_mode="r", allow_pickle=False))) > 0  # mapped, and copied once

    def over_http(ranges: int) -> None:
        connection = service.connection()
        step = -(-total // ranges)
        buffer = bytearray(4 << 20)
        seen = 0
        for start in range(0, total, step):
            wanted = HEADERS | {"Range": f"bytes={start}-{min(total, start + step) - 1}"} if ranges > 1 else HEADERS
            connection.request("GET", f"/v1/arrays/previews/{path.name}", headers=wanted)
            answer = connection.getresponse()
            while count := answer.readinto(buffer):
                seen += count
        assert seen == total
        connection.close()

    by_file()
    figures = {
        "service/array_file": (total / 1e6 / min(timed(by_file) for _ in range(3)), "MB/s"),
        "service/array_http": (total / 1e6 / min(timed(lambda: over_http(1)) for _ in range(2)), "MB/s"),
        "service/array_http_ranges": (total / 1e6 / min(timed(lambda: over_http(16)) for _ in range(2)), "MB/s"),
    }
    path.unlink()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, 100 MB instead of 1 GB")
    parser.add_argument("--workspace", type=Path, help="a trained scene, copied; without one: no clicks, no training")
    parser.add_argument("--view", help="photo that is clicked")
    parser.add_argument("--gaussians", type=int, default=200_000, help="to which the scene is enlarged for clicks")
    parser.add_argument("--only", choices=("events", "arrays", "clicks"), help="one part alone")
    parser.add_argument("--append", type=Path, help="file of JSON lines to add to")
    options = parser.parse_args()
    secs = 8.0 if options.quick else 60.0
    if options.workspace and not options.view:
        parser.error("--workspace needs --view")
    parts = [options.only] if options.only else ["events", "arrays", *(["clicks"] if options.workspace else [])]
    load = os.getloadavg()[0]
    figures: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.segwild"
        service = Service(Path(folder) / "empty.segwild")
        try:
            if "events" in parts:
                figures |= events(service, secs)
            if "arrays" in parts:
                figures |= arrays(service, service.workspace, 100_000_000 if options.quick else 1_000_000_000)
        finally:
            service.close()
        if "clicks" in parts:
            shutil.copytree(options.workspace, scene)
            for name in ("segments.json", "jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"):
                (scene / name).unlink(missing_ok=True)
            figures |= during_training(scene, options.view, options.gaussians, 4 * secs if options.quick else 2 * secs)
    facts = {"scene": options.workspace.name if options.workspace else None, "cores": os.cpu_count(), "load": load}
    for name, (value, unit) in figures.items():
        line = json.dumps(
            {"name": name, "value": round(value, 3), "unit": unit, **facts, "python": platform.python_version()}
        )
        print(line, flush=True)
        if options.append:
            with options.append.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
