"""What buttons have the backend do, in words of a scene: start it here, queue this, bring the result in.

Also what happens by itself: the preview of a running training, the import at its end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import environment, session
from .client import Address, Answered, Launch, Status, command_of
from .client.backend import Backend
from .client.course import Course
from .client.link import Happened, Link, tail_of
from .data import scenes
from .data.places import absolute
from .protocol.errors import InputError, SegWildError
from .protocol.events import JobCancelled, JobDone, JobFailed, JobProgress, SceneChanged
from .protocol.values import Snapshot
from .ui import thumbnails
from .ui.preferences import preferences
from .viewport import draw, framing

SNAPSHOT_SECS = 4.0  # between pictures of a running training
TOLD_SECS = 15.0  # that the panel shows what was done
TAIL_SECS = 5.0  # between looks into the log of a job
MAKES_SPLATS = ("run", "train")
PLACES = ("photos", "people", "masks")  # fields of requests that name a folder or file outside the workspace

_to_import: set[str] = set()  # workspaces whose result is to be brought in, absolute
_previews: dict[str, str] = {}  # workspace -> the uuid its preview is drawn under
_tails: dict[str, tuple[tuple[str, ...], float]] = {}  # workspace -> lines of its worker's log, when they were read


def path(text: str) -> Path:
    """A folder or file as Blender writes it (// is the file's folder), absolute."""
    return Path(absolute(text))


def workspace_of(context: bpy.types.Context) -> str:
    """The folder that the panel speaks of: of the active scene, else of the new one; empty if there is none."""
    scene = scenes.active(context)
    making = new_workspace(context)
    if making and (known := session.known(making)) is not None and known.busy:
        return making
    if scene is not None and scene.segwild.workspace:
        return scene.segwild.workspace
    return making


def new_workspace(context: bpy.types.Context) -> str:
    """The folder that a new scene is made in; empty without photos, and if there is none beside them."""
    settings = context.scene.segwild
    return settings.workspace_folder or _beside_photos(settings.photos_folder)


def _beside_photos(photos: str) -> str:
    """Where the scene of a folder of photos goes unless the person says otherwise; empty beside a whole disk."""
    folder = Path(bpy.path.abspath(photos))
    return str(folder.with_name(f"{folder.name}.segwild")) if folder.name else ""


def link_of(context: bpy.types.Context) -> Link | None:
    """The link of the present workspace if there is one. For `draw` too: makes nothing."""
    workspace = workspace_of(context)
    return session.known(workspace) if workspace else None


def busy(context: bpy.types.Context) -> bool:
    """Whether a job is under way there."""
    link = link_of(context)
    return link is not None and _at_work(link)


def _at_work(link: Link) -> bool:
    course = link.courses.current
    return course is not None and course.live and link.running


def possible(context: bpy.types.Context) -> bool:
    """Whether a backend is installed here, or in use."""
    link = link_of(context)
    return environment.python() is not None or (link is not None and link.backend is not None)


def look_for_backend() -> None:
    """Find out which backend is installed. Returns at once."""
    known = preferences()
    folder = path(known.folder) if known.folder else environment.default_folder()
    environment.look(known.python, folder)


def start(context: bpy.types.Context, workspace: str = "", places: tuple[Path, ...] = (), *, new: bool = False) -> str:
    """Start the backend of a workspace (or of the present one); a sentence if that cannot be.

    It may use the places of the panel and `places`. A backend that may not use these yet is started anew. If the folder
    of a scene is gone, only one that is to make a `new` scene makes it.
    """
    link = session.link(workspace or workspace_of(context))
    if link.remote and link.backend is not None:
        return ""
    python = environment.python()
    if python is None:
        return f"{environment.status().sentence} {environment.status().hint}".strip()
    if not new and not link.workspace.is_dir() and scenes.of_folder(str(link.workspace)) is not None:
        return f"The folder of the workspace is not there: {link.workspace}. Choose where it is now under Workspace."
    settings = context.scene.segwild
    allow = link.where.allow if isinstance(link.where, Launch) and link.backend is not None else ()
    for place in (*places, *(path(text) for text in (settings.photos_folder, settings.people_weights) if text)):
        if any(place == allowed or allowed in place.parents for allowed in allow):
            continue
        if not _at_work(link):
            allow = (*allow, place)
        elif place in places:
            return f"The backend has a job, and cannot be told of another place before its end: {place}."
    log = environment.default_folder().with_name("log") / f"{link.workspace.stem}.log"
    link.start(Launch(command_of(python), link.workspace, log, allow=allow))
    session.wake()
    return ""


def startable(workspace: str) -> bool:
    """Whether the backend of a workspace is installed here and away: `start` is all it needs. Looks at no disk."""
    link = session.known(workspace) if workspace else None
    theirs = link is not None and (link.backend is not None or link.ending or link.remote)
    return not theirs and environment.python() is not None and bool(workspace)


def connect(context: bpy.types.Context, address: Address) -> None:
    """Use a backend that someone else started for the present workspace."""
    session.link(workspace_of(context)).start(address)
    session.wake()


def queue(context: bpy.types.Context, verb: str, workspace: str = "", **request: Any) -> str:
    """Start the backend if need be and queue a job for a workspace (or the present one); a sentence if that cannot be.

    Places in it are as the panel has them, or as a former request had them.
    """
    workspace = workspace or workspace_of(context)
    link = session.link(workspace)
    places = {name: _place(link, str(request[name])) for name in PLACES if request.get(name)}
    trouble = start(context, workspace, tuple(map(Path, places.values())), new=verb == "run")
    if trouble:
        return trouble
    request |= places
    if "device" not in request and verb in MAKES_SPLATS:
        request["device"] = preferences(context).device
    if verb in MAKES_SPLATS:
        _to_import.add(str(link.workspace))
        request = request | {"snapshot_secs": SNAPSHOT_SECS}

    def told(answered: Answered) -> None:
        if answered.error is not None:
            say(str(answered.error))

    link.once_running(lambda: link.submit(verb, told, **request))
    say("")
    return ""


def _place(link: Link, text: str) -> str:
    """A folder or file as the backend is to be told of it: one of another machine is called what was typed."""
    elsewhere = link.remote and link.backend is not None
    return text if elsewhere and not text.startswith("//") else str(path(text))


def again(context: bpy.types.Context) -> str:
    """Queue the last job once more, exactly as it was: only then does it go on from its last checkpoint. A sentence if
    that cannot be."""
    workspace, link = workspace_of(context), link_of(context)
    course = link.courses.current if link is not None else None
    if link is None or course is None:
        return "There is no job to try again."
    trouble = start(context, workspace)
    if trouble:
        return trouble

    def told(answered: Answered) -> None:
        if answered.error is not None:
            say(str(answered.error))
            return
        job = answered.value
        # The service fills in the folder of its scene, which may have been moved since.
        request = {name: value for name, value in job.request.items() if name not in ("workspace", "out")}
        say(queue(bpy.context, job.verb, workspace, **request))

    link.once_running(lambda: link.later(told, Backend.job, course.job))
    return ""


def say(sentence: str, icon: str = "ERROR") -> None:
    """Have the panel show a sentence; empty: no more. Without another icon it is something that went wrong."""
    for manager in bpy.data.window_managers:
        manager.segwild.status, manager.segwild.status_icon = sentence, icon
    session.redraw_panels()


def tell(sentence: str, icon: str) -> None:
    """`say` what was done, for a while: later steps, undo among them, may have made it untrue."""

    def end() -> None:
        if bpy.context.window_manager.segwild.status == sentence:
            say("")

    say(sentence, icon)
    session.soon("told", end, TOLD_SECS)


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
            if older := scenes.put_aside(scene):
                warnings.append(scenes.told_aside(older))
            if hidden := framing.hidden(scene):
                warnings.append(hidden)
            framing.look_at(scene)
            thumbnails.forget(workspace)
            with contextlib.suppress(RuntimeError):  # without a window there is nothing to undo
                bpy.ops.ed.undo_push(message="Import SegWild Scene")
        if error is not None:
            say(str(error))
        else:
            say(" ".join(warnings), "INFO")
        session.redraw_views()

    session.carry_out(f"import {workspace}", _importing(path(workspace), warnings.append), done)


def _importing(folder: Path, warn: Callable[[str], None]) -> Iterator[Any]:
    """The steps of an import, which wait until Blender is at rest: some make point clouds in Object Mode alone."""
    steps, waited = scenes.importing(folder, warn), False
    while True:
        if not session.at_rest():
            if not waited:
                say(f"The scene {folder.stem} is ready. It is imported when Blender is at rest in Object Mode.", "INFO")
            waited = True
            yield session.WAIT
            continue
        if waited and not _of_this_file(folder):
            raise InputError("import-interrupted", *_ready(folder))
        try:
            yield next(steps)
        except StopIteration as end:
            return end.value


def _of_this_file(folder: Path) -> bool:
    """Whether the open file speaks of a workspace: it holds its scene, or names it for a new one."""
    named = [scene.segwild.workspace for scene in scenes.all_scenes()]
    for scene in bpy.data.scenes:
        named += [scene.segwild.workspace_folder, _beside_photos(scene.segwild.photos_folder)]
    return any(name and path(name) == folder for name in named)


def _ready(folder: Path) -> tuple[str, str]:
    """A sentence and a hint."""
    return f"The scene {folder.stem} is ready.", f"Import Scene… brings it into a file: {folder}."


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
    workspace = str(link.workspace)
    if course is None or course.verb not in MAKES_SPLATS:
        return
    _end_preview(workspace)
    if isinstance(event, JobFailed) and link is not link_of(bpy.context):  # the panel speaks of another scene
        say(f"{link.workspace.stem}: {event.sentence} {event.hint}")
    if workspace not in _to_import or not isinstance(event, JobDone):
        return
    _to_import.discard(workspace)
    if not (link.workspace / "scene.json").is_file():
        say("The scene is ready on the other machine. Copy its folder here to import it.", "INFO")
    elif not _of_this_file(link.workspace):  # another one was opened meanwhile
        say(" ".join(_ready(link.workspace)), "INFO")
    else:
        import_scene(workspace)


def _show(link: Link, snapshot: Snapshot) -> None:
    """Draw what the training has made so far; the arrays are read in a thread."""

    def read(backend: Backend) -> dict[str, np.ndarray]:
        names = ("means", "colors", "scales", "quats", "opacities")
        return {name: np.array(backend.array(getattr(snapshot, name))) for name in names}

    def told(answered: Answered) -> None:
        course = link.courses.current
        live = course is not None and course.live  # else a newer one, or the end, has come
        if answered.error is None and live and _of_this_file(link.workspace):
            workspace = str(link.workspace)
            known = scenes.of_folder(workspace)
            uuid = _previews.setdefault(workspace, known.segwild.uuid if known is not None else f"preview {workspace}")
            draw.preview(uuid, answered.value, None if known is not None else np.eye(4))

    link.later(told, read)


def _end_preview(workspace: str) -> None:
    uuid = _previews.pop(workspace, None)
    if uuid is not None:
        draw.preview(uuid, None)


@persistent
def _loaded(*_: Any) -> None:
    """Another file: what was drawn went with the one before."""
    _previews.clear()


def register() -> None:
    session.listeners.append(_heard)
    bpy.app.handlers.load_post.append(_loaded)
    look_for_backend()


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_loaded)
    _to_import.clear()
    _previews.clear()
    _tails.clear()
