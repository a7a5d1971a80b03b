"""Features of pixels between an encoder's cells, and from files: where they lie, and in any chunks."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features.pixels import Grid, OneHot, Sampled, Whole, unit_scale


def test_between_cells_features_are_linear() -> None:
    """A ramp over the cells is a ramp over the pixels; half a cell at the border is level."""
    rows, columns = np.mgrid[:4, :6]
    pixels = Grid(np.stack([rows, columns]).astype(np.float32), (4, 6), 40, 60, unit=False).of(0, 2)
    y, x = np.mgrid[:40, :60]
    assert pixels[..., 0] == pytest.approx(np.clip((y + 0.5) / 10 - 0.5, 0, 3), abs=1e-4)
    assert pixels[..., 1] == pytest.approx(np.clip((x + 0.5) / 10 - 0.5, 0, 5), abs=1e-4)


def test_padding_is_never_looked_at() -> None:
    cells = np.full((1, 8, 8), np.nan, np.float32)
    cells[:, :4, :8] = 2
    assert Grid(cells, (3.2, 8), 32, 80, unit=False).of(0, 1) == pytest.approx(2)


def test_a_grid_lies_under_its_picture() -> None:
    """The picture fills 2.5 of 4 rows: its lower edge lies in the middle of the third."""
    cells = np.arange(4.0, dtype=np.float32)[None, :, None].repeat(4, 2)
    pixels = Grid(cells, (2.5, 4), 250, 400, unit=False).of(0, 1)[..., 0]
    assert pixels[0, 0] == 0
    assert pixels[249, 200] == pytest.approx(1.995, abs=1e-3)
    assert pixels[150, 7] == pytest.approx(1.005, abs=1e-3)


def test_chunks_are_parts_of_the_whole() -> None:
    random = np.random.default_rng(0)
    many = random.normal(size=(9, 5, 7)).astype(np.float16)
    rows, columns = random.integers(0, 5, (11, 13)), random.integers(0, 7, (11, 13))
    for pixels in (
        Grid(many, (4.5, 7), 11, 13),
        Whole(random.normal(size=(11, 13, 9))),
        Sampled(many.transpose(1, 2, 0), rows, columns, unit_scale(many.transpose(1, 2, 0))),
        OneHot(random.integers(-1, 9, (11, 13)), 9),
    ):
        whole = pixels.of(0, 9)
        assert whole.shape == (11, 13, 9)
        assert whole.dtype == np.float32
        parts = np.concatenate([pixels.of(0, 4), pixels.of(4, 5), pixels.of(5, 9)], -1)
        assert parts == pytest.approx(whole, abs=1e-6)
        assert np.linalg.norm(whole, axis=-1).max() < 1.0001 or isinstance(pixels, Whole)


def test_numbers_that_are_none_say_nothing() -> None:
    features = np.ones((2, 2, 3), np.float32)
    features[0, 0] = (np.nan, np.inf, -np.inf)
    rows, columns = np.mgrid[:2, :2]
    pixels = Sampled(features, rows, columns, unit_scale(features)).of(0, 3)
    assert not pixels[0, 0].any()
    assert np.linalg.norm(pixels[1, 1]) == pytest.approx(1)
