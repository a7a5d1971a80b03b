"""A predicted mask and a true one into a number: IoU, boundary IoU, spill; and the mean over views.

Every metric of a view is None where it is not defined, which is different from a bad score: the view is
skipped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt

_BAND_SHARE = 0.02  # of the picture's diagonal
ALPHA_THRESHOLD = 0.5  # a pixel belongs to a rendered object above this


@dataclass(frozen=True)
class ViewMean:
    """The unweighted mean of a metric over views."""

    value: float | None  # None if no view could be scored
    n: int  # views scored
    n_empty: int  # views skipped: the metric is not defined there


def mean_over_views(values: Sequence[float | None]) -> ViewMean:
    scored = [value for value in values if value is not None]
    return ViewMean(sum(scored) / len(scored) if scored else None, len(scored), len(values) - len(scored))


def iou(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    """|P ∩ G| / |P ∪ G| of masks (H, W) bool; None if the truth is empty, 0 if only the prediction is.

    A prediction of another size is resized to the truth's by nearest neighbour.
    """
    truth = truth.astype(bool)
    if not truth.any():
        return None
    predicted = resized(predicted.astype(bool), truth.shape)
    return float((predicted & truth).sum() / (predicted | truth).sum())


def boundary_iou(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    """IoU of the two masks' inner bands (Cheng et al. 2021); sizes and empty masks as for `iou`."""
    truth = truth.astype(bool)
    if not truth.any():
        return None
    width_px = band_width(truth.shape)
    return iou(inner_band(resized(predicted.astype(bool), truth.shape), width_px), inner_band(truth, width_px))


def spill(
    alpha: np.ndarray,  # (H, W) float 0..1, of the object rendered alone
    truth: np.ndarray,  # (H, W) bool, the whole object
) -> float | None:  # 0..1, less is better
    """Share of the alpha that lies outside the true mask widened by the band's width.

    None if the truth is empty or nothing was rendered. Sizes as for `iou`.
    """
    truth = truth.astype(bool)
    alpha = resized(alpha, truth.shape).astype(np.float64)
    total = float(alpha.sum())
    if not truth.any() or total == 0:
        return None
    outside = distance_transform_cdt(~truth, "chessboard") > band_width(truth.shape)
    return float(alpha[outside].sum()) / total


def band_width(shape: tuple[int, int]) -> int:
    """Pixels: the width of the boundary band in a picture of (H, W)."""
    return max(1, round(_BAND_SHARE * float(np.hypot(*shape))))


def inner_band(mask: np.ndarray, width_px: int) -> np.ndarray:
    """Pixels of a mask (H, W) bool within `width_px` of the outside; beyond the picture's border is outside."""
    padded = np.pad(mask, 1)
    return mask & (distance_transform_cdt(padded, "chessboard")[1:-1, 1:-1] <= width_px)


def resized(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) to `shape` by nearest neighbour between pixel centres."""
    if picture.shape == shape:
        return picture
    rows, columns = (
        np.minimum((np.arange(wanted) + 0.5) * (had / wanted), had - 1).astype(int)
        for wanted, had in zip(shape, picture.shape, strict=True)
    )
    return picture[np.ix_(rows, columns)]
