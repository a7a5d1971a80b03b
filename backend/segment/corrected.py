"""Several clicks into one region: what a walk from all of them suggests, corrected around each click.

One click may be answered by any prefix of a walk's sweep; further clicks say which prefixes are wrong, and where.
A minimum cut weighs the best remaining prefix against short walks from each click, which reach what hangs
together with it, and against the colours around the clicks. Far from all clicks the prefix stays as it is: a
correction at a rim must not cost the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from backend.segment.clumps import Clumps
from backend.segment.mincut import minimum_cut
from backend.segment.sweep import Sweep

_WRONG = 1.0  # log of separation: how much worse a prefix may be for putting one more click on its right side
_SUGGESTED = 1.5  # log odds that a suggestion is right, everywhere
_REACHED = 0.5  # weight of the log odds of short walks
_REACHED_MOST = 6.0
_ABOVE_CHANCE = 3.0  # visits against those of a walk from anywhere, below which walks say nothing
_COLORS = 1.0  # weight of the log odds of colours
_COLORS_MOST = 3.0
_COLOR_WIDTH = 0.35  # deviations of a feature
_COLOR_FLOOR = 1e-3  # share of rows whose colour says nothing
_AROUND = 30  # rows whose colours stand for a click
_BESIDE = 0.7  # weight of the colours around negative clicks against those of everything outside
_UNREACHED = 0.5  # log odds of walks: what is reached more is no example of the background
_STIFF = 3.0  # more: shorter outlines
_HOLDS = 0.02  # ties above this make one piece


def fitting(sweep: Sweep, starts: tuple[Sequence[np.ndarray], Sequence[np.ndarray]]) -> int:
    """How many rows the best prefix has that clicks, each (S,) weights where it starts, do not speak against."""
    return sweep.best(lambda count: _WRONG * _misplaced(sweep.rank < count, starts))


def corrected(
    suggested: np.ndarray,  # (S,) bool, what a long walk from all positive clicks suggests: `fitting`
    reached: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],  # visits (S,) of short walks from each click
    starts: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],  # where they start, (S,) weights; positive, negative
    looks: np.ndarray,  # (S, 3) float, each channel with deviation 1
    volumes: np.ndarray,  # (S,) float64, of the short walks' ties
    clumps: Clumps,  # of the short walks' ties
) -> np.ndarray:
    """(S,) bool: the region. At least one positive click is needed."""
    chance = _ABOVE_CHANCE / volumes.sum()
    nothing = np.zeros(len(looks))
    towards, against = (np.max(visits, 0) if len(visits) else nothing for visits in reached)
    walks = np.log((towards + chance) / (against + chance))
    unary = _SUGGESTED * np.where(suggested, 1.0, -1.0) + _REACHED * np.clip(walks, -_REACHED_MOST, _REACHED_MOST)
    background = np.where(~suggested & (walks < _UNREACHED), volumes, 0)
    unary += _COLORS * _color_odds(looks, reached, background)
    on, beside = (np.sum(weights, 0) if len(weights) else nothing for weights in starts)
    unary[beside > 0] = -np.inf
    unary[(on > 0) & (on >= beside)] = np.inf
    chosen = clumps.spread(minimum_cut(clumps.gathered(unary), clumps.edges, _STIFF * clumps.strengths))
    chosen[(beside > 0) & (beside > on)] = False
    return chosen & _touching(chosen, on > 0, clumps)


def _misplaced(inside: np.ndarray, starts: tuple[Sequence[np.ndarray], Sequence[np.ndarray]]) -> int:
    """How many clicks a region (S,) bool has on the wrong side."""
    positive, negative = ([weights[inside].sum() / weights.sum() for weights in side] for side in starts)
    return sum(share < 0.5 for share in positive) + sum(share > 0.5 for share in negative)


def _color_odds(
    looks: np.ndarray, reached: tuple[Sequence[np.ndarray], Sequence[np.ndarray]], background: np.ndarray
) -> np.ndarray:
    """(S,) float64 log odds that a row's colour is one from around the positive clicks."""
    cells = np.floor((looks - looks.min(0)) * (2 / _COLOR_WIDTH)).astype(np.int64)
    cells = np.minimum(cells, 99)  # outliers of one channel
    around = [np.zeros(len(looks)) for _ in reached]
    for weights, side in zip(around, reached, strict=True):
        for visits in side:
            weights[np.argpartition(-visits, min(_AROUND, len(visits) - 1))[:_AROUND]] += 1
    own = _density(cells, around[0]) + _COLOR_FLOOR
    other = _density(cells, background) + _COLOR_FLOOR
    if around[1].any():
        other = np.maximum(other, _BESIDE * _density(cells, around[1]))
    return np.clip(np.log(own / other), -_COLORS_MOST, _COLORS_MOST)


def _density(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(S,) float64: the weighted share of rows that look alike, those at one width's distance counting 0.6."""
    if not weights.any():
        return np.zeros(len(cells))
    grid = np.zeros(cells.max(0) + 1)
    np.add.at(grid, tuple(cells.T), weights / weights.sum())
    width = 2.0  # cells
    smooth = gaussian_filter(grid, width, mode="constant", truncate=3.0) * (width * np.sqrt(2 * np.pi)) ** 3
    return smooth[tuple(cells.T)]


def _touching(chosen: np.ndarray, clicked: np.ndarray, clumps: Clumps) -> np.ndarray:
    """(S,) bool: the pieces of a choice that some positive click lies in."""
    edges, strengths = clumps.fine
    held = edges[chosen[edges].all(1) & (strengths > _HOLDS)]
    count, pieces = connected_components(
        coo_matrix((np.ones(len(held), bool), (held[:, 0], held[:, 1])), (len(chosen), len(chosen))), directed=False
    )
    kept = np.zeros(count, bool)
    kept[pieces[clicked]] = True
    return kept[pieces]
