"""Tile lists hold every splat that reaches a pixel, in depth order, and know the way back."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render.tiles import SPLAT_COLUMNS, TILE, Binned, binned


def splats_of(number: int, width: int, height: int, seed: int) -> np.ndarray:
    """Ellipses of all shapes, from round to needles, in and around a picture: (S, SPLAT_COLUMNS)."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, math.pi, number)
    long = np.exp(random.uniform(np.log(0.3), np.log(60), number)) + 0.55
    short = np.maximum(0.55, long * random.choice([1.0, 0.3, 0.01], number))
    axes = np.stack([np.cos(angle), np.sin(angle)], -1)
    across = np.stack([-axes[:, 1], axes[:, 0]], -1)
    covariance = (long**2)[:, None, None] * axes[:, :, None] * axes[:, None, :]
    covariance = covariance + (short**2)[:, None, None] * across[:, :, None] * across[:, None, :]
    conic = np.linalg.inv(covariance)
    opacity = random.uniform(1 / 255, 1, number)
    extent = np.minimum(3.33, np.sqrt(2 * np.log(255 * opacity)))
    table = np.empty((number, SPLAT_COLUMNS))
    table[:, 0] = random.uniform(-20, width + 20, number)
    table[:, 1] = random.uniform(-20, height + 20, number)
    table[:, 2], table[:, 3], table[:, 4] = conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]
    table[:, 5] = opacity
    table[:, 6] = np.ceil(extent * np.sqrt(covariance[:, 0, 0]))
    table[:, 7] = np.ceil(extent * np.sqrt(covariance[:, 1, 1]))
    table[:, 8] = np.minimum(np.log(255 * opacity), extent**2 / 2)
    return table.astype(np.float32)


def touched(splats: np.ndarray, width: int, height: int) -> np.ndarray:
    """(tiles, S) bool by trying every pixel: sigma clearly below LIMIT somewhere in the tile."""
    y, x = np.mgrid[:height, :width]
    tall, wide = -(-height // TILE), -(-width // TILE)
    reached = np.zeros((tall * wide, len(splats)), bool)
    for s, (u, v, a, b, c, _, rx, ry, limit) in enumerate(splats.astype(float)):
        dx, dy = x + 0.5 - u, y + 0.5 - v
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        inside = (sigma <= limit * (1 - 1e-4)) & (abs(dx) <= rx) & (abs(dy) <= ry)
        padded = np.zeros((tall * TILE, wide * TILE), bool)
        padded[:height, :width] = inside
        reached[:, s] = padded.reshape(tall, TILE, wide, TILE).any((1, 3)).reshape(-1)
    return reached


def held(bins: Binned) -> list[list[int]]:
    return [
        bins.slot_splat[first:last].tolist()
        for first, last in zip(bins.tile_start[:-1], bins.tile_start[1:], strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 80),
    width=st.integers(1, 90),
    height=st.integers(1, 70),
    seed=st.integers(0, 10_000),
)
def test_lists_miss_nothing_and_are_in_order(number: int, width: int, height: int, seed: int) -> None:
    splats = splats_of(number, width, height, seed)
    bins = binned(splats, width, height)
    needed = touched(splats, width, height)
    for wanted, own in zip(needed, held(bins), strict=True):
        assert own == sorted(set(own))
        assert set(np.flatnonzero(wanted)) <= set(own)


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 200), seed=st.integers(0, 10_000))
def test_the_way_back(number: int, seed: int) -> None:
    bins = binned(splats_of(number, 70, 50, seed), 70, 50)
    assert sorted(bins.splat_slot.tolist()) == list(range(len(bins.slot_splat)))
    for s in range(number):
        assert (bins.slot_splat[bins.splat_slot[bins.splat_start[s] : bins.splat_start[s + 1]]] == s).all()
    lengths = np.diff(bins.tile_start)
    assert sorted(bins.order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[bins.order]) <= 0).all()


def test_slanted_needles_touch_few_tiles() -> None:
    """The box of a diagonal needle covers 100 tiles; the needle itself crosses about 20."""
    covariance = 40.0**2 * np.full((2, 2), 0.5) + np.eye(2)
    conic = np.linalg.inv(covariance)
    radius = math.ceil(3.3 * math.sqrt(covariance[0, 0]))
    splat = [80, 80, conic[0, 0], conic[0, 1], conic[1, 1], 0.9, radius, radius, math.log(255 * 0.9)]
    bins = binned(np.array([splat], np.float32), 160, 160)
    assert 10 <= len(bins.slot_splat) <= 40
