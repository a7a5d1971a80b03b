"""Lens grids: exact where the mapping is linear, close where it bends, calm where it is not defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.scene.lenses import Lens


def grid_of(width: int, height: int, mapping, rows: int = 9, columns: int = 13) -> np.ndarray:
    """The mapping sampled at nodes over a picture, edges included."""
    x, y = np.meshgrid(np.linspace(0, width, columns), np.linspace(0, height, rows))
    return np.stack(mapping(x, y), axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def lens() -> Lens:
    """A photo of 400 x 300 whose picture has 390 x 290: shifted and slightly enlarged."""
    there = grid_of(400, 300, lambda x, y: (1.1 * x - 20, 1.05 * y - 8))
    back = grid_of(390, 290, lambda x, y: ((x + 20) / 1.1, (y + 8) / 1.05), rows=5, columns=4)
    return Lens(400, 300, 390, 290, there, back)


@given(x=st.floats(0, 400), y=st.floats(0, 300))
def test_a_linear_mapping_is_exact(lens: Lens, x: float, y: float) -> None:
    np.testing.assert_allclose(lens.to_picture(np.array([x, y])), [1.1 * x - 20, 1.05 * y - 8], atol=1e-3)


@given(x=st.floats(0, 390), y=st.floats(0, 290))
def test_there_and_back(lens: Lens, x: float, y: float) -> None:
    point = np.array([[x, y]])
    there = lens.to_photo(point)
    inside = (there >= 0).all() and (there <= (400, 300)).all()
    assert inside
    np.testing.assert_allclose(lens.to_picture(there), point, atol=1e-3)


def test_corners_and_edges_are_the_grid_nodes(lens: Lens) -> None:
    corners = np.array([[[0, 0], [400, 0]], [[0, 300], [400, 300]]], float)
    expected = lens.picture_from_photo[[[0, 0], [-1, -1]], [[0, -1], [0, -1]]]
    np.testing.assert_allclose(lens.to_picture(corners), expected)


def test_points_beyond_the_photo_map_to_its_edge(lens: Lens) -> None:
    outside = np.array([[-50.0, 100], [900, 100], [100, np.inf]])
    np.testing.assert_allclose(
        lens.to_picture(outside), lens.to_picture(np.array([[0.0, 100], [400, 100], [100, 300]]))
    )


def test_a_position_that_is_not_a_number_stays_none(lens: Lens) -> None:
    found = lens.to_photo(np.array([[np.nan, 10], [20, 10]]))
    assert np.isnan(found[0]).any()
    assert np.isfinite(found[1]).all()
    assert lens.to_photo(np.zeros((0, 2))).shape == (0, 2)


def test_a_bent_mapping_is_close_between_the_nodes() -> None:
    def bent(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v = (x - 200) / 400, (y - 150) / 400
        stretch = 1 + 0.1 * (u * u + v * v)
        return 200 + 400 * u * stretch, 150 + 400 * v * stretch

    lens = Lens(400, 300, 400, 300, *[grid_of(400, 300, bent, 33, 33)] * 2)
    points = np.random.default_rng(0).uniform((0, 0), (400, 300), (200, 2))
    expected = np.stack(bent(points[:, 0], points[:, 1]), axis=-1)
    assert np.abs(lens.to_picture(points) - expected).max() < 0.05
