"""Where a new scene is looked at from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import scenes
from segwild_addon.viewport import framing


def camera(eye, target, scale=1.0):
    """World from Blender's camera axes: x right, y up, looking along -z."""
    back = np.subtract(eye, target)
    back = back / np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right = right / np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = scale * np.stack([right, np.cross(back, right), back], 1)
    matrix[:3, 3] = eye
    return matrix


def test_the_photo_that_sees_most_is_taken_and_its_middle_depth():
    points = np.random.default_rng(0).normal((0, 5, 0), 0.3, (500, 3))
    cameras = np.array([camera((0, 0, 0), (5, 0, 0)), camera((0, 1, 0), (0, 5, 0), scale=3.0)])
    found = framing.best_photo(points, cameras)
    assert np.allclose(found.rotation, camera((0, 1, 0), (0, 5, 0))[:3, :3])
    assert np.isclose(found.distance, 4, atol=0.1)
    assert np.allclose(found.target, (0, 5, 0), atol=0.1)


def test_photos_that_see_nothing_are_not_taken():
    points = np.full((3, 3), -5.0)
    assert framing.best_photo(points, np.array([camera((0, 0, 0), (5, 5, 5))])) is None
    assert framing.best_photo(points, np.zeros((0, 4, 4))) is None


def test_without_photos_all_but_the_outermost_is_in_view():
    points = np.random.default_rng(0).normal(0, 1, (2000, 3))
    points[0] = 1e4
    found = framing.whole(points)
    assert np.isclose(np.linalg.det(found.rotation), 1)
    eye = found.target + found.distance * found.rotation[:, 2]
    assert eye[2] > found.target[2]
    beyond = points - eye
    angles = np.arccos(beyond @ -found.rotation[:, 2] / np.linalg.norm(beyond, axis=1))
    assert np.quantile(angles, 0.95) < np.radians(30)


def test_a_blender_without_windows_has_no_views_to_turn(blender):
    framing.look_at(scenes.new("empty"))
