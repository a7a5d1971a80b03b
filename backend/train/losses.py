"""What training minimises: the difference to a photo, and what keeps Gaussians well-behaved."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads
from backend.train import on_device
from backend.train.config import Regularisers
from backend.train.similarity import Similarity, WithGradient

f32 = np.float32
BLOCK = 1024  # rows whose penalties are added one after the other


def photometric(
    image: Tensor,  # (H, W, 3), rendered
    photo: Tensor,  # (H, W, 3)
    ignored: Tensor | None,  # (H, W) bool
    similarity: Similarity,
    share: float,  # of the structural term
) -> Tensor:
    """(1 − share)·L1 + share·(1 − SSIM) over the pixels that count.

    Ignored pixels of the render are replaced by the photo's, so that windows beside them stay natural and
    their gradient is exactly zero.
    """
    if not image.is_cpu:
        if ignored is not None:
            image = torch.where(ignored[..., None], photo, image)
        loss = (1 - share) * (image - photo).abs().mean() + share * (1 - similarity(image, photo))
        return loss if ignored is None else loss / (1 - ignored.float().mean()).clamp_min(1e-3)
    counted = 1.0 if ignored is None else max(1 - float(ignored.float().mean()), 1e-3)
    mask = None if ignored is None else ignored.numpy()
    found = similarity.compared(image.detach().contiguous().numpy(), photo.numpy(), mask, share=share)
    loss = (1 - share) * found.absolute + share * (1 - found.similarity)
    return WithGradient.apply(image, loss / counted, torch.from_numpy(found.gradient) / counted)


@njit(parallel=True, cache=True)
def _penalties(log_scales, opacity_logits, needle, free, scale, entropy, pull):
    """Sums over rows (blocks, 2) of what falls on scales and on opacities, and the gradients of both."""
    count = len(log_scales)
    sums = np.zeros(((count + BLOCK - 1) // BLOCK, 2), np.float64)
    d_scales, d_logits = np.zeros((count, 3), f32), np.zeros(count, f32)
    for block in prange(len(sums)):
        of_scales, of_opacities = f32(0), f32(0)
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            first, second = 0, 1
            if log_scales[i, 1] > log_scales[i, 0]:
                first, second = 1, 0
            if log_scales[i, 2] > log_scales[i, first]:
                first, second = 2, first
            elif log_scales[i, 2] > log_scales[i, second]:
                second = 2
            # In log space: the pull on a needle does not grow with its length.
            excess = log_scales[i, first] - log_scales[i, second] - free
            size = scale * math.exp(log_scales[i, first])
            of_scales += size
            d_scales[i, first] = size
            if excess > f32(0):
                of_scales += needle * excess
                d_scales[i, first] += needle
                d_scales[i, second] = -needle
            if entropy > f32(0) or pull > f32(0):
                opacity = f32(1) / (f32(1) + math.exp(-opacity_logits[i]))
                slope = opacity * (f32(1) - opacity)
                of_opacities += entropy * slope + pull * opacity
                d_logits[i] = slope * (entropy * (f32(1) - f32(2) * opacity) + pull)
        sums[block, 0], sums[block, 1] = of_scales, of_opacities
    return sums, d_scales, d_logits


def regularisation(
    log_scales: Tensor,  # (N, 3)
    opacity_logits: Tensor,  # (N,)
    weights: Regularisers,
    *,
    extent: float,
    ramp: float,  # 0..1, how far the entropy term is switched on
) -> Tensor:
    """Penalties on needles, on size, on opacity and on half-transparent rows."""
    if not log_scales.is_cpu:
        return on_device.regularisation(log_scales, opacity_logits, weights, extent=extent, ramp=ramp)
    count = max(len(log_scales), 1)
    with Threads():
        sums, d_scales, d_logits = _penalties(
            log_scales.detach().numpy(),
            opacity_logits.detach().numpy(),
            f32(weights.needle / count),
            f32(math.log(weights.needle_ratio)),
            f32(weights.scale / (extent * count)),
            f32(ramp * weights.entropy / count),
            f32(weights.opacity / count),
        )
    of_scales, of_opacities = sums.sum(0)
    total = WithGradient.apply(log_scales, of_scales, torch.from_numpy(d_scales))
    if ramp > 0 or weights.opacity > 0:
        total = total + WithGradient.apply(opacity_logits, of_opacities, torch.from_numpy(d_logits))
    return total
