"""Clicks as dots on the surfaces they hit, and what the mouse is drawing; over the 3D views, in pixels."""

from __future__ import annotations

import math
from typing import Any

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Vector

from ..data import scenes
from . import selection
from .stock import SHARED, key_of

NEAR_PX = 12  # a Ctrl-click this close to a marker means it
RADIUS_PX = 6.0
POSITIVE, NEGATIVE = (0.25, 0.85, 0.35, 1.0), (0.95, 0.25, 0.2, 1.0)
EDGE, LINE = (0.05, 0.05, 0.05, 0.9), (1.0, 1.0, 1.0, 0.8)
_CORNERS = [(math.cos(k * math.tau / 24), math.sin(k * math.tau / 24)) for k in range(24)]

# What the mouse is drawing in one region: its pointer, and lines of pixel positions from its lower left corner.
drawing: dict[int, list[list[tuple[float, float]]]] = {}
_handle: list[Any] = []


def places(region: Any, region_data: Any) -> list[tuple[int, float, float, bool]]:
    """Markers in a region: index of the prompt, x and y in pixels from the lower left corner, positive."""
    collection = scenes.find(selection.scene_uuid())
    root = scenes.root(collection) if collection is not None else None
    if root is None:
        return []
    found = []
    for index, each in enumerate(selection.prompts()):
        if not each.stroke:
            point = on_its_row(each, collection)
            at = location_3d_to_region_2d(region, region_data, point or root.matrix_world @ Vector(each.position))
            if at is not None:
                found.append((index, at.x, at.y, each.positive))
    return found


def on_its_row(prompt: Any, collection: bpy.types.Collection) -> Vector | None:
    """Where the splat that was hit is now, in the world: its object may have been moved, or it is in another by now.

    None if no object has it: then the place where it was trained is all that is left.
    """
    layer = SHARED.layers.get(collection.segwild.uuid)
    held = dict(layer.places(prompt.row)) if layer is not None and prompt.row > 0 else {}
    if not held:
        return None
    there = {key_of(ob): ob for ob in scenes.splat_objects(collection)}
    known = [key for key in held if key in there]
    if not known:
        return None
    key = next((key for key in known if there[key].segwild.uuid == prompt.holder), known[0])
    return there[key].matrix_world @ (Vector(held[key].tolist()) + Vector(prompt.beside))


def nearest(region: Any, region_data: Any, x: float, y: float) -> int | None:
    """The prompt whose marker lies within NEAR_PX; the closest one, and of equals the newest."""
    scale = bpy.context.preferences.system.ui_scale
    near = [(math.hypot(u - x, v - y), -index) for index, u, v, _ in places(region, region_data)]
    distance, index = min(near, default=(math.inf, 0))
    return -index if distance <= NEAR_PX * scale else None


def _draw() -> None:
    context = bpy.context
    if not len(selection.prompts()) and not drawing:
        return
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    scale = context.preferences.system.ui_scale
    gpu.state.blend_set("ALPHA")
    for _, x, y, positive in places(context.region, context.region_data):
        for radius, color in ((RADIUS_PX + 1.5, EDGE), (RADIUS_PX, POSITIVE if positive else NEGATIVE)):
            _fill(shader, batch_for_shader, x, y, radius * scale, color)
        arms = [((x - 3 * scale, y), (x + 3 * scale, y))]
        if positive:
            arms.append(((x, y - 3 * scale), (x, y + 3 * scale)))
        for arm in arms:
            _line(shader, batch_for_shader, list(arm), (1, 1, 1, 1))
    for line in drawing.get(context.region.as_pointer(), ()):
        _line(shader, batch_for_shader, line, LINE)
    gpu.state.blend_set("NONE")


def _fill(shader: Any, batch: Any, x: float, y: float, radius: float, color: tuple[float, ...]) -> None:
    rim = [(x + radius * u, y + radius * v) for u, v in _CORNERS]
    triangles = [(0, k, k + 1) for k in range(1, len(rim) - 1)]
    shader.uniform_float("color", color)
    batch(shader, "TRIS", {"pos": rim}, indices=triangles).draw(shader)


def _line(shader: Any, batch: Any, points: list[tuple[float, float]], color: tuple[float, ...]) -> None:
    if len(points) > 1:
        shader.uniform_float("color", color)
        batch(shader, "LINE_STRIP", {"pos": points}).draw(shader)


def circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """A closed line around a point."""
    return [(x + radius * u, y + radius * v) for u, v in [*_CORNERS, _CORNERS[0]]]


def register() -> None:
    if not bpy.app.background:
        _handle.append(bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    drawing.clear()
    while _handle:
        bpy.types.SpaceView3D.draw_handler_remove(_handle.pop(), "WINDOW")
