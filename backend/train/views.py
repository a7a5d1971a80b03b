"""Photos of a workspace into training views: a camera and pixels at one of three sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.capture.pictures import read_mask, read_picture, resized
from backend.scene import Camera, Photo, Workspace
from backend.train import plain_sky


@dataclass(frozen=True, eq=False)
class View:
    """One photo at one size."""

    name: str
    camera: Camera
    pixels: np.ndarray  # (H, W, 3) uint8
    ignored: np.ndarray | None  # (H, W) bool, pixels the person masked out
    sky: np.ndarray | None = None  # (H, W) bool, where nothing but sky is; None: nowhere

    @property
    def colors(self) -> np.ndarray:
        """(H, W, 3) float32 in 0..1."""
        return np.true_divide(self.pixels, np.float32(255), dtype=np.float32)


class Views:
    """Training pictures of some photos, by name, in one size at a time.

    Pictures are kept as uint8 at full training size; the smaller levels are made when a training asks for
    them and replace each other.
    """

    def __init__(self, workspace: Workspace, photos: list[Photo], long_side: int, masks: Path | None = None) -> None:
        self._full: dict[str, View] = {}
        seen = _seen_points(workspace)
        for photo in photos:
            assert photo.camera is not None  # callers pass used photos
            camera = photo.camera.fitted(long_side)
            pixels = resized(read_picture(workspace.picture_file(photo.name)), camera.width, camera.height)
            ignored, sky = _ignored(workspace, photo, masks, camera), _sky(pixels, camera, seen[photo.name])
            self._full[photo.name] = View(photo.name, camera, pixels, ignored, sky)
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
            masks = (_mask_resized(mask, camera) for mask in (full.ignored, full.sky))
            pixels = resized(full.pixels, camera.width, camera.height)
            self._level[name] = View(name, camera, pixels, *masks)
        return self._level[name]


def _mask_resized(mask: np.ndarray | None, camera: Camera) -> np.ndarray | None:
    if mask is None:
        return None
    shares = resized(np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255, camera.width, camera.height)
    return shares[..., 0] > 127


def _seen_points(workspace: Workspace) -> dict[str, np.ndarray]:
    """(M, 3) float64 sparse points that each photo sees, scene frame."""
    points = workspace.points()
    return {
        photo.name: points.positions[points.seen_point[points.seen_photo == row]].astype(np.float64)
        for row, photo in enumerate(workspace.photos())
    }


def _sky(pixels: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray | None:
    """(H, W) bool at the view's size; None if there is none."""
    small = camera.fitted(plain_sky.LONG_SIDE)
    colors = resized(pixels, small.width, small.height).astype(np.float32) / 255
    found = plain_sky.plain_sky(colors, small, small.project(points)[0])
    return _mask_resized(found, camera) if found.any() else None


def _ignored(workspace: Workspace, photo: Photo, masks: Path | None, camera: Camera) -> np.ndarray | None:
    """(H, W) bool at the view's size from `<masks>/<photo>.png` of the photo's own size, 0 = ignore."""
    if masks is None or not (masks / f"{photo.name}.png").exists():
        return None
    keep = read_mask(masks / f"{photo.name}.png", photo.width, photo.height)
    return ~in_picture(keep, workspace, photo, camera)


def in_picture(mask: np.ndarray, workspace: Workspace, photo: Photo, camera: Camera) -> np.ndarray:
    """A mask (H, W) drawn on the photo as taken, on the pixel grid of a camera of its picture."""
    points = photo_points(workspace, photo, camera)
    x = np.clip(points[..., 0].astype(int), 0, mask.shape[1] - 1)
    y = np.clip(points[..., 1].astype(int), 0, mask.shape[0] - 1)
    return mask[y, x]


def photo_points(workspace: Workspace, photo: Photo, camera: Camera) -> np.ndarray:
    """(H, W, 2) float64: where the pixel centres of a camera of its picture lie on the photo as taken."""
    assert photo.camera is not None
    ratio = (photo.camera.width / camera.width, photo.camera.height / camera.height)
    points = camera.pixel_centres() * ratio
    lens = workspace.lens(photo)
    if lens is not None:
        return lens.to_photo(points)
    return points * (photo.width / photo.camera.width, photo.height / photo.camera.height)
