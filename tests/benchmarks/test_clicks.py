"""Simulated clicks."""

from __future__ import annotations

import numpy as np

from benchmarks.clicks import next_click


def test_clicks_go_into_the_middle_of_the_largest_error() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:31, 10:51] = True
    (x, y), missed = next_click(np.zeros_like(mask), mask)
    assert missed
    assert mask[int(y), int(x)]
    assert y == 20.5
    shown = mask.copy()
    shown[12:18, 12:18] = False
    shown[40:59, 20:39] = True
    assert next_click(shown, mask) == ((29.5, 49.5), False)
