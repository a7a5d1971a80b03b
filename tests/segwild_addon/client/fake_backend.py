"""A backend of a few hundred lines that can misbehave. Standard library only.

In process: `with FakeBackend(folder) as fake:` and `fake.fault = "hang"`. As a program it takes the words of
`segwild serve`; in its environment `FAKE_FAULT` names a fault, `FAKE_FAULT_PATH` where it applies, and
`FAKE_JOB_SECS` says how long a job takes. The contract test holds it to what the real service does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import struct
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

PROTOCOL = 1
GAUSSIANS, PACKED = 2500, 313
SIZES = {1: 0b1, 2: 0b101, 4: 0b1111}  # what clicks may choose, by size
VERBS = ("run", "capture", "train", "objects", "evaluate")
REQUEST_FIELDS = {
    *("workspace", "out", "photos", "action", "names", "preset", "iterations", "device", "people", "masks", "seed"),
}
BODY_MAX = 1 << 20
_ENDLESS = b" " * (1 << 16)
HTTP_FAULTS = ("hang", "drip", "garbage", "html", "nonsense", "error", "cut", "endless", "hang-up", "wrong-length")
STREAM_FAULTS = ("cut-event", "bad-event", "repeat", "no-newline", "not-a-stream")
PROCESS_FAULTS = (
    *("no-handshake", "garbage-handshake", "wrong-version", "die-at-start", "die-soon", "talk", "deaf", "odd-output"),
)


class FakeBackend:
    """An HTTP server in threads. `fault` applies to paths that start with `fault_path`."""

    def __init__(self, workspace: Path, token: str = "secret", port: int = 0) -> None:
        self.workspace, self.token = workspace, token
        self.fault: str | None = None
        self.fault_path = "/"
        self.apart = True  # what clicks are on
        self.refused: dict[str, str] = {}  # codes by kinds of questions
        self.slow: set[str] = set()  # kinds of questions that are not answered while they are in it
        self.too_late = False  # whether withdrawals are
        self.waiting: set[str] = set()  # tickets of questions
        self.withdrawn: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self.questions: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.first_seq = 1
        self.stream = uuid.uuid4().hex
        self.jobs: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, int] = {}
        self.parents: dict[int, int] = {}  # of those that have one
        self.next_id = 0
        self.job_secs = float(os.environ.get("FAKE_JOB_SECS", "0.3"))
        self.news = threading.Condition()
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = _Server(("127.0.0.1", port), handler)
        self.port = self.server.server_address[1]
        self.threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.02,), name="fake", daemon=True),
            threading.Thread(target=self._work, name="fake", daemon=True),
        ]

    def __enter__(self) -> FakeBackend:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with self.news:
            self.news.notify_all()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join(5)

    def tell(self, kind: str, **fields: Any) -> int:
        with self.news:
            seq = self.first_seq + len(self.events)
            self.events.append({"seq": seq, "time": time.time(), "event": {"kind": kind, **fields}})
            self.news.notify_all()
        return seq

    @property
    def seq(self) -> int:
        return self.first_seq + len(self.events) - 1

    def _work(self) -> None:
        """Queued jobs, one after the other: `objects` is done, everything else has nothing to work on."""
        while not self.closing.wait(0.02):
            job = next((job for job in list(self.jobs.values()) if job["state"] == "queued"), None)
            if job is None:
                continue
            self._move(job, "running", attempts=1)
            self.tell("JobStarted", job=job["id"], attempt=1)
            self.tell("JobProgress", job=job["id"], phase="work", done=0, total=None, eta_secs=None, note="")
            self.closing.wait(self.job_secs)
            if job["verb"] == "objects":
                self.tell("SceneChanged", what="objects")
                self._move(job, "done", result={"objects": []})
                self.tell("JobDone", job=job["id"], result={"objects": []})
            else:
                error = {"code": "no-splats-yet", "sentence": "The workspace has no Gaussians yet.", "hint": "Train."}
                self._move(job, "failed", error=error)
                self.tell("JobFailed", job=job["id"], **error)

    def _move(self, job: dict[str, Any], state: str, **more: Any) -> None:
        with self.news:
            if job["state"] != "cancelled":
                job.update(more, state=state, changed=time.time())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients that go away are the point of many a test."""


class _Refused(Exception):
    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        kind = "InputError" if status in (404, 422) else "ProtocolError"
        self.status, self.answer = status, {"kind": kind, "error": code, "sentence": sentence, "hint": ""}


class _Handler(BaseHTTPRequestHandler):
    fake: ClassVar[FakeBackend]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        self.close_connection = True
        fake = self.fake
        url = urlsplit(self.path)
        fake.asked.append((method, unquote(url.path), self.headers.get("Range", "")))
        if fake.fault in HTTP_FAULTS and url.path.startswith(fake.fault_path):
            return self._misbehave(fake.fault)
        try:
            self._gate(method)
            path = unquote(url.path).split("/")[1:]
            if path[:2] == ["v1", "events"]:
                asked = parse_qs(url.query)
                known = asked.get("stream", [fake.stream])[0]
                return self._stream(asked.get("after", ["0"])[0] if known == fake.stream else "0")
            if path[:2] == ["v1", "arrays"] and method == "GET":
                return self._array("/".join(path[2:]))
            self._json(*self._routed(method, path))
        except _Refused as refused:
            self._json(refused.answer, refused.status)

    def _gate(self, method: str) -> None:
        if self.headers.get("Host") not in (f"127.0.0.1:{self.fake.port}", f"localhost:{self.fake.port}"):
            raise _Refused(421, "foreign-host", "The Host header does not name this service.")
        if self.headers.get("Authorization") != f"Bearer {self.fake.token}":
            raise _Refused(401, "no-token", "The token is missing or wrong.")
        if method == "POST" and self.headers.get("Content-Type") != "application/json":
            raise _Refused(415, "not-json", "Bodies are application/json.")
        if int(self.headers.get("Content-Length") or 0) > BODY_MAX:
            raise _Refused(413, "too-large", "The body is too large.")

    def _body(self) -> dict[str, Any]:
        try:
            value = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        except ValueError as error:
            raise _Refused(400, "bad-json", "The message is not valid JSON.") from error
        if not isinstance(value, dict):
            raise _Refused(400, "bad-field", "A message is a JSON object.")
        return value

    def _routed(self, method: str, path: list[str]) -> tuple[Any, int]:
        fake = self.fake
        match (method, *path):
            case ("GET", "v1", "health"):
                facts = {"pid": os.getpid(), "up_secs": 1.0, "recovered": None}
                facts |= {"stream": fake.stream, "seq": fake.seq}
                return {"protocol": PROTOCOL, "workspace": str(fake.workspace), **facts}, 200
            case ("GET", "v1", "jobs"):
                return list(fake.jobs.values()), 200
            case ("GET", "v1", "jobs", name) if name in fake.jobs:
                return fake.jobs[name], 200
            case ("POST", "v1", "jobs"):
                return self._submit(self._body()), 202
            case ("POST", "v1", "jobs", name, "cancel") if name in fake.jobs:
                if fake.jobs[name]["state"] == "queued":
                    fake._move(fake.jobs[name], "cancelled")
                    fake.tell("JobCancelled", job=name)
                return fake.jobs[name], 202
            case ("POST", "v1", "ask"):
                return self._in_time(self._body()), 200
            case ("POST", "v1", "questions", ticket, "withdraw"):
                with fake.news:
                    fake.withdrawn.add(ticket)
                    fake.news.notify_all()
                return {"withdrawn": ticket in fake.waiting}, 202
            case ("POST", "v1", "stop"):
                threading.Thread(target=fake.server.shutdown, daemon=True).start()
                return {"stopping": True}, 202
        raise _Refused(404, "not-found", "There is no such thing.")

    def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        if not {"verb", "request"} <= set(body) <= {"verb", "request", "snapshot_secs"} or not isinstance(
            body["request"], dict
        ):
            raise _Refused(400, "unknown-field", "Submit has the fields verb, request and snapshot_secs.")
        if body["verb"] not in VERBS:
            raise _Refused(400, "unknown-verb", f"There is no job {body['verb']!r}.")
        if set(body["request"]) - REQUEST_FIELDS:
            raise _Refused(400, "unknown-field", "The request has an unknown field.")
        now = time.time()
        job = {"kind": "Job", "id": uuid.uuid4().hex, "verb": body["verb"], "state": "queued", "created": now}
        job |= {"request": body["request"], "changed": now, "attempts": 0, "result": None, "error": None}
        self.fake.tell("JobQueued", job=job["id"], verb=job["verb"])
        self.fake.jobs[job["id"]] = job
        return job

    def _in_time(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers at once; a question that is slow when it is slow no more, or withdrawn."""
        fake, (ticket,) = self.fake, parse_qs(urlsplit(self.path).query).get("ticket", [""])
        fake.waiting.add(ticket)
        try:
            with fake.news:
                while body.get("kind") in fake.slow and ticket not in fake.withdrawn and not fake.closing.is_set():
                    fake.news.wait(0.05)
            if ticket in fake.withdrawn and not fake.too_late:
                raise _Refused(400, "withdrawn", "The question was withdrawn.")
            return self._ask(body)
        finally:
            fake.waiting.discard(ticket)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        self.fake.questions.append(dict(body))
        if body.get("kind") in self.fake.refused:
            raise _Refused(409, self.fake.refused[body["kind"]], "It is not answered.")
        match body.pop("kind", None):
            case "Prepare":
                self._photo(body.get("view", ""))
                if body.get("marks"):
                    self._marks(body["marks"])
                return {"kind": "Ready", "gaussians": GAUSSIANS, "time_secs": 0.1}
            case "Preview":
                self._photo(body.get("view") or "none")
                return self._chosen()
            case "Choose":
                self._marks(body.get("marks", []))
                return self._sized(body.get("size", 0))
            case "Consult":
                self._marks(body.get("marks", []))
                return self._chosen([0b1110]) | {"size": 4}
            case "Junk":
                return self._junk(body)
            case "Propose":
                numbers = bytes([1, 1, 1, 2, 2, 0, 1]) + bytes(GAUSSIANS - 7)
                ref = self._handed_out("proposals", numbers, "|u1", [GAUSSIANS])
                return {"kind": "Proposed", "count": 2, "gaussians": GAUSSIANS, "numbers": ref, "time_secs": 0.1}
            case "Grow" | "Shrink" as kind:
                return self._reshaped(kind, body["rows"], body.get("steps", 1))
            case "Part":
                return self._parted(body["rows"], body.get("least", 30))
            case "Keep":
                return self._keep(body)
            case "Cut":
                return self._cut(body)
            case "Revert":
                self._known(body.get("name"))
            case "Drop":
                gone = self.fake.objects.pop(self._known(body.get("name")))
                self.fake.parents = {k: v for k, v in self.fake.parents.items() if gone not in (k, v)}
            case "Nest":
                self._nest(body)
            case "Rename":
                if body["to"] in self.fake.objects and body["to"] != body.get("name"):
                    raise _Refused(422, "name-taken", "There is already an object of that name.")
                old, new = self._known(body.get("name")), body["to"]
                self.fake.objects = {new if name == old else name: id_ for name, id_ in self.fake.objects.items()}
            case _:
                raise _Refused(400, "unknown-kind", "There is no message of that kind.")
        if "to" in body or "name" in body:
            self.fake.tell("SceneChanged", what="objects", snapshot=None)
        ids = sorted((id_, name) for name, id_ in self.fake.objects.items())
        parents = [self.fake.parents.get(id_, 0) for id_, _ in ids]
        names = [name for _, name in ids]
        return {"kind": "Named", "ids": [id_ for id_, _ in ids], "names": names, "time_secs": 0.1, "parents": parents}

    def _nest(self, body: dict[str, Any]) -> None:
        id_ = self.fake.objects[self._known(body.get("name"))]
        parent = self.fake.objects[self._known(body["parent"])] if body.get("parent") else 0
        higher: int | None = parent
        while higher:
            if higher == id_:
                raise _Refused(422, "bad-parent", "An object cannot be a part of itself or of its parts.")
            higher = self.fake.parents.get(higher)
        self.fake.parents |= {id_: parent}

    def _parted(self, rows: str, least: int) -> dict[str, Any]:
        """Even rows hang together, and odd ones."""
        if least < 1:
            raise _Refused(422, "bad-option", f"The least part is {least}.")
        packed = self._bits(rows)
        there = [row for row in range(GAUSSIANS) if packed[row // 8] >> row % 8 & 1]
        parts = sorted(([row for row in there if row % 2 == odd] for odd in (0, 1)), key=len, reverse=True)
        numbers = bytearray(GAUSSIANS)
        large = [part for part in parts if len(part) >= least]
        for number, part in enumerate(large, start=1):
            for row in part:
                numbers[row] = number
        ref = self._handed_out("parts", bytes(numbers), "|u1", [GAUSSIANS])
        return {"kind": "Proposed", "count": len(large), "gaussians": GAUSSIANS, "numbers": ref, "time_secs": 0.1}

    def _keep(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body["name"].strip():
            raise _Refused(422, "bad-name", "An object needs a name.")
        packed = [0b101] + [0] * (PACKED - 1)
        if body.get("rows"):
            packed = self._bits(body["rows"])
            if not any(packed):
                raise _Refused(422, "empty-object", "Nothing was selected.")
        else:
            self._marks(body.get("marks", []))
        fake = self.fake
        fake.next_id += body["name"] not in fake.objects
        id_ = fake.objects.setdefault(body["name"], fake.next_id)
        fake.tell("SceneChanged", what="objects", snapshot=None)
        count = sum(byte.bit_count() for byte in packed)
        facts = {"id": id_, "name": body["name"], "count": count, "time_secs": 0.1}
        return {"kind": "Kept", **facts, "rows": self._rows(packed)}

    def _cut(self, body: dict[str, Any]) -> dict[str, Any]:
        """Row 0 of the scene, divided in two at the origin; row 1 given to the rest."""
        name = self._known(body.get("name"))
        half = {"scales": [0.1] * 3, "quats": [1.0, 0, 0, 0], "means": [0.0] * 3, "anchors": [0.0] * 3}
        floats = {key: (values * 2, [2, len(values)]) for key, values in half.items()} | {"opacities": ([0.5] * 2, [2])}
        refs = {
            key: self._handed_out(key, struct.pack(f"<{len(v)}f", *v), "<f4", shape)
            for key, (v, shape) in floats.items()
        }
        refs["sides"] = self._handed_out("sides", bytes([1, 0]), "|u1", [2])
        for key, rows in {"parents": [0, 0], "given": [1], "dropped": []}.items():
            refs[key] = self._handed_out(key, struct.pack(f"<{len(rows)}i", *rows), "<i4", [len(rows)])
        self.fake.tell("SceneChanged", what="objects", snapshot=None)
        return {"kind": "Divided", "id": self.fake.objects[name], "name": name, **refs, "time_secs": 0.1}

    def _photo(self, view: str) -> None:
        if view not in ("a0", ""):
            raise _Refused(422, "unknown-photo", f"No photo is called {view!r}.")

    def _marks(self, marks: list[dict[str, Any]]) -> None:
        sensible = all(mark["pixel"] > 0 and mark["eye"] != mark["position"] for mark in marks)
        if not sensible or not any(mark.get("positive", True) for mark in marks):
            raise _Refused(422, "bad-mark", "The marks make no sense.")

    def _known(self, name: Any) -> str:
        if name not in self.fake.objects:
            raise _Refused(422, "unknown-object", f"No object is called {name!r}.")
        return str(name)

    def _bits(self, rows: str) -> list[int]:
        try:
            packed = list(base64.b64decode(rows, validate=True))
        except ValueError as error:
            raise _Refused(422, "bad-rows", "The rows are not base64.") from error
        if len(packed) != PACKED:
            raise _Refused(422, "bad-rows", "The rows are not those of this scene.")
        return packed

    def _chosen(self, packed: Sequence[int] = (0b101,)) -> dict[str, Any]:
        count, rows = sum(byte.bit_count() for byte in packed), self._rows([*packed, *[0] * (PACKED - len(packed))])
        return {"kind": "Chosen", "count": count, "gaussians": GAUSSIANS, "rows": rows, "time_secs": 0.1}

    def _sized(self, size: int) -> dict[str, Any]:
        """Row 0 is a part of rows 0 and 2, and those of rows 0 to 3."""
        if size < 0:
            raise _Refused(422, "bad-option", f"The size is {size}.")
        near = min(SIZES, key=lambda each: abs(each - (size or 2)))
        return self._chosen([SIZES[near]]) | {"sizes": list(SIZES), "size": near, "apart": self.fake.apart}

    def _junk(self, body: dict[str, Any]) -> dict[str, Any]:
        """Row 0 at most strengths, a needle; rows 0 to 2 from 0.75 on, none below 0.25. The others are floaters."""
        strength = body.get("strength", 0.5)
        if not 0 <= strength <= 1:
            raise _Refused(422, "bad-option", f"The strength is {strength:g}.")
        if not set(causes := body.get("causes", [])) <= {"needle", "floater", "near-camera", "unseen"}:
            raise _Refused(400, "bad-field", "There are no such causes.")
        if body.get("within"):
            self._known(body["within"])
        found = 0 if strength < 0.25 else 0b1 if strength < 0.75 else 0b111
        looked_for = (0b1 if "needle" in causes else 0) | (0b110 if "floater" in causes else 0)
        return self._chosen([found & looked_for if causes else found])

    def _reshaped(self, kind: str, rows: str, steps: int) -> dict[str, Any]:
        """A row touches the next one, and has its rim at its first."""
        if not 1 <= steps <= 100:
            raise _Refused(422, "bad-option", f"The steps are {steps}.")
        bits = int.from_bytes(bytes(self._bits(rows)), "little")
        for _ in range(steps):
            bits = bits | bits << 1 if kind == "Grow" else bits & bits << 1
        return self._chosen((bits & ((1 << GAUSSIANS) - 1)).to_bytes(PACKED, "little"))

    def _rows(self, packed: list[int]) -> dict[str, Any]:
        return self._handed_out("rows", bytes(packed), "|u1", [len(packed)])

    def _handed_out(self, group: str, content: bytes, kind: str, shape: list[int]) -> dict[str, Any]:
        data = _npy(content, kind, shape)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        target = self.fake.workspace / "previews" / f"{group}-{digest}.npy"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
        dtype = {"|u1": "uint8", "<i4": "int32", "<f4": "float32"}[kind]
        return {"path": f"previews/{target.name}", "dtype": dtype, "shape": shape, "blake2b": digest}

    def _json(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _array(self, name: str) -> None:
        root = self.fake.workspace.resolve()
        path = (root / name).resolve()
        if root not in path.parents or path.suffix != ".npy" or not path.is_file():
            raise _Refused(404, "not-found", "There is no such array.")
        data = path.read_bytes()
        begin = 0
        wanted = self.headers.get("Range")
        if wanted:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(data):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        part = data[begin:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part)))
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        fault = self.fake.fault
        if fault == "cut-array":  # a different place each time, always a little further
            part = part[: max(1, len(part) // 3)]
        elif fault == "flip-array":
            part = part[:-1] + bytes([part[-1] ^ 1])
        self.wfile.write(part)

    def _stream(self, after: str) -> None:
        if not after.isdecimal() or len(after) > 15:
            raise _Refused(400, "bad-field", "after is the seq of an event.")
        fake, cursor, sent = self.fake, int(after), 0
        self.send_response(200)
        kind = "text/html" if fake.fault == "not-a-stream" else "text/event-stream"
        self.send_header("Content-Type", kind)
        self.send_header("SegWild-Stream", fake.stream)
        self.end_headers()
        self.wfile.write(b"retry: 1000\n\n")
        if fake.fault == "repeat":
            cursor = max(0, cursor - 5)
        while not fake.closing.is_set():
            with fake.news:
                fresh = [event for event in fake.events if event["seq"] > cursor]
                if not fresh:
                    fake.news.wait(0.5)
                    continue
            for event in fresh:
                cursor = event["seq"]
                text = f"id: {cursor}\ndata: {json.dumps(event)}\n\n".encode()
                if fake.fault == "bad-event" and cursor % 3 == 0:
                    text = f'id: {cursor}\ndata: {{"seq":{cursor},"what":1}}\n\n'.encode()
                if fake.fault == "no-newline":
                    text = b"data: " + b"x" * (3 << 20)
                sent += 1
                if fake.fault == "cut-event" and sent == 2:
                    self.wfile.write(text[: len(text) // 2])
                    return
                self.wfile.write(text)

    def _misbehave(self, fault: str) -> None:
        until = self.fake.closing
        if fault == "hang":
            until.wait(60)
        elif fault == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 10_000:
                if until.wait(0.05):
                    return
                self.wfile.write(bytes([byte]))
        elif fault == "garbage":
            self.wfile.write(bytes(range(256)) * 40)
        elif fault == "hang-up":
            pass
        elif fault == "error":
            self.send_response(500)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"oops\n")
        elif fault == "wrong-length":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello")
        else:
            body = {"html": b"<html>", "nonsense": b'{"unexpected": [true]}', "cut": b'{"a": "'}.get(fault, b"[")
            self.send_response(200)
            if fault != "endless":
                self.send_header("Content-Length", str(len(body) + (1000 if fault == "cut" else 0)))
            self.end_headers()
            self.wfile.write(body)
            # In the test's own process, without a pause, twenty of these would leave the interpreter to nobody else.
            while fault == "endless" and not until.wait(0.005):
                self.wfile.write(_ENDLESS)


def _npy(data: bytes, kind: str, shape: list[int]) -> bytes:
    """Bytes as a .npy file, without numpy."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def main() -> None:
    """`fake_backend.py serve WORKSPACE --with-parent …`"""
    fault = os.environ.get("FAKE_FAULT", "")
    if fault == "die-at-start":
        sys.exit("the fake has a bad day")
    if fault == "garbage-handshake":
        print("Blender 4.5.0\n[1, 2", flush=True)
    if fault == "odd-output":
        sys.stdout.buffer.write(b"\xff\xfe" * 200_000)
        sys.stdout.flush()
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    workspace = Path(sys.argv[2])
    with FakeBackend(workspace, os.environ["SEGWILD_TOKEN"]) as fake, contextlib.suppress(KeyboardInterrupt):
        fake.fault = fault if fault in (*HTTP_FAULTS, *STREAM_FAULTS) else None
        fake.fault_path = os.environ.get("FAKE_FAULT_PATH", "/")
        version = 99 if fault == "wrong-version" else PROTOCOL
        if fault not in ("no-handshake", "garbage-handshake", "odd-output"):
            print(json.dumps({"port": fake.port, "pid": os.getpid(), "protocol": version}), flush=True)
        if fault == "die-soon":
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        while fake.threads[0].is_alive():
            if fault == "talk":
                print("x" * 10_000, flush=True)
            time.sleep(0.05)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
