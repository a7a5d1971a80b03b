"""Picture metrics: by hand, against a direct sum over windows, and against stored values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.train.metrics import left_half, psnr, quantised, right_half, ssim
from segwild_addon.protocol.errors import InputError


def waves(height: int = 48, width: int = 64) -> np.ndarray:
    """A picture (H, W, 3) with detail, the same on every machine."""
    y, x = np.mgrid[:height, :width] / 1.0
    channels = [np.sin(0.31 * x + 0.17 * y), np.cos(0.05 * x * y / 8), np.sin(0.9 * x) * np.cos(0.7 * y)]
    return 0.5 + 0.45 * np.stack(channels, axis=-1)


def ssim_by_windows(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, window by window."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights = (weights / weights.sum())[..., None]
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            p, q = a[top : top + 11, left : left + 11], b[top : top + 11, left : left + 11]
            mp, mq = (weights * p).sum((0, 1)), (weights * q).sum((0, 1))
            vp, vq = (weights * (p - mp) ** 2).sum((0, 1)), (weights * (q - mq) ** 2).sum((0, 1))
            cov = (weights * (p - mp) * (q - mq)).sum((0, 1))
            values.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(values))


def test_a_picture_against_itself() -> None:
    picture = quantised(waves())
    assert psnr(picture, picture) == math.inf
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-12)


def test_one_pixel_shifts_against_stored_values() -> None:
    picture = quantised(waves())
    right, down = picture[:, 1:], picture[1:]
    assert psnr(picture[:, :-1], right) == pytest.approx(17.68851, abs=1e-4)
    assert ssim(picture[:, :-1], right) == pytest.approx(0.82341374, abs=1e-6)
    assert psnr(picture[:-1], down) == pytest.approx(19.78911, abs=1e-4)
    assert ssim(picture[:-1], down) == pytest.approx(0.88783307, abs=1e-6)


def test_psnr_by_hand() -> None:
    black = np.zeros((2, 5, 3))
    assert psnr(black, black + 0.1) == pytest.approx(20)
    assert psnr(black, black + 1) == 0
    one_pixel = black.copy()
    one_pixel[0, 0] = 1
    assert psnr(black, one_pixel) == pytest.approx(10)


@settings(max_examples=15, deadline=None)
@given(
    pictures=arrays(np.uint8, (2, 13, 12, 3), elements=st.integers(0, 255)),
)
def test_ssim_is_its_definition(pictures: np.ndarray) -> None:
    a, b = pictures / 255.0
    assert ssim(a, b) == pytest.approx(ssim_by_windows(a, b), abs=1e-7)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)


def test_ssim_of_flat_pictures_compares_their_means_alone() -> None:
    grey, white = np.full((11, 11, 3), 0.5), np.ones((11, 11, 3))
    assert ssim(grey, white) == pytest.approx((2 * 0.5 + 1e-4) / (0.25 + 1 + 1e-4), rel=1e-6)


def test_quantising_truncates() -> None:
    picture = np.array([[-0.2, 0.0, 0.9 / 255, 1.0 / 255, 254.999 / 255, 1.0, 7.0]])
    for dtype in (np.float32, np.float64):
        assert (quantised(picture.astype(dtype)) * 255).tolist() == [[0, 0, 0, 1, 254, 255, 255]]


def test_every_8_bit_level_survives_quantising() -> None:
    levels = np.arange(256, dtype=np.uint8)
    for picture in (levels, levels / np.float32(255), levels / 255):
        assert np.array_equal(quantised(picture), levels / 255)


@pytest.mark.parametrize(("width", "left", "right"), [(4, [0, 1], [2, 3]), (5, [0, 1, 2], [2, 3, 4]), (1, [0], [0])])
def test_halves_share_the_middle_column_of_an_odd_width(width: int, left: list[int], right: list[int]) -> None:
    picture = np.broadcast_to(np.arange(width)[None, :, None], (2, width, 3))
    assert left_half(picture)[1, :, 2].tolist() == left
    assert right_half(picture)[1, :, 2].tolist() == right


def test_pictures_that_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        psnr(np.zeros((3, 4, 3)), np.zeros((4, 3, 3)))
    with pytest.raises(InputError, match="cannot be compared"):
        psnr(np.zeros((0, 4, 3)), np.zeros((0, 4, 3)))
    with pytest.raises(InputError, match="11 x 11 pixels, not 30 x 10"):
        ssim(np.zeros((10, 30, 3)), np.zeros((10, 30, 3)))
