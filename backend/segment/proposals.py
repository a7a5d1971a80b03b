"""Features of Gaussians into proposals of objects: clusters of a sample, which the other rows join, part by part."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import HDBSCAN

from backend.progress import Progress, Quiet
from backend.segment.graph import SceneGraph
from backend.segment.shaping import LEAST_PART, components_of

SAMPLE_SHARE = 0.02
SAMPLE_LEAST, SAMPLE_MOST = 2_000, 10_000
_SMALLEST, _EPSILON = 10, 0.01  # rows of a cluster in the sample; distance below which clusters are one
_ALIKE = 0.5  # cosine to a cluster's centre
_ROWS = 1 << 16


def proposals(
    features: np.ndarray,  # (N, D) float
    usable: np.ndarray,  # (N,) bool, rows that have features
    means: np.ndarray,  # (N, 3) float32
    graph: SceneGraph,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Rows of each proposal, ascending, the largest first. They share no row; crumbs of less than 30 are left out.

    `progress` hears of the rows that join. The clusters of the sample are one step, of some seconds: HDBSCAN cannot be
    divided.
    """
    progress = progress or Quiet()
    rows = np.flatnonzero(usable & (np.linalg.norm(features, axis=1) > 1e-6))
    size = min(len(rows), SAMPLE_MOST, max(SAMPLE_LEAST, int(SAMPLE_SHARE * len(rows))))
    if size < 2 * _SMALLEST:
        return []
    sample = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
    unit = _unit(features[sample])
    labels = HDBSCAN(min_cluster_size=_SMALLEST, cluster_selection_epsilon=_EPSILON, copy=True).fit(unit).labels_
    progress.advance()
    count = int(labels.max()) + 1
    if count == 0:
        return []
    centres = _unit(np.stack([unit[labels == label].mean(0) for label in range(count)]))
    owner = np.full(len(features), -1)
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        cosines = _unit(features[part]) @ centres.T
        owner[part] = np.where(cosines.max(1) > _ALIKE, cosines.argmax(1), -1)
        progress.advance()
    owner[sample[labels >= 0]] = labels[labels >= 0]
    parts = (part for part in components_of(owner, means, graph) if len(part) >= LEAST_PART)
    return sorted(parts, key=lambda part: (-len(part), part[0]))


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
