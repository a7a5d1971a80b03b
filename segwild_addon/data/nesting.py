"""Objects as parts of others: Blender's own parents, which the outliner shows and which carry their parts along.

What Blender's `Ctrl+P` makes counts as well. Objects that are parts of none hang below the root of their scene.
"""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from mathutils import Matrix

from ..protocol.errors import InputError
from .placement import invertible


def above(ob: bpy.types.Object) -> list[bpy.types.Object]:
    """The segments of its scene that the object is a part of, the nearest first. What hangs between is no matter."""
    found, higher = [], ob.parent
    while higher is not None:
        if higher.segwild.kind == "SEGMENT" and higher.segwild.scene_uuid == ob.segwild.scene_uuid:
            found.append(higher)
        higher = higher.parent
    return found


def parent_of(ob: bpy.types.Object) -> bpy.types.Object | None:
    """What the object is a part of."""
    return next(iter(above(ob)), None)


def put(ob: bpy.types.Object, below: bpy.types.Object | None) -> None:
    """Hang the object below another one, or below none. It stays where it is; matrices must be of this moment.

    Raises InputError if the other one is scaled flat.
    """
    world = ob.matrix_world.copy()
    back = Matrix.Identity(4)
    if below is not None and below.segwild.kind != "ROOT":
        # As Ctrl+P does: should Blender's Delete take the other one away, the object does not jump to the origin.
        back = Matrix(np.linalg.inv(invertible(np.array(below.matrix_world, float))).tolist())
    ob.parent = below
    ob.parent_type = "OBJECT"
    ob.matrix_parent_inverse = back
    ob.matrix_world = world


def nest(ob: bpy.types.Object, parent: bpy.types.Object) -> None:
    """Make the object a part of another one of its scene. Raises InputError if it cannot be, or if that one is flat."""
    if parent.segwild.scene_uuid != ob.segwild.scene_uuid:
        raise InputError("another-scene", f"{parent.name!r} belongs to another scene.", "Choose one of the same scene.")
    if parent == ob or ob in above(parent):
        what = "itself" if parent == ob else f"{parent.name!r}, which is a part of it"
        raise InputError("bad-parent", f"{ob.name!r} cannot be a part of {what}.", "Choose another parent.")
    put(ob, parent)


def nest_as(made: Mapping[int, bpy.types.Object], parents: Mapping[int, int]) -> None:
    """Hang objects below each other as their numbers in the workspace say: below the next one above that is there."""
    bpy.context.view_layer.update()
    for number, ob in made.items():
        seen = {number}
        higher = parents.get(number, 0)
        while higher and higher not in made and higher not in seen:
            seen.add(higher)
            higher = parents.get(higher, 0)
        if higher in made and made[higher] != ob and ob not in above(made[higher]):  # a damaged list may have circles
            put(ob, made[higher])
