"""Similarities between frames: rotate, scale, move points, cameras and rotations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.scene.cameras import Camera


@dataclass(frozen=True, eq=False)
class Similarity:
    """x_in_b = scale · rotation · x_in_a + translation, named b_from_a where it is used."""

    scale: float
    rotation: np.ndarray  # (3, 3) float64, orthonormal, determinant +1
    translation: np.ndarray  # (3,) float64, in b's units

    @classmethod
    def identity(cls) -> Similarity:
        return cls(1.0, np.eye(3), np.zeros(3))

    def inverse(self) -> Similarity:
        return Similarity(1 / self.scale, self.rotation.T.copy(), -(self.rotation.T @ self.translation) / self.scale)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) from frame a into frame b, float64."""
        return self.scale * (points @ self.rotation.T) + self.translation

    def camera(self, camera: Camera) -> Camera:
        """The same camera standing in frame b. Its depths are in b's units; its pixels do not change."""
        rotation = camera.cam_from_world[:3, :3] @ self.rotation.T
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3] = rotation
        cam_from_world[:3, 3] = -rotation @ self.points(camera.centre)
        return replace(camera, cam_from_world=cam_from_world)

    def to_json(self) -> dict[str, Any]:
        return {
            "scale": float(self.scale),
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Similarity:
        """Raises KeyError, TypeError or ValueError on a malformed value."""
        rotation, translation = np.array(value["rotation"], float), np.array(value["translation"], float)
        return cls(float(value["scale"]), rotation.reshape(3, 3), translation.reshape(3))


def aligned(b_points: np.ndarray, a_points: np.ndarray) -> Similarity:
    """The similarity b_from_a that best maps a_points (M, 3) onto b_points (M, 3) in least squares.

    Umeyama 1991, equations 40-43.
    """
    a_mean, b_mean = a_points.mean(axis=0), b_points.mean(axis=0)
    a_centred, b_centred = a_points - a_mean, b_points - b_mean
    u, singular, vt = np.linalg.svd(b_centred.T @ a_centred / len(a_points))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / np.square(a_centred).sum(axis=1).mean())
    return Similarity(scale, rotation, b_mean - scale * rotation @ a_mean)


def matrices_from_quats(quats: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) wxyz of any norm > 0 to rotation matrices (N, 3, 3)."""
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quats_from_matrices(matrices: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3) to unit quaternions (N, 4) wxyz with w >= 0."""
    trace_of = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    squares = np.maximum(1 + diagonal @ trace_of.T, 0)  # 4w², 4x², 4y², 4z²
    m = matrices
    # Each row is the quaternion times four times its own largest component: pick the stable one.
    candidates = np.stack(
        [
            np.stack([squares[:, 0], m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], -1),
            np.stack([m[:, 2, 1] - m[:, 1, 2], squares[:, 1], m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0]], -1),
            np.stack([m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] + m[:, 0, 1], squares[:, 2], m[:, 2, 1] + m[:, 1, 2]], -1),
            np.stack([m[:, 1, 0] - m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2], squares[:, 3]], -1),
        ],
        axis=1,
    )
    quats = np.take_along_axis(candidates, squares.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    return np.where(quats[:, :1] < 0, -quats, quats)
