"""Mask metrics: by hand, against erosion, and against stored values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion

from backend.segment.metrics import (
    ViewMean,
    band_width,
    boundary_iou,
    inner_band,
    iou,
    mean_over_views,
    resized,
    spill,
)

masks = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def square(height: int, width: int, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disc() -> np.ndarray:
    y, x = np.mgrid[:100, :120]
    return (x - 58.5) ** 2 + (y - 47.5) ** 2 < 30**2


def test_a_mask_against_itself() -> None:
    assert iou(disc(), disc()) == 1
    assert boundary_iou(disc(), disc()) == 1
    assert spill(disc().astype(float), disc()) == 0


def test_one_pixel_shifts_against_stored_values() -> None:
    shifted = np.roll(disc(), 1, axis=1)
    assert iou(shifted, disc()) == pytest.approx(0.9584487534626038, abs=1e-9)
    assert boundary_iou(shifted, disc()) == pytest.approx(0.7142857142857143, abs=1e-9)
    far = np.roll(disc(), 10, axis=1).astype(np.float32)
    assert spill(far, disc()) == pytest.approx(0.10466760961810467, abs=1e-9)


def test_iou_by_hand() -> None:
    truth = square(10, 10, 0, 0, 4)
    assert iou(square(10, 10, 0, 2, 4), truth) == pytest.approx(8 / 24)
    assert iou(square(10, 10, 5, 5, 4), truth) == 0
    assert iou(np.ones((10, 10), bool), truth) == pytest.approx(0.16)


def test_bands_by_hand() -> None:
    assert band_width((10, 10)) == 1
    assert band_width((600, 800)) == 20
    mask = square(9, 9, 2, 2, 5)
    assert inner_band(mask, 1).sum() == 16
    assert inner_band(mask, 2).sum() == 24
    assert inner_band(mask, 3).sum() == 25
    assert inner_band(np.ones((6, 7), bool), 1).sum() == 22  # the picture's border is outside


@settings(max_examples=100, deadline=None)
@given(mask=masks, width_px=st.integers(1, 5))
def test_a_band_is_what_erosion_takes_away(mask: np.ndarray, width_px: int) -> None:
    eroded = binary_erosion(np.pad(mask, 1), np.ones((3, 3)), width_px)[1:-1, 1:-1]
    assert np.array_equal(inner_band(mask, width_px), mask & ~eroded)


@settings(max_examples=100, deadline=None)
@given(pair=st.integers(1, 12).flatmap(lambda n: st.tuples(*[arrays(bool, (n, 9))] * 2)))
def test_scores_lie_between_none_and_all(pair: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, truth = pair
    for score in (iou(predicted, truth), boundary_iou(predicted, truth), spill(predicted.astype(float), truth)):
        assert score is None or 0 <= score <= 1
    assert (iou(predicted, truth) is None) == (not truth.any())
    assert iou(predicted, truth) == iou(truth, predicted) or not (truth.any() and predicted.any())


def test_boundary_iou_sees_what_iou_forgives() -> None:
    truth = square(100, 100, 10, 10, 80)
    smaller = square(100, 100, 13, 13, 74)
    found = boundary_iou(smaller, truth)
    assert found == pytest.approx(0, abs=1e-9)
    assert iou(smaller, truth) == pytest.approx(74**2 / 80**2)


def test_empty_masks() -> None:
    empty, truth = np.zeros((20, 20), bool), square(20, 20, 3, 3, 5)
    assert iou(truth, empty) is None
    assert boundary_iou(truth, empty) is None
    assert spill(truth.astype(float), empty) is None
    assert iou(empty, truth) == 0
    assert boundary_iou(empty, truth) == 0
    assert spill(empty.astype(float), truth) is None


def test_spill_by_hand() -> None:
    truth = square(10, 10, 0, 0, 4)  # the band is one pixel wide
    alpha = np.zeros((10, 10))
    alpha[2, 2], alpha[4, 4], alpha[5, 0], alpha[9, 9] = 1, 1, 0.5, 0.5
    assert spill(alpha, truth) == pytest.approx(1 / 3)


def test_predictions_of_another_size() -> None:
    small = square(5, 6, 1, 1, 3)
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    assert iou(small, large) == boundary_iou(small, large) == 1
    assert iou(large, small) == 1
    assert spill(small.astype(np.float32), large) == 0
    assert resized(np.arange(4)[None], (1, 2)).tolist() == [[1, 3]]


def test_masks_of_8_bits_count_as_masks() -> None:
    truth = square(10, 10, 0, 0, 4)
    assert iou(truth * np.uint8(255), truth * np.uint8(1)) == 1


def test_the_mean_over_views_counts_what_it_skips() -> None:
    assert mean_over_views([0.5, None, 1.0, 0.0]) == ViewMean(0.5, 3, 1)
    assert mean_over_views([None, None]) == ViewMean(None, 0, 2)
    assert mean_over_views([]) == ViewMean(None, 0, 0)
