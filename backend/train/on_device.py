"""A training step's parts that are compiled for the CPU, in plain torch for tensors of another device.

Each states the arithmetic of its compiled twin, which calls it; gradients are autograd's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from backend.train.config import Regularisers


def similarity(a: Tensor, b: Tensor, window: Tensor, constants: tuple[float, float]) -> Tensor:
    """Mean SSIM of pictures (H, W, C) with a separable window (taps,), zeros beyond the edge."""
    channels, taps = a.shape[2], len(window)
    light_floor, shape_floor = constants
    maps = torch.cat([a, b, a * a, b * b, a * b], 2).permute(2, 0, 1)[:, None]
    maps = functional.conv2d(maps, window.reshape(1, 1, 1, taps), padding=(0, taps // 2))
    maps = functional.conv2d(maps, window.reshape(1, 1, taps, 1), padding=(taps // 2, 0))
    mean_a, mean_b, square_a, square_b, product = maps[:, 0].split(channels)
    light = (2 * mean_a * mean_b + light_floor) / (mean_a.square() + mean_b.square() + light_floor)
    spread = square_a - mean_a.square() + square_b - mean_b.square()
    shape = (2 * (product - mean_a * mean_b) + shape_floor) / (spread + shape_floor)
    return (light * shape).mean()


def regularisation(
    log_scales: Tensor, opacity_logits: Tensor, weights: Regularisers, *, extent: float, ramp: float
) -> Tensor:
    """Penalties on needles, on size, on opacity and on half-transparent rows."""
    ordered = log_scales.sort(dim=1, descending=True).values
    excess = (ordered[:, 0] - ordered[:, 1] - math.log(weights.needle_ratio)).clamp_min(0)
    total = weights.needle * excess.mean() + weights.scale * ordered[:, 0].exp().mean() / extent
    if ramp > 0 or weights.opacity > 0:
        opacities = torch.sigmoid(opacity_logits)
        total = total + (ramp * weights.entropy * opacities * (1 - opacities) + weights.opacity * opacities).mean()
    return total


def over_sky(image: Tensor, alpha: Tensor, sky: Tensor) -> Tensor:
    """image + (1 − alpha)·sky, the sky (rows, columns, 3) enlarged bilinearly."""
    coarse = sky.permute(2, 0, 1)[None]
    full = functional.interpolate(coarse, tuple(alpha.shape), mode="bilinear", align_corners=False)[0]
    return image + (1 - alpha)[..., None] * full.permute(1, 2, 0)


def in_a_face(means: Tensor, centres: Tensor, forwards: Tensor, limits: Tensor) -> Tensor:
    """(N,) bool: before one of the cameras (C, 3) and nearer to it than its limit (C,)."""
    found = torch.zeros(len(means), dtype=torch.bool, device=means.device)
    for centre, forward, limit in zip(centres, forwards, limits, strict=True):
        position = means - centre
        found |= (position @ forward > 0) & (position.norm(dim=1) < limit)
    return found


def motion_sums(means: Tensor, push: Tensor, quats: Tensor, v: Tensor, centre: np.ndarray) -> Tensor:
    """(6,) float64: what the gradients of means and of quaternions say about a turn and a shift of all rows."""
    lever = means - torch.as_tensor(centre, dtype=torch.float32, device=means.device)
    turn = quats[:, :1] * v[:, 1:] - v[:, :1] * quats[:, 1:] + torch.linalg.cross(quats[:, 1:], v[:, 1:])
    turn = torch.linalg.cross(lever, push) + 0.5 * turn
    return torch.cat([turn, push], 1).sum(0, dtype=torch.float64)


def box_mean(maps: Tensor, window: int) -> Tensor:
    """Means over odd windows of maps (C, H, W), the edge repeated outside."""
    half = window // 2
    padded = functional.pad(maps[None], (half, half, half, half), mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (window, 1), 1), (1, window), 1)[0]


def halved(values: Tensor) -> Tensor:
    """(H, W) to means of 2 x 2 pixels; an odd last row or column is left out."""
    return functional.avg_pool2d(values[None], 2)[0]


def doubled(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse on a mask: every pixel twice in both directions, the last ones up to `size`."""
    y, x = (torch.arange(n, device=mask.device).div(2, rounding_mode="floor") for n in size)
    return mask[y.clamp_max(mask.shape[0] - 1)][:, x.clamp_max(mask.shape[1] - 1)]


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask (H, W) of zeros and ones, grown so often into the four neighbours."""
    for _ in range(pixels):
        tall = functional.max_pool2d(mask[None], (3, 1), 1, (1, 0))
        mask = torch.maximum(tall, functional.max_pool2d(mask[None], (1, 3), 1, (0, 1)))[0]
    return mask


def resampled(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) to another size: area means when shrinking, whose blocks overlap where sizes do not divide."""
    if size[0] < values.shape[0] and size[1] < values.shape[1]:
        return functional.interpolate(values[None, None], size, mode="area")[0, 0]
    return functional.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0]
