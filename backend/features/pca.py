"""Lifted features into colours a person can look at: like features, like colours."""

from __future__ import annotations

import numpy as np

from backend.features.lift import Lifted
from backend.scene import Workspace

MOST_ROWS = 50_000
UNSEEN = 0.5  # grey


def principal_colors(workspace: Workspace, name: str = "colour") -> np.ndarray:
    """(N, 3) float32 in 0..1: three principal components, each between its 2 and 98 % quantiles.

    Rows weigh by how many pixels they filled. Raises InputError if the features were not lifted.
    """
    lifted = Lifted.find(workspace, name)
    seen = np.flatnonzero(~lifted.unseen)
    colors = np.full((len(lifted.unseen), 3), UNSEEN, np.float32)
    if len(seen) < 4:
        return colors
    chosen = seen[np.random.default_rng(0).permutation(len(seen))[:MOST_ROWS]]
    features = lifted.features[chosen].astype(np.float64)
    weights = lifted.mass[chosen].astype(np.float64)
    mean = np.average(features, axis=0, weights=weights)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov((features - mean).T, aweights=weights)))
    axes = axes[:, ::-1][:, :3]
    axes = np.pad(axes, ((0, 0), (0, 3 - axes.shape[1])))  # fewer channels than colours
    along = np.concatenate(
        [
            (lifted.features[part].astype(np.float32) - mean) @ axes
            for part in np.array_split(seen, len(seen) // MOST_ROWS + 1)
        ]
    )
    low, high = np.quantile(along, [0.02, 0.98], axis=0)
    colors[seen] = np.clip((along - low) / np.maximum(high - low, 1e-9), 0, 1)
    return colors
