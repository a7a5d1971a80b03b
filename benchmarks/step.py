"""One training step on fixed Gaussians, in the pieces and in the order of `backend.train`.

Without choosing and reading the photo, without judging what is transient and without density control: what
is left happens in every step and is where the time goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from backend.render import rasterize
from backend.scene.cameras import Camera
from backend.train.appearance import initial_shared
from backend.train.backdrop import coarse_sky
from backend.train.config import Regularisers
from backend.train.losses import photometric, regularisation
from backend.train.parameters import Parameters
from backend.train.rates import ROW_RATES
from backend.train.relighting import LinearAppearance, Relighting
from backend.train.similarity import Similarity
from backend.train.sky import over_sky

LINEAR, SSIM = LinearAppearance(rank=8), 0.2
MEANS_RATE = 1e-7  # so small that a thousand repeats still measure the same scene
NAMES = ("means", "quats", "log_scales", "opacity_logits", "sh0", "shN")


def training_step(
    arrays: Mapping[str, np.ndarray], view: Camera, appearance: Relighting = LINEAR
) -> Callable[[], float]:
    """A function that takes one step and returns the loss; parameters and moments are made here."""
    values = {name: torch.from_numpy(arrays[name]) for name in NAMES}
    rows = Parameters(values | appearance.initial_rows(len(values["means"])))
    shared = Parameters(initial_shared(appearance, 1, 0))
    similarity, weights = Similarity(), Regularisers()
    upper = torch.zeros(view.height, view.width, dtype=torch.bool)
    upper[: view.height // 3] = True  # plain sky
    photo = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (view.height, view.width, 3)).astype(np.float32))
    rates = {name: 1e-3 * rate for name, rate in (ROW_RATES | appearance.row_rates).items()} | {"means": MEANS_RATE}
    shared_rates = {name: 1e-3 * rate for name, rate in (appearance.shared_rates | appearance.network_rates).items()}
    penalties = dict.fromkeys(appearance.row_rates, weights.response / len(rows))

    def step() -> float:
        look = torch.cat([shared["embeddings"][0], shared["skies"][0]])
        rendered = rasterize(
            **{name: rows[name] for name in NAMES},
            view=view,
            light=appearance.light(rows.values, shared.values, look),
            absgrad=True,
        )
        image = over_sky(rendered.image, rendered.alpha, coarse_sky(view, shared.values, look))
        loss = photometric(image, photo, None, similarity, SSIM)
        loss = loss + regularisation(rows["log_scales"], rows["opacity_logits"], weights, extent=1.0, ramp=1.0)
        loss = loss + weights.sky * (rendered.alpha * upper).mean()
        loss.backward()
        rows.step(rates, penalties)
        shared.step(shared_rates)
        return loss.item()

    return step
