"""A scene into the things in it that stand apart by themselves: walks from places spread over all of it.

Each walk finds what one click there would mean. What does not stand apart is nobody's; a thing that falls into things
is each of them, and parts of a thing are the thing.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backend.progress import Progress, Quiet
from backend.segment.region import STANDS_APART, Walks

MOST = 255  # things; their numbers fit in a byte
_WALKS = 128
_STARTS = 8  # rows of each walk
_OUTER = 0.02  # of the rows lie beyond each side of where walks start: stray ones are far from everything
_LEAST = 60  # solid rows of a thing
_WITHIN = 0.5  # of the smaller of two, from which on they are one, or part of one another
_GROUND = 0.5  # of its rows: more is a piece of the ground


def standing_apart(walks: Walks, means: np.ndarray, progress: Progress | None = None) -> list[np.ndarray]:
    """Solid rows of each thing, ascending, the largest first. They share no row. `means` are (N, 3) of all rows."""
    progress = progress or Quiet()
    points = means[walks.rows].astype(np.float64)
    tree, count = cKDTree(points), len(points)
    low, high = np.quantile(points, (_OUTER, 1 - _OUTER), axis=0)
    left = ~walks.on_ground & ((points >= low) & (points <= high)).all(1)
    far = np.linalg.norm(points - np.median(points, 0), axis=1)
    place = int(np.where(left, far, np.inf).argmin())
    nearest = np.full(count, np.inf)
    found: list[np.ndarray] = []
    for _ in range(_WALKS):
        if not left.any():
            break
        starts = tree.query(points[place], k=min(_STARTS, count))[1]
        seeds = np.zeros(len(means))
        seeds[walks.rows[starts]] = 1
        region = walks.region([seeds])
        assert region is not None  # solid rows are seeds
        left[starts] = left[place] = False
        if region.separation < STANDS_APART:
            own = np.searchsorted(walks.rows, region.rows)
            if walks.on_ground[own].mean() < _GROUND:  # what stands on it is to be found yet
                left[own] = False
                found.append(own)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[place], axis=1))
        place = int(np.where(left, nearest, -1).argmax())  # the farthest from all places before
        progress.advance()
    return [walks.rows[own] for own in _things(found, count) if len(own) >= _LEAST][:MOST]


def _things(found: list[np.ndarray], count: int) -> list[np.ndarray]:
    """What was found, each thing once, the largest first: places among `count`."""
    owner = np.full(count, -1)
    kept: dict[int, np.ndarray] = {}
    for number, own in enumerate(sorted(found, key=len)):
        inside = owner[own]
        if (inside >= 0).mean() > _WITHIN:
            continue  # things one by one, or one of them again
        for other, share in zip(*np.unique(inside[inside >= 0], return_counts=True), strict=True):
            if share > _WITHIN * len(kept[other]):
                del kept[other]
                owner[owner == other] = -1
        kept[number] = own
        owner[own] = number
    left = [np.flatnonzero(owner == number) for number in kept]
    return sorted((own for own in left if len(own)), key=lambda own: (-len(own), own[0]))
