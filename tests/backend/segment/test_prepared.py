"""Votes of pictures and of regions in space, decided together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from backend.render import Seen
from backend.segment.framed import Framed
from backend.segment.posterior import mask_votes
from backend.segment.prepared import _BEHIND_PICTURE, Prepared
from backend.segment.region import Suggestions


@pytest.mark.parametrize("name", ["a0", "a2", "a4"])
@pytest.mark.parametrize("thinner", [0, 1, 2])
def test_a_picture_corrects_the_rim_and_not_the_back_of_what_stands_apart(blobs, name: str, thinner: int) -> None:
    """The threshold that fits a mask best, a pixel narrower than the ball, would cut off what that does not see."""
    prepared = Prepared(blobs.scene, blobs.cameras)
    camera = blobs.photo(name).camera
    mask = blobs.mask(blobs.red, name)[::2, ::2]
    if thinner:
        mask = binary_erosion(mask, iterations=thinner)
    votes = mask_votes(Seen(blobs.scene, camera), mask, view=name, framed=Framed(blobs.scene.means, camera))
    region = prepared.region_votes(np.flatnonzero(blobs.labels == blobs.red), confidence=_BEHIND_PICTURE)
    found = prepared.decided([votes, region])
    assert blobs.iou(np.flatnonzero(found.chosen), blobs.red) > 0.85


@pytest.mark.parametrize("whole", [-2.0, 0.0])
def test_of_regions_that_fit_a_mask_the_one_counts_that_a_click_would_mean(blobs, whole: float) -> None:
    """The front of a ball fits the mask as well as all of it."""
    prepared = Prepared(blobs.scene, blobs.cameras)
    camera = blobs.photo().camera
    votes = mask_votes(Seen(blobs.scene, camera), blobs.mask(blobs.red)[::2, ::2], view="a0")
    rows = prepared.walks.rows
    front = np.isin(rows, votes.rows[votes.inside > votes.outside])
    order = np.argsort(np.where(front, 0, np.where(blobs.labels[rows] == blobs.red, 1, 2)), kind="stable")
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    counts = np.array([front.sum(), (front | (blobs.labels[rows] == blobs.red)).sum(), len(rows)])
    suggested = Suggestions(rank, counts, np.array([-1.0, whole, -9.0]), 1e-4)
    prepared.walks = SimpleNamespace(rows=rows, suggested=lambda starts: suggested)
    behind = prepared._behind(votes)
    assert behind is not None
    assert (behind.inside > 0).sum() == counts[1 if whole < -1 else 0]
