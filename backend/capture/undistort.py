"""Photos as taken into undistorted pictures, through the grids of their lenses."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from backend.capture.pictures import resized
from backend.scene.lenses import Lens

_ROWS_TOGETHER = 256  # bounds the memory of the dense map


def undistorted(photo: np.ndarray, lens: Lens, working_size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 photo as taken to the picture (picture_height, picture_width, 3) uint8.

    The photo is first averaged down to `working_size` (width, height), where a picture pixel is about as
    large as a photo's; cubic interpolation then keeps it sharp.
    """
    source = resized(photo, *working_size).astype(np.float32)
    ratio = np.divide(working_size, (lens.width, lens.height))
    picture = np.empty((lens.picture_height, lens.picture_width, photo.shape[2]), np.uint8)
    filtered = [_cubic(source[..., channel]) for channel in range(photo.shape[2])]
    x = np.arange(lens.picture_width) + 0.5
    for top in range(0, lens.picture_height, _ROWS_TOGETHER):
        y = np.arange(top, min(top + _ROWS_TOGETHER, lens.picture_height)) + 0.5
        nodes = np.stack(np.meshgrid(x, y), axis=-1)
        at = lens.to_photo(nodes) * ratio - 0.5
        for channel, coefficients in enumerate(filtered):
            values = map_coordinates(
                coefficients, (at[..., 1], at[..., 0]), order=3, mode="nearest", prefilter=False, output=np.float32
            )
            picture[top : top + len(y), :, channel] = np.clip(np.rint(values), 0, 255)
    return picture


def _cubic(channel: np.ndarray) -> np.ndarray:
    return spline_filter(channel, order=3, output=np.float32, mode="nearest")
