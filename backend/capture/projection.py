"""A camera with any lens into the pinhole camera of its undistorted picture, and the grids between both.

Works on anything that has COLMAP's `cam_from_img` and `img_from_cam`, so that no lens model is known here.
numpy only: this runs inside the child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

WIDEST_TANGENT = 1.75  # a picture side reaches at most 60 degrees from the optical axis
LARGEST_STRETCH = 3.0  # a photo's pixel spans at most so many of the picture's; beyond it shows nothing
GRID_TOLERANCE = 0.02  # pixels, largest error of the interpolated grid
_NODES = (33, 65, 129, 257)  # on the long side; refined until the tolerance holds
_EXACT = 0.02  # pixels; below this a lens counts as none
Mapping = Callable[[np.ndarray], np.ndarray]  # positions (..., 2) to positions (..., 2), NaN where there are none


class ColmapCamera(Protocol):
    """What is used of `pycolmap.Camera`."""

    width: int
    height: int
    focal_length_x: float
    focal_length_y: float
    principal_point_x: float
    principal_point_y: float

    def cam_from_img(self, image_points: np.ndarray) -> np.ndarray: ...

    def img_from_cam(self, cam_points: np.ndarray) -> np.ndarray: ...


class LensError(Exception):
    """No useful rectangle of the photo can be shown without distortion."""


@dataclass(frozen=True, eq=False)
class Pinhole:
    """The undistorted picture of one photo."""

    fx: float  # pixels
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    picture_from_photo: np.ndarray | None  # (GH, GW, 2) float32, or None if both are the same pixels
    photo_from_picture: np.ndarray | None  # (GH, GW, 2) float32


def pinhole(
    camera: ColmapCamera,
    *,
    photo_size: tuple[int, int],  # width, height of the photo as taken
    working_size: tuple[int, int],  # width, height the picture would have without distortion
) -> Pinhole:
    """The largest picture without blank pixels, at the resolution of `working_size`.

    The camera may have been solved at a third size; pixels convert by exact ratios. Raises LensError.
    """
    if not all(np.isfinite([camera.focal_length_x, camera.focal_length_y])) or camera.focal_length_x <= 0:
        raise LensError("its camera has no focal length")
    plain = _is_pinhole(camera)
    fx = camera.focal_length_x * working_size[0] / camera.width
    fy = camera.focal_length_y * working_size[1] / camera.height
    if plain:
        width, height = working_size
        cx = camera.principal_point_x * width / camera.width
        cy = camera.principal_point_y * height / camera.height
    else:
        left, top, right, bottom = _inner_rectangle(camera)
        width = max(1, int((right - left) * fx + 1e-6))
        height = max(1, int((bottom - top) * fy + 1e-6))
        # What whole pixels cannot cover is cropped on both sides alike; focal lengths stay what they are.
        cx = -left * fx - ((right - left) * fx - width) / 2
        cy = -top * fy - ((bottom - top) * fy - height) / 2
    if plain and photo_size == working_size:
        return Pinhole(fx, fy, cx, cy, width, height, None, None)

    photo_ratio = np.array([photo_size[0] / camera.width, photo_size[1] / camera.height])

    def photo_from_picture(pixels: np.ndarray) -> np.ndarray:
        return _distorted(camera, (pixels - (cx, cy)) / (fx, fy)) * photo_ratio

    def picture_from_photo(pixels: np.ndarray) -> np.ndarray:
        rays = _undistorted(camera, pixels / photo_ratio)
        return np.clip(rays * (fx, fy) + (cx, cy), (-4 * width, -4 * height), (5 * width, 5 * height))

    return Pinhole(
        fx, fy, cx, cy, width, height,
        _grid(picture_from_photo, *photo_size, (width, height)),
        _grid(photo_from_picture, width, height, photo_size),
    )  # fmt: skip


def _inner_rectangle(camera: ColmapCamera) -> tuple[float, float, float, float]:
    """Left, top, right, bottom on the plane z = 1, such that everything inside was photographed."""
    across, down = np.linspace(0, camera.width, 129), np.linspace(0, camera.height, 129)
    sides = [
        _undistorted(camera, np.stack([np.zeros(129), down], axis=1))[:, 0],
        _undistorted(camera, np.stack([across, np.zeros(129)], axis=1))[:, 1],
        _undistorted(camera, np.stack([np.full(129, camera.width), down], axis=1))[:, 0],
        _undistorted(camera, np.stack([across, np.full(129, camera.height)], axis=1))[:, 1],
    ]
    signs = np.array([-1, -1, 1, 1])
    # The nearest point of every side; sides beyond the widest angle yield nothing finite.
    box = np.array([
        sign * min(np.nanmin(np.where(np.isfinite(side), sign * side, WIDEST_TANGENT)), WIDEST_TANGENT)
        for sign, side in zip(signs, sides, strict=True)
    ])  # fmt: skip
    if (box * signs <= 0).any():
        raise LensError("its optical axis lies outside the picture")
    for _ in range(100):
        if _photographed(camera, box):
            return tuple(float(side) for side in box)  # type: ignore[return-value]
        box = box * 0.98
    raise LensError("its lens is too distorted")


def _photographed(camera: ColmapCamera, box: np.ndarray) -> bool:
    """Whether a lattice over the box falls into the photo, not too thinly, and back to where it came from."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], 33), np.linspace(box[1], box[3], 33))
    rays = np.stack([x.ravel(), y.ravel()], axis=1)
    pixels = _distorted(camera, rays)
    slack = 0.01
    size = np.array([camera.width, camera.height])
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= -slack) & (pixels <= size + slack)).all()
        returned = np.abs(_undistorted(camera, np.clip(pixels, 0, size)) - rays) * camera.focal_length_x
        return bool(inside and (returned < 0.5).all()) and bool(_stretch(camera, x, y, pixels) < LARGEST_STRETCH)


def _stretch(camera: ColmapCamera, x: np.ndarray, y: np.ndarray, pixels: np.ndarray) -> float:
    """How many picture pixels one pixel of the photo spans where it is worst, over a lattice of rays."""
    photo = pixels.reshape(*x.shape, 2) / camera.focal_length_x
    across = (np.diff(photo, axis=1) / np.diff(x, axis=1)[..., None])[:-1]
    down = (np.diff(photo, axis=0) / np.diff(y, axis=0)[..., None])[:, :-1]
    smallest = np.linalg.svd(np.stack([across, down], axis=-1), compute_uv=False)[..., -1]
    return 1 / max(float(smallest.min()), 1e-9)


def _distorted(camera: ColmapCamera, rays: np.ndarray) -> np.ndarray:
    flat = rays.reshape(-1, 2)
    points = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    return np.asarray(camera.img_from_cam(points), float).reshape(rays.shape)


def _undistorted(camera: ColmapCamera, pixels: np.ndarray) -> np.ndarray:
    """Positions on the plane z = 1, NaN where the lens model cannot be inverted."""
    flat = np.ascontiguousarray(pixels.reshape(-1, 2))
    rays = np.array(camera.cam_from_img(flat), float)
    # Beyond a model's range some inversions return nonsense instead of NaN: believe only what maps back.
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(_distorted(camera, rays) - flat).max(axis=1) < 0.05)
    rays[wrong] = np.nan
    return rays.reshape(pixels.shape)


def _is_pinhole(camera: ColmapCamera) -> bool:
    x, y = np.meshgrid(np.linspace(0, camera.width, 9), np.linspace(0, camera.height, 9))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    plain = (pixels - (camera.principal_point_x, camera.principal_point_y)) / (
        camera.focal_length_x,
        camera.focal_length_y,
    )
    difference = np.abs(_distorted(camera, plain) - pixels).max()
    return bool(difference < _EXACT)  # False for NaN


def _grid(mapping: Mapping, width: int, height: int, target_size: tuple[int, int]) -> np.ndarray:
    """(GH, GW, 2) float32 samples of a mapping over a full extent, fine enough where it lands in the target."""
    for nodes in _NODES:
        shape = _grid_shape(width, height, nodes)
        values = _sampled(mapping, width, height, shape)
        # Interpolation is worst in the middle of cells and of their edges.
        exact = _sampled(mapping, width, height, (2 * shape[0] - 1, 2 * shape[1] - 1))
        middle = exact.copy()
        middle[::2, 1::2] = (values[:, :-1] + values[:, 1:]) / 2
        middle[1::2] = (middle[:-1:2] + middle[2::2]) / 2
        middle[1::2, ::2] = (values[:-1] + values[1:]) / 2
        landing = _with_neighbours(((exact >= 0) & (exact <= target_size)).all(axis=-1))
        error = np.nan_to_num(np.abs(middle - exact)[landing], nan=np.inf)
        if error.max(initial=0) < GRID_TOLERANCE:
            break
    return _filled(values).astype(np.float32)


def _with_neighbours(mask: np.ndarray) -> np.ndarray:
    """The mask grown by one node: cells that reach into the target with a corner count, too."""
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    return np.any([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)


def _grid_shape(width: int, height: int, nodes: int) -> tuple[int, int]:
    cell = max(width, height) / (nodes - 1)
    return max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)


def _sampled(mapping: Mapping, width: int, height: int, shape: tuple[int, int]) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, width, shape[1]), np.linspace(0, height, shape[0]))
    return mapping(np.stack([x, y], axis=-1))


def _filled(grid: np.ndarray) -> np.ndarray:
    """The grid with its invalid nodes, which lie outside the picture, taking the value of a valid neighbour."""
    grid = grid.copy()
    for _ in range(sum(grid.shape[:2])):
        missing = ~np.isfinite(grid).all(axis=-1)
        if not missing.any() or missing.all():
            break
        for axis in (0, 1):
            for step in (1, -1):
                moved = np.roll(grid, step, axis=axis)
                edge = [slice(None)] * 3
                edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
                moved[tuple(edge)] = np.nan
                usable = missing & np.isfinite(moved).all(axis=-1)
                grid[usable] = moved[usable]
                missing &= ~usable
    return np.nan_to_num(grid, nan=-1e6)
