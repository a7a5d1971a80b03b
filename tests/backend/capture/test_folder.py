"""What a folder offers: names, sizes, and a reason for every photo left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.folder import copy_name, files_in, named, photo_folder, vetted
from backend.capture.pictures import read_picture, write_picture
from backend.progress import Quiet
from segwild_addon.protocol.errors import InputError


def noise(seed: int, width: int = 300, height: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("holiday.mp4", "only-a-video"),
        ("IMG_1.HEIC", "only-raw-photos"),
        ("notes.txt", "no-photos"),
        (None, "no-photos"),
    ],
)
def test_a_folder_without_photos_says_what_it_holds(tmp_path: Path, file: str | None, code: str) -> None:
    if file:
        (tmp_path / file).write_bytes(b"0")
    with pytest.raises(InputError) as caught:
        photo_folder(tmp_path)
    assert caught.value.code == code
    assert caught.value.hint


def test_no_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        photo_folder(tmp_path / "none")
    (tmp_path / "a.jpg").write_bytes(b"0")
    with pytest.raises(InputError, match="this is a file"):
        photo_folder(tmp_path / "a.jpg")


def test_photos_may_lie_in_a_subfolder_called_images(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", noise(0))
    assert photo_folder(tmp_path) == tmp_path / "images"
    write_picture(tmp_path / "b.png", noise(0))
    assert photo_folder(tmp_path) == tmp_path


def test_videos_and_other_files_are_named(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "clip.mov", "notes.txt", ".hidden.jpg", "raw.HEIC"):
        (tmp_path / name).write_bytes(b"0")
    progress = Quiet()
    assert [path.name for path in files_in(tmp_path, progress)] == ["a.PNG", "b.jpg", "raw.HEIC"]
    assert [(warned.code, warned.items) for warned in progress.warnings] == [
        ("videos-ignored", ("clip.mov", "notes.txt"))
    ]


def test_names_are_unique_stems() -> None:
    root = Path("photos")
    files = [root / name for name in ("a.jpg", "a.png", "A.webp", "left/b.jpg", "right/b.jpg")]
    offered = named(files, root)
    assert [(photo.name, bool(photo.excluded)) for photo in offered] == [
        ("a", False),
        ("a.png", True),
        ("A.webp", True),
        ("b", False),
        ("right_b", False),
    ]
    assert offered[-1].file == "right/b.jpg"


def test_names_that_are_no_text_become_text_and_stay_apart() -> None:
    root = Path("photos")
    files = [root / name for name in ("caf\udce8.jpg", "caf\udce9.jpg", "caf\udce9.png", "caf\u00e9.jpg", "\ud800.jpg")]
    offered = named(files, root)
    assert [(photo.name, bool(photo.excluded)) for photo in offered] == [
        ("caf\ufffd", False),
        ("caf\ufffd_", False),
        ("caf\ufffd.png", True),
        ("caf\u00e9", False),
        ("\ufffd", False),
    ]
    assert [photo.file for photo in offered] == [path.name for path in files]


def test_unusable_photos_are_left_out_with_reasons(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", noise(0))
    write_picture(tmp_path / "b.png", noise(0))
    write_picture(tmp_path / "c.png", noise(1, 255, 200))
    write_picture(tmp_path / "d.png", noise(2, 256, 100))
    (tmp_path / "e.jpg").write_bytes(b"no photo at all")
    (tmp_path / "f.heic").write_bytes(b"0")
    progress = Quiet()
    copies = tmp_path / "copies"
    offered = vetted(named(files_in(tmp_path, progress), tmp_path), progress, copies=copies)
    reasons = {photo.name: photo.excluded for photo in offered}
    assert reasons["a"] == reasons["d"] == ""
    assert "duplicate of a.png" in reasons["b"]
    assert "smaller than 256" in reasons["c"]
    assert "not a picture" in reasons["e"]
    assert "HEIC" in reasons["f"]
    assert sorted(path.name for path in copies.iterdir()) == [copy_name(0), copy_name(3)]
    (warned,) = progress.warnings
    assert warned.code == "photos-left-out"
    assert len(warned.items) == 4


def test_photos_with_cameras_keep_their_size_and_twins(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", noise(0, 100, 60))
    write_picture(tmp_path / "b.png", noise(0, 100, 60))
    offered = vetted(named(sorted(tmp_path.iterdir()), tmp_path), Quiet())
    assert [(photo.width, photo.height, photo.excluded) for photo in offered] == [(100, 60, "")] * 2


def test_copies_for_matching_are_bounded(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((400, 6400, 3), np.uint8))
    (photo,) = vetted(named([tmp_path / "a.png"], tmp_path), Quiet(), copies=tmp_path / "copies")
    assert photo.working_size == (3200, 200)
    assert read_picture(tmp_path / "copies" / copy_name(0)).shape == (200, 3200, 3)
