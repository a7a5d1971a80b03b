"""The order of drawing, against an exact sort."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.viewport import sort
from segwild_addon.viewport.sort import Part


def misplaced(depth: np.ndarray, order: np.ndarray) -> float:
    """By how much a row lies farther than one drawn before it, at most."""
    drawn = depth[order]
    return float((drawn - np.minimum.accumulate(drawn)).max(initial=0))


@given(st.integers(0, 3000), st.integers(0, 5), st.floats(0.001, 1000))
def test_every_row_once_and_farthest_first(count, seed, spread):
    depth = (np.random.default_rng(seed).normal(size=count) * spread).astype(np.float32)
    order = sort.farthest_first(depth)
    assert sorted(order) == list(range(count))
    bin_width = (depth.max() - depth.min()) / 60000 if count else 0
    assert misplaced(depth, order) <= 2 * bin_width


def test_far_outliers_take_no_bins_from_the_rest():
    random = np.random.default_rng(0)
    depth = np.concatenate([random.normal(5, 1, 99_700), 10 ** random.uniform(1, 6, 300)]).astype(np.float32)
    order = sort.farthest_first(depth)
    assert misplaced(depth, order) < 1e-3  # bins over the whole range would be 15 wide
    far = np.sort(depth)[::-1][:250]
    np.testing.assert_array_equal(depth[order[:250]], far)  # and are in exact order themselves


@pytest.mark.parametrize("depth", [[3.0] * 7, [], [1.0], [2.0, 2.0, 5.0], [5.0, 2.0, 2.0]])
def test_of_equal_depths_the_lower_row_is_drawn_over_the_others(depth):
    order = sort.farthest_first(np.array(depth, np.float32))
    assert list(order) == sorted(range(len(depth)), key=lambda row: (-depth[row], -row))


def test_objects_interleave_and_hidden_ones_are_left_out():
    positions = np.zeros((30, 3), np.float32)
    positions[:, 0] = np.arange(30)
    parts = [
        Part(0, 10, np.array([1, 0, 0], np.float32), 0.0),
        Part(20, 30, np.array([1, 0, 0], np.float32), -15.5),  # moved: 4.5, 5.5, ... 13.5
    ]
    order = sort.order_of(positions, parts)
    assert set(order) == {*range(10), *range(20, 30)}
    placed = {row: row if row < 10 else row - 15.5 for row in order}
    assert [placed[row] for row in order] == sorted(placed.values(), reverse=True)


def test_nothing_visible_is_an_empty_order():
    assert len(sort.order_of(np.zeros((5, 3), np.float32), [])) == 0


def test_the_thread_sorts_once_per_view_and_stops():
    sorter = sort.Sorter()
    positions = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    part = Part(0, 1000, np.array([0, 0, 1], np.float32), 0.0)
    assert sorter.ask("view", positions, [part], "note")
    assert not sorter.ask("view", positions, [part], "later")  # the first is not taken yet
    while (taken := sorter.take("view")) is None:
        pass
    order, note = taken
    assert note == "note"
    np.testing.assert_array_equal(order, sort.order_of(positions, [part]))
    assert sorter.take("view") is None
    assert sorter.ask("view", positions, [part], "again")
    sorter.stop()
    assert not sorter.ready
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("segwild-sort")]
