"""Photos into those that are copies of one another: saved anew, smaller, or compressed harder.

A copy teaches nothing, and harms: whoever walked by in both looks like a part of the place, and a held-out photo whose
copy is trained on scores what nobody reconstructed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.capture.pictures import resized

THUMBNAIL_PX = 64  # side
BLOCK_PX = 8  # side of the parts of a thumbnail that are compared, too
# Levels of 255. Copies at half the size and a JPEG quality of 85 differ by 1 and 3, at a third and 30 by 2 to 5 and 4
# to 18; two frames of one video, a sixth of a second apart, by 15 and 46.
DIFFERENCE_MAX = 4.0
CONTRAST_MAX = 0.1  # of the deviation of a thumbnail: photos by night are all black and not all alike
BLOCK_MAX = 12.0  # somebody who walks through one of two pictures from a tripod differs more
ASPECT_MAX = 0.02  # relative difference of width by height


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 into (THUMBNAIL_PX, THUMBNAIL_PX, 3) uint8, whatever its shape."""
    return resized(pixels, THUMBNAIL_PX, THUMBNAIL_PX)


def copies(thumbnails: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Places of photos that are copies, each with that of the largest one it is a copy of, which is none itself.

    `sizes` are (width, height) in pixels. Of equally large ones the first is the original.
    """
    small = np.array([_parts(each) for each in thumbnails], np.float32)
    aspects = np.array([width / height for width, height in sizes])
    originals: list[int] = []
    found: dict[int, int] = {}
    for place in sorted(range(len(sizes)), key=lambda place: (-sizes[place][0] * sizes[place][1], place)):
        # No difference of parts is larger than that of the pixels in them: few pairs are left to look at closely.
        near = np.abs(small[originals] - small[place]).mean((1, 2)) <= DIFFERENCE_MAX
        near &= np.abs(aspects[originals] / aspects[place] - 1) <= ASPECT_MAX
        candidates = (originals[index] for index in np.flatnonzero(near))
        twin = next((original for original in candidates if _alike(thumbnails, original, place)), None)
        if twin is None:
            originals.append(place)
        else:
            found[place] = twin
    return found


def _alike(thumbnails: Sequence[np.ndarray], one: int, other: int) -> bool:
    difference = np.abs(thumbnails[one].astype(np.float32) - thumbnails[other]).mean(-1)
    limit = min(DIFFERENCE_MAX, CONTRAST_MAX * float(thumbnails[one].std()))
    return bool(difference.mean() <= limit and _parts(difference[..., None]).max() <= BLOCK_MAX)


def _parts(thumbnail: np.ndarray) -> np.ndarray:
    """(P, C) float32: the mean of each part."""
    count = THUMBNAIL_PX // BLOCK_PX
    blocks = thumbnail.astype(np.float32).reshape(count, BLOCK_PX, count, BLOCK_PX, -1)
    return blocks.mean((1, 3)).reshape(count * count, -1)
