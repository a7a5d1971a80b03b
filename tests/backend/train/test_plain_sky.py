"""Plain sky is found in drawn scenes; walls and dark rooms are not sky, and it ends where the house begins."""

from __future__ import annotations

import numpy as np
import pytest

from backend.scene.cameras import Camera, looking_at
from backend.train.plain_sky import AROUND_POINT, LEAK, plain_sky

WIDTH, HEIGHT, HORIZON, ROOF = 240, 160, 100, 60
NONE = np.zeros((0, 2))


def camera(pitch: float = 0.0) -> Camera:
    target = np.array([0.0, np.cos(pitch), np.sin(pitch)])
    return looking_at(np.zeros(3), target, np.array([0.0, 0.0, 1.0]), focal=220, width=WIDTH, height=HEIGHT)


def scene(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A graded sky over a house with windows, and the pixels that show sky."""
    random = np.random.default_rng(0)
    colors = np.empty((HEIGHT, WIDTH, 3), np.float32)
    colors[:] = np.linspace(0.55, 0.85, HEIGHT)[:, None, None] * np.array([0.8, 0.9, 1.0], np.float32)
    sky = np.ones((HEIGHT, WIDTH), bool)
    sky[HORIZON:] = False
    sky[ROOF:, 60:180] = False
    wall = random.uniform(0.2, 0.7, (HEIGHT, WIDTH, 1)).astype(np.float32)
    colors = np.where(sky[..., None], colors, wall)
    return np.clip(colors + random.normal(0, noise, colors.shape), 0, 1).astype(np.float32), sky


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_sky_is_found_up_to_its_rim(noise: float) -> None:
    colors, sky = scene(noise)
    found = plain_sky(colors, camera(), NONE)
    assert not (found & ~sky).any()
    assert found.sum() > 0.85 * sky.sum()


def test_a_photo_that_looks_down_shows_none() -> None:
    colors, _ = scene()
    assert not plain_sky(colors, camera(pitch=-1.0), NONE).any()


def test_a_smooth_wall_with_features_is_no_sky() -> None:
    colors = np.full((HEIGHT, WIDTH, 3), 0.6, np.float32)
    x, y = np.meshgrid(np.arange(5, WIDTH, AROUND_POINT), np.arange(5, HEIGHT, AROUND_POINT))
    assert plain_sky(colors, camera(), NONE).any()
    assert not plain_sky(colors, camera(), np.stack([x.ravel(), y.ravel()], -1).astype(float)).any()


def test_the_sky_does_not_leak_through_a_narrow_way() -> None:
    colors, sky = scene()
    colors[ROOF : ROOF + 40, 100 : 100 + 2 * LEAK - 1] = 0.6  # a smooth gap in the house
    colors[ROOF + 30 : ROOF + 70, 80:160] = 0.6  # a smooth room behind it
    assert not (plain_sky(colors, camera(), NONE) & ~sky).any()


def test_points_beyond_the_picture_do_no_harm() -> None:
    colors, _ = scene()
    beyond = np.array([[-5.0, 3.0], [1e9, 4.0], [3.0, -1e9], [WIDTH + 0.5, 2.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(plain_sky(colors, camera(), beyond), plain_sky(colors, camera(), NONE))


def test_a_dark_room_has_no_sky_but_a_deep_blue_one_is_sky() -> None:
    colors, sky = scene()
    bright = np.where(sky[..., None], colors, 0.5 + 0.5 * colors)
    room = np.where(sky[..., None], np.float32([0.12, 0.1, 0.08]), bright).astype(np.float32)
    assert not plain_sky(room, camera(), NONE).any()
    blue = np.where(sky[..., None], np.float32([0.1, 0.2, 0.4]), bright).astype(np.float32)
    assert plain_sky(blue, camera(), NONE).sum() > 0.85 * sky.sum()
