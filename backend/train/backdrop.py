"""A photo's numbers into the sky, seen where no Gaussian is.

It is a degree-2 harmonic over directions: a neutral one, a change that is linear in the embedding e, because noon has
other skies than dusk, and one that belongs to the photo alone, because clouds have no part in the light of a wall.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from backend.render.harmonics import C0, higher_bases
from backend.scene import Camera
from backend.train.relighting import light_numbers

SKY_BASES = 9
SKY_NUMBERS = 3 * SKY_BASES  # of a photo's own sky
SKY_STEP = 8  # the sky is evaluated on every 8th pixel and interpolated

# The harmonics of a camera's sky by device, as long as the camera lives: with a photo that a training has decoded, with
# the steps that fit a look. A camera that has moved is another one.
_BASES: WeakKeyDictionary[Camera, dict[str, Tensor]] = WeakKeyDictionary()


def initial_skies(photos: int, numbers: int, *, own_sky: bool = True) -> dict[str, Tensor]:
    """Parameters of the sky, for embeddings of so many numbers."""
    return {
        "skies": torch.zeros(photos, SKY_NUMBERS if own_sky else 0),
        "sky": torch.zeros(SKY_BASES, 3),  # neutral sky, harmonics without the +0.5
        "sky_response": torch.zeros(numbers, SKY_BASES, 3),
    }


def coarse_sky(camera: Camera, shared: Mapping[str, Tensor], look: Tensor | None) -> Tensor:
    """The sky behind everything in cells of about SKY_STEP pixels: (rows, columns, 3), about 0..1, differentiable."""
    coefficients = shared["sky"]
    device = str(coefficients.device)
    known = _BASES.setdefault(camera, {})
    if device not in known:
        known[device] = _sky_basis(camera, device)
    embedding = light_numbers(look, shared)
    if embedding is not None:
        coefficients = coefficients + torch.tensordot(embedding, shared["sky_response"], 1)
    own = None if look is None else look[len(shared["gain"]) :]
    if own is not None and len(own):
        coefficients = coefficients + own.reshape(SKY_BASES, 3)
    # Not clamped: a sky that has become too bright must feel the gradient that darkens it.
    return known[device] @ coefficients + 0.5


def _sky_basis(camera: Camera, device: str) -> Tensor:
    """(rows, columns, SKY_BASES): the harmonics in the directions of the coarse sky's cells."""
    columns = max(2, -(-camera.width // SKY_STEP) + 1)
    rows = max(2, -(-camera.height // SKY_STEP) + 1)
    # Where the cells' middles lie that are interpolated between.
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    x, y = x * camera.width, y * camera.height
    directions = torch.from_numpy(camera.rays(np.stack([x, y], -1)).astype(np.float32)).reshape(-1, 3).to(device)
    basis = torch.cat([torch.full_like(directions[:, :1], C0), higher_bases(directions, SKY_BASES - 1)], 1)
    return basis.reshape(rows, columns, SKY_BASES)


def sky_picture(camera: Camera, shared: Mapping[str, Tensor], look: Tensor | None) -> Tensor:
    """The sky behind everything: (H, W, 3), about 0..1, differentiable."""
    coarse = coarse_sky(camera, shared, look).permute(2, 0, 1)[None]
    full = torch.nn.functional.interpolate(coarse, (camera.height, camera.width), mode="bilinear", align_corners=False)
    return full[0].permute(1, 2, 0)
