"""The filter's averages and resampling against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from backend.train.transients import _resampled, _smoothed


@pytest.mark.parametrize("shape", [(40, 57, 3), (3, 2, 3), (1, 1, 3)])
@pytest.mark.parametrize("reach", [2, 5])
def test_averages_are_those_of_a_square_window(shape: tuple[int, int, int], reach: int) -> None:
    difference = np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)
    side = 2 * reach + 1
    expected = np.abs(ndimage.uniform_filter(difference.astype(float), (side, side, 0), mode="nearest")).mean(2)
    np.testing.assert_allclose(_smoothed(difference, reach), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 57), (9, 31), (10, 5)])
def test_enlarging_is_bilinear(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(0, 1, (9, 13)).astype(np.float32)
    y = np.clip((np.arange(size[0]) + 0.5) * 9 / size[0] - 0.5, 0, 8)
    x = np.clip((np.arange(size[1]) + 0.5) * 13 / size[1] - 0.5, 0, 12)
    expected = ndimage.map_coordinates(values.astype(float), np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(_resampled(values, size), expected, atol=1e-6)
