"""Prototypes of what somebody pointed at into rows that look like it, in any space of lifted features.

A row is chosen if its largest cosine to the wanted prototypes is above that to the unwanted ones (GradBP, arXiv
2411.15193). How sure that is also tells, so that it can be evidence among other evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from backend.features.lift import Lifted

_TEMPERATURE = 0.1  # of cosines: a lead this large is sure to 0.73
_ROWS = 1 << 16  # compared at once: a million rows of 1024 float32 are 4 GB
_LOOKS = 16  # of a scene: what else there is than what is wanted
_SAME = 0.9  # cosine from which two looks are one: a scene with fewer has some of them cut in pieces
_SAMPLED = 10_000  # rows that a scene's looks are found among
_SHORT = 1e-6  # a feature of less length has no direction


@dataclass(frozen=True, eq=False)
class Alike:
    """How each row compares with what was wanted."""

    lead: np.ndarray  # (N,) float32, largest cosine to the wanted minus that to the unwanted minus the margin
    seen: np.ndarray  # (N,) bool, rows that have a feature
    certainty: np.ndarray  # (N,) float32 in 0..1, how far all views describe the row alike

    @property
    def chosen(self) -> np.ndarray:
        """(N,) bool."""
        return self.seen & (self.lead > 0)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) float32 in 0..1: of the answer chosen or not, whichever it is. From half the certainty up."""
        sure = 1 / (1 + np.exp(-np.abs(self.lead) / _TEMPERATURE))
        return np.where(self.seen, self.certainty * sure, 0).astype(np.float32)


def prototype(
    lifted: Lifted,
    rows: np.ndarray,  # (M,) int
    weights: np.ndarray,  # (M,) float
) -> np.ndarray | None:
    """(D,) float32, unit: the weighted mean of some rows' features. None if they have none, or none in common."""
    mean = np.asarray(weights, np.float32) @ lifted.features[rows].astype(np.float32)
    length = float(np.linalg.norm(mean))
    return mean / length if length > _SHORT * max(float(np.sum(weights)), 1) else None


def alike(
    lifted: Lifted,
    wanted: np.ndarray,  # (P, D) float32 unit, at least one
    unwanted: np.ndarray,  # (Q, D) float32 unit; none: rows are compared with 0
    margin: float = 0.0,  # more: fewer rows
) -> Alike:
    """Every row against all prototypes of both sides."""
    assert len(wanted)
    count = len(lifted.unseen)
    lead, seen = np.zeros(count, np.float32), ~lifted.unseen
    for top in range(0, count, _ROWS):
        rows = slice(top, top + _ROWS)
        unit, directed = _unit(lifted.features[rows])
        near = (unit @ wanted.T).max(1)
        far = (unit @ unwanted.T).max(1) if len(unwanted) else 0.0
        lead[rows] = near - far - margin
        seen[rows] &= directed
    return Alike(lead, seen, lifted.confidence)


def other_looks(lifted: Lifted, wanted: np.ndarray) -> np.ndarray:
    """(Q, D) float32 unit: what else a scene looks like than what was wanted.

    Centres of its features, rows weighing by how much they fill, but for those that the wanted (P, D) are of.
    """
    rows = np.flatnonzero(~lifted.unseen)
    rows = np.sort(rows[np.random.default_rng(0).permutation(len(rows))[:_SAMPLED]])
    unit, directed = _unit(lifted.features[rows])
    unit, weights = unit[directed], lifted.mass[rows][directed]
    looks = min(_LOOKS, len(np.unique(unit, axis=0)))
    if looks < 2:
        return np.zeros((0, unit.shape[1]), np.float32)
    found = KMeans(looks, n_init=1, random_state=0).fit(unit, sample_weight=weights).cluster_centers_
    centres, directed = _unit(found)
    centres = centres[directed]
    likeness = wanted @ centres.T
    own = (likeness == likeness.max(1, keepdims=True)) | (likeness > _SAME)
    return centres[~own.any(0)]


def _unit(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, D) float32 of length 1, 0 where they have no direction; and whether they have one (M,) bool."""
    plain = features.astype(np.float32)
    length = np.linalg.norm(plain, axis=1, keepdims=True)
    return plain / np.maximum(length, _SHORT), length[:, 0] > _SHORT
