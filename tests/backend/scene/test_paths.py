"""Paths of cameras: where they lead, what they look at, how near they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.scene import Camera
from backend.scene.cameras import looking_at
from backend.scene.paths import UP, interpolated, looked_at, orbit

HEAD = np.array([0.3, -0.2, 9.0])


def around(angles: list[float], *, away: float = 12.0, width: int = 300, height: int = 400) -> list[Camera]:
    """Photos from the ground of the head of something tall."""
    return [
        looking_at(
            np.array([away * np.cos(angle), away * np.sin(angle), 1.5]), HEAD, UP, focal=500, width=width, height=height
        )
        for angle in angles
    ]


@pytest.fixture
def tall() -> np.ndarray:
    """Points: a head on a post, and as many again all over the ground, far out, too."""
    random = np.random.default_rng(0)
    ground = random.uniform(-60, 60, (30_000, 3)) * (1, 1, 0)
    post = np.array([0.3, -0.2, 0]) + random.uniform((-0.3, -0.3, 0), (0.3, 0.3, 8), (3_000, 3))
    return np.concatenate([ground, post, HEAD + random.normal(0, 0.4, (2_000, 3))])


def test_what_everybody_looks_at_is_not_the_middle_of_the_scene(tall) -> None:
    cameras = around([0, 1, 2, 3, 4, 5])
    points = looked_at(cameras, tall)
    assert np.linalg.norm(np.median(points, axis=0) - HEAD) < 1
    assert np.median(tall, axis=0)[2] == 0
    path = orbit(cameras, points, 12)
    pixels = np.array([camera.project(HEAD[None])[0][0] for camera in path])
    assert (np.abs(pixels - (150, 200)) < 60).all()


def test_one_photo_that_looks_elsewhere_changes_little(tall) -> None:
    cameras = around([0, 1, 2, 3, 4, 5])
    aside = cameras[0].centre + np.array([30, 0, -1.5])
    astray = looking_at(cameras[0].centre, aside, UP, focal=500, width=300, height=400)
    both = [np.median(looked_at(those, tall), axis=0) for those in (cameras, [*cameras, astray])]
    assert np.linalg.norm(both[1] - both[0]) < 0.5


def test_points_that_no_photo_shows_are_all_that_there_is() -> None:
    behind = np.array([[40.0, 0, 0], [41, 0, 0]])
    camera = looking_at(np.array([20.0, 0, 0]), np.zeros(3), UP, focal=500, width=300, height=400)
    assert np.array_equal(looked_at([camera], behind), behind)


def test_an_orbit_is_as_far_as_high_and_as_near_as_most_photos(tall) -> None:
    """Whatever lens and side the first photo has."""
    cameras = around([0, 1, 2, 3, 4, 5])
    tele = replace(around([0.5], away=150)[0], fx=8000, fy=8000, width=400, height=300, cx=200, cy=150)
    path = orbit([tele, *cameras], HEAD[None], 8)
    for camera in path:
        assert (camera.width, camera.height) == (400, 300)
        assert camera.centre[2] == pytest.approx(1.5, abs=0.1)
        assert np.linalg.norm(camera.centre - HEAD) == pytest.approx(np.linalg.norm(cameras[1].centre - HEAD), rel=0.1)
        assert camera.fx == pytest.approx(500, rel=0.1)


def test_photos_of_one_side_are_not_left() -> None:
    path = orbit(around([-0.3, -0.2, 0, 0.2, 0.3]), HEAD[None], 40)
    angles = [np.arctan2(*(camera.centre - HEAD)[1::-1]) for camera in path]
    assert 0.1 < max(angles) < 0.4
    assert -0.4 < min(angles) < -0.1


def test_photos_from_straight_above_have_an_orbit() -> None:
    camera = looking_at(np.array([0, 0, 9.0]), np.zeros(3), np.array([0, 1.0, 0]), focal=500, width=300, height=400)
    for each in orbit([camera], np.zeros((1, 3)), 4):
        assert np.isfinite(each.cam_from_world).all()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.integers(1, 20))
def test_a_way_between_photos_stays_between_them(angles: list[float], frames: int) -> None:
    cameras = around(angles)
    path = interpolated(cameras, frames)
    assert len(path) == frames
    centres = np.array([camera.centre for camera in cameras])
    for camera in path:
        assert (camera.centre >= centres.min(0) - 1e-6).all()
        assert (camera.centre <= centres.max(0) + 1e-6).all()
        assert camera.cam_from_world[:3, :3] @ camera.cam_from_world[:3, :3].T == pytest.approx(np.eye(3), abs=1e-6)
