"""Seeds into the region around them: where a random walk from the seeds stays.

A walker on the graph of solid rows steps along strong ties and rarely across gaps, colour edges or the
ground's border. Rows sorted by how often it visits them are swept for the prefix that is best separated
(Andersen, Chung and Lang 2006): least cut per root of its volume, which is the mean strength of the ties
along its outline. What is clearly separate need not be clearer, and what falls apart within about as
easily as from its surroundings is two things: of a statue and the statue with the fountain that a ripple
joins to it, the statue wins. Local edges decide, so an object may have any number of colours. Several clicks
are answered by the same sweep, corrected around each of them (`corrected`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial import cKDTree

from backend.scene import Gaussians
from backend.scene.transforms import matrices_from_quats
from backend.segment.clumps import Clumps
from backend.segment.corrected import corrected, fitting
from backend.segment.graph import pairs_once
from backend.segment.ground import Ground
from backend.segment.sweep import Sweep

STANDS_APART = 2.5e-3  # cut per volume below which a region needs no picture to be told from what is around
_SOLID = 0.5  # opacity of rows that walkers may stand on; less: haze bridges what stands apart
_NEIGHBOURS = 12  # fewer: thin poles fall to pieces; more: gaps are bridged
_TOUCH = 0.3  # of the squared deviations between two rows: ends of long rows that touch are near
_FLATTEST = 1e-4  # of a row's largest deviation
_UNLIKE = 1.5  # deviations of a feature: a difference this large weakens a tie to 0.6; less: colours part objects
_UNLIKE_CONTESTED = 0.7  # a person says what is beside the object where things touch: there colours tell them apart
_AT_GROUND = 0.003  # factor on ties between the ground and what stands on it
_FLOOR = 1e-4  # ties are never quite 0, so that every row can be reached
_STAY = 0.9999  # 1 − chance per step to start again at the seeds; less: shorter walks, which see less
_STAY_CONTESTED = 0.999
_TOGETHER = 1 << 18  # pairs of rows
_LEAST_SOLID = 60  # rows; a scene with fewer solid ones has all its rows walked on
_LEVEL = 0.28  # log of sizes: less is no step from a part to the whole
_GROUND_SEEDS = 0.1  # people point at things: ground beside them in a click's window counts so much


@dataclass(frozen=True, eq=False)
class Region:
    """What a walk from seeds found."""

    rows: np.ndarray  # (M,) int64, solid rows
    separation: float  # cut per volume; less: clearer


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What a walk from seeds suggests: prefixes of the solid rows by falling visits."""

    rank: np.ndarray  # (S,) int64, of every solid row
    counts: np.ndarray  # (K,) int64, lengths of the prefixes, ascending
    scores: np.ndarray  # (K,) float64, logs; less: smaller and clearer
    separation: float  # of the best one, cut per volume; less: clearer

    @cached_property
    def levels(self) -> np.ndarray:
        """(L,) int64 of `counts`, ascending, from part to whole: the best one and, on either side of it, one after the
        other that differs from the last by a third at least, the better one of the next two that do."""
        best, places = int(self.scores.argmin()), np.arange(len(self.counts))
        found = [best]
        for side in (places[:best][::-1], places[best + 1 :]):
            last = best
            while len(near := side[np.abs(np.log(self.counts[side] / self.counts[last])) > _LEVEL][:2]):
                last = int(near[self.scores[near].argmin()])
                found.append(last)
                side = side[np.flatnonzero(side == last)[0] + 1 :]
        return np.sort(self.counts[found])

    @property
    def clear(self) -> bool:
        """Whether the best one stands apart by itself."""
        return self.separation < STANDS_APART


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
        if solid.sum() < _LEAST_SOLID:
            solid = np.ones(self.count, bool)
        self.rows = np.flatnonzero(solid)  # (S,) int64
        points = scene.means[self.rows].astype(np.float64)
        k = min(_NEIGHBOURS, len(self.rows) - 1)
        distances, found = cKDTree(points).query(points, k=k + 1, workers=-1)
        spacing = np.maximum(np.median(distances[:, 1:], 1), 1e-9)
        self.edges = pairs_once(found[:, 1:])
        first, second = self.edges.T
        apart = ((points[first] - points[second]) ** 2).sum(1) / (spacing[first] * spacing[second])
        apart = np.minimum(apart, _TOUCH * _deviations(scene, self.rows, first, second))
        self._near = np.exp(-apart / 2)
        self._looks = looks = features[self.rows].astype(np.float32)
        self._unlike = ((looks[first] - looks[second]).astype(np.float64) ** 2).sum(1)
        self.on_ground = np.zeros(len(points), bool) if ground is None else ground.holds(scene, self.rows)
        self._ties = self._tied(_UNLIKE)
        self._last: tuple[np.ndarray, Sweep] | None = None

    def _tied(self, unlike: float) -> _Ties:
        strengths = self._near * np.exp(-self._unlike / (2 * unlike**2))
        first, second = self.edges.T
        strengths[self.on_ground[first] != self.on_ground[second]] *= _AT_GROUND
        return _Ties(self.edges, strengths + _FLOOR * self._near, len(self.rows))

    @cached_property
    def _contested_ties(self) -> _Ties:
        return self._tied(_UNLIKE_CONTESTED)

    def region(
        self, positive: Sequence[np.ndarray], negative: Sequence[np.ndarray] = (), *, size: int = 0
    ) -> Region | None:
        """The region that clicks mean, each (N,) weights of the rows under it. None if no positive one is solid.

        `size` is about how many solid rows it has, of which the nearest of `Suggestions.levels` is taken; 0: what is
        best.
        """
        starts = [[start for seeds in side if (start := self._start(seeds)).sum() > 0] for side in (positive, negative)]
        if not starts[0]:
            return None
        ties = self._ties
        sweep = self._swept(starts[0])
        if len(starts[0]) == 1 and not starts[1]:
            count = self._level(sweep, size) or sweep.best()
            return Region(np.sort(self.rows[sweep.order[:count]]), float(sweep.separation[count - 1]))
        short = self._contested_ties
        reached = [[short.visits(start, _STAY_CONTESTED) for start in side] for side in starts]
        sides = starts[0], starts[1]
        suggested = sweep.rank < (self._level(sweep, size) or fitting(sweep, sides))
        chosen = corrected(suggested, (reached[0], reached[1]), sides, self._looks, short.volumes, self._clumps)
        cut = ties.strengths[chosen[self.edges[:, 0]] != chosen[self.edges[:, 1]]].sum()
        return Region(self.rows[chosen], float(cut / ties.volumes[chosen].sum()))

    def suggested(self, positive: Sequence[np.ndarray]) -> Suggestions | None:
        """What positive clicks may mean, each (N,) weights of the rows under it. None if none of them is solid."""
        starts = [start for seeds in positive if (start := self._start(seeds)).sum() > 0]
        if not starts:
            return None
        return _suggestions(self._swept(starts))

    def _level(self, sweep: Sweep, size: int) -> int:
        """The length of the prefix that is nearest to a size; 0 for 0."""
        if size == 0:
            return 0
        return nearest(_suggestions(sweep).levels, size)

    def _swept(self, starts: Sequence[np.ndarray]) -> Sweep:
        """Of the long walk from all starts (S,) together. The last one is remembered: a click asks twice."""
        together = np.sum([start / start.sum() for start in starts], 0)
        last = self._last
        if last is None or not np.array_equal(last[0], together):
            last = together, Sweep.of(self._ties.visits(together, _STAY), self._ties.matrix, self._ties.volumes)
            self._last = last
        return last[1]

    def _start(self, seeds: np.ndarray) -> np.ndarray:
        """(S,) where a walk from a click's rows (N,) starts: on things rather than on the ground beside them."""
        start = seeds[self.rows]
        return np.where(self.on_ground, _GROUND_SEEDS * start, start) if start[~self.on_ground].sum() > 0 else start

    @cached_property
    def _clumps(self) -> Clumps:
        return Clumps(self.edges, self._contested_ties.strengths, len(self.rows))

    def solve(self, *, contested: bool) -> None:
        """Prepare the walks without, or those with negative seeds: what their first region would otherwise do."""
        ties, stay = (self._contested_ties, _STAY_CONTESTED) if contested else (self._ties, _STAY)
        ties.visits(np.ones(len(self.rows)), stay)
        if contested:
            _ = self._clumps

    def share(self, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
        """(S,) float64 in 0..1: of the long walks from votes (N,) on either side that meet at a solid row,
        the share that started inside. 0.5 where none arrive."""
        votes = np.stack([inside[self.rows], outside[self.rows]], 1).astype(np.float64)
        met = self._ties.visits(votes, _STAY).T * votes.sum(0)[:, None]
        total = met[0] + met[1]
        return np.divide(met[0], total, out=np.full(len(total), 0.5), where=total > 0)


def nearest(levels: np.ndarray, size: int) -> int:
    """Which of the levels (L,), at least one, comes nearest to a number of rows above 0."""
    return int(levels[np.abs(np.log(levels / size)).argmin()])


def _suggestions(sweep: Sweep) -> Suggestions:
    counts, scores = sweep.scored()
    return Suggestions(sweep.rank, counts, scores, float(sweep.separation[counts[scores.argmin()] - 1]))


class _Ties:
    """How strongly neighbours hold together, prepared for walks along them."""

    def __init__(self, edges: np.ndarray, strengths: np.ndarray, count: int) -> None:
        self.strengths = strengths  # (E,) float64
        first, second = edges.T
        places = (np.concatenate([first, second]), np.concatenate([second, first]))
        self.matrix = coo_matrix((np.concatenate([strengths, strengths]), places), (count, count)).tocsr()
        self.volumes = np.asarray(self.matrix.sum(1)).ravel() + 1e-9  # (S,) float64
        self._solvers: dict[float, SuperLU] = {}

    def visits(self, start: np.ndarray, stay: float) -> np.ndarray:
        """How often a walker from `start` (S,) or (S, K) is met at each row, per volume: it sums to one over all rows.

        A column of zeros starts no walk and meets nothing.
        """
        if stay not in self._solvers:
            system = (diags(self.volumes) - stay * self.matrix).tocsc()
            self._solvers[stay] = splu(
                system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0.0
            )
        return np.maximum(self._solvers[stay].solve(start / np.maximum(start.sum(0), 1e-300) * (1 - stay)), 0)


def _deviations(scene: Gaussians, rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(E,) float64 squared distance between pairs of the rows, in deviations of the two together."""
    axes = matrices_from_quats(scene.quats[rows].astype(np.float64))
    scales = scene.scales[rows].astype(np.float64)
    # Splats may be flat: of a plane's, alike turned, the sum of two squares would be singular, or rounded below 0.
    scaled = axes * np.maximum(scales, np.maximum(_FLATTEST * scales.max(1, keepdims=True), 1e-9))[:, None]
    covariances = scaled @ scaled.transpose(0, 2, 1)
    result = np.empty(len(first))
    for start in range(0, len(first), _TOGETHER):  # matrices of all pairs would be a gigabyte
        part = slice(start, start + _TOGETHER)
        one, other = first[part], second[part]
        between = (scene.means[rows[one]] - scene.means[rows[other]]).astype(np.float64)
        solved = np.linalg.solve(covariances[one] + covariances[other], between[..., None])[..., 0]
        result[part] = np.maximum((between * solved).sum(1), 0)
    return result
