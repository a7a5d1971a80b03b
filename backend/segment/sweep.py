"""Rows by falling visits into every prefix of them as a region: its volume, and how well it is separated.

A prefix grows row by row: its cut grows by the row's volume less twice the ties to rows that are already in.
Only rows up to the largest region anybody asks for are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from scipy.sparse import csr_matrix

_LEAST_ROWS = 30
_LARGEST_SHARE = 0.5  # of the scene's volume
CLEAR = 1e-3  # cut per volume that separates; more: smaller regions
_WITHIN = 3.0  # least cut per volume within a region against that around it; more: smaller regions
_LEAST_PART = 0.1  # of a region's volume: less is no part to fall off
_STEP = 2**0.5  # in rows: of so many sizes one is a candidate


@dataclass(frozen=True, eq=False)
class Sweep:
    """Rows by falling visits, as places in the walks' rows, and their prefixes up to the largest region."""

    order: np.ndarray  # (M,) int64
    rank: np.ndarray  # (S,) int64, of every row in the whole order
    separation: np.ndarray  # (M,) float64, cut per volume of each prefix
    volume: np.ndarray  # (M,) float64, of each prefix
    total: float  # volume of all rows
    ties: csr_matrix  # (S, S)

    @classmethod
    def of(cls, visits: np.ndarray, ties: csr_matrix, volumes: np.ndarray) -> Sweep:
        """visits and volumes (S,) float64, both above or equal 0."""
        order = np.argsort(-visits, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        volume = np.cumsum(volumes[order])
        total = float(volume[-1])
        most = min(int(np.searchsorted(volume, _LARGEST_SHARE * total, side="right")), int((visits > 0).sum()))
        most = max(most, min(_LEAST_ROWS, len(order)))
        inner = _inner_ties(order[:most], rank, ties.indptr, ties.indices, ties.data)
        volume = volume[:most]
        cut = np.maximum(volume - 2 * np.cumsum(inner), 0)
        separation = cut / np.maximum(np.minimum(volume, total - volume), 1e-9)
        return cls(order[:most], rank, separation, volume, total, ties)

    def best(self, penalty: Callable[[int], float] = lambda count: 0.0) -> int:
        """How many rows the region has that is both small and clearly separate, and is not two.

        `penalty` of a number of rows, at least 0, counts against it like a log of separation.
        """
        scores = {count: self._outlines[count - 1] + penalty(count) for count in self._candidates}
        best, best_score = 0, np.inf
        for count in sorted(scores, key=lambda count: scores[count]):
            if scores[count] >= best_score:
                break  # being two things only makes it worse
            score = scores[count] + self._twofold([count])[0]
            if score < best_score:
                best, best_score = count, score
        return best

    def scored(self) -> tuple[np.ndarray, np.ndarray]:
        """Lengths (K,) int64 of one prefix per size class, ascending, and what `best` weighs: (K,) less is better."""
        return self._scored

    @cached_property
    def _scored(self) -> tuple[np.ndarray, np.ndarray]:
        counts = np.array(self._candidates)
        return counts, self._outlines[counts - 1] + self._twofold(self._candidates)

    @cached_property
    def _outlines(self) -> np.ndarray:
        return np.log(self.separation + CLEAR) + np.log(self.volume / self.total) / 2

    def _twofold(self, counts: Sequence[int]) -> np.ndarray:
        """(K,) float64: by how much each prefix, their lengths ascending, is two things, in logs of separation."""
        ends, ties = np.array(counts), self.ties
        weakest = _weakest_within(
            ends, self.order, self.rank, self.volume, _LEAST_PART, ties.indptr, ties.indices, ties.data
        )
        return np.log(np.maximum(1.0, _WITHIN * self.separation[ends - 1] / np.maximum(weakest, 1e-12)))

    @cached_property
    def _candidates(self) -> list[int]:
        """Lengths of prefixes, one per size class: those with the weakest ties along their outline."""
        lengths, scores = [], self._outlines
        low, most = min(_LEAST_ROWS, len(self.order)), len(self.order)
        while low <= most:
            high = min(max(int(low * _STEP), low + 1), most + 1)
            lengths.append(low + int(scores[low - 1 : high - 1].argmin()))
            low = high
        return lengths


@njit(cache=True)
def _inner_ties(order, rank, starts, others, strengths):
    """(M,) float64: of each row in turn, its ties to rows before it."""
    inner = np.zeros(len(order))
    for place in range(len(order)):
        row = order[place]
        for k in range(starts[row], starts[row + 1]):
            if rank[others[k]] < place:
                inner[place] += strengths[k]
    return inner


@njit(cache=True)
def _weakest_within(ends, order, rank, volume, least, starts, others, strengths):
    """(K,) float64: the least cut per volume that divides the first `ends` (K,) rows, ascending, along the sweep.

    Parts below a share `least` of the volume do not count; infinite if there are no others. A prefix adds its last
    rows' ties to those of the prefix before: each tie is looked up once for all of them.
    """
    change = np.zeros(ends[-1])  # by how much each row changes the cut between the rows up to it and the others
    result = np.full(len(ends), np.inf)
    done = 0
    for prefix in range(len(ends)):
        count = ends[prefix]
        for place in range(done, count):
            row = order[place]
            for k in range(starts[row], starts[row + 1]):
                other = rank[others[k]]
                if other < place:
                    change[place] -= strengths[k]
                    change[other] += strengths[k]
        done = count
        total, cut, weakest = volume[count - 1], 0.0, np.inf
        for place in range(count):
            cut += change[place]
            smaller = min(volume[place], total - volume[place])
            if smaller > least * total:
                weakest = min(weakest, max(cut, 0.0) / smaller)
        result[prefix] = weakest
    return result
