"""Photos of a workspace into training views: a camera and pixels at one of three sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.capture.pictures import read_mask, read_picture, resized
from backend.scene import Camera, Photo, Workspace


@dataclass(frozen=True, eq=False)
class View:
    """One photo at one size."""

    name: str
    camera: Camera
    pixels: np.ndarray  # (H, W, 3) uint8
    ignored: np.ndarray | None  # (H, W) bool, pixels the person masked out

    @property
    def colors(self) -> np.ndarray:
        """(H, W, 3) float32 in 0..1."""
        return self.pixels.astype(np.float32) / 255


class Views:
    """Training pictures of some photos, by name, in one size at a time.

    Pictures are kept as uint8 at full training size; the smaller levels are made when a training asks for
    them and replace each other.
    """

    def __init__(self, workspace: Workspace, photos: list[Photo], long_side: int, masks: Path | None = None) -> None:
        self._full: dict[str, View] = {}
        for photo in photos:
            assert photo.camera is not None  # callers pass used photos
            camera = photo.camera.fitted(long_side)
            pixels = resized(read_picture(workspace.picture_file(photo.name)), camera.width, camera.height)
            self._full[photo.name] = View(photo.name, camera, pixels, _ignored(workspace, photo, masks, camera))
        self.names = [photo.name for photo in photos]
        self._divisor = 1
        self._level: dict[str, View] = {}

    def view(self, name: str, divisor: int = 1) -> View:
        """The photo with both sides divided by 1, 2 or 4."""
        if divisor == 1:
            return self._full[name]
        if divisor != self._divisor:
            self._divisor, self._level = divisor, {}
        if name not in self._level:
            full = self._full[name]
            camera = full.camera.resized(
                max(1, round(full.camera.width / divisor)), max(1, round(full.camera.height / divisor))
            )
            ignored = full.ignored
            if ignored is not None:
                shares = resized(
                    np.repeat(ignored[..., None], 3, 2).astype(np.uint8) * 255, camera.width, camera.height
                )
                ignored = shares[..., 0] > 127
            self._level[name] = View(name, camera, resized(full.pixels, camera.width, camera.height), ignored)
        return self._level[name]


def _ignored(workspace: Workspace, photo: Photo, masks: Path | None, camera: Camera) -> np.ndarray | None:
    """(H, W) bool at the view's size from `<masks>/<photo>.png` of the photo's own size, 0 = ignore."""
    if masks is None or not (masks / f"{photo.name}.png").exists():
        return None
    keep = read_mask(masks / f"{photo.name}.png", photo.width, photo.height)
    return ~in_picture(keep, workspace, photo, camera)


def in_picture(mask: np.ndarray, workspace: Workspace, photo: Photo, camera: Camera) -> np.ndarray:
    """A mask (H, W) bool drawn on the photo as taken, on the pixel grid of a camera of its picture."""
    assert photo.camera is not None
    ratio = (photo.camera.width / camera.width, photo.camera.height / camera.height)
    points = camera.pixel_centres() * ratio
    lens = workspace.lens(photo)
    if lens is not None:
        points = lens.to_photo(points)
    else:
        points = points * (photo.width / photo.camera.width, photo.height / photo.camera.height)
    x = np.clip(points[..., 0].astype(int), 0, mask.shape[1] - 1)
    y = np.clip(points[..., 1].astype(int), 0, mask.shape[0] - 1)
    return mask[y, x]
