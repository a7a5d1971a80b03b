"""3D Gaussians and a view into ellipses on the screen (EWA), in numpy: what picking and tests compute with.

Zwicker et al., "EWA Splatting" (2002), with the clamp, the blur and the thresholds of the backend's renderer, which
the shader in `shaders` repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.placement import matrices
from .camera import View

BLUR = 0.3  # px², added to both variances
EXTENT_MAX = 3.33  # standard deviations at which every splat ends
ALPHA_MIN = 1 / 255
ALPHA_MAX = 0.999
MARGIN = 0.15  # of the picture's size; beyond it the projection's slope stays that at the margin


@dataclass(frozen=True, eq=False)
class Ellipses:
    """M splats on the screen; float64."""

    centres: np.ndarray  # (M, 2) pixels
    conics: np.ndarray  # (M, 3) a, b, c of the exponent -(a·du² + c·dv²)/2 - b·du·dv
    depths: np.ndarray  # (M,) z of camera axes

    def falloff(self, u: float, v: float) -> np.ndarray:
        """(M,) in 0..1 at a pixel position; 0 beyond EXTENT_MAX."""
        du, dv = u - self.centres[:, 0], v - self.centres[:, 1]
        power = 0.5 * (self.conics[:, 0] * du * du + self.conics[:, 2] * dv * dv) + self.conics[:, 1] * du * dv
        return np.where(power <= 0.5 * EXTENT_MAX**2, np.exp(-np.maximum(power, 0)), 0.0)


def clamps(view: View) -> tuple[float, float, float, float]:
    """Lowest and highest x/z, lowest and highest y/z at which the projection's slope is taken."""
    return (
        (-view.cx - MARGIN * view.width) / view.fx,
        (view.width - view.cx + MARGIN * view.width) / view.fx,
        (-view.cy - MARGIN * view.height) / view.fy,
        (view.height - view.cy + MARGIN * view.height) / view.fy,
    )


def project(
    positions: np.ndarray,  # (M, 3) object frame
    scales: np.ndarray,  # (M, 3) standard deviations, object frame
    rotations: np.ndarray,  # (M, 4) wxyz, unit
    world_from_object: np.ndarray,  # (4, 4), any linear part
    view: View,
) -> Ellipses:
    """Rows in front of a perspective eye (z > 0) into ellipses; what lies behind it has no meaning."""
    cam_from_object = view.cam_from_world @ world_from_object
    x, y, z = (positions.astype(np.float64) @ cam_from_object[:3, :3].T + cam_from_object[:3, 3]).T
    axes = cam_from_object[:3, :3] @ matrices(rotations.astype(np.float64)) * scales[:, None, :].astype(np.float64)
    if view.orthographic:
        rows_u, rows_v = view.fx * axes[:, 0], view.fy * axes[:, 1]
        centres = np.stack([view.fx * x + view.cx, view.fy * y + view.cy], -1)
    else:
        low_x, high_x, low_y, high_y = clamps(view)
        slope_x, slope_y = np.clip(x / z, low_x, high_x), np.clip(y / z, low_y, high_y)
        rows_u = (view.fx / z)[:, None] * (axes[:, 0] - slope_x[:, None] * axes[:, 2])
        rows_v = (view.fy / z)[:, None] * (axes[:, 1] - slope_y[:, None] * axes[:, 2])
        centres = np.stack([view.fx * x / z + view.cx, view.fy * y / z + view.cy], -1)
    uu, vv, uv = (np.einsum("mi,mi->m", *pair) for pair in ((rows_u, rows_u), (rows_v, rows_v), (rows_u, rows_v)))
    # By Lagrange's identity; uu·vv - uv² would cancel for long needles.
    cross = np.cross(rows_u, rows_v)
    determinant = np.einsum("mi,mi->m", cross, cross) + BLUR * (uu + vv) + BLUR * BLUR
    conics = np.stack([vv + BLUR, -uv, uu + BLUR], -1) / determinant[:, None]
    return Ellipses(centres, conics, z)
