"""Sights of a photo into truth: object masks, surface points with labels, and where to click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from backend.capture.sample.raycast import SKY, Sight
from backend.scene.cameras import Camera

FINE, COARSE = 0.05, 0.15  # metres between surface points of objects, and of ground and houses


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points of surfaces that at least one photo shows."""

    points: np.ndarray  # (M, 3) float32, metres, world
    normals: np.ndarray  # (M, 3) float32, unit, world
    labels: np.ndarray  # (M,) int64, 0 background, k + 1 the object k


@dataclass(frozen=True)
class Click:
    """Where a person would click to ask for an object."""

    photo: str
    x: float  # pixels, centres at +0.5
    y: float


def labels(sight: Sight, objects: int) -> np.ndarray:
    """(H, W) int64 label of each pixel as if no passer-by stood there: 0 background, k + 1 the object k."""
    return np.where((sight.body >= 0) & (sight.body < objects), sight.body.astype(np.int64) + 1, 0)


def surface(sight: Sight, camera: Camera, objects: int, *, stride: int) -> SurfacePoints:
    """What every `stride`-th pixel sees, as points."""
    seen = np.zeros(sight.body.shape, bool)
    seen[stride // 2 :: stride, stride // 2 :: stride] = True
    seen &= (sight.body != SKY) & (sight.depth < 40)
    directions = camera.rays(camera.pixel_centres()[seen])
    points = camera.centre + directions * sight.depth[seen][:, None]
    return SurfacePoints(points.astype(np.float32), sight.normal[seen].astype(np.float32), labels(sight, objects)[seen])


def thinned(parts: list[SurfacePoints]) -> SurfacePoints:
    """All parts together with one point per cell: FINE cells on objects, COARSE ones elsewhere."""
    points = np.concatenate([part.points for part in parts])
    normals = np.concatenate([part.normals for part in parts])
    owners = np.concatenate([part.labels for part in parts])
    cells = np.floor(points / np.where(owners > 0, FINE, COARSE)[:, None]).astype(np.int64) + 2048
    keys = ((owners * 4096 + cells[:, 0]) * 4096 + cells[:, 1]) * 4096 + cells[:, 2]
    _, first = np.unique(keys, return_index=True)
    first.sort()
    return SurfacePoints(points[first], normals[first], owners[first])


@dataclass
class ClickSearch:
    """Finds, photo by photo, the one that shows an object largest and unobstructed."""

    click: Click | None = None
    score: float = 0.0

    def offer(self, photo: str, whole: np.ndarray, visible: np.ndarray) -> None:
        """`whole`, `visible`: (H, W) bool masks of the object without and with passers-by."""
        area = visible.sum()
        if area == 0:
            return
        # An object that a passer-by covers or the frame cuts shows a person less of what it is.
        framed = not (whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any())
        score = float(area / visible.size * (area / whole.sum()) ** 3 * (1.0 if framed else 0.3))
        if score > self.score:
            inside = ndimage.distance_transform_edt(np.pad(visible, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(inside.argmax(), inside.shape)
            self.click, self.score = Click(photo, float(x) + 0.5, float(y) + 0.5), score
