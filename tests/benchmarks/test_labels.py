"""Masks into label pictures."""

from __future__ import annotations

import numpy as np

from benchmarks.labels import painted


def test_the_objects_of_one_photo_get_their_numbers() -> None:
    left, right = np.zeros((2, 4, 6), bool)
    left[:, :3] = True
    right[:, 2:4] = True
    masks = {"a": {"x": left}, "b": {"y": left}, "c": {"x": right, "y": right}}
    assert painted(masks, "x").tolist() == [[1, 1, 3, 3, 0, 0]] * 4
    assert painted(masks, "y").tolist() == [[2, 2, 3, 3, 0, 0]] * 4
