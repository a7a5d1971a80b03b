"""Splat objects, as they are placed and lit, into rows of one frame that a file can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import bpy
import numpy as np

from ..protocol.errors import InputError
from . import light, scenes, splats
from .placement import moved
from .rows import Rows, by_id, concatenate
from .segments import placed
from .steps import Steps, finished, within

Frame = Literal["CAPTURE", "SCENE", "WORLD"]
Scope = Literal["SELECTED", "VISIBLE", "ALL"]


def chosen(context: bpy.types.Context, scope: Scope) -> list[bpy.types.Object]:
    """Splat objects of the current Blender scene in a scope. Raises InputError if there are none."""
    found = [ob for ob in context.scene.objects if splats.is_splat(ob)]
    if scope == "SELECTED":
        found = [ob for ob in found if ob.select_get()]
    elif scope == "VISIBLE":
        found = [ob for ob in found if ob.visible_get()]
    if not found:
        where = {"SELECTED": "selected", "VISIBLE": "visible", "ALL": "in this scene"}[scope]
        raise InputError("nothing-to-write", f"No splat object is {where}.", "Choose objects, or another scope.")
    return found


@dataclass(frozen=True, eq=False)
class Taken:
    """One object as it was read, apart from Blender."""

    rows: Rows
    frame_from_object: np.ndarray  # (4, 4) float64
    light: light.Settings | None  # None: as trained

    def __len__(self) -> int:
        """Rows that are not erased."""
        return int(np.count_nonzero(self.rows.erased == 0))


def taking(
    objects: Sequence[bpy.types.Object],
    *,
    frame: Frame = "CAPTURE",
    lit: bool = True,  # with look and grading; else in neutral light as trained
) -> Steps[list[Taken]]:
    """The objects as they are drawn, without modifiers, read from Blender; they must stay as they are in between.

    Frames: CAPTURE is that of the photos' reconstruction (or of an imported file), SCENE that of the workspace, WORLD
    Blender's. Raises InputError for a look that cannot be read.
    """
    taken = []
    for number, ob in enumerate(objects):
        rows = yield from within(splats.reading(ob), number / len(objects), 1 / len(objects))
        taken.append(Taken(rows, to_frame(ob, frame), light.settings(ob) if lit else None))
        yield (number + 1) / len(objects)
    return taken


def joining(taken: Sequence[Taken]) -> Steps[Rows]:
    """One table of what was taken: placed, lit, without erased rows, ordered by id. Needs nothing of Blender's.

    Its steps are long. Raises InputError for an object that is scaled flat, or a look that does not fit.
    """
    parts = []
    for number, each in enumerate(taken):
        rows = each.rows.take(each.rows.erased == 0) if each.rows.erased.any() else each.rows
        if each.light is not None:
            rows = each.light.baked(rows)
            yield (number + 0.5) / (len(taken) + 1)
        parts.append(moved(rows, each.frame_from_object))
        yield (number + 1) / (len(taken) + 1)
    return by_id(concatenate(parts))


def gathered(objects: Sequence[bpy.types.Object], *, frame: Frame = "CAPTURE", lit: bool = True) -> Rows:
    """`taking` and `joining` at once."""
    return finished(joining(finished(taking(objects, frame=frame, lit=lit))))


def to_frame(ob: bpy.types.Object, frame: Frame) -> np.ndarray:
    """(4, 4) float64 from the object's space."""
    if frame == "WORLD":
        return np.array(ob.matrix_world, float)
    scene = scenes.scene_of(ob)
    return scenes.capture_from_scene(scene) @ placed(ob) if frame == "CAPTURE" else placed(ob)
