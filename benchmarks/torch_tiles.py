"""Gaussians and a camera into a picture by plain torch autograd over culled tiles: the speed yardstick.

What one writes without a compiled kernel: float32, projection of all rows at once, then for every 32-pixel
tile all its pixels against all Gaussians whose box touches it. Same constants as the engines. It shares no
code with them, so that it stays what it is while they change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backend.scene.cameras import Camera

TILE = 32  # pixels; 16 needs four times as many torch calls, 64 more useless pairs
NEAR, BLUR, EXTENT_MAX = 0.01, 0.3, 3.33
ALPHA_MAX, ALPHA_MIN, STOP, SIGMA_MAX = 0.999, 1 / 255, 1e-4, 5.6
BYTES_PER_PAIR = 52  # of (pixel, Gaussian) that autograd keeps: measured


def rasterize(
    *,
    means: Tensor,  # (N, 3) world
    quats: Tensor,  # (N, 4) wxyz
    log_scales: Tensor,  # (N, 3)
    opacity_logits: Tensor,  # (N,)
    colors: Tensor,  # (N, D)
    view: Camera,
    background: Tensor | None = None,  # (D,)
) -> tuple[Tensor, Tensor]:
    """Image (H, W, D) and alpha (H, W), differentiable in every array."""
    splats, order, boxes = _projected(means, quats, log_scales, opacity_logits, view)
    splats, seen = splats[order], colors[order]
    background = seen.new_zeros(seen.shape[1]) if background is None else background
    bands = []
    for y in range(0, view.height, TILE):
        band = []
        for x in range(0, view.width, TILE):
            size = min(TILE, view.height - y), min(TILE, view.width - x)
            rows = _touching(boxes, x, y)
            image, alpha = _blended(splats[rows], seen[rows], x, y, size)
            image = image + (1 - alpha)[:, None] * background
            band.append(torch.cat([image, alpha[:, None]], 1).reshape(*size, -1))
        bands.append(torch.cat(band, 1))
    drawn = torch.cat(bands, 0)
    return drawn[..., :-1], drawn[..., -1]


@torch.no_grad()
def pairs(arrays: dict[str, Tensor], view: Camera) -> int:
    """How many (pixel, Gaussian) pairs `rasterize` evaluates: its memory is about BYTES_PER_PAIR times that."""
    names = ("means", "quats", "log_scales", "opacity_logits")
    _, _, boxes = _projected(*(arrays[name] for name in names), view)
    first = (boxes[:, :2] / TILE).floor().clamp_min(0)
    last = (boxes[:, 2:] / TILE).ceil()
    last = torch.minimum(last, torch.tensor([math.ceil(view.width / TILE), math.ceil(view.height / TILE)]))
    return int((last - first).clamp_min(0).prod(1).sum()) * TILE * TILE


def _projected(
    means: Tensor, quats: Tensor, log_scales: Tensor, opacity_logits: Tensor, view: Camera
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns u, v, A, B, C, opacity (N, 6); visible rows nearest first; their boxes x0, y0, x1, y1 (S, 4)."""
    cam_from_world = torch.tensor(view.cam_from_world, dtype=means.dtype)
    rotation = cam_from_world[:3, :3]
    x, y, z = (means @ rotation.T + cam_from_world[:3, 3]).unbind(-1)
    # Rows at or behind the camera are dropped below; here they must only not divide by zero.
    depth = torch.where(z > NEAR, z, torch.ones_like(z))
    u, v = view.fx * x / depth + view.cx, view.fy * y / depth + view.cy
    slack_x, slack_y = 0.15 * view.width / view.fx, 0.15 * view.height / view.fy
    tan_x = (x / depth).clamp(-view.cx / view.fx - slack_x, (view.width - view.cx) / view.fx + slack_x)
    tan_y = (y / depth).clamp(-view.cy / view.fy - slack_y, (view.height - view.cy) / view.fy + slack_y)
    zero = torch.zeros_like(depth)
    row_u = torch.stack([view.fx / depth, zero, -view.fx * tan_x / depth], -1)
    row_v = torch.stack([zero, view.fy / depth, -view.fy * tan_y / depth], -1)
    axes = _rotations(quats) * log_scales.exp()[:, None, :]
    spread_u = ((row_u @ rotation)[:, None] @ axes)[:, 0]
    spread_v = ((row_v @ rotation)[:, None] @ axes)[:, 0]
    var_u, var_v = spread_u.square().sum(-1) + BLUR, spread_v.square().sum(-1) + BLUR
    cov = (spread_u * spread_v).sum(-1)
    determinant = var_u * var_v - cov * cov
    opacities = torch.sigmoid(opacity_logits)
    splats = torch.stack([u, v, var_v / determinant, -cov / determinant, var_u / determinant, opacities], -1)
    with torch.no_grad():
        extent = (2 * (255 * opacities).log()).clamp_min(0).sqrt().clamp_max(EXTENT_MAX)
        reach_u, reach_v = (extent * var_u.sqrt()).ceil(), (extent * var_v.sqrt()).ceil()
        boxes = torch.stack([u - reach_u, v - reach_v, u + reach_u, v + reach_v], -1)
        visible = (z > NEAR) & (opacities >= ALPHA_MIN) & (determinant > 0)
        visible &= (boxes[:, 2:] > 0).all(1) & (boxes[:, 0] < view.width) & (boxes[:, 1] < view.height)
        rows = visible.nonzero()[:, 0]
        rows = rows[torch.argsort(z[rows], stable=True)]
    return splats, rows, boxes[rows]


def _rotations(quats: Tensor) -> Tensor:
    """Quaternions (N, 4) wxyz of any norm > 0 to (N, 3, 3), as I + 2w·[q] + 2·[q]²."""
    unit = quats / quats.norm(dim=-1, keepdim=True)
    w, x, y, z = unit.unbind(-1)
    zero = torch.zeros_like(w)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return torch.eye(3, dtype=quats.dtype) + 2 * w[:, None, None] * cross + 2 * cross @ cross


def _touching(boxes: Tensor, x: int, y: int) -> Tensor:
    """Rows whose box overlaps the tile at (x, y)."""
    inside = (boxes[:, 2] > x) & (boxes[:, 0] < x + TILE) & (boxes[:, 3] > y) & (boxes[:, 1] < y + TILE)
    return inside.nonzero()[:, 0]


def _blended(splats: Tensor, colors: Tensor, x: int, y: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Colours (P, D) and alpha (P,) of a tile's pixels, row by row."""
    height, width = size
    px = (torch.arange(width, dtype=splats.dtype) + x + 0.5).repeat(height)[:, None]
    py = (torch.arange(height, dtype=splats.dtype) + y + 0.5).repeat_interleave(width)[:, None]
    u, v, a, b, c, opacity = splats.unbind(1)
    dx, dy = px - u, py - v
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacity * torch.exp(-sigma)).clamp_max(ALPHA_MAX)
    hit = (sigma >= 0) & (sigma <= SIGMA_MAX) & (alpha >= ALPHA_MIN)
    alpha = torch.where(hit, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    # The product only falls: what comes after a Gaussian that would close the pixel fails the test too.
    weights = torch.where(after > STOP, alpha * before, torch.zeros_like(alpha))
    return weights @ colors, weights.sum(1)
