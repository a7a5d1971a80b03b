"""A selection and masks of photos into scores: how well the rendered object fits what people drew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from backend.render import Seen
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.segment import metrics

_LONGEST_SIDE = 2048  # pixels; above, alpha is rendered coarser and interpolated


@dataclass(frozen=True)
class ViewScore:
    """One photo's figures; None where a figure is not defined."""

    photo: str
    iou: float | None
    boundary_iou: float | None
    extracted_iou: float | None
    spill: float | None


class Judge:
    """A scene drawn for one photo, and any number of its objects against masks of that photo."""

    def __init__(self, scene: Gaussians, workspace: Workspace, photo: Photo) -> None:
        self.scene, self.photo = scene, photo.name
        self._camera, positions = covering(workspace, photo)
        self._sampling = _Sampling(self._camera, positions)
        self._seen = Seen(scene, self._camera)

    def score(self, rows: np.ndarray, mask: np.ndarray) -> ViewScore:
        """An object's rows (M,) against a mask (H, W) bool on the photo as taken."""
        occluded = self._sampling.of(_share(self._seen, rows))
        alone = self._sampling.of(Seen(self.scene.take(rows), self._camera).alpha())
        predicted = occluded > metrics.ALPHA_THRESHOLD
        return ViewScore(
            self.photo,
            metrics.iou(predicted, mask),
            metrics.boundary_iou(predicted, mask),
            metrics.iou(alone > metrics.ALPHA_THRESHOLD, mask),
            metrics.spill(alone, mask),
        )


def score(scene: Gaussians, rows: np.ndarray, workspace: Workspace, photo: Photo, mask: np.ndarray) -> ViewScore:
    """One object in one photo; for several, keep a `Judge`."""
    return Judge(scene, workspace, photo).score(rows, mask)


def visible_share(scene: Gaussians, rows: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) float32: how much of each pixel the rows fill, the rest of the scene standing in front."""
    return _share(Seen(scene, camera), rows)


def _share(seen: Seen, rows: np.ndarray) -> np.ndarray:
    chosen = np.zeros((seen.count, 1), np.float32)
    chosen[rows] = 1
    return seen.render_channels(chosen)[..., 0]


def covering(workspace: Workspace, photo: Photo) -> tuple[Camera, np.ndarray]:
    """A pinhole view at the photo's pose that shows all of it, and where its pixels lie in that view.

    Undistorted pictures may be cropped: the view reaches as far as the lens maps the photo's pixels. The
    positions are (H, W, 2) float64 pixels of the view at the photo's pixel centres.
    """
    camera = photo.camera
    assert camera is not None  # callers pass used photos
    x, y = np.meshgrid(np.arange(photo.width) + 0.5, np.arange(photo.height) + 0.5)
    points = np.stack([x, y], -1)
    lens = workspace.lens(photo)
    if lens is None:
        positions = points * (camera.width / photo.width, camera.height / photo.height)
    else:
        positions = lens.to_picture(points).astype(np.float64)
    finite = positions[np.isfinite(positions).all(-1)]
    # A lens may map its corners absurdly far; what is that far off is not in the scene.
    room = np.array([camera.width, camera.height])
    low = np.floor(np.clip(finite.min(0), -room, 0)).astype(int)
    high = np.ceil(np.clip(finite.max(0), room, 2 * room)).astype(int)
    wide = replace(
        camera,
        cx=camera.cx - low[0],
        cy=camera.cy - low[1],
        width=int(high[0] - low[0]),
        height=int(high[1] - low[1]),
    )
    ratio = min(
        max(photo.width, photo.height) / max(camera.width, camera.height), _LONGEST_SIDE / max(wide.width, wide.height)
    )
    view = wide.resized(max(1, round(wide.width * ratio)), max(1, round(wide.height * ratio)))
    return view, (positions - low) * (view.width / wide.width, view.height / wide.height)


def sampled(picture: np.ndarray, camera: Camera, positions: np.ndarray) -> np.ndarray:
    """(H, W) float32 picture of the camera at positions (..., 2), 0 outside."""
    return _Sampling(camera, positions).of(picture)


class _Sampling:
    """Positions (..., 2) in pictures of one camera, ready for any number of them."""

    def __init__(self, camera: Camera, positions: np.ndarray) -> None:
        self._shape = (camera.height, camera.width)
        places = np.nan_to_num(positions, nan=-1e6) - 0.5
        self._x, self._y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
        # Half a pixel beyond the outermost centres is still in the picture.
        self._inside = (self._x > -0.5 - 1e-6) & (self._x < camera.width - 0.5 + 1e-6)
        self._inside &= (self._y > -0.5 - 1e-6) & (self._y < camera.height - 0.5 + 1e-6)

    def of(self, picture: np.ndarray) -> np.ndarray:
        """(...,) float32, interpolated, 0 outside."""
        assert picture.shape == self._shape
        values = map_coordinates(picture, (self._y, self._x), order=1, mode="nearest", output=np.float32)
        return np.where(self._inside, values, 0)
