"""Photos of a workspace into training views: a camera and pixels at one of three sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from backend.capture.borders import frame_mask
from backend.capture.pictures import read_mask, read_picture, resized
from backend.scene import Camera, Photo, Workspace
from backend.train import plain_sky

CACHE_BYTES = 512 * 2**20  # of decoded pictures; collections of thousands are decoded again and again
CUT_OUT_FROM = 0.5  # of a picture's rim is transparent: nothing is there. Less hides somebody before something
CANDIDATES_REACH_PX = 8  # beyond what a network marks: its outlines are coarse, and residuals are averaged


@dataclass(frozen=True, eq=False)
class View:
    """One photo at one size."""

    name: str
    camera: Camera
    pixels: np.ndarray  # (H, W, 3) uint8
    ignored: np.ndarray | None  # (H, W) bool, pixels the person masked out, transparent ones, a frame around the photo
    sky: np.ndarray | None = None  # (H, W) bool, where nothing but sky is, or nothing at all; None: nowhere
    candidates: np.ndarray | None = None  # (H, W) bool, in reach of what a network saw come and go; None: nowhere

    @property
    def memory_bytes(self) -> int:
        masks = (self.ignored, self.sky, self.candidates)
        return self.pixels.nbytes + sum(mask.nbytes for mask in masks if mask is not None)

    @property
    def colors(self) -> np.ndarray:
        """(H, W, 3) float32 in 0..1."""
        return np.true_divide(self.pixels, np.float32(255), dtype=np.float32)


class Views:
    """Training pictures of some photos, by name, decoded when a training asks for them.

    Pictures are kept as uint8, in one size at a time, up to `cache_bytes`; the others are decoded each time.
    What is kept of every photo is its camera and a bit per pixel for each mask.
    """

    def __init__(
        self,
        workspace: Workspace,
        photos: list[Photo],
        long_side: int,
        masks: Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        candidates: Callable[[str], np.ndarray] | None = None,  # of a photo by name, (h, w) bool, over its picture
    ) -> None:
        assert all(photo.camera is not None for photo in photos)  # callers pass used photos
        photos = [photo.as_captured() for photo in photos]  # every training starts from those cameras
        self.names = [photo.name for photo in photos]
        self.cameras = {photo.name: photo.camera.fitted(long_side) for photo in photos if photo.camera is not None}
        self._workspace, self._find_candidates, self._cache_bytes = workspace, candidates, cache_bytes
        self.masks_digest = masks_digest(masks, self.names)
        seen = workspace.points().by_photo(workspace.photos())
        self._points = {name: seen[name] for name in self.names}
        self._ignored: dict[str, _Bits | None] = {}
        self._nothing: dict[str, _Bits | None] = {}  # around what was cut out
        for photo in photos:
            camera = self.cameras[photo.name]
            clear = _clear(workspace, photo, camera)
            self._ignored[photo.name] = _ignored(workspace, photo, masks, camera, clear)
            self._nothing[photo.name] = None if clear is None or not _cut_out(clear) else _Bits.of(clear)
        self._sky: dict[str, _Bits | None] = {}
        self._candidates: dict[str, _Bits | None] = {}
        for photo in photos:
            if not workspace.picture_file(photo.name).exists():
                read_picture(workspace.picture_file(photo.name))  # says so now, not in the midst of a training
        self._divisor = 1
        self._held: dict[str, View] = {}
        self._bytes = 0

    def view(self, name: str, divisor: int = 1) -> View:
        """The photo with both sides divided by 1, 2 or 4."""
        if divisor != self._divisor:
            self._divisor, self._bytes = divisor, 0
            self._held.clear()
        if name in self._held:
            return self._held[name]
        view = self._decoded(name)
        if divisor != 1:
            view = _smaller(view, divisor)
        # Each is asked for once in an epoch, in an order drawn anew: where not all fit, those that came first are as
        # good as any, and giving one up for the next would lose nearly all before they are asked for again.
        if self._bytes + view.memory_bytes <= self._cache_bytes:
            self._held[name] = view
            self._bytes += view.memory_bytes
        return view

    def _decoded(self, name: str) -> View:
        camera = replace(self.cameras[name])  # one of its own: what others keep for it goes when the view does
        pixels = resized(read_picture(self._workspace.picture_file(name)), camera.width, camera.height)
        if name not in self._sky:
            nothing = self._nothing[name]
            sky = nothing.mask() if nothing is not None else _sky(pixels, camera, self._points[name])
            self._sky[name] = None if sky is None else _Bits.of(sky)
        if name not in self._candidates:
            self._candidates[name] = self._find_candidates and _candidates(self._find_candidates(name), camera)
        ignored, found, candidates = self._ignored[name], self._sky[name], self._candidates[name]
        masks = [mask for mask in (ignored and ignored.mask(), frame_mask(pixels)) if mask is not None]
        return View(
            name,
            camera,
            pixels,
            np.logical_or.reduce(masks) if masks else None,
            found and found.mask(),
            candidates and candidates.mask(),
        )


@dataclass(frozen=True, eq=False)
class _Bits:
    """A mask with a bit per pixel."""

    packed: np.ndarray  # uint8
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> _Bits:
        return cls(np.packbits(mask), mask.shape)

    def mask(self) -> np.ndarray:
        """(H, W) bool, as it was packed."""
        count = self.shape[0] * self.shape[1]
        return np.unpackbits(self.packed, count=count).astype(bool).reshape(self.shape)


def _smaller(full: View, divisor: int) -> View:
    camera = full.camera.resized(
        max(1, round(full.camera.width / divisor)), max(1, round(full.camera.height / divisor))
    )
    masks = (_mask_resized(mask, camera) for mask in (full.ignored, full.sky, full.candidates))
    return View(full.name, camera, resized(full.pixels, camera.width, camera.height), *masks)


def _mask_resized(mask: np.ndarray | None, camera: Camera) -> np.ndarray | None:
    if mask is None:
        return None
    shares = resized(np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255, camera.width, camera.height)
    return shares[..., 0] > 127


def _sky(pixels: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray | None:
    """(H, W) bool at the view's size; None if there is none."""
    small = camera.fitted(plain_sky.LONG_SIDE)
    colors = resized(pixels, small.width, small.height).astype(np.float32) / 255
    found = plain_sky.plain_sky(colors, small, small.project(points.astype(np.float64))[0])
    return _mask_resized(found, camera) if found.any() else None


def _candidates(found: np.ndarray, camera: Camera) -> _Bits | None:
    """Those of a photo, (h, w) bool, and what is in reach of them at the view's size; None if there are none."""
    found = _mask_resized(found, camera)
    if not found.any():
        return None
    return _Bits.of(ndimage.distance_transform_edt(~found) <= CANDIDATES_REACH_PX)


def masks_digest(masks: Path | None, names: Sequence[str]) -> str | None:
    """Changes when the file of any photo's mask does; None without any. Contents are not read."""
    files = [] if masks is None else [file for name in names if (file := masks / f"{name}.png").exists()]
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        status = file.stat()
        digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest() if files else None


def _clear(workspace: Workspace, photo: Photo, camera: Camera) -> np.ndarray | None:
    """(H, W) bool at the view's size, where the photo was transparent; None if nowhere."""
    if photo.camera is None or not workspace.clear_file(photo.name).exists():
        return None
    return _mask_resized(read_mask(workspace.clear_file(photo.name), photo.camera.width, photo.camera.height), camera)


def _cut_out(clear: np.ndarray) -> bool:
    """Whether a transparent part (H, W) surrounds what was photographed, rather than hiding something in it."""
    rim = np.concatenate([clear[0], clear[-1], clear[:, 0], clear[:, -1]])
    return bool(rim.mean() > CUT_OUT_FROM)


def _ignored(
    workspace: Workspace, photo: Photo, masks: Path | None, camera: Camera, clear: np.ndarray | None
) -> _Bits | None:
    """(H, W) at the view's size: `<masks>/<photo>.png` of the photo's own size, 0 = ignore, and where it is clear."""
    parts = [] if clear is None else [clear]
    if masks is not None and (masks / f"{photo.name}.png").exists():
        keep = read_mask(masks / f"{photo.name}.png", photo.width, photo.height)
        parts.append(~in_picture(keep, workspace, photo, camera))
    return _Bits.of(np.logical_or.reduce(parts)) if parts else None


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
