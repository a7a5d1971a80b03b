"""A moment of a training into the learning rate of everything that learns."""

from __future__ import annotations

import math

from backend.train.config import TrainConfig

ROW_RATES = {"log_scales": 5e-3, "quats": 1e-3, "opacity_logits": 5e-2, "sh0": 2.5e-3, "shN": 1.25e-4}
MEANS_RATE, MEANS_RATE_END = 1.6e-4, 1.6e-6  # times the scene's extent
SHORT_STEPS = 7_000  # below so many steps, means, colours and what answers to light move faster


def row_rates(config: TrainConfig, fraction: float, extent: float, *, colors_only: bool) -> dict[str, float]:
    """By name of what rows have, after a fraction of the steps; what is missing is held still."""
    hurry = _hurry(config.steps)
    if colors_only:
        return {"sh0": ROW_RATES["sh0"] * hurry, "shN": ROW_RATES["shN"]}
    start = MEANS_RATE * hurry
    means = start * (MEANS_RATE_END / start) ** fraction * extent
    own = config.appearance.row_rates
    rates = {name: rate * (hurry if name == "sh0" or name in own else 1.0) for name, rate in (ROW_RATES | own).items()}
    return rates | {"means": means}


def shared_rates(config: TrainConfig, fraction: float) -> dict[str, float]:
    """By name of what rows share."""
    sky, hurry = config.sky_rate, _hurry(config.steps)
    rates = config.appearance.shared_rates | {"sky": sky, "sky_response": sky / 2, "skies": config.own_sky_rate}
    rates |= {name: rate * hurry for name, rate in config.appearance.network_rates.items()}
    shrink = config.shared_end**fraction
    return {name: rate * shrink for name, rate in rates.items()}


def _hurry(steps: int) -> float:
    """Few steps must carry rows as far as many."""
    return math.sqrt(max(1.0, SHORT_STEPS / steps))
