"""Clicks on a picture into the pixels they mean."""

from __future__ import annotations

import numpy as np
import pytest

from backend.segment import meant
from backend.segment.meant import Click, Meant, _depth, _middles
from backend.segment.prepared import Prepared
from backend.segment.prompts import Clicks
from backend.segment.selection import Selector


@pytest.fixture
def selector(blobs) -> Selector:
    return Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo())


def clicks(selector: Selector, *given: tuple[float, float, bool]) -> list[Click]:
    prompts = selector.prompts(Clicks(np.array([each[:2] for each in given]), np.array([each[2] for each in given])))
    result = []
    for prompt in prompts:
        weights = np.zeros(len(selector.scene))
        seeds = prompt.seeds()
        weights[seeds.rows] = seeds.weights
        place = prompt.place(selector.meant)
        assert place is not None
        result.append(Click(*place, prompt.positive, weights))
    return result


class _Blended:
    """Walks of a scene in which nothing stands apart: they suggest nothing."""

    def __init__(self, walks) -> None:
        self.rows = walks.rows

    def suggested(self, positive) -> None:
        return None


@pytest.fixture
def pictured(selector) -> Meant:
    return Meant(selector.scene, _Blended(selector.prepared.walks), selector.camera)


def fit(blobs, meant: Meant, mask: np.ndarray, label: int) -> float:
    truth = blobs.mask(label)
    rows = (np.arange(mask.shape[0]) + 0.5) * truth.shape[0] / mask.shape[0]
    columns = (np.arange(mask.shape[1]) + 0.5) * truth.shape[1] / mask.shape[1]
    truth = truth[np.ix_(rows.astype(int), columns.astype(int))]
    return float((mask & truth).sum() / (mask | truth).sum())


def test_what_stands_apart_needs_no_picture(blobs, selector) -> None:
    answer = selector.meant.answer(clicks(selector, (*blobs.pixel(blobs.red), True)))
    assert answer is not None
    assert answer.region is not None
    assert blobs.iou(selector.prepared.walks.rows[answer.region], blobs.red) > 0.9
    assert fit(blobs, selector.meant, answer.mask, blobs.red) > 0.8


def test_the_picture_tells_what_walks_do_not(blobs, selector, pictured) -> None:
    answer = pictured.answer(clicks(selector, (*blobs.pixel(blobs.red), True)))
    assert answer is not None
    assert answer.region is None
    assert fit(blobs, pictured, answer.mask, blobs.red) > 0.8


def test_regions_are_looked_at_in_one_layout(blobs, selector, pictured, monkeypatch: pytest.MonkeyPatch) -> None:
    """One region alone is laid out in rows by chance; code for another layout would be compiled by somebody's click."""
    layouts = []

    def recorded(*arguments: np.ndarray) -> np.ndarray:
        layouts.append([each.flags.c_contiguous for each in arguments])
        return _middles(*arguments)

    monkeypatch.setattr(meant, "_middles", recorded)
    x, y = blobs.pixel(blobs.red)
    assert pictured.answer(clicks(selector, (x, y, True), (x + 12, y, False))) is not None
    assert len(layouts) > 1
    assert np.all(layouts)


def test_negative_clicks_are_hard(blobs, selector, pictured) -> None:
    x, y = blobs.pixel(blobs.red)
    given = clicks(selector, (x, y, True), (x + 12, y, False), (x, y + 10, False))
    answer = pictured.answer(given)
    assert answer is not None
    for click in given:
        assert answer.mask[int(click.y), int(click.x)] == click.positive


def test_answers_do_not_depend_on_what_was_asked_before(blobs, selector, pictured) -> None:
    given = clicks(selector, (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), False))
    first = pictured.answer(given)
    fresh = Meant(selector.scene, _Blended(selector.prepared.walks), selector.camera)
    second = fresh.answer(given)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.mask, second.mask)


def test_the_middle_of_a_disc_and_of_an_error() -> None:
    y, x = np.mgrid[:41, :61]
    disc = np.hypot(x - 30, y - 20) < 15
    deepest, here = _depth(disc, 30, 20)
    assert deepest == pytest.approx(15, rel=0.1)
    assert here == deepest
    assert _depth(disc, 30, 33)[1] < 0.3 * deepest
    shown = np.array([np.zeros_like(disc), disc | (x > 40)])
    middles = _middles(disc[None], shown, np.array([[30, 20], [52, 20]]), np.array([True, False]))
    assert middles[0, 0] == 1
    assert middles[0, 1] > 0.7  # of what was too much
    thin = np.hypot(x - 30, y - 20) < 16  # a rim: a click on the picture's grid may miss its middle
    assert (
        _middles(thin[None], np.array([disc & False, disc]), np.array([[30, 20], [45, 20]]), np.ones(2, bool)).min()
        > 0.2
    )
    assert _middles(disc[None], shown, np.array([[30, 20], [30, 20]]), np.array([True, False]))[0, 1] < 0.1
