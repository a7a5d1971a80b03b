"""Ties between many rows into ties between few clumps of rows that hold together, for cuts that must be fast."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix

MOST = 20_000  # clumps: a cut through so many takes a tenth of a second


class Clumps:
    """Rows joined along their strongest ties into clumps of limited size. Few rows are clumps of their own."""

    def __init__(self, edges: np.ndarray, strengths: np.ndarray, count: int) -> None:
        """edges (E, 2) int64 and strengths (E,) float64 between `count` rows."""
        self.fine = edges, strengths
        if count <= MOST:
            self.of_row, self.edges, self.strengths = np.arange(count), edges, strengths
            return
        order = np.argsort(-strengths, kind="stable")
        owner = _joined(edges[order], count, -(-2 * count // MOST))
        _, self.of_row = np.unique(owner, return_inverse=True)
        ends = np.sort(self.of_row[edges], 1)
        between = ends[:, 0] != ends[:, 1]
        clumps = int(self.of_row.max()) + 1
        summed = coo_matrix((strengths[between], ends[between].T), (clumps, clumps)).tocsr().tocoo()
        self.edges = np.stack([summed.row, summed.col], 1).astype(np.int64)
        self.strengths = summed.data

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Sums (C,) of values (S,) over clumps; infinite ones win, the positive above the negative."""
        finite = np.where(np.isfinite(values), values, 0)
        sums = np.bincount(self.of_row, finite)
        sums[self.of_row[np.isneginf(values)]] = -np.inf
        sums[self.of_row[np.isposinf(values)]] = np.inf
        return sums

    def spread(self, chosen: np.ndarray) -> np.ndarray:
        """(S,) bool from (C,) bool."""
        return chosen[self.of_row]


@njit(cache=True)
def _joined(edges, count, most):
    """(S,) int64: the row that stands for each row's clump, of at most `most` rows; edges the strongest first."""
    owner = np.arange(count)
    size = np.ones(count, np.int64)
    for e in range(len(edges)):
        a, b = edges[e, 0], edges[e, 1]
        while owner[a] != a:
            owner[a] = owner[owner[a]]
            a = owner[a]
        while owner[b] != b:
            owner[b] = owner[owner[b]]
            b = owner[b]
        if a != b and size[a] + size[b] <= most:
            owner[b] = a
            size[a] += size[b]
    for row in range(count):
        a = row
        while owner[a] != a:
            a = owner[a]
        owner[row] = a
    return owner
