"""A folder that may hold a COLMAP model into the model's place and its photos' files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from segwild_addon.protocol.errors import InputError

_FILES = ("cameras", "images", "points3D")
_SMALLEST_RECORD_BYTES = {"cameras": 24, "images": 73, "points3D": 51}


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
    """COLMAP believes the counts in its files and may take all memory for a file of something else."""
    if _suffix(model) != ".bin":
        return
    for name in _FILES:
        path = model / f"{name}.bin"
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
        count = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
        if count < 0 or 8 + count * _SMALLEST_RECORD_BYTES[name] > size:
            raise InputError(
                "model-damaged",
                f"A file of the COLMAP model is damaged or cut short: {path}.",
                "Export the model again, or remove sparse/ so that cameras are computed from the photos.",
            )
