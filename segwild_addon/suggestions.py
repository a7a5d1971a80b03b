"""What the backend suggests: objects there may be, likely junk, the selection grown and shrunk, parts of objects."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import mirror, session, work
from .client import Answered, Status
from .client.backend import Backend, new_ticket
from .data import cuts, scenes, segments
from .protocol.errors import InputError, SegWildError
from .protocol.questions import Grow, Junk, Part, Propose, Shrink
from .protocol.values import CAUSES
from .viewport import proposals, selection

STARTING = "Starting the backend …"
LOOK_SECS = 0.2  # between looks whether Blender is at rest again


@dataclass(frozen=True, eq=False)
class _Wish:
    """A question that is asked."""

    scene: str  # uuid
    place: str  # name of the Blender scene that it is asked in
    saying: str
    then: Callable[[bpy.types.Collection, np.ndarray], str]  # takes the answer in, and says what was found
    ticket: str


_asked: list[_Wish] = []  # at most one
_awaited: list[tuple[str, Callable[[bpy.types.Collection], None]]] = []  # scene and question of a backend that starts


def busy() -> bool:
    """Whether an answer, or the start of a backend that is to be asked, is awaited."""
    return bool(_asked or _awaited)


def stop() -> None:
    """Take back what is asked, or was to be asked when the backend runs."""
    if not busy():
        return
    for wish in _asked:
        scene = scenes.find(wish.scene)
        link = session.running(scene.segwild.workspace) if scene is not None else None
        if link is not None:
            link.later(lambda answered: None, Backend.withdraw, wish.ticket)
    _asked.clear()
    _awaited.clear()
    work.say("")


def soon(scene: bpy.types.Collection, ask: Callable[[bpy.types.Collection], None]) -> None:
    """Ask one of the questions below of the scene: now, or when its backend runs, which is started if it is away.

    Raises InputError as the question, and if the backend cannot be started.
    """
    workspace = scene.segwild.workspace
    if session.running(workspace) is not None:
        ask(scene)
        return
    _check(scene)
    if trouble := work.start(bpy.context, workspace):
        raise InputError("no-backend", trouble, "Start the backend.")
    _awaited[:] = [(scene.segwild.uuid, ask, bpy.context.scene.name)]
    work.say(STARTING, "SORTTIME")


def _heard(link: Any, item: Any) -> None:
    if not _awaited or not isinstance(item, Status):
        return
    uuid, ask, place = _awaited[0]
    scene = scenes.find(uuid)
    if scene is not None and session.known(scene.segwild.workspace) is not link:
        return
    if scene is not None and item.state in ("starting", "lost"):  # it is tried again by itself
        return
    _awaited.clear()
    if bpy.context.window_manager.segwild.status == STARTING:
        work.say("")
    if scene is not None and item.state == "running":
        try:
            with session.within(place):
                ask(scene)
        except SegWildError as error:
            work.say(str(error))


def find_objects(scene: bpy.types.Collection) -> None:
    """Have what stands apart in the scene shown in colours, in a while. Raises InputError as `find_junk`."""

    def then(scene: bpy.types.Collection, numbers: np.ndarray) -> str:
        if not numbers.any():
            return "Nothing stands apart by itself. Click on what you want, or box or brush it."
        proposals.show(scene.segwild.uuid, numbers)
        count = len(proposals.things(scene))
        if not count:
            proposals.hide(scene.segwild.uuid)
            return "All that stands apart is an object already."
        return f"{count} thing{'s stand' if count > 1 else ' stands'} apart. Click on one to select it."

    _ask(scene, "Looking for objects …", Propose(), then, _numbers)


def make_all(scene: bpy.types.Collection) -> int:
    """An object of each thing that is shown and belongs to none yet; returns of how many. One step of undo."""
    rest, found = scenes.rest(scene), proposals.things(scene)
    for ids in found.values():
        picked = segments.picked(scene, {rest.segwild.uuid: ids})
        segments.centre(segments.make_of_rows(scene, "Object", picked, color=selection.new_color(scene)))
    proposals.hide(scene.segwild.uuid)
    bpy.ops.ed.undo_push(message="Make All Proposals")
    selection.refresh()
    return len(found)


def find_junk(
    scene: bpy.types.Collection,
    strength: float,
    causes: Collection[str] = CAUSES,
    within: str = "",  # uuid of the object to look in; empty: all of the scene
) -> None:
    """Have likely junk of the scene highlighted, in a while, in place of what was found before.

    Raises InputError if the file does not have what the backend would search, or if something of another scene is
    being selected.
    """

    def then(scene: bpy.types.Collection, ids: np.ndarray) -> str:
        every = [ob.segwild.uuid for ob in scenes.splat_objects(scene)]
        found = segments.spread(scene, ids, every, shown=True)
        if within:  # here, and not by the backend: the workspace need not have the rows yet that it has here
            found = {uuid: own for uuid, own in found.items() if uuid == within}
        selection.put_junk(scene.segwild.uuid, found)
        if not found:
            what = "of this object that is shown" if within else "that is shown"
            return f"Nothing {what} looks like junk at this strength."
        return f"{_counted(found)} may be junk. Make an object of what is, or erase it."

    _ask(scene, "Looking for likely junk …", Junk(strength, tuple(cause for cause in CAUSES if cause in causes)), then)


def grow(scene: bpy.types.Collection) -> None:
    """Have what is selected grow by what touches it and looks alike, in a while. Raises InputError as `find_junk`."""
    before = selection.chosen()

    def then(scene: bpy.types.Collection, ids: np.ndarray) -> str:
        _unchanged(before)
        new = np.setdiff1d(ids, _ids(before))
        found = segments.spread(scene, new, list(before), shown=True)
        if not found:
            return "Nothing that looks alike touches the selection."
        selection.add_stroke(scene.segwild.uuid, found, True, "Select: Grow")
        return f"{_counted(found)} added."

    _ask(scene, "Growing the selection …", Grow(_rows(scene, before)), then)


def shrink(scene: bpy.types.Collection) -> None:
    """Have what is selected lose its rim, in a while. Raises InputError as `find_junk`."""
    before = selection.chosen()

    def then(scene: bpy.types.Collection, ids: np.ndarray) -> str:
        _unchanged(before)
        lost = {uuid: np.setdiff1d(own, ids) for uuid, own in before.items()}
        lost = {uuid: own for uuid, own in lost.items() if len(own)}
        if not lost:
            return "The selection has no rim: nothing else touches it."
        if not np.isin(_ids(before), ids).any():
            return "Nothing would be left of the selection."
        selection.add_stroke(scene.segwild.uuid, lost, False, "Select: Shrink")
        return f"{_counted(lost)} taken out."

    _ask(scene, "Shrinking the selection …", Shrink(_rows(scene, before)), then)


def split(scene: bpy.types.Collection, uuid: str, least: int) -> None:
    """Have an object parted into what hangs together, in a while: one step of undo. Parts of fewer than `least` splats
    stay in it. Raises InputError as `find_junk`."""
    ids = _ids_of(uuid)

    def then(scene: bpy.types.Collection, numbers: np.ndarray) -> str:
        if not np.array_equal(_ids_of(uuid), ids):
            raise InputError("object-changed", "The object has changed meanwhile.", "Press the button again.")
        ob = scenes.by_uuid(uuid)
        made = segments.split(ob, numbers, selection.new_color)
        if not made:
            return f"All of {ob.name} hangs together, but for parts smaller than {least} splats."
        bpy.ops.ed.undo_push(message="Split into Parts")
        selection.refresh()
        return f"Split {ob.name} into {len(made) + 1} parts."

    _ask(scene, "Looking for parts …", Part(_rows(scene, {uuid: ids}), least), then, _numbers)


def _ids_of(uuid: str) -> np.ndarray:
    """(M,) int32, ascending, of an object as it is in the workspace; none if it is gone."""
    ob = scenes.by_uuid(uuid)
    return np.unique(cuts.ids(ob)) if ob is not None else np.zeros(0, np.int32)


def _rows(scene: bpy.types.Collection, chosen: dict[str, np.ndarray]) -> str:
    """What is chosen, as questions have it."""
    if not chosen:
        raise InputError("empty-object", "Nothing is selected.", "Click on an object first.")
    return mirror.packed(_ids(chosen), len(scenes.trained(scene).splats()))


def _ids(chosen: dict[str, np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(list(chosen.values())))


def _unchanged(before: dict[str, np.ndarray]) -> None:
    now = selection.chosen()
    if now.keys() != before.keys() or not all(np.array_equal(now[uuid], before[uuid]) for uuid in now):
        raise InputError("selection-changed", "The selection has changed meanwhile.", "Press the button again.")


def _counted(chosen: dict[str, np.ndarray]) -> str:
    count = sum(map(len, chosen.values()))
    return f"{count:,} splat{'s' * (count != 1)}"


# Asking.


def _ask(
    scene: bpy.types.Collection,
    saying: str,
    question: Any,
    then: Callable[..., str],
    fetch: Callable[[Backend, Any, str], np.ndarray] | None = None,  # runs in a thread; None: the ids of Chosen
) -> None:
    link = session.running(scene.segwild.workspace)
    if link is None or _asked:
        return
    _check(scene)
    wish = _Wish(scene.segwild.uuid, bpy.context.scene.name, saying, then, new_ticket())
    _asked.append(wish)
    work.say(saying, "SORTTIME")
    link.later(lambda answered: _answered(wish, answered), fetch or _ids_found, question, wish.ticket)
    session.wake()


def _check(scene: bpy.types.Collection) -> None:
    if len(selection.prompts()) and selection.scene_uuid() != scene.segwild.uuid:
        raise InputError(
            "another-scene", "Something of another scene is selected.", "Make or cancel the present selection first."
        )
    scenes.trained(scene)


def _numbers(backend: Backend, question: Any, ticket: str) -> np.ndarray:
    """(N,) uint8."""
    return backend.array(backend.ask(question, ticket=ticket).numbers)


def _ids_found(backend: Backend, question: Any, ticket: str) -> np.ndarray:
    """(M,) int32, ascending ids."""
    rows = backend.array(backend.ask(question, ticket=ticket).rows)
    return np.flatnonzero(np.unpackbits(rows, bitorder="little")).astype(np.int32) + 1


def _answered(wish: _Wish, answered: Answered) -> None:
    if wish not in _asked:  # another file, or taken back
        return
    scene = scenes.find(wish.scene)
    with session.within(wish.place):
        waits = scene is not None and answered.error is None and not session.at_rest()
    if waits:
        session.soon("suggestions", lambda: _answered(wish, answered), LOOK_SECS)
        return
    _asked.clear()
    if bpy.context.window_manager.segwild.status == wish.saying:
        work.say("")
    if scene is None:  # undone
        return
    try:
        if answered.error is not None:
            raise answered.error
        with session.within(wish.place):
            _check(scene)
            work.tell(wish.then(scene, answered.value), "INFO")
    except SegWildError as error:
        work.say(str(error))


@persistent
def _loaded(*_: Any) -> None:
    _asked.clear()
    _awaited.clear()


def register() -> None:
    session.listeners.append(_heard)
    bpy.app.handlers.load_post.append(_loaded)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_loaded)
    session.listeners.remove(_heard)
    _loaded()
