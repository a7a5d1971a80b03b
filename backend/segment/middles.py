"""Clicks and what they correct into how far in its middle they lie: people click into the middle of what they mean."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

_TOLERANCE = 0.2  # coarse pixels: patches do not show the middle of a thin error


@njit(cache=True, parallel=True)
def middles(regions, before, places, positive):
    """(K, J) 0..1: how far in the middle of what it corrects each click lies, if the region (K, H, W) is meant.

    The first click corrects nothing: it lies in the region. Others lie in what was missing (positive) or too much
    in the answer (J, H, W) before them; 1 if that is where the largest error was and they are in its middle.
    """
    count, clicks = len(regions), len(places)
    result = np.zeros((count, clicks))
    for k in prange(count):
        for j in range(clicks):
            missing = regions[k] & ~before[j]
            deepest, here = inner_depth(missing, places[j, 0], places[j, 1])
            if j > 0:
                other, beyond = inner_depth(before[j] & ~regions[k], places[j, 0], places[j, 1])
                if not positive[j]:
                    here = beyond
                deepest = max(deepest, other)
            result[k, j] = (here + _TOLERANCE) / (deepest + _TOLERANCE) if deepest > 0 else 0.0
    return result


@njit(cache=True)
def inner_depth(mask, x, y):
    """The largest distance to the outside within a mask (H, W) bool, and that near a pixel x, y; chamfer distances, px.

    Only the mask's own extent is looked at: most are small.
    """
    top, bottom, left, right = mask.shape[0], 0, mask.shape[1], 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            if mask[i, j]:
                top, bottom = min(top, i), i + 1
                left, right = min(left, j), max(right, j + 1)
    if bottom == 0:
        return np.float32(0), np.float32(0)
    extent, x, y = mask[top:bottom, left:right], x - left, y - top
    height, width = extent.shape
    away = np.zeros((height + 2, width + 2), np.float32)
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            if extent[i - 1, j - 1]:
                near = min(away[i - 1, j], away[i, j - 1]) + 1
                away[i, j] = min(near, min(away[i - 1, j - 1], away[i - 1, j + 1]) + np.float32(1.4142))
    deepest = np.float32(0)
    for i in range(height, 0, -1):
        for j in range(width, 0, -1):
            if away[i, j] > 0:
                near = min(away[i + 1, j], away[i, j + 1]) + 1
                near = min(near, min(away[i + 1, j - 1], away[i + 1, j + 1]) + np.float32(1.4142))
                away[i, j] = min(away[i, j], near)
                deepest = max(deepest, away[i, j])
    here = np.float32(0)
    for i in range(max(0, y - 1), min(height, y + 2)):
        for j in range(max(0, x - 1), min(width, x + 2)):
            here = max(here, away[i + 1, j + 1])
    return deepest, here
