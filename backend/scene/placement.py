"""Gaussians of one frame into the same Gaussians in another: place, size, orientation and colours."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from backend.scene.gaussians import Gaussians
from backend.scene.harmonics import rotated_sh
from backend.scene.transforms import Similarity, quats_from_matrices


def transformed(gaussians: Gaussians, b_from_a: Similarity) -> Gaussians:
    """The same rows, from frame a into frame b.

    View-dependent colour turns along: degrees 1 and up of the spherical harmonics are rotated. Opacities
    and sidecars stay, and so do the norms of the quaternions. Sizes without a scale and orientations without
    a rotation are kept bit for bit (and share memory with the given rows).
    """
    moved = replace(gaussians, means=b_from_a.points(gaussians.means).astype(np.float32))
    if b_from_a.scale != 1:
        moved = replace(moved, log_scales=gaussians.log_scales + np.float32(math.log(b_from_a.scale)))
    if not np.array_equal(b_from_a.rotation, np.eye(3)):
        moved = replace(
            moved,
            quats=_turned(gaussians.quats, b_from_a.rotation),
            shN=rotated_sh(gaussians.shN, b_from_a.rotation),
        )
    return moved


def _turned(quats: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) float32 wxyz after a further rotation (3, 3)."""
    w, x, y, z = quats_from_matrices(rotation[None])[0]
    product = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])  # of the left factor
    return (quats @ product.T).astype(np.float32)
