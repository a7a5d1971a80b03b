"""A rendered selection into points that a person would click: deep inside it, and beside it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

COUNT = 3  # of each kind
_INSIDE, _OUTSIDE = 0.5, 0.2  # of a rendered posterior: what lies between is nowhere
_ROOM = 0.5  # of the object's extent: so far beside it, on each side, points may lie
_LEAST_PX = 1.0  # from the edge


def points_of(share: np.ndarray, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """(K, 2) float64 pixels x, y and (K,) bool, True inside, of a rendered posterior (H, W) in 0..1.

    Up to `count` of each, the inner ones first; none at all if nothing is inside.
    """
    inside = share > _INSIDE
    if not inside.any():
        return np.zeros((0, 2)), np.zeros(0, bool)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    around = np.zeros(share.shape, bool)
    tall, wide = (round(_ROOM * len_ + 1) for len_ in (rows[-1] - rows[0], columns[-1] - columns[0]))
    around[
        max(0, rows[0] - tall) : rows[-1] + tall + 1,
        max(0, columns[0] - wide) : columns[-1] + wide + 1,
    ] = True
    on, beside = _deepest(inside, count), _deepest(around & (share < _OUTSIDE), count)
    return np.concatenate([on, beside]), np.repeat([True, False], [len(on), len(beside)])


def _deepest(mask: np.ndarray, count: int) -> np.ndarray:
    """(K, 2) pixel centres, each the farthest from the mask's edge and from the circles around those before."""
    left, found = mask.copy(), []
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    while len(found) < count:
        depth = distance_transform_edt(np.pad(left, 1))[1:-1, 1:-1]  # the picture's frame is an edge, too
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] < _LEAST_PX:
            break
        found.append((column + 0.5, row + 0.5))
        left &= np.hypot(y - row, x - column) >= depth[row, column]
    return np.array(found).reshape(-1, 2)
