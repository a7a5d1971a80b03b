"""A folder's COLMAP model is found, and files that are no model are named before COLMAP reads them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from backend.capture.colmap import colmap_scene
from segwild_addon.protocol.errors import InputError


def model(folder: Path, suffix: str, content: bytes = struct.pack("<Q", 0)) -> Path:
    folder.mkdir(parents=True)
    for name in ("cameras", "images", "points3D"):
        (folder / f"{name}{suffix}").write_bytes(content)
    return folder


@pytest.mark.parametrize("place", ["sparse", "sparse/0"])
@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_models_are_found_beside_their_images(tmp_path: Path, place: str, suffix: str) -> None:
    (tmp_path / "images").mkdir()
    found = colmap_scene(tmp_path) if model(tmp_path / place, suffix) else None
    assert found is not None
    assert (found.model, found.images) == (tmp_path / place, tmp_path / "images")


def test_a_folder_without_sparse_is_no_model(tmp_path: Path) -> None:
    assert colmap_scene(tmp_path) is None


def test_incomplete_and_damaged_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sparse").mkdir()
    with pytest.raises(InputError, match="no complete COLMAP model") as caught:
        colmap_scene(tmp_path)
    assert caught.value.code == "model-incomplete"
    model(tmp_path / "sparse" / "0", ".bin", b"\xff" * 100)
    with pytest.raises(InputError, match="no folder images"):
        colmap_scene(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="damaged or cut short") as caught:
        colmap_scene(tmp_path)
    assert caught.value.sentence.endswith(f"{tmp_path / 'sparse' / '0' / 'cameras.bin'}.")
