"""A selection and a network into surer selections: the network is asked again from other sides of the object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backend.features.neutral import Neutral
from backend.scene import Camera
from backend.segment.framed import Framed
from backend.segment.orbit import Ellipsoid, Orbit, candidates, gain, in_question, poses
from backend.segment.peaks import points_of
from backend.segment.posterior import mask_votes, posterior
from backend.segment.prepared import Prepared, Selection
from backend.segment.refine import log_odds
from backend.segment.segmenters.sam import Sam

KIND = "orbit"


@dataclass(frozen=True, eq=False)
class Asked:
    """One view that was asked, and what is selected since."""

    view: str
    agreement: float  # soft IoU of its best mask with what was selected before
    used: bool
    selection: Selection


def around(
    sam: Sam,
    prepared: Prepared,
    selection: Selection,
    lens: Camera,  # whose size and focal length the views get: that of the prompt
    settings: Orbit | None = None,
) -> Iterator[Asked]:
    """Views, the most promising first, until no more are worth asking. Each is asked when it is asked for.

    The network is shown the view in neutral light, points inside and outside of the rendered posterior, and its log
    odds as an earlier answer. Of its three masks the one that fits the rendered selection best votes, as strongly as
    it fits.
    """
    settings = settings or Orbit()
    scene, chosen = prepared.scene, selection.chosen
    if not chosen.any():
        return
    place = Ellipsoid.around(scene.means[chosen])
    left = candidates(scene, chosen, poses(place, lens, settings), place, settings)
    rows = in_question(scene, place)
    first = None
    for _ in range(settings.views):
        counts = posterior(len(scene), selection.evidence)
        gains = [gain(counts, candidate.votes, rows) for candidate in left]
        if not gains or max(gains) <= 0:
            return
        first = first or max(gains)
        if max(gains) < settings.gain * first:
            return
        candidate = left.pop(int(np.argmax(gains)))
        view = Neutral(scene, candidate.camera)
        mask, agreement = answered(sam, view, selection)
        used = agreement >= settings.agreement
        if not used:
            yield Asked(candidate.name, agreement, used, selection)
            continue
        framed = Framed(scene.means, candidate.camera)
        votes = mask_votes(view.seen, mask, view=candidate.name, kind=KIND, confidence=agreement, framed=framed)
        before, selection = selection.chosen, prepared.decided([*selection.evidence, votes])
        yield Asked(candidate.name, agreement, used, selection)
        if (before ^ selection.chosen).sum() < settings.change * max(before.sum(), 1):
            return


def answered(sam: Sam, view: Neutral, selection: Selection) -> tuple[np.ndarray, float]:
    """The mask (H, W) bool that the network means on a view, and its soft IoU with the rendered selection."""
    odds = log_odds(selection.probability) - log_odds(np.float64(selection.threshold))
    channels = np.stack([1 / (1 + np.exp(-odds)), selection.chosen], 1).astype(np.float32)
    share, shown = np.moveaxis(view.seen.render_channels(channels), -1, 0)
    points, labels = points_of(share)
    if not len(points):
        return np.zeros(share.shape, bool), 0.0
    masks = sam.about(sam.looked(view), points, labels, share).masks[0]
    # Held against the selection and not the posterior: after one vote that is nowhere 0 or 1, whatever the mask.
    fits = [soft_iou(mask, shown) for mask in masks]
    best = int(np.argmax(fits))
    return masks[best], fits[best]


def soft_iou(mask: np.ndarray, share: np.ndarray) -> float:
    """Of a mask (H, W) bool and a picture (H, W) in 0..1; 0 where both are empty."""
    both = float(share[mask].sum())
    either = float(mask.sum() + share.sum()) - both
    return both / either if either > 0 else 0.0
