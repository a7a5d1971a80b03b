"""A photo into its frame: bars and borders of one colour that are not part of what was photographed."""

from __future__ import annotations

import numpy as np

SPREAD_MAX = (
    2.5  # standard deviation of a line of the frame, in levels of 255: less than any sensor's noise, with JPEG's
)
COLOR_MAX = 6.0  # levels by which the frame's lines may differ
LEAST_PX = 2  # narrower is a matter of resampling
MOST_SHARE = 0.35  # of a side; more is a photo of something flat
STEP_MIN = 12.0  # levels between the frame and the picture: sky fades, frames end


def framed(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Width of the frame at the top, bottom, left and right of (H, W, 3) uint8, 0 where there is none.

    A side counts as framed if its outermost lines have one colour and the picture beside them begins with a step.
    Skies and walls shade off and have noise; a plain sky that does not ends in no straight line.
    """
    top, bottom = _sides(pixels)
    left, right = _sides(pixels.transpose(1, 0, 2))
    return top, bottom, left, right


def _sides(pixels: np.ndarray) -> tuple[int, int]:
    """Of the first axis. The middle half of each line counts: corners belong to the frame of the other sides."""
    quarter = pixels.shape[1] // 4
    lines = pixels[:, quarter : pixels.shape[1] - quarter].astype(np.float32)
    most = int(MOST_SHARE * len(lines))
    first = _frame(lines[: most + 1])
    second = _frame(lines[::-1][: most + 1])
    return first, second


def _frame(lines: np.ndarray) -> int:
    """(L, W, 3) from the outside: how many lines are frame."""
    if len(lines) <= LEAST_PX:
        return 0
    color = np.median(lines[0], axis=0)
    plain = (lines.std(1).max(1) < SPREAD_MAX) & (np.abs(np.median(lines, axis=1) - color).max(1) < COLOR_MAX)
    count = len(lines) if plain.all() else int(np.argmin(plain))
    if count < LEAST_PX or count >= len(lines):
        return 0
    # A resampled edge is one line of both: the step is judged one line further in.
    inner = lines[min(count + 1, len(lines) - 1)]
    step = np.abs(inner - color).max(1)
    return min(count + 1, len(lines)) if np.median(step) > STEP_MIN and (step > STEP_MIN).mean() > 0.8 else 0


def frame_mask(pixels: np.ndarray) -> np.ndarray | None:
    """(H, W) bool, the pixels of the frame; None if there is none."""
    top, bottom, left, right = framed(pixels)
    if not (top or bottom or left or right):
        return None
    mask = np.ones(pixels.shape[:2], bool)
    mask[top : pixels.shape[0] - bottom, left : pixels.shape[1] - right] = False
    return mask
