"""An object's splats into a small picture of it alone, for the asset browser."""

from __future__ import annotations

import bpy
import numpy as np

from ..data import scenes, splats
from . import picture
from .camera import FLIP, View
from .framing import best_photo, whole
from .stock import SHARED

SIZE_PX = 256
LENS_RAD = np.radians(30.0)  # across the picture
FILLED = 0.94  # of the picture's width, or of its height
INNER = 0.995  # of the rows are inside
SIGMAS = 1.5  # of a splat count as it
SAMPLE = 50_000  # rows that are looked at
FAINT = 0.1  # opacity of rows that are not


def paint(ob: bpy.types.Object) -> bool:
    """Draw the object from where a photo saw it best and make that its preview picture; False if there is nothing.

    Raises SetupError where Blender has no graphics, ResourceError if they have no memory.
    """
    picture.check()
    view = view_of(ob)
    if view is None:
        return False
    # Blender lays previews over what is behind them as premultiplied.
    colour = np.clip(picture.draw(SHARED, view, lambda other: other == ob).colour, 0, 1)
    if not colour[..., 3].any():
        return False
    preview = ob.preview_ensure()
    preview.image_size = view.width, view.height
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(colour[::-1], np.float32).reshape(-1))
    return True


def view_of(ob: bpy.types.Object) -> View | None:
    """A square view that the object fills; None if it has no row that is seen."""
    points, reach = _rows(ob)
    if not len(points):
        return None
    scene = scenes.scene_of(ob)
    photos = scenes.members(scene, "CAMERA") if scene is not None else []
    cameras = np.array([camera.matrix_world for camera in photos], float).reshape(-1, 4, 4)
    rotation = (best_photo(points, cameras) or whole(points)).rotation
    return filled(points, reach, FLIP[:3, :3] @ rotation.T)


def filled(
    points: np.ndarray,  # (M, 3) float64, world
    reach: np.ndarray,  # (M,) float64, what a splat covers around its point
    turn: np.ndarray,  # (3, 3) float64, OpenCV camera axes from the world
) -> View:
    """The view in this direction in which the points fill the picture to its rim."""
    at = points @ turn.T
    low, high = np.quantile(at, [1 - INNER, INNER], axis=0)
    at -= (low + high) / 2
    slope = np.tan(LENS_RAD / 2) * FILLED
    # From how far away each point is just inside.
    distance = float(np.quantile((np.abs(at[:, :2]).max(1) + reach) / slope - at[:, 2], INNER))
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = turn
    cam_from_world[:3, 3] = np.array([0, 0, distance]) - (low + high) / 2
    focal, middle = SIZE_PX / 2 / np.tan(LENS_RAD / 2), SIZE_PX / 2
    near = max(distance / 1000, 1e-6)
    return View(cam_from_world, focal, focal, middle, middle, SIZE_PX, SIZE_PX, False, near, 1000 * distance)


def _rows(ob: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """World positions (M, 3) of some of the rows that are seen, and what each covers around it (M,); float64."""
    step = max(1, len(ob.data.points) // SAMPLE)
    positions, scales, base = (
        splats.column(ob, name, width)[::step].astype(float)
        for name, width in (("position", 3), ("scale", 3), (splats.BASE, 4))
    )
    seen = np.isfinite(positions).all(1) & np.isfinite(scales).all(1) & (base[:, 3] > FAINT)
    place = np.array(ob.matrix_world, float)
    size = abs(np.linalg.det(place[:3, :3])) ** (1 / 3)
    return positions[seen] @ place[:3, :3].T + place[:3, 3], SIGMAS * size * np.sort(scales[seen], axis=1)[:, 1]
