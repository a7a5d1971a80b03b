"""Many features into few: a linear map and its way back, so that compressing before lifting is compressing after it.

The map starts at the leading singular vectors and is trained so that features come back, and so that those that are
alike stay alike: L = MSE(x, normalise(Dec·E·x)) + MSE(Gram(E·x), Gram(x)), Gram being the cosines within a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from backend.features.lift import Views
from backend.features.pixels import Grid, Pixels, Whole
from backend.progress import Progress
from backend.render import Seen
from backend.scene import Camera
from segwild_addon.protocol.errors import InputError

SAMPLES = 100_000
_HELD_OUT = 0.1  # of the samples
_TOGETHER = 64  # channels that are looked at together


@dataclass(frozen=True)
class Training:
    steps: int = 2000
    batch: int = 512
    rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Compression:
    """Both maps, and how well features that were not trained on come back."""

    encoder: np.ndarray  # (d, D) float32
    decoder: np.ndarray  # (D, d) float32
    cosine: float  # mean over samples held out

    def arrays(self) -> dict[str, np.ndarray]:
        return {"encoder": self.encoder, "decoder": self.decoder}


class Sampled(Protocol):
    """Part of `Views` that samples are taken from."""

    cameras: Sequence[Camera]
    channels: int

    def pixels(self, number: int) -> Pixels: ...


def samples(views: Sampled, seed: int = 0) -> np.ndarray:
    """(M, D) float32 unit features, about as many from each view; cells of grids, pixels of what has none."""
    random = np.random.default_rng(seed)
    share = -(-SAMPLES // max(len(views.cameras), 1))
    parts = []
    for number in range(len(views.cameras)):
        pixels, camera = views.pixels(number), views.cameras[number]
        grid = pixels if isinstance(pixels, Grid) else None
        count = camera.height * camera.width if grid is None else len(grid.nodes(0, 1))
        chosen = np.sort(random.permutation(count)[:share])
        part = np.empty((len(chosen), views.channels), np.float32)
        for first in range(0, views.channels, _TOGETHER):
            last = min(first + _TOGETHER, views.channels)
            found = pixels.of(first, last).reshape(count, -1) if grid is None else grid.nodes(first, last)
            part[:, first:last] = found[chosen]
        parts.append(part)
    together = np.concatenate(parts)
    length = np.linalg.norm(together, axis=1, keepdims=True)
    return (together / np.maximum(length, 1e-12))[length[:, 0] > 1e-6]


def compression(features: np.ndarray, dimensions: int, training: Training, progress: Progress) -> Compression:
    """Maps of unit features (M, D) to so many dimensions. Raises InputError if they have no more than that anyway."""
    count, channels = features.shape
    if not 0 < dimensions < channels:
        raise InputError(
            "bad-option", f"{channels} channels cannot be compressed to {dimensions}.", f"Choose 1 to {channels - 1}."
        )
    random = np.random.default_rng(training.seed)
    order = random.permutation(count)
    held = max(1, int(_HELD_OUT * count))
    test, train = (torch.from_numpy(features[part]) for part in (order[:held], order[held:]))
    if len(train) < dimensions:
        raise InputError("too-little", f"{count} features are too few to compress.", "Leave out --compress.")
    _, axes = np.linalg.eigh(train.double().T.numpy() @ train.double().numpy())
    leading = torch.from_numpy(axes[:, ::-1][:, :dimensions].astype(np.float32).copy())
    encoder, decoder = leading.T.clone().requires_grad_(), leading.clone().requires_grad_()
    optimiser = torch.optim.Adam([encoder, decoder], training.rate)
    start = _cosine(test, encoder, decoder)
    progress.phase("Compressing features", training.steps)
    for _ in range(training.steps):
        batch = train[torch.from_numpy(random.integers(0, len(train), training.batch))]
        small = batch @ encoder.T
        back = functional.normalize(small @ decoder.T, dim=1)
        alike = functional.normalize(small, dim=1)
        loss = (back - batch).square().mean() + (alike @ alike.T - batch @ batch.T).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress.advance()
    end = _cosine(test, encoder, decoder)
    if end < start - 0.02:  # it gave up more of the features than it kept of their likeness
        encoder, decoder, end = leading.T, leading, start
    return Compression(encoder.detach().numpy().copy(), decoder.detach().numpy().copy(), end)


def _cosine(features: torch.Tensor, encoder: torch.Tensor, decoder: torch.Tensor) -> float:
    with torch.no_grad():
        back = functional.normalize(features @ encoder.T @ decoder.T, dim=1)
        return float((back * features).sum(1).mean())


class Compressed:
    """Views with compressed features."""

    def __init__(self, views: Views, maps: Compression) -> None:
        self.views, self.maps = views, maps
        self.cameras = views.cameras
        self.channels = len(maps.encoder)

    def pixels(self, number: int) -> Pixels:
        pixels, camera = self.views.pixels(number), self.cameras[number]
        if isinstance(pixels, Grid):
            cells = np.einsum("kd,dhw->khw", self.maps.encoder, pixels.cells, optimize=True)
            return Grid(cells, pixels.inner, camera.height, camera.width, unit=False)
        total = np.zeros((camera.height, camera.width, self.channels), np.float32)
        for first in range(0, pixels.channels, 64):
            last = min(first + 64, pixels.channels)
            total += pixels.of(first, last) @ self.maps.encoder[:, first:last].T
        return Whole(total)

    def weight(self, number: int, seen: Seen) -> np.ndarray | None:
        return self.views.weight(number, seen)
