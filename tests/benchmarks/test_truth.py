"""What the sample knows of its photos, in the pictures of a workspace: seen through the same lens, in any light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import read_picture
from backend.capture.sample import generate
from backend.progress import Quiet
from backend.scene import Photo, Workspace
from backend.segment.shown import draw
from backend.stages import capture
from benchmarks.truth import matched, neutral_scores, without_passers
from segwild_addon.protocol.requests import Capture
from tests.backend.conftest import blob_scene, ring_of_cameras


@pytest.mark.slow  # cameras are found, so that lenses are
def test_pictures_without_passers_lie_where_those_with_them_do(tmp_path: Path) -> None:
    sample = generate(tmp_path / "sample", photos=14, long_side=420)
    capture.run(Capture(photos=sample.photo_folder, out=tmp_path / "w", preset="quick"), Quiet())
    workspace = Workspace.open(tmp_path / "w")
    photos = workspace.used_photos()
    assert any(workspace.lens(photo) is not None for photo in photos)
    before = {photo.name: read_picture(workspace.picture_file(photo.name)).astype(float) for photo in photos}
    without_passers(sample, workspace)
    occluded = {photo.name for photo in sample.photos if photo.occluded}
    for photo in photos:
        off = np.abs(read_picture(workspace.picture_file(photo.name)) - before[photo.name])
        # Nobody hides most of a picture; where nobody stands, it is the same but for the writing of files.
        assert np.median(off) < 3, photo.name
        assert (off.max() > 60) == (photo.name in occluded), photo.name


def test_the_light_that_is_called_neutral_does_not_count(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "blobs")
    scene, _ = blob_scene()
    scene.save(workspace.splats)
    cameras = [camera.fitted(80) for camera in ring_of_cameras()[:2]]
    photos = [
        Photo(f"a{number}", f"a{number}.jpg", camera.width, camera.height, camera=camera)
        for number, camera in enumerate(cameras)
    ]
    pictures = {photo.name: draw(scene, camera)[0] for photo, camera in zip(photos, cameras, strict=True)}

    class Known:
        def neutral(self, name: str) -> np.ndarray:
            return pictures[name]

    straight = neutral_scores(Known(), workspace, photos)
    assert min(straight) > 40
    warm = {name: np.rint(picture * (0.9, 0.7, 0.5) + 10).astype(np.uint8) for name, picture in pictures.items()}
    pictures.update(warm)
    assert min(neutral_scores(Known(), workspace, photos)) > 40
    pictures.update({name: picture[::-1] for name, picture in warm.items()})
    assert max(neutral_scores(Known(), workspace, photos)) < 30  # what stands elsewhere is seen


def test_colours_are_matched_by_one_map() -> None:
    random = np.random.default_rng(0)
    image = random.uniform(0.2, 0.8, (6, 5, 3))
    turned = image @ random.uniform(0, 0.3, (3, 3)) + 0.05
    assert np.allclose(matched(image, turned), turned, atol=1e-9)
