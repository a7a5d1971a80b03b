"""Gaussians into a graph: which rows are neighbours, and how alike they look and how close they lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from backend.features.colour import lab
from backend.render.harmonics import C0
from backend.scene import Gaussians

NEIGHBOURS = 8
_SEARCHED = 16
_CONTRAST_FLOOR = 0.02
_DROPPED_SHARE = 0.05  # the longest edges bridge gaps


@dataclass(frozen=True, eq=False)
class SceneGraph:
    """Neighbour pairs of the rows, each pair once."""

    spacing: np.ndarray  # (N,) float32, world units: median distance to 8 neighbours
    colors: np.ndarray  # (N, 3) float32, Lab of the direction-free colour
    descriptors: np.ndarray  # (N, D) float32
    edges: np.ndarray  # (E, 2) int64
    weights: np.ndarray  # (E,) float64 in 0..1: exp(−d²/2)
    lengths: np.ndarray  # (E,) float64: d

    @cached_property
    def held(self) -> np.ndarray:
        """(N,) float64, summed weights of each row's edges."""
        count = len(self.spacing)
        first, second = self.edges.T
        return np.bincount(first, self.weights, count) + np.bincount(second, self.weights, count)

    @cached_property
    def _incident(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each row's edges begin (N + 1,), and edges by row (2E,) int32."""
        ends = self.edges.T.ravel()
        by_row = np.argsort(ends, kind="stable")
        starts = np.searchsorted(ends[by_row], np.arange(len(self.spacing) + 1))
        return starts, (by_row % max(len(self.edges), 1)).astype(np.int32)

    def edges_of(self, rows: np.ndarray) -> np.ndarray:
        """Ascending numbers of the edges that touch any of some rows (M,)."""
        starts, by_row = self._incident
        counts = starts[rows + 1] - starts[rows]
        places = np.repeat(starts[rows] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(
            counts.sum()
        )
        touching = np.zeros(len(self.edges), bool)  # sorting their numbers would take longer than the cut
        touching[by_row[places]] = True
        return np.flatnonzero(touching)


def scene_graph(scene: Gaussians, features: np.ndarray | None = None) -> SceneGraph:
    """d² = |Δx|²/(ℓ_i ℓ_j) + |Δc|²/(χ_i χ_j), with ℓ and χ the local median distances."""
    means = scene.means.astype(np.float64)
    count = len(means)
    colors = lab(np.clip(scene.sh0[:, 0] * C0 + 0.5, 0, 1))
    descriptors = colors / 20
    if features is not None:
        descriptors = np.concatenate([descriptors, 0.3 * features.astype(np.float32)], 1)
    searched = min(_SEARCHED, count - 1)
    if searched < 1:
        return SceneGraph(
            np.ones(count, np.float32), colors, descriptors, np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(0)
        )
    distances, found = cKDTree(means).query(means, k=searched + 1, workers=-1)
    distances, found = distances[:, 1:], found[:, 1:]
    near = min(NEIGHBOURS, searched)
    spacing = np.maximum(np.median(distances[:, :near], 1), 1e-9)
    ends = pairs_once(found[:, :near])
    difference = np.linalg.norm(descriptors[ends[:, 0]] - descriptors[ends[:, 1]], axis=1)
    everywhere = np.linalg.norm(descriptors[:, None] - descriptors[found[:, :near]], axis=2)
    contrast = np.maximum(np.median(everywhere, 1), _CONTRAST_FLOOR)
    apart = ((means[ends[:, 0]] - means[ends[:, 1]]) ** 2).sum(1) / (spacing[ends[:, 0]] * spacing[ends[:, 1]])
    squared = apart + difference**2 / (contrast[ends[:, 0]] * contrast[ends[:, 1]])
    kept = squared <= np.quantile(squared, 1 - _DROPPED_SHARE)
    return SceneGraph(
        spacing.astype(np.float32),
        colors,
        descriptors.astype(np.float32),
        ends[kept],
        np.exp(-squared[kept] / 2),
        np.sqrt(squared[kept]),
    )


def pairs_once(neighbours: np.ndarray) -> np.ndarray:
    """(E, 2) int64 ascending: every pair of a row and one of its neighbours (N, k), once, the smaller row first."""
    count = len(neighbours)
    own = np.arange(count)[:, None]
    keys = np.unique(
        np.minimum(own, neighbours) * count + np.maximum(own, neighbours)
    )  # one number a pair: half a sort
    pairs = np.stack([keys // count, keys % count], 1)
    return pairs[pairs[:, 0] != pairs[:, 1]]
