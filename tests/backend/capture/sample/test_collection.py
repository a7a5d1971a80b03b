from __future__ import annotations

import hashlib
from pathlib import Path

import numba
import numpy as np
import pytest
from PIL import Image

from backend.capture.sample import NEUTRAL, Collection, developed, generate
from backend.progress import Quiet
from segwild_addon.protocol.errors import InputError

PHOTOS, SIDE = 4, 160


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return generate(tmp_path_factory.mktemp("sample"), photos=PHOTOS, long_side=SIDE)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_settings_give_the_same_bytes_with_any_number_of_threads(sample: Collection, tmp_path: Path) -> None:
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        generate(tmp_path / "again", photos=PHOTOS, long_side=SIDE)
    finally:
        numba.set_num_threads(before)
    assert digests(tmp_path / "again") == digests(sample.root)


def test_another_seed_gives_other_photos_of_the_same_square(sample: Collection, tmp_path: Path) -> None:
    other = generate(tmp_path / "other", photos=1, long_side=SIDE, seed=1)
    first, second = sample.photos[0], other.photos[0]
    assert not np.allclose(first.camera.cam_from_world, second.camera.cam_from_world)
    assert first.light != second.light
    probes = sample.points().points[:200]
    np.testing.assert_array_equal(sample.labels(probes), other.labels(probes))


def test_count_and_size_are_as_asked(sample: Collection) -> None:
    assert len(sample.photos) == PHOTOS
    files = sorted(sample.photo_folder.glob("*.jpg"))
    assert [file.stem for file in files] == [photo.name for photo in sample.photos]
    sides = [max(photo.camera.width, photo.camera.height) for photo in sample.photos]
    assert max(sides) == SIDE
    assert min(sides) >= 0.85 * SIDE
    for photo in sample.photos:
        size = (photo.camera.height, photo.camera.width, 3)
        for picture in (sample.picture(photo.name), sample.clean(photo.name), sample.neutral(photo.name)):
            assert picture.shape == size
            assert picture.dtype == np.uint8
            assert picture.std() > 10


def test_cameras_differ_and_the_files_tell_structure_from_motion_their_focal_length(sample: Collection) -> None:
    assert len({round(photo.camera.fx / SIDE, 3) for photo in sample.photos}) == PHOTOS
    for photo in sample.photos:
        camera = photo.camera
        with Image.open(sample.photo_folder / f"{photo.name}.jpg") as picture:
            focal = picture.getexif().get_ifd(0x8769)[0xA405]
        assert focal * np.hypot(camera.width, camera.height) / 43.27 == pytest.approx(camera.fx, rel=0.03)
        assert abs(camera.cx / camera.width - 0.5) <= 0.0301
        assert abs(camera.cy / camera.height - 0.5) <= 0.0301
        np.testing.assert_allclose(
            camera.cam_from_world[:3, :3] @ camera.cam_from_world[:3, :3].T, np.eye(3), atol=1e-9
        )


def test_masks_are_disjoint_and_lose_exactly_what_passers_by_cover(sample: Collection) -> None:
    assert len(sample.objects) >= 6
    for photo in sample.photos:
        passers = sample.occluders(photo.name)
        assert passers.any() == photo.occluded
        whole = np.stack([sample.mask(thing.name, photo.name, occluded=False) for thing in sample.objects])
        visible = np.stack([sample.mask(thing.name, photo.name) for thing in sample.objects])
        assert whole.sum(axis=0).max() == 1
        np.testing.assert_array_equal(visible, whole & ~passers)


def test_passers_by_stand_in_two_thirds_of_the_photos_and_change_them_alone(sample: Collection) -> None:
    assert [photo.occluded for photo in sample.photos] == [False, True, True, False]
    for photo in sample.photos:
        change = np.abs(sample.picture(photo.name).astype(int) - sample.clean(photo.name)).max(axis=2)
        if not photo.occluded:
            assert change.max() == 0
            continue
        passers = sample.occluders(photo.name)
        assert 0.02 < passers.mean() < 0.22
        assert np.median(change[passers]) > 10
        assert np.median(change[~passers]) <= 2


def test_points_project_onto_their_object(sample: Collection) -> None:
    points = sample.points()
    np.testing.assert_allclose(np.linalg.norm(points.normals, axis=1), 1, atol=1e-4)
    agreeing = checked = 0
    for thing in sample.objects:
        mine = points.points[points.labels == thing.label].astype(float)
        for photo in sample.photos:
            mask = sample.mask(thing.name, photo.name, occluded=False)
            facing = ((photo.camera.centre - mine) * points.normals[points.labels == thing.label]).sum(axis=1) > 0
            pixels, depths = photo.camera.project(mine[facing])
            inside = (depths > 0) & (pixels >= 0).all(axis=1) & (pixels < mask.shape[::-1]).all(axis=1)
            x, y = np.floor(pixels[inside]).astype(int).T
            # Only where no other object stands in front
            others = np.zeros_like(mask)
            for other in sample.objects:
                if other.name != thing.name:
                    others |= sample.mask(other.name, photo.name, occluded=False)
            free = ~others[y, x]
            agreeing += mask[y, x][free].sum()
            checked += free.sum()
    assert checked > 500
    assert agreeing / checked > 0.93


def test_stored_labels_are_those_of_the_nearest_surface(sample: Collection) -> None:
    points = sample.points()
    assert set(np.unique(points.labels)) == {0, *(thing.label for thing in sample.objects)}
    again = sample.labels(points.points, slack=0.05)
    assert (again == points.labels).mean() > 0.99
    assert sample.labels(np.array([[0.0, 0.0, 30.0]]), slack=1.0).tolist() == [-1]


def test_cameras_look_at_what_the_pictures_show(sample: Collection) -> None:
    """The picture drawn anew from the stored camera and light is the stored one."""
    photo = sample.photos[0]
    again = developed(photo.camera, photo.light).astype(int)
    assert np.abs(again - sample.clean(photo.name)).mean() < 6  # sensor noise and JPEG
    neutral = developed(photo.camera, NEUTRAL).astype(int)
    assert np.abs(neutral - sample.neutral(photo.name)).mean() < 3


def test_clicks_hit_their_object(sample: Collection) -> None:
    for thing in sample.objects:
        if thing.click is None:
            continue
        mask = sample.mask(thing.name, thing.click.photo)
        assert mask[int(thing.click.y), int(thing.click.x)]
    assert sum(thing.click is not None for thing in sample.objects) >= 6


def test_a_finished_sample_is_read_not_made_again(sample: Collection) -> None:
    before = {path: path.stat().st_mtime_ns for path in sample.root.rglob("*")}
    again = generate(sample.root, photos=PHOTOS, long_side=SIDE)
    assert {path: path.stat().st_mtime_ns for path in sample.root.rglob("*")} == before
    assert [photo.light for photo in again.photos] == [photo.light for photo in sample.photos]


def test_an_interrupted_sample_is_made_anew(tmp_path: Path) -> None:
    class Stopping(Quiet):
        def advance(self, steps: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, photos=1, long_side=64, progress=Stopping())
    with pytest.raises(InputError, match="no complete sample"):
        Collection.open(tmp_path)
    assert len(generate(tmp_path, photos=1, long_side=64).photos) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"photos": 0}, "cannot have 0 photos"),
        ({"photos": 5000}, "cannot have 5000 photos"),
        ({"long_side": 10}, "cannot be 10 pixels"),
        ({"seed": -1}, "cannot be negative"),
    ],
)
def test_options_out_of_range_are_told(tmp_path: Path, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        generate(tmp_path / "out", **options)
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_foreign_files_are_left_alone(sample: Collection, tmp_path: Path) -> None:
    mine = tmp_path / "photos" / "mine.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match="holds other files"):
        generate(tmp_path, photos=1, long_side=64)
    assert mine.read_bytes() == b"mine"
    with pytest.raises(InputError, match="Another sample"):
        generate(sample.root, photos=PHOTOS, long_side=SIDE, seed=3)


def test_unknown_photos_and_missing_parts_are_told(sample: Collection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photo called 'nobody'"):
        sample.photo("nobody")
    with pytest.raises(InputError, match="missing or damaged"):
        Collection(tmp_path, sample.photos, sample.objects).picture("photo-000")
    with pytest.raises(InputError, match="missing or damaged"):
        Collection(tmp_path, sample.photos, sample.objects).points()
