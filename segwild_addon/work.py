"""What buttons have the backend do, in words of a scene: start it here, queue this, bring the result in.

Also what happens by itself: the preview of a running training, the import at its end.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import environment, session
from .client import Address, Answered, Launch, Status, command_of
from .client.backend import Backend
from .client.course import Course
from .client.link import Happened, Link, tail_of
from .data import scenes
from .protocol.errors import SegWildError
from .protocol.events import JobCancelled, JobDone, JobFailed, JobProgress, SceneChanged
from .protocol.values import Snapshot
from .ui.preferences import preferences
from .viewport import draw, framing

SNAPSHOT_SECS = 4.0  # between pictures of a running training
TAIL_SECS = 5.0  # between looks into the log of a job
MAKES_SPLATS = ("run", "train")

_to_import: set[str] = set()  # workspaces whose result is to be brought in
_previews: dict[str, str] = {}  # workspace -> the uuid its preview is drawn under
_tails: dict[str, tuple[tuple[str, ...], float]] = {}  # workspace -> lines of its worker's log, when they were read
_requests: dict[str, tuple[str, dict[str, Any]]] = {}  # workspace -> the last job asked for


def path(text: str) -> Path:
    """A folder or file as Blender writes it (// is the file's folder), absolute."""
    return Path(os.path.abspath(bpy.path.abspath(text)))  # without a look at the disk, which may be far away


def workspace_of(context: bpy.types.Context) -> str:
    """The folder that the panel speaks of: of the active scene, else of the new one; empty if there is none."""
    settings = context.scene.segwild
    scene = scenes.active(context)
    making = settings.workspace_folder or _beside_photos(settings.photos_folder)
    if making and (known := session.known(making)) is not None and known.busy:
        return making
    if scene is not None and scene.segwild.workspace:
        return scene.segwild.workspace
    return making


def _beside_photos(photos: str) -> str:
    """Where the scene of a folder of photos goes unless the person says otherwise."""
    folder = Path(bpy.path.abspath(photos)) if photos else None
    return str(folder.with_name(f"{folder.name}.segwild")) if folder is not None else ""


def link_of(context: bpy.types.Context) -> Link | None:
    """The link of the present workspace if there is one. For `draw` too: makes nothing."""
    workspace = workspace_of(context)
    return session.known(workspace) if workspace else None


def busy(context: bpy.types.Context) -> bool:
    """Whether a job is under way there."""
    link = link_of(context)
    course = link.courses.current if link is not None else None
    return course is not None and course.live and link is not None and link.running


def possible(context: bpy.types.Context) -> bool:
    """Whether a backend is installed here, or in use."""
    link = link_of(context)
    return environment.python() is not None or (link is not None and link.backend is not None)


def look_for_backend() -> None:
    """Find out which backend is installed. Returns at once."""
    known = preferences()
    folder = path(known.folder) if known.folder else environment.default_folder()
    environment.look(known.python, folder)


def start(context: bpy.types.Context) -> str:
    """Start the backend of the present workspace; a sentence if that cannot be."""
    workspace = workspace_of(context)
    link = session.link(workspace)
    if link.remote and link.backend is not None:
        return ""
    python = environment.python()
    if python is None:
        return f"{environment.status().sentence} {environment.status().hint}".strip()
    photos = context.scene.segwild.photos_folder
    folder = path(workspace)
    launch = Launch(
        command_of(python),
        folder,
        environment.default_folder().with_name("log") / f"{folder.stem}.log",
        allow=(path(photos),) if photos else (),
    )
    link.start(launch)
    session.wake()
    return ""


def connect(context: bpy.types.Context, address: Address) -> None:
    """Use a backend that someone else started for the present workspace."""
    session.link(workspace_of(context)).start(address)
    session.wake()


def queue(context: bpy.types.Context, verb: str, **request: Any) -> str:
    """Start the backend if need be and queue a job; a sentence if that cannot be."""
    trouble = start(context)
    if trouble:
        return trouble
    workspace = workspace_of(context)
    link = session.link(workspace)
    if "device" not in request and verb in MAKES_SPLATS:
        request["device"] = preferences(context).device
    _requests[workspace] = verb, request
    if verb in MAKES_SPLATS:
        _to_import.add(workspace)
        request = request | {"snapshot_secs": SNAPSHOT_SECS}

    def told(answered: Answered) -> None:
        if answered.error is not None:
            say(str(answered.error))

    link.once_running(lambda: link.submit(verb, told, **request))
    say("")
    return ""


def again(context: bpy.types.Context) -> str:
    """Queue the last job once more; a sentence if that cannot be."""
    workspace = workspace_of(context)
    known = _requests.get(workspace)
    if known is not None:
        return queue(context, known[0], **known[1])
    link = link_of(context)
    course = link.courses.current if link is not None else None
    if course is None:
        return "There is no job to try again."
    photos = context.scene.segwild.photos_folder
    if course.verb in ("run", "capture"):
        if not photos:
            return "Choose the folder of the photos first."
        return queue(context, course.verb, photos=path(photos), preset=context.scene.segwild.preset)
    return queue(context, course.verb)


def say(sentence: str, icon: str = "ERROR") -> None:
    """Have the panel show a sentence; empty: no more. Without another icon it is something that went wrong."""
    for manager in bpy.data.window_managers:
        manager.segwild.status, manager.segwild.status_icon = sentence, icon
    session.redraw_panels()


def logs(context: bpy.types.Context) -> list[Path]:
    """Files that tell what happened, the most telling first."""
    found = []
    workspace, link = workspace_of(context), link_of(context)
    if environment.status().state == "failed" and environment.log() is not None:
        found.append(environment.log())
    if workspace:
        found.append(path(workspace) / "worker.log")
    if link is not None and isinstance(link.where, Launch):
        found.append(link.where.log)
    return found


def report(context: bpy.types.Context) -> str:
    """What went wrong and where, for whoever may help. Holds names of folders, no pictures."""
    link = link_of(context)
    course = link.courses.current if link is not None else None
    lines = [
        f"Blender {bpy.app.version_string}, SegWild backend {environment.version() or 'not found'}",
        f"installation: {environment.status()}",
        f"backend: {link.status if link is not None else 'never started'}",
        f"job: {course.verb} {course.state} {course.phase} {course.error}" if course is not None else "no job",
        *([f"not understood: {link.trouble}"] if link is not None and link.trouble else []),
        *environment.tail(),
    ]
    return "\n".join(lines)


# What happens by itself.


def import_scene(workspace: str) -> None:
    """Bring a finished workspace into this file, in steps."""
    warnings: list[str] = []

    def done(scene: Any, error: SegWildError | None) -> None:
        if scene is not None:
            scenes.make_active(scene)
            if hidden := framing.hidden(scene):
                warnings.append(hidden)
            framing.look_at(scene)
            with contextlib.suppress(RuntimeError):  # without a window there is nothing to undo
                bpy.ops.ed.undo_push(message="Import SegWild Scene")
        say(str(error) if error is not None else " ".join(warnings))
        session.redraw_views()

    session.carry_out(f"import {workspace}", scenes.importing(path(workspace), warnings.append), done)


def _heard(link: Link, item: Any) -> None:
    if isinstance(item, Status) and item.state == "stopped":
        _end_preview(str(link.workspace))
    if not isinstance(item, Happened):
        return
    event = item.event
    if isinstance(event, JobProgress | JobFailed):
        _read_tail(link, TAIL_SECS if isinstance(event, JobProgress) else 0.0)
    if isinstance(event, SceneChanged) and event.snapshot is not None:
        _show(link, event.snapshot)
    elif isinstance(event, JobDone | JobFailed | JobCancelled):
        _ended(link, item.course, event)


def tail(context: bpy.types.Context) -> tuple[str, ...]:
    """The last lines that the job's worker has written, as of a moment ago."""
    link = link_of(context)
    return _tails.get(str(link.workspace), ((), 0.0))[0] if link is not None else ()


def _read_tail(link: Link, every_secs: float) -> None:
    """Look into the worker's log, in a thread, if it was not looked into just now."""
    workspace = str(link.workspace)
    lines, at = _tails.get(workspace, ((), -1e9))
    if time.monotonic() - at < every_secs:
        return
    _tails[workspace] = lines, time.monotonic()

    def told(answered: Answered) -> None:
        if answered.error is None:
            _tails[workspace] = answered.value, time.monotonic()

    link.later(told, lambda backend: tail_of(link.workspace / "worker.log"))


def _ended(link: Link, course: Course | None, event: Any) -> None:
    workspace = next((name for name in _to_import if str(path(name)) == str(path(str(link.workspace)))), None)
    if course is None or course.verb not in MAKES_SPLATS:
        return
    _end_preview(str(link.workspace))
    if workspace is None or not isinstance(event, JobDone):
        return
    _to_import.discard(workspace)
    if not (link.workspace / "scene.json").is_file():
        say("The scene is ready on the other machine. Copy its folder here to import it.", "INFO")
        return
    import_scene(workspace)


def _show(link: Link, snapshot: Snapshot) -> None:
    """Draw what the training has made so far; the arrays are read in a thread."""

    def read(backend: Backend) -> dict[str, np.ndarray]:
        names = ("means", "colors", "scales", "quats", "opacities")
        return {name: np.array(backend.array(getattr(snapshot, name))) for name in names}

    def told(answered: Answered) -> None:
        course = link.courses.current
        if answered.error is None and course is not None and course.live:  # else a newer one, or the end, has come
            workspace = str(link.workspace)
            known = next(
                (scene for scene in scenes.all_scenes() if path(scene.segwild.workspace) == path(workspace)), None
            )
            uuid = _previews.setdefault(workspace, known.segwild.uuid if known is not None else f"preview {workspace}")
            draw.preview(uuid, answered.value, None if known is not None else np.eye(4))

    link.later(told, read)


def _end_preview(workspace: str) -> None:
    uuid = _previews.pop(workspace, None)
    if uuid is not None:
        draw.preview(uuid, None)


def register() -> None:
    session.listeners.append(_heard)
    look_for_backend()


def unregister() -> None:
    _to_import.clear()
    _previews.clear()
    _requests.clear()
    _tails.clear()
