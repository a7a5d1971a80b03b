"""Clicks, masks and boxes on one photo into the rows they mean."""

from __future__ import annotations

import numpy as np
import pytest

from backend.segment.prepared import Prepared
from backend.segment.prompts import Box, Clicks, Mask
from backend.segment.selection import Selector
from segwild_addon.protocol.errors import InputError


def selector(blobs) -> Selector:
    return Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo())


def clicks(*points: tuple[float, float], positive: tuple[bool, ...] = (True,)) -> Clicks:
    return Clicks(np.array(points), np.array(positive))


def test_one_click_on_each_blob(blobs) -> None:
    prepared = selector(blobs)
    for label in (blobs.red, blobs.blue):
        selection = prepared.select(clicks(blobs.pixel(label)))
        assert blobs.iou(np.flatnonzero(selection.chosen), label) > 0.9


def test_the_same_click_selects_the_same_rows(blobs) -> None:
    first, second = (selector(blobs).select(clicks(blobs.pixel(blobs.red))) for _ in range(2))
    assert np.array_equal(first.chosen, second.chosen)
    assert np.array_equal(first.probability, second.probability)


def test_two_objects_by_two_clicks_and_one_taken_away(blobs) -> None:
    both = blobs.pixel(blobs.red), blobs.pixel(blobs.blue)
    selection = selector(blobs).select(clicks(*both, positive=(True, False)))
    assert blobs.iou(np.flatnonzero(selection.chosen), blobs.red) > 0.85
    assert not selection.chosen[blobs.labels == blobs.blue].any()


def test_a_mask_reaches_the_hidden_back(blobs) -> None:
    prepared = selector(blobs)
    selection = prepared.select(Mask(blobs.mask(blobs.red)))
    assert blobs.iou(np.flatnonzero(selection.chosen), blobs.red) > 0.85
    carried = prepared.carried(selection)
    assert blobs.iou(np.flatnonzero(carried.chosen), blobs.red) > 0.9
    assert {votes.kind for votes in carried.evidence} == {"mask", "carried"}


def test_a_box_around_a_blob(blobs) -> None:
    y, x = np.nonzero(blobs.mask(blobs.blue))
    selection = selector(blobs).select(Box(x.min() - 3.0, y.min() - 3.0, x.max() + 3.0, y.max() + 3.0))
    assert blobs.iou(np.flatnonzero(selection.chosen), blobs.blue) > 0.85


def test_a_click_into_the_sky(blobs) -> None:
    with pytest.raises(InputError, match="no surface"):
        selector(blobs).select(clicks((200.0, 2.0)))
