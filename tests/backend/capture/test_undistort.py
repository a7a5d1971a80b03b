"""Pictures are resampled where the lens says, sharply."""

from __future__ import annotations

import numpy as np

from backend.capture.pictures import resized
from backend.capture.undistort import undistorted
from backend.scene.lenses import Lens


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), 128 + 60 * np.sin((x + y) / 11)], axis=-1)


def grid(width: int, height: int, mapping) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, width, 33), np.linspace(0, height, 25))
    return mapping(np.stack([x, y], axis=-1)).astype(np.float32)


def centres(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))  # type: ignore[return-value]


def test_an_identical_lens_changes_nothing() -> None:
    photo = np.rint(waves(*centres(320, 240))).astype(np.uint8)
    lens = Lens(320, 240, 320, 240, grid(320, 240, lambda p: p), grid(320, 240, lambda p: p))
    assert np.abs(undistorted(photo, lens, (320, 240)).astype(int) - photo).max() <= 1


def test_content_lands_where_the_lens_says() -> None:
    def to_photo(points: np.ndarray) -> np.ndarray:
        return points * 0.9 + (21.3, 13.7)

    photo = np.rint(waves(*centres(400, 300))).astype(np.uint8)
    lens = Lens(400, 300, 380, 290, grid(400, 300, lambda p: (p - (21.3, 13.7)) / 0.9), grid(380, 290, to_photo))
    at = to_photo(np.stack(centres(380, 290), axis=-1))
    expected = waves(at[..., 0], at[..., 1])
    assert np.abs(undistorted(photo, lens, (400, 300)) - expected)[5:-5, 5:-5].max() < 2


def test_large_photos_are_averaged_down_first() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    lens = Lens(800, 600, 200, 150, grid(800, 600, lambda p: p / 4), grid(200, 150, lambda p: p * 4))
    picture = undistorted(noise, lens, (200, 150))
    assert np.abs(picture.astype(int) - resized(noise, 200, 150)).max() <= 1
