"""A pixel of a view into the splat that is seen there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.trained import scene_from_object
from .camera import View, of_region
from .projection import ALPHA_MAX, ALPHA_MIN, BLUR, EXTENT_MAX, clamps, project
from .stock import SHARED, Placed, Stock

HALF = 0.5  # of the light that has been absorbed where the surface is


@dataclass(frozen=True, eq=False)
class Hit:
    """Where a click meets the splats. Positions and lengths are of the scene frame of the object's workspace."""

    object_name: str
    object_uuid: str
    scene_uuid: str
    index: int  # row of the object
    row: int  # segwild_id of it; 0: unknown to the workspace
    position: np.ndarray  # (3,) on the ray, as deep as the row's centre
    eye: np.ndarray  # (3,) where the ray begins
    pixel: float  # length of a pixel's side at the position
    location: np.ndarray  # (3,) the position in Blender's world
    beside: np.ndarray  # (3,) from the row's centre to it, in the object's axes


def pick(
    region: Any,
    region_data: Any,
    x: float,  # pixels from the region's left edge, pixel centres at +0.5
    y: float,  # pixels from its bottom
    space: Any = None,  # SpaceView3D, for what it hides; None: what the view layer hides
) -> Hit | None:
    """What is seen there: the row at which half of the light has been absorbed. None where more passes through."""
    view = of_region(region, region_data)

    def visible(ob: Any) -> bool:
        return ob.visible_in_viewport_get(space) if space is not None else ob.visible_get()

    return hit(SHARED, view, x, view.height - y, visible)


def hit(stock: Stock, view: View, u: float, v: float, visible: Callable[[Any], bool]) -> Hit | None:
    """The same for any view and pixel position (u, v), counted from the top-left corner."""
    found: list[tuple[Placed, np.ndarray]] = []
    depths, alphas = [], []
    for _, layer, placed in stock.placed(stock.sync(), visible):
        for key, each in placed.items():
            if each.ob is None:
                continue  # a preview has no rows that last
            rows, depth, alpha = _seen(layer.pack(key), each.matrix, each.ob.segwild.opacity, view, u, v)
            found.append((each, rows))
            depths.append(depth)
            alphas.append(alpha)
    if not found:
        return None
    depth, alpha = np.concatenate(depths), np.concatenate(alphas)
    order = np.argsort(depth, kind="stable")
    passed = np.cumprod(1 - alpha[order])
    if not len(passed) or passed[-1] > HALF:
        return None
    place = int(order[np.argmax(passed <= HALF)])
    z = float(depth[place])
    for each, rows in found:
        if place < len(rows):
            return _hit(stock, each, int(rows[place]), view, u, v, z)
        place -= len(rows)
    raise AssertionError("a place beyond all candidates")


def _seen(pack: Any, matrix: np.ndarray, opacity: float, view: View, u: float, v: float):
    """Rows (M,) that cover the pixel, their depths and their alphas there."""
    cam_from_object = view.cam_from_world @ matrix
    linear, offset = cam_from_object[:3, :3].astype(np.float32), cam_from_object[:3, 3].astype(np.float32)
    x, y, z = (pack.positions @ linear[k] + offset[k] for k in range(3))
    # No splat reaches farther than its longest axis, seen as steeply as the clamp allows: an upper bound that spares
    # most rows the exact projection.
    longest = pack.longest * np.float32(EXTENT_MAX * np.linalg.norm(linear, 2))
    rim = np.float32(EXTENT_MAX * BLUR**0.5 + 1)
    if view.orthographic:
        far_x, far_y = np.abs(view.fx * x + (view.cx - u)), np.abs(view.fy * y + (view.cy - v))
        near = (far_x <= view.fx * longest + rim) & (far_y <= view.fy * longest + rim)
    else:
        low_x, high_x, low_y, high_y = clamps(view)
        steep_x, steep_y = math.hypot(1, max(-low_x, high_x)), math.hypot(1, max(-low_y, high_y))
        # Multiplied by z, which is positive where it matters.
        far_x, far_y = np.abs(view.fx * x + (view.cx - u) * z), np.abs(view.fy * y + (view.cy - v) * z)
        near = (far_x <= view.fx * steep_x * longest + rim * z) & (far_y <= view.fy * steep_y * longest + rim * z)
        near &= z >= max(view.near, 1e-6)
    near &= pack.centres[:, 3] * opacity >= ALPHA_MIN
    rows = np.flatnonzero(near)
    ellipses = project(pack.positions[rows], pack.centres[rows, 4:7], pack.turns[rows], matrix, view)
    alpha = np.minimum(ALPHA_MAX, pack.centres[rows, 3] * opacity * ellipses.falloff(u, v))
    covers = alpha >= ALPHA_MIN
    return rows[covers], ellipses.depths[covers], alpha[covers]


def _hit(stock: Stock, each: Placed, index: int, view: View, u: float, v: float, z: float) -> Hit:
    origin, direction = view.ray(u, v)
    location = origin + direction * z / float(direction @ view.forward)
    object_from_world = np.linalg.inv(each.matrix)
    scene_from_world = scene_from_object(each.ob) @ object_from_world
    size = abs(np.linalg.det(scene_from_world[:3, :3])) ** (1 / 3)
    facts = each.ob.segwild
    pack = stock.layers[facts.scene_uuid].pack(each.key)
    return Hit(
        object_name=each.ob.name,
        object_uuid=facts.uuid,
        scene_uuid=facts.scene_uuid,
        index=index,
        row=int(pack.ids[index]),
        position=scene_from_world[:3, :3] @ location + scene_from_world[:3, 3],
        eye=scene_from_world[:3, :3] @ origin + scene_from_world[:3, 3],
        pixel=view.pixel_size(z) * size,
        location=location,
        beside=object_from_world[:3, :3] @ location + object_from_world[:3, 3] - pack.positions[index],
    )
