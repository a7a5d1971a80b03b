"""Photos as JSON rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.scene.cameras import Camera
from backend.scene.photos import Photo

numbers = st.floats(-1e6, 1e6)
cameras = st.builds(
    lambda cells, fx, fy, cx, cy, width, height: Camera(np.array(cells).reshape(4, 4), fx, fy, cx, cy, width, height),
    st.lists(numbers, min_size=16, max_size=16),
    *[numbers] * 4,
    *[st.integers(1, 10_000)] * 2,
)
photos = st.builds(
    Photo,
    name=st.text(min_size=1),
    file=st.text(min_size=1),
    width=st.integers(0, 10_000),
    height=st.integers(0, 10_000),
    split=st.sampled_from(["train", "test"]),
    camera=st.none() | cameras,
    excluded=st.sampled_from(["", "too blurred"]),
)


@given(photo=photos)
def test_a_photo_round_trips_through_json(photo: Photo) -> None:
    found = Photo.from_json(json.loads(json.dumps(photo.to_json())))
    for name in ("name", "file", "width", "height", "split", "excluded", "used"):
        assert getattr(found, name) == getattr(photo, name), name
    assert (found.camera is None) == (photo.camera is None)
    if found.camera is not None and photo.camera is not None:
        assert np.array_equal(found.camera.cam_from_world, photo.camera.cam_from_world)
        for name in ("fx", "fy", "cx", "cy", "width", "height"):
            assert getattr(found.camera, name) == getattr(photo.camera, name), name


def test_numpy_scalars_are_json_too() -> None:
    camera = Camera(np.eye(4), *np.float32([1, 2, 3, 4]), *np.int64([5, 6]))
    row = json.loads(json.dumps(Photo("a", "a.jpg", np.int64(7), np.int64(8), camera=camera).to_json()))
    del row["camera"]["cam_from_world"]
    assert list(row["camera"].values()) == [1, 2, 3, 4, 5, 6]
    assert (row["width"], row["height"]) == (7, 8)


@pytest.mark.parametrize(("camera", "excluded", "used"), [(True, "", True), (True, "why", False), (False, "", False)])
def test_a_photo_is_used_with_a_camera_and_no_reason_against_it(camera: bool, excluded: str, used: bool) -> None:
    view = Camera(np.eye(4), 1, 1, 1, 1, 2, 2) if camera else None
    assert Photo("a", "a.jpg", 2, 2, camera=view, excluded=excluded).used == used


def test_where_the_capture_found_a_camera_is_kept_beside_where_a_training_did() -> None:
    found, better = (Camera(np.diag([1.0, 1, 1, 1 + n]), 300, 310, 158, 123, 320, 240) for n in (0, 1))
    photo = Photo("a", "a.jpg", 320, 240, camera=found)
    assert "captured" not in photo.to_json()
    assert photo.as_captured() is photo
    row = json.loads(json.dumps(photo.refined(better).to_json()))
    assert row["camera"]["cam_from_world"][3][3] == 2  # whoever reads rows gets the better one
    read = Photo.from_json(row)
    assert read.camera is not None
    assert read.captured is not None
    assert np.array_equal(read.camera.cam_from_world, better.cam_from_world)
    assert np.array_equal(read.captured.cam_from_world, found.cam_from_world)
    assert (read.captured.fx, read.captured.height) == (300, 240)
    again = read.refined(replace(better, cam_from_world=3 * np.eye(4)))  # a second training's
    assert np.array_equal(again.captured.cam_from_world, found.cam_from_world)
    assert again.as_captured().to_json() == photo.to_json()
