"""Cameras in any frame into the scene's frame: around the origin, of size one, upright."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.scene.cameras import Camera
from backend.scene.transforms import Similarity

# Standard deviations: of one photo from level, of all photos together from straight ahead.
ROLL_RAD, TILT_RAD = np.radians((4.0, 20.0))
ROLL_MAX_RAD = np.radians(30)  # beyond it a photo was turned on purpose


def scene_from_capture(cameras: Sequence[Camera]) -> Similarity:
    """The similarity that puts the cameras' centroid at the origin, 90 % of them within radius 1, up along +z.

    Up is found by `upward`; the mean viewing direction points along +y.
    """
    centres = np.array([camera.centre for camera in cameras])
    centroid = centres.mean(axis=0)
    radius = float(np.quantile(np.linalg.norm(centres - centroid, axis=1), 0.9))
    forward = np.mean([camera.forward for camera in cameras], axis=0)
    rotation = _upright(upward(cameras), forward)
    scale = 1 / radius if radius > 1e-9 else 1.0  # photos from one spot have no size of their own
    return Similarity(scale, rotation, -scale * rotation @ centroid)


def extent(cameras: Sequence[Camera]) -> float:
    """1.1 x the largest distance of a camera from their centroid, in the cameras' units."""
    centres = np.array([camera.centre for camera in cameras])
    return 1.1 * float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())


def upward(cameras: Sequence[Camera]) -> np.ndarray:
    """(3,) the most likely direction of up; length 0 if cameras are rolled every way.

    People tilt cameras up or down, often all in the same way, but hold them level: up is across all the
    photos' right-hand directions, and near the mean of their upward directions. The deviations weigh the two.
    """
    mean = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    length = np.linalg.norm(mean)
    if length < 1e-3:
        return np.zeros(3)
    mean = mean / length
    rights = np.array([camera.cam_from_world[0, :3] for camera in cameras])
    level = rights[np.abs(rights @ mean) < np.sin(ROLL_MAX_RAD)]
    precision = level.T @ level / ROLL_RAD**2 - np.outer(mean, mean) / TILT_RAD**2
    up = np.linalg.eigh(precision)[1][:, 0]
    return up if up @ mean > 0 else -up


def _upright(up: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """(3, 3) rotation taking `up` to +z and the level part of `forward` to +y."""
    if np.linalg.norm(up) < 1e-3:  # cameras rolled every way: no direction is up
        return np.eye(3)
    z = up / np.linalg.norm(up)
    level = forward - (forward @ z) * z
    if np.linalg.norm(level) < 1e-3:  # all around, or straight up or down
        level = np.eye(3)[np.abs(z).argmin()]
        level = level - (level @ z) * z
    y = level / np.linalg.norm(level)
    return np.stack([np.cross(y, z), y, z])
