"""What may be objects, in colours over what belongs to none yet, until it is hidden; a click chooses from it."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from .. import session
from ..client.link import Happened
from ..data import scenes, splats
from ..protocol.events import SceneChanged
from . import draw

_shown: dict[str, np.ndarray] = {}  # by scene uuid: (M,) uint8 by row of the workspace, the number of a thing; 0: none


def show(scene_uuid: str, numbers: np.ndarray) -> None:
    """Tint each thing of a scene, (M,) uint8 by row of the workspace, in the place of those before."""
    _shown[scene_uuid] = numbers
    draw.color(scene_uuid, numbers)
    session.redraw_panels()


def hide(scene_uuid: str) -> None:
    if _shown.pop(scene_uuid, None) is not None:
        draw.color(scene_uuid, None)
        session.redraw_panels()


def shown(scene_uuid: str) -> bool:
    return scene_uuid in _shown


def things(scene: bpy.types.Collection) -> dict[int, np.ndarray]:
    """The ids (M,) int32 of each thing that is still to be had, by number: of those rows that belong to no object."""
    ids, numbers = _left(scene)
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    parts = np.split(ids[order], starts)[1:]  # what is before the first is nothing
    return {int(number): part for number, part in zip(found, parts, strict=True) if number > 0}


def at(scene: bpy.types.Collection, row: int) -> np.ndarray:
    """(M,) int32 ids of the thing that a row (its id) belongs to; none if it belongs to none, or to an object."""
    ids, numbers = _left(scene)
    here = numbers[ids == row]
    return ids[(numbers == here[0]) & (numbers > 0)] if len(here) else ids[:0]


def _left(scene: bpy.types.Collection) -> tuple[np.ndarray, np.ndarray]:
    """Of rows that belong to no object: ids (M,) int32, ascending, each once, and the number of the thing of each."""
    numbers, rest = _shown.get(scene.segwild.uuid), scenes.rest(scene)
    if numbers is None or rest is None:
        return np.zeros(0, np.int32), np.zeros(0, np.uint8)
    ids = splats.read_ids(rest)
    ids = np.unique(ids[(ids > 0) & (ids <= len(numbers))]).astype(np.int32)
    return ids, numbers[ids - 1]


def _heard(_link: Any, item: Any) -> None:
    """What was found in other splats is nothing."""
    if isinstance(item, Happened) and isinstance(item.event, SceneChanged) and item.event.what == "gaussians":
        for uuid in list(_shown):
            hide(uuid)


@persistent
def _loaded(*_: Any) -> None:
    _shown.clear()


def register() -> None:
    session.listeners.append(_heard)
    bpy.app.handlers.load_pre.append(_loaded)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_loaded)
    session.listeners.remove(_heard)
    _loaded()
