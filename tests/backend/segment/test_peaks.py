"""A rendered selection into points inside and beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from backend.segment.peaks import points_of


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_points_are_where_they_say(seed: int, count: int) -> None:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 6)
    share = np.clip((noise - noise.mean()) / noise.std() / 2 + 0.3, 0, 1)
    points, inside = points_of(share, count)
    assert len(points) == len(inside) <= 2 * count
    assert list(inside) == sorted(inside, reverse=True)
    assert len(np.unique(points, axis=0)) == len(points)
    for (x, y), on in zip(points, inside, strict=True):
        value = share[int(y), int(x)]
        assert value > 0.5 if on else value < 0.2


def test_a_disc_is_clicked_in_its_middle_and_all_around() -> None:
    y, x = np.mgrid[:100, :140] + 0.5
    share = (np.hypot(x - 70, y - 50) < 20).astype(float)
    points, inside = points_of(share)
    assert points[0] == pytest.approx([70, 50], abs=1.5)
    assert inside.tolist() == [True] * 3 + [False] * 3
    beside = points[~inside]
    assert (np.abs(beside - (70, 50)) <= 41.5).all()  # not far: no more than half of its extent from its box
    turns = np.sort(np.degrees(np.arctan2(beside[:, 1] - 50, beside[:, 0] - 70)) % 360)
    assert np.diff(np.append(turns, turns[0] + 360)).max() < 200


def test_nothing_inside_is_nothing_to_ask() -> None:
    assert len(points_of(np.full((20, 20), 0.4))[0]) == 0
    points, inside = points_of(np.ones((20, 20)))
    assert inside.all()
    assert len(points)
