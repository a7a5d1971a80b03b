"""The protocol's dataclasses into `docs/protocol.md`: `python -m backend.packaging.protocol_page [--check]`.

Sentences come from the code: docstrings, the help of options, and the comment behind a field.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import typing
from pathlib import Path

from backend.service.app import REMOTE_VERBS
from backend.service.gate import BODY_MAX
from backend.verbs import VERBS
from segwild_addon.protocol import codec, errors, events, questions, requests, values
from segwild_addon.protocol.errors import SegWildError

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
ROUTES = {
    (
        "GET",
        "/",
    ): "A page for a browser that shows jobs and their progress. Needs no token and tells nothing by itself.",
    ("GET", "/v1/health"): "`protocol`, `pid`, `workspace`, `up_secs`, `stream`: which numbering of events, "
    "`seq` of the newest event, `recovered`: where a damaged job table was put.",
    ("GET", "/v1/jobs"): "A list of `Job`, in the order in which they were queued.",
    ("POST", "/v1/jobs"): "`Submit` without its `kind`; answers 202 with the `Job`.",
    ("GET", "/v1/jobs/{job}"): "One `Job`.",
    ("POST", "/v1/jobs/{job}/cancel"): "Ask a job to stop; answers 202 with the `Job`, an event tells when it has.",
    ("POST", "/v1/ask"): "A question with its `kind`; answers when it is answered. With `?ticket=word`, at most 64 "
    "letters and digits that no other question has, it can be withdrawn.",
    ("POST", "/v1/questions/{ticket}/withdraw"): "Take a question back, also before it arrives; answers 202 with "
    "`withdrawn`: whether anybody waits for its answer. Who does is told `withdrawn` when the work on it has ended, at "
    "its next step; nothing was kept then. If the answer was ready, it is given. Otherwise this does nothing.",
    ("GET", "/v1/events"): "Server-sent events: `id` is the seq, `data` a `Numbered` without its `kind`. "
    "`?after=seq` replays what came after. The header `SegWild-Stream` names the numbering; with `&stream=name`, "
    "numbers of another one count for nothing, and all is replayed. A comment every 10 seconds shows that the line "
    "stands.",
    ("GET", "/v1/arrays/{path}"): "A `.npy` file of the workspace, with ranges.",
    ("POST", "/v1/stop"): "End the service; a running job waits for the next one.",
}
STATUS = {
    "400": "`ProtocolError`: not a message, or not one of these; or a newer question took its place (`superseded`); or "
    "it was withdrawn (`withdrawn`)",
    "401, 403, 413, 415, 421": "`ProtocolError`: token, origin, size, type or host refused",
    "404": "`InputError`: no such job or array",
    "422": "`InputError`, `SetupError`: the request is well formed and cannot be done",
    "503, 507": "`ResourceError`: too many connections; memory, disk or time",
}
_HEAD = """\
# Protocol

How the two programs talk. Made from the code by `python -m backend.packaging.protocol_page`: edit the dataclasses in
`segwild_addon/protocol/`, not this page.

The backend (`segwild serve W`) works on one workspace. It listens on 127.0.0.1 and prints one line of JSON on standard
output: `{{"port": ..., "pid": ..., "protocol": {version}}}`. Its token comes from the environment (`SEGWILD_TOKEN`), or
is in that line if it was started by hand. With `--with-parent` it ends when its standard input does.

Every request has `Authorization: Bearer TOKEN`, and a `Host` that names the service; bodies are `application/json` of
at most {body_max:,} bytes. A message is a JSON object whose `kind` is its name below; unknown kinds and fields, missing
fields and values of another type are refused. Paths are text. Photos are named by file stem, pixels are those of the
photo as taken. A refusal is `{{"kind": error, "error": code, "sentence": ..., "hint": ...}}`, where `kind` is one of
the errors below; an error of a job is a `Failure` with the last three.
"""


# HDBSCAN: see `backend.segment.proposals`.
_AMONG = (
    "`Cut`, `Propose` and the first `Junk` of a scene take seconds, in steps of less than one on a scene of 100,000 "
    "Gaussians; where there is an affinity field, the clusters of `Propose` are one step of several seconds. Between "
    "two steps, `Preview`, `Choose`, `Grow` and `Shrink` are answered, and `Prepare` and `Consult` go on by a step; "
    "all others wait for their turn. While the scene itself is loaded, all wait."
)


def page() -> str:
    """The whole page."""
    parts = [_HEAD.format(version=codec.VERSION, body_max=BODY_MAX)]
    parts.append(
        "## Routes\n\n" + _table(("request", "answer"), [(f"`{m} {p}`", text) for (m, p), text in ROUTES.items()])
    )
    parts.append("## Refusals\n\n" + _table(("status", "stands for"), list(STATUS.items())))
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SegWildError)]
    parts.append("## Errors\n\n" + _table(("error", "is"), [(f"`{k.__name__}`", _first(k)) for k in kinds]))
    parts.append("## Events\n\nWhat the stream tells. Each comes as `Numbered`.\n")
    parts += [_section(kind) for kind in (events.Numbered, *events.EVENTS)]
    parts.append(f"## Questions\n\nAsked by `POST /v1/ask`; most are answered at once. {_AMONG}\n")
    parts += [_section(kind) for kind in questions.QUESTIONS]
    parts.append("## Jobs\n\nSubmitted by verb; the workspace may be left out.\n")
    parts.append(_section(requests.Submit))
    parts += [_section(VERBS[verb][0], verb) for verb in REMOTE_VERBS]
    parts.append("## Values\n")
    parts += [_section(kind) for kind in vars(values).values() if dataclasses.is_dataclass(kind)]
    return "\n".join(parts)


def _section(kind: type, verb: str = "") -> str:
    title = f"`{verb}` ({kind.__name__})" if verb else f"`{kind.__name__}`"
    comments = _comments(kind)
    rows = []
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        help_text = field.metadata.get("help", "") or comments.get(field.name, "")
        rows.append((f"`{field.name}`", f"`{_type(kind, field.name)}`", _default(field), help_text))
    table = _table(("field", "type", "default", "meaning"), rows) if rows else "No fields.\n"
    return f"### {title}\n\n{_first(kind)}\n\n{table}"


def _type(kind: type, name: str) -> str:
    """As written in the class, with what a name of ours stands for."""
    hint = typing.get_type_hints(kind)[name]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f'"{choice}"' for choice in typing.get_args(hint))
    return str(kind.__annotations__[name])


def _default(field: dataclasses.Field) -> str:
    if field.metadata.get("scene"):
        return "the service's"
    if field.default is dataclasses.MISSING:
        return "required"
    value = field.default
    return f"`{str(value) if isinstance(value, Path) else value!r}`" if value is not None else "none"


def _comments(kind: type) -> dict[str, str]:
    """Field -> the comment behind it."""
    lines = inspect.getsource(kind).splitlines()
    (body,) = ast.parse("\n".join(lines)).body
    assert isinstance(body, ast.ClassDef)
    return {
        entry.target.id: lines[(entry.end_lineno or entry.lineno) - 1].partition("  # ")[2].strip()
        for entry in body.body
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
    }


def _first(kind: type) -> str:
    """The docstring's first paragraph on one line."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> int:
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
