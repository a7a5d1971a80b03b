"""A set of rows into a larger, a smaller, or several: along the neighbours of a scene's graph."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from backend.segment.graph import SceneGraph

_NEAR = 0.1  # weight of an edge that growth may follow
_ALIKE = 15.0  # Lab units: neighbours that differ more are another thing
_LINK = 3.0  # spacings: neighbours farther apart than that do not touch
MOST_STEPS = 100
LEAST_PART = 30  # rows: fewer are crumbs


def grown(chosen: np.ndarray, graph: SceneGraph, steps: int = 1) -> np.ndarray:
    """(N,) bool: with rows that are so many neighbours far, as long as near and alike ones lead there."""
    unlike = np.linalg.norm(graph.colors[graph.edges[:, 0]] - graph.colors[graph.edges[:, 1]], axis=1)
    edges = graph.edges[(graph.weights > _NEAR) & (unlike < _ALIKE)]
    result = chosen.copy()
    for _ in range(steps):
        first, second = result[edges].T
        result[edges[first & ~second, 1]] = True
        result[edges[second & ~first, 0]] = True
    return result


def shrunk(chosen: np.ndarray, graph: SceneGraph, steps: int = 1) -> np.ndarray:
    """(N,) bool: without rows that are so many neighbours far from the outside, alike or not."""
    result = chosen.copy()
    for _ in range(steps):
        first, second = result[graph.edges].T
        rim = np.concatenate([graph.edges[first & ~second, 0], graph.edges[second & ~first, 1]])
        result[rim] = False
    return result


def components(chosen: np.ndarray, means: np.ndarray, graph: SceneGraph) -> list[np.ndarray]:
    """Rows of each part that hangs together, (M,) int64 ascending, the largest part first."""
    return components_of(np.where(chosen, 0, -1), means, graph)


def components_of(owner: np.ndarray, means: np.ndarray, graph: SceneGraph) -> list[np.ndarray]:
    """The same of many sets at once: `owner` (N,) int says whose each row is, -1 for nobody's."""
    rows = np.flatnonzero(owner >= 0)
    place = np.full(len(owner), -1)
    place[rows] = np.arange(len(rows))
    first, second = owner[graph.edges].T
    edges = graph.edges[(first >= 0) & (first == second)]
    apart = np.linalg.norm(means[edges[:, 0]].astype(np.float64) - means[edges[:, 1]], axis=1)
    edges = place[edges[apart <= _LINK * np.maximum(graph.spacing[edges].max(1), 1e-9)]]
    ties = coo_matrix((np.ones(len(edges), bool), edges.T), (len(rows), len(rows)))
    count, labels = connected_components(ties, directed=False)
    sizes = np.bincount(labels, minlength=count)
    parts = np.split(rows[np.argsort(labels, kind="stable")], np.cumsum(sizes)[:-1])
    return [parts[label] for label in np.argsort(-sizes, kind="stable")]
