"""Prompts of the scene (clicks, strokes) into the splats they select: highlighted, made an object.

The prompts are properties of the Blender scene, so that Blender's undo steps through them one by one. What they
select is derived: an answer that comes late belongs to clicks that are no longer there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent
from mathutils import Color

from .. import session
from ..client import Status
from ..client.link import Happened
from ..data import erasing, scenes, segments
from ..protocol.errors import InputError, SegWildError
from ..protocol.events import SceneChanged
from ..protocol.values import Mark
from . import answers, draw
from .answers import Clicks, Marks

STROKES_KEPT = 1000

_strokes: OrderedDict[int, Mapping[str, np.ndarray]] = OrderedDict()  # by number, from 1: by object uuid, ids
_shown: list[Any] = [None, 0]  # what is highlighted: scene uuid, rows
_place = [""]  # the Blender scene that was selected in last


def prompts() -> Any:
    """The prompts of the open Blender scene, oldest first."""
    return bpy.context.scene.segwild.prompts


def scene_uuid() -> str:
    """The SegWild scene that the prompts belong to."""
    return bpy.context.scene.segwild.active_scene


def marks() -> Marks:
    """The clicks, as the backend wants them."""
    return tuple(
        Mark(tuple(each.position), tuple(each.eye), each.pixel, each.positive) for each in prompts() if not each.stroke
    )


def _clicks() -> Clicks:
    return Clicks(scene_uuid(), marks(), bpy.context.scene.segwild.prompt_size)


def add_click(hit: Any, positive: bool) -> None:
    """Put a mark on the surface that was hit. `hit` is picking's."""
    bpy.context.scene.segwild.active_scene = hit.scene_uuid
    each = prompts().add()
    each.position, each.eye = [float(x) for x in hit.position], [float(x) for x in hit.eye]
    each.pixel, each.positive, each.row = float(hit.pixel), positive, int(hit.row)
    each.holder, each.beside = hit.object_uuid, [float(x) for x in hit.beside]
    _changed("Select: Click" if positive else "Select: Click Beside")


def add_stroke(uuid: str, chosen: Mapping[str, np.ndarray], positive: bool, message: str = "") -> None:
    """Add rows chosen by hand to the selection, or take them out: of each object by its uuid the ids (M,) int32."""
    bpy.context.scene.segwild.active_scene = uuid
    each = prompts().add()
    each.stroke, each.positive = _numbered(chosen), positive
    _changed(message or ("Select: Add by Hand" if positive else "Select: Remove by Hand"))


def put_junk(uuid: str, chosen: Mapping[str, np.ndarray]) -> None:
    """Add rows that were found as likely junk, of each object by its uuid the ids (M,) int32; none is nothing.

    They take the place of those found before, so that what was taken out by hand since stays out.
    """
    bpy.context.scene.segwild.active_scene = uuid
    former = next((index for index, each in enumerate(prompts()) if each.junk), None)
    if chosen:
        each = prompts()[former] if former is not None else prompts().add()
        each.stroke, each.positive, each.junk = _numbered(chosen), True, True
    elif former is not None:
        prompts().remove(former)
    else:
        return
    _changed("Select: Likely Junk")


def _numbered(chosen: Mapping[str, np.ndarray]) -> int:
    """The number of a new stroke. Undo brings numbers back, so what they stand for never changes."""
    number = next(reversed(_strokes), 0) + 1
    _strokes[number] = dict(chosen)
    while len(_strokes) > STROKES_KEPT:
        _strokes.popitem(last=False)
    return number


def remove(index: int) -> None:
    prompts().remove(index)
    if not _clicks().answerable:
        bpy.context.scene.segwild.prompt_size = 0
    _changed("Select: Remove Click")


def clear() -> None:
    """Forget all prompts."""
    if len(prompts()):
        _forget()
        _changed("Select: Clear")


def _forget() -> None:
    prompts().clear()
    bpy.context.scene.segwild.prompt_size = 0


def levels() -> tuple[int, tuple[int, ...]]:
    """The sizes of what the clicks may mean, from part to whole, and the place of the present one; none: unknown."""
    return answers.levels(_clicks(), photos=_photos())


def resize(steps: int) -> bool:
    """Have the clicks mean so many steps more of the whole, or, below 0, of a part; whether there is such."""
    place, sizes = levels()
    wanted = min(max(place + steps, 0), len(sizes) - 1)
    if not sizes or wanted == place:
        return False
    bpy.context.scene.segwild.prompt_size = sizes[wanted]
    _changed("Select: Whole" if steps > 0 else "Select: Part")
    return True


def _changed(message: str) -> None:
    bpy.ops.ed.undo_push(message=message)
    refresh()


def waiting() -> bool:
    """Whether the selection is not known yet."""
    return _unanswered() and _link() is not None


def unknown() -> bool:
    """Whether there are clicks that no backend has answered or is going to answer as it is."""
    return _unanswered() and _link() is None


def _unanswered() -> bool:
    clicks = _clicks()
    return clicks.answerable and answers.known(clicks, photos=False) is None and answers.refusal(clicks) is None


def _photos() -> bool:
    """Whether photos have a say."""
    return bpy.context.window_manager.segwild.ask_photos


def consulting() -> bool:
    """Whether the photos are being asked, which may change the selection."""
    return _photos() and answers.consulting(_clicks())


def refusal() -> SegWildError | None:
    """Why the present clicks select nothing."""
    return answers.refusal(_clicks())


def chosen() -> dict[str, np.ndarray]:
    """What is selected as far as it is known: of each object by its uuid the ids (M,) int32, ascending.

    A stroke chooses in the objects it went over. What clicks choose is taken from the objects that were clicked on,
    where they have it: a copy, or the parts of a splat that was divided, have the same ids.
    """
    collection = scenes.find(scene_uuid())
    if collection is None:
        return {}
    holders = {each.holder for each in prompts() if not each.stroke and each.positive}
    answer = answers.known(_clicks(), photos=_photos())
    found = segments.spread(collection, np.zeros(0, np.int32) if answer is None else answer.ids, holders)
    there = {ob.segwild.uuid for ob in scenes.splat_objects(collection)}
    for each in prompts():
        stroke = _strokes.get(each.stroke, {}) if each.stroke else {}
        for uuid, ids in stroke.items():
            # Of an object that was joined or dissolved since, the rows are in another.
            now = {uuid: ids} if uuid in there else segments.spread(collection, ids)
            for holder, own in now.items():
                known = found.get(holder, np.zeros(0, np.int32))
                found[holder] = np.union1d(known, own) if each.positive else np.setdiff1d(known, own)
    return {uuid: ids.astype(np.int32, copy=False) for uuid, ids in found.items() if len(ids)}


def ids() -> np.ndarray:
    """(M,) int32, ascending, each once: what is selected in any object."""
    return np.unique(np.concatenate([np.zeros(0, np.int32), *chosen().values()]))


def count() -> int:
    """How many splats are highlighted."""
    return _shown[1] if len(prompts()) else 0


def accept(name: str) -> bpy.types.Object:
    """Make an object of what is selected, and forget the prompts. Raises InputError if nothing is selected."""
    collection, wanted = scenes.find(scene_uuid()), chosen()
    if collection is None or not wanted:
        raise InputError("empty-object", "Nothing is selected.", "Click on an object first.")
    picked = segments.picked(collection, wanted)
    made = segments.make_of_rows(collection, name.strip() or "Object", picked, color=new_color(collection))
    segments.centre(made)
    _forget()
    bpy.context.window_manager.segwild.property_unset("new_name")  # was of this object
    layer = bpy.context.view_layer
    for other in layer.objects:
        other.select_set(False)
    made.select_set(True)
    layer.objects.active = made
    bpy.ops.ed.undo_push(message=f"Make {made.name}")
    refresh()
    return made


def erase() -> int:
    """Make what is selected invisible, for Restore, and forget the prompts; returns how many splats it was.

    Raises InputError if nothing is selected.
    """
    collection, wanted = scenes.find(scene_uuid()), chosen()
    if collection is None or not wanted:
        raise InputError("empty-object", "Nothing is selected.", "Click on an object first.")
    picked = segments.picked(collection, wanted)
    count = sum(erasing.erase(ob, rows) for ob, rows in picked if ob.is_editable and ob.data.is_editable)
    _forget()
    bpy.ops.ed.undo_push(message="Erase Splats")
    refresh()
    return count


def new_color(collection: bpy.types.Collection) -> tuple[float, float, float]:
    """Distinct colours for objects of a scene one after the other: hues a golden section apart."""
    color, number = Color(), 1 + len(scenes.members(collection, "SEGMENT"))
    color.hsv = (number * 0.618034) % 1.0, 0.65, 0.95
    return tuple(color)


def _again() -> None:
    """`refresh`, from a timer."""
    with session.within(_place[0]):
        refresh()


def refresh() -> None:
    """Bring the highlight up to the prompts, and ask for what is not known."""
    _place[:] = [bpy.context.scene.name]
    uuid = scene_uuid()
    clicks, link = _clicks(), _link()
    if clicks.answerable and link is not None:
        answers.settle(link, clicks, _again, photos=_photos())
    if _shown[0] is not None and _shown[0] != uuid:
        draw.highlight(_shown[0], None)
    if not len(prompts()):
        if _shown[0] == uuid:
            draw.highlight(uuid, None)
        _shown[:] = None, 0
    elif not waiting():  # until then the former highlight stays: it does not flicker
        found = chosen()
        draw.highlight(uuid, found)
        _shown[:] = uuid, sum(map(len, found.values()))
    session.redraw_views()  # the markers


def _link() -> Any:
    """The running backend of the scene; None if there is none."""
    collection = scenes.find(scene_uuid())
    found = session.known(collection.segwild.workspace) if collection is not None else None
    return found if found is not None and found.running else None


def prepare() -> None:
    """Have the backend get ready, so that the first click does not wait."""
    link = _link()
    if link is not None:
        answers.prepare(link)


@persistent
def _after_undo(*_: Any) -> None:
    session.soon("selection", _again)


@persistent
def _after_load(*_: Any) -> None:
    answers.forget()
    _strokes.clear()
    _shown[:] = None, 0
    for scene in bpy.data.scenes:  # strokes of another session mean nothing
        if any(each.stroke for each in scene.segwild.prompts):
            scene.segwild.prompts.clear()
            scene.segwild.prompt_size = 0
    session.soon("selection", refresh)  # the clicks of the file


def _heard(link: Any, item: Any) -> None:
    """A backend that runs (again) is asked what it could not answer."""
    if isinstance(item, Status) and item.state == "running":
        answers.forget_refusals()
        _again()
    elif isinstance(item, Happened) and isinstance(item.event, SceneChanged) and item.event.what == "gaussians":
        answers.forget()
        _again()


def register() -> None:
    session.listeners.append(_heard)
    bpy.app.handlers.undo_post.append(_after_undo)
    bpy.app.handlers.redo_post.append(_after_undo)
    bpy.app.handlers.load_post.append(_after_load)
    session.soon("selection", _after_load)  # where the add-on is switched on while a file is open


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.redo_post.remove(_after_undo)
    bpy.app.handlers.undo_post.remove(_after_undo)
    answers.forget()
    _strokes.clear()
    _shown[:] = None, 0
