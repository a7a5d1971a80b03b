"""Photos that share descriptors are paired; others are not."""

from __future__ import annotations

import numpy as np

from backend.capture.pairs import nearest_pairs


def test_photos_of_one_place_are_paired_with_each_other() -> None:
    generator = np.random.default_rng(0)
    places = generator.integers(0, 255, (5, 150, 128))
    descriptors = [
        np.clip(places[row % 5] + generator.normal(0, 6, (150, 128)), 0, 255).astype(np.uint8) for row in range(20)
    ]
    pairs = nearest_pairs(lambda row: descriptors[row], 20, nearest=3, seed=0, words=200)
    assert all(a < b and a % 5 == b % 5 for a, b in pairs)
    assert len(pairs) == 5 * 6
    assert pairs == nearest_pairs(lambda row: descriptors[row], 20, nearest=3, seed=0, words=200)


def test_a_photo_without_features_is_no_obstacle() -> None:
    generator = np.random.default_rng(1)
    descriptors = [generator.integers(0, 255, (count, 128), dtype=np.uint8) for count in (40, 0, 40)]
    pairs = nearest_pairs(lambda row: descriptors[row], 3, nearest=40, seed=0)
    assert pairs == [(0, 1), (0, 2), (1, 2)]
