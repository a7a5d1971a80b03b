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


def test_a_binary_model_is_walked_to_its_end(tmp_path: Path) -> None:
    folder = model(tmp_path / "sparse", ".bin")
    (tmp_path / "images").mkdir()
    camera = struct.pack("<QiiQQ4d", 1, 1, 1, 640, 480, 500, 500, 320, 240)
    image = struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"a.jpg\0" + struct.pack("<Q2dq", 1, 1.5, 2.5, 1)
    point = struct.pack("<QQ3d3BdQii", 1, 1, 0, 0, 1, 9, 9, 9, 0.5, 1, 1, 0)
    frame = struct.pack("<QII7dIiIQ", 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1)
    whole = {"cameras": camera, "images": image, "points3D": point, "frames": frame}
    for name, data in whole.items():
        (folder / f"{name}.bin").write_bytes(data)
    assert colmap_scene(tmp_path) is not None
    for name, data in whole.items():
        for damaged in (data[:-1], data + b"\0", data[:8], b"\xff" * 8 + data[8:]):
            (folder / f"{name}.bin").write_bytes(damaged)
            with pytest.raises(InputError) as caught:
                colmap_scene(tmp_path)
            assert caught.value.sentence.endswith(f"{name}.bin.")
        (folder / f"{name}.bin").write_bytes(data)
