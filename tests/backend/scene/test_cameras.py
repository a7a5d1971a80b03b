"""Pinhole cameras: projection and rays undo each other, and sizes change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.scene.cameras import Camera, looking_at
from backend.scene.transforms import matrices_from_quats

part = st.floats(-1, 1)
quats = st.tuples(part, part, part, part).filter(lambda quat: np.linalg.norm(quat) > 0.05)
points = st.tuples(*[st.floats(-20, 20)] * 3).map(np.array)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = matrices_from_quats(np.array([draw(quats)]))[0]
    cam_from_world[:3, 3] = draw(points)
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    lengths = [draw(st.floats(0.3, 3)) * max(width, height) for _ in range(2)]
    middle = [draw(st.floats(-0.5, 1.5)) * size for size in (width, height)]
    return Camera(cam_from_world, *lengths, *middle, width, height)


@given(camera=cameras(), x=st.floats(-0.5, 1.5), y=st.floats(-0.5, 1.5), distance=st.floats(0.1, 100))
def test_rays_and_projection_undo_each_other(camera: Camera, x: float, y: float, distance: float) -> None:
    pixel = np.array([[x * camera.width, y * camera.height]])
    rays = camera.rays(pixel)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    found, depths = camera.project(camera.centre + distance * rays)
    np.testing.assert_allclose(found, pixel, atol=1e-5 * camera.width * camera.height)
    assert 0 < depths[0] <= distance * (1 + 1e-9)


@given(camera=cameras(), point=points)
def test_projection_is_the_textbook_one(camera: Camera, point: np.ndarray) -> None:
    homogeneous = camera.intrinsics @ (camera.cam_from_world @ np.append(point, 1))[:3]
    assume(abs(homogeneous[2]) > 1e-3)
    pixels, depths = camera.project(point[None])
    assert depths[0] == pytest.approx(homogeneous[2])
    if homogeneous[2] > 0:
        np.testing.assert_allclose(pixels[0], homogeneous[:2] / homogeneous[2], rtol=1e-6, atol=1e-4)
    else:
        assert np.isnan(pixels).all()


def test_points_on_and_behind_the_camera_plane_have_no_pixel() -> None:
    camera = Camera(np.eye(4), 10, 10, 5, 5, 10, 10)
    pixels, depths = camera.project(np.array([[0, 0, 1.0], [1, 1, 0], [0, 0, 0], [0, 0, -1], [np.nan, 0, np.nan]]))
    assert pixels[0].tolist() == [5, 5]
    assert np.isnan(pixels[1:]).all()
    np.testing.assert_array_equal(depths, [1, 0, 0, -1, np.nan])
    assert camera.project(np.zeros((0, 3)))[0].shape == (0, 2)


def test_depths_too_small_to_divide_by_make_no_noise() -> None:
    camera = Camera(np.eye(4), 10, 10, 5, 5, 10, 10)
    assert camera.project(np.array([[1e10, 0, 1e-320]]))[0].tolist() == [[np.inf, 5]]


@given(camera=cameras())
def test_centre_and_forward_agree_with_the_pose(camera: Camera) -> None:
    np.testing.assert_allclose(camera.cam_from_world @ [*camera.centre, 1], [0, 0, 0, 1], atol=1e-9)
    principal = camera.rays(np.array([camera.cx, camera.cy]))
    np.testing.assert_allclose(principal, camera.forward, atol=1e-9)


@given(camera=cameras(), width=st.integers(1, 5000), height=st.integers(1, 5000), x=st.floats(0, 1), y=st.floats(0, 1))
def test_a_resized_camera_sees_the_same_directions(camera: Camera, width: int, height: int, x: float, y: float) -> None:
    small = camera.resized(width, height)
    assert (small.width, small.height) == (width, height)
    share = np.array([x, y])
    before = camera.rays(share * (camera.width, camera.height))
    np.testing.assert_allclose(small.rays(share * (width, height)), before, atol=1e-9)


@given(camera=cameras(), long_side=st.integers(1, 5000))
def test_fitting_never_enlarges_and_keeps_the_long_side(camera: Camera, long_side: int) -> None:
    fitted = camera.fitted(long_side)
    assert max(fitted.width, fitted.height) == min(long_side, max(camera.width, camera.height))
    assert min(fitted.width, fitted.height) >= 1
    ratio = fitted.width / fitted.height / (camera.width / camera.height)
    slack = 1 / min(fitted.width, fitted.height)  # half a pixel of rounding on either side
    assert 1 / (1 + slack) <= ratio <= 1 + slack or min(fitted.width, fitted.height) == 1


def test_pixel_centres() -> None:
    centres = Camera(np.eye(4), 1, 1, 1, 1, 3, 2).pixel_centres()
    assert centres.shape == (2, 3, 2)
    assert centres[0, 0].tolist() == [0.5, 0.5]
    assert centres[1, 2].tolist() == [2.5, 1.5]


@given(centre=points, target=points)
def test_looking_at_has_the_target_in_the_middle_and_up_on_top(centre: np.ndarray, target: np.ndarray) -> None:
    up = np.array([0.0, 0.0, 1.0])
    sideways = np.linalg.norm(np.cross(target - centre, up))
    assume(sideways > 1e-2)
    camera = looking_at(centre, target, up, focal=100, width=80, height=60)
    rotation = camera.cam_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(camera.centre, centre, atol=1e-8)
    np.testing.assert_allclose(camera.project(target[None])[0], [[40, 30]], atol=1e-6)
    above = target + 1e-3 * sideways * up
    assert camera.project(above[None])[0][0, 1] < 30


def test_looking_at_with_its_own_principal_point() -> None:
    camera = looking_at(
        np.zeros(3), np.array([0, 5.0, 0]), np.array([0, 0, 1.0]), focal=9, width=8, height=6, cx=1, cy=2
    )
    np.testing.assert_allclose(camera.project(np.array([[0, 2.0, 0]]))[0], [[1, 2]])
