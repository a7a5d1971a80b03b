"""Routes: whatever is sent, the answer is a sentence and never a failure of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.service.app import REMOTE_VERBS
from backend.service.gate import BODY_MAX
from backend.verbs import VERBS
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import ProtocolError
from segwild_addon.protocol.requests import Submit

OFFERED = ("/v1/jobs", "/v1/ask", "/v1/jobs/x/cancel")
NAMES = [
    *("kind", "verb", "request", "view", "click", "snapshot_secs", "Preview", "Prepare", "Submit", "__class__"),
    *("workspace", "out", "photos", "cap", "preset", "masks", "device", "name", "only", "__init__", ""),
    *REMOTE_VERBS,
]


@dataclass(frozen=True)
class Deep:
    """A body of many brackets, told in few letters."""

    bracket: str
    depth: int

    def made(self) -> bytes:
        closing = "]" if self.bracket == "[" else "}"
        return (self.bracket * self.depth + "1" + closing * self.depth).encode()


LONG = "<200,000 letters>"
words = st.one_of(st.sampled_from(NAMES), st.text(max_size=20))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.just(LONG), st.just("../" * 20))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=5)),
    max_leaves=12,
)
jobs = st.fixed_dictionaries(
    {"verb": words, "request": st.dictionaries(words, values, max_size=5)}, optional={"snapshot_secs": values}
)
questions = st.fixed_dictionaries(
    {"kind": st.sampled_from(["Preview", "Prepare", "Submit", "object"])}, optional={"view": values, "click": values}
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.one_of(values, jobs, questions).map(lambda value: json.dumps(value).encode()),
    values.map(lambda value: json.dumps(value).encode()[:-1]),
    st.builds(Deep, st.sampled_from(["[", '{"request":']), st.integers(1, 50_000)),
)


def well_formed(body: bytes) -> bool:
    """A job that would run: `train` needs no field at all."""
    try:
        job = codec.fields_in(Submit, codec.parsed(body))
        if job.verb not in REMOTE_VERBS:
            return False
        kind = VERBS[job.verb][0]
        scene = {name: "." for name, field in kind.__dataclass_fields__.items() if field.metadata.get("scene")}
        codec.fields_in(kind, scene | job.request)
    except ProtocolError:
        return False
    return True


REQUESTS = 2_000  # that are sent, oversized and malformed ones among them
sent: list[int] = []  # their sizes


@settings(max_examples=REQUESTS + 100, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(OFFERED), body=bodies)
def test_two_thousand_bodies_end_in_a_sentence(shared: Any, path: str, body: bytes | Deep) -> None:
    body = body.made() if isinstance(body, Deep) else body.replace(LONG.encode(), b"x" * 200_000)
    if path == "/v1/jobs" and well_formed(body):
        return
    sent.append(len(body))
    try:
        answer, told = shared.call("POST", path, body)
    except ConnectionError:
        assert len(body) > BODY_MAX  # closed while we still sent
        return
    assert 400 <= answer < 500, (path, body[:200], told)
    assert told["sentence"]


def test_the_service_still_answers_after_them(shared: Any) -> None:
    if sent:  # else this test runs alone
        assert len(sent) >= REQUESTS
        assert max(sent) > BODY_MAX
    answer, health = shared.call("GET", "/v1/health")
    assert answer == 200
    assert health["workspace"] == str(shared.workspace)
    assert shared.call("GET", "/v1/jobs") == (200, [])
    assert shared.errors.read_text() == ""


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.text(st.characters(codec="utf-8"), max_size=60), query=st.text(max_size=10))
def test_any_path_ends_in_a_sentence(shared: Any, path: str, query: str) -> None:
    from urllib.parse import quote

    for prefix in ("/v1/arrays/", "/v1/jobs/", "/", "/v1/"):
        answer, told = shared.call("GET", prefix + quote(path + "z") + "?after=" + quote(query))
        assert answer == 404, (prefix, path)
        assert told["error"] == "not-found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/jobs"),
        ("PUT", "/v1/jobs"),
        ("POST", "/v1/health"),
        ("GET", "/v1/stop"),
        ("GET", "/v1/ask"),
        ("GET", "/v1/jobs/x/cancel"),
        ("OPTIONS", "/v1/jobs"),
        ("TRACE", "/v1/health"),
        ("POST", "/v1/events"),
    ],
)
def test_other_methods_are_refused(shared: Any, method: str, path: str) -> None:
    answer, told = shared.call(method, path)
    assert (answer, told["error"]) == (405, "wrong-method")


@pytest.mark.parametrize("path", ["/v2/health", "/v1", "/v1/", "/v1/jobs/", "//v1/health", "/docs", "/favicon.ico"])
def test_unknown_paths_are_unknown(shared: Any, path: str) -> None:
    assert shared.call("GET", path)[0] == 404


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 16, "²", "١", " "])
def test_after_is_a_number(shared: Any, after: str) -> None:
    from urllib.parse import quote

    assert shared.call("GET", f"/v1/events?after={quote(after)}")[0] == 400


@pytest.mark.parametrize("verb", sorted(set(VERBS) - set(REMOTE_VERBS)))
def test_verbs_of_a_terminal_are_no_jobs(shared: Any, verb: str) -> None:
    answer, told = shared.call("POST", "/v1/jobs", {"verb": verb, "request": {}})
    assert (answer, told["error"]) == (400, "unknown-verb")


def test_who_asks_for_the_head_of_the_events_does_not_wait_for_their_end(shared: Any) -> None:
    assert shared.call("HEAD", "/v1/events") == (200, None)


def test_unknown_jobs_are_unknown(shared: Any) -> None:
    assert shared.call("GET", "/v1/jobs/none")[0] == 404
    assert shared.call("POST", "/v1/jobs/none/cancel", {})[0] == 404


def test_arrays_come_whole_and_in_ranges(shared: Any) -> None:
    folder = shared.workspace / "previews"
    folder.mkdir(exist_ok=True)
    np.save(folder / "a.npy", np.arange(100_000, dtype=np.float32))
    whole = (folder / "a.npy").read_bytes()

    def fetched(**headers: str) -> tuple[int, bytes, str | None]:
        connection = shared.connection()
        connection.request("GET", "/v1/arrays/previews/a.npy", headers=shared.headers() | headers)
        answer = connection.getresponse()
        found = answer.status, answer.read(), answer.getheader("content-range")
        connection.close()
        return found

    assert fetched() == (200, whole, None)
    assert fetched(Range="bytes=1000-1999") == (206, whole[1000:2000], f"bytes 1000-1999/{len(whole)}")
    assert fetched(Range=f"bytes={len(whole) - 5}-")[:2] == (206, whole[-5:])
    assert fetched(Range=f"bytes={len(whole)}-")[0] == 416
    assert fetched(Range="bytes=" + ",".join(f"{i}-{i}" for i in range(0, 3000, 2)))[0] < 500
    assert fetched(Range="lines=1-2")[0] in (200, 400, 416)


def test_nothing_beside_the_arrays_of_the_workspace_is_given(shared: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros(3))
    folder = shared.workspace / "previews"
    folder.mkdir(exist_ok=True)
    (folder / "link.npy").symlink_to(secret)
    (shared.workspace / "way").symlink_to(tmp_path)
    (folder / "loop.npy").symlink_to(folder / "loop.npy")
    (folder / "folder.npy").mkdir()
    outside = str(secret).lstrip("/")
    tried = [
        *("previews/link.npy", "way/secret.npy", "previews/loop.npy", "previews/folder.npy", "jobs.sqlite"),
        *(
            "scene.json",
            "scene.json%00.npy",
            f"/{outside}",
            f"%2f{outside}",
            "..%2f" * 12 + outside,
            "../" * 12 + outside,
        ),
        *(
            "previews/..%5c..%5csecret.npy",
            "previews/%2e%2e/%2e%2e/" + "../" * 9 + outside,
            "x" * 5000 + ".npy",
            ".npy",
        ),
        *("previews/a.npy/", "previews/none.npy", "~/secret.npy", "file:///" + outside),
    ]
    for name in tried:
        answer, _ = shared.call("GET", f"/v1/arrays/{name}")
        assert answer == 404, name


@pytest.mark.parametrize("ticket", ["a/b", "x" * 65, "..", "%00", "a%20b"])
def test_tickets_are_words(shared: Any, ticket: str) -> None:
    answer, told = shared.call("POST", f"/v1/ask?ticket={ticket}", {"kind": "Prepare"})
    assert (answer, told["error"]) == (400, "bad-field")


def test_withdrawing_what_nobody_asked_is_harmless(shared: Any) -> None:
    for ticket in ("unknown", "x" * 5000, "%00"):
        assert shared.call("POST", f"/v1/questions/{ticket}/withdraw") == (202, {"withdrawn": False})


def test_a_question_about_nothing_is_answered_in_a_sentence(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(tmp_path / "empty.segwild")
    answer, told = served.call("POST", "/v1/ask", {"kind": "Prepare", "view": "../../x"})
    assert (answer, told["error"]) == (422, "no-photos-yet")
