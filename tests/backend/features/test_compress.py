"""Compressed features come back, and lifting them is compressing what was lifted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from backend.features import lift
from backend.features.compress import Compressed, Compression, Training, compression, samples
from backend.features.pixels import Grid, Pixels, Whole
from backend.progress import Quiet
from segwild_addon.protocol.errors import InputError


@dataclass
class Few:
    """Grids, or pixels, whose features lie in a few directions of many."""

    cameras: list
    grid: bool
    channels: int = 40

    def cells(self, number: int) -> np.ndarray:
        random = np.random.default_rng(7)
        directions = random.normal(size=(5, self.channels))
        mixed = np.random.default_rng(number).normal(size=(6, 8, 5)) @ directions
        return mixed.transpose(2, 0, 1).astype(np.float32)

    def pixels(self, number: int) -> Pixels:
        camera = self.cameras[number]
        grid = Grid(self.cells(number), (6, 8), camera.height, camera.width)
        return grid if self.grid else Whole(grid.of(0, self.channels))

    def weight(self, number, seen):
        return None


def test_few_directions_of_many_come_back(blobs) -> None:
    features = samples(Few(blobs.cameras, grid=True))
    assert features.shape == (6 * 48, 40)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(len(features)), abs=1e-5)
    maps = compression(features, 5, Training(steps=20), Quiet())
    assert maps.cosine > 0.99
    assert maps.encoder.shape == (5, 40)
    assert maps.decoder.shape == (40, 5)
    small = features @ maps.encoder.T
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    assert np.abs(small @ small.T - features @ features.T).mean() < 0.05
    assert compression(features, 2, Training(steps=20), Quiet()).cosine < 0.9  # two cannot hold five


def test_training_keeps_more_likeness_than_singular_vectors(blobs) -> None:
    features = samples(Few(blobs.cameras, grid=True))
    start, end = (compression(features, 3, Training(steps=steps), Quiet()) for steps in (0, 60))

    def off(maps: Compression) -> float:
        small = features @ maps.encoder.T
        small /= np.linalg.norm(small, axis=1, keepdims=True)
        return float(np.square(small @ small.T - features @ features.T).mean())

    assert off(end) < off(start)
    assert end.cosine > start.cosine - 0.02


@pytest.mark.parametrize("grid", [True, False])
def test_compressing_first_is_compressing_last(blobs, grid: bool) -> None:
    views = Few(blobs.cameras[:3], grid)
    maps = compression(samples(views), 6, Training(steps=20), Quiet())
    first = lift(blobs.scene, Compressed(views, maps), Quiet(), scaling="mean").features.astype(float)
    last = lift(blobs.scene, views, Quiet(), scaling="mean").features.astype(float) @ maps.encoder.T
    assert np.abs(first - last).max() < 5e-3


@pytest.mark.parametrize("dimensions", [0, -1, 40, 90])
def test_senseless_numbers(blobs, dimensions: int) -> None:
    with pytest.raises(InputError, match="cannot be compressed"):
        compression(samples(Few(blobs.cameras, grid=True)), dimensions, Training(steps=1), Quiet())
