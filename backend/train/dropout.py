"""Rows left out of single steps, so that none can know a photo by heart.

DropGaussian (Park, Ryu and Kim, CVPR 2025): of the rows, a share that grows with the steps is left out of a step, drawn
anew each time, and the others are so much more opaque. What stands behind and beside has to explain the photo, too.
There opacities are multiplied, and those that would pass 1 are cut off and learn no more; here what is let through is
raised to a power, which does the same to small ones and has a gradient everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

BY_HEART = 400  # visits of each photo by which it would be known
_LEFT_OUT = -20.0  # logit


def share_left_out(rate: float, *, step: int, steps: int, photos: int) -> float:
    """Grows evenly; to the rate where each photo is visited `BY_HEART` times, to less in proportion to its visits."""
    return rate * min(1.0, steps / (BY_HEART * photos)) * step / steps


def thinned(opacity_logits: Tensor, share: float, *, seed: int, step: int) -> Tensor:
    """(N,) logits with about `share` of them at nothing, and the others' opacities o at 1 − (1 − o)^(1/(1 − share)).

    The same rows on every device. Differentiable; rows that are left out get no gradient.
    """
    drawn = np.random.default_rng((seed, 3, step)).random(len(opacity_logits), np.float32)
    kept = torch.from_numpy(drawn >= share).to(opacity_logits.device)
    through = functional.softplus(opacity_logits).clamp_min(1e-20) / (1 - share)  # -log of what is let through
    more = torch.log(-torch.expm1(-through)) + through
    return torch.where(kept, more, torch.full_like(opacity_logits, _LEFT_OUT))
