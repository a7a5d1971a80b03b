"""Rows of a running training -> a thinned-out splat to look at."""

from __future__ import annotations

import numpy as np
import torch

from backend.render.harmonics import C0
from backend.train.parameters import Parameters

ROWS_MAX = 30_000


def snapshot(rows: Parameters) -> dict[str, np.ndarray]:
    """Up to ROWS_MAX rows, evenly taken and enlarged so that they cover what all of them cover.

    `means` (M, 3), `colors` (M, 3) RGB 0..1 in neutral light, `scales` (M, 3), `quats` (M, 4) wxyz of unit
    length, `opacities` (M,), all float32; `gaussians`, () int64, the rows of the training.
    """
    count = len(rows)
    taken = torch.from_numpy(np.linspace(0, count - 1, min(count, ROWS_MAX)).astype(np.int64))

    def of(name: str) -> torch.Tensor:
        values = rows[name].detach()
        return values[taken.to(values.device)].cpu()

    enlarged = (count / max(1, len(taken))) ** 0.5  # areas, not volumes, make the picture
    return {
        "means": of("means").numpy(),
        "colors": (0.5 + C0 * of("sh0")[:, 0]).clamp(0, 1).numpy(),
        "scales": (of("log_scales").exp() * enlarged).numpy(),
        "quats": torch.nn.functional.normalize(of("quats"), dim=1).numpy(),
        "opacities": torch.sigmoid(of("opacity_logits")).numpy(),
        "gaussians": np.asarray(count),
    }
