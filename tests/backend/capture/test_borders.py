"""Frames around photos are found to the pixel; skies, walls and photos without one are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.capture.borders import frame_mask, framed


def scene(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    base = 128 + 60 * np.sin(x + seed)[..., None] * np.cos(y)[..., None] * np.array([1, 0.8, 0.6])
    return np.clip(base + random.normal(0, 6, (height, width, 3)), 30, 220).astype(np.uint8)


@given(
    widths=st.tuples(*[st.sampled_from([0, 4, 11, 25])] * 4),
    color=st.sampled_from([0, 255]),
    seed=st.integers(0, 5),
)
def test_frames_of_any_widths_are_found(widths: tuple[int, int, int, int], color: int, seed: int) -> None:
    top, bottom, left, right = widths
    pixels = scene(seed)
    pixels[:top], pixels[:, :left] = color, color
    pixels[120 - bottom :], pixels[:, 160 - right :] = color, color
    for found, true in zip(framed(pixels), widths, strict=True):
        assert true <= found <= (true + 1 if true else 0)  # the line that resampling mixes counts to the frame


def test_a_mask_covers_the_frame_alone() -> None:
    pixels = scene()
    assert frame_mask(pixels) is None
    pixels[:10] = 255
    mask = frame_mask(pixels)
    assert mask[:10].all()
    assert mask.sum() <= 11 * 160


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_sky_and_plain_walls_are_no_frame(noise: float) -> None:
    random = np.random.default_rng(1)
    pixels = scene().astype(float)
    shade = np.linspace(235, 150, 50)[:, None, None] * np.array([0.8, 0.9, 1.0])
    pixels[:50] = shade + noise * random.normal(0, 1, (50, 160, 3))
    assert framed(pixels.astype(np.uint8)) == (0, 0, 0, 0)
    roof = scene()
    for column in range(160):  # an even sky over roofs of different heights
        roof[: 25 + abs(column - 80) // 4, column] = (120, 170, 230)
    assert framed(roof)[0] == 0
    assert framed(np.full((90, 120, 3), 128, np.uint8)) == (0, 0, 0, 0)
