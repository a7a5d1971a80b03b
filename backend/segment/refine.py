"""A posterior into a selection: rows nobody voted on follow their neighbours, and the edge follows the scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from backend.scene import Gaussians
from backend.segment.graph import SceneGraph
from backend.segment.mincut import minimum_cut
from backend.segment.posterior import Posterior


@dataclass(frozen=True)
class Refinement:
    """How a posterior becomes rows."""

    neighbours: int = 8  # voted rows an unvoted one listens to; more: smoother
    reach: float = 6.0  # unvoted rows listen no farther than so many spacings
    band: float = 2.0  # |log odds| around the threshold within which the cut may decide
    smoothness: float = 1.0  # more: shorter edges, small parts get lost


def log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def filled(counts: Posterior, scene: Gaussians, graph: SceneGraph, settings: Refinement) -> np.ndarray:
    """(N,) float64 probability; unvoted rows get the weighted mean of the nearest voted ones.

    Unseen backs and interiors are 13–90 % of what a single mask misses.
    """
    probability = counts.probability.copy()
    voted = counts.voted
    if not voted.any() or voted.all():
        return probability
    means = scene.means.astype(np.float64)
    known, unknown = np.flatnonzero(voted), np.flatnonzero(~voted)
    k = min(settings.neighbours, len(known))
    distances, found = cKDTree(means[known]).query(means[unknown], k=k)
    distances, found = distances.reshape(-1, k), known[found.reshape(-1, k)]
    scale = np.maximum(graph.spacing[unknown], 1e-9)[:, None]
    unlike = ((graph.colors[found] - graph.colors[unknown][:, None]) ** 2).sum(2) / (2 * 15.0**2)
    weights = np.exp(-distances / (2 * scale) - unlike) + 1e-12
    guess = (weights * probability[found]).sum(1) / weights.sum(1)
    near = distances[:, 0] <= settings.reach * scale[:, 0]
    probability[unknown] = np.where(near, guess, probability[unknown])
    return probability


def banded(
    probability: np.ndarray, voted: np.ndarray, threshold: float, graph: SceneGraph, settings: Refinement
) -> np.ndarray:
    """(N,) bool: the threshold's answer, with the rows it is unsure about divided by a minimum cut."""
    unary = log_odds(probability) - log_odds(np.float64(threshold))
    chosen = unary >= 0
    band = np.abs(unary) < settings.band
    if settings.smoothness <= 0 or not band.any():
        return chosen
    involved = band.copy()
    touching = band[graph.edges].any(1)
    involved[graph.edges[touching]] = True
    nodes = np.flatnonzero(involved)
    place = np.full(len(unary), -1)
    place[nodes] = np.arange(len(nodes))
    fixed = np.where(chosen[nodes], np.inf, -np.inf)
    result = minimum_cut(
        np.where(band[nodes], unary[nodes], fixed),
        place[graph.edges[touching]],
        settings.smoothness * graph.weights[touching],
    )
    chosen[nodes] = result
    return chosen
