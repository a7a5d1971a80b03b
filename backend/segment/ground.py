"""Gaussians and cameras into the ground that things stand on.

Most objects a visitor photographs touch nothing but the ground. Knowing where it is separates them better
than any colour does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.scene import Camera, Gaussians

_TRIES = 1500
_TILT_MAX_RAD = np.radians(20)  # +z of the scene frame is up only as far as photographers hold cameras level
_THICKNESS = 0.02  # of the cameras' spread: how far rows of the ground may lie off the plane
_CAMERAS_BELOW = 0.1  # share of cameras that a wrong pose may have put under ground
_LEAST_SHARE = 0.08  # of the surface beneath the cameras; less is no ground
_CONCENTRATION = 0.85  # weight within the tolerance against that up to three times as far; evenly spread: 0.5
_REACH = 2.0  # the ground is looked for within so many spreads of the cameras
_SOLID = 0.3  # opacity
_SPARE = 2.0  # slab half-width in robust deviations of its rows; more: the feet of things count as ground


@dataclass(frozen=True, eq=False)
class Ground:
    """The lowest large level plane."""

    normal: np.ndarray  # (3,) float64, unit, upwards
    offset: float  # world units: normal · x = offset on the plane
    half_width: float  # world units: rows this close to the plane are ground

    def heights(self, points: np.ndarray) -> np.ndarray:
        """(M,) float64 world units above the plane."""
        return np.asarray(points, float) @ self.normal - self.offset

    def holds(self, scene: Gaussians, rows: np.ndarray) -> np.ndarray:
        """(M,) bool: which of some rows (M,) ids are of the ground, or beneath it."""
        return self.heights(scene.means[rows]) < self.half_width


def find_ground(scene: Gaussians, cameras: Sequence[Camera]) -> Ground | None:
    """The plane by random samples of three rows, each row weighted by its surface; None if there is none.

    Rows far below a plane count against it: roofs are level too, but scenes end at the ground. The same
    input gives the same plane.
    """
    if len(scene) < 50 or len(cameras) < 2:
        return None
    centres = np.array([camera.centre for camera in cameras])
    middle = np.median(centres, 0)
    spread = float(np.median(np.linalg.norm(centres - middle, axis=1)))
    tolerance = _THICKNESS * spread
    # People stand on the ground: it is beneath them and around them, unlike roofs and facades.
    around = np.linalg.norm((scene.means - middle)[:, :2], axis=1) < _REACH * spread
    beneath = scene.means[:, 2] < np.quantile(centres[:, 2], 0.2)
    rows = np.flatnonzero((scene.opacities > _SOLID) & around & beneath)
    if len(rows) < 50:
        return None
    points = scene.means[rows].astype(np.float64)
    sizes = np.sort(scene.scales[rows], 1).astype(np.float64)
    surface = sizes[:, 1] * sizes[:, 2]
    # Without a limit a few large rows of fog would be the scene.
    weights = np.minimum(surface, np.quantile(surface, 0.9))
    weights /= weights.sum()
    best = _best_plane(points, weights, centres, tolerance)
    if best is None:
        return None
    normal, offset = best
    for _ in range(5):
        near = np.abs(points @ normal - offset) < tolerance
        centre = np.average(points[near], axis=0, weights=weights[near])
        _, axes = np.linalg.eigh(np.cov((points[near] - centre).T, aweights=weights[near]))
        normal = axes[:, 0] * (1.0 if axes[2, 0] >= 0 else -1.0)
        offset = float(normal @ centre)
    gaps = np.abs(points @ normal - offset)
    near = gaps < tolerance
    share = weights[near].sum()
    # Rows spread evenly, half as many within the tolerance as around it, are the middle of something.
    around = weights[~near & (gaps < 3 * tolerance)].sum()
    if near.sum() < 10 or share < _LEAST_SHARE or share < _CONCENTRATION * around:
        return None
    return Ground(normal, offset, _SPARE * 1.4826 * float(np.median(gaps[near])))


def _best_plane(
    points: np.ndarray, weights: np.ndarray, centres: np.ndarray, tolerance: float
) -> tuple[np.ndarray, float] | None:
    random = np.random.default_rng(0)
    triples = points[random.choice(len(points), (_TRIES, 3), p=weights)]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(lengths, 1e-300)[:, None] * np.where(normals[:, 2:] < 0, -1, 1)
    offsets = (normals * triples[:, 0]).sum(1)
    below = (centres @ normals.T < offsets).mean(0)
    level = (lengths > 1e-12) & (normals[:, 2] > np.cos(_TILT_MAX_RAD)) & (below <= _CAMERAS_BELOW)
    best, best_score = None, 0.0
    for place in np.flatnonzero(level):
        heights = points @ normals[place] - offsets[place]
        score = weights[np.abs(heights) < tolerance].sum() - 0.5 * weights[heights < -2 * tolerance].sum()
        if score > best_score:
            best, best_score = (normals[place], float(offsets[place])), float(score)
    return best
