"""A rectangle or a brushed path in a view into the splats that are seen there. No backend is needed.

Only what is seen is taken, unless asked otherwise: where the rows of a small square of pixels have absorbed half of
the light, what lies behind is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .camera import View

CELL_PX = 4  # side of the squares in which it is decided what hides what
HALF = 0.5  # of the light, absorbed: from there on things are hidden
BEHIND = 0.02  # of the depth: as much farther than that still counts as seen, as surfaces have some thickness
FAINT = 0.02  # less opaque rows hide nothing and cannot be seen


@dataclass(frozen=True, eq=False)
class Cloud:
    """The rows of one object."""

    holder: str  # uuid of the object
    positions: np.ndarray  # (N, 3) float32, the object's axes
    opacities: np.ndarray  # (N,) float32, 0..1
    ids: np.ndarray  # (N,) int32, segwild_id
    matrix: np.ndarray  # (4, 4) float64, world from object


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Callable[[np.ndarray], np.ndarray]:
    """Which pixels (M, 2) lie between two opposite corners."""
    low, high = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
    return lambda pixels: np.all((pixels >= low) & (pixels <= high), axis=1)


def brushed(path: Sequence[tuple[float, float]], radius: float) -> Callable[[np.ndarray], np.ndarray]:
    """Which pixels (M, 2) lie within `radius` of the line through the points of the path."""
    points = np.array(path, np.float32).reshape(-1, 2)

    def inside(pixels: np.ndarray) -> np.ndarray:
        found = np.zeros(len(pixels), bool)
        low, high = points.min(0) - radius, points.max(0) + radius
        near = np.flatnonzero(np.all((pixels >= low) & (pixels <= high), axis=1))
        for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
            along = end - start
            share = (pixels[near] - start) @ along / max(float(along @ along), 1e-9)
            closest = start + np.clip(share, 0, 1)[:, None] * along
            found[near] |= np.sum((pixels[near] - closest) ** 2, axis=1) <= radius * radius
        return found

    return inside


def chosen(
    view: View,
    clouds: Sequence[Cloud],
    inside: Callable[[np.ndarray], np.ndarray],
    *,
    through: bool = False,
    covered: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,  # pixels (M, 2), depths -> (M,) bool
) -> dict[str, np.ndarray]:
    """The rows whose centres are seen inside: ids (M,) int32, ascending, each once, by object; 0 is left out.

    `through`: also what is hidden, by splats or because something else has `covered` it.
    """
    found = [_seen_inside(view, cloud, inside) for cloud in clouds]
    if not found:
        return {}
    pixels, depths, opacities, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    taken = ids > 0
    if not through and len(ids):
        taken &= _in_sight(pixels, depths, opacities)
        if covered is not None:
            taken &= ~covered(pixels, depths)
    stops = np.cumsum([len(each[3]) for each in found])[:-1]
    of_each = zip(clouds, np.split(ids, stops), np.split(taken, stops), strict=True)
    return {cloud.holder: np.unique(own[mask]).astype(np.int32) for cloud, own, mask in of_each if mask.any()}


def _seen_inside(view: View, cloud: Cloud, inside: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, ...]:
    """Pixels (M, 2), depths, opacities and ids of the rows inside and before the camera."""
    matrix = view.cam_from_world @ cloud.matrix
    points = cloud.positions @ matrix[:3, :3].T.astype(np.float32) + matrix[:3, 3].astype(np.float32)
    rows = np.flatnonzero((points[:, 2] > max(view.near, 1e-6)) | view.orthographic)
    points = points[rows]
    scale = np.ones(len(points), np.float32) if view.orthographic else 1 / points[:, 2]
    pixels = np.stack([view.fx * points[:, 0] * scale + view.cx, view.fy * points[:, 1] * scale + view.cy], axis=1)
    kept = inside(pixels) & np.all((pixels >= 0) & (pixels <= (view.width, view.height)), axis=1)
    kept &= cloud.opacities[rows] >= FAINT
    return pixels[kept], points[kept, 2], cloud.opacities[rows[kept]], cloud.ids[rows[kept]]


def _in_sight(pixels: np.ndarray, depths: np.ndarray, opacities: np.ndarray) -> np.ndarray:
    """(M,) bool: not behind the depth at which the rows of the same square have absorbed half of the light."""
    x, y = (pixels // CELL_PX).astype(np.int64).T
    cells = x + y * (int(x.max()) + 1)
    order = np.lexsort((depths, cells))
    cell, depth = cells[order], depths[order]
    passed = np.cumsum(np.log1p(-np.minimum(opacities[order], 0.99)))
    first = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(cell)]))
    before = np.r_[0.0, passed][first]
    solid = passed - before[group] <= np.log(HALF)
    limit = np.full(len(first), np.inf)
    np.minimum.at(limit, group[solid], depth[solid])
    seen = np.empty(len(cell), bool)
    seen[order] = depth <= limit[group] + BEHIND * np.abs(
        limit[group], where=np.isfinite(limit[group]), out=np.zeros(len(cell))
    )
    return seen


def clouds_of(space: Any) -> list[tuple[str, Cloud]]:
    """The splats of the open file that a 3D view shows, with the uuid of their scene."""
    from .stock import SHARED

    found = []
    for scene_uuid, layer, placed in SHARED.placed(SHARED.sync(), lambda ob: ob.visible_in_viewport_get(space)):
        for key, each in placed.items():
            if each.ob is not None:
                pack = layer.pack(key)
                opacities = pack.centres[:, 3] * each.ob.segwild.opacity
                cloud = Cloud(each.ob.segwild.uuid, pack.positions, opacities, pack.ids, each.matrix)
                found.append((scene_uuid, cloud))
    return found
