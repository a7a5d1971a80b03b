"""A photo into the pixels that show plain sky, found without a network.

Sky is what no photo has a feature on: smooth, above the horizon, joined to the upper edge of the photo, and
blue, or brighter than most of the rest. A bright smooth wall that fills the upper edge is taken for sky too;
nothing could be triangulated there either. The sky of a night is missed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from backend.scene import Camera

LONG_SIDE = 240  # pixels at which photos are looked at: noise is averaged, thin wires vanish
STEP_MAX = 0.035  # of the colour range between neighbours
LEAST_SHARE = 0.01  # of the photo; less is not worth a decision
AROUND_POINT = 6  # pixels around a sparse point that are no sky: walls are full of points
LEAK = 2  # pixels: ways narrower than twice that lead from the sky into something else
BLUE_MIN = 0.1  # blue over red: what may be darker than the rest
ELEVATION_MIN = -0.05  # sine of the angle above the horizon, as far as up is known


def plain_sky(
    colors: np.ndarray,  # (H, W, 3) float32 in 0..1, about LONG_SIDE pixels long
    camera: Camera,  # of that size; +z of the scene is up
    points: np.ndarray,  # (M, 2) pixels of the sparse points that the photo sees
) -> np.ndarray:
    """(H, W) bool. Nothing is sky in a photo that looks down."""
    height, width = colors.shape[:2]
    smooth = ndimage.gaussian_filter(colors, (1, 1, 0), mode="nearest")
    step = np.zeros((height, width), np.float32)
    for axis in (0, 1):
        difference = np.abs(np.diff(smooth, axis=axis)).max(-1)
        for after in (True, False):  # both pixels of a pair
            beside = np.insert(difference, 0 if after else difference.shape[axis], 0, axis=axis)
            step = np.maximum(step, beside)
    above = camera.rays(camera.pixel_centres())[..., 2] > ELEVATION_MIN
    inside = ((points >= 0) & (points < (width, height))).all(1)  # NaN, behind the camera, is not
    empty = np.ones((height, width), bool)
    x, y = points[inside].astype(int).T
    empty[y, x] = False
    empty = ndimage.distance_transform_edt(empty) > AROUND_POINT
    open_sky = ndimage.binary_erosion((step < STEP_MAX) & above & empty, iterations=LEAK, border_value=1)
    parts, count = ndimage.label(open_sky)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    brightness = colors.mean(-1)
    found = np.zeros((height, width), bool)
    for part in np.unique(parts[0]):
        inside = parts == part
        if part and sizes[part] >= LEAST_SHARE * height * width:
            red, _, blue = np.median(colors[inside], axis=0)
            if blue - red > BLUE_MIN or np.median(brightness[inside]) >= np.median(brightness):
                found |= inside
    return found
