"""The service from its first line to its last."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwild_addon.client.http import Address, Http
from segwild_addon.client.stream import Reader, Rewound

ROOT = Path(__file__).parents[3]


def refused(*words: str) -> str:
    """What a service that does not start says."""
    done = subprocess.run(
        [sys.executable, "-m", "backend", "serve", *words, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "400"},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)["error"]


def test_the_service_loads_nothing_heavy() -> None:
    """It answers while a training uses all memory and cores, and starts at once."""
    probe = (
        "import sys, backend.service.lifecycle, backend.jobs.worker, backend.jobs.interactive;"
        "sys.exit(', '.join(sorted({'torch', 'numba', 'scipy', 'PIL', 'sklearn'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_handshake_says_where_and_the_port_is_open_at_once(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(tmp_path / "scene.segwild")
    with socket.create_connection(("127.0.0.1", served.port), timeout=1):
        pass
    assert set(served.handshake) == {"port", "pid", "protocol"}  # the parent knows the token
    assert served.handshake["pid"] == served.process.pid
    answer, health = served.call("GET", "/v1/health")
    assert answer == 200
    assert health["recovered"] is None


def test_a_file_may_be_allowed_and_what_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.pth").touch()
    places = [word for name in ("net.pth", "none.pth") for word in ("--allow", str(tmp_path / name))]
    done = subprocess.run(
        [sys.executable, "-m", "backend", "serve", str(tmp_path / "scene.segwild"), "--with-parent", *places],
        stdin=subprocess.DEVNULL,  # it ends at once
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "400"},
    )
    assert done.returncode == 0
    assert "none.pth" in done.stderr
    assert "net.pth" not in done.stderr


def test_by_hand_it_makes_a_token_and_a_page(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SEGWILD_TOKEN"}
    command = [sys.executable, "-m", "backend", "serve", str(tmp_path / "scene.segwild")]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        handshake = json.loads(process.stdout.readline())
        assert len(handshake["token"]) >= 32
        assert handshake["page"].endswith(f":{handshake['port']}/#{handshake['token']}")
        with urllib.request.urlopen(handshake["page"].partition("#")[0], timeout=10) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)  # Ctrl+C
        assert process.wait(5) == 0


def test_a_second_service_on_one_scene_is_refused(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(tmp_path / "scene.segwild")
    assert refused(str(served.workspace)) == "already-served"
    assert served.call("GET", "/v1/health")[0] == 200
    served.kill()
    assert serve(served.workspace).call("GET", "/v1/health")[0] == 200  # the lock died with its holder


def test_a_port_that_is_taken_is_a_sentence(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(tmp_path / "scene.segwild")
    assert refused(str(tmp_path / "other.segwild"), "--port", str(served.port)) == "port-taken"
    served.close()
    assert serve(tmp_path / "other.segwild", "--port", str(served.port)).port == served.port


def test_folders_of_something_else_and_other_machines_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("Dear")
    assert refused(str(tmp_path / "letters")) == "not-a-workspace"
    assert sorted(path.name for path in (tmp_path / "letters").iterdir()) == ["letter.txt"]
    assert refused(str(tmp_path / "letters" / "letter.txt")) == "not-a-folder"
    assert refused(str(tmp_path / "scene.segwild"), "--host", "0.0.0.0") == "not-loopback"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--port", "65536"), "bad-option"),
        (("--port", "-1"), "bad-option"),
        (("--log", "{}"), "bad-option"),
        (("--log", "{}/letter.txt/worker.log"), "write-failed"),
        (("--host", "no such host", "--beyond-this-machine"), "bad-option"),
    ],
)
def test_options_that_cannot_be_are_sentences(tmp_path: Path, words: tuple[str, ...], code: str) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    assert refused(str(tmp_path / "scene.segwild"), *(word.format(tmp_path) for word in words)) == code


@pytest.mark.parametrize("word", ["two words", "grün", "line\nbreak"])
def test_a_token_that_no_header_carries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("SEGWILD_TOKEN", word)
    assert refused(str(tmp_path / "scene.segwild")) == "bad-token"


def test_an_empty_scene_takes_an_import(serve: Callable[..., Any], blobs: Any, tmp_path: Path) -> None:
    """A new folder that the service has begun is one that stages accept."""
    served = serve(blobs.workspace.root)
    assert served.wait(served.submit("export", out="a.ply"), "done", "failed")["state"] == "done"
    served.close()
    other = serve(tmp_path / "new.segwild", "--allow", str(blobs.workspace.root))
    job = other.wait(other.submit("import", file=str(blobs.workspace.root / "a.ply")), "done", "failed")
    assert job["state"] == "done", job
    told = [event["event"] for event in other.events_until("JobDone")]
    assert [event.get("what") for event in told if event["kind"] == "SceneChanged"] == ["cameras", "gaussians"]


@pytest.mark.parametrize("way", ["request", pytest.param("signal", marks=pytest.mark.slow), "parent"])
def test_it_stops_within_three_seconds_also_with_everything_going_on(
    serve: Callable[..., Any],
    photographed: Any,
    long_request: dict[str, Any],
    waiting: Callable[..., Any],
    seen: Callable[..., Any],
    way: str,
) -> None:
    served = serve(photographed.root)
    job = served.submit("train", **long_request)
    served.started(job)
    ears = [threading.Thread(target=lambda: list(served.events()), daemon=True) for _ in range(3)]
    answers: list[Any] = []
    ears.append(
        threading.Thread(
            target=lambda: answers.append(served.call("POST", "/v1/ask", {"kind": "Prepare", "view": "p0"})),
            daemon=True,
        )
    )
    silent = socket.create_connection(("127.0.0.1", served.port), timeout=5)
    silent.sendall(b"POST /v1/jobs HTTP/1.1\r\n")
    for ear in ears:
        ear.start()
    waiting(lambda: served.workers("backend.jobs.interactive"))
    children = served.workers()
    began = time.monotonic()
    if way == "request":
        assert served.call("POST", "/v1/stop", {})[0] == 202
    elif way == "signal":
        served.process.terminate()
    else:
        served.process.stdin.close()
    assert served.process.wait(10) == 0
    assert time.monotonic() - began < 3
    silent.close()
    for ear in ears:
        ear.join(5)
        assert not ear.is_alive()
    assert answers[0][0] in (422, 507)
    assert not [pid for pid, _, _ in seen() if pid in children]
    again = serve(photographed.root)
    assert again.wait(job, "running")["attempts"] == 1  # a stop in order is no failed attempt
    assert again.call("POST", f"/v1/jobs/{job}/cancel", {})[0] == 202
    again.wait(job, "cancelled")


def test_a_damaged_table_is_told_and_the_service_goes_on(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(tmp_path / "scene.segwild")
    job = served.submit("export", out="a.ply")
    served.wait(job, "failed")
    served.close()
    table = served.workspace / "jobs.sqlite"
    table.write_bytes(table.read_bytes()[:3000])
    again = serve(served.workspace)
    recovered = Path(again.call("GET", "/v1/health")[1]["recovered"])
    assert recovered.exists()
    assert again.call("GET", "/v1/jobs") == (200, [])
    assert "set aside" in again.errors.read_text()


@pytest.mark.parametrize("length", [0, 100, 4096, 20_000])
def test_a_listener_notices_that_a_damaged_table_was_set_aside(
    serve: Callable[..., Any], tmp_path: Path, token: str, length: int
) -> None:
    """Also where the new table has told more than the old one had when the listener last heard of it."""
    served = serve(tmp_path / "scene.segwild")
    for _ in range(2):
        served.submit("objects", action="list")
    ways = [Http(Address("127.0.0.1", served.port, token))]
    heard: queue.Queue[Any] = queue.Queue()
    reader = Reader(lambda: ways[0], heard, after=0)
    reader.start()
    try:
        before = [heard.get(timeout=10) for _ in range(2)]
        served.close()
        while not heard.empty():
            before.append(heard.get())
        table = served.workspace / "jobs.sqlite"
        table.write_bytes(table.read_bytes()[:length])
        again = serve(served.workspace)
        for _ in range(len(before) + 3):
            again.submit("objects", action="list")
        assert again.call("GET", "/v1/health")[1]["seq"] > len(before)
        ways[0] = Http(Address("127.0.0.1", again.port, token))
        told = [heard.get(timeout=10) for _ in range(len(before) + 4)]
        assert isinstance(told[0], Rewound)
        assert [item.seq for item in told[1:]] == list(range(1, len(told)))
        assert not jobs_of(before) & jobs_of(told[1:])
    finally:
        reader.stop()


def jobs_of(heard: list[Any]) -> set[str]:
    return {item.event.job for item in heard if hasattr(item.event, "job")}


def test_the_page_needs_no_token_and_tells_nothing(shared: Any) -> None:
    assert str(shared.workspace).encode() not in shared.raw(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )


def test_a_log_does_not_grow_for_ever(serve: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "scene.segwild" / "worker.log"
    log.parent.mkdir()
    (log.parent / "scene.json").write_text(json.dumps({"format": 1, "made": {}}))
    log.write_bytes(b"x" * (6 << 20))
    serve(tmp_path / "scene.segwild")
    assert log.stat().st_size == 0
    assert log.with_name("worker.log.1").stat().st_size == 6 << 20


def test_clicks_are_answered_with_packed_rows(serve: Callable[..., Any], blobs: Any) -> None:
    served = serve(blobs.workspace.root)
    answer, ready = served.call("POST", "/v1/ask", {"kind": "Prepare", "view": "a0"})
    assert answer == 200, ready
    assert ready["gaussians"] == len(blobs.scene)
    x, y = blobs.pixel(blobs.red)
    answer, told = served.call("POST", "/v1/ask", {"kind": "Preview", "view": "a0", "click": [f"{x:.0f},{y:.0f},+"]})
    assert answer == 200, told
    connection = served.connection()
    connection.request("GET", f"/v1/arrays/{told['rows']['path']}", headers=served.headers())
    body = connection.getresponse().read()
    connection.close()
    assert body == (served.workspace / told["rows"]["path"]).read_bytes()
    bits = np.load(served.workspace / told["rows"]["path"], allow_pickle=False)
    rows = np.flatnonzero(np.unpackbits(bits, bitorder="little", count=told["gaussians"]))
    assert len(rows) == told["count"]
    assert blobs.iou(rows, blobs.red) > 0.8
    answer, told = served.call("POST", "/v1/ask", {"kind": "Preview", "view": "a0", "click": ["here"]})
    assert answer == 422
    os.kill(served.workers("backend.jobs.interactive")[0], signal.SIGKILL)
    answer, told = served.call("POST", "/v1/ask", {"kind": "Prepare", "view": "none"})
    assert (answer, told["error"]) in ((422, "unknown-photo"), (507, "worker-killed"))
    assert served.call("POST", "/v1/ask", {"kind": "Prepare", "view": "a0"})[0] == 200


def test_a_training_shows_how_it_grows_and_lets_clicks_through(
    serve: Callable[..., Any], photographed: Any, long_request: dict[str, Any]
) -> None:
    served = serve(photographed.root)
    body = {"verb": "train", "request": long_request, "snapshot_secs": 1}
    status, job = served.call("POST", "/v1/jobs", body)
    assert status == 202
    shown = []
    for event in served.events():
        if event["event"].get("what") == "snapshot":
            shown.append(event["event"]["snapshot"])
            for name in ("means", "colors", "scales", "quats", "opacities"):
                array = np.load(served.workspace / shown[-1][name]["path"], mmap_mode="r", allow_pickle=False)
                assert list(array.shape) == shown[-1][name]["shape"]
                assert np.isfinite(array).all()
        if len(shown) == 2:
            break
    assert shown[0]["means"]["path"] != shown[1]["means"]["path"]
    began = time.monotonic()
    assert served.call("GET", "/v1/health")[0] == 200
    assert time.monotonic() - began < 1  # 50 ms on a quiet machine: see the benchmark
    began = time.monotonic()
    served.call("POST", f"/v1/jobs/{job['id']}/cancel", {})
    served.wait(job["id"], "cancelled", timeout=2)
    assert time.monotonic() - began < 2


def test_answers_on_one_connection_do_not_wait_for_acknowledgements(shared: Any) -> None:
    """Without TCP_NODELAY each takes 40 ms."""
    connection = shared.connection()
    took = []
    for _ in range(30):
        began = time.monotonic()
        connection.request("GET", "/v1/health", headers=shared.headers())
        connection.getresponse().read()
        took.append(time.monotonic() - began)
    connection.close()
    assert sorted(took)[5] < 0.03
