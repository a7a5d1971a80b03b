"""Edges of objects, cleaned: the backend divides what sticks out, and the parts come into the file when they are there.

An object that was just made is told to the workspace first (`mirror`); its cut is asked for then. Each cut is a step of
Blender's undo.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import fields
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import mirror, session, work
from .client import UNREACHABLE, Answered
from .client.backend import WITHDRAWN, Backend, new_ticket
from .client.link import Link
from .data import cuts, scenes
from .data.cuts import Parts
from .protocol.errors import SegWildError
from .protocol.questions import Cut, Revert
from .viewport import selection

LOOK_SECS = 0.2  # between looks whether the workspace knows an object by now, or Blender is at rest again
WAIT_SECS = 120.0  # for the workspace to know the object
SAYING = "Cleaning the edges of"

_wanted: dict[str, float] = {}  # uuids of objects to be cut, in this order, and until when that makes sense
_asked: dict[str, str] = {}  # the one that is being cut, and the ticket of its question; empty: it is answered


def link_of(ob: bpy.types.Object) -> Link | None:
    """The running backend that knows the object's scene; None if there is none."""
    scene = scenes.scene_of(ob)
    return session.running(scene.segwild.workspace) if scene is not None and mirror.follows(scene) else None


def clean(ob: bpy.types.Object) -> bool:
    """Have the object's edges cleaned, in a while; False if no backend runs that could."""
    if link_of(ob) is None:
        return False
    uuid = ob.segwild.uuid
    _wanted.setdefault(uuid, time.monotonic() + WAIT_SECS)
    mirror.changed()
    session.soon("cleaning", _go_on)
    return True


def made(context: bpy.types.Context) -> bpy.types.Object:
    """An object of what is highlighted, whose edges are cleaned if the person wants that. Raises InputError as
    `selection.accept`."""
    ob = selection.accept(context.window_manager.segwild.new_name)
    if context.scene.segwild.clean_edges:
        clean(ob)
    return ob


def busy(ob: bpy.types.Object) -> bool:
    """Whether the object is waiting to be cut, or being cut."""
    return ob.segwild.uuid in _wanted


def cutting() -> bool:
    """Whether any object is waiting to be cut, or being cut."""
    return bool(_wanted)


def stop() -> None:
    """Clean no edges any more, neither those at work nor those that wait; what was cleaned stays."""
    for uuid, ticket in _asked.items():
        ob = scenes.by_uuid(uuid)
        link = link_of(ob) if ob is not None else None
        if link is not None and ticket:
            link.later(lambda answered: None, Backend.withdraw, ticket)
    _wanted.clear()
    _say_no_more()


def restore(ob: bpy.types.Object) -> bool:
    """Make the object whole again, in the workspace too; False if it was."""
    _wanted.pop(ob.segwild.uuid, None)
    done, link, name = cuts.revert(ob, scenes.rest_of(ob)), link_of(ob), mirror.name_of(ob)
    if link is not None and name is not None:
        link.ask(Revert(name), mirror.expecting(ob, lambda answered: None))  # the file is what counts
    return done


def _go_on() -> None:
    """Ask for the first cut that can be asked for."""
    if _asked or not _wanted:
        return
    uuid = next(iter(_wanted))
    ob = scenes.by_uuid(uuid)
    link = link_of(ob) if ob is not None else None
    if ob is None or link is None:  # undone, deleted, or nobody to ask any more
        del _wanted[uuid]
        _say_no_more()
        session.soon("cleaning", _go_on)
        return
    name = mirror.name_of(ob)
    if name is None:
        if time.monotonic() > _wanted[uuid]:
            del _wanted[uuid]
            work.say(f"The edges of {ob.name} were not cleaned: the workspace does not have the object.")
        session.soon("cleaning", _go_on, LOOK_SECS)
        return
    ticket = _asked[uuid] = new_ticket()
    work.say(f"{SAYING} {ob.name} …", "SORTTIME")
    ids = cuts.ids(ob)
    link.later(mirror.expecting(ob, lambda answered: _answered(uuid, ids, answered)), _parts, name, ticket)
    session.wake()


def _say_no_more() -> None:
    """What was being cleaned is no longer."""
    if bpy.context.window_manager.segwild.status.startswith(SAYING):
        work.say("")


def _parts(backend: Backend, name: str, ticket: str) -> Parts:
    """Runs in a thread."""
    told = backend.ask(Cut(name), ticket=ticket)
    arrays = {field.name: np.array(backend.array(getattr(told, field.name))) for field in fields(Parts)}
    for ids in ("parents", "given", "dropped"):
        arrays[ids] = arrays[ids].astype(np.int32) + 1
    return Parts(**arrays)


def _answered(uuid: str, ids: np.ndarray, answered: Answered) -> None:
    _asked.clear()
    session.soon("cleaning", _go_on)
    ob = scenes.by_uuid(uuid)
    if uuid not in _wanted or ob is None:  # taken back meanwhile
        if ob is not None and answered.error is None and not cuts.is_cut(ob):  # too late: the workspace has cut it
            restore(ob)
        _say_no_more()
        return
    if answered.error is not None and answered.error.code == WITHDRAWN:  # and wanted again
        return
    if answered.error is not None:
        del _wanted[uuid]
        if answered.error.code not in UNREACHABLE:
            work.say(str(answered.error))
        else:
            work.say("")
        return
    if not np.array_equal(cuts.ids(ob), ids):  # other rows by now: once more
        return
    if not session.at_rest():
        _asked[uuid] = ""
        session.soon("cleaning apply", lambda: _answered(uuid, ids, answered), LOOK_SECS)
        return
    del _wanted[uuid]
    _apply(ob, answered.value)


def _apply(ob: bpy.types.Object, parts: Parts) -> None:
    try:
        count = cuts.cut(ob, scenes.rest_of(ob), parts)
    except SegWildError as error:
        work.say(str(error))
        return
    work.tell(told(ob, count), "CHECKMARK" if count else "INFO")
    if count:
        with contextlib.suppress(RuntimeError):  # without a window there is nothing to undo
            bpy.ops.ed.undo_push(message="Clean Edges")
    session.redraw_views()


def told(ob: bpy.types.Object, count: int) -> str:
    """What was done to the object, in a sentence."""
    if not count:
        return f"Nothing sticks out of {ob.name}."
    return f"Cleaned the edges of {ob.name}: {count} splat{'s' if count != 1 else ''} cut."


@persistent
def _loaded(*_: Any) -> None:
    _wanted.clear()
    _asked.clear()


def register() -> None:
    bpy.app.handlers.load_post.append(_loaded)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_loaded)
    _loaded()
