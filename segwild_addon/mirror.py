"""Objects made, renamed, nested, changed or deleted in Blender, told to their workspace, while its backend runs.

The .blend is what the person works in; the workspace follows. Differences are looked for a moment after the last
change and told one question at a time, until there are none, so that undo and redo need no thought of their own.
Without a backend the workspace stays as it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import session, work
from .client import UNREACHABLE, Answered, Status
from .client.link import Happened, Link
from .data import cuts, nesting, scenes
from .protocol.errors import InputError
from .protocol.events import SceneChanged
from .protocol.questions import Drop, Keep, Nest, Rename
from .protocol.values import Kept, Named

QUIET_SECS = 0.5

Stamp = tuple[int, int]  # how many rows an object has, and the sum of their ids


@dataclass
class _Told:
    """What the workspace of one scene has, as far as it is known."""

    names: dict[int, str] | None = None  # by id; None: to be read
    parents: dict[int, int] = field(default_factory=dict)  # by id
    count: int = 0  # Gaussians
    stamps: dict[int, Stamp] = field(default_factory=dict)  # rows the workspace was told, or had, by id
    asking: bool = False
    expected: int = 0  # events of changes that we have asked for
    refused: set[tuple[Any, ...]] = field(default_factory=set)  # not to be tried again


_told: dict[str, _Told] = {}  # by scene uuid


def compare() -> None:
    """Tell every workspace whose backend runs the first thing in which it differs."""
    for scene in scenes.all_scenes():
        link = session.running(scene.segwild.workspace)
        if link is not None and follows(scene):
            _compare(scene, link, _told.setdefault(scene.segwild.uuid, _Told()))


def follows(scene: bpy.types.Collection) -> bool:
    """Whether the workspace is told of what is done in the scene.

    Of a workspace that was imported twice, or copied, it is one of the scenes: they would undo each other's changes.
    """
    return scene.library is None and scenes.of_folder(scene.segwild.workspace) == scene


def _compare(scene: bpy.types.Collection, link: Link, told: _Told) -> None:
    if told.asking:
        return
    uuid = scene.segwild.uuid
    if told.names is None:
        if ("read",) not in told.refused:
            folder, mark = work.path(scene.segwild.workspace), scene.segwild.gaussians
            told.asking = True
            link.later(lambda answered: _read(uuid, answered), lambda backend: _facts(folder, mark))
        return
    question, subject, stamp = _difference(scene, told)
    if question is not None:
        told.asking = True
        told.expected += 1
        link.ask(question, lambda answered: _answered(uuid, question, subject, stamp, answered))


def _difference(scene: bpy.types.Collection, told: _Told) -> tuple[Any, str, Stamp]:
    """The first question to ask, the uuid of its object and that object's stamp; None if all is the same."""
    assert told.names is not None
    present = _by_label(scene, told.names)
    for label in list(told.stamps):  # only what was here once: others may have been left out of the import
        if label not in present and label in told.names and ("drop", label) not in told.refused:
            return Drop(told.names[label]), "", (label, 0)
    for label, ob in present.items():
        stamp = _stamp(ob)
        if label in told.names and label not in told.stamps:
            told.stamps[label] = stamp
        if label in told.names and ob.name != told.names[label] and ("rename", label, ob.name) not in told.refused:
            return Rename(told.names[label], ob.name), ob.segwild.uuid, stamp
        same = label in told.names and told.stamps[label] == stamp
        if not same and stamp[0] and ("keep", ob.segwild.uuid, stamp) not in told.refused:
            return Keep(_free_name(ob, label, told.names), packed(cuts.ids(ob), told.count)), ob.segwild.uuid, stamp
    # The highest first: what is above the new parent is as it shall be then, and no circle comes about.
    for label, ob in sorted(present.items(), key=lambda item: len(nesting.above(item[1]))):
        parent = _parent(ob, told.names, present)
        if label not in told.names or parent is None or parent == _parent_told(told, label, present):
            continue
        name = told.names.get(parent, "")
        if ("nest", label, name) not in told.refused:
            return Nest(told.names[label], name), ob.segwild.uuid, _stamp(ob)
    return None, "", (0, 0)


def _parent(ob: bpy.types.Object, names: dict[int, str], present: dict[int, bpy.types.Object]) -> int | None:
    """The number of what the object is a part of here, 0 for none; None where the workspace does not know that one."""
    parent = nesting.parent_of(ob)
    if parent is None:
        return 0
    label = parent.segwild.label
    return label if label in names and present.get(label) == parent else None


def _parent_told(told: _Told, label: int, present: dict[int, bpy.types.Object]) -> int:
    """The same in the workspace, where what is above may have been left out of the import: the next one above."""
    seen, parent = {label}, told.parents.get(label, 0)
    while parent and parent not in present and parent not in told.stamps and parent not in seen:
        seen.add(parent)
        parent = told.parents.get(parent, 0)
    return parent


def _by_label(scene: bpy.types.Collection, names: dict[int, str]) -> dict[int, bpy.types.Object]:
    """Segments by their number in the workspace; those it does not know by negative ones. A copy that Blender has made
    of an object has the same number: the one with the known name counts."""
    found: dict[int, bpy.types.Object] = {}
    for number, ob in enumerate(scenes.members(scene, "SEGMENT"), start=1):
        label = ob.segwild.label
        if not ob.users_collection:
            continue
        if not label:
            found[-number] = ob
        elif label not in found or ob.name == names.get(label):
            found[label] = ob
    return found


def name_of(ob: bpy.types.Object) -> str | None:
    """What the workspace calls the object; None while it does not have it with the rows that it has here."""
    told, label = _told.get(ob.segwild.scene_uuid), ob.segwild.label
    if told is None or told.asking or not told.names or label not in told.names:
        return None
    return told.names[label] if told.stamps.get(label) == _stamp(ob) else None


def expecting(ob: bpy.types.Object, heard: Callable[[Answered], None]) -> Callable[[Answered], None]:
    """What to do with the answer to a question of ours, asked now, that changes the object in the workspace: `heard`.

    The workspace is not read anew for that change. None comes where the question fails.
    """
    uuid = ob.segwild.scene_uuid
    if uuid in _told:
        _told[uuid].expected += 1

    def then(answered: Answered) -> None:
        if answered.error is not None and uuid in _told:
            _told[uuid].expected = max(0, _told[uuid].expected - 1)
        heard(answered)

    return then


def _stamp(ob: bpy.types.Object) -> Stamp:
    ids = cuts.ids(ob)
    return len(ids), int(ids.sum(dtype=np.int64))


def _free_name(ob: bpy.types.Object, label: int, names: dict[int, str]) -> str:
    """The object's name, or the next free one if the workspace has another object of that name."""
    others = {name for number, name in names.items() if number != label}
    name, number = ob.name, 1
    while name in others:
        number += 1
        name = f"{ob.name} {number}"
    return name


def packed(ids: np.ndarray, count: int) -> str:
    """The rows of these ids (M,), of so many in the workspace, as base64 of bits, lowest first."""
    bits = np.zeros(count, bool)
    bits[ids[(ids > 0) & (ids <= count)] - 1] = True
    return base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()


def _facts(folder: Path, mark: str) -> tuple[dict[int, str], dict[int, int], int]:
    """Names and parents of the workspace's objects by id, and how many Gaussians it has. Runs in a thread.

    Raises InputError if it has other Gaussians than those that the scene was imported with.
    """
    table = folder / "segments.json"
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))["objects"] if table.exists() else []
        names = {int(row["id"]): str(row["name"]) for row in rows}
        parents = {int(row["id"]): int(row["parent"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("file-damaged", f"The objects of the workspace cannot be read: {table}.") from error
    workspace = scenes.Folder.open(folder)
    workspace.expect(mark)
    return names, parents, len(workspace.splats())


def _read(uuid: str, answered: Answered) -> None:
    told = _told.get(uuid)
    if told is None:
        return
    told.asking = False
    if answered.error is None:
        told.names, told.parents, told.count = answered.value
        changed()
    else:
        told.refused.add(("read",))
        scene = scenes.find(uuid)
        aside = scene is not None and scenes.is_aside(scene)  # whoever put it aside knows
        if answered.error.code not in UNREACHABLE and not aside:
            work.say(str(answered.error))


def _answered(uuid: str, question: Any, subject: str, stamp: Stamp, answered: Answered) -> None:
    told = _told.get(uuid)
    if told is None:
        return
    told.asking = False
    ob = scenes.by_uuid(subject)
    if answered.error is not None:
        told.expected = max(0, told.expected - 1)
        _remember_refusal(told, question, subject, stamp, ob)
        if answered.error.code not in UNREACHABLE:
            work.say(f"The workspace could not follow: {answered.error.sentence}")
    elif isinstance(answered.value, Named):
        told.names = dict(zip(answered.value.ids, answered.value.names, strict=True))
        told.parents = dict(zip(answered.value.ids, answered.value.parents, strict=True))
        if isinstance(question, Drop):
            told.stamps.pop(stamp[0], None)
    elif isinstance(answered.value, Kept):
        kept = answered.value
        told.names = {**(told.names or {}), kept.id: kept.name}
        told.stamps[kept.id] = stamp
        if ob is not None:
            ob.segwild.label = kept.id
            if ob.name != kept.name:
                ob.name = kept.name
    changed()


def _remember_refusal(told: _Told, question: Any, subject: str, stamp: Stamp, ob: bpy.types.Object | None) -> None:
    if isinstance(question, Drop):
        told.refused.add(("drop", stamp[0]))
    elif isinstance(question, Rename) and ob is not None:
        told.refused.add(("rename", ob.segwild.label, question.to))
    elif isinstance(question, Nest) and ob is not None:
        told.refused.add(("nest", ob.segwild.label, question.parent))
    elif isinstance(question, Keep):
        told.refused.add(("keep", subject, stamp))


@persistent
def changed(*_: Any) -> None:
    """Something may differ. Looked into when it has been quiet for a moment."""
    if any(link.running for link in session.links.values()):
        session.soon("mirror", compare, QUIET_SECS)


@persistent
def _loaded(*_: Any) -> None:
    _told.clear()
    changed()


def _heard(link: Link, item: Any) -> None:
    for scene in scenes.all_scenes():
        told = _told.get(scene.segwild.uuid)
        if told is not None and session.known(scene.segwild.workspace) is link:
            _heard_of(told, item)
    if isinstance(item, Status | Happened):
        changed()


def _heard_of(told: _Told, item: Any) -> None:
    """What the news mean for one scene."""
    if isinstance(item, Status) and item.state == "running":
        told.names = None
        told.asking, told.expected = False, 0
        told.refused.clear()
    elif isinstance(item, Happened) and isinstance(item.event, SceneChanged):
        if item.event.what == "gaussians":
            told.names = None
            told.refused.clear()
        elif item.event.what == "objects":
            if told.expected:
                told.expected -= 1
            else:  # somebody else
                told.names = None


_HANDLERS = ("depsgraph_update_post", "undo_post", "redo_post")


def register() -> None:
    session.listeners.append(_heard)
    bpy.app.handlers.load_post.append(_loaded)
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).append(changed)


def unregister() -> None:
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(changed)
    bpy.app.handlers.load_post.remove(_loaded)
    _told.clear()
