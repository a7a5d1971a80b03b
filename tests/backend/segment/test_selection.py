"""Clicks, masks and boxes on one photo into the rows they mean."""

from __future__ import annotations

import numpy as np
import pytest

from backend.segment.prepared import Prepared
from backend.segment.prompts import Box, Clicks, Mask
from backend.segment.selection import Selector
from segwild_addon.protocol.errors import InputError
from tests.backend.conftest import cropping


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
    assert {votes.kind for votes in carried.evidence} == {"mask", "region", "carried"}


def test_a_mask_of_what_is_no_region_speaks_for_itself(blobs) -> None:
    """The left half of a ball and some ground: nothing in space is like it."""
    mask = blobs.mask(blobs.red)
    x, y = (int(place) for place in blobs.pixel(blobs.red))
    mask[:, x:] = False
    mask[y : y + 60, x - 80 : x] = True
    selection = selector(blobs).select(Mask(mask))
    assert {votes.kind for votes in selection.evidence} == {"mask"}
    assert selection.chosen[blobs.labels == blobs.red].mean() < 0.8


def test_a_mask_of_a_pixel_shows_no_region(blobs) -> None:
    mask = np.zeros_like(blobs.mask(blobs.red))
    x, y = (int(place) for place in blobs.pixel(blobs.red))
    mask[y : y + 2, x : x + 2] = True
    assert {votes.kind for votes in selector(blobs).select(Mask(mask)).evidence} == {"mask"}


def test_a_box_around_a_blob(blobs) -> None:
    y, x = np.nonzero(blobs.mask(blobs.blue))
    selection = selector(blobs).select(Box(x.min() - 3.0, y.min() - 3.0, x.max() + 3.0, y.max() + 3.0))
    assert blobs.iou(np.flatnonzero(selection.chosen), blobs.blue) > 0.85


def test_a_click_into_the_sky(blobs) -> None:
    with pytest.raises(InputError, match="no surface"):
        selector(blobs).select(clicks((200.0, 2.0)))


def test_what_the_picture_does_not_show_of_a_photo_cannot_be_pointed_at(blobs) -> None:
    """Pictures are undistorted, and the wider the lens the more of the photo's rim they lack."""
    blobs.workspace.write_lenses({"a0": cropping(blobs.photo())})
    prepared = selector(blobs)  # its photo has 400 x 300 pixels, of which the picture shows 40..360 x 30..270
    for x, y in ((20.0, 150.0), (200.0, 295.0), (385.0, 150.0)):
        with pytest.raises(InputError, match="outside the part of the photo"):
            prepared.select(clicks((x, y)))
    with pytest.raises(InputError, match="outside the part of the photo"):
        prepared.select(clicks((200.0, 200.0), (20.0, 150.0), positive=(True, False)))
    with pytest.raises(InputError, match="outside the part of the photo"):
        prepared.select(Box(5, 5, 35, 290))
    assert prepared.select(clicks((38.5, 190.0))).chosen.any()  # beside its rim, which is meant


def test_no_walk_starts_where_a_box_leaves_the_picture(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clipped, such places would be the rim of the picture."""
    blobs.workspace.write_lenses({"a0": cropping(blobs.photo(), 0.5)})
    prepared, starts = selector(blobs), []
    real = prepared._seeds_of
    monkeypatch.setattr(prepared, "_seeds_of", lambda places: (starts.append(places[0]), real(places))[1])
    assert prepared.select(Box(0, 0, 400, 300)).chosen.any()
    assert len(starts) > 1
    assert all(100 <= x <= 300 and 75 <= y <= 225 for x, y in starts)
