"""How far in the middle of what they correct clicks lie."""

from __future__ import annotations

import numpy as np
import pytest

from backend.segment.middles import inner_depth, middles


def test_the_middle_of_a_disc_and_of_an_error() -> None:
    y, x = np.mgrid[:41, :61]
    disc = np.hypot(x - 30, y - 20) < 15
    deepest, here = inner_depth(disc, 30, 20)
    assert deepest == pytest.approx(15, rel=0.1)
    assert here == deepest
    assert inner_depth(disc, 30, 33)[1] < 0.3 * deepest
    shown = np.array([np.zeros_like(disc), disc | (x > 40)])
    central = middles(disc[None], shown, np.array([[30, 20], [52, 20]]), np.array([True, False]))
    assert central[0, 0] == 1
    assert central[0, 1] > 0.7  # of what was too much
    thin = np.hypot(x - 30, y - 20) < 16  # a rim: a click on the picture's grid may miss its middle
    assert (
        middles(thin[None], np.array([disc & False, disc]), np.array([[30, 20], [45, 20]]), np.ones(2, bool)).min()
        > 0.2
    )
    assert middles(disc[None], shown, np.array([[30, 20], [30, 20]]), np.array([True, False]))[0, 1] < 0.1
