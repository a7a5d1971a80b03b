"""The same picture by the plainest code: every visible Gaussian against every pixel, torch autograd.

Float64 in, float64 out. Hundreds of times slower than the engines it checks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backend.render import tiles
from backend.render.harmonics import colors_from_sh
from backend.render.projection import project
from backend.scene.cameras import Camera


def rasterize(
    *,
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    view: Camera,
    sh0: Tensor | None = None,
    shN: Tensor | None = None,
    colors: Tensor | None = None,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Image (H, W, D), alpha (H, W) and blending weights (H, W, S) of the visible rows, nearest first."""
    projected = project(means, quats, log_scales, opacity_logits, view)
    rows = projected.rows
    if colors is None:
        centre = torch.as_tensor(view.centre, dtype=means.dtype)
        seen = colors_from_sh(sh0[rows], shN[rows], means[rows] - centre)
    else:
        seen = colors[rows]
    pixels = torch.as_tensor(view.pixel_centres(), dtype=means.dtype)
    dx = pixels[..., None, 0] - projected.means2d[:, 0]
    dy = pixels[..., None, 1] - projected.means2d[:, 1]
    a, b, c = projected.conics.unbind(-1)
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (projected.opacities * torch.exp(-sigma)).clamp_max(float(tiles.ALPHA_MAX))
    hit = (sigma >= 0) & (sigma <= float(tiles.SIGMA_MAX)) & (alpha >= float(tiles.ALPHA_MIN))
    alpha = torch.where(hit, alpha, torch.zeros_like(alpha))
    weights = []
    T = torch.ones_like(alpha[..., 0]) if alpha.shape[-1] else means.new_ones(pixels.shape[:2])
    is_open = torch.ones_like(T, dtype=torch.bool)
    for s in range(alpha.shape[-1]):
        after = T * (1 - alpha[..., s])
        is_open = is_open & (after > float(tiles.STOP))
        weights.append(torch.where(is_open, alpha[..., s] * T, torch.zeros_like(T)))
        T = torch.where(is_open, after, T)
    stacked = torch.stack(weights, -1) if weights else means.new_zeros((*pixels.shape[:2], 0))
    image = stacked @ seen
    if background is not None:
        image = image + T[..., None] * background
    return image, 1 - T, stacked
