"""Rows of one frame into the same rows in another: place, size, orientation and direction-dependent colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..protocol.errors import InputError
from .harmonics import turned
from .rows import Rows

_UNIFORM = 1e-5  # relative difference of axes below which a scale counts as the same in all directions
_CHUNK_ROWS = 1 << 17


def moved(rows: Rows, b_from_a: np.ndarray) -> Rows:
    """The rows of frame a in frame b; `b_from_a` (4, 4) is any invertible affine matrix.

    Turning and uniform scaling are exact. Scaling that differs by axis changes the covariances exactly, and the
    colours turn with the rotation in it. What the matrix does not touch stays bit for bit.
    Raises InputError for a matrix that flattens.
    """
    matrix = invertible(b_from_a)
    linear = matrix[:3, :3]
    if np.array_equal(matrix, np.eye(4)):
        return rows
    positions = (rows.positions @ linear.T + matrix[:3, 3]).astype(np.float32)
    result = replace(rows, positions=positions)
    if np.array_equal(linear, np.eye(3)):
        return result
    u, sizes, vt = np.linalg.svd(linear)
    turn = u @ vt  # orthogonal; mirrors if the determinant is negative
    if np.allclose(turn, np.eye(3), rtol=0, atol=1e-7):
        turn = np.eye(3)
    if sizes[0] - sizes[2] <= _UNIFORM * sizes[0]:
        size = float(sizes.mean())
        # A mirrored ellipsoid is the same as one turned by the matrix without the mirror, since -v is the axis v.
        proper = turn if np.linalg.det(turn) > 0 else -turn
        result = replace(result, rotations=_multiplied(quaternion(proper), rows.rotations))
        if abs(size - 1) > 1e-7:
            result = replace(result, scales=rows.scales * np.float32(size))
    else:
        scales, rotations = _stretched(rows, linear)
        result = replace(result, scales=scales, rotations=rotations)
    return replace(result, sh=turned(rows.sh, turn))


def invertible(b_from_a: np.ndarray) -> np.ndarray:
    """The matrix (4, 4) as float64. Raises InputError if it flattens."""
    matrix = np.asarray(b_from_a, float)
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix[:3, :3]) > 1e12:
        raise InputError("flat-object", "An object scaled to zero along an axis cannot be converted.", "Scale it up.")
    return matrix


def similarity(points: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """(4, 4), the turn, scale and shift of points (M, 3) onto goals (M, 3) with the least squares of what is left.

    Points on a line say nothing of a turn about it: then it is a shift alone. (Umeyama, IEEE Transactions on Pattern
    Analysis and Machine Intelligence 13, 1991.)
    """
    centre, goal = points.mean(0), goals.mean(0)
    a, b = points - centre, goals - goal
    u, sizes, vt = np.linalg.svd(b.T @ a)
    result = np.eye(4)
    if sizes[1] > 1e-9 * max(sizes[0], 1e-30):
        signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt)) or 1])
        result[:3, :3] = (sizes * signs).sum() / (a * a).sum() * ((u * signs) @ vt)
    result[:3, 3] = goal - result[:3, :3] @ centre
    return result


def matrices(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) wxyz to rotation matrices (N, 3, 3)."""
    w, x, y, z = quats.T
    table = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(table), 2, 0)


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) to its unit quaternion (4,) float64, wxyz."""
    return quaternions(np.asarray(rotation, float)[None])[0]


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) to unit quaternions (N, 4) wxyz.

    The outer product of the quaternion with itself is linear in the rotation; its column with the largest diagonal
    entry is the quaternion times that component.
    """
    m = rotations
    diagonal = np.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    outer = np.empty((len(m), 4, 4), m.dtype)
    outer[:, 0, 0] = 1 + diagonal.sum(axis=1)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[:, i + 1, i + 1] = 1 + diagonal[:, i] - diagonal[:, j] - diagonal[:, k]
        outer[:, 0, i + 1] = outer[:, i + 1, 0] = m[:, k, j] - m[:, j, k]
        outer[:, i + 1, j + 1] = outer[:, j + 1, i + 1] = m[:, i, j] + m[:, j, i]
    best = np.einsum("nii->ni", outer).argmax(axis=1)
    quats = outer[np.arange(len(m)), best]
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def _multiplied(turn: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """turn · q for one unit quaternion (4,) and many (N, 4), float32, unit length."""
    w, x, y, z = turn
    if w == 1:
        return quats
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return (quats @ left.T).astype(np.float32)


def _stretched(rows: Rows, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations and rotations of covariances A Σ Aᵀ."""
    scales = np.empty((len(rows), 3), np.float32)
    rotations = np.empty((len(rows), 4), np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        axes = linear @ matrices(rows.rotations[part].astype(float)) * rows.scales[part, None].astype(float)
        # The singular values of A R S are the new deviations; eigenvalues of the covariance would lose thin ones.
        u, sizes, _ = np.linalg.svd(axes)
        u[np.linalg.det(u) < 0] *= -1
        scales[part], rotations[part] = sizes, quaternions(u)
    return scales, rotations
