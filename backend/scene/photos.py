"""Photos of a workspace: one row each, found by name, never by position in a list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from backend.scene.cameras import Camera

Split = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that was offered to the scene, used or left out."""

    name: str  # the file's stem, unique in a workspace
    file: str  # path relative to the photo folder, as it was found
    width: int  # pixels of the photo as taken, upright (0 if it could not be read)
    height: int
    split: Split = "train"  # test photos never shape geometry
    camera: Camera | None = None  # of the undistorted picture, scene frame; None if left out
    excluded: str = ""  # why it was left out; empty if it is used
    captured: Camera | None = None  # where the capture found the camera, if a training has moved it; None: there

    @property
    def used(self) -> bool:
        return self.camera is not None and not self.excluded

    def as_captured(self) -> Photo:
        """With the camera that the capture found."""
        return self if self.captured is None else replace(self, camera=self.captured, captured=None)

    def refined(self, camera: Camera) -> Photo:
        """With a camera that a training found better. Its pose alone may differ; that of the capture stays noted."""
        return replace(self, camera=camera, captured=self.captured or self.camera)

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": self.name,
            "file": self.file,
            "width": int(self.width),
            "height": int(self.height),
            "split": self.split,
            "excluded": self.excluded,
            "camera": None,
        }
        if self.camera is not None:
            camera = self.camera
            row["camera"] = {
                "cam_from_world": camera.cam_from_world.tolist(),
                "fx": float(camera.fx),
                "fy": float(camera.fy),
                "cx": float(camera.cx),
                "cy": float(camera.cy),
                "width": int(camera.width),
                "height": int(camera.height),
            }
        if self.captured is not None:
            row["captured"] = {"cam_from_world": self.captured.cam_from_world.tolist()}
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Photo:
        """Raises KeyError, TypeError, ValueError or OverflowError on a malformed row."""
        camera, captured = row["camera"], None
        if camera is not None:
            camera = Camera(
                _matrix(camera),
                *(float(camera[key]) for key in ("fx", "fy", "cx", "cy")),
                *(int(camera[key]) for key in ("width", "height")),
            )
            if row.get("captured") is not None:
                captured = replace(camera, cam_from_world=_matrix(row["captured"]))
        return cls(
            name=str(row["name"]),
            file=str(row["file"]),
            width=int(row["width"]),
            height=int(row["height"]),
            split="test" if row["split"] == "test" else "train",
            camera=camera,
            excluded=str(row["excluded"]),
            captured=captured,
        )


def _matrix(pose: dict[str, Any]) -> np.ndarray:
    return np.array(pose["cam_from_world"], float).reshape(4, 4)
