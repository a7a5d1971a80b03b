"""A posterior into a selection: rows nobody voted on follow their neighbours, and the edge follows the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from backend.scene import Gaussians
from backend.segment.graph import SceneGraph
from backend.segment.mincut import minimum_cut
from backend.segment.posterior import PRIOR_AGAINST, PRIOR_FOR, UNIT, Posterior, Votes
from backend.segment.region import Walks

_STRAY = 2.0  # in the distance from the middle that 95 % of the rows keep
_COLOR = 15.0  # Lab units: neighbours that differ by this count 0.6 of like ones
_ENCLOSING = 4  # masks that say what only an object hides; fewer: others may see it well
_ENCLOSED = 0.8  # of a hidden row's votes are inside, if it is the object's


@dataclass(frozen=True)
class Refinement:
    """How a posterior becomes rows."""

    neighbours: int = 8  # voted rows an unvoted one listens to; more: smoother
    reach: float = 6.0  # unvoted rows listen no farther than so many spacings
    band: float = 2.0  # |log odds| around the threshold within which the cut may decide
    smoothness: float = 0.1  # more: shorter edges and fewer floaters, but small parts get lost


def log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def walked(counts: Posterior, walks: Walks) -> tuple[np.ndarray, np.ndarray]:
    """Probability (N,) float64 and whether a row has one (N,) bool, after walks from the voted rows.

    Solid rows without votes, such as backs and interiors, get half a vote shared by the walks that reach
    them: 13–90 % of what a single mask misses are rows nobody voted on.
    """
    probability, known = counts.probability.copy(), counts.voted.copy()
    if not known.any():
        return probability, known
    silent = ~known[walks.rows]
    if not silent.any():
        return probability, known
    share = walks.share(counts.inside - PRIOR_FOR, counts.outside - PRIOR_AGAINST)
    rows = walks.rows[silent]
    given = UNIT / 2
    probability[rows] = (counts.inside[rows] + given * share[silent]) / (
        counts.inside[rows] + counts.outside[rows] + given
    )
    known[rows] = True
    return probability, known


def enclosed(probability: np.ndarray, counts: Posterior, evidence: Sequence[Votes]) -> np.ndarray:
    """(N,) float64: a row that shows so little that it has no vote, and shows that through the object, is the object's.

    Such rows lie inside and just behind. Where an object is deleted they would stay as its ghost.
    """
    if sum(votes.mask_mass > 0 for votes in evidence) < _ENCLOSING:
        return probability
    inside, outside = counts.inside - PRIOR_FOR, counts.outside - PRIOR_AGAINST
    share = inside / np.maximum(inside + outside, 1)
    return np.where(~counts.voted & (share > _ENCLOSED), np.maximum(share, probability), probability)


class Followers:
    """Rows nobody can walk on, such as haze and thin sheets, and the solid rows around that they listen to."""

    def __init__(self, scene: Gaussians, graph: SceneGraph, solid: np.ndarray, settings: Refinement) -> None:
        """`solid` (S,) int64 rows, ascending."""
        others = np.ones(len(scene), bool)
        others[solid] = False
        rows = np.flatnonzero(others)
        k = min(settings.neighbours, len(solid))
        means = scene.means.astype(np.float64)
        reach = settings.reach * np.maximum(graph.spacing[rows], 1e-9).astype(np.float64)
        distances, found = cKDTree(means[solid]).query(means[rows], k=k, workers=-1)
        distances, found = distances.reshape(-1, k), found.reshape(-1, k)
        near = distances[:, 0] <= reach
        self.rows = rows[near]  # (T,) int64
        self.heard = solid[found[near]].astype(np.int32)  # (T, k)
        spacing = reach[near, None] / settings.reach
        unlike = ((graph.colors[self.heard] - graph.colors[self.rows][:, None]) ** 2).sum(2) / (2 * _COLOR**2)
        weights = np.exp(-distances[near] / (2 * spacing) - unlike) + 1e-12
        self.weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)  # (T, k), each row sums to 1

    def filled(self, probability: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(N,) float64 probability; rows that are not known (N,) bool get the weighted mean of those they hear."""
        silent = ~known[self.rows]
        result = probability.copy()
        result[self.rows[silent]] = (self.weights[silent] * probability[self.heard[silent]]).sum(1)
        return result


def without_strays(chosen: np.ndarray, scene: Gaussians, pointed: np.ndarray) -> np.ndarray:
    """(N,) bool without rows absurdly far from the rest: haze that a mask shone through.

    `pointed` (N,) bool are rows that somebody chose by themselves, by a click or a look. They stay wherever they are,
    and what was chosen around them.
    """
    points = scene.means[chosen].astype(np.float64)
    if len(points) < 20:
        return chosen
    distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    reach = _STRAY * np.quantile(distances, 0.95)
    near = distances <= reach
    away, own = np.flatnonzero(~near), ~near & pointed[chosen]
    if own.any():
        near[away] = cKDTree(points[own]).query(points[away])[0] <= reach
    kept = chosen.copy()
    kept[chosen] = near
    return kept


def banded(
    probability: np.ndarray,  # (N,) float64
    threshold: float,
    graph: SceneGraph,
    settings: Refinement,
) -> np.ndarray:
    """(N,) bool: the threshold's answer, with the rows it is unsure about divided by a minimum cut."""
    unary = log_odds(probability) - log_odds(np.float64(threshold))
    chosen = unary >= 0
    # A row that is surer than all its neighbours together can change stays as it is in every best cut.
    band = (np.abs(unary) < settings.band) & (np.abs(unary) <= settings.smoothness * graph.held + 1e-3)
    if settings.smoothness <= 0 or not band.any():
        return chosen
    touching = graph.edges_of(np.flatnonzero(band))
    ends = graph.edges[touching]
    involved = np.zeros(len(unary), bool)
    involved[ends] = True
    nodes = np.flatnonzero(involved | band)
    place = np.full(len(unary), -1)
    place[nodes] = np.arange(len(nodes))
    fixed = np.where(chosen[nodes], np.inf, -np.inf)
    result = minimum_cut(
        np.where(band[nodes], unary[nodes], fixed),
        place[ends],
        settings.smoothness * graph.weights[touching],
    )
    chosen[nodes] = result
    return chosen
