"""Cameras of some photos into a path of cameras: between them, or around something, such as what they look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.scene.cameras import Camera, looking_at
from backend.scene.transforms import matrices_from_quats, quats_from_matrices

ORBIT_SWING_RAD = 0.6  # an orbit swings so far to either side of where the photos were taken
UP = np.array([0.0, 0.0, 1.0])
_STEEPEST = 0.99  # sine of how high an orbit may be: from straight above nothing is up
_ASKED = 20_000  # points, of more every so many-th
_MIDDLE = 0.25  # of a picture's sides, to either side of its middle: what is there is looked at


def interpolated(cameras: list[Camera], frames: int) -> list[Camera]:
    """A smooth way past all cameras in a short order, `frames` long, in the first one's lens."""
    ordered = [cameras[index] for index in _short_order(np.array([camera.centre for camera in cameras]))]
    quats = quats_from_matrices(np.array([camera.cam_from_world[:3, :3] for camera in ordered]))
    for index in range(1, len(quats)):
        if quats[index] @ quats[index - 1] < 0:
            quats[index] *= -1
    centres = np.array([camera.centre for camera in ordered])
    places = np.linspace(0, len(ordered) - 1, frames)
    left = np.minimum(places.astype(int), max(len(ordered) - 2, 0))
    right = np.minimum(left + 1, len(ordered) - 1)
    share = places - left
    share = (share * share * (3 - 2 * share))[:, None]
    rotations = matrices_from_quats(quats[left] * (1 - share) + quats[right] * share)
    path = []
    for rotation, centre in zip(rotations, centres[left] * (1 - share) + centres[right] * share, strict=True):
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3] = rotation
        cam_from_world[:3, 3] = -rotation @ centre
        path.append(replace(ordered[0], cam_from_world=cam_from_world))
    return path


def looked_at(cameras: list[Camera], points: np.ndarray) -> np.ndarray:
    """Of world points (M, 3), at least one, those that at least half as many photos have in their middle as any.

    The middle of a scene is elsewhere where everybody looks up, or far past what is near.
    """
    points = points[:: -(-len(points) // _ASKED)]
    counts = np.zeros(len(points), np.int64)
    for camera in cameras:
        pixels, depths = camera.project(points.astype(np.float64))
        aside = np.abs(pixels - (camera.width / 2, camera.height / 2)) / (camera.width, camera.height)
        counts += (depths > 0) & (np.nan_to_num(aside, nan=1.0) < _MIDDLE).all(1)
    return points[2 * counts >= counts.max()]


def orbit(cameras: list[Camera], points: np.ndarray, frames: int) -> list[Camera]:
    """A swing around the middle of world points (M, 3), from where the photos were taken, there and back.

    Photos of one side say nothing about the other: the swing stays within their arc, as far away, as high and
    as near in the picture as they are in the median. Pictures have the size of the first photo.
    """
    target = np.median(points, axis=0)
    offsets = np.array([camera.centre for camera in cameras]) - target
    distances = np.maximum(np.linalg.norm(offsets, axis=1), 1e-9)
    angles = np.arctan2(offsets[:, 1], offsets[:, 0])
    middle = np.angle(np.exp(1j * angles).mean())
    spread = np.abs(np.angle(np.exp(1j * (angles - middle))))
    swing = np.pi if np.quantile(spread, 0.9) > 2.2 else max(float(np.quantile(spread, 0.8)), ORBIT_SWING_RAD / 3)
    distance = float(np.median(distances))
    rise = float(np.median(np.arcsin(np.clip(offsets[:, 2] / distances, -_STEEPEST, _STEEPEST))))
    away, height = distance * np.cos(rise), distance * np.sin(rise)
    # In roots of a picture's area, as photos are taken both ways up.
    near = float(np.median([c.fx / np.sqrt(c.width * c.height) for c in cameras] / distances))
    width, height_px = cameras[0].width, cameras[0].height
    focal = near * distance * np.sqrt(width * height_px)
    turn = np.arange(frames) / frames
    around = middle + (2 * np.pi * turn if swing == np.pi else swing * np.sin(2 * np.pi * turn))
    path = []
    for angle in around:
        centre = target + np.array([away * np.cos(angle), away * np.sin(angle), height])
        path.append(looking_at(centre, target, UP, focal=focal, width=width, height=height_px))
    return path


def _short_order(centres: np.ndarray) -> list[int]:
    """Nearest neighbours, from the camera farthest from the middle."""
    left = set(range(len(centres)))
    current = int(np.linalg.norm(centres - centres.mean(0), axis=1).argmax())
    order = [current]
    left.remove(current)
    while left:
        current = min(left, key=lambda index: float(np.linalg.norm(centres[index] - centres[order[-1]])))
        left.remove(current)
        order.append(current)
    return order
