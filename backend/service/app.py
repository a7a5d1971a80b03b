"""Routes of the service: thin, each turns a request into a call on jobs and its answer into JSON."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from backend.jobs.interactive import Interactive
from backend.jobs.runner import Runner
from backend.jobs.store import Store
from backend.service.connection import LINE
from backend.service.gate import Gate, Refusal
from backend.service.inside import Inside
from backend.service.stream import Stream
from backend.verbs import VERBS
from segwild_addon.protocol import codec, questions, requests
from segwild_addon.protocol.errors import InputError, ProtocolError, ResourceError, SegWildError, refusal
from segwild_addon.protocol.events import STREAM_HEADER, SceneChanged

SCENE = ("run", "capture", "train", "import", "embed", "lift")
OBJECTS = ("segment", "transfer", "objects", "appearance", "render", "export")
NETWORKS = ("masks", "affinity")  # which cannot do without one
REMOTE_VERBS = (*SCENE, *OBJECTS, *NETWORKS, "evaluate", "evaluate-masks")  # demo, sample and doctor are for a terminal
PAGE = Path(__file__).with_name("page.html")
ASKING_MAX = 32  # questions that may wait at a time; arrays and the job table have threads of their own
SNAPSHOT_LEAST_SECS = 1.0
TICKET = re.compile("[0-9A-Za-z]{0,64}")


@dataclass
class Service:
    """What the routes act upon."""

    store: Store
    runner: Runner
    interactive: Interactive
    stream: Stream
    inside: Inside
    stop: Callable[[], None]
    began: float


def application(service: Service, token: str, hosts: frozenset[str]) -> Any:
    """The ASGI application behind its gate."""
    routes = _Routes(service)
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/v1/health", routes.health),
            Route("/v1/jobs", routes.jobs, methods=["GET"]),
            Route("/v1/jobs", routes.submit, methods=["POST"]),
            Route("/v1/jobs/{job}", routes.job),
            Route("/v1/jobs/{job}/cancel", routes.cancel, methods=["POST"]),
            Route("/v1/ask", routes.ask, methods=["POST"]),
            Route("/v1/questions/{ticket}/withdraw", routes.withdraw, methods=["POST"]),
            Route("/v1/events", routes.events),
            Route("/v1/arrays/{path:path}", routes.array),
            Route("/v1/stop", routes.stop, methods=["POST"]),
        ],
        exception_handlers={  # type: ignore[arg-type]
            SegWildError: _failed,
            HTTPException: _no_route,
            Refusal: _refused,
            ClientDisconnect: _refused,
        },
    )
    app.router.redirect_slashes = False
    return Gate(app, token, hosts, open_paths=frozenset({"/"}))


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json", headers={"cache-control": "no-store"})


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, SegWildError)
    status = 400 if isinstance(error, ProtocolError) else 507 if isinstance(error, ResourceError) else 422
    return _json(refusal(error), status)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "wrong-method"}.get(error.status_code, "refused")
    kind = InputError if error.status_code == 404 else ProtocolError
    answer = _json(refusal(kind(code, f"{error.detail}.")), error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _refused(_: Request, error: Exception) -> Response:
    """A body that grew too large, or that nobody sends any more."""
    found = error if isinstance(error, Refusal) else Refusal(400, "cut-off", "The request ended too early.")
    headers = {"connection": "close"}
    return Response(found.body(), found.status, media_type="application/json", headers=headers)


def _missing(what: str) -> Response:
    return _json(refusal(InputError("not-found", f"There is no such {what}.")), 404)


class _Routes:
    """One method per route."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asking = CapacityLimiter(ASKING_MAX)

    async def page(self, _: Request) -> Response:
        return HTMLResponse(
            PAGE.read_text(encoding="utf-8"),
            headers={
                "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
                " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
                "referrer-policy": "no-referrer",
            },
        )

    async def health(self, _: Request) -> Response:
        service = self.service
        return _json(
            {
                "protocol": codec.VERSION,
                "pid": os.getpid(),
                "workspace": str(service.inside.workspace),
                "up_secs": round(time.monotonic() - service.began, 1),
                "stream": service.store.stream,
                "seq": service.stream.seq,
                "recovered": str(service.store.recovered) if service.store.recovered else None,
            }
        )

    async def jobs(self, _: Request) -> Response:
        return _json([codec.to_wire(job) for job in self.service.store.jobs()])

    async def job(self, request: Request) -> Response:
        job = self.service.store.job(request.path_params["job"])
        return _json(codec.to_wire(job)) if job else _missing("job")

    async def submit(self, request: Request) -> Response:
        body = codec.fields_in(requests.Submit, codec.parsed(await request.body()))
        if body.verb not in REMOTE_VERBS:
            raise ProtocolError("unknown-verb", f"There is no job {body.verb!r}.", f"One of {', '.join(REMOTE_VERBS)}.")
        kind = VERBS[body.verb][0]
        filled = dict(body.request)
        for name in ("workspace", "out"):
            if name in kind.__dataclass_fields__ and kind.__dataclass_fields__[name].metadata.get("scene"):
                filled.setdefault(name, str(self.service.inside.workspace))
        checked = self.service.inside.request(codec.fields_in(kind, filled))
        wire = {name: value for name, value in codec.to_wire(checked).items() if name != "kind"}
        if body.snapshot_secs and body.snapshot_secs < SNAPSHOT_LEAST_SECS:
            raise ProtocolError("bad-field", f"snapshot_secs is 0 or at least {SNAPSHOT_LEAST_SECS:g}.")
        job = self.service.runner.submit(body.verb, wire, snapshot_secs=body.snapshot_secs)
        return _json(codec.to_wire(job), 202)

    async def cancel(self, request: Request) -> Response:
        try:
            return _json(codec.to_wire(self.service.runner.cancel(request.path_params["job"])), 202)
        except KeyError:
            return _missing("job")

    async def ask(self, request: Request) -> Response:
        """A question for the interactive worker: answered in this very response."""
        question = codec.decoded(await request.body(), codec.kinds_of(*questions.QUESTIONS))
        ticket = request.query_params.get("ticket", "")
        if not TICKET.fullmatch(ticket):
            raise ProtocolError("bad-field", "ticket is at most 64 letters and digits.")
        return _json(await anyio.to_thread.run_sync(self._answered, question, ticket, limiter=self.asking))

    async def withdraw(self, request: Request) -> Response:
        ticket, waited = request.path_params["ticket"], False
        if TICKET.fullmatch(ticket):  # no question has another
            waited = await anyio.to_thread.run_sync(self.service.interactive.withdraw, ticket)
        return _json({"withdrawn": waited}, 202)

    def _answered(self, question: Any, ticket: str) -> dict[str, Any]:
        answer = self.service.interactive.ask(question, ticket)
        if isinstance(question, questions.CHANGES_OBJECTS):
            with suppress(ResourceError):  # the disk is full: the answer is there all the same
                self.service.store.tell(SceneChanged("objects"))
            self.service.stream.told()
        return answer

    async def events(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdecimal()) or len(after) > 15:
            raise ProtocolError("bad-field", "after is the seq of an event, a whole number.")
        known = request.query_params.get("stream", "")  # another table's numbers say nothing of this one's
        headers = {"cache-control": "no-store", "x-accel-buffering": "no", STREAM_HEADER: self.service.store.stream}
        if request.method == "HEAD":  # has no end to wait for
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(
            self.service.stream.listen(
                int(after) if known in ("", self.service.store.stream) else 0,
                request.scope.get("extensions", {}).get(LINE),
            ),
            media_type="text/event-stream",
            headers=headers,
        )

    async def array(self, request: Request) -> Response:
        path = self.service.inside.array(request.path_params["path"])
        if path is None:
            return _missing("array")
        return _Array(path, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    async def stop(self, _: Request) -> Response:
        self.service.stop()
        return _json({"stopping": True}, 202)


class _Array(FileResponse):
    """A file with ranges, in pieces large enough for gigabytes."""

    chunk_size = 4 << 20
