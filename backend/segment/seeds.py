"""Clicks on a picture into the rows somebody pointed at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.render import Seen

HALF_WINDOW_PX = 3
_CONTRIBUTORS = 8  # per pixel
_SHARE = 0.7  # of the window's weight that its heaviest rows make up
_MOST = 64


@dataclass(frozen=True, eq=False)
class Seeds:
    """Rows under clicks."""

    rows: np.ndarray  # (M,) int64
    weights: np.ndarray  # (M,) float64, summed blending weight in the clicks' windows

    def __len__(self) -> int:
        return len(self.rows)

    def over(self, count: int) -> np.ndarray:
        """(count,) float64: the weights of all rows of a scene, 0 where nobody pointed."""
        result = np.zeros(count)
        result[self.rows] = self.weights
        return result


def contributors(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest rows of every pixel of a view, as `seeds_at` wants them: made once for any number of clicks."""
    return seen.top_contributors(_CONTRIBUTORS)


def seeds_at(
    top: tuple[np.ndarray, np.ndarray],  # of `contributors`
    depths: np.ndarray,  # (N,) float64, camera z of every row
    points: np.ndarray,  # (K, 2) float64, pixels of the view
    spacing: np.ndarray,  # (N,) float32, world units
) -> Seeds:
    """The heaviest rows in a 7x7 window around each point that lie at its surface, not behind or before."""
    ids, weights = top
    height, width = ids.shape[:2]
    totals = np.zeros(len(depths))
    for x, y in points:
        column, row = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
        window = np.s_[
            max(0, row - HALF_WINDOW_PX) : row + HALF_WINDOW_PX + 1,
            max(0, column - HALF_WINDOW_PX) : column + HALF_WINDOW_PX + 1,
        ]
        here, weight = ids[window].ravel(), weights[window].ravel()
        rows, place = np.unique(here[here >= 0], return_inverse=True)
        mass = np.bincount(place, weight[here >= 0], len(rows))
        near = _at_surface(mass, depths[rows], spacing[rows])
        totals[rows[near]] += mass[near]
    rows = np.flatnonzero(totals)
    return Seeds(rows, totals[rows])


def _at_surface(mass: np.ndarray, depths: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Places of the heaviest rows near their weighted median depth."""
    order = np.argsort(-mass, kind="stable")[:_MOST]
    order = order[mass[order] > 0]
    if not len(order):
        return order
    order = order[: int(np.searchsorted(np.cumsum(mass[order]), _SHARE * mass.sum())) + 1]
    by_depth = order[np.argsort(depths[order], kind="stable")]
    running = np.cumsum(mass[by_depth])
    median = depths[by_depth[int(np.searchsorted(running, running[-1] / 2))]]
    return order[np.abs(depths[order] - median) <= 2 * spacing[order] + 0.02 * abs(median)]
