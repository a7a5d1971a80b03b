"""A person's own label pictures and arrays, lifted; what does not fit is told with the file's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.features import pixels
from backend.features.encoders import Described, Options, open_encoder
from backend.progress import Quiet
from backend.stages import lift
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift


def described(blobs, encoder: str, folder: Path) -> Described:
    options = Options(encoder, folder=folder)
    return Described(blobs.workspace, blobs.scene, open_encoder(options, blobs.workspace))


def write_labels(blobs, folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        labels = np.full((blobs.photo(name).height, blobs.photo(name).width), 3, np.uint8)
        labels[blobs.mask(blobs.red, name)] = 1
        labels[blobs.mask(blobs.blue, name)] = 2
        labels[:40] = 0
        Image.fromarray(labels).save(folder / f"{name}.png")


def test_labels_become_shares_of_rows(blobs, tmp_path: Path) -> None:
    write_labels(blobs, tmp_path / "labels", ("a0", "a2", "a4"))
    progress = Quiet()
    result = lift.run(Lift(blobs.workspace.root, "labels", folder=tmp_path / "labels"), progress)
    assert result.items() >= {"channels": 3, "photos": 3}.items()
    assert progress.warnings[0].items == ("a1", "a3", "a5")
    lifted = lift.Lifted.load(blobs.workspace, "labels")
    assert lifted is not None
    seen = ~lifted.unseen
    assert lifted.features[seen].astype(float).sum(1) == pytest.approx(np.ones(seen.sum()), abs=3e-3)
    found = lifted.features.argmax(1) + 1
    truth = np.where(blobs.labels == 0, 3, blobs.labels)
    assert (found == truth)[seen & (lifted.mass > 2)].mean() > 0.95


def test_unlabelled_pixels_say_nothing(blobs, tmp_path: Path) -> None:
    write_labels(blobs, tmp_path / "labels", ("a0",))
    views = described(blobs, "labels", tmp_path / "labels")
    weight = views.weight(0, None)
    assert not weight[:20].any()
    assert weight[21:].all()


def test_arrays_of_any_size_and_depth_are_lifted(blobs, tmp_path: Path) -> None:
    """Left and right halves of the first photo, as 3 x 4 cells with 70 channels."""
    features = np.zeros((3, 4, 70), np.float32)
    features[:, :2, 69], features[:, 2:, 0] = 5, 7
    np.save(tmp_path / "a0.npy", features)
    lift.run(Lift(blobs.workspace.root, "file", folder=tmp_path), Quiet())
    lifted = lift.Lifted.load(blobs.workspace, "file")
    assert lifted is not None
    pixels, _ = blobs.cameras[0].project(blobs.scene.means.astype(float))
    seen = ~lifted.unseen
    left, right = seen & (pixels[:, 0] < 90), seen & (pixels[:, 0] > 110)
    assert np.median(lifted.features[left, 69]) == pytest.approx(1, abs=1e-3)
    assert np.median(lifted.features[right, 0]) == pytest.approx(1, abs=1e-3)


def test_features_of_one_photo_are_read_in_place(blobs, tmp_path: Path) -> None:
    np.save(tmp_path / "a0.npy", np.ones((30, 40, 5), np.float16))
    views = described(blobs, "file", tmp_path)
    assert isinstance(views.pixels(0).features, np.memmap)
    assert views.pixels(0)._scale is views.pixels(0)._scale  # lengths, which need all channels, are found once


def test_lengths_of_large_arrays_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(13, 7, 70)).astype(np.float16)
    whole = pixels.unit_scale(features)
    assert whole == pytest.approx(1 / np.linalg.norm(features.astype(float), axis=-1), rel=1e-5)
    monkeypatch.setattr(pixels, "_NUMBERS", 2000)
    assert np.array_equal(pixels.unit_scale(features), whole)


def save_pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: path.write_bytes(b"no array"), "no whole .npy"),
        (save_pickled, "no whole .npy"),
        (lambda path: np.save(path, np.ones((3, 4))), r"got \(3, 4\)"),
        (lambda path: np.save(path, np.ones((3, 4, 0))), "height x width x channels"),
        (lambda path: np.save(path, np.ones((30, 40, 2), complex)), "Expected numbers"),
        (lambda path: np.save(path, np.ones((40, 30, 2))), "another shape"),
        (lambda path: np.savez(path.with_suffix(""), a=np.ones((3, 4, 2))), "several arrays"),
        (lambda path: path.write_bytes(path.with_name("a1.npy").read_bytes()[:-1]), "no whole .npy"),
        (lambda path: np.save(path, np.ones((30, 40, 3))), r"a1.npy has 2 channels, a0.npy has 3"),
    ],
)
def test_arrays_that_are_none(blobs, tmp_path: Path, write, told: str) -> None:
    np.save(tmp_path / "a1.npy", np.ones((30, 40, 2)))
    write(tmp_path / "a0.npy")
    if (tmp_path / "a0.npz").exists():
        (tmp_path / "a0.npz").rename(tmp_path / "a0.npy")
    with pytest.raises(InputError, match=told):
        lift.run(Lift(blobs.workspace.root, "file", folder=tmp_path), Quiet())
    assert not (blobs.workspace.root / "features").exists()


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((300, 400, 3), np.uint8), "has colours, not numbers"),
        (np.ones((30, 40), np.uint8), "40x30 pixels, its photo is 400x300"),
        (np.zeros((300, 400), np.uint8), "are 0 everywhere"),
        (None, "cannot be read"),
    ],
)
def test_label_pictures_that_are_none(blobs, tmp_path: Path, picture, told: str) -> None:
    if picture is None:
        (tmp_path / "a0.png").write_bytes(b"no picture")
    else:
        Image.fromarray(picture).save(tmp_path / "a0.png")
    with pytest.raises(InputError, match=told):
        lift.run(Lift(blobs.workspace.root, "labels", folder=tmp_path), Quiet())


@pytest.mark.parametrize(
    ("request_of", "told"),
    [
        ({"features": "labels"}, "needs a folder"),
        ({"features": "colour", "folder": Path("x")}, "takes no folder"),
        ({"features": "file", "folder": Path("nowhere")}, "no such folder"),
        ({"features": "colour", "checkpoint": Path("x")}, "takes no checkpoint"),
        ({"features": "colour", "robust": True}, "compares directions"),
        ({"features": "hog"}, "no encoder called 'hog'"),
    ],
)
def test_options_that_contradict_each_other(blobs, request_of: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        lift.run(Lift(blobs.workspace.root, **request_of), Quiet())


def test_a_folder_for_other_photos(blobs, tmp_path: Path) -> None:
    np.save(tmp_path / "b0.npy", np.ones((3, 4, 2)))
    with pytest.raises(InputError, match="none of the scene's 6 photos"):
        lift.run(Lift(blobs.workspace.root, "file", folder=tmp_path), Quiet())
