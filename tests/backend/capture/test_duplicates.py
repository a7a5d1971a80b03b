"""Copies of a photo are found whatever was done to them, and photos that only look similar are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from backend.capture.duplicates import copies, thumbnail
from backend.capture.pictures import read_picture


def scenery(seed: int, width: int = 600, height: int = 400, *, brightness: float = 1.0) -> np.ndarray:
    """(H, W, 3) uint8: coarse and fine structure, as photos have."""
    random = np.random.default_rng(seed)
    grey = sum(gaussian_filter(random.normal(0, s, (height, width, 1)), (s, s, 0)) for s in (2, 12, 50))
    tint = gaussian_filter(random.normal(0, 30, (height, width, 3)), (30, 30, 0))
    return np.clip((110 + 70 * grey + 40 * tint) * brightness, 0, 255).astype(np.uint8)


def saved_anew(picture: np.ndarray, scale: float, quality: int) -> np.ndarray:
    image = Image.fromarray(picture)
    file = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))


def found(pictures: list[np.ndarray]) -> dict[int, int]:
    return copies([thumbnail(each) for each in pictures], [each.shape[1::-1] for each in pictures])


def test_the_largest_is_the_original_and_copies_of_copies_name_it() -> None:
    first, other = scenery(0), scenery(1)
    small, hard = saved_anew(first, 0.5, 80), saved_anew(first, 1.0, 50)
    assert found([small, other, first, hard, saved_anew(small, 1.3, 70)]) == {0: 2, 3: 2, 4: 2}
    assert found([first, first]) == {1: 0}


def test_what_changed_between_two_pictures_from_a_tripod_matters() -> None:
    empty = scenery(2)
    somebody = empty.copy()
    somebody[200:330, 300:350] = (190, 40, 60)
    assert found([empty, somebody, saved_anew(somebody, 0.6, 85)]) == {2: 1}


def test_another_light_another_place_and_the_night_are_no_copies() -> None:
    bright = scenery(3)
    lit = np.clip(bright * 1.15, 0, 255).astype(np.uint8)
    moved = np.roll(bright, 12, 1)
    dark = [scenery(seed, brightness=0.03) for seed in (4, 5, 6)]
    assert found([bright, lit, moved, bright[:, ::-1].copy(), *dark]) == {}
    assert found([bright, saved_anew(bright[:, :500], 1.0, 95)]) == {}  # a part of it has a place of its own
    assert found([]) == {}


@pytest.mark.slow
def test_no_real_photo_is_taken_for_a_copy_of_another(test_data: Path) -> None:
    for scene in ("kermit", "sacre_coeur", "statue"):
        files = sorted((test_data / scene / "images").iterdir())
        pictures = list(map(read_picture, files))
        pictures += [saved_anew(picture, 0.5, 80) for picture in pictures[:5]]
        assert found(pictures) == {len(files) + place: place for place in range(5)}
