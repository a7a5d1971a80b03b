"""What training minimises: the difference to a photo, and what keeps Gaussians well-behaved."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backend.train.config import Regularisers
from backend.train.similarity import Similarity, WithGradient


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
    counted = 1.0 if ignored is None else max(1 - float(ignored.float().mean()), 1e-3)
    mask = None if ignored is None else ignored.numpy()
    found = similarity.compared(image.detach().contiguous().numpy(), photo.numpy(), mask, share=share)
    loss = (1 - share) * found.absolute + share * (1 - found.similarity)
    return WithGradient.apply(image, loss / counted, torch.from_numpy(found.gradient) / counted)


def regularisation(
    log_scales: Tensor,  # (N, 3)
    opacity_logits: Tensor,  # (N,)
    weights: Regularisers,
    *,
    extent: float,
    ramp: float,  # 0..1, how far the entropy term is switched on
) -> Tensor:
    """Penalties on needles, on size and on half-transparent rows."""
    ordered = log_scales.sort(dim=1, descending=True).values
    # In log space: the pull on a needle does not grow with its length.
    excess = (ordered[:, 0] - ordered[:, 1] - math.log(weights.needle_ratio)).clamp_min(0)
    total = weights.needle * excess.mean()
    total = total + weights.scale * ordered[:, 0].exp().mean() / extent
    if ramp > 0:
        opacities = torch.sigmoid(opacity_logits)
        total = total + ramp * weights.entropy * (opacities * (1 - opacities)).mean()
    return total
