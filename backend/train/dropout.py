"""Rows left out of single steps, so that none can know a photo by heart.

DropGaussian (Park, Ryu and Kim, CVPR 2025): of the rows, a share that grows with the steps is left out of a step, drawn
anew each time, and the others are so much more opaque. What stands behind and beside has to explain the photo, too.
So a step's picture is on average that of all rows. There, opacities that would pass 1 are cut off and learn no more;
here they go on learning.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BY_HEART = 400  # visits of each photo by which it would be known
_LEFT_OUT = -20.0  # logit
_OPACITY_MOST = 0.995  # of a row that stands in for others


def share_left_out(rate: float, *, step: int, steps: int, photos: int) -> float:
    """Grows evenly; to the rate where each photo is visited `BY_HEART` times, to less in proportion to its visits."""
    return rate * min(1.0, steps / (BY_HEART * photos)) * step / steps


def thinned(opacity_logits: Tensor, share: float, *, seed: int, step: int) -> Tensor:
    """(N,) logits with about `share` of them at nothing, and the others' opacities 1/(1 − share) times as large.

    The same rows on every device. Differentiable; rows that are left out get no gradient.
    """
    drawn = np.random.default_rng((seed, 3, step)).random(len(opacity_logits), np.float32)
    kept = torch.from_numpy(drawn >= share).to(opacity_logits.device)
    opacities = torch.sigmoid(opacity_logits) / (1 - share)
    more = torch.logit(opacities.clamp(max=_OPACITY_MOST))
    # Else nothing would pull at opaque rows but the penalty on half-transparent ones, and none could ever fade.
    as_before = opacity_logits - opacity_logits.detach()
    more = torch.where(opacities < _OPACITY_MOST, more, more.detach() + as_before)
    return torch.where(kept, more, torch.full_like(opacity_logits, _LEFT_OUT))
