"""Pieces of a scene that one photo alone shows: a boat that passed, a cloud, a speck that nothing else contradicts.

What stands in one photo has no depth, so it ends up anywhere along its rays, floats in every other view and takes rows
from what is there. A piece is rows that touch; what hangs together with what others show is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from backend.render import seen_by
from backend.scene import Camera, Gaussians

PHOTOS_MIN = 6  # fewer show most of a place once
AT = (0.45, 0.60, 0.75, 0.90)  # fractions of the steps after which they go: what is freed still grows elsewhere
LONG_SIDE = 320  # pixels of the pictures that are looked at
NEIGHBOURS = 10
TOUCHING = 2.0  # times both rows' largest scales, between their centres
ALONE = 0.8  # of what all photos show of a piece is in one of them
LEAST_PX = 0.5  # of all photos together: less is seen by none


def solitary(
    scene: Gaussians, cameras: Sequence[Camera], engine: str = "cpu", *, looked: Callable[[], None] = lambda: None
) -> np.ndarray:
    """(N,) bool: rows of pieces that one camera alone sees, or none. None of them if there are few cameras.

    `looked` is called after each camera.
    """
    if len(cameras) < PHOTOS_MIN or len(scene) < 2:
        return np.zeros(len(scene), bool)
    piece = pieces(scene)
    count = int(piece.max()) + 1
    total, most = np.zeros(count), np.zeros(count)
    for camera in cameras:
        shown = np.bincount(piece, seen_by(engine, scene, camera.fitted(LONG_SIDE)).mass(), minlength=count)
        total += shown
        np.maximum(most, shown, out=most)
        looked()
    return ((most >= ALONE * total) | (total < LEAST_PX))[piece]


def pieces(scene: Gaussians) -> np.ndarray:
    """(N,) int32: which piece each row belongs to, from 0 on."""
    count, scales = len(scene), np.exp(scene.log_scales).max(1)
    distances, nearest = cKDTree(scene.means).query(scene.means, k=min(NEIGHBOURS + 1, count))
    touching = distances <= TOUCHING * (scales[:, None] + scales[nearest])
    first = np.broadcast_to(np.arange(count)[:, None], nearest.shape)[touching]
    ties = coo_matrix((np.ones(len(first), bool), (first, nearest[touching])), (count, count))
    return connected_components(ties, directed=False)[1]
