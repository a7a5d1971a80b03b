"""Votes of pictures and of regions in space, decided together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from backend.render import Seen
from backend.segment.framed import Framed
from backend.segment.posterior import mask_votes
from backend.segment.prepared import _BEHIND_PICTURE, Prepared


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
