"""Processes are killed at random moments: nothing that was finished is lost, nobody is left behind.

Of the MOMENTS of each victim the default run takes one, `-m slow` another, `-m soak` the rest. All of them:
`pytest -m "" tests/backend/service/test_faults.py -k is_killed`.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.formats import ply
from backend.scene import Workspace
from backend.scene.files import read_arrays, read_json

MOMENTS = 20  # for each of: the service, its job worker, its interactive worker, the program that started it
ENDED = ("done", "failed", "cancelled")


def _marks(seed: int) -> list[pytest.MarkDecorator]:
    return [] if seed == 0 else [pytest.mark.slow] if seed == 1 else [pytest.mark.soak]


moments = [pytest.param(seed, marks=_marks(seed), id=f"moment{seed}") for seed in range(MOMENTS)]
# A training of a second or two, then what writes files: a kill falls into any of them.
CHAIN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("train", {"preset": "quick", "iterations": 30, "long_side": 32, "cap": 800}),
    ("export", {"out": "exports/a.ply"}),
)


def assert_whole(root: Path) -> None:
    """Every file that is there can be read; nothing half-written has a finished name."""
    assert read_json(root / "scene.json")["format"] == 1
    workspace = Workspace.open(root)
    assert len(workspace.photos()) == 6
    for path in root.rglob("*.safetensors"):
        read_arrays(path)
    for path in root.rglob("*.npy"):
        np.load(path, allow_pickle=False)
    for path in root.rglob("*.ply"):
        assert path.stat().st_size > 0
        ply.read_ply(path)


def queue_all(served: Any) -> list[str]:
    jobs = []
    for verb, request in CHAIN:
        status, job = served.call(
            "POST", "/v1/jobs", {"verb": verb, "request": request, "snapshot_secs": 1 if verb == "train" else 0}
        )
        assert status == 202, job
        jobs.append(job["id"])
    return jobs


def assert_gone(pids: list[int], seen: Callable[..., Any], waiting: Callable[..., Any]) -> None:
    waiting(lambda: not [pid for pid, _, _ in seen() if pid in pids], 5)


def ended(served: Any, jobs: list[str]) -> list[dict[str, Any]]:
    found = [served.wait(job, *ENDED, timeout=400) for job in jobs]
    for job in found:
        if job["state"] == "failed":
            assert job["error"]["sentence"].endswith(".")
            assert job["error"]["hint"]
    return found


@pytest.mark.parametrize("seed", moments)
def test_the_service_is_killed(
    serve: Callable[..., Any],
    photographed: Workspace,
    seen: Callable[..., Any],
    waiting: Callable[..., Any],
    seed: int,
) -> None:
    served = serve(photographed.root)
    jobs = queue_all(served)
    time.sleep(random.Random(seed).uniform(0.0, 6.0))
    before = {job["id"]: job for job in served.call("GET", "/v1/jobs")[1]}
    children = served.workers()
    served.kill()
    assert_gone(children, seen, waiting)
    assert_whole(photographed.root)
    again = serve(photographed.root)
    after = {job["id"]: job for job in again.call("GET", "/v1/jobs")[1]}
    for name, job in before.items():
        if job["state"] in ENDED:
            assert after[name] == job  # what was finished stays finished
    assert [job["state"] for job in ended(again, jobs)] == ["done", "done"]
    seqs = [event["seq"] for event in again.events_until_quiet()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert_whole(photographed.root)


@pytest.mark.parametrize("seed", moments)
def test_the_job_worker_is_killed(
    serve: Callable[..., Any], photographed: Workspace, waiting: Callable[..., Any], seed: int
) -> None:
    served = serve(photographed.root)
    jobs = queue_all(served)
    time.sleep(random.Random(100 + seed).uniform(0.0, 6.0))
    workers = served.workers("backend.jobs.worker")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    found = ended(served, jobs)
    killed = [job for job in found if job["state"] == "failed" and job["error"]["code"] == "worker-killed"]
    assert len(killed) <= len(workers)
    assert_whole(photographed.root)
    again = [served.submit(verb, **request) for verb, request in CHAIN if verb == "train" or not killed]
    assert {job["state"] for job in ended(served, again)} == {"done"}
    assert_whole(photographed.root)


@pytest.mark.parametrize("seed", moments)
def test_the_interactive_worker_is_killed(
    serve: Callable[..., Any], blobs: Any, waiting: Callable[..., Any], seed: int
) -> None:
    served = serve(blobs.workspace.root)
    chance = random.Random(200 + seed)
    x, y = blobs.pixel(blobs.red)
    click = {"kind": "Preview", "view": "a0", "click": [f"{x:.0f},{y:.0f},+"]}
    import threading

    answers: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(served.call("POST", "/v1/ask", click)))
    asking.start()
    workers = waiting(lambda: served.workers("backend.jobs.interactive"))
    time.sleep(chance.uniform(0.0, 5.0))
    os.kill(workers[0], signal.SIGKILL)
    asking.join(240)  # kernels may have to be compiled anew
    status, told = answers[0]
    assert status == 200 or (status, told["error"]) == (507, "worker-killed")
    assert served.call("GET", "/v1/health")[0] == 200
    status, told = served.call("POST", "/v1/ask", click)
    assert status == 200, told
    assert told["count"] > 100


PARENT = """
import os, subprocess, sys, time
service = subprocess.Popen([sys.executable, "-m", "backend", "serve", sys.argv[1], "--with-parent"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(service.stdout.readline().decode().strip(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("seed", moments)
def test_the_parent_is_killed(
    serve: Callable[..., Any],
    photographed: Workspace,
    seen: Callable[..., Any],
    waiting: Callable[..., Any],
    token: str,
    seed: int,
) -> None:
    import http.client
    import json

    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(photographed.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"SEGWILD_TOKEN": token},
    ) as parent:
        assert parent.stdout is not None
        handshake = json.loads(parent.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", handshake["port"], timeout=10)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for verb, request in CHAIN:
            connection.request("POST", "/v1/jobs", json.dumps({"verb": verb, "request": request}), headers)
            assert connection.getresponse().read()
        connection.request("POST", "/v1/ask", json.dumps({"kind": "Prepare", "view": "p0"}), headers)
        time.sleep(random.Random(300 + seed).uniform(0.0, 6.0))
        family = [pid for pid, _, _ in seen() if handshake["pid"] in _line_of(pid, seen())]
        parent.kill()
    assert_gone([handshake["pid"], *family], seen, waiting)
    connection.close()
    assert_whole(photographed.root)
    again = serve(photographed.root)
    jobs = [job["id"] for job in again.call("GET", "/v1/jobs")[1]]
    assert len(jobs) == len(CHAIN)
    assert [job["state"] for job in ended(again, jobs)] == ["done", "done"]
    assert_whole(photographed.root)


def _line_of(pid: int, found: list[tuple[int, int, str]]) -> list[int]:
    parents = {child: parent for child, parent, _ in found}
    line = []
    while pid in parents and pid not in line:
        line.append(pid)
        pid = parents[pid]
    return line


def test_a_worker_that_hangs_is_cancelled_within_two_seconds(
    serve: Callable[..., Any], photographed: Workspace, long_request: dict[str, Any]
) -> None:
    served = serve(photographed.root)
    job = served.submit("train", **long_request)
    behind = served.submit("export", out="a.ply")
    worker = served.started(job)
    os.kill(worker, signal.SIGSTOP)
    assert served.call("POST", f"/v1/jobs/{behind}/cancel", {})[1]["state"] == "cancelled"  # at once: it only waits
    began = time.monotonic()
    served.call("POST", f"/v1/jobs/{job}/cancel", {})
    served.wait(job, "cancelled", timeout=2.0)
    assert time.monotonic() - began < 2
    assert worker not in served.workers()


def test_a_job_that_is_interrupted_three_times_fails_with_a_sentence(
    serve: Callable[..., Any], photographed: Workspace, long_request: dict[str, Any]
) -> None:
    served = serve(photographed.root)
    job = served.submit("train", **long_request)
    for attempt in (1, 2, 3):
        assert served.wait(job, "running")["attempts"] == attempt
        served.kill()
        served = serve(photographed.root)
    found = served.wait(job, "failed")
    assert found["error"]["code"] == "interrupted"


def test_running_out_of_memory_is_a_sentence_with_a_hint(
    serve: Callable[..., Any], photographed: Workspace, waiting: Callable[..., Any], hollow_splats: Path
) -> None:
    """A worker that may have a gigabyte and a half is given a file of 3.4."""
    resource = pytest.importorskip("resource", reason="limits of memory are POSIX's")
    served = serve(photographed.root, "--allow", str(hollow_splats.parent))
    job = served.submit("import", file=str(hollow_splats), out=str(photographed.root))
    (worker,) = waiting(lambda: served.workers("backend.jobs.worker"))
    resource.prlimit(worker, resource.RLIMIT_DATA, (3 << 29, 3 << 29))
    found = served.wait(job, *ENDED, timeout=60)
    assert (found["state"], found["error"]["code"]) == ("failed", "out-of-memory"), found
    assert "--cap" in found["error"]["hint"]
    assert_whole(photographed.root)
    assert served.wait(served.submit("appearance"), *ENDED)["state"] in ENDED  # the next one starts as ever


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take what is left of the disk."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017


def test_the_service_on_a_full_disk_says_so_and_recovers(
    serve: Callable[..., Any], blobs: Any, small_disk: Path
) -> None:
    import shutil

    root = small_disk / "scene"
    shutil.copytree(blobs.workspace.root, root)
    served = serve(root)
    job = served.submit("export", out="a.ply")
    found = served.wait(job, "failed")
    assert found["error"]["code"] == "disk-full"
    filler = small_disk / "filler"
    fill(filler)
    answers = [served.call("POST", "/v1/jobs", {"verb": "export", "request": {"out": "a.ply"}}) for _ in range(200)]
    full = [told for status, told in answers if status == 507]
    assert full
    assert {status for status, _ in answers} <= {202, 507}
    assert full[0]["hint"]
    assert served.call("GET", "/v1/health")[0] == 200
    filler.unlink()
    accepted = [told["id"] for status, told in answers if status == 202]
    last = served.submit("export", out="a.ply")
    for name in (*accepted, last):
        assert served.wait(name, "failed")["error"]["code"] == "disk-full"
