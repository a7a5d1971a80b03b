"""What the colour encoder says about pixels."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features.colour import CHANNELS, encode, lab


def test_lab_of_known_colours() -> None:
    colors = np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86]]
    assert lab(colors) == pytest.approx(np.array(expected), abs=0.1)


def test_a_plain_picture_has_colour_and_no_texture() -> None:
    features = encode(np.full((20, 30, 3), 0.5, np.float32))
    assert features.shape == (20, 30, CHANNELS)
    assert features[..., 0] == pytest.approx(53.39, abs=0.1)
    assert np.abs(features[..., 6:]).max() < 0.02


def test_stripes_show_their_direction() -> None:
    x = np.arange(64)
    upright = np.repeat((0.5 + 0.4 * np.sin(x / 2))[None, :, None], 64, 0).repeat(3, 2)
    energy = encode(upright)[32, 32, 12:16]
    assert energy.argmax() == 0  # lightness changes along x
    assert energy[2] < 0.1 * energy[0]
    assert encode(upright.transpose(1, 0, 2))[32, 32, 12:16].argmax() == 2
