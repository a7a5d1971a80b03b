"""Any lens becomes a pinhole picture without blank pixels, and grids that agree with the lens."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.capture.projection import LensError, Pinhole, pinhole
from backend.scene.lenses import Lens


@dataclass
class RadialCamera:
    """x_d = x (1 + k1 r² + k2 r⁴), written down anew from the textbook."""

    width: int
    height: int
    focal_length_x: float
    focal_length_y: float
    principal_point_x: float
    principal_point_y: float
    k1: float = 0.0
    k2: float = 0.0

    def img_from_cam(self, cam_points: np.ndarray) -> np.ndarray:
        rays = cam_points[:, :2] / cam_points[:, 2:]
        squares = np.square(rays).sum(axis=1, keepdims=True)
        bent = rays * (1 + self.k1 * squares + self.k2 * squares**2)
        return bent * (self.focal_length_x, self.focal_length_y) + (self.principal_point_x, self.principal_point_y)

    def cam_from_img(self, image_points: np.ndarray) -> np.ndarray:
        bent = (image_points - (self.principal_point_x, self.principal_point_y)) / (
            self.focal_length_x,
            self.focal_length_y,
        )
        goal = np.linalg.norm(bent, axis=1)
        radius = goal.copy()
        for _ in range(60):
            slope = 1 + 3 * self.k1 * radius**2 + 5 * self.k2 * radius**4
            step = (radius * (1 + self.k1 * radius**2 + self.k2 * radius**4) - goal) / np.where(
                np.abs(slope) < 1e-3, 1e-3, slope
            )
            radius = np.clip(radius - step, 0, 10)
        return bent * np.divide(radius, goal, out=np.ones_like(goal), where=goal > 0)[:, None]


def lens_of(view: Pinhole, photo_size: tuple[int, int]) -> Lens:
    assert view.picture_from_photo is not None
    assert view.photo_from_picture is not None
    return Lens(*photo_size, view.width, view.height, view.picture_from_photo, view.photo_from_picture)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(300, 2000), st.integers(300, 2000)),
    focal=st.floats(0.7, 3.0),
    k1=st.floats(-0.18, 0.25),
    k2=st.floats(-0.05, 0.05),
    centre=st.tuples(st.floats(0.45, 0.55), st.floats(0.45, 0.55)),
    seed=st.integers(0, 1000),
)
def test_grids_follow_the_lens_within_a_twentieth_of_a_pixel(
    size: tuple[int, int], focal: float, k1: float, k2: float, centre: tuple[float, float], seed: int
) -> None:
    f = focal * max(size)
    camera = RadialCamera(*size, f, f * 1.01, centre[0] * size[0], centre[1] * size[1], k1, k2)
    view = pinhole(camera, photo_size=size, working_size=size)
    if view.photo_from_picture is None:
        return
    lens = lens_of(view, size)
    picture = np.random.default_rng(seed).random((400, 2)) * (view.width, view.height)
    rays = np.column_stack([(picture - (view.cx, view.cy)) / (view.fx, view.fy), np.ones(400)])
    photo = camera.img_from_cam(rays)
    assert (photo >= -0.02).all()  # no blank pixels
    assert (photo <= np.array(size) + 0.02).all()
    assert np.abs(lens.to_photo(picture) - photo).max() < 0.05
    assert np.abs(lens.to_picture(photo) - picture).max() < 0.05


def test_the_picture_is_as_large_as_can_be() -> None:
    camera = RadialCamera(800, 600, 700.0, 700.0, 400.0, 300.0, k1=-0.1)
    view = pinhole(camera, photo_size=(800, 600), working_size=(800, 600))
    assert (view.fx, view.fy) == (700.0, 700.0)
    middle_left = camera.img_from_cam(np.array([[-view.cx / view.fx, 0, 1]]))[0]
    middle_top = camera.img_from_cam(np.array([[0, -view.cy / view.fy, 1]]))[0]
    assert 0 <= middle_left[0] < 1.5
    assert 0 <= middle_top[1] < 1.5


def test_a_pinhole_camera_needs_no_lens_unless_the_photo_is_shrunk() -> None:
    camera = RadialCamera(800, 600, 700.0, 710.0, 390.0, 310.0)
    same = pinhole(camera, photo_size=(800, 600), working_size=(800, 600))
    assert same.picture_from_photo is None
    assert (same.fx, same.fy, same.cx, same.cy) == (700.0, 710.0, 390.0, 310.0)
    shrunk = pinhole(camera, photo_size=(1600, 1200), working_size=(400, 300))
    assert (shrunk.fx, shrunk.fy, shrunk.cx, shrunk.cy, shrunk.width) == (350.0, 355.0, 195.0, 155.0, 400)
    points = np.array([[0.0, 0.0], [800, 300], [1600, 1200]])
    assert np.allclose(lens_of(shrunk, (1600, 1200)).to_picture(points), points / 4, atol=1e-3)


def test_lenses_that_show_nothing_straight_are_refused() -> None:
    aside = RadialCamera(800, 600, 700.0, 700.0, -50.0, 300.0, k1=-0.1)
    with pytest.raises(LensError, match="optical axis"):
        pinhole(aside, photo_size=(800, 600), working_size=(800, 600))
    without_focal = RadialCamera(800, 600, 0.0, 0.0, 400.0, 300.0)
    with pytest.raises(LensError, match="focal length"):
        pinhole(without_focal, photo_size=(800, 600), working_size=(800, 600))


# pycolmap must not share a process with Pillow: every model it knows is checked in one of its own.
_EVERY_MODEL = """
import numpy as np, pycolmap
from backend.capture.projection import pinhole
from backend.scene.lenses import Lens

extra = {
    "SIMPLE_RADIAL": [-0.08], "RADIAL": [-0.1, 0.02], "OPENCV": [-0.12, 0.03, 0.001, -0.002],
    "FULL_OPENCV": [-0.1, 0.02, 0.001, -0.001, 0.001, 0.01, 0.002, 0.001], "SIMPLE_RADIAL_FISHEYE": [0.02],
    "RADIAL_FISHEYE": [0.02, -0.005], "OPENCV_FISHEYE": [0.01, 0.02, -0.01, 0.001], "FOV": [0.7],
    "THIN_PRISM_FISHEYE": [0.01, 0.01, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001],
    "RAD_TAN_THIN_PRISM_FISHEYE": [0.01] + [0.0005] * 11, "SIMPLE_DIVISION": [-0.05], "DIVISION": [-0.05],
    "SIMPLE_FISHEYE": [], "FISHEYE": [], "EUCM": [0.6, 1.1], "SIMPLE_PINHOLE": [], "PINHOLE": [],
}
width, height = 1000, 700
for name in pycolmap.CameraModelId.__members__:
    if name in ("INVALID", "EQUIRECTANGULAR"):
        continue
    camera = pycolmap.Camera.create_from_model_name(1, name, 620.0, width, height)
    params = list(camera.params)
    if extra[name]:
        params[-len(extra[name]):] = extra[name]
    camera.params = params
    view = pinhole(camera, photo_size=(width, height), working_size=(width, height))
    blank = error = 0.0
    if view.photo_from_picture is not None:
        lens = Lens(width, height, view.width, view.height, view.picture_from_photo, view.photo_from_picture)
        picture = np.random.default_rng(0).random((2000, 2)) * (view.width, view.height)
        rays = np.column_stack([(picture - (view.cx, view.cy)) / (view.fx, view.fy), np.ones(2000)])
        photo = camera.img_from_cam(rays)
        blank = max((-photo).max(), (photo - (width, height)).max())
        error = max(np.abs(lens.to_photo(picture) - photo).max(), np.abs(lens.to_picture(photo) - picture).max())
    print(name, view.photo_from_picture is None, view.width, view.height, f"{blank:.3f} {error:.4f}")
"""


def test_every_perspective_model_of_colmap_is_undone() -> None:
    ran = subprocess.run([sys.executable, "-c", _EVERY_MODEL], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert len(rows) >= 17
    for name, plain, width, height, blank, error in rows:
        assert (plain == "True") == (name in ("SIMPLE_PINHOLE", "PINHOLE")), name
        assert int(width) > 700, name
        assert int(height) > 500, name
        assert float(blank) < 0.05, name
        assert float(error) < 0.05, name
