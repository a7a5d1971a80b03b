"""Likely junk, found by the backend and highlighted like a stroke: to be looked at, corrected, and then made an object
or erased by hand."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import session, work
from .client import Answered
from .client.backend import Backend
from .client.link import Link
from .data import scenes, segments
from .protocol.errors import InputError, SegWildError
from .protocol.questions import Junk
from .viewport import selection

LOOK_SECS = 0.2  # between looks whether Blender is in object mode again
SAYING = "Looking for likely junk …"

_asked: list[str] = []  # the scene that is searched, its uuid; at most one


def link_of(scene: bpy.types.Collection) -> Link | None:
    """The running backend of the scene; None if there is none."""
    found = session.known(scene.segwild.workspace)
    return found if found is not None and found.running else None


def busy() -> bool:
    """Whether a search is under way."""
    return bool(_asked)


def find(scene: bpy.types.Collection, strength: float) -> None:
    """Have likely junk of the scene highlighted, in a while, in place of what was found before.

    Raises InputError if the file does not have what the backend would search, or if something of another scene is
    being selected.
    """
    link = link_of(scene)
    if link is None or _asked:
        return
    _check(scene)
    uuid = scene.segwild.uuid
    _asked.append(uuid)
    work.say(SAYING, "SORTTIME")
    link.later(lambda answered: _answered(uuid, answered), _found, strength)
    session.wake()


def _check(scene: bpy.types.Collection) -> None:
    if len(selection.prompts()) and selection.scene_uuid() != scene.segwild.uuid:
        raise InputError(
            "another-scene", "Something of another scene is selected.", "Make or cancel the present selection first."
        )
    scenes.trained(scene)


def _found(backend: Backend, strength: float) -> np.ndarray:
    """(M,) int32, ascending ids. Runs in a thread."""
    rows = backend.array(backend.ask(Junk(strength)).rows)
    return np.flatnonzero(np.unpackbits(rows, bitorder="little")).astype(np.int32) + 1


def _answered(uuid: str, answered: Answered) -> None:
    scene = scenes.find(uuid)
    if uuid not in _asked or scene is None:  # another file, or undone
        _end()
        return
    if answered.error is None and bpy.context.mode != "OBJECT":  # a step of undo there would be one of that mode
        session.soon("junk", lambda: _answered(uuid, answered), LOOK_SECS)
        return
    _end()
    try:
        if answered.error is not None:
            raise answered.error
        _check(scene)
    except SegWildError as error:
        work.say(str(error))
        return
    shown = segments.shown(scene, answered.value)
    selection.put_junk(uuid, shown)
    count = sum(map(len, shown.values()))
    work.tell(told(count), "CHECKMARK" if count else "INFO")


def _end() -> None:
    _asked.clear()
    if bpy.context.window_manager.segwild.status == SAYING:
        work.say("")


def told(count: int) -> str:
    """What was found, in a sentence."""
    if not count:
        return "Nothing that is shown looks like junk at this strength."
    return f"{count:,} splat{'s look' if count != 1 else ' looks'} like junk. Make an object of what is, or erase it."


@persistent
def _loaded(*_: Any) -> None:
    _asked.clear()


def register() -> None:
    bpy.app.handlers.load_post.append(_loaded)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_loaded)
    _loaded()
