"""The scene's frame: cameras around the origin, nine in ten within radius 1, up along z."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backend.capture.world import extent, scene_from_capture, upward
from backend.scene.cameras import Camera, looking_at
from backend.scene.transforms import Similarity, matrices_from_quats


def ring(count: int = 12) -> list[Camera]:
    angles = np.linspace(0, 2, count)
    return [
        looking_at(
            np.array([3 * np.sin(a), -3 * np.cos(a), 0.3 * (row % 2)]),
            np.zeros(3),
            np.array([0.0, 0.0, 1.0]),
            focal=500.0,
            width=640,
            height=480,
        )
        for row, a in enumerate(angles)
    ]


@given(
    quat=st.tuples(*[st.floats(-1, 1) for _ in range(4)]).filter(lambda q: np.linalg.norm(q) > 0.1),
    scale=st.floats(0.01, 100),
    shift=st.tuples(*[st.floats(-50, 50) for _ in range(3)]),
)
def test_any_frame_becomes_the_same_scene(quat: tuple, scale: float, shift: tuple) -> None:
    moved = Similarity(scale, matrices_from_quats(np.array([quat]))[0], np.array(shift))
    cameras = [moved.camera(camera) for camera in ring()]
    world = scene_from_capture(cameras)
    placed = [world.camera(camera) for camera in cameras]
    centres = np.array([camera.centre for camera in placed])
    assert np.allclose(centres.mean(axis=0), 0, atol=1e-7)
    assert np.isclose(np.quantile(np.linalg.norm(centres, axis=1), 0.9), 1)
    assert np.allclose(upward(placed), [0, 0, 1], atol=1e-7)
    assert np.isclose(np.linalg.det(world.rotation), 1)
    first = scene_from_capture(ring())
    reference = np.array([first.camera(camera).centre for camera in ring()])
    assert np.allclose(centres, reference, atol=1e-6)
    assert np.isclose(extent(placed), 1.1 * np.linalg.norm(centres, axis=1).max())


def test_photos_from_one_spot_and_cameras_rolled_every_way_have_a_frame() -> None:
    camera = ring(1)[0]
    upside_down = Camera(np.diag([-1.0, -1, 1, 1]) @ camera.cam_from_world, 500, 500, 320, 240, 640, 480)
    world = scene_from_capture([camera, upside_down])
    assert world.scale == 1
    assert np.allclose(world.rotation, np.eye(3))
    down = looking_at(np.array([0.0, 0, 5]), np.zeros(3), np.array([0.0, 1, 0]), focal=1.0, width=2, height=2)
    assert np.isclose(np.linalg.det(scene_from_capture([down]).rotation), 1)


def looking(azimuth: float, pitch: float, roll: float = 0.0) -> Camera:
    """From the origin; angles in radians, positive pitch looks up."""
    target = np.array([np.sin(azimuth) * np.cos(pitch), np.cos(azimuth) * np.cos(pitch), np.sin(pitch)])
    level = looking_at(np.zeros(3), target, np.array([0.0, 0, 1]), focal=500.0, width=640, height=480)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    return Camera(turn @ level.cam_from_world, 500, 500, 320, 240, 640, 480)


def degrees_from_up(cameras: list[Camera]) -> float:
    return float(np.degrees(np.arccos(np.clip(upward(cameras)[2], -1, 1))))


def test_photos_that_all_look_up_do_not_tilt_the_scene() -> None:
    random = np.random.default_rng(0)
    for spread, error in ((2.5, 1.5), (0.6, 4.0)):
        cameras = [looking(a, 0.4, random.normal(0, 0.03)) for a in np.linspace(-spread / 2, spread / 2, 12)]
        assert degrees_from_up(cameras) < error


def test_photos_turned_on_purpose_do_not_tilt_the_scene() -> None:
    cameras = [looking(a, 0.3) for a in np.linspace(-1, 1, 9)] + [looking(0.2, 0.3, np.pi / 2)]
    assert degrees_from_up(cameras) < 2


def test_photos_in_one_direction_fall_back_on_their_own_up() -> None:
    assert np.isclose(degrees_from_up([looking(0.5, 0.3)] * 5), np.degrees(0.3), atol=1e-6)
