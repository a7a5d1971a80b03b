"""Real spherical harmonics of 3DGS: directions to basis values, coefficients into a turned frame.

Order and signs are those every 3DGS file uses (Condon-Shortley phase kept, y z x within degree 1). This is
the one numpy reference of the basis; kernels are tested against it.
"""

from __future__ import annotations

import math

import numpy as np

from backend.scene.gaussians import SH_COUNTS

C0 = 0.28209479177387814  # the constant basis, 1 / (2·sqrt(pi))


def eval_sh_basis(directions: np.ndarray, degree: int) -> np.ndarray:
    """Unit directions (M, 3) to basis values (M, K) float64, K = (degree + 1)², degree 0..3.

    A colour is basis @ coefficients + 0.5, seen along `directions` from the camera to the Gaussian.
    """
    x, y, z = np.asarray(directions, float).T
    xx, yy, zz = x * x, y * y, z * z
    bands = [
        [np.full_like(x, C0)],
        [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x],
        [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ],
        [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ],
    ]
    return np.stack([basis for band in bands[: degree + 1] for basis in band], axis=-1)


def rotated_sh(
    shN: np.ndarray,  # (N, K-1, 3) float32, degrees 1 and up, RGB
    rotation: np.ndarray,  # (3, 3) float64, orthonormal, determinant +1
) -> np.ndarray:  # (N, K-1, 3) float32
    """Coefficients whose function at rotation · d equals the given one's at d."""
    rotated = np.empty_like(shN)
    for degree in range(1, SH_COUNTS[shN.shape[1]] + 1):
        band = slice(degree * degree - 1, (degree + 1) ** 2 - 1)
        rotated[:, band] = _band_rotation(rotation, degree) @ shN[:, band]
    return rotated


def _band_rotation(rotation: np.ndarray, degree: int) -> np.ndarray:
    """(2·degree+1, 2·degree+1) float64, orthogonal: one degree's coefficients in the turned frame.

    A turned degree is again a combination of the same degree's bases, so fitting it at any well spread
    directions is exact; no recursion and no special case for any rotation.
    """
    directions = _spread_directions(64)
    band = slice(degree * degree, (degree + 1) ** 2)
    values = eval_sh_basis(directions, degree)[:, band]
    turned_back = eval_sh_basis(directions @ rotation, degree)[:, band]
    return np.linalg.pinv(values) @ turned_back


def _spread_directions(count: int) -> np.ndarray:
    """Unit directions (count, 3) along a Fibonacci spiral."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angles_rad = np.arange(count) * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angles_rad), radius * np.sin(angles_rad), z], axis=-1)
