"""A rendered selection against masks of the photo as taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.scene.lenses import Lens
from backend.segment.scoring import covering, sampled, score


def test_the_true_rows_score_high_and_the_wrong_ones_zero(blobs) -> None:
    photo, mask = blobs.photo(), blobs.mask(blobs.red)
    right = score(blobs.scene, np.flatnonzero(blobs.labels == blobs.red), blobs.workspace, photo, mask)
    assert right.iou is not None
    assert right.iou > 0.93
    assert right.spill is not None
    assert right.spill < 0.05
    wrong = score(blobs.scene, np.flatnonzero(blobs.labels == blobs.blue), blobs.workspace, photo, mask)
    assert wrong.iou == 0
    empty = score(blobs.scene, np.flatnonzero(blobs.labels == blobs.red), blobs.workspace, photo, mask & False)
    assert empty.iou is None


def test_a_cropped_picture_still_covers_the_photo(blobs) -> None:
    """The lens maps the photo's rim outside its picture: the view grows, what was seen stays in place."""
    photo = blobs.photo()
    camera = photo.camera
    rows, columns = np.mgrid[0:2, 0:2].astype(np.float32)
    unit = np.stack([columns, rows], -1)
    lens = Lens(
        photo.width,
        photo.height,
        camera.width,
        camera.height,
        unit * (camera.width + 20, camera.height + 10) - (10, 5),
        (unit * (camera.width, camera.height) + (10, 5)) * (photo.width / (camera.width + 20)),
    )
    blobs.workspace.write_lenses({photo.name: lens})
    view, positions = covering(blobs.workspace, photo)
    assert positions.shape == (photo.height, photo.width, 2)
    assert positions.min() > 0
    assert (positions.max((0, 1)) < (view.width, view.height)).all()
    ray = view.rays(positions[40, 50])
    expected = camera.rays(lens.to_picture(np.array([50.5, 40.5])))
    assert ray == pytest.approx(expected, abs=1e-3)


def test_sampling_is_exact_at_pixel_centres_and_zero_outside(blobs) -> None:
    camera = replace(blobs.photo().camera, width=4, height=3)
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(sampled(picture, camera, camera.pixel_centres()), picture)
    assert sampled(picture, camera, np.array([[-1.0, 1.0], [np.nan, 0.0], [2.0, 3.5]])).tolist() == [0, 0, 0]
