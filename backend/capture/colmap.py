"""A folder that may hold a COLMAP model into the model's place and its photos' files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segwild_addon.protocol.errors import InputError

_FILES = ("cameras", "images", "points3D")
# Number of parameters by COLMAP's model id, from SIMPLE_PINHOLE (0) to EQUIRECTANGULAR (17).
_PARAMETERS = dict(enumerate((3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)))


@dataclass(frozen=True)
class ColmapScene:
    """A model and the folder its image names refer to."""

    model: Path
    images: Path


def colmap_scene(folder: Path) -> ColmapScene | None:
    """The model in sparse/0, sparse or the folder itself, beside images/; None if there is no sparse/.

    Raises InputError if there is a sparse/ without a complete model, a model without images/, or files
    that are no model.
    """
    sparse = folder / "sparse"
    if not sparse.is_dir():
        return None
    for model in (sparse / "0", sparse):
        if _suffix(model):
            images = folder / "images"
            if not images.is_dir():
                raise InputError(
                    "images-missing",
                    f"There is a COLMAP model but no folder images/ beside it: {folder}.",
                    "Put the photos the model was made from into images/.",
                )
            _vet(model)
            return ColmapScene(model, images)
    raise InputError(
        "model-incomplete",
        f"The folder sparse/ holds no complete COLMAP model (cameras, images, points3D as .bin or .txt): {sparse}.",
        "Export the model again, or remove sparse/ so that cameras are computed from the photos.",
    )


def _suffix(model: Path) -> str:
    for suffix in (".bin", ".txt"):
        if all((model / (name + suffix)).is_file() for name in _FILES):
            return suffix
    return ""


def _vet(model: Path) -> None:
    """Walk the binary files: COLMAP believes the counts in them, and on a file that is cut short or of
    something else it fills the memory or never ends."""
    if _suffix(model) != ".bin":
        return
    for name, walk in _WALKS.items():
        path = model / f"{name}.bin"
        if not path.exists():  # frames: written since COLMAP 3.12
            continue
        data = path.read_bytes()
        try:
            (count,) = struct.unpack_from("<Q", data)
            end = 8
            for _ in range(count):
                end = walk(data, end)
            whole = end == len(data)
        except (struct.error, ValueError, OverflowError):
            whole = False
        if not whole:
            raise InputError(
                "model-damaged",
                f"A file of the COLMAP model is damaged or cut short: {path}.",
                "Export the model again, or remove sparse/ so that cameras are computed from the photos.",
            )


def _after_camera(data: bytes, at: int) -> int:
    _, model_id, width, height = struct.unpack_from("<iiQQ", data, at)
    if model_id not in _PARAMETERS or not 0 < width < 2**31 or not 0 < height < 2**31:
        raise ValueError("no camera")
    return at + 24 + 8 * _PARAMETERS[model_id]


def _after_image(data: bytes, at: int) -> int:
    name_end = data.index(b"\0", at + 64)
    (observations,) = struct.unpack_from("<Q", data, name_end + 1)
    return name_end + 9 + 24 * observations


def _after_point(data: bytes, at: int) -> int:
    (track,) = struct.unpack_from("<Q", data, at + 43)
    return at + 51 + 8 * track


def _after_frame(data: bytes, at: int) -> int:
    (photos,) = struct.unpack_from("<I", data, at + 64)
    return at + 68 + 16 * photos


_WALKS: dict[str, Callable[[bytes, int], int]] = {
    "cameras": _after_camera,
    "images": _after_image,
    "points3D": _after_point,
    "frames": _after_frame,
}
