"""Real spherical harmonics of 3DGS: directions to basis values, coefficients into a turned frame.

Order and signs are those of every 3DGS file: within degree 1 the bases are -y, z, -x.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

_CHUNK_ROWS = 1 << 17


def bases(directions: np.ndarray, degree: int) -> np.ndarray:
    """Unit directions (M, 3) to values (M, K) float64, K = (degree + 1)², degree 0..3.

    A colour is the sum of bases times coefficients, plus 0.5, seen along `directions` from eye to Gaussian.
    """
    x, y, z = np.asarray(directions, float).T
    values = [np.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree >= 1:
        first = math.sqrt(3 / (4 * math.pi))
        values += [-first * y, first * z, -first * x]
    if degree >= 2:
        second = 0.5 * math.sqrt(15 / math.pi)
        values += [
            second * x * y,
            -second * y * z,
            second / (2 * math.sqrt(3)) * (3 * z * z - 1),
            -second * x * z,
            second / 2 * (x * x - y * y),
        ]
    if degree >= 3:
        outer, middle, inner = (math.sqrt(n / math.pi) / 4 for n in (35 / 2, 105, 21 / 2))
        values += [
            -outer * y * (3 * x * x - y * y),
            2 * middle * x * y * z,
            -inner * y * (5 * z * z - 1),
            math.sqrt(7 / math.pi) / 4 * z * (5 * z * z - 3),
            -inner * x * (5 * z * z - 1),
            middle * z * (x * x - y * y),
            -outer * x * (x * x - 3 * y * y),
        ]
    return np.stack(values, axis=-1)


def turned(sh: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Coefficients (N, K-1, 3) whose function at turn · d equals the given one's at d.

    `turn` (3, 3) float64 is orthogonal: a rotation or, with determinant -1, a mirroring.
    """
    count, beyond = sh.shape[:2]
    if not beyond or np.array_equal(turn, np.eye(3)):
        return sh
    matrix = np.zeros((beyond, beyond))
    for degree in range(1, math.isqrt(beyond + 1)):
        band = slice(degree * degree - 1, (degree + 1) ** 2 - 1)
        matrix[band, band] = _band(turn, degree)
    matrix = matrix.astype(np.float32)
    result = np.empty((beyond, count, 3), np.float32)
    for start in range(0, count, _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        # One product of two plain matrices.
        coefficients = np.ascontiguousarray(sh[part].swapaxes(0, 1)).reshape(beyond, -1)
        result[:, part] = (matrix @ coefficients).reshape(beyond, -1, 3)
    return result.swapaxes(0, 1)


def _band(turn: np.ndarray, degree: int) -> np.ndarray:
    """(2·degree+1, 2·degree+1): the turned bases of one degree are combinations of the same degree's bases.

    Solving for them at well spread directions is exact and knows no special rotation.
    """
    band = slice(degree * degree, (degree + 1) ** 2)
    directions = _spread()
    before = bases(directions @ turn, degree)[:, band]
    return np.linalg.lstsq(bases(directions, degree)[:, band], before, rcond=None)[0]


@cache
def _spread(count: int = 48) -> np.ndarray:
    """Unit directions (count, 3) along a spiral from pole to pole."""
    z = np.linspace(1 - 1 / count, -1 + 1 / count, count)
    angle_rad = np.arange(count) * math.pi * (1 + math.sqrt(5))
    around = np.sqrt(1 - z * z)
    return np.stack([around * np.cos(angle_rad), around * np.sin(angle_rad), z], axis=-1)
