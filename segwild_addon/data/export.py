"""Splat objects, as they are placed and lit, into rows of one frame that a file can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import bpy
import numpy as np

from ..protocol.errors import InputError
from . import light, scenes, splats
from .placement import moved
from .rows import Rows, by_id, concatenate
from .segments import placed

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


def gathered(
    objects: Sequence[bpy.types.Object],
    depsgraph: bpy.types.Depsgraph,
    *,
    frame: Frame = "CAPTURE",
    lit: bool = True,  # with look and grading; else in neutral light as trained
) -> Rows:
    """The rows of all objects, modifiers and object matrices applied, without erased ones, ordered by id.

    Frames: CAPTURE is that of the photos' reconstruction (or of an imported file), SCENE that of the workspace, WORLD
    Blender's. Raises InputError for an object that is scaled flat, or a look that cannot be read.
    """
    parts = []
    for ob in objects:
        rows = splats.read(ob.evaluated_get(depsgraph) if len(ob.modifiers) else ob)
        rows = rows.take(rows.erased == 0) if rows.erased.any() else rows
        if lit:
            rows = light.shown(ob, rows)
        parts.append(moved(rows, to_frame(ob, frame)))
    return by_id(concatenate(parts))


def to_frame(ob: bpy.types.Object, frame: Frame) -> np.ndarray:
    """(4, 4) float64 from the object's space."""
    if frame == "WORLD":
        return np.array(ob.matrix_world, float)
    scene = scenes.scene_of(ob)
    return scenes.capture_from_scene(scene) @ placed(ob) if frame == "CAPTURE" else placed(ob)
