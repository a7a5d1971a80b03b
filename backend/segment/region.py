"""Seeds into the region around them: where a random walk from the seeds stays.

A walker on the graph of solid rows steps along strong ties and rarely across gaps, colour edges or the
ground's border. Rows sorted by how often it visits them are swept for the prefix that is best separated:
least cut per volume (Andersen, Chung and Lang 2006), with a preference for what is small. Several walk
lengths see several sizes; the best separated of all wins. Local edges decide, so an object may have any
number of colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial import cKDTree

from backend.scene import Gaussians
from backend.segment.ground import Ground

_SOLID = 0.25  # opacity of rows that walkers may stand on
_NEIGHBOURS = 10
_UNLIKE = 1.0  # deviations of a feature: a difference this large weakens a tie to 0.6; less: colours part objects
_AT_GROUND = 0.003  # factor on ties between the ground and what stands on it
_FLOOR = 1e-4  # ties are never quite 0, so that every row can be reached
_STAYS = (0.99, 0.999, 0.9999)  # 1 − chance per step to start again at the seeds: short, middle, long walks
_CONTESTED_STAY = 0.999
_ABOVE_CHANCE = 3.0  # visits against those of a walk from anywhere; more: smaller regions
_LEAST_ROWS = 30
_LARGEST_SHARE = 0.5  # of the scene's volume
_PREFERS_SMALL = 0.5  # more: smaller regions; 0: only separation counts


@dataclass(frozen=True, eq=False)
class Region:
    """What a walk from seeds found."""

    rows: np.ndarray  # (M,) int64, solid rows
    separation: float  # cut per volume; less: clearer


class Walks:
    """The solid part of a scene, prepared for any number of walks."""

    def __init__(
        self,
        scene: Gaussians,
        features: np.ndarray,  # (N, D) float, what a row looks like, each channel with deviation 1
        ground: Ground | None,
    ) -> None:
        self.count = len(scene)
        opacities = scene.opacities
        solid = opacities > _SOLID
        if solid.sum() < 2 * _LEAST_ROWS:
            solid = np.ones(self.count, bool)
        self.rows = np.flatnonzero(solid)  # (S,) int64
        points = scene.means[self.rows].astype(np.float64)
        k = min(_NEIGHBOURS, len(self.rows) - 1)
        distances, found = cKDTree(points).query(points, k=k + 1)
        spacing = np.maximum(np.median(distances[:, 1:], 1), 1e-9)
        edges = np.stack([np.repeat(np.arange(len(points)), k), found[:, 1:].ravel()], 1)
        edges = np.unique(np.sort(edges, 1), axis=0)
        self.edges = edges[edges[:, 0] != edges[:, 1]]
        first, second = self.edges.T
        apart = ((points[first] - points[second]) ** 2).sum(1) / (spacing[first] * spacing[second])
        looks = features[self.rows].astype(np.float64)
        unlike = ((looks[first] - looks[second]) ** 2).sum(1) / _UNLIKE**2
        ties = np.exp(-apart / 2 - unlike / 2)
        self.on_ground = np.zeros(len(points), bool) if ground is None else ground.holds(scene, self.rows)
        ties[self.on_ground[first] != self.on_ground[second]] *= _AT_GROUND
        self.ties = ties + _FLOOR * np.exp(-apart / 2)
        both = np.concatenate([self.ties, self.ties])
        places = (np.concatenate([first, second]), np.concatenate([second, first]))
        self._matrix = coo_matrix((both, places), (len(points), len(points))).tocsr()
        self.volumes = np.asarray(self._matrix.sum(1)).ravel() + 1e-9
        self._solvers: dict[float, SuperLU] = {}

    def region(self, positive: np.ndarray, negative: np.ndarray) -> Region | None:
        """The region around positive seeds and away from negative ones; both (N,) weights over all rows.

        None if no positive seed is solid.
        """
        start, against = positive[self.rows], negative[self.rows]
        if start.sum() <= 0:
            return None
        if against.sum() > 0:
            return self._contested(start, against)
        best: Region | None = None
        best_score = np.inf
        for stay in _STAYS:
            visits = self._visits(start, stay)
            order, separation, volume = self._sweep(visits)
            least = min(_LEAST_ROWS, max(int((visits > 0).sum()) - 1, 1))
            numbers = np.arange(1, len(order) + 1)
            allowed = (numbers >= least) & (volume <= _LARGEST_SHARE) & (visits[order] > 0)
            if not allowed.any():
                continue
            score = np.where(allowed, np.log(separation + 1e-4) + _PREFERS_SMALL * np.log(volume), np.inf)
            place = int(score.argmin())
            if score[place] < best_score:
                best_score = float(score[place])
                best = Region(np.sort(self.rows[order[: place + 1]]), float(separation[place]))
        return best

    def _contested(self, start: np.ndarray, against: np.ndarray) -> Region | None:
        """Rows that walks from the start reach more often than walks from beside it, and than chance.

        With negative seeds a person has said where to stop; the best separated prefix would be smaller or
        larger than that (measured on real photos: IoU 0.64 against 0.25).
        """
        visits = self._visits(start, _CONTESTED_STAY)
        chance = _ABOVE_CHANCE / self.volumes.sum()
        chosen = (visits > np.maximum(self._visits(against, _CONTESTED_STAY), chance)) & (against <= 0) | (start > 0)
        cut = self.ties[chosen[self.edges[:, 0]] != chosen[self.edges[:, 1]]].sum()
        return Region(self.rows[chosen], float(cut / self.volumes[chosen].sum()))

    def share(self, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
        """(S,) float64 in 0..1: of the long walks from votes (N,) on either side that meet at a solid row,
        the share that started inside. 0.5 where none arrive."""
        met = []
        for votes in (inside[self.rows].astype(np.float64), outside[self.rows].astype(np.float64)):
            met.append(self._visits(votes, _STAYS[-1]) * votes.sum() if votes.sum() > 0 else np.zeros(len(votes)))
        total = met[0] + met[1]
        return np.divide(met[0], total, out=np.full(len(total), 0.5), where=total > 0)

    def _visits(self, start: np.ndarray, stay: float) -> np.ndarray:
        """(S,) how often a walker from `start` is met at each row, per volume: it sums to one over all rows."""
        if stay not in self._solvers:
            system = (diags(self.volumes) - stay * self._matrix).tocsc()
            self._solvers[stay] = splu(
                system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0.0
            )
        return np.maximum(self._solvers[stay].solve(start / start.sum() * (1 - stay)), 0)

    def _sweep(self, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows by falling visits, and for each prefix its cut per volume and its share of the volume."""
        order = np.argsort(-visits, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ends = np.sort(rank[self.edges], 1)
        opened = np.bincount(ends[:, 0], self.ties, minlength=len(order))
        closed = np.bincount(ends[:, 1], self.ties, minlength=len(order))
        cut = np.maximum(np.cumsum(opened - closed), 0)
        volume = np.cumsum(self.volumes[order])
        total = volume[-1]
        return order, cut / np.maximum(np.minimum(volume, total - volume), 1e-9), volume / total
