"""Lenses: between the pixels of a photo as it was taken and of its undistorted picture.

People click on photos and draw masks on photos as they took them; Gaussians are fitted to undistorted
pictures. A lens keeps both directions as coarse grids of positions, so that every camera model COLMAP
knows is treated alike and nothing above the capture knows any model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Lens:
    """The mapping of one photo. Grids span their picture's full extent, edges included."""

    width: int  # pixels of the photo as taken, upright
    height: int
    picture_width: int  # pixels of the undistorted picture
    picture_height: int
    picture_from_photo: np.ndarray  # (GH, GW, 2) float32, picture pixels at grid nodes over the photo
    photo_from_picture: np.ndarray  # (GH, GW, 2) float32, photo pixels at grid nodes over the picture

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Photo pixels (..., 2) to undistorted picture pixels (..., 2); some fall outside the picture."""
        return _interpolated(self.picture_from_photo, points, self.width, self.height)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Undistorted picture pixels (..., 2) to photo pixels (..., 2)."""
        return _interpolated(self.photo_from_picture, points, self.picture_width, self.picture_height)


def _interpolated(grid: np.ndarray, points: np.ndarray, width: int, height: int) -> np.ndarray:
    rows, columns = grid.shape[:2]
    x = np.clip(points[..., 0] / width, 0, 1) * (columns - 1)
    y = np.clip(points[..., 1] / height, 0, 1) * (rows - 1)
    left = np.minimum(np.nan_to_num(x).astype(int), columns - 2)  # NaN positions stay NaN
    top = np.minimum(np.nan_to_num(y).astype(int), rows - 2)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = grid[top, left] * (1 - fx) + grid[top, left + 1] * fx
    lower = grid[top + 1, left] * (1 - fx) + grid[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy
