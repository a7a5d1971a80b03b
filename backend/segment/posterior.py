"""Masks and seeds into votes, and votes into how likely each Gaussian belongs to an object.

Votes are integers in units of 1/1024: their sums are the same bits in any order, and without one the same as if it had
never been given. A view counts at most one vote per Gaussian: its pixels are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.render import Seen
from backend.segment.framed import Framed

UNIT = 1024  # counts per vote
PRIOR_FOR, PRIOR_AGAINST = 102, 410  # 0.1 and 0.4 votes: most Gaussians are not the object
VOTED_FROM = UNIT // 4  # counts beyond the prior
SEED_VOTES = 8  # of a Gaussian somebody clicked on
FULL_MASS_PX = 2.0  # a Gaussian that fills this much of a view gets the view's whole vote
_WHOLLY_SEEN = 0.1  # of a row's light: one that shows less shines through what stands before it, and says less
_EDGE_PX = 3.0  # masks are less sure this close to their edge ...
_EDGE_LEAST = 0.2  # ... but never mute
_POINTING = ("seed", "features", "labels")  # kinds
_BEYOND_VOTES = 0.5  # against what a mask's view does not see, away from the mask


@dataclass(frozen=True, eq=False)
class Votes:
    """What one piece of evidence says about the rows it saw."""

    kind: str  # mask, carried, region, seed, features, labels, orbit
    view: str  # photo, or empty
    rows: np.ndarray  # (M,) uint32
    inside: np.ndarray  # (M,) uint16, in 1/1024 votes
    outside: np.ndarray  # (M,) uint16
    mass: np.ndarray  # (M,) float32, weighted pixels each row fills in the view
    mask_mass: float = 0.0  # weighted pixels of the mask itself


@dataclass(frozen=True, eq=False)
class Posterior:
    """Counts of every row for one object, prior included."""

    inside: np.ndarray  # (N,) int64
    outside: np.ndarray  # (N,) int64

    @property
    def probability(self) -> np.ndarray:
        """(N,) float64 in 0..1."""
        return self.inside / (self.inside + self.outside)

    @property
    def voted(self) -> np.ndarray:
        """(N,) bool, rows that some evidence spoke about."""
        return self.inside + self.outside - (PRIOR_FOR + PRIOR_AGAINST) >= VOTED_FROM


def prior(count: int) -> Posterior:
    return Posterior(np.full(count, PRIOR_FOR, np.int64), np.full(count, PRIOR_AGAINST, np.int64))


def posterior(count: int, evidence: Sequence[Votes]) -> Posterior:
    """All evidence over the prior, for `count` rows."""
    counts = prior(count)
    for votes in evidence:
        counts.inside[votes.rows] += votes.inside
        counts.outside[votes.rows] += votes.outside
    return counts


def mask_votes(
    seen: Seen,
    mask: np.ndarray,  # (H, W) bool or float 0..1, on the view's grid
    *,
    view: str,
    kind: str = "mask",
    confidence: float = 1.0,  # less: a mask that was guessed
    framed: Framed | None = None,  # all rows in the view: those that it does not see have a word, too
) -> Votes:
    """Each visible row votes by the share of its pixels that lie in the mask.

    With `framed`, rows that are hidden or out of the frame vote against the object if they lie away from the mask: an
    object goes on behind what stands before it, but not far, and beyond the frame only from where the mask meets it.
    """
    mask = np.asarray(mask, np.float32)
    weight = edge_weight(mask > 0.5)
    A, Z = seen.accumulate(np.stack([mask, 1 / weight], -1), weight)
    clear = np.minimum(1, Z / FULL_MASS_PX) * np.minimum(1, A[:, 1] / (_WHOLLY_SEEN * alone(seen)))
    share = np.clip(A[:, 0] / np.maximum(Z, 1e-12), 0, 1).astype(np.float64)
    inside, outside = clear * share, clear * (1 - share)
    if framed is not None:
        outside += (1 - clear) * _BEYOND_VOTES * framed.beyond(mask > 0.5)
    counted = np.rint(UNIT * confidence * np.stack([inside, outside])).astype(np.uint16)
    rows = np.flatnonzero((Z > 0) | counted.any(0))
    return Votes(
        kind, view, rows.astype(np.uint32), counted[0, rows], counted[1, rows], Z[rows], float((weight * mask).sum())
    )


def alone(seen: Seen) -> np.ndarray:
    """(N,) float64 weighted pixels each row would fill if nothing stood before it or beside the frame: 2π·o·√|Σ₂|."""
    result = np.full(seen.count, np.inf)
    opacities, conics = (
        each.cpu().numpy().astype(np.float64) for each in (seen.projected.opacities, seen.projected.conics)
    )
    inverse = np.maximum(conics[:, 0] * conics[:, 2] - conics[:, 1] ** 2, 1e-12)
    result[seen.rows] = np.maximum(2 * np.pi * opacities / np.sqrt(inverse), 1e-6)
    return result


def seed_votes(rows: np.ndarray, *, inside: bool, view: str = "") -> Votes:
    """Rows somebody pointed at, on the object or beside it."""
    full = np.full(len(rows), SEED_VOTES * UNIT, np.uint16)
    none = np.zeros(len(rows), np.uint16)
    return Votes(
        "seed",
        view,
        np.asarray(rows, np.uint32),
        full if inside else none,
        none if inside else full,
        np.zeros(len(rows), np.float32),
    )


def click_votes(
    on: np.ndarray,  # (N,) float64, weights of the rows under clicks on the object
    beside: np.ndarray,  # (N,) ... and beside it
    *,
    view: str = "",
) -> list[Votes]:
    """Rows under clicks as `seed_votes`; those under clicks of both sorts are on the heavier side."""
    return [
        seed_votes(np.flatnonzero((on > 0) & (beside <= on)), inside=True, view=view),
        seed_votes(np.flatnonzero((beside > 0) & ((on == 0) | (beside > on))), inside=False, view=view),
    ]


def feature_votes(
    kind: str,
    seen: np.ndarray,  # (N,) bool, rows that have features
    inside: np.ndarray,  # (N,) float in 0..1, votes
    outside: np.ndarray,  # (N,) float, at most 1 together with `inside`
    *,
    view: str = "",
) -> Votes:
    """What features say of every row that has them."""
    rows = np.flatnonzero(seen)
    counted = np.rint(UNIT * np.stack([inside, outside])[:, rows]).astype(np.uint16)
    return Votes(kind, view, rows.astype(np.uint32), *counted, np.zeros(len(rows), np.float32))


def pointed_at(count: int, evidence: Sequence[Votes]) -> np.ndarray:
    """(count,) bool: rows that were chosen by themselves, clicked or labelled or for their looks, and not by what a
    picture shows where they are."""
    counts = posterior(count, [votes for votes in evidence if votes.kind in _POINTING])
    return counts.inside - PRIOR_FOR > counts.outside - PRIOR_AGAINST


def edge_weight(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32 in 0.2..1: how sure a mask (H, W) bool is of each pixel, little beside its edge."""
    if mask.all() or not mask.any():
        return np.ones(mask.shape, np.float32)
    distance = np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
    return np.clip(distance / _EDGE_PX, _EDGE_LEAST, 1).astype(np.float32)


def masses(count: int, evidence: Sequence[Votes]) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted pixels (count,) and (count,) float64 that rows fill inside and outside of masks, and all masks'."""
    inside, outside = np.zeros((2, count))
    total = 0.0
    for votes in evidence:
        if votes.mask_mass <= 0:
            continue
        said = votes.inside.astype(np.float64) + votes.outside
        share = np.divide(votes.inside, said, out=np.zeros(len(said)), where=said > 0)
        inside[votes.rows] += votes.mass * share
        outside[votes.rows] += votes.mass * (1 - share)
        total += votes.mask_mass
    return inside, outside, total


def best_threshold(counts: Posterior, evidence: Sequence[Votes]) -> tuple[float, float]:
    """The threshold on the posterior whose rendered selection fits the masks best, and its soft IoU.

    IoU(θ) = Σ_S A / (Σ_S (Z − A) + Σ M) over S = {voted, p ≥ θ}: one sort and two cumulative sums give it
    for all θ at once, without rendering. Without masks: 0.5 and 0.
    """
    if not any(votes.mask_mass > 0 for votes in evidence):
        return 0.5, 0.0
    probability, voted = counts.probability, counts.voted
    inside, outside, total = masses(len(probability), evidence)
    candidates = np.flatnonzero(voted & (inside + outside > 0))
    if total <= 0 or not len(candidates):
        return 0.5, 0.0
    order = candidates[np.argsort(-probability[candidates], kind="stable")]
    falling = probability[order]
    scores = np.cumsum(inside[order]) / (np.cumsum(outside[order]) + total)
    last_of_tie = np.append(np.diff(falling) != 0, True)
    allowed = last_of_tie & (falling >= 0.05) & (falling <= 0.95)
    if not allowed.any():
        return 0.5, 0.0
    best = int(np.flatnonzero(allowed)[scores[allowed].argmax()])
    return float(falling[best]), float(scores[best])
