"""Points into where they lie in a view's picture, in it or beyond its frame, kept for any number of masks of it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.scene import Camera

_WIDENING = 0.25  # how fast an object that leaves the frame may widen beyond it
_FROM, _TO = 0.1, 0.3  # in roots of a mask's area: points count as away from it from here on, and wholly


class Framed:
    """Every row's place in one view, seen there or not."""

    def __init__(self, means: np.ndarray, camera: Camera) -> None:
        """means (N, 3), world."""
        pixels, depths = camera.project(means.astype(np.float64))
        places = np.nan_to_num(np.floor(pixels), nan=0.0)
        nearest = np.clip(places, 0, (camera.width - 1, camera.height - 1)).astype(np.int64)
        outside = places - nearest
        self._pixel = (nearest[:, 1] * camera.width + nearest[:, 0]).astype(np.int32)  # (N,), the nearest in the frame
        self._before = depths > 0  # (N,), the camera
        self._rows = np.flatnonzero(outside.any(1))  # (T,), beyond the frame
        self._nearest, self._outside = nearest[self._rows], outside[self._rows]  # (T, 2) px

    def beyond(self, mask: np.ndarray) -> np.ndarray:
        """(N,) float64 in 0..1: how far from a mask (H, W) bool the points lie in the picture; 1: all the way.

        Where a mask meets the frame its object may go on beyond, and widen like a cone.
        """
        if mask.all() or not mask.any():
            return np.zeros(len(self._pixel))
        distance = distance_transform_edt(~mask).ravel()[self._pixel]
        distance[self._rows] += np.linalg.norm(self._outside, axis=1)
        leaves = False
        for along, sides in ((0, (mask[0], mask[-1])), (1, (mask[:, 0], mask[:, -1]))):
            across = self._outside[:, 1 - along]
            for side, overflow in zip(sides, (-across, across), strict=True):
                if side.any():
                    leaves = True
                    there = np.flatnonzero(overflow > 0)
                    aside = distance_transform_edt(~side)[self._nearest[there, along]]
                    aside += np.abs(self._outside[there, along])
                    widened = np.maximum(aside - _WIDENING * overflow[there], 0)
                    rows = self._rows[there]
                    distance[rows] = np.minimum(distance[rows], widened)
        away = np.clip((distance / np.sqrt(mask.sum()) - _FROM) / (_TO - _FROM), 0, 1)
        return np.where(self._before, away, float(not leaves))
