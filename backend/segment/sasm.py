"""How far things are into where a view is asked for masks: far cells get more points, whatever the scene's unit.

The scale-adaptive lattice of Seg-Wild. A view's distance decides into how many cells it is
divided, each cell's depth how many points it gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.render import Seen
from backend.scene import Camera
from backend.segment.suppression import areas, shared

Lattice = Literal["scale", "literal", "uniform"]
_FILM_DIAGONAL_MM = 43.27
_NORMAL_MM = 50.0
_CONTAINED = 0.9  # of a mask that lies in its parent


@dataclass(frozen=True)
class Points:
    """How many points a view gets."""

    lattice: Lattice = "scale"  # literal: counts in the scene's unit, as published; uniform: no depth at all
    most: int = 256  # in a view, but for literal; more: smaller things, more time
    per_side: int = 8  # in a cell


def distances(cameras: Mapping[str, Camera], depths: Mapping[str, float]) -> dict[str, float]:
    """0..1 per photo name: how far what it shows is, between the 2 and 98 % quantiles of all; 0.5 if all are alike.

    `depths` are mean depths in any unit. A longer lens brings things nearer.
    """
    names = sorted(cameras)
    seen = np.array([depths[name] * _NORMAL_MM / film_focal(cameras[name]) for name in names])
    low, high = np.quantile(seen, [0.02, 0.98]) if len(seen) else (0.0, 0.0)
    if not high - low > 1e-6 * max(abs(high), 1e-12):
        return dict.fromkeys(names, 0.5)
    return dict(zip(names, np.clip((seen - low) / (high - low), 0, 1).tolist(), strict=True))


def film_focal(camera: Camera) -> float:
    """Focal length in mm of the same view on 35 mm film."""
    focal = (camera.fx + camera.fy) / 2
    return _FILM_DIAGONAL_MM * focal / float(np.hypot(camera.width, camera.height))


def depth_map(seen: Seen, camera: Camera, means: np.ndarray) -> np.ndarray:
    """(H, W) float64 depth everywhere: the median of what is drawn, holes from the nearest pixel that has one.

    Where nothing is drawn half opaque, the depths of the Gaussians' centres `means` (N, 3).
    """
    depth = seen.depth().astype(np.float64)
    if not np.isfinite(depth).any():
        depth = nearest_centres(camera, means)
    known = np.isfinite(depth)
    if not known.any():
        return np.ones(depth.shape)
    if known.all():
        return depth
    places = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return depth[tuple(places)]


def nearest_centres(camera: Camera, means: np.ndarray) -> np.ndarray:
    """(H, W) float64: depth of the nearest centre in each pixel, NaN where there is none."""
    pixels, depths = camera.project(means.astype(np.float64))
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(1)
    columns, rows = pixels[inside].astype(int).T
    result = np.full((camera.height, camera.width), np.inf)
    np.minimum.at(result, (rows, columns), depths[inside])  # centres in one pixel compete; assignment would not
    return np.where(np.isfinite(result), result, np.nan)


def lattice(
    depth: np.ndarray,  # (H, W) float, any unit, finite
    coverage: np.ndarray,  # (H, W) float in 0..1; less than half is sky
    distance: float,  # 0..1 of the view, see `distances`
    points: Points,
) -> np.ndarray:
    """(P, 2) float64 pixels x, y, at least one per cell."""
    height, width = depth.shape
    if points.lattice == "uniform":
        side = min(round(6 + 22 * distance), int(points.most**0.5))
        return _spread((0.0, 0.0, float(width), float(height)), side)
    cells = round(4 + 4 * distance)
    low, high = np.quantile(depth, [0.01, 0.99])
    relative = np.clip((depth - low) / max(high - low, 1e-12), 0, 1)
    rows, columns = (np.linspace(0, side, cells + 1) for side in (height, width))
    boxes, far, sky = [], [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            part = slice(int(top), max(int(bottom), int(top) + 1)), slice(int(left), max(int(right), int(left) + 1))
            boxes.append((left, top, right, bottom))
            far.append(relative[part].mean())
            sky.append(coverage[part].mean() < 0.5)
    counts = _counts(np.array(far), np.array(sky), float(depth.max()), points)
    return np.concatenate([_spread(box, int(count)) for box, count in zip(boxes, counts, strict=True)])


def _counts(far: np.ndarray, sky: np.ndarray, depth_max: float, points: Points) -> np.ndarray:
    """Points per side of each cell."""
    if points.lattice == "literal":
        return np.where(sky, 1, np.clip(np.rint(far * 0.3 * depth_max), 1, 20)).astype(int)
    for most in range(points.per_side, 0, -1):
        counts = np.where(sky, 1, np.clip(np.rint(1 + (most - 1) * far), 1, most)).astype(int)
        if (counts**2).sum() <= points.most:
            break
    return counts


def _spread(box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """(side², 2) points evenly in a box left, top, right, bottom."""
    shares = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(box[0] + shares * (box[2] - box[0]), box[1] + shares * (box[3] - box[1]))
    return np.stack([x.ravel(), y.ravel()], 1)


def parents(
    bits: np.ndarray,  # (n, B) uint8, see `suppression.packed`
    boxes: np.ndarray,  # (n, 4) left, top, right, bottom of each, ends excluded
) -> np.ndarray:
    """(n,) int32: for each mask the smallest larger one that holds 90 % of it, -1 if none."""
    area = areas(bits)
    found = np.full(len(bits), -1, np.int32)
    for number, box in enumerate(boxes):
        # Areas and boxes rule out most pairs; to look at all pixels of all pairs takes minutes for a thousand masks.
        width, height = (np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])).clip(0).T
        least = _CONTAINED * area[number]
        others = np.flatnonzero((area > area[number]) & (width * height >= least))
        holds = others[shared(bits[others], bits[number]) >= least]
        if len(holds):
            found[number] = holds[area[holds].argmin()]
    return found
