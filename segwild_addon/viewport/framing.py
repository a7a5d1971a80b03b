"""A new scene into what the 3D views look at: the place as one of its photographers saw it."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..data import scenes, splats

SAMPLE = 20_000  # rows that are looked at
SIGHT_RAD = np.radians(25.0)  # around a photo's axis
ABOVE_RAD = np.radians(20.0)  # of a view without photos
MARGIN = 1.2


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Where a 3D view looks from, as Blender wants it."""

    rotation: np.ndarray  # (3, 3) float64, world from Blender's camera axes
    target: np.ndarray  # (3,) float64, world
    distance: float  # of the eye from the target


def best_photo(
    points: np.ndarray,  # (M, 3) float64, world
    cameras: np.ndarray,  # (C, 4, 4) float64, world from Blender's camera axes
) -> Viewpoint | None:
    """From the photo that has most of the points around its axis, to their middle depth; None if none has any."""
    eyes, axes = cameras[:, :3, 3], -cameras[:, :3, 2]
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    best, count, distance = None, 0, 0.0
    for number, (eye, axis) in enumerate(zip(eyes, axes, strict=True)):
        beyond = points - eye
        depth = beyond @ axis
        sight = depth > np.cos(SIGHT_RAD) * np.linalg.norm(beyond, axis=1)
        if sight.sum() > count:
            best, count, distance = number, int(sight.sum()), float(np.median(depth[sight]))
    if best is None:
        return None
    rotation = cameras[best, :3, :3] / np.linalg.norm(cameras[best, :3, :3], axis=0)
    return Viewpoint(rotation, eyes[best] + distance * axes[best], distance)


def whole(points: np.ndarray) -> Viewpoint:
    """From the front and a little above, so that all but the outermost points (M, 3) are seen."""
    low, high = np.quantile(points, [0.05, 0.95], axis=0)
    sine, cosine = np.sin(ABOVE_RAD), np.cos(ABOVE_RAD)
    rotation = np.array([[1.0, 0, 0], [0, sine, -cosine], [0, cosine, sine]])
    return Viewpoint(rotation, (low + high) / 2, MARGIN * float(np.linalg.norm(high - low)))


def look_at(scene: bpy.types.Collection) -> None:
    """Turn the 3D views of all windows to a scene, except those that look through a camera."""
    views = _views()
    points = _points(scene)
    if not views or not len(points):
        return
    bpy.context.view_layer.update()
    cameras = np.array([ob.matrix_world for ob in scenes.members(scene, "CAMERA")], float).reshape(-1, 4, 4)
    found = best_photo(points, cameras) or whole(points)
    for view in views:
        view.view_rotation = Matrix(found.rotation.tolist()).to_quaternion()
        view.view_location = Vector(found.target)
        view.view_distance = found.distance
        view.view_perspective = "PERSP"


def hidden(scene: bpy.types.Collection) -> str:
    """A sentence if a mesh stands around the middle of the scene, as Blender's first cube does; else nothing."""
    points = _points(scene)
    if not len(points):
        return ""
    middle = Vector(np.median(points, axis=0).tolist())
    for ob in bpy.context.view_layer.objects:
        if ob.type == "MESH" and ob.visible_get() and ob.display_type in {"SOLID", "TEXTURED"}:
            inside = ob.matrix_world.inverted_safe() @ middle
            low, high = ob.bound_box[0], ob.bound_box[6]
            if all(a < x < b for a, x, b in zip(low, inside, high, strict=True)):
                return f"{ob.name} stands around the middle of the scene and hides what is behind it."
    return ""


def _views() -> list[bpy.types.RegionView3D]:
    return [
        area.spaces.active.region_3d
        for manager in bpy.data.window_managers
        for window in manager.windows
        for area in window.screen.areas
        if area.type == "VIEW_3D" and area.spaces.active.region_3d.view_perspective != "CAMERA"
    ]


def _points(scene: bpy.types.Collection) -> np.ndarray:
    """(M, 3) float64, some of the scene's rows in the world."""
    parts = []
    objects = scenes.splat_objects(scene)
    total = sum(len(ob.data.points) for ob in objects)
    for ob in objects:
        some = splats.column(ob, "position", 3)[:: max(1, total // SAMPLE)].astype(np.float64)
        place = np.array(ob.matrix_world, float)
        parts.append(some @ place[:3, :3].T + place[:3, 3])
    return np.concatenate(parts) if parts else np.zeros((0, 3))
