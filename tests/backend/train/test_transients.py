"""The filter's averages and resampling against scipy's; and the filter on another device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import AWAY, PretendDevice
from scipy import ndimage

from backend.train.transients import (
    GROW_PX,
    WINDOW_SHARE,
    Transients,
    _crowded,
    _enlarged,
    _grow,
    _shares,
    _smoothed,
)


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
    clear = np.abs(expected - 0.5) > 1e-6
    assert (_enlarged(values, *size) == (expected > 0.5))[clear].all()


@pytest.mark.parametrize("size", [(9, 13), (4, 5), (1, 1)])
def test_shrinking_takes_shares_of_blocks(size: tuple[int, int]) -> None:
    found = np.random.default_rng(0).random((9, 13)) < 0.4
    rows = np.array_split(found, [i * 9 // size[0] for i in range(1, size[0])], 0)
    for i, row in enumerate(rows):
        for j, block in enumerate(np.array_split(row, [j * 13 // size[1] for j in range(1, size[1])], 1)):
            assert _shares(found, *size)[i, j] == pytest.approx(block.mean())


@pytest.mark.parametrize("reach", [2, 4])
def test_crowds_are_counted_and_grow(reach: int) -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (50, 61)), 2).astype(np.float32)
    limit = np.quantile(smooth, 0.6).astype(np.float32)
    outlier, side = smooth > limit, 2 * reach + 1
    counts = np.rint(side**2 * ndimage.uniform_filter(outlier.astype(float), side, mode="nearest"))
    expected = outlier & (counts > WINDOW_SHARE * side**2)
    crowded, grown = _crowded(smooth, limit, reach), np.zeros(smooth.shape, bool)
    assert 0 < expected.sum() < outlier.sum()
    np.testing.assert_array_equal(crowded, expected)
    _grow(crowded, grown)
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(expected, iterations=GROW_PX))


@pytest.mark.parametrize("size", [(64, 96), (48, 61)])
def test_masks_on_a_device_equal_those_on_the_cpu(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    height, width = size
    memory_size = (height // 4, width // 4)
    here, there = Transients(), Transients()
    sky = np.zeros(size, bool)
    sky[:8] = True
    shares = []
    for fraction in (0.02, 0.07, 0.15, 0.3, 0.4, 0.5):
        for number in range(4):
            difference = random.normal(0, 0.05, (height, width, 3)).astype(np.float32)
            if number == 3:
                difference[20:36, 24:40] += 0.5  # somebody stands there
            name = f"p{number}"
            expected = here.observe(name, difference, sky, fraction, memory_size)
            with PretendDevice():
                found = there.observe_on_device(
                    name, torch.from_numpy(difference).to(AWAY), torch.from_numpy(sky).to(AWAY), fraction, memory_size
                ).cpu()
            assert found.shape == expected.shape
            assert found.dtype == torch.bool
            assert (found.numpy() != expected).mean() < 0.01
            shares.append(expected.mean())
            if fraction >= 0.07:
                assert there.latest[name] == pytest.approx(here.latest[name], rel=1e-4)
                assert np.allclose(there.memory[name], here.memory[name], atol=0.35)
                assert there.memory[name].shape == memory_size
    assert max(shares) > 0.02  # something was found
