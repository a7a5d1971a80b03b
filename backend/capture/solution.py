"""The arrays a capture's child process left into cameras, lenses and points."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.scene.cameras import Camera
from backend.scene.lenses import Lens
from backend.scene.transforms import Similarity
from backend.scene.workspace import SparsePoints
from segwild_addon.protocol.errors import SetupError


@dataclass(frozen=True, eq=False)
class Solution:
    """Every placed photo's camera by name, and the points they share."""

    cameras: dict[str, Camera]  # pinhole, of the undistorted pictures
    lenses: dict[str, tuple[np.ndarray, np.ndarray]]  # name -> picture_from_photo, photo_from_picture
    positions: np.ndarray  # (M, 3) float64
    colors: np.ndarray  # (M, 3) uint8
    errors: np.ndarray  # (M,) float32, pixels
    tracks: np.ndarray  # (M,) int32
    seen_point: np.ndarray  # (S,) int32
    seen_name: np.ndarray  # (S,) str
    seen_at: np.ndarray  # (S, 2) float32, pixels of the photo as taken

    def lens(self, name: str, photo_size: tuple[int, int]) -> Lens | None:
        """None if the photo and its picture are the same pixels."""
        if name not in self.lenses:
            return None
        camera = self.cameras[name]
        return Lens(*photo_size, camera.width, camera.height, *self.lenses[name])

    def moved(self, b_from_a: Similarity) -> Solution:
        """The same solution in another frame."""
        cameras = {name: b_from_a.camera(camera) for name, camera in self.cameras.items()}
        return Solution(**(vars(self) | {"cameras": cameras, "positions": b_from_a.points(self.positions)}))

    def points(self, row_of_name: dict[str, int]) -> SparsePoints:
        """The points as a workspace keeps them, observations naming rows of photos.json."""
        return SparsePoints(
            positions=self.positions.astype(np.float32),
            colors=self.colors,
            errors=self.errors,
            tracks=self.tracks,
            seen_point=self.seen_point,
            seen_photo=np.array([row_of_name[name] for name in self.seen_name], np.int32),
        )


def read_solution(path: Path) -> Solution:
    """Raises SetupError if the file is missing or incomplete: the child did not do its work."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]]
            cameras, lenses = {}, {}
            for row, (name, matrix, values) in enumerate(
                zip(names, arrays["cam_from_world"], arrays["pinholes"], strict=True)
            ):
                fx, fy, cx, cy, width, height = (float(value) for value in values)
                cameras[name] = Camera(matrix, fx, fy, cx, cy, int(width), int(height))
                if f"picture_from_photo/{row}" in arrays:
                    lenses[name] = (arrays[f"picture_from_photo/{row}"], arrays[f"photo_from_picture/{row}"])
            seen = arrays["seen"]
            return Solution(
                cameras=cameras,
                lenses=lenses,
                positions=arrays["positions"],
                colors=arrays["colors"],
                errors=arrays["errors"],
                tracks=arrays["tracks"],
                seen_point=np.ascontiguousarray(seen[:, 0]),
                seen_name=np.array(names, dtype=str)[seen[:, 1]],
                seen_at=arrays["seen_at"],
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SetupError("sfm-failed", f"Finding cameras left no readable result: {path}.", "Run it again.") from error
