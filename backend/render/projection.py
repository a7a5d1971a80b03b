"""3D Gaussians into screen-space ellipses (EWA splatting), differentiable, in torch.

Zwicker et al. 2001 with the constants of 3D Gaussian Splatting (Kerbl et al. 2023) and gsplat 1.5.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from backend.scene.cameras import Camera

NEAR = 0.01  # world units
BLUR = 0.3  # px², added to both variances
OPACITY_MIN = 1 / 255
EXTENT_MAX = 3.33  # standard deviations


@dataclass(frozen=True)
class Projected:
    """The S rows that a view can see, nearest first (ties by row)."""

    rows: Tensor  # (S,) int64, ids
    means2d: Tensor  # (S, 2) px
    conics: Tensor  # (S, 3), A, B, C of the inverse covariance, px⁻²
    opacities: Tensor  # (S,) 0..1
    depths: Tensor  # (S,) camera z, world units
    radii: Tensor  # (S, 2) px, half-size of the box outside of which alpha < 1/255; no gradient
    rejected: int  # rows with NaN, infinite values or a zero quaternion, anywhere in the scene


def project(
    means: Tensor,  # (N, 3) world
    quats: Tensor,  # (N, 4) wxyz, any norm > 0
    log_scales: Tensor,  # (N, 3)
    opacity_logits: Tensor,  # (N,)
    view: Camera,
) -> Projected:
    """Project, cull and sort. Works in the dtype of `means`."""
    options = {"dtype": means.dtype, "device": means.device}
    rotation = torch.tensor(view.cam_from_world[:3, :3], **options)
    translation = torch.tensor(view.cam_from_world[:3, 3], **options)
    with torch.no_grad():
        rows, rejected = _candidates(means, quats, log_scales, opacity_logits, view, rotation, translation)
    position = means[rows] @ rotation.T + translation
    opacities = torch.sigmoid(opacity_logits[rows])
    x, y, z = position.unbind(-1)
    u = view.fx * x / z + view.cx
    v = view.fy * y / z + view.cy

    # The Jacobian is evaluated no further than 0.3 half-widths outside the picture, measured from its own
    # edges: with a centred principal point this is the familiar 1.3·tan(fov/2).
    margin_x, margin_y = 0.15 * view.width / view.fx, 0.15 * view.height / view.fy
    clamped_x = z * (x / z).clamp(-view.cx / view.fx - margin_x, (view.width - view.cx) / view.fx + margin_x)
    clamped_y = z * (y / z).clamp(-view.cy / view.fy - margin_y, (view.height - view.cy) / view.fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([view.fx / z, zero, -view.fx * clamped_x / (z * z)], -1),
            torch.stack([zero, view.fy / z, -view.fy * clamped_y / (z * z)], -1),
        ],
        -2,
    )  # (C, 2, 3)
    axes = rotation_matrices(quats[rows]) * log_scales[rows].exp()[:, None, :]  # columns: scaled axes
    screen_axes = jacobian @ rotation @ axes  # (C, 2, 3); the covariance is its square
    var_u = screen_axes[:, 0].square().sum(-1) + BLUR
    var_v = screen_axes[:, 1].square().sum(-1) + BLUR
    cov_uv = (screen_axes[:, 0] * screen_axes[:, 1]).sum(-1)
    determinant = var_u * var_v - cov_uv * cov_uv

    with torch.no_grad():
        extent = (2 * (255 * opacities).log()).clamp_min(0).sqrt().clamp_max(EXTENT_MAX)
        radius_u = (extent * var_u.sqrt()).ceil()
        radius_v = (extent * var_v.sqrt()).ceil()
        visible = (
            (determinant > 0)
            & (u + radius_u > 0)
            & (u - radius_u < view.width)
            & (v + radius_v > 0)
            & (v - radius_v < view.height)
        )
        kept = visible.nonzero()[:, 0]
        kept = kept[torch.argsort(z[kept], stable=True)]
    conics = torch.stack([var_v, -cov_uv, var_u], -1) / determinant[:, None]
    return Projected(
        rows=rows[kept],
        means2d=torch.stack([u, v], -1)[kept],
        conics=conics[kept],
        opacities=opacities[kept],
        depths=z[kept],
        radii=torch.stack([radius_u, radius_v], -1)[kept],
        rejected=rejected,
    )


def _candidates(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    view: Camera,
    rotation: Tensor,
    translation: Tensor,
) -> tuple[Tensor, int]:
    """Ids of rows that may touch the picture, by a bound on their screen size; and the count of bad rows."""
    norm = quats.square().sum(-1)
    checksum = means.sum(-1) + norm + log_scales.exp().sum(-1) + opacity_logits.abs().clamp_max(1e4)
    sound = torch.isfinite(checksum) & (norm > 0)
    rejected = len(means) - int(sound.sum())
    x, y, z = (means @ rotation.T + translation).unbind(-1)
    ahead = sound & (z > NEAR) & (opacity_logits >= math.log(OPACITY_MIN / (1 - OPACITY_MIN)))
    # The Jacobian's rows are at most f/z·sqrt(1 + tan²) long, tan at the clamp.
    tan_x = (max(view.cx, view.width - view.cx) + 0.15 * view.width) / view.fx
    tan_y = (max(view.cy, view.height - view.cy) + 0.15 * view.height) / view.fy
    largest = log_scales.amax(-1).exp() * EXTENT_MAX
    slack = EXTENT_MAX * math.sqrt(BLUR) + 1.0  # px; the box is rounded up
    reach_x = view.fx / z * largest * math.hypot(1, tan_x) + slack
    reach_y = view.fy / z * largest * math.hypot(1, tan_y) + slack
    u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
    near = ahead & (u + reach_x > 0) & (u - reach_x < view.width) & (v + reach_y > 0) & (v - reach_y < view.height)
    return near.nonzero()[:, 0], rejected


def rotation_matrices(quats: Tensor) -> Tensor:
    """Quaternions (N, 4) wxyz of any norm > 0 to (N, 3, 3)."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    return torch.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        -1,
    ).reshape(*quats.shape[:-1], 3, 3)
